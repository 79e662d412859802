"""Thanos with ten processes, of which parts are killed: `make test-thanos`.

This file has no name that `make test` collects: nobody has to build Thanos for the suite. CI does.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import yaml

from otel_metrics.promql import PROMETHEUS_3_5, THANOS
from otel_metrics.querying.client import PrometheusClient
from otel_metrics.querying.prometheus_source import PrometheusSource
from tests import dialects
from tests.engines import Agent, QueryServer, routing_to
from tests.processes import free_port, program
from tests.scale.plant import ERRORS_1H, NATIVE, USES, Plant, rules, uses, warnings
from tests.servers import ROOT, scraping, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines import Prometheus
    from tests.servers import Servers

ALL_RULES = sum(len(group["rules"]) for group in dialects.groups(THANOS))


class Thanos(QueryServer):
    """One component of Thanos."""

    name = "thanos"
    ready_path = "/-/ready"

    def __init__(self, folder: Path, component: str, *flags: str, grpc: str = "") -> None:
        super().__init__(folder)
        self.component, self.flags = component, flags
        self.grpc = grpc or f"127.0.0.1:{free_port()}"

    def command(self) -> list[str]:
        return [
            program("thanos"),
            self.component,
            f"--http-address={self.address}",
            f"--grpc-address={self.grpc}",
            "--log.level=warn",
            *self.flags,
        ]


def shard(servers: Servers, targets: list[str], **labels: str) -> tuple[Prometheus, Thanos]:
    """Start a Prometheus as it is shipped for a shard, that scrapes some of the processes, and its sidecar."""
    shipped = yaml.safe_load((ROOT / "prometheus/thanos.yml").read_text("utf-8"))
    quick = yaml.safe_load(scraping(targets, interval="1s"))
    settings = {**shipped["global"], **quick["global"], "external_labels": labels}
    config = yaml.safe_dump({**shipped, "global": settings, "scrape_configs": quick["scrape_configs"]})
    blocks = [f"--storage.tsdb.{edge}-block-duration=2h" for edge in ("min", "max")]
    prometheus = servers.prometheus(config, features=[dialects.START_TIMES], flags=blocks)
    flags = (f"--prometheus.url={prometheus.url}", f"--tsdb.path={prometheus.data}")
    return prometheus, servers.started(Thanos, "sidecar", *flags)


def query(servers: Servers, *stores: str) -> Thanos:
    """Start Thanos Query over all stores, that says when one of them is away."""
    strict = (f"--endpoint-strict={store}" for store in stores)
    return servers.started(Thanos, "query", *strict, "--query.replica-label=replica")


def health(rule: Thanos) -> Counter[str]:
    """How many rules are well, how many fail, and how many were not evaluated yet."""
    return Counter(each["health"] for group in rule.api("rules")["groups"] for each in group["rules"])


def wait_until_said_to_be_away(front: Thanos, store: Thanos) -> None:
    """Wait until getters warn that a store is away."""
    wait_until(lambda: store.grpc in " ".join(warnings(front.url)), what=f"{store.grpc} is said to be away")


def test_sidecars_with_shards_and_replicas(servers: Servers, tmp_path: Path) -> None:
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
            Thanos,
            "rule",
            f"--rule-file={rules(tmp_path, THANOS)}",
            f"--query={front.url}",
            f"--alertmanagers.url={alertmanager.url}",
            f"--data-dir={tmp_path / 'rule'}",
            '--label=ruler="one"',
            "--alert.label-drop=ruler",
            grpc=ruler,
        )
        for _ in range(2):
            plant.wave()
            front.wait_for(f"{USES} == {plant.uses}")
        wait_until(lambda: not warnings(front.url), what="all stores are there")
        plant.check(front.url, accuracy=NATIVE)
        with closing(PrometheusClient(front.url)) as client:
            assert PrometheusSource(client, time.time).dialect is PROMETHEUS_3_5
        front.wait_for(f"sum by (feature) ({ERRORS_1H}) == {plant.errors}")
        alert = webhook.wait_for_alert("FeatureErrorsHigh")["labels"]
        assert alert == {"alertname": "FeatureErrorsHigh", "feature": "chat", "job": "test", "severity": "critical"}
        wait_until(lambda: health(rule) == {"ok": ALL_RULES}, what="every rule was evaluated")

        # One replica of one shard, with its store: the other one has everything; that a store is away is said.
        for part in pairs[0, "a"]:
            part.kill()
        plant.wave()
        front.wait_for(f"{USES} == {plant.uses}")
        wait_until_said_to_be_away(front, pairs[0, "a"][1])
        plant.check(front.url, accuracy=NATIVE)
        front.wait_for(f"sum by (feature) ({ERRORS_1H}) == {plant.errors}")

        # The other one, too: what is left is half of it, and that is said.
        for part in pairs[0, "b"]:
            part.kill()
        wait_until(lambda: uses(front.url) == plant.uses // 2, what="half is left")
        wait_until_said_to_be_away(front, pairs[0, "b"][1])
        front.wait_for(f"sum by (feature) ({ERRORS_1H}) == {plant.errors // 2}")


def test_receive(servers: Servers, tmp_path: Path) -> None:
    with closing(Plant()) as plant:
        remote = f"127.0.0.1:{free_port()}"
        receive = servers.started(
            Thanos,
            "receive",
            f"--remote-write.address={remote}",
            f"--tsdb.path={tmp_path / 'receive'}",
            '--label=receive="one"',
        )
        front = query(servers, receive.grpc)
        for half in plant.halves:
            servers.started(Agent, scraping(half, interval="1s"), f"http://{remote}/api/v1/receive")
        for _ in range(2):
            plant.wave()
            front.wait_for(f"{USES} == {plant.uses}")
        plant.check(front.url, accuracy=NATIVE)

        # The agents keep what they cannot send.
        receive.kill()
        plant.wave()
        wait_until_said_to_be_away(front, receive)
        receive.start()
        front.wait_for(f"{USES} == {plant.uses}")
        wait_until(lambda: not warnings(front.url), what="the store is there again")
        plant.check(front.url, accuracy=NATIVE)
