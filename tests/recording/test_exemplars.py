"""A value recorded in a sampled span, or with an id of its own, is offered as an exemplar with that span and that id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import attach, detach, get_current, set_value
from opentelemetry.sdk.metrics import MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otel_metrics
from otel_metrics import ExemplarFilter
from otel_metrics.recording.arguments import ArgumentSpec
from otel_metrics.recording.flusher import Flusher
from otel_metrics.recording.sinks import CounterSink, GaugeSink, HistogramSink
from otel_metrics.runtime import wsgi_app
from otel_metrics.sdk.context import current_context, sampled
from otel_metrics.sdk.views import Buckets, Way, views
from otel_metrics.testing import recording
from tests.recording.streams import BOUNDS, cumulative, metrics_of, only

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

VIEWS = {
    "merge": views({"h": BOUNDS}),
    "repeat": views({"h": BOUNDS}, way=Way.REPEAT),
    "public": views({"h": BOUNDS}, way=Way.PUBLIC),
    "exponential": views({"h": BOUNDS}, Buckets.EXPONENTIAL),
    "none of ours": [],
}


class Rig:
    def __init__(self, name: str) -> None:
        self.reader: InMemoryMetricReader = cumulative()
        provider = MeterProvider(
            [self.reader], exemplar_filter=ExemplarFilter(), shutdown_on_exit=False, views=VIEWS[name]
        )
        meter = provider.get_meter("test")
        self.flusher = Flusher(meter, tick=None)
        sinks = (
            HistogramSink(meter.create_histogram("h"), {"a": "b"}),
            GaugeSink(meter.create_gauge("g"), {"a": "b"}),
        )
        counter = CounterSink(meter.create_counter("c"), {"a": "b"})
        self.buffer = self.flusher.buffer((ArgumentSpec(),), (sinks,), (counter,))
        self.call_counter = self.flusher.call_counter((CounterSink(meter.create_counter("t"), {"a": "b"}),))

    def points(self) -> dict[str, Any]:
        return {metric.name: only(metric.data.data_points) for metric in metrics_of(self.reader)}


@pytest.mark.parametrize("name", VIEWS)
def test_a_sampled_span_is_on_the_exemplars(name: str) -> None:
    rig = Rig(name)
    rig.buffer.append(0.5)
    with TracerProvider().get_tracer("test").start_as_current_span("work") as span:
        context = sampled()
        assert context is not None
        rig.flusher.record(rig.buffer, (2.0,), context)
        rig.flusher.hit(rig.call_counter, context)
        rig.buffer.append(4.0)
        points = rig.points()  # collected in the span: that is not where the other values were recorded
    assert points["h"].count == 3
    assert points["h"].sum == 6.5
    assert (points["c"].value, points["t"].value, points["g"].value) == (3, 1, 4.0)
    for metric, value in (("h", 2.0), ("c", 1), ("t", 1), ("g", 2.0)):
        exemplar = only(points[metric].exemplars)
        assert exemplar.value == value
        assert (exemplar.trace_id, exemplar.span_id) == (
            span.get_span_context().trace_id,
            span.get_span_context().span_id,
        )
        assert not exemplar.filtered_attributes


@pytest.mark.parametrize("name", ["merge", "repeat", "exponential"])
def test_an_id_is_on_the_exemplar_and_not_among_the_labels(name: str) -> None:
    rig = Rig(name)
    rig.flusher.record(rig.buffer, (2.0,), get_current(), {"interaction_id": "i-1"})
    point = rig.points()["h"]
    assert dict(point.attributes) == {"a": "b"}
    exemplar = only(point.exemplars)
    assert exemplar.filtered_attributes == {"interaction_id": "i-1"}
    assert exemplar.trace_id is None


@pytest.mark.parametrize("name", ["public", "none of ours"])
def test_an_id_is_no_label_where_the_views_are_not_ours(name: str) -> None:
    rig = Rig(name)
    rig.flusher.record(rig.buffer, (2.0,), get_current(), {"interaction_id": "i-1"})
    assert dict(rig.points()["h"].attributes) == {"a": "b"}


def test_no_span_or_one_that_is_not_sampled_costs_nothing() -> None:
    assert sampled() is None
    with TracerProvider(sampler=ALWAYS_OFF).get_tracer("test").start_as_current_span("work"):
        assert sampled() is None


def test_a_value_in_a_span_while_its_thread_folds_is_kept_without_exemplar() -> None:
    rig = Rig("merge")

    class Number:
        def __float__(self) -> float:
            rig.flusher.record(rig.buffer, (1.0,), get_current())
            rig.flusher.hit(rig.call_counter, get_current())
            return 2.0

    rig.buffer.append(Number())
    rig.flusher.drain()
    points = rig.points()
    assert (points["h"].count, points["h"].sum, points["t"].value) == (2, 3.0, 1)


def test_the_active_context_is_the_sdks() -> None:
    assert not current_context()
    token = attach(set_value("key", "value"))
    try:
        assert current_context() is get_current()
    finally:
        detach(token)
    assert not current_context()


def test_an_interaction_id_is_scraped_as_an_exemplar() -> None:
    with recording() as metrics:
        metrics.advanced.record_satisfaction("search", "helpfulness", 0.9, interaction_id="i-7")
        scrape = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "HTTP_ACCEPT": "application/openmetrics-text"}
        body = b"".join(wsgi_app()(scrape, lambda _status, _headers: None)).decode()
    exemplars = [line.split(" # ")[1] for line in body.splitlines() if " # " in line]
    assert [exemplar for exemplar in exemplars if exemplar.startswith('{interaction_id="i-7"} 0.9')]
    assert 'interaction_id="i-7",' not in body


def test_an_interaction_id_is_an_exemplar_on_a_provider_of_the_applications_own() -> None:
    reader = cumulative()
    provider = MeterProvider([reader], views=otel_metrics.views(), exemplar_filter=otel_metrics.ExemplarFilter())
    with recording(meter_provider=provider) as metrics:
        metrics.advanced.record_satisfaction("engine", "speed", 0.5, interaction_id="chat-7")
        (point,) = next(
            metric for metric in metrics_of(reader) if metric.name == "feature.satisfaction.score"
        ).data.data_points
    assert only(point.exemplars).filtered_attributes == {"interaction_id": "chat-7"}
    provider.shutdown()


def test_what_did_not_happen_in_a_span_has_no_exemplar_of_it() -> None:
    """The outcomes that a call did not have are there at zero, and its own has the exemplar of one call."""
    reader = cumulative()
    provider = MeterProvider([reader], views=otel_metrics.views(), exemplar_filter=otel_metrics.ExemplarFilter())
    span = TracerProvider().get_tracer("test").start_as_current_span("work")
    with recording(meter_provider=provider) as metrics, span:
        metrics.advanced.record_feature_usage("engine", "ask")
        metrics.advanced.record_error("engine", "Timeout")
        exemplars = {
            point.attributes.get("outcome") or point.attributes["recovery"]: [e.value for e in point.exemplars]
            for metric in metrics_of(reader)
            if metric.name in {"feature.usage", "feature.errors"}
            for point in metric.data.data_points
        }
    assert exemplars == {"success": [1], "failure": [], "none": [1], "failed": [], "succeeded": []}
    provider.shutdown()


def test_a_filter_that_raises_while_a_series_is_made_costs_no_call() -> None:
    class Once(TraceBasedExemplarFilter):
        raised = False

        def should_sample(self, *_: Any) -> bool:
            if not Once.raised:
                Once.raised = True
                raise OSError("no filter")
            return False

    provider = MeterProvider([reader := cumulative()], views=otel_metrics.views(), exemplar_filter=Once())
    with recording(meter_provider=provider, strict=False) as metrics:
        metrics.advanced.record_error("engine", "Timeout")
        (errors,) = (metric for metric in metrics_of(reader) if metric.name == "feature.errors")
        assert sum(point.value for point in errors.data.data_points) == 1
    provider.shutdown()


def test_a_failing_part_of_the_applications_own_provider_does_not_reach_a_record_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(TraceBasedExemplarFilter):
        def should_sample(self, *_: Any) -> bool:
            raise OSError("no filter")

    provider = MeterProvider([cumulative()], views=otel_metrics.views(), exemplar_filter=Broken())
    span = TracerProvider().get_tracer("test").start_as_current_span("work")
    with recording(meter_provider=provider, strict=False) as metrics, span:
        metrics.advanced.record_satisfaction("engine", "speed", 0.5)
        metrics.advanced.record_error("engine", "Timeout")
    assert "exemplar: internal error" in caplog.text
    provider.shutdown()
