#!/usr/bin/env python3
"""Find or fetch the real servers that tests, benchmarks and the demo run against.

For each server: PATH, then the cache (`.cache/servers`, or the folder in OTM_SERVERS), then the distribution's
packages, unpacked into the cache. Nothing is installed, no file outside the cache is written, no root is needed.
Afterwards `<cache>/bin` links to every server under one well-known name.

Exit status 0 when all are at hand, 1 when one is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent

# A newer suite than the machine's own: stable releases carry servers that are years old.
SUITES = {"debian": ("testing", "sid"), "ubuntu": ("devel",)}
ROLLING_SUITES = {"stable", "testing", "unstable", "sid", "devel"}


class Unavailable(Exception):  # noqa: N818 - reads as what it is
    """The distribution's packages cannot help here; the message says why."""


@dataclass(frozen=True)
class Server:
    """One program: what it is called, from which version on it serves us, which package carries it."""

    name: str
    needed: tuple[int, ...]
    package: str
    also_called: tuple[str, ...] = ()
    version_args: tuple[str, ...] = ("--version",)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name the program goes by."""
        return (self.name, *self.also_called)


SERVERS = (
    Server("prometheus", (3, 5), "prometheus"),
    Server("promtool", (3, 5), "promtool"),
    Server("alertmanager", (0, 27), "prometheus-alertmanager", ("prometheus-alertmanager",)),
    # Debian builds it without a version to tell, so none can be asked for.
    Server("victoria-metrics", (), "victoria-metrics", ("victoria-metrics-prod", "victoriametrics")),
    Server("docker-compose", (2, 20), "docker-compose", version_args=("version",)),
)

# Where packages put programs; Compose is a plugin of the docker command.
PROGRAM_DIRS = ("usr/bin", "usr/libexec/docker/cli-plugins", "usr/lib/docker/cli-plugins")


def cache_dir() -> Path:
    """The cache folder: OTM_SERVERS, or `.cache/servers` in the repository."""
    return Path(os.environ.get("OTM_SERVERS") or ROOT / ".cache" / "servers").absolute()


def version_of(program: Path, server: Server) -> tuple[int, ...] | None:
    """What the program says its version is; () when it runs and says nothing of the kind, None when it does not run."""
    try:
        done = subprocess.run(
            [program, *server.version_args], capture_output=True, text=True, timeout=30, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(?:version |\bv)(\d+(?:\.\d+)+)", done.stdout + done.stderr)
    if done.returncode:
        return None
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def dotted(version: tuple[int, ...]) -> str:
    """A version as people write it."""
    return ".".join(map(str, version)) or "any"


def candidates(server: Server, cache: Path) -> Iterator[Path]:
    """Places a server may be at, best first: PATH without our own links, plugin folders, unpacked packages."""
    own = cache / "bin"
    folders = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry and Path(entry) != own]
    folders += [Path("/") / folder for folder in PROGRAM_DIRS[1:]] + [Path.home() / ".docker/cli-plugins"]
    folders += [cache / server.package / folder for folder in PROGRAM_DIRS]
    for folder in folders:
        for name in server.names:
            program = folder / name
            if program.is_file() and os.access(program, os.X_OK):
                yield program


def find(server: Server, cache: Path) -> tuple[Path, tuple[int, ...]] | None:
    """The first candidate that runs and is new enough, with its version."""
    for program in candidates(server, cache):
        version = version_of(program, server)
        if version is not None and version >= server.needed:
            return program, version
    return None


def package_version(server: Server, program: Path, cache: Path) -> str | None:
    """The version of the unpacked package, for programs that do not know their own."""
    note = cache / server.package / "PACKAGE"
    if not program.is_relative_to(cache) or not note.is_file():
        return None
    return note.read_text(encoding="utf-8").split("_")[1]


def link(server: Server, program: Path, cache: Path) -> None:
    """Point `<cache>/bin/<name>` at the program; replaced in one step, so that parallel runs never see a gap."""
    folder = cache / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    # Relative inside the cache, so that a cache may be moved or mounted elsewhere.
    target = os.path.relpath(program, folder) if program.is_relative_to(cache) else str(program)
    new = folder / f".{server.name}.{os.getpid()}"
    new.symlink_to(target)
    new.replace(folder / server.name)


# --- the distribution's packages ------------------------------------------------------------------------------


def os_release() -> dict[str, str]:
    """The fields of /etc/os-release, empty where there is none."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}


def one_line_sources(text: str, codename: str, suite: str) -> Iterator[str]:
    """`deb [options] uri suite components` lines of the base archive, moved to another suite."""
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)", line)
        if found and found[3] in {codename, *ROLLING_SUITES}:
            yield f"deb {found[1] or ''}{found[2]} {suite} {found[4]}\n"


def deb822_sources(text: str, codename: str, suite: str) -> Iterator[str]:
    """Stanzas of the base archive, moved to another suite; security, updates and third parties are left out."""
    for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", text)):
        suites = re.search(r"(?mi)^Suites:(.*(?:\n[ \t].*)*)", stanza)
        if suites and {codename, *ROLLING_SUITES} & set(suites[1].split()) and "-security" not in suites[1]:
            yield (
                re.sub(r"(?mi)^Types:.*", "Types: deb", stanza.replace(suites[0], f"Suites: {suite}")).strip() + "\n\n"
            )


def write_sources(folder: Path, codename: str, suite: str) -> list[Path]:
    """The machine's own sources with only the suite replaced, as files for apt."""
    etc = Path("/etc/apt")
    found = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    texts = {path: path.read_text(encoding="utf-8") for path in found if path.is_file() and os.access(path, os.R_OK)}
    parts = {
        "list": {
            line for p, t in texts.items() if p.suffix == ".list" for line in one_line_sources(t, codename, suite)
        },
        "sources": {s for p, t in texts.items() if p.suffix == ".sources" for s in deb822_sources(t, codename, suite)},
    }
    if not any(parts.values()):
        raise Unavailable(f"no source of {codename} found under /etc/apt")
    written = []
    for kind, texts_of_kind in parts.items():
        if texts_of_kind:
            path = folder / f"{suite}.{kind}"
            path.write_text("".join(sorted(texts_of_kind)), encoding="utf-8")
            written.append(path)
    return written


def apt_command(work: Path, sources: Path) -> list[str]:
    """apt-get that reads the given sources only and keeps all its state under `work`."""
    for folder in ("lists/partial", "cache/archives/partial", "state", "log", "parts", "none"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    config = work / "apt.conf"
    config.write_text(
        f"""Dir::Etc::SourceParts "{work}/parts";
Dir::Etc::Preferences "{work}/none";
Dir::Etc::PreferencesParts "{work}/none";
Dir::State "{work}/state";
Dir::State::Lists "{work}/lists";
Dir::Cache "{work}/cache";
Dir::Log "{work}/log";
Acquire::Languages "none";
Acquire::Retries "2";
APT::Sandbox::User "";
APT::Default-Release "";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
""",
        encoding="utf-8",
    )
    return ["apt-get", "-qq", "-c", str(config), "-o", f"Dir::Etc::SourceList={sources}"]


def run(command: list[str], cwd: Path) -> None:
    """Run a step of the fetch; its output is only shown when it fails."""
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable("\n    ".join([f"{command[0]} {command[-1]} failed:", *lines[-6:]]))


def make_relocatable(program: Path, assets: Path) -> None:
    """Let a program that has the absolute folder of its templates compiled in run from where it was unpacked.

    The folder's name is overwritten in place by one of the same length that leads to file descriptor 9, and a script
    in front opens the unpacked folder there. Debian's Alertmanager does not start without its templates.
    """
    compiled_in = b"/usr/share/prometheus/alertmanager"
    descriptor = b"/proc/self/fd/9".ljust(len(compiled_in), b"/")
    patched = program.with_name(f".{program.name}")
    patched.write_bytes(program.read_bytes().replace(compiled_in, descriptor))
    patched.chmod(0o755)
    program.write_text(
        "#!/bin/sh\n"
        'here=$(dirname "$(readlink -f "$0")")\n'
        f'exec "$here/{patched.name}" "$@" 9<"$here/{os.path.relpath(assets, program.parent)}"\n',
        encoding="utf-8",
    )


def fetch(package: str, apt: list[str], work: Path, cache: Path) -> None:
    """Download one package and unpack it into `<cache>/<package>`."""
    downloads = Path(tempfile.mkdtemp(dir=work))
    run([*apt, "download", package], cwd=downloads)
    archive = next(downloads.glob("*.deb"))
    unpacked = downloads / "tree"
    run(["dpkg", "-x", str(archive), str(unpacked)], cwd=downloads)
    (unpacked / "PACKAGE").write_text(archive.stem + "\n", encoding="utf-8")
    if package == "prometheus-alertmanager":
        make_relocatable(unpacked / "usr/bin/prometheus-alertmanager", unpacked / "usr/share/prometheus/alertmanager")
    shutil.rmtree(cache / package, ignore_errors=True)
    unpacked.replace(cache / package)


def fetch_missing(missing: list[Server], cache: Path) -> list[str]:
    """Try each newer suite until nothing is missing. Returns what went wrong on the way."""
    release = os_release()
    family = next((f for f in (release.get("ID", ""), *release.get("ID_LIKE", "").split()) if f in SUITES), None)
    if family is None or not shutil.which("apt-get") or not shutil.which("dpkg"):
        return ["this is no Debian or Ubuntu system, its packages are unknown to this script"]
    problems = []
    with tempfile.TemporaryDirectory(prefix="apt-", dir=cache) as name:
        for suite in SUITES[family]:
            work = Path(name) / suite
            work.mkdir()
            try:
                # `apt-get` takes one SourceList file; a machine with both forms has the second in parts.
                first, *others = write_sources(work, release.get("VERSION_CODENAME", ""), suite)
                apt = apt_command(work, first)
                for other in others:
                    other.rename(work / "parts" / other.name)
                run([*apt, "update"], cwd=work)
            except (Unavailable, OSError, subprocess.TimeoutExpired) as error:
                problems.append(f"{suite}: {error}")
                continue
            for package in sorted({server.package for server in missing if not find(server, cache)}):
                try:
                    fetch(package, apt, work, cache)
                except (Unavailable, OSError, subprocess.TimeoutExpired) as error:
                    problems.append(f"{suite}: {error}")
            if all(find(server, cache) for server in missing):
                break
    return problems


@contextlib.contextmanager
def locked(cache: Path) -> Iterator[None]:
    """One fetch at a time; a second run waits and then finds everything in place."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Find, fetch, link, and say what there is."""
    started = time.monotonic()
    cache = cache_dir()
    problems: list[str] = []
    with locked(cache):
        found = {server: find(server, cache) for server in SERVERS}
        missing = [server for server, at in found.items() if at is None]
        if missing:
            print(
                "Fetching from the distribution's packages:", ", ".join(server.name for server in missing), flush=True
            )
            problems = fetch_missing(missing, cache)
            found.update({server: find(server, cache) for server in missing})
        for server, at in found.items():
            if at is None:
                (cache / "bin" / server.name).unlink(missing_ok=True)
                print(f"  {server.name:17} MISSING, version {dotted(server.needed)} or later is needed")
                continue
            program, version = at
            link(server, program, cache)
            shown = program.relative_to(ROOT) if program.is_relative_to(ROOT) else program
            print(f"  {server.name:17} {package_version(server, program, cache) or dotted(version):14} {shown}")
    if missing:
        print(f"  took {time.monotonic() - started:.1f} s")
    lacking = [server for server, at in found.items() if at is None]
    if not lacking:
        return 0
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)
    wanted = ", ".join(f"{server.name} >= {dotted(server.needed)}" for server in lacking)
    print(
        f"Install by hand and put on PATH: {wanted}.\n"
        "The projects' release pages carry single static programs; or set OTM_SERVERS to a folder that\n"
        "another machine's `make servers` has filled.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
