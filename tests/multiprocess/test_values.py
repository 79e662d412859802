"""Adding up is exact and does not depend on who adds first: against the same values counted all at once."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from otel_metrics.multiprocess.values import (
    COUNTER,
    DAYS,
    EXEMPLARS,
    LATEST,
    NO_NATIVE,
    Day,
    Exemplar,
    HistogramValue,
    Latest,
    Native,
    histogram_layout,
    layout_of,
)

BOUNDS = (1.0, 10.0, 100.0)
NOTHING = HistogramValue(0, 0.0, math.inf, -math.inf, [0, 0, 0, 0])


def index_of(value: float, scale: int) -> int:
    """The OpenTelemetry index, by the definition: the i with 2^(i/2^scale) < value <= 2^((i+1)/2^scale)."""
    return math.ceil(math.log2(value) * 2.0**scale) - 1


def native_of(values: list[float], scale: int) -> Native:
    """The exponential buckets of ``values`` at ``scale``, or coarser if they are more than 640."""
    indexes = sorted(index_of(value, 8) >> 8 - scale for value in values)
    while indexes and indexes[-1] - indexes[0] >= 640:
        scale -= 1
        indexes = [index >> 1 for index in indexes]
    if not indexes:
        return NO_NATIVE
    counts = array("q", bytes(8 * (indexes[-1] - indexes[0] + 1)))
    for index in indexes:
        counts[index - indexes[0]] += 1
    return Native(scale, indexes[0], counts)


def histogram_of(values: list[float], scale: int = 8) -> HistogramValue:
    buckets = [0] * (len(BOUNDS) + 1)
    for value in values:
        buckets[bisect_left(BOUNDS, value)] += 1
    positive = [value for value in values if value]
    return HistogramValue(
        len(values),
        sum(values),
        min(values, default=math.inf),
        max(values, default=-math.inf),
        buckets,
        len(values) - len(positive),
        native_of(positive, scale),
    )


# Whole numbers, so that sums of floats are exact in any order; scaled, so that native buckets get coarse.
values = st.integers(0, 10**9).map(lambda n: n / 1024)
batches = st.lists(st.tuples(st.lists(values, max_size=20), st.integers(0, 8)), min_size=1, max_size=6)


def same(left: HistogramValue, right: HistogramValue) -> bool:
    return (*left[:4], list(left.buckets), left.zeros, *left.native[:2], list(left.native.counts)) == (
        *right[:4],
        list(right.buckets),
        right.zeros,
        *right.native[:2],
        list(right.native.counts),
    )


@given(batches)
def test_histograms_add_up_to_the_histogram_of_all_values(parts: list[tuple[list[float], int]]) -> None:
    total = NOTHING
    for part, scale in parts:
        total = total.plus(histogram_of(part, scale))
    coarsest = min((scale for part, scale in parts if any(part)), default=8)
    assert same(total, histogram_of([value for part, _ in parts for value in part], coarsest))


@given(batches, st.randoms(use_true_random=False))
def test_the_order_in_which_processes_add_does_not_matter(parts: list[tuple[list[float], int]], random: object) -> None:
    histograms = [histogram_of(part, scale) for part, scale in parts]
    one_after_the_other = NOTHING
    for each in histograms:
        one_after_the_other = one_after_the_other.plus(each)
    while len(histograms) > 1:  # any two, until one is left: every order, every grouping
        left = histograms.pop(random.randrange(len(histograms)))  # type: ignore[attr-defined]
        right = histograms.pop(random.randrange(len(histograms)))  # type: ignore[attr-defined]
        histograms.append(left.plus(right))
    assert same(NOTHING.plus(histograms[0]), one_after_the_other)


@given(st.lists(values, max_size=20), st.integers(0, 8))
def test_a_histogram_is_unpacked_as_it_was_packed(some: list[float], scale: int) -> None:
    value = histogram_of(some, scale)
    layout = histogram_layout(BOUNDS).fitting(value)
    assert layout.shape[2] in {0, 32, 64, 128, 256, 512, 1024, 2048, 4096}
    packed = layout.pack(value)
    assert len(packed) <= layout.size
    assert same(layout.unpack(b"before" + packed, 6), value)


def test_a_histogram_with_large_counts_is_unpacked_as_it_was_packed() -> None:
    for large in (2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**62):
        value = HistogramValue(large, 1.5, 0.5, 1.0, [0, 1, large, 0], 0, Native(3, -5, array("q", [large, 0, 1])))
        layout = histogram_layout(BOUNDS).fitting(value)
        assert same(layout.unpack(layout.pack(value), 0), value)


day_values = st.lists(st.tuples(st.integers(20_000, 20_003), st.integers(-(10**6), 10**6)), min_size=1, max_size=40)


@given(day_values, st.randoms(use_true_random=False))
def test_days_add_up_exactly(recorded: list[tuple[int, int]], random: object) -> None:
    processes: list[tuple[Day, ...]] = [(), (), ()]
    for day, value in recorded:
        at = random.randrange(3)  # type: ignore[attr-defined]
        processes[at] = DAYS.plus(processes[at], (Day(day, 1, value, value * value, value, value),))
    total: tuple[Day, ...] = ()
    for process in processes:
        total = DAYS.plus(total, process)
    for found in DAYS.unpack(DAYS.pack(total).ljust(DAYS.size, b"\0"), 0):
        mine = [value for day, value in recorded if day == found.day]
        assert found == (found.day, len(mine), sum(mine), sum(v * v for v in mine), min(mine), max(mine))
    assert {found.day for found in total} == {day for day, _ in recorded}


def test_the_day_that_was_added_to_longest_ago_makes_room() -> None:
    total: tuple[Day, ...] = ()
    for day in (1, 2, 3, 4, 1, 5):
        total = DAYS.plus(total, (Day(day, 1, 1.0, 1.0, 1.0, 1.0),))
    assert [found.day for found in total] == [5, 1, 4, 3]


@given(st.lists(st.integers(0, 2**40), max_size=30))
def test_counters_add_up(amounts: list[int]) -> None:
    total = 0.0
    for amount in amounts:
        total = COUNTER.unpack(COUNTER.pack(COUNTER.plus(total, amount)), 0)
    assert Fraction(total) == sum(amounts)


def test_the_newest_value_of_a_gauge_counts() -> None:
    second = 10**9
    early, late = Latest(1000 * second, 1.0), Latest(1001 * second, 2.0)
    assert LATEST.plus(early, late) == LATEST.plus(late, early) == late


def test_a_value_from_the_future_does_not_stay_for_ever() -> None:
    second = 10**9
    future, now = Latest(9999 * second, 1.0), Latest(1001 * second, 2.0)
    assert LATEST.plus(future, now) == now


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 100)), max_size=30), st.integers(0, 30))
def test_every_bucket_keeps_its_newest_exemplar(seen: list[tuple[int, int]], cut: int) -> None:
    exemplars = [Exemplar(bucket, 1.5, time, (("trace_id", "ab"),)) for bucket, time in seen]
    left, right = EXEMPLARS.plus((), tuple(exemplars[:cut])), EXEMPLARS.plus((), tuple(exemplars[cut:]))
    kept = EXEMPLARS.unpack(EXEMPLARS.pack(EXEMPLARS.plus(left, right)), 0)
    newest = {bucket: max(time for other, time in seen if other == bucket) for bucket, _ in seen}
    assert {exemplar.bucket: exemplar.time_unix_nano for exemplar in kept} == newest


def test_exemplars_that_do_not_fit_are_the_oldest() -> None:
    text = "x" * 100
    exemplars = tuple(Exemplar(bucket, 1.0, 100 - bucket, (("trace_id", text),)) for bucket in range(10))
    packed = EXEMPLARS.pack(exemplars)
    assert len(packed) <= EXEMPLARS.size == 512
    assert EXEMPLARS.unpack(packed, 0) == exemplars[:3]


@given(
    st.sampled_from(
        [["counter"], ["latest"], ["days"], ["exemplars"], ["gauge", "max"], ["histogram", [0.5, 1.0], 32]],
    )
)
def test_a_layout_is_found_again_by_its_shape(shape: list[object]) -> None:
    layout = layout_of(shape)
    assert layout is layout_of(shape)
    assert [list(part) if isinstance(part, tuple) else part for part in layout.shape] == shape
