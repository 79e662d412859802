"""What is left of values in a histogram that a server stored: how many lie between which bounds, and their sum."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.querying.statistics import PERCENTILES, Spread, Statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otel_metrics.querying.statistics import Interval

_FROM_BUCKETS: Final = frozenset({"min", "max", "stddev", *PERCENTILES})


@dataclass(frozen=True, slots=True)
class Buckets:
    """Counted intervals. Count and sum, and with them the average, are exact; the rest is estimated from the bounds.

    Values are assumed to be spread evenly within a bucket, as PromQL's ``histogram_quantile`` does, and better where the sum
    tells more: a single value is known exactly, values in a single bucket lie around their average, and the bucket
    without an upper bound ends where its average asks for, instead of where it begins.
    """

    intervals: tuple[Interval, ...] = ()
    total: float = 0.0
    exponential: bool = False
    extremes: tuple[float, float] | None = None
    """No value is below the first or above the second of these. Taken for the extremes where they can be."""

    @property
    def count(self) -> int:
        """Return how many values there are."""
        return round(sum(count for _, _, count in self.intervals))

    @classmethod
    def classic(
        cls, cumulative: Mapping[float, float], count: float, total: float, bounds: Sequence[float] = ()
    ) -> Buckets:
        """Return the histogram of a classic family.

        Args:
            cumulative: upper bound (``le``) -> number of values up to it. May lack bounds that hold none or all of them.
            count: number of values.
            total: sum of the values.
            bounds: all bounds, of which ``cumulative`` may lack some.
        """
        if count <= 0:
            return cls()
        edges = sorted({*cumulative, *bounds, inf})
        average = total / count
        # Without a bound in between, all values lie in one bucket, and their average does, too.
        full = max((bound for bound, number in cumulative.items() if number < count), default=None)
        intervals: list[Interval] = []
        below, lower = 0.0, None
        for bound in edges:
            if lower is None:  # like PromQL: from zero, unless the bounds themselves begin there or below
                lower = 0.0 if bound > 0 else bound
            if bound in cumulative:
                reached = min(cumulative[bound], count)
            elif full is None:
                reached = count if average <= bound or bound == inf else 0.0
            else:
                reached = count if bound > full else below
            if reached > below:
                intervals.append((lower, bound, reached - below))
                below = reached
            lower = bound
        return cls(_bounded(intervals, total), total)

    @classmethod
    def native(cls, histogram: Mapping[str, Any]) -> Buckets:
        """Return the native histogram that the HTTP API's ``histogram`` field holds.

        Raises:
            ValueError, KeyError, TypeError: it holds something else.
        """
        found = [
            (float(lower), float(upper), float(count)) for _, lower, upper, count in histogram.get("buckets") or ()
        ]
        below_zero = any(upper <= 0 and count for lower, upper, count in found)
        intervals = [
            # The zero bucket reaches below zero, but nothing did unless something lies further down.
            (0.0 if lower < 0 < upper and not below_zero else lower, upper, count)
            for lower, upper, count in found
            if count > 0
        ]
        if not intervals and float(histogram["count"]) > 0:
            raise ValueError("a native histogram without buckets")
        return cls.ranges(intervals, float(histogram["sum"]))

    @classmethod
    def ranges(cls, intervals: Iterable[Interval], total: float) -> Buckets:
        """Return the histogram of values in buckets that widen exponentially, in any order."""
        return cls(_bounded(sorted(intervals), total), total, exponential=True)

    def plus(self, other: Buckets) -> Buckets:
        """Return both together."""
        if not self.intervals:
            return other
        if not other.intervals:
            return self
        counts: defaultdict[tuple[float, float], float] = defaultdict(float)
        for lower, upper, count in (*self.intervals, *other.intervals):
            counts[lower, upper] += count
        intervals = tuple((*span, count) for span, count in sorted(counts.items()))
        extremes = None
        if self.extremes and other.extremes:
            extremes = min(self.extremes[0], other.extremes[0]), max(self.extremes[1], other.extremes[1])
        return Buckets(intervals, self.total + other.total, self.exponential or other.exponential, extremes)

    def within(self, low: float, high: float) -> Buckets:
        """Return the same, knowing that no value is below ``low`` or above ``high``."""
        clipped = (
            (min(max(lower, low), high), max(min(upper, high), low), count) for lower, upper, count in self.intervals
        )
        return replace(self, intervals=tuple(clipped), extremes=(low, high))

    def mirrored(self) -> Buckets:
        """Return the same with the opposite sign."""
        intervals = tuple((-upper, -lower, count) for lower, upper, count in reversed(self.intervals))
        extremes = (-self.extremes[1], -self.extremes[0]) if self.extremes else None
        return Buckets(intervals, -self.total, self.exponential, extremes)

    def statistics(self) -> Statistics:
        """Return the statistics."""
        count = self.count
        if not count:
            return Statistics()
        avg = self.total / count
        if count == 1:
            return Statistics(1, self.total, avg, avg, avg, 0.0, avg, avg, avg)
        if self.extremes and self.extremes[0] == self.extremes[1]:
            same = self.extremes[0]
            return Statistics(count, self.total, same, same, same, 0.0, same, same, same)
        spread = Spread(_centred(self.intervals, avg), exponential=self.exponential)
        low, high = spread.value(0), spread.value(count - 1)
        if self.extremes:
            lowest, highest = self.intervals[0], self.intervals[-1]
            low = self.extremes[0] if lowest[0] == self.extremes[0] else low
            high = self.extremes[1] if highest[1] == self.extremes[1] else high
        return Statistics(
            count,
            self.total,
            avg,
            min=low,
            max=high,
            stddev=_stddev(spread.intervals, avg, count),
            **{name: spread.quantile(q) for name, q in PERCENTILES.items()},
            estimated=_FROM_BUCKETS,
        )


def _bounded(intervals: list[Interval], total: float) -> tuple[Interval, ...]:
    """Give the bucket that reaches to infinity an upper edge such that the average comes out right."""
    if intervals and intervals[-1][1] == inf:
        lower, _, count = intervals[-1]
        rest = sum(number * (low + high) / 2 for low, high, number in intervals[:-1])
        average = (total - rest) / count
        width = 2 * (average - lower) if isfinite(average) else 0.0
        intervals[-1] = (lower, lower + max(width, 0.0), count)
    return tuple(intervals)


def _centred(intervals: Iterable[Interval], avg: float) -> list[Interval]:
    """Narrow a single interval to the part that lies evenly around the average."""
    found = list(intervals)
    if len(found) == 1:
        lower, upper, count = found[0]
        reach = max(min(avg - lower, upper - avg), 0.0)
        return [(avg - reach, avg + reach, count)]
    return found


def _stddev(intervals: Iterable[Interval], avg: float, count: int) -> float:
    deviations = 0.0
    for lower, upper, number in intervals:
        middle, width = (lower + upper) / 2, upper - lower
        deviations += number * ((middle - avg) ** 2 + width * width / 12 * max(1 - 1 / (number * number), 0.0))
    return sqrt(deviations / (count - 1))
