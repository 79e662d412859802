"""One Prometheus that knows what ten processes count whom others scrape: two agents write to it, or it federates two shards."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

from otel_metrics.promql import PROMETHEUS_3_5
from tests import dialects
from tests.engines import Agent
from tests.scale.plant import ERRORS_1H, NATIVE, USES, Plant, rules
from tests.servers import ROOT, scraping

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers

GUIDE = ROOT / "docs/when-one-prometheus-is-not-enough.md"


def test_agents_that_write_to_one_prometheus(servers: Servers, tmp_path: Path) -> None:
    with closing(Plant()) as plant:
        config = scraping([], rules=[rules(tmp_path, dialects.AT_HAND)])
        server = servers.prometheus(config, native=True, flags=["--web.enable-remote-write-receiver"])
        for half in plant.halves:
            servers.started(Agent, scraping(half, interval="500ms"), f"{server.url}/api/v1/write")
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
