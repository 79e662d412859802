"""Writing files where they are said to be: not through a symbolic link, and with a mode that no umask changes."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from otel_metrics.errors import ConfigurationError

PRIVATE: Final = 0o600
READABLE: Final = 0o644
"""By everybody, as containers run as somebody else."""


def write(path: Path, text: str, *, below: Path, mode: int = READABLE) -> None:
    """Write a whole file, or none: whoever reads meanwhile sees the old one.

    Folders between ``below`` and ``path`` are made. ``below`` itself may be anywhere.

    Raises:
        ConfigurationError: the file, or a folder on the way, is a symbolic link.
        OSError: it cannot be written.
    """
    make_folder(path.parent, below=below, mode=0o755 if mode == READABLE else 0o700)
    reject_link(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            os.fchmod(handle, mode)
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def open_own(path: Path) -> IO[bytes]:
    """Open a file of ours for writing, as it is, for us alone; a new one if there is none.

    Raises:
        ConfigurationError: it is a symbolic link.
        OSError: it cannot be opened.
    """
    reject_link(path)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE), "r+b")


def make_folder(folder: Path, *, below: Path, mode: int) -> None:
    """Make a folder and those on the way from ``below``, none of which may be a symbolic link.

    Raises:
        ConfigurationError: one of them is.
        OSError: it cannot be made.
    """
    below.mkdir(parents=True, exist_ok=True)
    for part in reversed([folder, *folder.parents]):
        if part != below and part.is_relative_to(below):
            reject_link(part)
            if not part.is_dir():
                part.mkdir()
                part.chmod(mode)


def reject_link(path: Path) -> None:
    """Make sure that ``path`` does not lead elsewhere.

    Raises:
        ConfigurationError: it is a symbolic link.
    """
    if path.is_symlink():
        raise ConfigurationError(f"{path} is a symbolic link to {path.readlink()}, which is not followed")
