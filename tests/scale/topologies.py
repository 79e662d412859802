"""Thanos with ten processes, of which parts are killed, and a collector on the way of what is pushed: `make scale`.

This file has no name that `make test` collects, as `make servers` does not provide these programs. VictoriaMetrics with two agents is
in `test_victoria_metrics.py`, which `make test` runs.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import closing
from typing import TYPE_CHECKING
from unittest import mock

import pytest
import yaml

from otel_metrics.promql import PROMETHEUS, PROMETHEUS_3_5, VICTORIAMETRICS
from otel_metrics.querying.client import PrometheusClient
from otel_metrics.querying.prometheus_source import PrometheusSource
from tests import dialects
from tests.engines import QueryServer, routing_to
from tests.processes import Process, fetch, free_port, program
from tests.querying import pushed
from tests.scale.plant import ERRORS_1H, USES, Plant, rules, uses, warnings
from tests.servers import ROOT, scraping, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from otel_metrics.settings import Temporality
    from tests.engines import Prometheus
    from tests.servers import Servers

NATIVE = 0.02
GUIDE = ROOT / "docs/when-one-prometheus-is-not-enough.md"


class Thanos(QueryServer):
    """One component of Thanos."""

    name = "thanos"
    ready_path = "/-/ready"

    def __init__(self, folder: Path, component: str, *flags: str) -> None:
        super().__init__(folder)
        self.component, self.flags = component, flags
        self.grpc = f"127.0.0.1:{free_port()}"

    def command(self) -> list[str]:
        return [
            program("thanos"),
            self.component,
            f"--http-address={self.address}",
            f"--grpc-address={self.grpc}",
            "--log.level=warn",
            *self.flags,
        ]


class Agent(Process):
    """Prometheus as an agent, which scrapes and sends."""

    name = "prometheus"
    ready_path = "/-/ready"

    def __init__(self, folder: Path, targets: list[str], to: str) -> None:
        super().__init__(folder)
        config = yaml.safe_load(scraping(targets, interval="500ms", more_global={"scrape_native_histograms": True}))
        del config["rule_files"], config["alerting"]
        config["remote_write"] = [{"url": to, "send_native_histograms": True}]
        self.config = folder / "agent.yml"
        self.config.write_text(yaml.safe_dump(config), encoding="utf-8")

    def command(self) -> list[str]:
        return [
            program("prometheus"),
            "--agent",
            f"--enable-feature={dialects.START_TIMES}",
            f"--config.file={self.config}",
            f"--storage.agent.path={self.folder / 'data'}",
            f"--web.listen-address={self.address}",
        ]


class Collector(Process):
    """The OpenTelemetry Collector, with the configuration that is shipped."""

    name = "otelcol"
    ready_path = "/v1/metrics"

    def command(self) -> list[str]:
        return [program("otelcol"), f"--config=file:{ROOT}/prometheus/otlp/collector.yml"]

    def is_ready(self) -> bool:
        # An empty request is a valid one.
        return fetch(self.url + self.ready_path, b"", {"Content-Type": "application/x-protobuf"}) is not None


def shard(servers: Servers, targets: list[str], **labels: str) -> tuple[Prometheus, Thanos]:
    """Start a Prometheus that scrapes some of the processes, without rules, and its sidecar."""
    config = scraping(targets, interval="500ms", more_global={"external_labels": labels})
    blocks = [f"--storage.tsdb.{edge}-block-duration=2h" for edge in ("min", "max")]
    prometheus = servers.prometheus(config, native=True, features=[dialects.START_TIMES], flags=blocks)
    flags = (f"--prometheus.url={prometheus.url}", f"--tsdb.path={prometheus.data}")
    return prometheus, servers.started(Thanos, "sidecar", *flags)


def query(servers: Servers, *stores: str) -> Thanos:
    """Start Thanos Query over all stores, that says when one of them is away."""
    strict = (f"--endpoint-strict={store}" for store in stores)
    return servers.started(Thanos, "query", *strict, "--query.replica-label=replica")


def test_thanos_sidecars_with_shards_and_replicas(servers: Servers, tmp_path: Path) -> None:
    with closing(Plant()) as plant:
        pairs = {
            (number, replica): shard(servers, half, shard=str(number), replica=replica)
            for number, half in enumerate(plant.halves)
            for replica in "ab"
        }
        ruler = f"127.0.0.1:{free_port()}"
        front = query(servers, *(sidecar.grpc for _, sidecar in pairs.values()), ruler)
        webhook = servers.webhook()
        alertmanager = servers.alertmanager(routing_to(webhook.url))
        rule = servers.started(
            lambda folder: _at(
                ruler,
                Thanos(
                    folder,
                    "rule",
                    f"--rule-file={rules(tmp_path, PROMETHEUS_3_5)}",
                    f"--query={front.url}",
                    f"--alertmanagers.url={alertmanager.url}",
                    f"--data-dir={folder / 'data'}",
                    '--label=ruler="one"',
                    "--alert.label-drop=ruler",
                ),
            )
        )
        for _ in range(2):
            plant.wave()
            front.wait_for(f"{USES} == {plant.uses}")
        wait_until(lambda: not warnings(front.url), what="all stores are there")
        plant.check(front.url, accuracy=NATIVE)
        with closing(PrometheusClient(front.url)) as client:
            assert PrometheusSource(client, time.time).dialect is PROMETHEUS_3_5
        front.wait_for(f"sum by (feature) ({ERRORS_1H}) == {plant.errors}")
        assert webhook.wait_for_alert("FeatureErrorsHigh")["labels"]["feature"] == "chat"

        # One replica of one shard, with its store: the other one has everything; that a store is away is said.
        for part in pairs[0, "a"]:
            part.kill()
        plant.wave()
        front.wait_for(f"{USES} == {plant.uses}")
        plant.check(front.url, accuracy=NATIVE)
        assert pairs[0, "a"][1].grpc in " ".join(warnings(front.url))

        # The other one, too: what is left is half of it, and that is said.
        for part in pairs[0, "b"]:
            part.kill()
        wait_until(lambda: uses(front.url) == plant.uses // 2, what="half is left")
        assert pairs[0, "b"][1].grpc in " ".join(warnings(front.url))
        rule.stop()


def _at(address: str, thanos: Thanos) -> Thanos:
    thanos.grpc = address
    return thanos


def test_thanos_receive(servers: Servers) -> None:
    with closing(Plant()) as plant:
        remote = f"127.0.0.1:{free_port()}"
        receive = servers.started(
            lambda folder: Thanos(
                folder,
                "receive",
                f"--remote-write.address={remote}",
                f"--tsdb.path={folder / 'data'}",
                '--label=receive="one"',
            )
        )
        front = query(servers, receive.grpc)
        for half in plant.halves:
            servers.started(Agent, half, f"http://{remote}/api/v1/receive")
        for _ in range(2):
            plant.wave()
            front.wait_for(f"{USES} == {plant.uses}")
        plant.check(front.url, accuracy=NATIVE)
        receive.kill()
        wait_until(lambda: receive.grpc in " ".join(warnings(front.url)), what="a store is said to be away")


def test_agents_that_write_to_one_prometheus(servers: Servers, tmp_path: Path) -> None:
    with closing(Plant()) as plant:
        config = scraping([], rules=[rules(tmp_path, PROMETHEUS)])
        server = servers.prometheus(config, flags=["--web.enable-remote-write-receiver"])
        for half in plant.halves:
            servers.started(Agent, half, f"{server.url}/api/v1/write")
        for _ in range(2):
            plant.wave()
            server.wait_for(f"{USES} == {plant.uses}")
        plant.check(server.url, accuracy=NATIVE)
        server.wait_for(f"{ERRORS_1H} == {plant.errors}")


def test_federation(servers: Servers, tmp_path: Path) -> None:
    """As the guide has it: start times do not travel, so the rules are those for older servers."""
    with closing(Plant()) as plant:
        shards = [
            servers.prometheus(scraping(half, interval="500ms"), native=True, features=[dialects.START_TIMES])
            for half in plant.halves
        ]
        found = re.search(r"match\[\]=(\{.*\})`", GUIDE.read_text("utf-8"))
        assert found
        more = {"metrics_path": "/federate", "honor_labels": True, "params": {"match[]": [found[1]]}}
        config = scraping(
            [each.url for each in shards], interval="500ms", rules=[rules(tmp_path, PROMETHEUS_3_5)], more=more
        )
        server = servers.prometheus(config, native=True)
        for _ in range(2):
            plant.wave()
            server.wait_for(f"{USES} == {plant.uses}")
        plant.check(server.url, accuracy=NATIVE)
        server.wait_for(f"{ERRORS_1H} == {plant.errors}")


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
    address = f"127.0.0.1:{free_port()}"
    with mock.patch.dict(os.environ, {"OTLP_LISTEN": address, "OTLP_SERVER": to}):
        collector = Collector(servers._new_folder("otelcol"))
        collector.port = int(address.rpartition(":")[2])
        servers._started(collector)
    pushed.compare(servers, server, f"http://{address}/v1/metrics", temporality, dialect, monkeypatch)
