"""What becomes of the values of a call: checked, converted, summed up, in bulk as one by one."""

from __future__ import annotations

import decimal
import fractions
import random
from itertools import chain
from math import inf, nan
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_metrics.recording import buffers
from otel_metrics.recording.arguments import ArgumentSpec
from otel_metrics.recording.buffers import CallCounter, SeriesBuffer
from otel_metrics.recording.sinks import SignSplit, Sink, ThresholdSplit
from otel_metrics.sdk.bucket_counts import BucketCounts, BucketSpec, Exponential, nothing

if TYPE_CHECKING:
    from otel_metrics.recording.sinks import Batch


class Kept(Sink):
    """A sink that keeps batches."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def fold(self, batch: Batch, _now: float, /) -> None:
        self.batches.append(batch)

    @property
    def values(self) -> list[float]:
        return [value for batch in self.batches for value in batch.values]


def milliseconds(values: list[float]) -> list[float]:
    return [value / 1000 for value in values]


def test_a_chunk_sums_up_what_was_recorded() -> None:
    batch = ArgumentSpec().batch([3.0, 1, 2.5])
    assert batch is not None
    assert (batch.values, batch.n, batch.total, batch.low, batch.high, batch.last) == ([1, 2.5, 3], 3, 6.5, 1, 3, 2.5)
    assert batch.squares == 1 + 6.25 + 9
    assert all(type(value) is float for value in batch.values)


def test_conversion_divides_as_a_literal_would() -> None:
    batch = ArgumentSpec(milliseconds).batch([125.5])
    assert batch is not None
    assert batch.values == [0.1255]


def test_none_is_absent_and_nothing_else_is_silent() -> None:
    rejected: list[tuple[Any, str]] = []
    column = ArgumentSpec(milliseconds, reject=lambda value, reason: rejected.append((value, reason)))
    batch = column.batch([1.0, None, "5", True, nan, inf, -inf, -2, 10**400, [], 3])
    assert batch is not None
    assert batch.values == [0.001, 0.003]
    assert [reason for _, reason in rejected] == [
        "type",
        "type",
        "nan",
        "infinite",
        "infinite",
        "negative",
        "infinite",
        "type",
    ]
    assert column.batch([None, None]) is None
    assert column.batch([]) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0.5, None),
        (0, None),
        (1, None),
        (None, None),
        (decimal.Decimal("0.5"), None),
        (fractions.Fraction(1, 2), None),
        (1.5, "range"),
        (-0.1, "negative"),
        (nan, "nan"),
        (inf, "infinite"),
        ("0.5", "type"),
        (b"1", "type"),
        (True, "type"),
        (object(), "type"),
        (1j, "type"),
    ],
)
def test_check_says_what_folding_will_do(value: object, reason: str | None) -> None:
    rejected: list[str] = []
    column = ArgumentSpec(high=1.0, reject=lambda _, why: rejected.append(why))
    assert column.check(value) == reason
    column.batch([0.1, value, 0.2])
    assert rejected == ([reason] if reason else [])


def test_below_a_negative_limit_is_out_of_range() -> None:
    column = ArgumentSpec(low=-1.0)
    assert column.check(-0.5) is None
    assert column.check(-1.5) == "range"


def test_a_raising_rejection_reaches_whoever_folds() -> None:
    def reject(value: object, reason: str) -> None:
        raise ValueError(value, reason)

    with pytest.raises(ValueError, match="negative"):
        ArgumentSpec(reject=reject).batch([-1.0])


@given(st.lists(st.one_of(st.floats(), st.integers(-5, 5), st.none(), st.booleans(), st.just("x")), max_size=40))
def test_bulk_and_one_by_one_agree(values: list[Any]) -> None:
    rejected: list[list[str]] = [[], []]

    def column(reasons: list[str]) -> ArgumentSpec:
        return ArgumentSpec(milliseconds, high=1e300, reject=lambda _, reason: reasons.append(reason))

    bulk, single = map(column, rejected)
    together = bulk.batch(values)
    apart = [batch for value in values if (batch := single.batch([value]))]
    assert (together.values if together else []) == sorted(value for batch in apart for value in batch.values)
    assert rejected[0] == rejected[1]
    if together:
        assert together.last == apart[-1].last


@given(st.lists(st.one_of(st.floats(), st.integers(-5, 5), st.none(), st.just(10**400), st.just("x")), max_size=40))
def test_a_gauge_rejects_and_shows_what_it_would_if_all_values_were_kept(values: list[Any]) -> None:
    rejected: list[list[str]] = [[], []]

    def column(reasons: list[str], *, latest: bool) -> ArgumentSpec:
        reject = lambda _, reason: reasons.append(reason)  # noqa: E731
        return ArgumentSpec(milliseconds, high=1e300, reject=reject, latest=latest)

    gauge, every = column(rejected[0], latest=True).batch(values), column(rejected[1], latest=False).batch(values)
    assert rejected[0] == rejected[1]
    assert (gauge and gauge.last) == (every and every.last)


def test_rows_go_to_the_sinks_of_their_columns() -> None:
    first, second, rows = Kept(), Kept(), Kept()
    buffer = SeriesBuffer((ArgumentSpec(), ArgumentSpec(milliseconds)), ((first,), (second,)), (rows,))
    buffer += (1.0, 1000.0)
    buffer += (2.0, None)
    buffer.take(0.0)
    assert first.values == [1.0, 2.0]
    assert second.values == [1.0]
    assert [batch.n for batch in rows.batches] == [2]
    assert not buffer
    buffer.take(0.0)
    assert len(rows.batches) == 1


def test_a_split_stands_for_the_sinks_that_it_divides_its_values_among() -> None:
    yes, no, negative, positive = Kept(), Kept(), Kept(), Kept()
    buffer = SeriesBuffer((ArgumentSpec(),), ((ThresholdSplit(0.7, (yes,), (no,)), SignSplit(positive, negative)),))
    assert list(buffer.all_sinks()) == [yes, no, positive, negative]


@pytest.mark.parametrize("gil", [True, False])
def test_a_call_counter_counts_each_hit_once(gil: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "GIL", gil)
    rows = Kept()
    call_counter = CallCounter((rows,))
    for hits in (3, 0, 1):
        for _ in range(hits):
            call_counter.hit()
        call_counter.take(0.0)
    assert [batch.n for batch in rows.batches] == [3, 1]


def test_a_value_on_a_bound_belongs_below_it() -> None:
    counts = BucketCounts(BucketSpec((1.0, 2.0), exponential=False))
    counts.add([0.5, 1.0, 1.5, 2.0, 2.5, 3.0], 10.5, 3.0)
    assert counts.buckets == [2, 2, 2]


def test_exponential_buckets_get_coarser_only_as_far_as_the_range_demands() -> None:
    buckets = Exponential()
    near = BucketCounts(BucketSpec(None, exponential=True))
    near.add([0.0, 1.0, 1.5, 2.0], 4.5, 2.0)
    buckets.add(near)
    assert (buckets.scale, buckets.zeros, sum(buckets.counts)) == (8, 1, 3)
    far = BucketCounts(BucketSpec(None, exponential=True))
    far.add([1e-6, 1e6], 1e6, 1e6)
    buckets.add(far)
    assert (buckets.scale, sum(buckets.counts)) == (4, 5)  # 39.9 doublings of 16 buckets each
    assert len(buckets.counts) <= 640
    many = BucketCounts(BucketSpec(None, exponential=True), scale=3)
    many.add([2.0] * 1000, 2000.0, 2.0)
    buckets.add(many)
    assert (buckets.scale, sum(buckets.counts), max(buckets.counts)) == (3, 1005, 1001)


@settings(deadline=None, max_examples=100)
@given(
    parts=st.lists(
        st.tuples(st.integers(-1070, 1020), st.sampled_from([0, 1, 5, 30, 300, 2000]), st.integers(1, 400)), max_size=12
    ),
    before=st.tuples(st.sampled_from([0, -500, 900]), st.sampled_from([0, 3, 600]), st.integers(1, 50)),
)
@example(parts=[(0, 20, 400)] * 40, before=(0, 0, 1))  # six decades, as request durations have, and no scrape for long
def test_a_digest_is_never_larger_than_what_it_is_added_to_and_changes_nothing_there(
    parts: list[tuple[int, int, int]], before: tuple[int, int, int]
) -> None:
    """Values from 2**lowest over so many doublings: in many batches as they are folded, or all at once."""
    chance = random.Random(4)

    def some(lowest: int, doublings: int, number: int) -> list[float]:
        return sorted(2.0 ** min(lowest + chance.random() * doublings, 1023.0) for _ in range(number))

    spec = BucketSpec(None, exponential=True)
    batches = [some(*part) for part in parts] or [[1.0]]
    folded, at_once = BucketCounts(spec), BucketCounts(spec)
    for values in batches:
        folded.add(values, sum(values), values[-1])
        assert len(folded.counted or ()) <= 640
        assert len(folded.indexes) <= 256 + len(values)
    together = sorted(chain.from_iterable(batches))
    at_once.add(together, sum(together), together[-1])
    earlier = nothing(spec)
    earlier = earlier.plus(earlier.counts_of(some(*before)))
    for sums in (nothing(spec), earlier):
        one, other = sums.plus(folded).exponential, sums.plus(at_once).exponential
        assert one is not None
        assert other is not None
        assert (one.scale, one.offset, one.counts, one.zeros) == (other.scale, other.offset, other.counts, other.zeros)
