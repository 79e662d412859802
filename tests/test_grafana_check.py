"""``make grafana-check`` without a Grafana: what it asks and what it finds, at a stand-in over a real Prometheus."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers import ROOT, program
from tests.visual.grafana import Grafana, check
from tests.visual.standin import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import Servers


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with contextlib.closing(StandIn()) as started:
        yield started


def panel(title: str, expr: str, *, at_end: bool = True) -> dict[str, Any]:
    target = {
        "refId": "A",
        "expr": expr,
        "instant": at_end,
        "range": not at_end,
        "datasource": {"uid": "${datasource}"},
    }
    return {"type": "stat", "title": title, "gridPos": {"w": 8, "h": 4, "x": 0, "y": 0}, "targets": [target]}


def dashboard(*panels: dict[str, Any]) -> dict[str, Any]:
    variables = [{"name": "datasource", "type": "datasource"}, {"name": "feature", "type": "query"}]
    row = {"type": "row", "title": "folded", "collapsed": True, "panels": list(panels[1:])}
    time = {"from": "now-6h", "to": "now"}
    return {"uid": "one", "title": "One", "time": time, "templating": {"list": variables}, "panels": [panels[0], row]}


def test_what_fails_and_what_is_empty_is_found_in_folded_rows_too(servers: Servers, stand_in: StandIn) -> None:
    named = 'label_replace(vector(1), "feature", "chat", "", "")'
    one = dashboard(
        panel("a number", "vector(1)"),
        panel("a curve", "rate(up[$__rate_interval]) or vector(1)", at_end=False),
        panel("of a variable", f'count({named}) or absent(up{{feature=~"$feature"}})'),
        panel("of a period", "vector(1) or max_over_time(up[${__range}])"),
        panel("nothing", "vector(1) > 1"),
        panel("no number", "vector(0) / 0"),
        panel("no query", "sum("),
    )
    wrong = check(Grafana(stand_in.url, "Bearer secret"), servers.prometheus().url, {"one": one})
    assert wrong[:2] == ["one: nothing: the panel is empty", "one: no number: the panel is empty"]
    (failed,) = wrong[2:]
    assert failed.startswith("one: no query: A: ")
    assert "unclosed left parenthesis" in failed


def test_dashboards_of_the_same_uid_are_left_alone_and_nothing_stays(stand_in: StandIn) -> None:
    grafana = Grafana(stand_in.url, "Bearer secret")
    grafana.provision("http://127.0.0.1:9", {"one": dashboard(panel("a number", "vector(1)"))})
    assert list(stand_in.dashboards) == ["check-one"]
    assert stand_in.sources["otel-metrics-check"]["jsonData"]["timeInterval"] == "60s"
    grafana.forget()
    assert (stand_in.dashboards, stand_in.folders, stand_in.sources) == ({}, set(), {})


def test_a_wrong_token_is_told(stand_in: StandIn) -> None:
    with pytest.raises(OSError, match="401"):
        Grafana(stand_in.url, "Bearer wrong").provision("http://127.0.0.1:9", {})


def test_without_a_grafana_nothing_passes(tmp_path: Path) -> None:
    (tmp_path / "prometheus").symlink_to(program("prometheus"))
    environment = {name: value for name, value in os.environ.items() if name != "GRAFANA_URL"}
    environment |= {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    command = [sys.executable, "-m", "tests.visual.grafana"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "No Grafana is here, and none has ever been seen by this project: nothing was checked."
    )
