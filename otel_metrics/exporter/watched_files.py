"""Files that are read again when they change: users and certificates are replaced while the application runs."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_logger = logging.getLogger(__name__)

T = TypeVar("T")
Stamp = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Contents(Generic[T]):
    """What files say, which files these are, and what of them is not understood."""

    value: T
    files: tuple[Path, ...]
    problems: tuple[str, ...] = ()


class WatchedFiles(Generic[T]):
    """What files say now. A version that cannot be used is logged as an error, once."""

    def __init__(
        self, files: tuple[Path, ...], load: Callable[[], Contents[T]], otherwise: Callable[[T], T] = lambda last: last
    ) -> None:
        """``otherwise`` tells what holds while the files cannot be read; by default what they said last.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file is not what it should be.
        """
        self._load = load
        self._otherwise = otherwise
        self._lock = threading.Lock()
        self._stamp = _stamp(files)
        loaded = load()
        if loaded.problems:
            raise ValueError(loaded.problems[0])
        self._files, self._value = loaded.files or files, loaded.value
        if self._files != files:
            self._stamp = _stamp(self._files)
        self._valid = True

    def current(self) -> T:
        """Return what the files say."""
        with self._lock:
            stamp = _stamp(self._files)  # before reading: what changes meanwhile is read once more
            if stamp != self._stamp:
                self._stamp = stamp
                self._refresh()
            return self._value

    @property
    def valid(self) -> bool:
        """Whether the files, as they are now, can be used."""
        self.current()
        return self._valid

    def _refresh(self) -> None:
        problems: tuple[str, ...]
        try:
            loaded = self._load()
        except (OSError, ValueError) as error:
            self._value, problems = self._otherwise(self._value), (str(error),)
        else:
            self._value, problems = loaded.value, loaded.problems
            if loaded.files != self._files:
                self._files, self._stamp = loaded.files, _stamp(loaded.files)
        for problem in problems:
            _logger.error("a changed file cannot be used: %s (%s)", problem, ", ".join(map(str, self._files)))
        if not problems and not self._valid:
            _logger.info("%s can be used again", ", ".join(map(str, self._files)))
        self._valid = not problems


def _stamp(files: tuple[Path, ...]) -> Stamp:
    """Return what changes with the files."""
    stamps: list[object] = []
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            stamps.append(error.errno)
        else:
            stamps.append((status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
    return tuple(stamps)
