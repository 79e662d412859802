#!/usr/bin/env python3
"""Put into `.cache/visual` what draws dashboards: the viewer of tests/visual with its npm packages, and Chromium.

The packages are those of the lock file, under Apache-2.0 and other permissive licences; nothing of theirs is run while
they are installed. Chromium is the one on PATH, or Debian's, unpacked into the cache with the libraries that it needs
and the machine lacks. Nothing is installed, no root is needed. Afterwards `.cache/visual/chromium` starts the browser.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from packages import Unavailable, fetch_with_dependencies

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tests/visual/viewer"
CACHE = ROOT / ".cache/visual"
VIEWER = CACHE / "viewer"
CHROMIUM = CACHE / "chromium"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done while it is done, and how long it took."""
    started = time.monotonic()
    print(f"  {what} ...", end="", flush=True)
    yield
    print(f" {time.monotonic() - started:.0f} s", flush=True)


def changed(stamp: Path, files: list[Path]) -> str:
    """The digest of some files, '' if it is the one that was noted in the stamp."""
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return "" if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest else digest


def run(*command: str) -> None:
    """Run a step in the viewer's folder; what it says is shown when it fails."""
    done = subprocess.run(command, cwd=VIEWER, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def install_viewer() -> None:
    """Copy the viewer, install its packages and bundle its page, each if it has changed."""
    locked = [SOURCE / name for name in ("package.json", "package-lock.json", ".npmrc")]
    sources = [*locked, SOURCE / "build.mjs", *sorted((SOURCE / "src").iterdir())]
    shutil.copytree(SOURCE, VIEWER, dirs_exist_ok=True)
    if digest := changed(VIEWER / ".installed", locked):
        with step("npm packages of the viewer"):
            run("npm", "ci", "--silent")
        (VIEWER / ".installed").write_text(digest, encoding="utf-8")
    if digest := changed(VIEWER / ".bundled", sources):
        with step("bundle"):
            run("node", "build.mjs")
        (VIEWER / ".bundled").write_text(digest, encoding="utf-8")


def find_chromium() -> None:
    """Make `.cache/visual/chromium` start a browser."""
    on_path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if on_path:
        CHROMIUM.unlink(missing_ok=True)
        CHROMIUM.symlink_to(on_path)
    elif not CHROMIUM.is_file() or CHROMIUM.is_symlink():
        CHROMIUM.unlink(missing_ok=True)
        with step("Chromium, from the distribution's packages"):
            fetch_with_dependencies("chromium", CACHE / "debian")
        start = CHROMIUM.with_suffix(".new")
        start.write_text(starter(CACHE / "debian"), encoding="utf-8")
        start.chmod(0o755)
        start.replace(CHROMIUM)


def starter(debian: Path) -> str:
    """A script that starts the unpacked browser with the unpacked libraries, and fonts where the machine has none."""
    folders = sorted({str(file.parent.relative_to(debian)) for file in debian.glob("**/lib/**/*.so*")})
    libraries = ":".join(f"$root/{folder}" for folder in folders)
    return (
        "#!/bin/sh\n"
        'root="$(dirname "$(readlink -f "$0")")/debian"\n'
        '[ -d /etc/fonts ] || export FONTCONFIG_SYSROOT="$root"\n'
        f'LD_LIBRARY_PATH="{libraries}" exec "$root/usr/lib/chromium/chromium" "$@"\n'
    )


def main() -> int:
    """Install what is missing."""
    missing = [name for name in ("node", "npm") if not shutil.which(name)]
    if missing:
        print(f"Install {' and '.join(missing)} (packages nodejs and npm): they run the viewer.", file=sys.stderr)
        return 1
    try:
        install_viewer()
        find_chromium()
    except (Unavailable, OSError, subprocess.TimeoutExpired) as error:
        print(f"\n  {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
