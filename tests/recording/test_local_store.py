"""The local store: exact for the time it says it covers, in bounded memory."""

from __future__ import annotations

import gc
import json
import random
import struct
import threading
import tracemalloc
import zlib
from array import array
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_metrics.catalogue import OPTIMIZATION_AFTER, PERFORMANCE_DURATION, USAGE
from otel_metrics.querying.statistics import RecordedValues
from otel_metrics.recording.local_store import LocalStore
from otel_metrics.recording.ring_buffer import KEEP, _size
from otel_metrics.recording.shared_store import _packed, _unpacked
from otel_metrics.recording.sinks import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_metrics.querying.statistics import Statistics
    from otel_metrics.recording.local_store import Entry
    from otel_metrics.recording.ring_buffer import CounterRing, HistogramRing

DAY = 86_400
START = 20_000 * DAY
"""Midnight UTC of some day."""

LABELS = {"feature": "chat", "metric_category": "response_time", "metric_name": "reply", "context": ""}


class Clock:
    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def batch(values: Iterable[float]) -> Batch:
    in_order = list(values)
    return Batch(sorted(in_order), len(in_order), in_order[-1])


def rows(number: int) -> Batch:
    return Batch([], number, 0.0)


def statistics(window: LocalStore, start: float, end: float) -> Statistics:
    return RecordedValues.of(parts for _, parts in window.values(PERFORMANCE_DURATION, start, end)).statistics()


def count(window: LocalStore, start: float, end: float) -> float:
    return sum(amount for _, amount in window.counts(USAGE, start, end))


EVENTS = st.lists(
    st.tuples(st.floats(0, 7200) | st.sampled_from([1.0, 59.9, 60.0, 600.0, 3600.0, 30_000.0]), st.integers(1, 40)),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(
    events=EVENTS,
    later=st.floats(0, 2 * DAY),
    back=st.lists(st.floats(1, 2.5 * DAY), min_size=1, max_size=5),
    length=st.floats(1, 2 * DAY),
    budget=st.sampled_from([2**26, 30_000, 3_000, 1]),
)
@example(
    events=[(0.0, 1), (566.0, 1), (600.0, 1), (600.0, 12), (600.0, 40), (2920.0, 40), (60.0, 1)],
    later=3.0,
    back=[9.0],
    length=69.0,
    budget=3000,
)  # pressure that comes and goes
def test_exactly_the_time_that_is_called_covered_is_covered(
    events: list[tuple[float, int]], later: float, back: list[float], length: float, budget: int
) -> None:
    clock = Clock(START + 1234.5)
    window = LocalStore(clock, budget)
    histogram, counter = window.histogram(PERFORMANCE_DURATION, LABELS), window.counter(USAGE, {"feature": "chat"})
    seen: list[tuple[float, float]] = []
    for pause, number in events:
        clock.now += pause
        values = [random.random() for _ in range(number)]
        histogram.fold(batch(values), clock.now)
        counter.fold(rows(number), clock.now)
        seen += [(clock.now, value) for value in values]
    clock.now += later
    _check(window, clock, seen, back, length)


def _check(window: LocalStore, clock: Clock, seen: list[tuple[float, float]], back: list[float], length: float) -> None:
    """Ask a store for several times, and see whether it knows exactly what was seen in the time that it calls covered."""
    for ago in back:
        start = clock.now - ago
        asked = max(start, window.born, clock.now - KEEP), min(start + length, clock.now)
        for metric, read in ((PERFORMANCE_DURATION, statistics), (USAGE, count)):
            first, last = window.covered([metric], start, start + length)
            if asked[0] >= asked[1]:
                continue
            assert first <= asked[0]
            assert last >= asked[1]
            wanted = [value for when, value in seen if first <= when < last]
            found = read(window, first, last)
            if metric is USAGE:
                assert found == len(wanted)
            else:
                assert found.count == len(wanted)  # type: ignore[union-attr]
                if wanted:
                    assert found.min == min(wanted)  # type: ignore[union-attr]
                    assert found.max == max(wanted)  # type: ignore[union-attr]


@settings(deadline=None, max_examples=80)
@given(
    events=EVENTS,
    turns=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=60, max_size=60),
    back=st.lists(st.floats(1, 2.5 * DAY), min_size=1, max_size=5),
    length=st.floats(1, 2 * DAY),
    budgets=st.tuples(st.sampled_from([2**26, 30_000, 1]), st.sampled_from([2**26, 30_000, 3_000, 1])),
)
def test_so_it_is_where_several_stores_are_emptied_into_one(
    events: list[tuple[float, int]],
    turns: list[tuple[int, bool]],
    back: list[float],
    length: float,
    budgets: tuple[int, int],
) -> None:
    clock = Clock(START + 1234.5)
    together = LocalStore(clock, budgets[1])
    stores = [LocalStore(clock, budgets[0], emptied=True) for _ in range(3)]
    seen: list[tuple[float, float]] = []
    for (pause, number), (which, emptied) in zip(events, turns, strict=False):
        clock.now += pause
        values = [random.random() for _ in range(number)]
        stores[which].histogram(PERFORMANCE_DURATION, LABELS).fold(batch(values), clock.now)
        stores[which].counter(USAGE, {"feature": "chat"}).fold(rows(number), clock.now)
        seen += [(clock.now, value) for value in values]
        if emptied:
            _move(stores[which], together)
    for store in stores:
        _move(store, together)
        assert _moved(store) == []
    _check(together, clock, seen, back, length)
    another = LocalStore(clock, budgets[1])
    another.born = together.born
    another.take_in(_unpacked(_packed(together.entries())) or ())
    _check(another, clock, seen, back, length)


ANYTHING = st.sampled_from(
    [-1, 0, 1, 7, 60, 9, 2**31 - 1, 2**62, 10**400, 0.5, -1e300, float("nan"), float("inf"), None, True, "x"]
)
SKETCH = st.fixed_dictionaries(
    {
        "moments": st.lists(ANYTHING, min_size=5, max_size=5),
        "bits": ANYTHING,
        "bins": st.lists(st.tuples(ANYTHING, ANYTHING), max_size=2),
    }
)


@settings(deadline=None, max_examples=400)
@given(
    pieces=st.lists(st.tuples(ANYTHING, ANYTHING, ANYTHING | SKETCH), min_size=1, max_size=3),
    sound=st.lists(st.booleans(), min_size=3, max_size=3),
    values=st.lists(st.sampled_from([1.0, -2.5, float("nan"), float("inf"), -float("inf")]), max_size=9),
    kind=st.sampled_from(["counter", "histogram"]),
)
@example([(0, 60, {"moments": [1, 1.0, 0.0, 1.0, 1.0], "bits": 2**30, "bins": [(7, 1)]})], [True], [], "histogram")
@example([(0, 60, {"moments": [0, 1.0, 0.0, 1.0, 1.0], "bits": 8, "bins": [(7, 1)]})], [True], [], "histogram")
@example([(0, 60, {"moments": [1, 1.0, 0.0, 1.0, 1.0], "bits": 8, "bins": [(2**30, 1)]})], [True], [], "histogram")
@example([(10**400, 10**400 + 60, 1)], [False], [], "counter")
@example([(0, 60, 2)], [True], [float("inf"), -float("inf")], "histogram")
def test_numbers_of_somebody_elses_making_break_no_getter(
    pieces: list[tuple[Any, Any, Any]], sound: list[bool], values: list[float], kind: str
) -> None:
    clock = Clock(86_400.0)
    store = LocalStore(clock, 1)
    metric = USAGE if kind == "counter" else PERFORMANCE_DURATION
    placed = [(60, 120, each[2]) if fits else each for each, fits in zip(pieces, sound, strict=False)]
    text = zlib.compress(json.dumps([[kind, metric.name, ["a"] * len(metric.label_names), placed]]).encode())
    for _ in range(2):
        store.take_in(_unpacked(struct.pack("<I", len(text)) + text + array("d", values).tobytes()) or ())
    store.take_in(_unpacked(_packed(store.entries())) or ())
    covered = store.covered([metric], 0.0, clock.now)
    for _, parts in store.values(PERFORMANCE_DURATION, *covered):
        RecordedValues(tuple(parts)).statistics()
    for _, amount in store.counts(USAGE, *covered):
        int(amount)


@settings(deadline=None, max_examples=40)
@given(st.binary(), st.recursive(st.none() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=4)))
def test_a_record_of_somebody_elses_making_is_none(anything: bytes, content: Any) -> None:
    for record in (anything, zlib.compress(json.dumps(content).encode())):
        assert _unpacked(record) is None


def _moved(store: LocalStore) -> list[Entry]:
    found: list[Entry] = []
    store.take_out(found)
    return found


def _move(store: LocalStore, other: LocalStore) -> None:
    other.take_in(_unpacked(_packed(_moved(store))) or ())


@pytest.mark.parametrize("number", [1, 40_000])
def test_what_could_not_be_moved_is_there_the_next_time(number: int) -> None:
    clock = Clock()
    store = LocalStore(clock, emptied=True)
    store.histogram(PERFORMANCE_DURATION, LABELS).fold(batch([1.0] * number), clock.now)
    store.counter(USAGE, {"feature": "chat"}).fold(rows(3), clock.now)
    store.take_in(_moved(store))
    hour = int(clock.now) // 3600 * 3600
    store.take_in([("counter", USAGE.name, ("search", "", "", "", ""), [(hour, hour + 3600, 1.0)])])
    assert [name for _, name, _, _ in _moved(store)] == [PERFORMANCE_DURATION.name, USAGE.name, USAGE.name]
    assert _moved(store) == []


def test_yesterday_is_there_in_whole_until_today_ends() -> None:
    clock = Clock()
    window = LocalStore(clock)
    series = window.histogram(PERFORMANCE_DURATION, LABELS)
    for minute in range(2 * DAY // 60):
        clock.now = START + minute * 60 + 30
        series.fold(batch([float(minute)]), clock.now)
    clock.now = START + 2 * DAY - 0.001
    assert window.covered([PERFORMANCE_DURATION], START, START + DAY) == (START, START + DAY)
    day = statistics(window, START, START + DAY)
    assert (day.count, day.min, day.max, day.p50) == (1440, 0.0, 1439.0, 719.5)
    assert day.estimated == frozenset()


def test_young_values_are_told_apart_by_the_minute() -> None:
    clock = Clock()
    window = LocalStore(clock)
    series = window.histogram(PERFORMANCE_DURATION, LABELS)
    for minute in range(120):
        clock.now = START + 60 * minute
        series.fold(batch([1.0]), clock.now)
    start = clock.now - 600
    assert window.covered([PERFORMANCE_DURATION], start, clock.now + 1)[0] == start


def test_what_is_older_than_two_days_and_an_hour_is_forgotten() -> None:
    clock = Clock()
    window = LocalStore(clock)
    series = window.histogram(PERFORMANCE_DURATION, LABELS)
    series.fold(batch([1.0]), clock.now)
    clock.now += KEEP + 3601
    for _ in range(3):
        clock.now += 3600
        series.fold(batch([2.0]), clock.now)
    assert statistics(window, 0, clock.now + 1).min == 2.0


def test_a_clock_that_steps_back_loses_nothing() -> None:
    clock = Clock()
    window = LocalStore(clock)
    series, counter = window.histogram(PERFORMANCE_DURATION, LABELS), window.counter(USAGE, {"feature": "chat"})
    for step in (0, 4000, -2000, 100, -90, 50_000, -50_000, 61, 0):
        clock.now += step
        series.fold(batch([clock.now]), clock.now)
        counter.fold(rows(1), clock.now)
    assert statistics(window, 0, START + DAY).count == 9
    assert count(window, 0, START + DAY) == 9


def test_a_clock_that_is_set_back_before_the_start_loses_nothing() -> None:
    clock = Clock(START + DAY)
    window = LocalStore(clock)
    clock.now = START + 60
    window.counter(USAGE, LABELS).fold(rows(3), clock.now)
    clock.now += 5

    covered = window.covered([USAGE], clock.now - 3600, clock.now)
    assert covered[0] == clock.now - 3600
    assert count(window, *covered) == 3


def test_many_values_become_a_sketch_that_is_half_a_percent_right() -> None:
    clock = Clock()
    window = LocalStore(clock)
    series = window.histogram(PERFORMANCE_DURATION, LABELS)
    rng = random.Random(7)
    values = [rng.lognormvariate(-2, 1.5) for _ in range(100_000)]
    for at in range(0, len(values), 64):
        series.fold(batch(values[at : at + 64]), clock.now)
    found = statistics(window, START, START + 60)
    ordered = sorted(values)
    assert found.estimated == {"p50", "p95", "p99"}
    assert found.count == len(values)
    assert found.avg == pytest.approx(sum(values) / len(values))
    assert (found.min, found.max) == (ordered[0], ordered[-1])
    for q, estimate in ((0.5, found.p50), (0.95, found.p95), (0.99, found.p99)):
        assert estimate == pytest.approx(ordered[int(q * (len(values) - 1))], rel=0.005)


def test_sixteen_thousand_values_of_a_minute_are_kept_as_they_are() -> None:
    clock = Clock()
    window = LocalStore(clock)
    series = window.histogram(PERFORMANCE_DURATION, LABELS)
    for at in range(256):
        series.fold(batch(float(64 * at + n) for n in range(64)), clock.now)
    found = statistics(window, START, START + 60)
    assert found.estimated == frozenset()
    assert found.p99 == pytest.approx(0.99 * 16383)


def test_a_new_series_takes_less_than_400_bytes() -> None:
    clock = Clock()
    window = LocalStore(clock)
    one, number = batch([0.1]), 2000
    labels = [{**LABELS, "metric_name": f"name{n}"} for n in range(number)]
    window.histogram(PERFORMANCE_DURATION, LABELS).fold(one, clock.now)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for each in labels:
            window.histogram(PERFORMANCE_DURATION, each).fold(one, clock.now)
        assert tracemalloc.get_traced_memory()[0] - before < 400 * number
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_whatever_is_recorded() -> None:
    """Two days of some series, with far more values than the budget holds."""
    clock = Clock()
    budget, number = 100_000, 10
    rng = random.Random(3)
    batches = [batch(rng.lognormvariate(0, 2) for _ in range(64)) for _ in range(50)]
    gc.collect()
    tracemalloc.start()
    try:
        window = LocalStore(clock, budget)
        series = [window.histogram(PERFORMANCE_DURATION, {**LABELS, "metric_name": f"name{n}"}) for n in range(number)]
        recorded = peak = 0
        for _ in range(2 * DAY // 900):
            clock.now += 900
            for each in series:
                for part in rng.sample(batches, 3):
                    each.fold(part, clock.now)
                    recorded += 64
            peak = max(peak, tracemalloc.get_traced_memory()[0])
        assert recorded * 8 > 25 * budget
        assert peak < budget + 12_000 * number
    finally:
        tracemalloc.stop()
    first, last = window.covered([PERFORMANCE_DURATION], START, clock.now)
    found = statistics(window, first, last)
    assert found.count == recorded, "not a value is lost, only where exactly it lies"
    assert found.min == min(part.low for part in batches)


def held(histograms: list[HistogramRing], counters: list[CounterRing]) -> int:
    """Return the bytes that series hold, all counted anew."""
    parts = [part for series in histograms for part in (series._values, series._sketch) if part is not None]
    closed = [slot for series in histograms for slot in series._past]
    return sum(map(_size, parts)) + sum(slot.size() for slot in closed) + 8 * sum(len(each._past) for each in counters)


@settings(deadline=None, max_examples=150)
@given(
    events=st.lists(
        st.tuples(
            st.floats(0, 7200) | st.sampled_from([0.0, 60.0, 600.0, 3600.0, 30_000.0, 2.5 * DAY, -90.0, -4000.0]),
            st.integers(0, 4),
            st.integers(1, 400),
        ),
        max_size=80,
    ),
    budget=st.sampled_from([2**26, 100_000, 30_000, 3_000, 1]),
)
def test_the_bytes_that_a_window_thinks_it_holds_are_those_that_it_holds(
    events: list[tuple[float, int, int]], budget: int
) -> None:
    clock, rng = Clock(), random.Random(5)
    window = LocalStore(clock, budget)
    histograms = [window.histogram(PERFORMANCE_DURATION, {**LABELS, "context": str(n)}) for n in range(3)]
    counters = [window.counter(USAGE, {"feature": str(n)}) for n in range(2)]
    for pause, series, number in events:
        clock.now += pause
        if series < 3:
            histograms[series].fold(batch(rng.lognormvariate(0, 3) for _ in range(number)), clock.now)
        else:
            counters[series - 3].fold(rows(number), clock.now)
        assert window.memory._used == held(histograms, counters)


def test_a_window_under_pressure_is_as_fine_as_ever_once_that_is_gone() -> None:
    clock, rng = Clock(), random.Random(5)
    window = LocalStore(clock, budget=2**20)
    histograms = [window.histogram(PERFORMANCE_DURATION, {**LABELS, "context": str(n)}) for n in range(5)]
    counter = window.counter(USAGE, {"feature": "chat"})

    def minutes(number: int, values: int, step: int = 1) -> float:
        """Let time pass, return how many seconds a question for the last ten minutes and a half is answered for."""
        for _ in range(0, number, step):
            clock.now += 60 * step
            counter.fold(rows(1), clock.now)
            for each in histograms:
                each.fold(batch(rng.lognormvariate(0, 3) for _ in range(values)), clock.now)
        first, _ = window.covered([PERFORMANCE_DURATION], clock.now - 630, clock.now)
        return clock.now - first

    assert minutes(20, 5) == 660
    assert minutes(300, 400) > 660, "or there was no pressure"
    minutes(KEEP // 60, 1, step=10)
    assert minutes(60, 1) == 660


def test_memory_is_bounded_in_a_busy_time_after_a_quiet_one() -> None:
    """Recorded every minute, so that slots are closed ten times as often as they are looked after."""
    clock, rng = Clock(), random.Random(3)
    budget, number, quiet, busy = 2**17, 2, 1440, 600
    few, many = [batch([1.0])], [batch(rng.lognormvariate(0, 2) for _ in range(400)) for _ in range(20)]
    gc.collect()
    tracemalloc.start()
    try:
        window = LocalStore(clock, budget)
        series = [window.histogram(PERFORMANCE_DURATION, {**LABELS, "metric_name": f"name{n}"}) for n in range(number)]
        peak = 0
        for minute in range(quiet + busy):
            clock.now += 60
            for each in series:
                each.fold(rng.choice(few if minute < quiet else many), clock.now)
            peak = max(peak, tracemalloc.get_traced_memory()[0])
        assert busy * number * 400 * 8 > 25 * budget
        assert peak < budget + 12_000 * number
    finally:
        tracemalloc.stop()


def test_a_day_that_is_sketched_is_still_a_whole_day() -> None:
    clock = Clock()
    window = LocalStore(clock, budget=1)
    series = window.histogram(PERFORMANCE_DURATION, LABELS)
    for hour in range(48):
        clock.now = START + hour * 3600 + 1
        series.fold(batch(float(n) for n in range(1, 101)), clock.now)
    assert window.covered([PERFORMANCE_DURATION], START, START + DAY) == (START + 0.0, START + DAY)
    day = statistics(window, START, START + DAY)
    assert day.count == 2400
    assert day.p50 == pytest.approx(50.5, rel=0.05)


def test_a_gauge_keeps_its_last_value_and_when_it_was_set() -> None:
    window = LocalStore(Clock())
    labels = {"feature": "chat", "optimization_id": "1", "impact_category": "time"}
    gauge = window.gauge(OPTIMIZATION_AFTER, labels)
    assert list(window.latest(OPTIMIZATION_AFTER, START)) == []
    gauge.fold(batch([3.0, 1.0, 2.0]), START + 10)
    assert list(window.latest(OPTIMIZATION_AFTER, START + 10)) == [(labels, 2.0, START + 10)]
    assert list(window.latest(OPTIMIZATION_AFTER, START)) == [], "not set yet then"


def test_a_counter_counts_rows_or_adds_values() -> None:
    window = LocalStore(Clock())
    rows, total = window.counter(USAGE, {"feature": "rows"}), window.counter(USAGE, {"feature": "total"}, total=True)
    for sink in (rows, total):
        sink.fold(batch([5.0, 7.0]), START)
    assert {labels["feature"]: amount for labels, amount in window.counts(USAGE, START, START + 60)} == {
        "rows": 2,
        "total": 12,
    }


def test_asking_twice_for_a_series_gives_the_same_sink() -> None:
    window = LocalStore(Clock())
    assert window.histogram(PERFORMANCE_DURATION, LABELS) is window.histogram(PERFORMANCE_DURATION, dict(LABELS))


def test_readers_see_whole_chunks_while_values_arrive() -> None:
    clock = Clock()
    window = LocalStore(clock, budget=50_000)
    series = [window.histogram(PERFORMANCE_DURATION, {**LABELS, "context": str(n)}) for n in range(4)]
    done = threading.Event()
    odd: list[int] = []

    def read() -> None:
        while not done.is_set():
            for _, parts in window.values(PERFORMANCE_DURATION, 0, 2 * START):
                number = sum(len(part) if isinstance(part, array) else part.moments.count for part in parts)
                if number % 64:
                    odd.append(number)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    whole = batch(float(n) for n in range(64))
    try:
        for n in range(8000):
            clock.now += 7
            series[n % 4].fold(whole, clock.now)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert odd == []
    assert statistics(window, 0, 2 * START).count == 8000 * 64
