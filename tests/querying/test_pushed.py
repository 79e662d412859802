"""OTLP into the receivers of real servers, with the configuration that is shipped for it."""

from __future__ import annotations

import time
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
from tests.servers import version, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import Servers

# The distribution's Prometheus is built without the receiver.
AT_HAND = [True] if version("prometheus") >= (3, 16) else []


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


@pytest.mark.parametrize("temporality", ["cumulative", "delta"] * len(AT_HAND))
def test_prometheus_knows_the_same_as_if_it_had_scraped(
    servers: Servers, temporality: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = pushed.prometheus(servers, *["otlp-deltatocumulative"] * (temporality == "delta"))
    endpoint = f"{server.url}/api/v1/otlp/v1/metrics"
    pushed.compare(servers, server, endpoint, temporality, PROMETHEUS, monkeypatch)


def test_victoria_metrics_knows_the_same_as_if_it_had_scraped(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = pushed.victoria_metrics(servers)
    # It has stored something of ours for an hour.
    server.import_text(f'otel_metrics_series{{job="other"}} 1 {round((time.time() - 3600) * 1000)}\n')
    pushed.compare(servers, server, server.otlp_url, "cumulative", VICTORIAMETRICS, monkeypatch)


@pytest.mark.parametrize("strategy", ["UnderscoreEscapingWithoutSuffixes", "NoTranslation"] * len(AT_HAND))
def test_names_translated_in_another_way_are_named(
    servers: Servers, pushing: Callable[..., Runtime], strategy: str
) -> None:
    config = yaml.safe_dump({"otlp": {"translation_strategy": strategy}})
    server = servers.prometheus(config, flags=["--web.enable-otlp-receiver"])
    pushing(f"{server.url}/api/v1/otlp/v1/metrics")
    server.wait_for('{__name__=~"feature.usage"}')
    found = usage(server.url)
    assert found["total_usage"] == 0
    (warning,) = found["warnings"]
    assert "translation_strategy: UnderscoreEscapingWithSuffixes" in warning


@pytest.mark.parametrize("_", AT_HAND)
def test_an_ended_process_is_counted_where_series_have_no_instance_id(
    servers: Servers, pushing: Callable[..., Runtime], _: bool
) -> None:
    server = servers.prometheus("global: {}\n", flags=["--web.enable-otlp-receiver", "--query.lookback-delta=1s"])
    endpoint = f"{server.url}/api/v1/otlp/v1/metrics"
    ending, _living = pushing(endpoint), pushing(endpoint)
    server.wait_for('count(feature_usage_total{outcome="success"}) == 2')
    ending.close()
    server.wait_for('count(feature_usage_total{outcome="success"}) == 1')
    assert usage(server.url)["total_usage"] == 20


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


@pytest.mark.parametrize("_", AT_HAND)
def test_deltas_that_prometheus_does_not_take_are_explained(
    servers: Servers, pushing: Callable[..., Runtime], caplog: pytest.LogCaptureFixture, _: bool
) -> None:
    server = pushed.prometheus(servers)
    pushing(f"{server.url}/api/v1/otlp/v1/metrics", "delta")
    wait_until(lambda: "--enable-feature=otlp-deltatocumulative" in caplog.text)
