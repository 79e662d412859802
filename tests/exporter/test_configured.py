"""Readers that OpenTelemetry makes by name: from environment variables, from a declarative configuration, beside the facade."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from opentelemetry.configuration._meter_provider import create_meter_provider
from opentelemetry.configuration.file import load_config_file
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry

from otel_metrics.exporter import AutoPrometheusReader, declared_reader
from tests.processes import DEADLINE, fetch
from tests.servers import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def application(code: str, port: int) -> Iterator[str]:
    """Run an application as `opentelemetry-instrument` would, with this reader; yield its metrics."""
    environment = {
        **os.environ,
        "OTEL_METRICS_EXPORTER": "otel_metrics",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
    }
    code = (
        "import sys\n"
        "from opentelemetry.sdk._configuration import _OTelSDKConfigurator\n"
        "from opentelemetry import metrics\n"
        "_OTelSDKConfigurator().configure()\n"
        f"{code}\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield wait_until(lambda: fetch(f"http://localhost:{port}/metrics"), what="the endpoint").decode()
    finally:
        process.communicate(timeout=DEADLINE)
    assert process.returncode == 0


def test_named_by_the_environment() -> None:
    with application("metrics.get_meter('app').create_counter('calls').add(7)", free_port()) as body:
        assert 'calls_total{otel_scope_name="app"} 7\n' in body
        assert "python_info" in body


def test_beside_the_facade_there_is_one_endpoint_with_everything() -> None:
    code = (
        "import otel_metrics, prometheus_client\n"
        "metrics.get_meter('app').create_counter('calls').add(7)\n"
        "prometheus_client.Gauge('own', 'Own.').set(3)\n"
        "otel_metrics.get_advanced_metrics().record_feature_usage('search', 'go')\n"
    )
    with application(code, free_port()) as body:
        lines = body.splitlines()
        assert 'calls_total{otel_scope_name="app"} 7' in lines
        assert "own 3.0" in lines
        (usage,) = [line for line in lines if line.startswith("feature_usage_total{") and 'outcome="success"' in line]
        assert usage.endswith(" 1")
        assert 'feature="search"' in usage
        assert "otel_scope" not in usage
        assert len([line for line in lines if line.startswith("target_info{")]) == 1
        assert "otel_metrics_collisions 0" in lines


@pytest.mark.parametrize("wrong", ["65536", "http", "-1"])
def test_a_port_that_is_none_is_a_warning(
    wrong: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", wrong)
    with caplog.at_level(logging.WARNING, "otel_metrics"):
        reader = AutoPrometheusReader(host="192.0.2.1", registry=CollectorRegistry())  # nobody's: nothing is served
    reader.shutdown()
    assert caplog.messages[0] == f"OTEL_EXPORTER_PROMETHEUS_PORT='{wrong}' is not allowed: 0 to 65535; taking 9464"


def test_a_port_that_is_taken_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    first = AutoPrometheusReader(port=0, registry=CollectorRegistry())
    assert first.handle is not None
    with caplog.at_level(logging.WARNING, "otel_metrics"):
        second = AutoPrometheusReader(port=first.handle.port, registry=CollectorRegistry())
    assert second.handle is not None
    assert not second.handle.listening
    (message,) = caplog.messages
    assert message.startswith(f"http://localhost:{first.handle.port}/metrics is taken, ")
    for reader in (first, second):
        reader.shutdown()


CONFIGURATION = """
file_format: "1.0"
meter_provider:
  readers:
    - pull:
        exporter:
          otel_metrics:
            host: 127.0.0.1
            port: {port}
            scope_info_enabled: false
            target_info_enabled/development: false
            resource_constant_labels: {{included: ["service.*"], excluded: ["service.instance.id"]}}
            translation_strategy: underscore_escaping_without_suffixes/development
            default_histogram_aggregation: base2_exponential_bucket_histogram
            classic_bounds: [1, 8]
            serve: {{metrics_path: /own}}
"""


def test_declarative_configuration(tmp_path: Path) -> None:
    """With the options that the official exporter's configuration has, and the reader's own."""
    port = free_port()
    (tmp_path / "otel.yaml").write_text(CONFIGURATION.format(port=port), "utf-8")
    provider = create_meter_provider(
        load_config_file(str(tmp_path / "otel.yaml")).meter_provider,
        Resource({"service.name": "shop", "service.instance.id": "one", "host.name": "x"}),
    )
    meter = provider.get_meter("app")
    meter.create_counter("calls.made").add(7)
    meter.create_histogram("work", "s").record(3)
    try:
        lines = fetch(f"http://127.0.0.1:{port}/own").decode().splitlines()
    finally:
        provider.shutdown()
    assert 'calls_made{service_name="shop"} 7' in lines
    buckets = [line for line in lines if line.startswith("work_bucket")]
    assert buckets == [
        'work_bucket{service_name="shop",le="1.0"} 0',
        'work_bucket{service_name="shop",le="8.0"} 1',
        'work_bucket{service_name="shop",le="+Inf"} 1',
    ]
    assert not any(line.startswith("target_info") for line in lines)


def test_an_option_that_cannot_work_says_what_can() -> None:
    with pytest.raises(
        ValueError, match=r"^translation_strategy='none' is not allowed; allowed: underscore_escaping_with"
    ):
        declared_reader(translation_strategy="none")
    with pytest.raises(
        ValueError, match=r"^default_histogram_aggregation='x' is not allowed; allowed: explicit_bucket"
    ):
        declared_reader(default_histogram_aggregation="x")
    with pytest.raises(TypeError, match="prot"):
        declared_reader(prot=9464)
