"""OTLP into the receivers of real servers, with the configuration that is shipped for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
from tests.command import COMMAND, Running, environment
from tests.pages import snippets
from tests.querying import pushed
from tests.servers import fetch, scraping, version, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_metrics.settings import Temporality
    from tests.engines import QueryServer, VictoriaMetrics
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


SHOP = """
import sys
from otel_metrics import get_advanced_metrics, serve

for n in range(10):
    get_advanced_metrics().record_feature_usage("chat", "ask", 100.0 + n, success=True)
if sys.argv[1:]:
    print(serve(port=0).url)
    sys.stdin.readline()
"""


class TestManagedServices:
    """The lines of docs/deploying.md, against a server that asks for a user and a password, as these services do."""

    @pytest.fixture
    def service(self, servers: Servers, tmp_path: Path) -> VictoriaMetrics:
        (tmp_path / "shop.py").write_text(SHOP)
        (tmp_path / "token").write_text("TOKEN\n")
        who = ["-httpAuth.username=INSTANCE", "-httpAuth.password=TOKEN", "-forceFlushAuthKey=now"]
        return servers.victoria_metrics(flags=[*who, "-opentelemetry.usePrometheusNaming"])

    @staticmethod
    def lines(language: str, part: str, service: VictoriaMetrics) -> str:
        """Return the snippet of the page that has ``part``, with the server's addresses."""
        page = [each for each in snippets("docs/deploying.md") if each.language == language and not each.not_run]
        (text,) = (each.text for each in page if part in each.text)
        for theirs, ours in (
            ("https://otlp-gateway-ZONE.grafana.net/otlp", "/opentelemetry"),
            ("https://prometheus-ZONE.grafana.net/api/prom/push", "/api/v1/write"),
            ("https://prometheus-ZONE.grafana.net/api/prom", "/prometheus"),
        ):
            text = text.replace(theirs, service.url + ours)
        return re.sub(r"(?m)^\$ ", "", text)

    @staticmethod
    def run(folder: Path, script: str) -> str:
        path = os.pathsep.join([str(COMMAND.parent), os.environ["PATH"]])
        variables = environment(PATH=path, COLUMNS="100")
        done = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def read_back(self, folder: Path, service: VictoriaMetrics) -> None:
        script = self.lines("console", "OTM_PROMETHEUS_URL", service)
        flush = f"{service.url}/internal/force_flush?authKey=now"
        ten = r"(?m)^ +ask +10 +0 +100 % +104\.5"
        wait_until(lambda: fetch(flush) == b"" and re.search(ten, self.run(folder, script)), what="10 uses of chat")

    def test_what_is_pushed(self, service: VictoriaMetrics, tmp_path: Path) -> None:
        self.run(tmp_path, self.lines("console", "OTM_OTLP", service))
        self.read_back(tmp_path, service)

    def test_what_is_written(self, service: VictoriaMetrics, servers: Servers, tmp_path: Path) -> None:
        with Running("shop.py", "serve", program=[sys.executable], cwd=tmp_path) as shop:
            config = yaml.safe_load(scraping([shop.wait_for(r"http://(\S+)/metrics")]))
            config |= yaml.safe_load(self.lines("yaml", "basic_auth", service))
            (written,) = config["remote_write"]
            written["basic_auth"]["password_file"] = str(tmp_path / "token")
            written["queue_config"] = {"batch_send_deadline": "100ms"}  # five seconds otherwise
            servers.prometheus(yaml.safe_dump(config))
            self.read_back(tmp_path, service)
