"""An exemplar filter or a reservoir of the application's raises: nothing is lost, nothing is there twice, no record call hears of it."""

from __future__ import annotations

import logging
import threading
from collections import Counter as Counted
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry.sdk.metrics import (
    AlwaysOnExemplarFilter,
    Counter,
    MeterProvider,
    SimpleFixedSizeExemplarReservoir,
)
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    SumAggregation,
    View,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_metrics import testing
from otel_metrics.recording.arguments import ArgumentSpec
from otel_metrics.recording.flusher import Flusher
from otel_metrics.recording.rejections import Rejections
from otel_metrics.recording.sinks import CounterSink, HistogramSink, Sink
from otel_metrics.sdk.views import Way, views
from tests.recording.streams import BOUNDS, cumulative, metrics_of, only

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_metrics.recording.sinks import Batch

SPAN = set_span_in_context(NonRecordingSpan(SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(1))))


class ForeignError(Exception):
    """What code of the application raises."""


class Filter(AlwaysOnExemplarFilter):
    """Is asked before a measurement reaches any aggregation, and raises as often as it is told."""

    def __init__(self, *, after: int = 0, times: int = 1) -> None:
        self.after, self.times = after, times

    def should_sample(self, *_: Any) -> bool:
        if self.after:
            self.after -= 1
        elif self.times:
            self.times -= 1
            raise ForeignError
        return True


class Reservoir:
    """Is offered a measurement after the aggregation has taken it, and raises as often as it is told."""

    def __init__(self, times: int) -> None:
        self.times = times

    def offer(self, *_: Any, **__: Any) -> None:
        if self.times:
            self.times -= 1
            raise ForeignError

    def collect(self, *_: Any) -> list[Any]:
        return []


class Rig:
    """One series of a histogram and two counters, all with the same values."""

    def __init__(self, views: Sequence[View], exemplar_filter: Any = None) -> None:
        self.reader = cumulative()
        self.rejections = Rejections(strict=False)
        provider = MeterProvider(
            [self.reader],
            views=views,
            exemplar_filter=exemplar_filter or AlwaysOnExemplarFilter(),
            shutdown_on_exit=False,
        )
        meter = provider.get_meter("test")
        self.flusher = Flusher(meter, tick=None, rejections=self.rejections)
        self.kept = Kept()
        histogram = HistogramSink(meter.create_histogram("h"), {})
        rows = (CounterSink(meter.create_counter("c"), {}),)
        self.buffer = self.flusher.buffer((ArgumentSpec(),), ((histogram, self.kept),), rows)

    def points(self) -> dict[str, Any]:
        """Collect until everything is handed over."""
        for _ in range(4):
            points = {metric.name: only(metric.data.data_points) for metric in metrics_of(self.reader)}
        return points

    def failures(self) -> int:
        return sum(self.rejections.counts().values())


class Kept(Sink):
    """A sink of ours."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def fold(self, batch: Batch, _now: float) -> None:
        self.values += batch.values
        batch.taken += 1


WAYS: dict[str, Callable[[], list[View]]] = {
    "merge": lambda: views({"h": BOUNDS}),
    "repeat": lambda: views({"h": BOUNDS}, way=Way.REPEAT),
    "none of ours": list,
    "ours and another": lambda: [
        *views({"h": BOUNDS}),
        View(instrument_name="h", name="other", aggregation=ExplicitBucketHistogramAggregation(BOUNDS)),
    ],
}


@pytest.mark.parametrize("after", range(12))
@pytest.mark.parametrize("way", WAYS)
def test_what_a_filter_kept_from_an_aggregation_is_handed_over_later(way: str, after: int) -> None:
    rig = Rig(WAYS[way](), Filter(after=after))
    for _ in range(3):
        for value in range(1, 5):
            rig.buffer.append(float(value))
        rig.points()
    points = rig.points()
    assert (points["c"].value, points["h"].count, points["h"].sum) == (12, 12, 30.0)
    if "other" in points:
        assert (points["other"].count, points["other"].sum) == (12, 30.0)


@pytest.mark.parametrize("times", [1, 3, 1000])
@pytest.mark.parametrize("instrument", ["c", "h"])
@pytest.mark.parametrize("way", ["merge", "none of ours"])
def test_what_an_aggregation_took_before_its_reservoir_raised_is_not_offered_again(
    way: str, instrument: str, times: int
) -> None:
    reservoir: Any = Reservoir(times)
    aggregation = SumAggregation() if instrument == "c" else ExplicitBucketHistogramAggregation(BOUNDS)
    bad = View(
        instrument_name=instrument, aggregation=aggregation, exemplar_reservoir_factory=lambda _: lambda **_: reservoir
    )
    rig = Rig([bad] if way == "none of ours" else [*WAYS[way](), bad])
    for value in range(1, 11):
        rig.buffer.append(float(value))
    for _ in range(12):
        points = rig.points()
    assert (points["c"].value, points["h"].count, points["h"].sum) == (10, 10, 55.0)
    assert rig.failures()


@pytest.mark.parametrize("way", WAYS)
def test_a_value_of_a_span_whose_filter_raises_only_loses_its_exemplar(way: str) -> None:
    rig = Rig(WAYS[way](), Filter(times=2))
    rig.flusher.record(rig.buffer, (2.0,), SPAN)
    rig.buffer.append(3.0)
    points = rig.points()
    assert (points["c"].value, points["h"].count, points["h"].sum) == (2, 2, 5.0)
    assert rig.kept.values == [2.0, 3.0]
    assert rig.rejections.counts() == {("exemplar", "internal_error"): 1}


def test_a_filter_that_raises_always_does_not_reach_record_calls_and_takes_up_no_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig([], Filter(times=-1))
    for value in range(200_000):
        rig.buffer.append(float(value))
        if len(rig.buffer) >= 128:
            rig.flusher.fold(rig.buffer)
    assert len(rig.kept.values) >= 199_000
    assert rig.failures() > 1
    assert [record.getMessage() for record in caplog.records] == [
        "hand_over: internal error; further ones are only counted"
    ]
    ((histogram, _),) = rig.buffer.sinks
    assert isinstance(histogram, HistogramSink)
    assert len(histogram._values or ()) < 140_000


def test_a_failure_is_logged_when_the_lock_is_free() -> None:
    """A log handler that waits for a thread which reads: it would wait for ever."""
    rig = Rig([], Filter())
    read = threading.Event()

    def get() -> None:
        rig.flusher.drain()
        read.set()

    class Handler(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            thread = threading.Thread(target=get, daemon=True)
            thread.start()
            thread.join(120)

    handler = Handler()
    logging.getLogger("otel_metrics").addHandler(handler)
    try:
        rig.buffer.append(1.0)
        rig.reader.get_metrics_data()
    finally:
        logging.getLogger("otel_metrics").removeHandler(handler)
    assert read.is_set()


@pytest.mark.parametrize(
    ("call", "arguments", "counter"),
    [
        ("record_satisfaction", ("speed", 0.9), "feature.satisfaction.responses"),
        ("record_feature_usage", ("open",), "feature.usage"),
        ("record_error", ("Timeout",), "feature.errors"),
    ],
)
def test_a_first_call_below_the_sdk_does_not_wait_for_it(call: str, arguments: tuple[Any, ...], counter: str) -> None:
    """As signal handlers, log handlers and ``__del__`` make one: they run while their thread holds locks of the SDK."""
    features: list[str] = []

    def reservoir(**options: Any) -> Any:  # made with such a lock held
        while features:
            getattr(metrics.advanced, call)(features.pop(), *arguments)
        return SimpleFixedSizeExemplarReservoir(**options)

    reader = cumulative()
    views = [View(instrument_type=Counter, exemplar_reservoir_factory=cast("Any", lambda _: reservoir))]
    with testing.recording(meter_provider=MeterProvider([reader], views=views, shutdown_on_exit=False)) as metrics:
        record = getattr(metrics.advanced, call)
        record("first", *arguments)  # makes the instruments
        features.append("below")
        above = threading.Thread(target=record, args=("above", *arguments), daemon=True)
        above.start()
        above.join(120)
        assert not above.is_alive(), "it waits for a lock that its own thread holds"
        assert not features, "or this test shows nothing"
        counts = Counted[str]()
        for metric in metrics_of(reader):
            for point in metric.data.data_points if metric.name == counter else ():
                counts[point.attributes["feature"]] += point.value
    assert counts == {"first": 1, "above": 1, "below": 1}
