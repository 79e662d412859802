"""Exact accumulators per UTC day: what makes the daily table's count, average, extremes and deviation exact."""

from __future__ import annotations

from math import inf
from threading import RLock
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import DAY, SECONDS_PER_DAY
from otel_metrics.recording.sinks import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otel_metrics.catalogue import DayKey
    from otel_metrics.recording.sinks import Batch

    Attributes = Mapping[str, str]

KEPT: Final = 4
"""Days that are kept per key: today's, yesterday's, and two for a clock that is wrong for a while; the farthest goes first."""


class Totals:
    """The sums of one day. Never change; ``plus`` returns others."""

    __slots__ = ("count", "day", "high", "low", "squares", "total")

    def __init__(
        self, day: int, count: int = 0, total: float = 0.0, squares: float = 0.0, low: float = inf, high: float = -inf
    ) -> None:
        self.day = day
        self.count = count
        self.total = total
        self.squares = squares
        self.low = low
        self.high = high

    def plus(self, batch: Batch) -> Totals:
        """Return this with a batch added."""
        return Totals(
            self.day,
            self.count + batch.n,
            self.total + batch.total,
            self.squares + batch.squares,
            min(self.low, batch.low),
            max(self.high, batch.high),
        )


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

    __slots__ = ("_attributes", "_days", "_key", "_lock")

    def __init__(self, key: DayKey, lock: RLock) -> None:
        self._key = key
        self._lock = lock
        self._days: tuple[Totals, ...] = ()  # the day recorded in last comes last
        self._attributes: tuple[Attributes, ...] = ()

    def fold(self, batch: Batch, now: float, /) -> None:
        """Add a batch of values recorded at ``now``."""
        day = int(now // SECONDS_PER_DAY)
        with self._lock:
            its = next((totals for totals in self._days if totals.day == day), None) or Totals(day)
            others = [totals for totals in self._days if totals.day != day]
            # The one that was recorded in least recently is forgotten.
            self._days = (*others[1 - KEPT :], its.plus(batch))
            batch.taken += 1

    def days(self, today: int) -> Iterator[tuple[Attributes, Totals]]:
        """Yield labels and totals of the two days that are exposed, if they have values."""
        for totals in self._days:
            age = today - totals.day
            if 0 <= age < len(DAY.values):
                yield self._labels(age), totals

    def _labels(self, age: int) -> Attributes:
        """Return the labels of a day: the same object every time, by which a reader finds what it has rendered."""
        made = self._attributes
        while len(made) <= age:
            made = (*made, {**self._key._asdict(), DAY.name: DAY.values[len(made)]})
        self._attributes = made
        return made[age]


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
                found = self._sinks[key] = DaySink(key, self._lock)
            return found

    def observations(self) -> Iterator[tuple[Attributes, Totals]]:
        """Yield labels and totals of every day that is exposed and has values."""
        today = int(self._clock() // SECONDS_PER_DAY)
        with self._lock:
            sinks = list(self._sinks.values())
        for sink in sinks:
            yield from sink.days(today)
