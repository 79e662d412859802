"""A folder of OpenMetrics files, for servers whose data directory is not at hand: promtool takes them one by one."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from otel_metrics.errors import ImportFailedError
from otel_metrics.importing.openmetrics_file import END
from otel_metrics.importing.target import HEAD_SECONDS, WORK, Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_metrics.importing.target import Day

LARGEST: Final = 64 * 2**20
"""Bytes that a file may have. A day with more gets several."""


class OpenMetricsFolder(Target):
    """Writes ``import-2024-02-28.om``, and ``.2.om`` and so on for what is too large.

    A day's files are replaced by each run: the folder holds what the database says now.

    Args:
        path: the folder; made if it is not there.
        largest: bytes that a file may have.
    """

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        super().__init__(path / WORK)
        self._path = path
        self._largest = largest

    def head_start(self, now: float) -> float | None:
        """Return the time that a server which loads the files may not have in blocks yet."""
        return now - HEAD_SECONDS

    def store(self, day: Day) -> bool:
        """Put a day's files in place of those that it had."""
        name = quote(day.name, safe="")
        try:
            parts = self._parts(day.file)
            for number, part in enumerate(parts, 1):
                part.replace(self._part(name, number))
            for number in count(len(parts) + 1):
                if not (old := self._part(name, number)).exists():
                    break
                old.unlink()
        except OSError as error:
            raise ImportFailedError(f"{self._path}: {error.strerror}") from error
        return True

    def _part(self, name: str, number: int) -> Path:
        return self._path / (f"{name}.om" if number == 1 else f"{name}.{number}.om")

    def _parts(self, file: Path) -> list[Path]:
        """Return the file itself, or those that it was cut into."""
        if file.stat().st_size <= self._largest:
            return [file]
        made = []
        with file.open(encoding="utf-8") as text:
            for number, lines in enumerate(_cut(text, self._largest), 1):
                part = file.with_suffix(f".{number}.om")
                with part.open("w", encoding="utf-8", buffering=2**20) as out:
                    out.writelines(lines)
                made.append(part)
        return made


def _cut(text: Iterator[str], largest: int) -> Iterator[Iterator[str]]:
    """Yield the lines of one part after the other; each has to be read to its end. The type of a family is told in each."""
    family, line = "", next(text)

    def part() -> Iterator[str]:
        nonlocal family, line
        size = len(END)
        if line[0] != "#":
            size += len(family)
            yield family
        while line != END and size + len(line.encode()) <= largest:
            size += len(line.encode())
            if line[0] == "#":
                family = line
            yield line
            line = next(text)
        yield END

    while line != END:
        yield part()
