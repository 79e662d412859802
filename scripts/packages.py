"""Unpack packages of the machine's own distribution, from a newer suite, without touching the system.

apt runs with its own lists, cache and state in a throw-away folder; its sources are the machine's, with only the
suite replaced, so that mirrors, proxies and signing keys stay what the machine's owner chose. No root is needed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A newer suite than the machine's own: stable releases carry servers that are years old.
SUITES = {"debian": ("testing", "sid"), "ubuntu": ("devel",)}
ROLLING_SUITES = {"stable", "testing", "unstable", "sid", "devel"}


class Unavailable(Exception):  # noqa: N818 - reads as what it is
    """The distribution's packages cannot help here; the message says why."""


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


def fetch_packages(lacking: Callable[[], set[str]], cache: Path) -> list[str]:
    """Unpack packages into `<cache>/<package>`, from one newer suite after the other until nothing is lacking.

    Args:
        lacking: names of the packages that are still needed; asked again after each round.
        cache: an existing folder.

    Returns:
        What went wrong on the way, empty when nothing did.
    """
    release = os_release()
    family = next((f for f in (release.get("ID", ""), *release.get("ID_LIKE", "").split()) if f in SUITES), None)
    if family is None or not shutil.which("apt-get") or not shutil.which("dpkg"):
        return ["this is no Debian or Ubuntu system, its packages are unknown to this script"]
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="apt-", dir=cache) as name:
        for suite in SUITES[family]:
            if not (packages := lacking()):
                break
            work = Path(name) / suite
            work.mkdir()
            try:
                # apt reads one SourceList file; a machine with both forms has the second among its parts.
                first, *others = write_sources(work, release.get("VERSION_CODENAME", ""), suite)
                apt = apt_command(work, first)
                for other in others:
                    other.rename(work / "parts" / other.name)
            except (Unavailable, OSError) as error:
                return [*problems, str(error)]
            try:
                run([*apt, "update"], cwd=work)
            except (Unavailable, OSError, subprocess.TimeoutExpired) as error:
                # Not the end: a third party's archive may lack the suite while the one that counts has it.
                problems.append(f"{suite}: {error}")
            for package in sorted(packages):
                try:
                    fetch(package, apt, work, cache)
                except (Unavailable, OSError, subprocess.TimeoutExpired) as error:
                    problems.append(f"{suite}: {error}")
    return problems


def fetch_with_dependencies(package: str, folder: Path) -> None:
    """Unpack a package of the machine's own suite with everything that it needs and the machine lacks.

    Raises:
        Unavailable: with what apt said.
    """
    release = os_release()
    if not SUITES.keys() & {release.get("ID", ""), *release.get("ID_LIKE", "").split()} or not shutil.which("apt-get"):
        raise Unavailable("this is no Debian or Ubuntu system, its packages are unknown to this script")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="apt-", dir=folder.parent) as name:
        work = Path(name)
        codename = release.get("VERSION_CODENAME", "")
        first, *others = write_sources(work, codename, codename)
        apt = apt_command(work, first)
        for other in others:
            other.rename(work / "parts" / other.name)
        run([*apt, "update"], cwd=work)
        # Nothing is installed, so nobody needs to be locked out.
        only = ["-o", "Debug::NoLocking=true", "--yes", "--no-install-recommends", "--download-only", "install"]
        run([*apt, *only, package], cwd=work)
        for archive in sorted((work / "cache/archives").glob("*.deb")):
            run(["dpkg", "-x", str(archive), str(folder)], cwd=work)
