"""Statistics of values: SQL's definitions when exact, laws of merging, bounded errors of sketches and buckets."""

from __future__ import annotations

import math
import random
import statistics as standard
from array import array
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from otel_metrics.catalogue import CATALOGUE, SECONDS, Kind
from otel_metrics.querying.buckets import Buckets
from otel_metrics.querying.statistics import RecordedValues, Statistics
from otel_metrics.sketch import Moments, Sketch, edges
from otel_metrics.units import MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FINITE = st.floats(-1e12, 1e12)
SOME = st.lists(FINITE, min_size=1, max_size=200)
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def sketched(values: Sequence[float]) -> Statistics:
    return RecordedValues((Sketch.of(array("d", values)),)).statistics()


def classic(values: Sequence[float], bounds: Sequence[float]) -> Buckets:
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bisect_left(bounds, value)] += 1
    cumulative = dict(zip((*bounds, math.inf), accumulate(counts), strict=True))
    whole = Buckets.classic(cumulative, len(values), math.fsum(values))
    telling = {bound: number for bound, number in cumulative.items() if 0 < number < len(values)}
    sparse = Buckets.classic(telling, len(values), math.fsum(values), bounds)
    if telling:
        assert sparse == whole, "buckets that say nothing new need not be there"
    return sparse


def native(values: Sequence[float], schema: int = 5) -> Buckets:
    """What a server returns for a native histogram of positive values."""
    counts: dict[int, int] = {}
    for value in values:
        index = math.ceil(math.log2(value) * 2**schema)
        counts[index] = counts.get(index, 0) + 1
    buckets = [
        [0, str(2 ** ((index - 1) / 2**schema)), str(2 ** (index / 2**schema)), str(number)]
        for index, number in sorted(counts.items())
    ]
    return Buckets.native({"count": str(len(values)), "sum": str(math.fsum(values)), "buckets": buckets})


# ------------------------------------------------------------------------------------------------------ exact values
def test_percentiles_are_those_of_percentile_cont() -> None:
    found = RecordedValues((array("d", [15, 20, 35, 40, 50]),)).statistics()
    assert found.p50 == 35
    assert found.p95 == pytest.approx(48)
    assert found.p99 == pytest.approx(49.6)
    assert found.estimated == frozenset()


def test_the_deviation_is_that_of_a_sample() -> None:
    assert RecordedValues((array("d", [2, 4, 4, 4, 5, 5, 7, 9]),)).statistics().stddev == pytest.approx(
        2.138089935299395
    )
    assert RecordedValues((array("d", [3.25]),)).statistics().stddev == 0.0


def test_nothing_has_no_statistics() -> None:
    for nothing in (RecordedValues(), Buckets(), RecordedValues((array("d"),))):
        found = nothing.statistics()
        assert found == Statistics()
        assert (found.count, found.avg, found.min, found.stddev, found.p99) == (0, None, None, None, None)


@given(SOME)
def test_exact_statistics(values: list[float]) -> None:
    found = RecordedValues((array("d", values),)).statistics()
    assert found.count == len(values)
    assert found.avg == pytest.approx(standard.fmean(values), abs=1e-12)
    assert (found.min, found.max) == (min(values), max(values))
    if len(values) > 1:
        assert found.stddev == pytest.approx(standard.stdev(values), rel=1e-6, abs=1e-12)
        cuts = standard.quantiles(values, n=100, method="inclusive")
        assert (found.p50, found.p95, found.p99) == pytest.approx((cuts[49], cuts[94], cuts[98]), rel=1e-9, abs=1e-9)


@given(SOME, st.integers(0, 200))
def test_how_values_are_divided_does_not_matter(values: list[float], at: int) -> None:
    one, two = RecordedValues((array("d", values[:at]),)), RecordedValues((array("d", values[at:]),))
    assert one.plus(two).statistics() == RecordedValues((array("d", values),)).statistics()


def test_a_unit_maps_everything() -> None:
    found = RecordedValues((array("d", [0.1, 0.2, 0.4]),)).statistics().map(MILLISECONDS.from_base)
    assert (found.avg, found.min, found.max, found.p50) == pytest.approx((700 / 3, 100, 400, 200))
    assert found.stddev == pytest.approx(standard.stdev([100, 200, 400]))
    assert found.total == pytest.approx(700)


def test_values_as_large_as_doubles_go_do_not_fail() -> None:
    found = RecordedValues((array("d", [1.7e308, 1.7e308, -1.0]),)).statistics()
    assert found.max == 1.7e308
    assert sketched([1.7e308, -1.7e308, 5e-324]).count == 3


# --------------------------------------------------------------------------------------------------------- sketches
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_bin_holds_its_values_and_is_narrow(value: float) -> None:
    sketch = Sketch.of(array("d", [value]))
    lower, upper = edges(sketch.keys[0], sketch.bits)
    assert lower <= value <= upper
    if abs(value) > 1e-300 and abs(value) < 1e300:
        assert upper - lower <= abs(value) / 200


@given(SOME, SOME, SOME)
def test_sketches_merge_in_any_order(a: list[float], b: list[float], c: list[float]) -> None:
    one, two, three = (Sketch.of(array("d", part)) for part in (a, b, c))
    left, right = one.plus(two).plus(three), three.plus(one.plus(two))
    assert (left.keys, left.counts) == (right.keys, right.counts) == _bins(a + b + c)
    together = Moments.of(array("d", a + b + c))
    assert (left.moments.count, left.moments.low, left.moments.high) == (together.count, together.low, together.high)
    assert left.moments.total == pytest.approx(together.total, rel=1e-9, abs=1e-3)
    assert left.moments.deviations == pytest.approx(together.deviations, rel=1e-6, abs=1e-3)


def _bins(values: list[float]) -> tuple[array[int], array[int]]:
    whole = Sketch.of(array("d", values))
    return whole.keys, whole.counts


@given(SOME, SOME, st.integers(0, 7))
def test_sketches_of_unlike_resolution_merge(a: list[float], b: list[float], bits: int) -> None:
    coarse = Sketch.of(array("d", a))
    while coarse.bits > bits:
        coarse = coarse.coarser()
    whole = coarse.plus(Sketch.of(array("d", b)))
    assert whole.bits == bits
    assert sum(whole.counts) == len(a) + len(b)
    assert whole.keys == Sketch.of(array("d", a + b), bits).keys


@given(st.lists(st.floats(1e-6, 1e6) | st.floats(-1e6, -1e-6), min_size=1, max_size=300))
def test_percentiles_of_a_sketch_lie_next_to_the_exact_ones(values: list[float]) -> None:
    found, ordered = sketched(values), sorted(values)
    assert found.estimated == {"p50", "p95", "p99"}
    for name, q in QUANTILES.items():
        position = q * (len(values) - 1)
        below, above = ordered[math.floor(position)], ordered[math.ceil(position)]
        assert below - 0.005 * abs(below) <= getattr(found, name) <= above + 0.005 * abs(above)
        assert found.min is not None
        assert found.max is not None
        assert found.min <= getattr(found, name) <= found.max


# ---------------------------------------------------------------------------------------------------------- buckets
def test_a_single_value_is_known_exactly() -> None:
    found = classic([0.123], SECONDS).statistics()
    assert found == Statistics(1, 0.123, 0.123, 0.123, 0.123, 0.0, 0.123, 0.123, 0.123)


def test_values_in_one_bucket_lie_around_their_average() -> None:
    found = classic([0.1001] * 50, SECONDS).statistics()
    assert found.p50 == pytest.approx(0.1001)
    assert found.p99 == pytest.approx(0.1001, rel=0.002), "where PromQL says 0.1495"


def test_the_bucket_without_an_end_goes_as_far_as_its_average_asks() -> None:
    found = classic([1.0] * 50 + [500.0] * 50, [1.0, 100.0]).statistics()
    assert found.p95 is not None
    assert 500 < found.p95 < 1000, "where PromQL says 100"


def test_linear_interpolation_is_that_of_promql_for_many_values() -> None:
    found = Buckets.classic({1.0: 10_000, 2.0: 30_000, 4.0: 40_000, math.inf: 40_000}, 40_000, 80_000.0).statistics()
    assert found.p50 == pytest.approx(1.5, rel=1e-3)
    assert found.p95 == pytest.approx(3.6, rel=1e-3)


@given(st.lists(st.floats(1e-4, 99), min_size=1, max_size=200))
def test_count_and_average_of_buckets_are_exact(values: list[float]) -> None:
    for buckets in (classic(values, SECONDS), native(values)):
        found = buckets.statistics()
        assert found.count == len(values)
        assert found.avg == pytest.approx(standard.fmean(values))
        assert found.min is not None
        assert found.max is not None
        ordered = [found.min, found.p50, found.p95, found.p99, found.max]
        assert ordered == sorted(ordered)  # type: ignore[type-var]


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=200))
def test_percentiles_of_native_histograms_lie_next_to_the_exact_ones(values: list[float]) -> None:
    found, ordered = native(values).statistics(), sorted(values)
    for name, q in QUANTILES.items():
        position = q * (len(values) - 1)
        below, above = ordered[math.floor(position)], ordered[math.ceil(position)]
        assert below * 0.978 <= getattr(found, name) <= above * 1.022, "a bucket is 2.2 % wide"


@given(st.lists(st.floats(1e-3, 90), min_size=1, max_size=100), st.lists(st.floats(1e-3, 90), min_size=1, max_size=100))
def test_buckets_add_up(a: list[float], b: list[float]) -> None:
    for make in (lambda values: classic(values, SECONDS), native):
        together = make(a).plus(make(b))
        assert together.count == len(a) + len(b)
        assert together.intervals == make(a + b).intervals
        assert make(a).plus(Buckets()) == make(a) == Buckets().plus(make(a))


@given(st.lists(st.floats(1e-3, 90), min_size=2, max_size=100))
def test_negative_values_mirror_positive_ones(values: list[float]) -> None:
    assume(min(values) < max(values))
    plain, mirrored = native(values).statistics(), native(values).mirrored().statistics()
    assert plain.avg is not None
    assert mirrored.avg == -plain.avg
    assert (mirrored.min, mirrored.max) == pytest.approx((-(plain.max or 0), -(plain.min or 0)))
    assert mirrored.p50 == pytest.approx(-(plain.p50 or 0))
    assert mirrored.stddev == pytest.approx(plain.stddev)


@pytest.mark.parametrize(
    "shape", ["uniform", "normal", "lognormal", "exponential", "bimodal", "constant", "heavy tail"]
)
def test_percentiles_of_seven_shapes(shape: str) -> None:
    rng = random.Random(shape)
    shapes: dict[str, Callable[[], float]] = {
        "uniform": lambda: rng.uniform(0.01, 1),
        "normal": lambda: max(rng.gauss(0.5, 0.1), 1e-3),
        "lognormal": lambda: rng.lognormvariate(-2, 1),
        "exponential": lambda: rng.expovariate(5),
        "bimodal": lambda: rng.choice([rng.gauss(0.1, 0.01), rng.gauss(3, 0.2)]),
        "constant": lambda: 0.25,
        "heavy tail": lambda: 0.01 * rng.paretovariate(1.5),
    }
    values = [shapes[shape]() for _ in range(20_000)]
    exact = RecordedValues((array("d", values),)).statistics()
    for found, tolerance in ((native(values, 7).statistics(), 0.01), (classic(values, SECONDS).statistics(), 0.3)):
        for name in QUANTILES:
            assert getattr(found, name) == pytest.approx(getattr(exact, name), rel=tolerance), (shape, name)


def test_known_extremes_narrow_the_outer_buckets() -> None:
    values = [0.1, *[0.34 + n / 10_000 for n in range(601)]]
    found = classic(values, SECONDS).within(0.1, 0.4).statistics()
    assert (found.min, found.max) == (0.1, 0.4)
    assert found.p99 == pytest.approx(0.3994, abs=0.001), "where the bucket alone says 0.469"
    assert "max" in found.estimated, "the value may lie outside of the period"
    assert classic([0.25] * 9, SECONDS).within(0.25, 0.25).statistics() == Statistics(
        9, 2.25, 0.25, 0.25, 0.25, 0.0, 0.25, 0.25, 0.25
    )


@given(st.lists(st.floats(1e-3, 90), min_size=1, max_size=100), st.lists(st.floats(1e-3, 90), min_size=1, max_size=100))
def test_bounds_add_up(a: list[float], b: list[float]) -> None:
    one, two = (native(values).within(min(values), max(values)) for values in (a, b))
    assert one.plus(two).extremes == (min(a + b), max(a + b))
    assert one.plus(native(b)).extremes is None
    assert one.mirrored().extremes == (-max(a), -min(a))
    found = one.statistics()
    assert found.min == min(a)
    assert found.max == max(a)
    for name in QUANTILES:
        assert min(a) <= getattr(found, name) <= max(a)


def test_native_histograms_as_the_http_api_shows_them() -> None:
    shown: dict[str, Any] = {
        "count": "6",
        "sum": "-1",
        "buckets": [[1, "-4", "-2", "1"], [3, "-0.001", "0.001", "2"], [0, "1", "2", "3"]],
    }
    found = Buckets.native(shown).statistics()
    assert found.count == 6
    assert found.min is not None
    assert -4 <= found.min <= -2
    assert found.max is not None
    assert 1 <= found.max <= 2
    assert Buckets.native({"count": "0", "sum": "0"}).count == 0
    with pytest.raises(ValueError, match="without buckets"):
        Buckets.native({"count": "3", "sum": "1"})


def test_values_at_zero_are_not_below_it() -> None:
    found = Buckets.native({"count": "4", "sum": "0", "buckets": [[3, "-0.001", "0.001", "4"]]}).statistics()
    assert (found.min, found.p50) == (0.0, 0.0)


def test_every_histogram_of_the_catalogue_can_be_read_from_its_own_buckets() -> None:
    for metric in CATALOGUE:
        if metric.kind is Kind.HISTOGRAM:
            found = classic([0.25, 0.5, 1.0], metric.buckets).statistics()
            assert found.avg == pytest.approx(1.75 / 3)
            assert found.min is not None
            assert found.min <= 0.5
