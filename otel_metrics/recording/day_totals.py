"""Exact accumulators per UTC day: what makes the daily table's count, average, extremes and deviation exact."""

from __future__ import annotations

from copy import copy
from math import inf
from threading import RLock
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import DAY, SECONDS_PER_DAY
from otel_metrics.recording.sinks import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_metrics.catalogue import DayKey
    from otel_metrics.recording.sinks import Batch


KEPT: Final = 4
"""Days that are kept per key: today's, yesterday's, and two for a clock that is wrong for a while; the farthest goes first."""


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

    def add(self, batch: Batch) -> None:
        """Add a batch."""
        squares, low, high = batch.squares, min(self.low, batch.low), max(self.high, batch.high)
        self.count += batch.n
        self.total += batch.total
        self.squares += squares
        self.low, self.high = low, high
        batch.taken += 1


FIELDS: Final[dict[str, Callable[[Totals], float]]] = {
    "count": lambda totals: totals.count,
    "total": lambda totals: totals.total,
    "squares": lambda totals: totals.squares,
    "low": lambda totals: totals.low,
    "high": lambda totals: totals.high,
}
"""The sums of a day, by the name that the catalogue has for them."""


class DaySink(Sink):
    """The days of one key; several series may feed it.

    Days are told apart by their number, not by their order, so a clock that is set wrong and right again finds the true day
    as it left it.
    """

    __slots__ = ("_days", "_lock", "key")

    def __init__(self, key: DayKey) -> None:
        self.key = key
        self._lock = RLock()
        self._days: dict[int, Totals] = {}  # the day recorded in last comes last

    def fold(self, batch: Batch, now: float, /) -> None:
        """Add a batch of values recorded at ``now``."""
        day = int(now // SECONDS_PER_DAY)
        with self._lock:
            totals = self._days.get(day)
            if totals is None or next(reversed(self._days)) != day:
                days = {other: its for other, its in self._days.items() if other != day}
                if len(days) == KEPT:
                    del days[next(iter(days))]  # the one that was recorded in least recently
                totals = days[day] = totals or Totals(day)
                self._days = days
            totals.add(batch)

    def days(self, now: float) -> tuple[Totals, Totals]:
        """Return the totals of the (current, previous) day as of ``now``."""
        day = int(now // SECONDS_PER_DAY)
        with self._lock:
            current, previous = self._days.get(day), self._days.get(day - 1)
            return copy(current) if current else Totals(day), copy(previous) if previous else Totals(day - 1)


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
                found = self._sinks[key] = DaySink(key)
            return found

    def observations(self) -> Iterator[tuple[DayKey, str, Totals]]:
        """Yield (key, "current" or "previous", totals) of every day that has values."""
        now = self._clock()
        with self._lock:
            sinks = list(self._sinks.values())
        for sink in sinks:
            for day, totals in zip(DAY.values, sink.days(now), strict=True):
                if totals.count:
                    yield sink.key, day, totals
