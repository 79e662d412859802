"""Real Prometheus servers scrape, store and answer."""

from __future__ import annotations

import math
import random
import statistics
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from prometheus_client import CollectorRegistry, Counter

from otel_metrics.exporter import PrometheusReader
from otel_metrics.sdk.bulk import BulkHistogramAggregation, BulkMeasurement
from tests.servers import scraping, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from otel_metrics.exporter import ServerHandle
    from tests.engines import Prometheus
    from tests.servers import Servers

PROTOCOLS = {"text": "PrometheusText0.0.4", "openmetrics": "OpenMetricsText1.0.0", "protobuf": "PrometheusProto"}
AWKWARD = 'back\\slash "quoted" new\nline tab\t é 💥 nul\0 cr\r {}=,#'
SPAN = SpanContext(0xABCDEF, 0x123, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


@pytest.fixture
def shop() -> Iterator[tuple[MeterProvider, ServerHandle]]:
    """A provider with one of everything, its reader being served."""
    reader = PrometheusReader(registry=CollectorRegistry(), scope_info_enabled=False)
    provider = MeterProvider(
        metric_readers=[reader],
        exemplar_filter=AlwaysOnExemplarFilter(),
        views=[
            View(instrument_name="waiting", aggregation=ExponentialBucketHistogramAggregation()),
            View(instrument_name="both", aggregation=BulkHistogramAggregation([0.1, 1.0], exponential=True)),
        ],
    )
    meter = provider.get_meter("shop")
    calls, work = meter.create_counter("calls"), meter.create_histogram("work", "s")
    waiting, both = meter.create_histogram("waiting", "s"), meter.create_histogram("both", "s")
    with trace.use_span(NonRecordingSpan(SPAN)):
        calls.add(5, {"text": AWKWARD})
        for value in (0, 0.3, 1, 2.9, 1000):
            work.record(value, {"feature": "search"})
            waiting.record(value, {"feature": "search"})
            both.record(value, {"feature": "search"})
    meter.create_gauge("level", "By").set(-1.5)
    Counter("own", "Own", registry=reader.registry).inc(3)
    with reader.serve(port=0) as handle:
        yield provider, handle
    provider.shutdown()


def scraped_by(
    servers: Servers,
    handle: ServerHandle,
    protocol: str,
    features: Sequence[str] = (),
    *,
    native: bool = False,
    **more: Any,
) -> Prometheus:
    config = scraping([handle.url], more={"scrape_protocols": [PROTOCOLS[protocol]], **more})
    prometheus = servers.prometheus(config, native=native, features=features)
    prometheus.wait_until_scraped()
    return prometheus


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_format_is_stored_alike(
    servers: Servers, shop: tuple[MeterProvider, ServerHandle], protocol: str
) -> None:
    # Prometheus 3.5 without native histograms drops those that have both kinds of buckets, unless told to look at the classic ones.
    prometheus = scraped_by(servers, shop[1], protocol, always_scrape_classic_histograms=True)
    (calls,) = prometheus.wait_for("calls_total")
    assert calls["metric"]["text"] == AWKWARD
    assert calls["value"][1] == "5"
    assert prometheus.value("level_bytes") == -1.5
    assert prometheus.value("own_total") == 3
    assert prometheus.value('work_seconds_bucket{feature="search",le="5.0"}') == 4
    assert prometheus.value('work_seconds_count{feature="search"}') == 5
    assert prometheus.value('both_seconds_bucket{le="1.0"}') == 3
    # Exponential histograms have classic buckets, the same in all formats, where native ones are not asked for.
    assert prometheus.value('waiting_seconds_bucket{le="0.5"}') == 2
    assert prometheus.value('waiting_seconds_bucket{le="1024.0"}') == 5
    assert prometheus.value("waiting_seconds_sum") == pytest.approx(1004.2)
    kinds = {name: kind[0]["type"] for name, kind in prometheus.api("metadata").items()}
    counter = "calls" if protocol == "openmetrics" else "calls_total"
    assert kinds["work_seconds"] == kinds["waiting_seconds"] == "histogram"
    assert kinds[counter] == "counter"
    assert prometheus.value("otel_metrics_scrapes_total") is not None


def test_native_histograms_are_stored_as_such(servers: Servers, shop: tuple[MeterProvider, ServerHandle]) -> None:
    prometheus = scraped_by(servers, shop[1], "protobuf", native=True)
    for name in ("waiting_seconds", "both_seconds"):
        (series,) = prometheus.wait_for(name)
        histogram = series["histogram"][1]
        assert histogram["count"] == "5"
        assert float(histogram["sum"]) == pytest.approx(1004.2)
        # One value each; buckets are (lower, upper], the zero bucket has both ends.
        buckets = [(float(low), float(high), count) for _, low, high, count in histogram["buckets"]]
        for value in (0.3, 1, 2.9, 1000):
            (found,) = [b for b in buckets if b[0] < value <= b[1]]
            assert found[2] == "1"
            # As fine as 160 and 640 buckets from 0.3 to 1000 can be.
            assert found[1] / found[0] < (1.1 if name == "waiting_seconds" else 1.03)
        assert prometheus.query(f"{name}_bucket") == []
    (work,) = prometheus.wait_for('work_seconds_bucket{le="5.0"}')
    assert work["value"][1] == "4"


def test_native_and_classic_at_once(servers: Servers, shop: tuple[MeterProvider, ServerHandle]) -> None:
    prometheus = scraped_by(servers, shop[1], "protobuf", native=True, always_scrape_classic_histograms=True)
    assert prometheus.wait_for("both_seconds")[0]["histogram"][1]["count"] == "5"
    assert prometheus.value('both_seconds_bucket{le="1.0"}') == 3
    assert prometheus.value('waiting_seconds_bucket{le="1024.0"}') == 5


@pytest.mark.parametrize("protocol", ["openmetrics", "protobuf"])
def test_exemplars_lead_to_the_trace(servers: Servers, shop: tuple[MeterProvider, ServerHandle], protocol: str) -> None:
    # The SDK hands exemplars out once: to whoever scrapes first, so nothing else may.
    prometheus = scraped_by(servers, shop[1], protocol, ["exemplar-storage"], native=protocol == "protobuf")

    def exemplars(query: str) -> list[dict[str, Any]]:
        found = prometheus.api("query_exemplars", query=query, start=0, end=10**10)
        return [exemplar for series in found for exemplar in series["exemplars"]]

    trace_id, span_id = f"{SPAN.trace_id:032x}", f"{SPAN.span_id:016x}"
    wait_until(lambda: exemplars("calls_total"), what="exemplars")
    assert [(e["labels"]["trace_id"], e["labels"]["span_id"], e["value"]) for e in exemplars("calls_total")] == [
        (trace_id, span_id, "5")
    ]
    of_work = exemplars("work_seconds_bucket")
    assert {float(exemplar["value"]) for exemplar in of_work} >= {2.9, 1000}
    if protocol == "protobuf":
        assert {e["labels"]["trace_id"] for e in exemplars("both_seconds")} == {trace_id}


def test_a_counter_born_at_five_increases_by_five(servers: Servers) -> None:
    reader = PrometheusReader(registry=CollectorRegistry(), scope_info_enabled=False, created_samples=True)
    provider = MeterProvider(metric_readers=[reader])
    counter = provider.get_meter("shop").create_counter("calls")
    histogram = provider.get_meter("shop").create_histogram("work")
    counter.add(1, {"feature": "old"})
    with reader.serve(port=0) as handle:
        running = [
            scraped_by(servers, handle, protocol, ["created-timestamp-zero-ingestion"], native=protocol == "protobuf")
            for protocol in ("openmetrics", "protobuf")
        ]
        counter.add(5, {"feature": "new"})
        histogram.record(1)
        for prometheus in running:
            increase = 'max_over_time(calls_total{feature="new"}[5m]) - min_over_time(calls_total{feature="new"}[5m])'
            prometheus.wait_for(increase, lambda found: found and float(found[0]["value"][1]) == 5)
            assert prometheus.value('sum(increase(calls_total{feature="new"}[10s])) > 4.9') is not None
            assert prometheus.query("calls_created") == []
    provider.shutdown()


def test_names_with_dots_arrive_with_dots(servers: Servers) -> None:
    reader = PrometheusReader(
        registry=CollectorRegistry(), scope_info_enabled=False, translation_strategy="NoUTF8EscapingWithSuffixes"
    )
    provider = MeterProvider(metric_readers=[reader])
    provider.get_meter("shop").create_counter("http.calls").add(2, {"http.method": "GET"})
    provider.get_meter("shop").create_histogram("http.time", "s").record(2, {"http.method": "GET"})
    with reader.serve(port=0) as handle:
        prometheus = scraped_by(servers, handle, "openmetrics")
        assert prometheus.wait_for('{"http.calls_total","http.method"="GET"}')[0]["value"][1] == "2"
        assert prometheus.value('{"http.time_seconds_bucket","http.method"="GET",le="5.0"}') == 1
        # Prometheus 3.5 does not ask for dots in protobuf, so it gets none.
        prometheus = scraped_by(servers, handle, "protobuf", native=True)
        assert prometheus.wait_for('http_calls_total{http_method="GET"}')[0]["value"][1] == "2"
    provider.shutdown()


def _bimodal(rng: random.Random) -> float:
    return rng.gauss(0.1, 0.01) if rng.random() < 0.7 else rng.gauss(3, 0.2)


SHAPES: dict[str, Callable[[random.Random], float]] = {
    "uniform": lambda rng: rng.uniform(0, 10),
    "exponential": lambda rng: rng.expovariate(2),
    "lognormal": lambda rng: rng.lognormvariate(-2, 1),
    "pareto": lambda rng: rng.paretovariate(1.5) / 100,
    "normal": lambda rng: abs(rng.gauss(20, 3)),
    "bimodal": _bimodal,
    "steps": lambda rng: float(rng.choice([1, 2, 3, 5, 8, 13, 21])) + rng.random() / 1000,
}


def test_percentiles_of_a_million_values_are_within_one_percent(servers: Servers) -> None:
    reader = PrometheusReader(registry=CollectorRegistry(), scope_info_enabled=False)
    view = View(instrument_name="value", aggregation=BulkHistogramAggregation([1.0], exponential=True))
    provider = MeterProvider(metric_readers=[reader], views=[view])
    histogram = provider.get_meter("shapes").create_histogram("value")
    rng = random.Random(20261124)
    exact: dict[str, list[float]] = {}
    for shape, draw in SHAPES.items():
        values = sorted(abs(draw(rng)) for _ in range(1_000_000))
        histogram.record(BulkMeasurement.of(values[0], values), {"shape": shape})
        exact[shape] = [values[math.ceil(q * len(values)) - 1] for q in (0.5, 0.95, 0.99)]
    with reader.serve(port=0) as handle:
        prometheus = scraped_by(servers, handle, "protobuf", native=True)
        prometheus.wait_for("value", lambda found: len(found) == len(SHAPES))
        errors = []
        for shape, wanted in exact.items():
            for q, value in zip((0.5, 0.95, 0.99), wanted, strict=True):
                read = prometheus.value(f'histogram_quantile({q}, value{{shape="{shape}"}})')
                assert read is not None
                errors.append(abs(read / value - 1))
                assert errors[-1] < 0.01, (shape, q, read, value)
            assert prometheus.value(f'histogram_count(value{{shape="{shape}"}})') == 1_000_000
    assert statistics.mean(errors) < 0.005
    provider.shutdown()


def test_victoria_metrics_scrapes_it_too(servers: Servers, shop: tuple[MeterProvider, ServerHandle]) -> None:
    victoria = servers.victoria_metrics(config=scraping([shop[1].url], interval="1s"))
    (calls,) = victoria.wait_for("calls_total")
    assert calls["metric"]["text"] == AWKWARD
    assert calls["value"][1] == "5"
    assert victoria.value("level_bytes") == -1.5
    assert victoria.value('both_seconds_bucket{le="1.0"}') == 3
    assert victoria.value('waiting_seconds_bucket{le="1024.0"}') == 5
    assert victoria.value("work_seconds_sum") == pytest.approx(1004.2)
