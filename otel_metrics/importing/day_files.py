"""Values between reading and writing: one file per UTC day, so that rows may come in any order and memory stays bounded."""

from __future__ import annotations

import struct
from array import array
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_HEAD: Final = struct.Struct("<iii")

ROWS: Final = -1
"""The column number of bare rows, which have times and no values."""

TimedValues = tuple["array[int]", "array[float]"]
"""Times (unix milliseconds) and values, in the order of the old database's rows."""


class DayFiles:
    """A folder of day files. Each holds records of (buffer, column, number, times, values)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True)
        self._pending: defaultdict[int, list[bytes]] = defaultdict(list)

    def add(self, day: int, buffer: int, column: int, times: array[int], values: array[float] | None) -> None:
        """Add one column of rows of one day (days since 1970)."""
        head = _HEAD.pack(buffer, column, len(times))
        self._pending[day] += (head, times.tobytes(), b"" if values is None else values.tobytes())

    def flush(self) -> None:
        """Append what was added to the day files."""
        for day, parts in self._pending.items():
            with (self._folder / str(day)).open("ab") as file:
                file.writelines(parts)
        self._pending.clear()

    def days(self) -> list[int]:
        """Return the days that have rows, in order."""
        return sorted(int(path.name) for path in self._folder.iterdir())

    def read(self, day: int) -> Mapping[tuple[int, int], TimedValues]:
        """Return what was added to a day, by (buffer, column)."""
        found: dict[tuple[int, int], TimedValues] = {}
        path = self._folder / str(day)
        for buffer, column, times, values in self._records(path.read_bytes() if path.exists() else b""):
            part = found.setdefault((buffer, column), (array("q"), array("d")))
            part[0].extend(times)
            part[1].extend(values)
        return found

    @staticmethod
    def _records(content: bytes) -> Iterator[tuple[int, int, array[int], array[float]]]:
        at = 0
        while at < len(content):
            buffer, column, n = _HEAD.unpack_from(content, at)
            at += _HEAD.size
            times, values = array("q"), array("d")
            times.frombytes(content[at : at + 8 * n])
            at += 8 * n
            if column != ROWS:
                values.frombytes(content[at : at + 8 * n])
                at += 8 * n
            yield buffer, column, times, values
