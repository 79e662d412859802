"""Many values summed up: bucket counts, exponential indexes and totals, exact, at about 0.1 µs a value.

The values of a batch are sorted, so explicit buckets cost one bisection per bucket boundary instead of one per value.
Exponential indexes are one logarithm each, at the scale that the series has got to (8 at most: 256 buckets per doubling);
they wait in a list, are counted in bulk where they are many, and added up once per series and collection.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from functools import cache
from math import ceil, inf, log2
from operator import add
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SCALE: Final = 8
MAX_BUCKETS: Final = 640
"""The more decades a series' values spread over, the wider the buckets: 0.27 % (scale 8) up to 0.75 decades, 0.54 % up to 1.5,
1.09 % up to 3, 2.19 % up to 6, 4.43 % up to 12. Zeros do not count. With 160, the SDK's default, they are four times as wide.

A percentile is off by less than a bucket, by half of one if taken from the middle."""

_SMALLEST: Final = 2.0**-1022
"""Everything below the smallest normal float is in its bucket."""

_FEW: Final = 256
"""So many indexes are added up faster one by one than counted first."""

_SIZES: Final = ((2**8, "B"), (2**16, "H"), (2**32, "I"), (inf, "Q"))
"""Arrays whose numbers are below a limit."""


class BucketSpec(NamedTuple):
    """What an aggregation wants values summed up into."""

    bounds: tuple[float, ...] | None
    exponential: bool

    def union(self, other: BucketSpec | None) -> BucketSpec | None:
        """Return what serves both, or None if only the values themselves do."""
        if other is None or (self.bounds and other.bounds and self.bounds != other.bounds):
            return None
        return BucketSpec(self.bounds or other.bounds, self.exponential or other.exponential)


class BucketCounts:
    """Values summed up into what ``spec`` asks for; ``last`` is the one recorded last.

    Exponential indexes are ``ceil(log2(value) * 2**scale)``: that of Prometheus' native histograms, one more than
    OpenTelemetry's. Powers of two come out exact. ``counted`` are those that were too many for the list ``indexes``.
    ``added`` is what it was added to last, and what came of that.
    """

    __slots__ = (
        "added",
        "buckets",
        "counted",
        "first",
        "high",
        "indexes",
        "last",
        "low",
        "n",
        "scale",
        "spec",
        "top",
        "total",
        "zeros",
    )  # fmt: skip

    def __init__(self, spec: BucketSpec, scale: int = SCALE) -> None:
        self.spec = spec
        self.added: tuple[Accumulation, Accumulation] | None = None
        self.buckets = None if spec.bounds is None else [0] * (len(spec.bounds) + 1)
        self.scale = scale
        self.indexes: list[int] = []
        self.counted: Counter[int] | None = None
        self.first, self.top = 0, -1
        self.zeros = 0
        self.n = 0
        self.total = 0.0
        self.low = inf
        self.high = -inf
        self.last = 0.0

    def add(self, values: Sequence[float], total: float, last: float) -> None:
        """Add ascending, non-negative ``values`` and their ``total``: all of it or, if a signal handler raises, nothing."""
        if len(self.indexes) > _FEW:
            self._count()
        n, low, high = len(values), min(self.low, values[0]), max(self.high, values[-1])
        buckets, zeros, first, top = self.buckets, self.zeros, self.first, self.top
        indexes: list[int] = []
        if buckets is not None and self.spec.bounds is not None:
            buckets = buckets.copy()
            count_into(buckets, self.spec.bounds, values)
        if self.spec.exponential:
            if values[0] < _SMALLEST:
                subnormal = bisect_right(values, 0.0)
                zeros += subnormal
                values = [max(value, _SMALLEST) for value in values[subnormal:]]
            if values:
                factor = 2.0**self.scale
                indexes = [ceil(log2(value) * factor) for value in values]
                fresh = first > top
                first = indexes[0] if fresh else min(first, indexes[0])
                top = indexes[-1] if fresh else max(top, indexes[-1])
        # From here on without a call, see otel_metrics.recording.buffers.
        self.n += n
        self.total += total
        self.low, self.high, self.last = low, high, last
        self.buckets, self.zeros, self.first, self.top = buckets, zeros, first, top
        self.indexes += indexes

    def _count(self) -> None:
        """Count the indexes, as finely as an aggregation could keep them: a counts takes no more memory than that."""
        counted = Counter(self.counted)  # a copy, which takes a tenth of what counting takes
        counted.update(self.indexes)
        first, top = self.first - 1, self.top - 1
        change = _excess(first, top)
        if change:
            fine, counted = counted, Counter()
            for index, n in fine.items():
                counted[(index - 1 >> change) + 1] += n
        self.counted, self.indexes = counted, []
        self.scale, self.first, self.top = self.scale - change, (first >> change) + 1, (top >> change) + 1

    def representatives(self) -> Iterator[tuple[float, int]]:
        """Yield (value, count) for an aggregation whose buckets are others: the upper end of each bucket."""
        if self.buckets is not None and self.spec.bounds is not None:
            for bound, count in zip((*self.spec.bounds, inf), self.buckets, strict=True):
                if count:
                    yield max(min(bound, self.high), self.low), count
        else:
            yield from (((self.total / self.n), self.n),)


def count_into(buckets: list[int], bounds: Sequence[float], values: Sequence[float]) -> None:
    """Count ascending ``values`` into ``buckets``; a value equal to a bound belongs below it."""
    done, n = 0, len(values)
    i = bisect_left(bounds, values[0])
    while done < n:
        if i == len(bounds):
            buckets[i] += n - done
            return
        upto = bisect_right(values, bounds[i], done)
        buckets[i] += upto - done
        done = upto
        i += 1


def _excess(low: int, high: int) -> int:
    """Return how many scales too fine buckets from ``low`` to ``high`` are for there to be ``MAX_BUCKETS`` at most."""
    change = 0
    while (high >> change) - (low >> change) >= MAX_BUCKETS:
        change += 1
    return change


class Exponential:
    """An exponential histogram: at most ``MAX_BUCKETS`` buckets from ``offset`` on, as fine as they can be.

    ``counts`` take as many bytes each as all values together need: most series have few values in many buckets.
    """

    __slots__ = ("counts", "n", "offset", "scale", "zeros")

    def __init__(self) -> None:
        self.scale = SCALE
        self.offset = 0
        self.counts = array("B")
        self.n = 0
        self.zeros = 0

    def plus(self, other: BucketCounts) -> Exponential:
        """Return the histogram with bucket counts added."""
        made = Exponential()
        made.scale, made.offset, made.counts, made.n, made.zeros = (
            self.scale,
            self.offset,
            self.counts[:],
            self.n,
            self.zeros,
        )
        made.add(other)
        return made

    def add(self, other: BucketCounts) -> None:
        """Add the exponential indexes."""
        self.zeros += other.zeros
        self.n += other.n
        if (code := next(code for limit, code in _SIZES if self.n < limit)) != self.counts.typecode:
            self.counts = array(code, self.counts)
        if other.scale < self.scale:
            self._coarsen(self.scale - other.scale)
        if other.first > other.top:
            return
        shift = other.scale - self.scale
        shift += self._reach(other.first - 1 >> shift, other.top - 1 >> shift)
        counts, offset = self.counts, self.offset
        if shift:
            for index in other.indexes:
                counts[(index - 1 >> shift) - offset] += 1
        else:
            offset += 1
            for index in other.indexes:
                counts[index - offset] += 1
            offset -= 1
        if other.counted is not None:
            for index, n in other.counted.items():
                counts[(index - 1 >> shift) - offset] += n

    def _reach(self, low: int, high: int) -> int:
        """Make buckets from ``low`` to ``high``; return by how many scales they had to get coarser for that."""
        if self.counts:
            end = self.offset + len(self.counts) - 1
            if self.offset <= low and high <= end:
                return 0
            low, high = min(low, self.offset), max(high, end)
        change = _excess(low, high)
        self._coarsen(change)
        low, high = low >> change, high >> change
        if self.counts:
            end = self.offset + len(self.counts) - 1
            self.counts = self._zeros(self.offset - low) + self.counts + self._zeros(high - end)
        else:
            self.counts = self._zeros(high - low + 1)
        self.offset = low
        return change

    def _coarsen(self, change: int) -> None:
        self.scale -= change
        if change and self.counts:
            first = self.offset >> change
            counts = self._zeros((self.offset + len(self.counts) - 1 >> change) - first + 1)
            for index, n in enumerate(self.counts, self.offset):
                counts[(index >> change) - first] += n
            self.offset, self.counts = first, counts

    def _zeros(self, n: int) -> array[int]:
        return array(self.counts.typecode, (0,)) * n


class Accumulation:
    """What an aggregation has added up so far. Never changes; ``plus`` returns another.

    So the aggregations of several readers, which add the same counts, share what they have added up, and the work.
    """

    __slots__ = ("buckets", "exponential", "high", "low", "n", "spec", "total")

    def __init__(self, spec: BucketSpec) -> None:
        self.spec = spec
        self.buckets = None if spec.bounds is None else [0] * (len(spec.bounds) + 1)
        self.exponential = Exponential() if spec.exponential else None
        self.n = 0
        self.total = 0.0
        self.low = inf
        self.high = -inf

    def plus(self, other: BucketCounts) -> Accumulation:
        """Return this with counts added, exactly if they were made for the same spec."""
        if other.added is not None and other.added[0] is self:
            return other.added[1]
        made = Accumulation.__new__(Accumulation)
        made.spec = self.spec
        made.buckets, made.exponential = self._buckets_plus(other), self._exponential_plus(other)
        made.n = self.n + other.n
        made.total = self.total + other.total
        made.low, made.high = min(self.low, other.low), max(self.high, other.high)
        other.added = self, made
        return made

    def _buckets_plus(self, other: BucketCounts) -> list[int] | None:
        bounds, buckets = self.spec.bounds, self.buckets
        if buckets is None or bounds is None:
            return None
        if other.buckets is not None and other.spec.bounds == bounds:
            return list(map(add, buckets, other.buckets))
        buckets = buckets.copy()
        for value, n in other.representatives():
            buckets[bisect_left(bounds, value)] += n
        return buckets

    def _exponential_plus(self, other: BucketCounts) -> Exponential | None:
        if self.exponential is None:
            return None
        if not other.spec.exponential:
            values = [value for value, n in other.representatives() for _ in range(n)]
            total, last, other = other.total, other.last, BucketCounts(self.spec)
            other.add(values, total, last)
        return self.exponential.plus(other)

    def counts_of(self, values: Sequence[float]) -> BucketCounts:
        """Return ascending ``values`` as bucket counts to add."""
        other = BucketCounts(self.spec, self.scale)
        other.add(values, sum(values), values[-1])
        return other

    @property
    def scale(self) -> int:
        """The scale of the exponential buckets; indexes that are finer are of no use."""
        return self.exponential.scale if self.exponential is not None else SCALE


@cache
def nothing(spec: BucketSpec) -> Accumulation:
    """Return what every aggregation with this spec begins with."""
    return Accumulation(spec)
