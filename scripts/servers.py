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
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packages import fetch_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent


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
            problems = fetch_packages(lambda: {server.package for server in missing if not find(server, cache)}, cache)
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
