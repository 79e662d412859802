"""OTLP into the receivers of real servers, with the configuration that is shipped for it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from opentelemetry.sdk.metrics import MeterProvider

from otel_metrics import views
from otel_metrics.errors import ConfigurationError
from otel_metrics.exporter.push import otlp_reader
from otel_metrics.promql import PROMETHEUS, VICTORIAMETRICS
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.querying import pushed
from tests.servers import scraping, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_metrics.settings import Temporality
    from tests.engines import QueryServer
    from tests.servers import Servers

# The distribution's Prometheus is built without the receiver.
BUILT_IN = version("prometheus") >= (3, 16)


@pytest.fixture
def pushing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Runtime]]:
    """Makes a process that pushes ten uses of 100 to 109 ms to an endpoint."""
    processes: list[Runtime] = []

    def push(endpoint: str, temporality: Any = "cumulative") -> Runtime:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "300")
        processes.append(Runtime(Settings(otlp=temporality)))
        for n in range(10):
            processes[-1].advanced.record_feature_usage("chat", "ask", 100.0 + n, success=True)
        return processes[-1]

    yield push
    for process in processes:
        process.close()


def usage(url: str) -> dict[str, Any]:
    with closing(Runtime(Settings(prometheus_url=url))) as reading:
        return dict(reading.advanced.get_feature_usage_stats("chat", hours=1))


@pytest.mark.parametrize(
    ("engine", "temporality"),
    [
        ("victoria-metrics", "cumulative"),
        *(("prometheus", temporality) for temporality in ("cumulative", "delta") if BUILT_IN),
    ],
)
def test_what_is_pushed_is_what_is_scraped(
    servers: Servers, engine: str, temporality: Temporality, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "prometheus":
        prometheus = pushed.prometheus(servers, *["otlp-deltatocumulative"] * (temporality == "delta"))
        endpoint = f"{prometheus.url}/api/v1/otlp/v1/metrics"
        pushed.compare(servers, prometheus, endpoint, temporality, PROMETHEUS, monkeypatch)
        return
    victoria = pushed.victoria_metrics(servers)
    pushed.stored_for_an_hour(victoria)
    pushed.compare(servers, victoria, victoria.otlp_url, temporality, VICTORIAMETRICS, monkeypatch)


@pytest.mark.parametrize(
    "strategy", [None, *(["UnderscoreEscapingWithoutSuffixes", "NoTranslation"] if BUILT_IN else [])]
)
def test_names_translated_in_another_way_are_named(
    servers: Servers, pushing: Callable[..., Runtime], strategy: str | None
) -> None:
    server: QueryServer
    if strategy is None:
        server = victoria = servers.victoria_metrics()  # which translates nothing, unless told to
        pushing(victoria.otlp_url)
    else:
        config = yaml.safe_dump({"otlp": {"translation_strategy": strategy}})
        server = servers.prometheus(config, flags=["--web.enable-otlp-receiver"])
        pushing(f"{server.url}/api/v1/otlp/v1/metrics")
    server.wait_for('{__name__=~"feature.usage"}')
    found = usage(server.url)
    assert found["total_usage"] == 0
    (warning,) = found["warnings"]
    assert "translation_strategy: UnderscoreEscapingWithSuffixes" in warning
    assert "-opentelemetry.usePrometheusNaming" in warning


def test_an_ended_process_is_counted_where_series_have_no_instance_id(servers: Servers) -> None:
    with closing(Runtime(Settings())) as ending, closing(Runtime(Settings())) as living:
        for process in (ending, living):
            process.advanced.record_feature_usage("chat", "ask", 100.0, success=True)
        config = scraping(
            [process.serve(port=0).url for process in (ending, living)],
            more={"metric_relabel_configs": [{"regex": "service_instance_id", "action": "labeldrop"}]},
        )
        server = servers.prometheus(config)
        server.wait_for('count(feature_usage_total{outcome="success",service_instance_id=""}) == 2')
        ending.close()
        server.wait_for('count(feature_usage_total{outcome="success"}) == 1')
        assert usage(server.url)["total_usage"] == 2


def test_the_share_of_slow_calls_is_told_however_buckets_are_spelt(
    servers: Servers, pushing: Callable[..., Runtime]
) -> None:
    server = pushed.victoria_metrics(servers)  # which stores le="1" of what is pushed
    process = pushing(server.otlp_url)
    for seconds in (0.5, 0.5, 0.5, 2.0):
        process.advanced.record_performance_metric("chat", "response_time", "reply", seconds, "s")
    server.wait_for('feature_performance_duration_seconds_bucket{le="1"} == 3')
    with closing(Runtime(Settings(prometheus_url=server.url))) as reading:
        assert list(reading.advanced.query("slow-share", hours=1)["value"]) == [0.25]


def test_victoria_metrics_ranges_are_read(servers: Servers) -> None:
    server = pushed.victoria_metrics(servers)
    reader = otlp_reader(server.otlp_url, histograms="exponential")
    provider = MeterProvider([reader], views=views(), shutdown_on_exit=False)
    with closing(Runtime(Settings(meter_provider=provider))) as process:
        for n in range(1, 1001):
            process.advanced.record_feature_usage("chat", "ask", float(n), success=True)
        provider.force_flush()
        server.flush()
        found = usage(server.url)
    provider.shutdown()
    assert found["total_usage"] == 1000
    assert found["avg_duration_ms"] == pytest.approx(500.5)
    # Eight buckets per doubling are 9 % wide.
    for name, value in (("p50", 500), ("p95", 950), ("p99", 990)):
        assert found[f"{name}_duration_ms"] == pytest.approx(value, rel=0.02), name


def test_deltas_to_victoria_metrics_are_rejected(pushing: Callable[..., Runtime]) -> None:
    with pytest.raises(ConfigurationError, match="collector with the processor deltatocumulative"):
        pushing("http://victoria-metrics:8428/opentelemetry/v1/metrics", "delta")
