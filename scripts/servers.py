#!/usr/bin/env python3
"""Provide the real servers that tests, benchmarks and the demo run against, in the folder OTM_SERVERS.

`recipes.py` has two sets of versions; a folder called `current` or `oldest` gets that set, and the folder that holds
both (without OTM_SERVERS `.cache/servers`) is the cache. For each server: PATH, then the cache, then it is made: the
current ones built from their Go modules, the oldest ones unpacked from the distribution's packages. In a folder of
another name whatever is at hand will do, and packages are fetched for the rest. Nothing is installed, no file outside
the cache is written, no root is needed.

Arguments name what is wanted besides, in the set `current`: `thanos`, `otelcol`. What is built in one run shares modules.

Afterwards `$OTM_SERVERS/bin` links to every server under one well-known name.

Exit status 0 when all are there, 1 when one is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from modules import build_all, numbers
from packages import fetch_packages
from recipes import BESIDES, SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recipes import Server

ROOT = Path(__file__).resolve().parent.parent
CURRENT, OLDEST = "current", "oldest"

# Where packages put programs; Compose is a plugin of the docker command.
PROGRAM_DIRS = ("usr/bin", "usr/libexec/docker/cli-plugins", "usr/lib/docker/cli-plugins")


def folders() -> tuple[Path, Path, str | None]:
    """The folder to fill, the cache, and the set that is wanted."""
    folder = Path(os.environ.get("OTM_SERVERS") or ROOT / ".cache" / "servers").absolute()
    return (folder, folder.parent, folder.name) if folder.name in {CURRENT, OLDEST} else (folder, folder, None)


def version_of(program: Path, version_args: tuple[str, ...] = ("--version",)) -> str | None:
    """The version that a program tells, or its unpacked package where it tells none; None when it does not run."""
    try:
        done = subprocess.run(
            [program, *version_args], capture_output=True, text=True, timeout=30, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    # Debian builds VictoriaMetrics without a version to tell.
    notes = (folder / "PACKAGE" for folder in program.resolve().parents)
    texts = (done.stdout + done.stderr, *(f"v{n.read_text('utf-8').partition('_')[2]}" for n in notes if n.is_file()))
    return next((found[1] for text in texts if (found := re.search(r"(?:version |\bv)(\d+(?:\.\d+)+)", text))), None)


def serves(server: Server, version: str, wanted: str | None) -> bool:
    """Whether this version belongs to the wanted set; without one every version that we support does."""
    supported = numbers(version) >= numbers(server.oldest)
    if server.module is None or wanted is None:
        return supported
    if wanted == CURRENT:
        return version == server.module.release
    return supported and numbers(version) < numbers(server.module.release)


def candidates(server: Server, cache: Path) -> Iterator[Path]:
    """Places a server may be at, best first: PATH without our own links, plugin folders, built ones, unpacked packages."""
    path = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    folders = [folder for folder in path if not folder.is_relative_to(cache)]
    folders += [Path("/") / folder for folder in PROGRAM_DIRS[1:]] + [Path.home() / ".docker/cli-plugins"]
    folders.append(cache / "built")
    if server.package:
        folders += [cache / server.package / folder for folder in PROGRAM_DIRS]
    for folder in folders:
        for name in server.names:
            program = folder / name
            if program.is_file() and os.access(program, os.X_OK):
                yield program


def find(server: Server, cache: Path, wanted: str | None) -> tuple[Path, str] | None:
    """The first candidate that runs and belongs to the set, with its version."""
    for program in candidates(server, cache):
        version = version_of(program, server.version_args)
        if version is not None and serves(server, version, wanted):
            return program, version
    return None


def make(missing: list[Server], cache: Path, wanted: str | None) -> list[str]:
    """Build or unpack servers; returns what went wrong on the way."""
    modules = dict.fromkeys(server.module for server in missing if server.module and wanted == CURRENT)
    problems = []
    if modules:
        print("Building from Go modules; what is downloaded and compiled for it is deleted afterwards:", flush=True)
        problems = build_all(modules, cache / "built", cache / "building")
    packaged = [server for server in missing if server.package and server.module not in modules]
    if packaged:
        print("Fetching from the distribution's packages:", ", ".join(s.name for s in packaged), flush=True)
        lacking = lambda: {s.package for s in packaged if not find(s, cache, wanted)}  # noqa: E731
        problems += fetch_packages(lacking, cache)
    return problems


def link(server: Server, program: Path, folder: Path, cache: Path) -> None:
    """Point `<folder>/<name>` at the program; replaced in one step, so that parallel runs never see a gap."""
    folder.mkdir(parents=True, exist_ok=True)
    # Relative inside the cache, so that a cache may be moved or mounted elsewhere.
    target = os.path.relpath(program, folder) if program.is_relative_to(cache) else str(program)
    new = folder / f".{server.name}.{os.getpid()}"
    new.symlink_to(target)
    new.replace(folder / server.name)


@contextlib.contextmanager
def locked(cache: Path) -> Iterator[None]:
    """One run at a time makes servers; a second one waits and then finds everything in place."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def wished(server: Server, wanted: str | None) -> str:
    """The version that is asked for, as people write it."""
    return server.module.release if server.module and wanted == CURRENT else f"{server.oldest} or later"


def main() -> int:
    """Find, make, link, and say what there is."""
    started = time.monotonic()
    folder, cache, wanted = folders()
    problems: list[str] = []
    servers = (*SERVERS, *(BESIDES[name] for name in sys.argv[1:]))
    found = {server: find(server, cache, wanted) for server in servers}
    missing = [server for server, at in found.items() if at is None]
    if missing:  # else there is nothing to wait for, while another run makes the other set
        with locked(cache):
            if still_missing := [server for server in missing if find(server, cache, wanted) is None]:
                problems = make(still_missing, cache, wanted)
            found.update({server: find(server, cache, wanted) for server in missing})
    for server, at in found.items():
        if at is None:
            (folder / "bin" / server.name).unlink(missing_ok=True)
            print(f"  {server.name:17} MISSING, version {wished(server, wanted)} is needed")
            continue
        program, version = at
        link(server, program, folder / "bin", cache)
        shown = program.relative_to(ROOT) if program.is_relative_to(ROOT) else program
        print(f"  {server.name:17} {version:10} {shown}")
    if missing:
        print(f"  took {time.monotonic() - started:.0f} s")
    lacking = [server for server, at in found.items() if at is None]
    if not lacking:
        return 0
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)
    wishes = ", ".join(f"{server.name} {wished(server, wanted)}" for server in lacking)
    print(
        f"Install by hand and put on PATH: {wishes}.\n"
        "The projects' release pages carry single static programs; `make servers-current` builds the current ones;\n"
        "or set OTM_SERVERS to a folder that `make servers` has filled on another machine.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
