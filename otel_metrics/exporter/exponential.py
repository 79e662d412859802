"""Exponential histograms: as Prometheus native buckets, and as classic buckets for scrapers that know no others."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Collection
from functools import lru_cache
from itertools import compress
from numbers import Real
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_metrics.allowed import require, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint

MIN_SCHEMA: Final = -4
MAX_SCHEMA: Final = 8
"""Resolutions that Prometheus stores; OpenTelemetry's scales go beyond on both sides."""

CLASSIC_LADDER: Final = tuple(2.0**n for n in range(-10, 21))
"""Default classic bounds derived from exponential histograms: powers of two, 1 ms to 12 days where the unit is seconds.

Powers of two are exact bucket boundaries at every scale from 0 up, so these counts are exact, not estimated.
"""

MAX_GROWTH: Final = 64
"""Steps by which a ladder may grow on either side."""


class NativeBuckets(NamedTuple):
    """Buckets in Prometheus' terms, index i for (b^(i-1), b^i]: (offset, length) of spans, and one count per bucket."""

    spans: list[tuple[int, int]]
    counts: list[int]


def native_buckets(offset: int, counts: Sequence[int], shift: int) -> NativeBuckets:
    """Return the native form of OpenTelemetry buckets, each ``2**shift`` of them merged into one.

    Gaps of one or two empty buckets are filled (cheaper than a span), as client_golang does.
    """
    filled = _filled(offset, counts)
    if shift:
        merged: dict[int, int] = {}
        for index, count in filled:
            merged[index >> shift] = merged.get(index >> shift, 0) + count
        filled = list(merged.items())
    spans: list[tuple[int, int]] = []
    out: list[int] = []
    start = end = 0  # of the current span; span offsets are relative to the end of the span before
    first = True
    previous_end = 0
    for otel_index, count in filled:
        index = otel_index + 1  # OpenTelemetry's bucket i is (b^i, b^(i+1)], Prometheus' is (b^(i-1), b^i]
        if first:
            first, start, end = False, index, index
        elif index - end > 2:
            spans.append((start - previous_end, end - start))
            previous_end, start, end = end, index, index
        while end < index:
            out.append(0)
            end += 1
        out.append(count)
        end += 1
    if not first:
        spans.append((start - previous_end, end - start))
    return NativeBuckets(spans, out)


def schema_of(scale: int) -> int | None:
    """Return the Prometheus schema for an OpenTelemetry scale; None where buckets are too wide for any."""
    return None if scale < MIN_SCHEMA else min(scale, MAX_SCHEMA)


def occupied(point: ExponentialHistogramDataPoint) -> tuple[int, int] | None:
    """Return n and m such that all positive values of the point lie in (2^n, 2^m]; None if it has none."""
    filled = _filled(point.positive.offset, point.positive.bucket_counts)
    if not filled:
        return None
    low, high = filled[0][0], filled[-1][0] + 1
    if point.scale < 0:
        return low << -point.scale, high << -point.scale
    return low >> point.scale, -(-high >> point.scale)


def classic_counts(point: ExponentialHistogramDataPoint, bounds: Sequence[float]) -> list[int]:
    """Return the number of values per classic bucket: ``len(bounds) + 1``, not cumulative, the last one up to infinity.

    An exponential bucket is counted in the first classic bucket that contains its upper boundary: exact where the bounds
    are boundaries of the exponential histogram, never too low a bound otherwise. The zero bucket counts as 0.
    """
    out = [0] * (len(bounds) + 1)
    if point.zero_count:
        out[bisect_left(bounds, 0.0)] += point.zero_count
    for index, count in _filled(point.positive.offset, point.positive.bucket_counts):
        out[bisect_left(bounds, boundary(index + 1, point.scale))] += count
    for index, count in _filled(point.negative.offset, point.negative.bucket_counts):
        out[bisect_left(bounds, -boundary(index, point.scale))] += count
    return out


@lru_cache(maxsize=65536)
def boundary(index: int, scale: int) -> float:
    """Return 2^(index / 2^scale), the lower boundary of an exponential bucket; infinity beyond the floats."""
    try:
        if scale <= 0:
            return math.ldexp(1.0, index << -scale)
        whole = index >> scale
        # Split, so that powers of two come out exact at any scale.
        return math.ldexp(2.0 ** ((index - (whole << scale)) / (1 << scale)), whole)
    except OverflowError:
        return math.inf


def _filled(offset: int, counts: Sequence[int]) -> list[tuple[int, int]]:
    """Return index and count of the buckets that are not empty, which few of hundreds are."""
    return [(offset + place, counts[place]) for place in compress(range(len(counts)), counts)]


def _is_collection(value: object) -> bool:
    return isinstance(value, Collection)


class Ladders:
    """The classic bounds of every family of exponential histograms, the same for all its series.

    They start as the given ladder and grow by powers of two when values lie beyond it, never shrinking, so that
    ``sum by (le)`` stays right and no quantile is cut off.
    """

    def __init__(self, ladder: Sequence[float] = CLASSIC_LADDER) -> None:
        fits = _is_collection(ladder) and all(
            within(bound, Real, -sys.float_info.max, sys.float_info.max) or bound == math.inf for bound in ladder
        )
        require(fits, "classic_bounds", ladder, "numbers")
        bounds = set(map(float, ladder))
        # The bucket up to infinity is there anyway, though prometheus_client's lists of bounds end with it.
        self._ladder = tuple(sorted(bounds - {math.inf}))
        self._extents: dict[str, tuple[int, int]] = {}

    def bounds(self, family: str, points: Iterable[ExponentialHistogramDataPoint]) -> tuple[float, ...]:
        """Return the bounds for the family, wide enough for ``points``."""
        seen = [extent for extent in map(occupied, points) if extent is not None]
        if family in self._extents:
            seen.append(self._extents[family])
        if not seen:
            return self._ladder
        low, high = min(extent[0] for extent in seen), max(extent[1] for extent in seen)
        self._extents[family] = low, high
        return self._extended(low, high)

    def _extended(self, low: int, high: int) -> tuple[float, ...]:
        steps = range(max(low, -1022), min(high, 1023) + 1)
        if not self._ladder:
            return tuple(2.0**n for n in steps)[:MAX_GROWTH]
        first, last = self._ladder[0], self._ladder[-1]
        below = tuple(2.0**n for n in steps if 2.0**n < first)
        above = tuple(2.0**n for n in steps if 2.0**n > last)
        # The steps nearest to the ladder: a stray 1e-300 must not cost a thousand buckets per series.
        return below[-MAX_GROWTH:] + self._ladder + above[:MAX_GROWTH]
