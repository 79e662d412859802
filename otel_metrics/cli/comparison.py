"""Two dashboards of the same data, from two sources: do they agree?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLERANCE: Final = 1e-6
"""Relative difference that summing in another order can explain."""

_NOTHING: Final = 1e-12
_NOT_MEASURED: Final = frozenset(
    {"hours", "window", "generated_at", "source", "exact", "estimated", "has_data", "feature"}
)


@dataclass(frozen=True, slots=True)
class ComparedNumber:
    """One number as two sources see it; ``None`` is no data."""

    name: str
    local: float | None
    remote: float | None
    estimated: bool

    @property
    def difference(self) -> float | None:
        """The relative difference, as a share of the local number; ``None`` if either is missing."""
        if self.local is None or self.remote is None:
            return None
        if abs(self.local - self.remote) < _NOTHING:
            return 0.0
        return (self.remote - self.local) / abs(self.local) if self.local else math.inf

    @property
    def agrees(self) -> bool:
        """Whether both are the same number. An estimate agrees if there is one: how close it is, is for the reader to see."""
        if self.local is None or self.remote is None:
            return self.local is self.remote
        return self.estimated or abs(self.difference or 0.0) <= TOLERANCE


def rows(local: Mapping[str, Any], remote: Mapping[str, Any]) -> list[ComparedNumber]:
    """Return every number of both dashboards, side by side, in the order of the local one."""
    ours, theirs = dict(_numbers(local)), dict(_numbers(remote))
    guessed = {*local.get("estimated", ()), *remote.get("estimated", ())}
    names = [*ours, *(name for name in theirs if name not in ours)]
    return [ComparedNumber(name, ours.get(name), theirs.get(name), _short(name) in guessed) for name in names]


def _short(name: str) -> str:
    """Return (section).(key), as dashboards list their estimates: a key is an estimate in all parts of its section."""
    first, _, rest = name.partition(".")
    return f"{first}.{rest.rpartition('.')[2]}"


def _numbers(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float | None]]:
    for key in node:  # items() of a result would leave out what it has no data for
        value, name = node[key], f"{path}{key}"
        if key in _NOT_MEASURED:
            continue
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{name}.")
        elif isinstance(value, list):
            # Resources, and values of other units: told apart by what names them, not by their place.
            for entry in value:
                words = " ".join(str(word) for word in entry.values() if isinstance(word, str))
                yield from _numbers(entry, f"{name}.{words}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, None if math.isnan(value) else value
