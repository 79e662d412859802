"""Count, average, extremes, deviation and percentiles, and the data that they are computed from.

A :class:`ValueSummary` is what a source knows of a set of values. Summaries of different sets can be added up, statistics cannot:
that is why the average of averages does not occur in this package.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, chain
from math import sqrt
from typing import TYPE_CHECKING, Final, Protocol

from otel_metrics.catalogue import DAILY_TABLE
from otel_metrics.sketch import Moments, Sketch, edges, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from typing_extensions import Self

    from otel_metrics.sketch import Part


Interval = tuple[float, float, float]
"""Lower edge, upper edge, number of values between them."""

PERCENTILES: Final = {column.field: column.quantile for column in DAILY_TABLE.values() if column.quantile is not None}


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is known of a set of values. Everything but ``count`` and ``total`` is None if there are none.

    ``stddev`` is that of a sample (divided by n - 1), 0.0 for a single value. Percentiles are those of SQL's
    ``percentile_cont``: interpolated between the two values next to rank ``q * (n - 1)``.
    """

    count: int = 0
    total: float = 0.0
    avg: float | None = None
    min: float | None = None
    max: float | None = None
    stddev: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    estimated: frozenset[str] = frozenset()
    """Names of the fields that are estimates; the others are exact."""

    def columns(self) -> dict[str, float]:
        """Return what is known, by column of the daily table."""
        known = asdict(self)
        found = ((name, known[column.field]) for name, column in DAILY_TABLE.items())
        return {name: value for name, value in found if value is not None}

    def map(self, rising: Callable[[float], float]) -> Statistics:
        """Return the statistics of the values mapped by ``rising``, which must be linear and rising (a unit, an offset)."""

        def mapped(value: float | None) -> float | None:
            return None if value is None else rising(value)

        return replace(
            self,
            total=rising(self.avg) * self.count if self.avg is not None else 0.0,
            avg=mapped(self.avg),
            min=mapped(self.min),
            max=mapped(self.max),
            stddev=None if self.stddev is None else self.stddev * (rising(1.0) - rising(0.0)),
            p50=mapped(self.p50),
            p95=mapped(self.p95),
            p99=mapped(self.p99),
        )


class ValueSummary(Protocol):
    """What a source knows of a set of values."""

    @property
    def count(self) -> int:
        """Return how many values there are."""

    def plus(self, other: Self, /) -> Self:
        """Return the summary of both sets together."""

    def statistics(self) -> Statistics:
        """Return the statistics."""


@dataclass(frozen=True, slots=True)
class RecordedValues:
    """Values as the local store keeps them: themselves, or sketches of them."""

    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, several: Iterable[Iterable[Part]]) -> RecordedValues:
        """Return everything that several series hold."""
        return cls(tuple(chain.from_iterable(several)))

    @property
    def count(self) -> int:
        """Return how many values there are."""
        return sum(len(part) if isinstance(part, array) else part.moments.count for part in self.parts)

    def plus(self, other: RecordedValues) -> RecordedValues:
        """Return both together."""
        return RecordedValues(self.parts + other.parts)

    def statistics(self) -> Statistics:
        """Return the statistics; only percentiles can be estimates, and only where values had to become a sketch."""
        raw = array("d")
        for part in self.parts:
            if isinstance(part, array):
                raw += part
        sketches = [part for part in self.parts if isinstance(part, Sketch)]
        if not sketches:
            return _exact(raw)
        if raw:
            sketches.append(Sketch.of(raw))
        whole = sketches[0].moments
        for sketch in sketches[1:]:
            whole = whole.plus(sketch.moments)
        bits = min(sketch.bits for sketch in sketches)
        spread = Spread(sorted((*edges(key, bits), float(count)) for key, count in merged(sketches, bits).items()))

        def percentile(q: float) -> float:
            return min(max(spread.quantile(q), whole.low), whole.high)

        return Statistics(
            count=whole.count,
            total=whole.total,
            avg=whole.total / whole.count,
            min=whole.low,
            max=whole.high,
            stddev=_stddev(whole.deviations, whole.count),
            p50=percentile(PERCENTILES["p50"]),
            p95=percentile(PERCENTILES["p95"]),
            p99=percentile(PERCENTILES["p99"]),
            estimated=frozenset(PERCENTILES),
        )


class Spread:
    """Values of which only the intervals that they lie in are known, assumed to be evenly spread in each.

    ``exponential``: evenly on a logarithmic scale, as in native histograms.
    """

    def __init__(self, intervals: Sequence[Interval], *, exponential: bool = False) -> None:
        self.intervals = [interval for interval in intervals if interval[2] > 0]
        self._exponential = exponential
        self._ends = list(accumulate(count for _, _, count in self.intervals))

    def quantile(self, q: float) -> float:
        """Return the value at rank ``q * (n - 1)``, between the values next to it."""
        position = q * max(self._ends[-1] - 1, 0)
        rank = int(position)
        below = self.value(rank)
        return below + (self.value(min(rank + 1, self._ends[-1] - 1)) - below) * (position - rank)

    def value(self, rank: float) -> float:
        """Return the value that is ``rank``-th from below, counted from 0."""
        at = min(bisect_right(self._ends, rank), len(self.intervals) - 1)
        lower, upper, count = self.intervals[at]
        share = min((rank - (self._ends[at] - count) + 0.5) / count, 1.0)
        if self._exponential and lower * upper > 0:
            return lower * float((upper / lower) ** share)
        return lower + (upper - lower) * share


def _exact(values: array[float]) -> Statistics:
    if not values:
        return Statistics()
    moments = Moments.of(values)
    ordered = sorted(values)
    return Statistics(
        count=moments.count,
        total=moments.total,
        avg=moments.total / moments.count,
        min=moments.low,
        max=moments.high,
        stddev=_stddev(moments.deviations, moments.count),
        p50=_percentile(ordered, PERCENTILES["p50"]),
        p95=_percentile(ordered, PERCENTILES["p95"]),
        p99=_percentile(ordered, PERCENTILES["p99"]),
    )


def _percentile(ordered: Sequence[float], q: float) -> float:
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _stddev(deviations: float, count: int) -> float:
    return sqrt(deviations / (count - 1)) if count > 1 else 0.0
