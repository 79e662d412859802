"""Whatever is recorded, in whatever order and under whatever views: every reader sees what naive calls would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    LastValueAggregation,
    SumAggregation,
    View,
)

from otel_metrics.recording.arguments import ArgumentSpec
from otel_metrics.recording.flusher import Flusher
from otel_metrics.recording.sinks import CounterSink, GaugeSink, HistogramSink
from otel_metrics.sdk.views import Buckets, Way, gauges_last, views
from tests.recording.streams import BOUNDS, Exponential, collect, cumulative, delta, exponential_of, metrics_of

if TYPE_CHECKING:
    from tests.recording.streams import Points

EXPONENTIAL = ExponentialBucketHistogramAggregation(max_size=640, max_scale=8)
PLAIN = [View(instrument_name="h", aggregation=ExplicitBucketHistogramAggregation(BOUNDS))]


def ours(way: Way = Way.MERGE, buckets: Buckets = Buckets.BOTH, **criteria: Any) -> list[View]:
    return views({"h": BOUNDS}, buckets, way, **criteria)


def naive_view(**criteria: Any) -> list[View]:
    return [View(instrument_name="h", aggregation=ExplicitBucketHistogramAggregation(BOUNDS), **criteria)]


# How histogram "h" is viewed: (by us, by the provider of the naive calls)
VIEWS = {
    "merge": (ours(), PLAIN),
    "repeat": (ours(Way.REPEAT), PLAIN),
    "public": (ours(Way.PUBLIC), PLAIN),
    "explicit only": (ours(buckets=Buckets.EXPLICIT), PLAIN),
    "exponential only": (ours(buckets=Buckets.EXPONENTIAL), [View(instrument_name="h", aggregation=EXPONENTIAL)]),
    "none of ours": ([], []),
    "a user's exponential view": ([View(instrument_name="h", aggregation=EXPONENTIAL)],) * 2,
    "renamed": (ours(name="renamed"), naive_view(name="renamed")),
    "attributes filtered": (ours(attribute_keys={"kind"}), naive_view(attribute_keys={"kind"})),
    "two of ours": (
        [*ours(), *views({"h": (1.0, 2.0)}, name="coarse")],
        [*PLAIN, View(instrument_name="h", name="coarse", aggregation=ExplicitBucketHistogramAggregation((1.0, 2.0)))],
    ),
    "ours and others": tuple(
        [
            *mine,
            View(instrument_name="h", name="other", aggregation=ExplicitBucketHistogramAggregation((1.0, 2.0))),
            View(instrument_name="h", name="sum", aggregation=SumAggregation()),
            View(instrument_name="h", name="exponential", aggregation=EXPONENTIAL),
        ]
        for mine in (ours(), PLAIN)
    ),
    "last value": tuple(
        [*mine, View(instrument_name="h", name="last", aggregation=LastValueAggregation())] for mine in (ours(), PLAIN)
    ),
    "only the last value": ([View(instrument_name="h", aggregation=LastValueAggregation())],) * 2,
    "dropped": ([View(instrument_name="*", aggregation=DropAggregation())],) * 2,
}

SERIES = [{"kind": kind, "n": n} for kind in ("a", "b") for n in (1, 2)]

values = st.one_of(
    st.floats(min_value=0.0, max_value=1e9),
    st.sampled_from([0, 1, 2, 0.0, 0.25, 0.5, 1.0, 2.5, 4.0, 10.0, 5e-324, 1e-300, 1e300]),
    st.floats(min_value=0.001, max_value=10.0),
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(0, 3), st.lists(values, min_size=1, max_size=70)),
        st.tuples(st.just("count"), st.integers(0, 3), st.integers(1, 70)),
        st.tuples(st.just("set"), st.integers(0, 3), st.floats(-1e9, 1e9)),
        st.tuples(st.just("fold"), st.integers(0, 3), st.none()),
        st.tuples(st.just("collect"), st.integers(0, 1), st.none()),
    ),
    max_size=25,
)


class Naive:
    """Instruments called as the SDK's documentation shows."""

    def __init__(self, views_: list[View]) -> None:
        self.readers = [cumulative(), delta()]
        self.provider = MeterProvider(self.readers, shutdown_on_exit=False, views=views_)
        meter = self.provider.get_meter("test")
        self.histogram = meter.create_histogram("h")
        self.rows = meter.create_counter("rows")
        self.total = meter.create_counter("total")
        self.counter = meter.create_counter("calls")
        self.gauge = meter.create_gauge("g")
        self.set_to: dict[int, float] = {}

    def record(self, series: int, recorded: list[float]) -> None:
        for value in recorded:
            self.histogram.record(value, SERIES[series])
            self.rows.add(1, SERIES[series])
            self.total.add(value, SERIES[series])

    def count(self, series: int, n: int) -> None:
        for _ in range(n):
            self.counter.add(1, SERIES[series])

    def set(self, series: int, value: float) -> None:
        self.gauge.set(value, SERIES[series])
        self.set_to[series] = value

    def fold(self, series: int, _argument: None) -> None:
        pass

    def seen_by(self, which: int) -> Points:
        if not gauges_last():  # what such an SDK forgets, a user sets again
            for series, value in self.set_to.items():
                self.gauge.set(value, SERIES[series])
        return collect(self.readers[which])


class Folded(Naive):
    """The same instruments behind buffers."""

    def __init__(self, views_: list[View]) -> None:
        super().__init__(views_)
        self.flusher = Flusher(self.provider.get_meter("test"), tick=None)
        self.column, self.any_column = ArgumentSpec(), ArgumentSpec(low=float("-inf"))
        self.buffers: dict[int, Any] = {}
        self.call_counters: dict[int, Any] = {}
        self.gauges: dict[int, Any] = {}

    def record(self, series: int, recorded: list[float]) -> None:
        if series not in self.buffers:
            labels = SERIES[series]
            sinks = (HistogramSink(self.histogram, labels), CounterSink(self.total, labels, total=True))
            self.buffers[series] = self.flusher.buffer((self.column,), (sinks,), (CounterSink(self.rows, labels),))
        for value in recorded:
            self.buffers[series].append(value)

    def count(self, series: int, n: int) -> None:
        if series not in self.call_counters:
            self.call_counters[series] = self.flusher.call_counter((CounterSink(self.counter, SERIES[series]),))
        for _ in range(n):
            self.call_counters[series].hit()

    def set(self, series: int, value: float) -> None:
        if series not in self.gauges:
            self.gauges[series] = self.flusher.buffer((self.any_column,), ((GaugeSink(self.gauge, SERIES[series]),),))
        self.gauges[series].append(value)

    def fold(self, series: int, _argument: None) -> None:
        if series in self.buffers:
            self.flusher.fold(self.buffers[series])


def play(script: list[tuple[str, int, Any]], *played: Naive) -> None:
    """Play a script to each; compare what their readers see wherever it collects, and at its end."""
    for operation, which, argument in [*script, ("collect", 0, None), ("collect", 1, None)]:
        if operation == "collect":
            first, *others = [one.seen_by(which) for one in played]
            for other in others:
                assert other == first
        else:
            for one in played:
                getattr(one, operation)(which, argument)


@pytest.mark.parametrize("name", VIEWS)
@settings(max_examples=25, deadline=None)
@given(script=operations)
def test_data_points_are_those_of_naive_calls(name: str, script: list[tuple[str, int, Any]]) -> None:
    of_ours, of_theirs = VIEWS[name]
    play(script, Naive(of_theirs), Folded(of_ours))


@pytest.mark.parametrize("way", [Way.MERGE, Way.REPEAT])
@settings(max_examples=40, deadline=None)
@given(script=operations)
def test_exponential_companion_is_the_sdks_exponential_histogram(way: Way, script: list[tuple[str, int, Any]]) -> None:
    folded = Folded(ours(way))
    naive = Naive([View(instrument_name="h", aggregation=EXPONENTIAL)])
    for operation, which, argument in [*script, ("collect", 0, None), ("collect", 1, None)]:
        if operation == "collect":
            assert exponential_points(folded, which) == exponential_points(naive, which)
        else:
            getattr(folded, operation)(which, argument)
            getattr(naive, operation)(which, argument)


def exponential_points(one: Naive, which: int) -> dict[Any, Any]:
    return {
        frozenset(point.attributes.items()): (
            point.count,
            pytest.approx(point.sum, rel=1e-9),
            point.min,
            point.max,
            Exponential(getattr(point, "exponential", point)),
        )
        for metric in metrics_of(one.readers[which])
        if metric.name == "h"
        for point in metric.data.data_points
    }


@pytest.mark.parametrize("name", ["merge", "repeat", "public", "ours and others"])
def test_a_reader_added_late_sees_what_is_recorded_from_then_on(name: str) -> None:
    if not hasattr(MeterProvider, "add_metric_reader"):
        return  # SDKs before 1.39 know their readers from the start
    naive, folded = Naive(VIEWS[name][1]), Folded(VIEWS[name][0])
    for one in (naive, folded):
        one.record(0, [0.5, 0.25, 3.0])
        one.record(1, [0.5])
    collect(naive.readers[0])
    collect(folded.readers[0])
    for one in (naive, folded):
        late = cumulative()
        one.provider.add_metric_reader(late)  # type: ignore[attr-defined,unused-ignore]
        one.readers.append(late)
        one.record(0, [0.75] * 5)
    for which in (2, 0, 1, 2):
        assert collect(folded.readers[which]) == collect(naive.readers[which])


def test_an_interval_of_far_apart_values_leaves_the_next_deltas_as_fine_as_before() -> None:
    reader = delta()
    provider = MeterProvider([reader], shutdown_on_exit=False, views=views({"h": BOUNDS}))
    meter = provider.get_meter("test")
    flusher = Flusher(meter, tick=None)
    buffer = flusher.buffer((ArgumentSpec(),), ((HistogramSink(meter.create_histogram("h"), {}),),))

    def scale(*values: float) -> int:
        buffer.extend(values)
        return int(exponential_of(reader, "h")[frozenset()].scale)

    assert [scale(1.0, 1.5), scale(1.0, 1.5)] == [8, 8]
    assert scale(1e-6, 1e6) < 5
    assert [scale(1.0, 1.5), scale(1.0, 1.5)] == [8, 8]


@pytest.mark.parametrize("name", ["merge", "repeat", "public"])
def test_series_past_the_sdks_limit_overflow_together(name: str) -> None:
    naive, folded = Naive(VIEWS[name][1]), Folded(VIEWS[name][0])
    many = range(2100)
    try:
        SERIES.extend({"kind": "c", "n": n} for n in many)
        for one in (naive, folded):
            for series in many:
                one.record(series, [0.5, 2.0])
        assert collect(folded.readers[0]) == collect(naive.readers[0])
        assert collect(folded.readers[0]) == collect(naive.readers[0])
    finally:
        del SERIES[4:]


@pytest.mark.parametrize("name", ["merge", "repeat", "public", "ours and others"])
def test_negative_values_are_none_of_a_histograms(name: str) -> None:
    naive, folded = Naive(VIEWS[name][1]), Folded(VIEWS[name][0])
    buffer = folded.flusher.buffer((ArgumentSpec(low=float("-inf")),), ((HistogramSink(folded.histogram, SERIES[0]),),))
    for values_ in ([2.0, -1.0], [-1.0], [0.5, 2.0, -3.0]):
        for value in values_:
            naive.histogram.record(value, SERIES[0])
            buffer.append(value)
        assert collect(folded.readers[0]) == collect(naive.readers[0])
