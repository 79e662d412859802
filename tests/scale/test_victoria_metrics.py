"""VictoriaMetrics with two agents that scrape the same ten processes, vmalert and Alertmanager; an agent and the store are killed."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from otel_metrics.promql import VICTORIAMETRICS
from tests.engines import VMAgent, VMAlert, routing_to
from tests.querying.pushed import stored_for_an_hour
from tests.scale.plant import CLASSIC, ERRORS_1H, USES, Plant, rules
from tests.servers import scraping, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers


def test_counts_survive_an_agent_and_the_store(servers: Servers, tmp_path: Path) -> None:
    store = servers.victoria_metrics(flags=["-dedup.minScrapeInterval=500ms"])
    stored_for_an_hour(store)
    with closing(Plant()) as plant:
        config = scraping(plant.targets, interval="500ms").replace("alerting:", "x_alerting:")
        first, second = (servers.started(VMAgent, config, store.url) for _ in range(2))
        webhook = servers.webhook()
        alertmanager = servers.alertmanager(routing_to(webhook.url))
        servers.started(VMAlert, rules(tmp_path, VICTORIAMETRICS), store.url, alertmanager=alertmanager.url)
        plant.wave()
        store.wait_for(f"{USES} == {plant.uses}")
        plant.wave()
        store.wait_for(f"{USES} == {plant.uses}")
        plant.check(store.url, accuracy=CLASSIC)
        assert webhook.wait_for_alert("FeatureErrorsHigh")["labels"]["feature"] == "chat"

        first.kill()
        plant.wave()
        store.wait_for(f"{USES} == {plant.uses}")
        plant.check(store.url, accuracy=CLASSIC)

        # The agent keeps what it cannot send.
        store.kill()
        plant.wave()
        wait_until(lambda: "couldn't send" in second.log.read_text("utf-8"), what="nothing can be sent")
        store.start()
        store.wait_for(f"{USES} == {plant.uses}")
        plant.check(store.url, accuracy=CLASSIC)
        store.wait_for(f"{ERRORS_1H} == {plant.errors}")
