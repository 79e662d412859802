"""The reader as the SDK and prometheus_client see it."""

from __future__ import annotations

import inspect
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics._internal import measurement_consumer
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from prometheus_client import CollectorRegistry, generate_latest

from otel_metrics.exporter import PrometheusReader
from otel_metrics.exporter.endpoint import Endpoint
from otel_metrics.sdk import lazy_points
from otel_metrics.sdk.bulk import BulkHistogramAggregation
from tests.exporter import prometheus_proto as proto
from tests.exporter.expositions import OPENMETRICS, PROTOBUF, TEXT, Scraped, samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric


def test_accepted_wherever_the_official_one_is() -> None:
    ours, theirs = (inspect.signature(each).parameters for each in (PrometheusReader, PrometheusMetricReader))
    assert issubclass(PrometheusReader, PrometheusMetricReader)
    assert ours.keys() >= theirs.keys()
    assert [n for n, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == [
        n for n, p in theirs.items() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]


def test_a_registry_yields_everything_once_whoever_collects() -> None:
    scraped = Scraped()
    scraped.meter.create_counter("calls").add(1)
    scraped.provider.force_flush()
    scraped.reader.collect()
    for _ in range(3):
        assert generate_latest(scraped.registry).decode().count("\ncalls_total 1.0\n") == 1
        assert scraped.text().count("\ncalls_total 1\n") == 1


def test_two_readers_on_one_registry() -> None:
    registry = CollectorRegistry()
    one, two = (Scraped({"registry": registry, "disable_target_info": False}) for _ in range(2))
    one.meter.create_counter("calls").add(1, {"provider": "one"})
    two.meter.create_counter("calls").add(2, {"provider": "two"})
    for accept in (TEXT, OPENMETRICS):
        for each in (one, two):
            found = each.samples(accept)
            assert found["calls_total{provider=one}"] == 1
            assert found["calls_total{provider=two}"] == 2
            assert found["target_info{service_instance_id=one,service_name=shop}"] == 1


def test_a_collector_may_choose_from_another_registry_with_a_reader() -> None:
    inner, outer = Scraped(), Scraped()
    inner.meter.create_counter("wanted").add(1)
    inner.meter.create_counter("other").add(1)

    class Chosen:
        def collect(self) -> Iterator[Metric]:
            return (metric for metric in inner.registry.collect() if metric.name == "wanted")

    outer.registry.register(Chosen())
    for accept in (TEXT, OPENMETRICS):
        assert outer.samples(accept) == {"wanted_total": 1}


def test_after_shutdown_nothing_is_left_and_nothing_fails() -> None:
    scraped = Scraped()
    scraped.meter.create_counter("calls").add(1)
    scraped.provider.shutdown()
    assert generate_latest(scraped.registry) == b""
    assert "calls" not in scraped.text()
    scraped.reader.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        scraped.reader.serve(port=0)


def test_shutdown_with_a_registry_that_somebody_cleared() -> None:
    scraped = Scraped()
    scraped.registry.unregister(scraped.reader._registered)  # type: ignore[arg-type]
    scraped.provider.shutdown()  # raises what the reader raises


def test_before_it_has_a_provider() -> None:
    reader = PrometheusReader(registry=CollectorRegistry(), self_metrics=False)
    response = Endpoint(reader._exposition.scrape).respond("GET", "/metrics", {})
    assert b"".join(response.body) == b""


def test_an_unknown_strategy_is_an_error() -> None:
    with pytest.raises(ValueError, match="NoTranslation"):
        PrometheusReader(registry=CollectorRegistry(), translation_strategy="nonsense")  # type: ignore[arg-type]


def test_a_collection_that_takes_longer_than_the_sdk_waits_is_exposed(monkeypatch: pytest.MonkeyPatch) -> None:
    late = 0

    def slow(_: Any) -> list[Observation]:
        nonlocal late
        late += 11_000_000_000
        return [Observation(1)]

    monkeypatch.setattr(measurement_consumer, "time_ns", lambda: time.time_ns() + late)
    scraped = Scraped()
    for name in ("first", "second"):
        scraped.meter.create_observable_gauge(name, [slow])
    assert scraped.samples() == {"first": 1, "second": 1}


def test_limits_of_cardinality_reach_the_sdk() -> None:
    scraped = Scraped({"cardinality_limits": {Counter: 2, Histogram: 1}})
    for series in range(5):
        scraped.meter.create_counter("calls").add(1, {"series": str(series)})
    assert scraped.samples()["calls_total{otel_metric_overflow=true}"] == 3


@pytest.fixture(params=[True, False], ids=["read directly", "SDK's data points"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(lazy_points, "_works", lambda: False)


def test_this_sdk_can_be_read_directly() -> None:
    assert lazy_points._works()


def test_an_sdk_made_differently_is_noticed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(lazy_points, "_histogram_reader", lambda: lambda _: None)
    lazy_points._works.cache_clear()
    with caplog.at_level(logging.INFO, "otel_metrics"):
        assert not lazy_points._works()
    lazy_points._works.cache_clear()
    assert "cannot be read directly" in caplog.text


@pytest.mark.usefixtures("_way")
def test_all_kinds_of_aggregations() -> None:
    views = [
        View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation()),
        View(instrument_name="both", aggregation=BulkHistogramAggregation([1.0, 2.0], exponential=True)),
        View(instrument_name="dropped.*", meter_name="nothing"),
    ]
    scraped = Scraped(views=views)
    meter = scraped.meter
    histograms = [meter.create_histogram(name) for name in ("classic", "exponential", "both")]
    sums: list[Any] = [meter.create_counter("counter"), meter.create_up_down_counter("up_down")]
    gauge = meter.create_gauge("gauge")
    for turn in range(1, 4):
        for series in ("a", "b"):
            for histogram in histograms:
                histogram.record(1.5, {"series": series})
            for each in sums:
                each.add(2, {"series": series})
            gauge.set(turn, {"series": series})
        for accept in (TEXT, OPENMETRICS):
            found = scraped.samples(accept)
            for series in ("a", "b"):
                for name in ("classic", "exponential", "both"):
                    assert found[f"{name}_count{{series={series}}}"] == turn
                    assert found[f"{name}_sum{{series={series}}}"] == 1.5 * turn
                    assert found[f"{name}_bucket{{le=+Inf,series={series}}}"] == turn
                assert found[f"counter_total{{series={series}}}"] == found[f"up_down{{series={series}}}"] == 2 * turn
                assert found[f"gauge{{series={series}}}"] == turn
        families = proto.read(scraped.scrape(PROTOBUF))
        for name in ("exponential", "both"):
            for metric in families[name].metric:
                assert sum(proto.native_buckets(metric.histogram).values()) == turn
    assert samples_from(scraped) == scraped.samples(TEXT)


def samples_from(scraped: Scraped) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families

    return samples(text_string_to_metric_families(generate_latest(scraped.registry).decode()))


@pytest.mark.usefixtures("_way")
def test_other_readers_of_the_provider_see_the_same() -> None:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    memory = InMemoryMetricReader()
    reader = PrometheusReader(registry=CollectorRegistry())
    provider = MeterProvider(metric_readers=[reader, memory], shutdown_on_exit=False)
    counter = provider.get_meter("tests").create_counter("calls")
    for turn in range(1, 4):
        counter.add(1)
        assert b'calls_total{otel_scope_name="tests"} %d\n' % turn in b"".join(
            Endpoint(reader._exposition.scrape).respond("GET", "/metrics", {}).body
        )
        data: Any = memory.get_metrics_data()
        assert data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].value == turn


def test_series_that_are_gone_are_forgotten() -> None:
    scraped = Scraped()
    alive = ["0"]

    def observe(_: Any) -> Any:
        from opentelemetry.metrics import Observation

        return [Observation(1, {"series": name}) for name in alive]

    scraped.meter.create_observable_gauge("level", [observe])
    for turn in range(60):
        alive[:] = [f"{turn}-{number}" for number in range(100)]
        scraped.scrape()
    series = scraped.reader._exposition._text_series
    assert sum(len(cache.entries) for cache in series._caches.values()) < 8000


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_a_port_that_is_none_is_an_error(port: int) -> None:
    with pytest.raises(ValueError, match=f"^port={port} is not allowed; allowed: an integer from 0 to 65535$"):
        Scraped().reader.serve(port=port)
