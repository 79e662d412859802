"""A collector on the way of what is pushed: `make scale`. No name that `make test` collects: the collector is built on request only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from otel_metrics.promql import PROMETHEUS, VICTORIAMETRICS
from tests.processes import Process, fetch, free_port, program
from tests.querying import pushed
from tests.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from otel_metrics.settings import Temporality
    from tests.engines import QueryServer
    from tests.servers import Servers


class Collector(Process):
    """The OpenTelemetry Collector, with the configuration that is shipped."""

    name = "otelcol"
    ready_path = "/v1/metrics"

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self.port = port

    def command(self) -> list[str]:
        return [program("otelcol"), f"--config=file:{ROOT}/prometheus/otlp/collector.yml"]

    def is_ready(self) -> bool:
        # An empty request is a valid one.
        return fetch(self.url + self.ready_path, b"", {"Content-Type": "application/x-protobuf"}) is not None


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("engine", ["prometheus", "victoria-metrics"])
def test_through_a_collector(
    servers: Servers, engine: str, temporality: Temporality, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: QueryServer
    if engine == "prometheus":
        server, dialect = pushed.prometheus(servers), PROMETHEUS
        to = f"{server.url}/api/v1/otlp"
    else:
        server, dialect = pushed.victoria_metrics(servers), VICTORIAMETRICS
        to = f"{server.url}/opentelemetry"
        pushed.stored_for_an_hour(server)
    port = free_port()
    with mock.patch.dict(os.environ, {"OTLP_LISTEN": f"127.0.0.1:{port}", "OTLP_SERVER": to}):
        collector = servers.started(Collector, port)
    pushed.compare(servers, server, f"{collector.url}/v1/metrics", temporality, dialect, monkeypatch)
