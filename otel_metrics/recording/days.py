"""Exact accumulators per UTC day: what makes the daily table's count, average, extremes and deviation exact."""

from __future__ import annotations

from copy import copy
from math import inf
from threading import RLock
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_metrics.recording.cells import Chunk

SECONDS_PER_DAY: Final = 86_400


class DayKey(NamedTuple):
    """What the daily table has one row for."""

    feature: str
    metric_type: str
    metric_name: str
    unit: str


class Totals:
    """The sums of one day."""

    __slots__ = ("count", "day", "high", "low", "squares", "total")

    def __init__(self, day: int) -> None:
        self.day = day
        self.count = 0
        self.total = 0.0
        self.squares = 0.0
        self.low = inf
        self.high = -inf

    def add(self, chunk: Chunk) -> None:
        """Add a chunk."""
        self.count += chunk.n
        self.total += chunk.total
        self.squares += chunk.squares
        self.low = min(self.low, chunk.low)
        self.high = max(self.high, chunk.high)


class DaySink:
    """The current and the previous day of one key; several series may feed it."""

    __slots__ = ("_current", "_lock", "_previous", "key")

    def __init__(self, key: DayKey, day: int) -> None:
        self.key = key
        self._lock = RLock()
        self._current = Totals(day)
        self._previous = Totals(day - 1)

    def fold(self, chunk: Chunk, now: float) -> None:
        """Add a chunk of values recorded at ``now``.

        A clock that stepped back over midnight adds to the previous day, never to one that has been closed longer.
        """
        day = int(now // SECONDS_PER_DAY)
        with self._lock:
            self._roll(day)
            (self._previous if day < self._current.day else self._current).add(chunk)

    def days(self, now: float) -> tuple[Totals, Totals]:
        """Return the totals of the (current, previous) day as of ``now``."""
        with self._lock:
            self._roll(int(now // SECONDS_PER_DAY))
            return copy(self._current), copy(self._previous)

    def _roll(self, day: int) -> None:
        if day > self._current.day:
            self._previous = self._current if self._current.day == day - 1 else Totals(day - 1)
            self._current = Totals(day)


class Days:
    """All accumulators of this process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = RLock()
        self._sinks: dict[DayKey, DaySink] = {}

    def sink(self, key: DayKey) -> DaySink:
        """Return the accumulator of ``key``, made at its first use."""
        with self._lock:
            found = self._sinks.get(key)
            if found is None:
                found = self._sinks[key] = DaySink(key, int(self._clock() // SECONDS_PER_DAY))
            return found

    def observations(self) -> Iterator[tuple[DayKey, str, Totals]]:
        """Yield (key, "current" or "previous", totals) of every day that has values."""
        now = self._clock()
        with self._lock:
            sinks = list(self._sinks.values())
        for sink in sinks:
            for day, totals in zip(("current", "previous"), sink.days(now), strict=True):
                if totals.count:
                    yield sink.key, day, totals
