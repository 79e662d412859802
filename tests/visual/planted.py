"""The viewer finds every fault that is planted, and none where nothing is wrong. Run by ``make visual``."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.assets.dashboards import texts
from tests.dialects import CLASSIC
from tests.visual import states
from tests.visual.company import LEVELS
from tests.visual.drawing import Picture, draw
from tests.visual.grafana import Grafana, check
from tests.visual.past import running
from tests.visual.standin import StandIn

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

Json = dict[str, Any]
LONG = "a title that is much too long for the few columns of its panel"
CALM = {"thresholds": {"mode": "absolute", "steps": [{"value": None, "color": "#2B5C34"}]}, "noValue": "none"}
BRIGHT = {"thresholds": {"mode": "absolute", "steps": [{"value": None, "color": "#73BF69"}]}, "noValue": "none"}
STAT = {
    "colorMode": "background_solid",
    "graphMode": "none",
    "justifyMode": "auto",
    "orientation": "auto",
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "textMode": "value",
    "wideLayout": True,
}
BELOW = {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["mean"]}
LIST = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}


def target(expr: str, *, form: str = "time_series", instant: bool = True, legend: str = "__auto") -> Json:
    return {
        "refId": "A",
        "expr": expr,
        "format": form,
        "instant": instant,
        "range": not instant,
        "legendFormat": legend,
    }


def panel(kind: str, title: str, asked: Json, defaults: Json, options: Json, *, width: int = 8) -> Json:
    config = {"defaults": defaults, "overrides": []}
    size = {"w": width, "h": 6}
    without_time = {
        "id": "organize",
        "options": {"excludeByName": {"Time": True}, "renameByName": {}, "indexByName": {}},
    }
    more = {"transformations": [without_time]} if kind == "table" else {}
    return more | {
        "type": kind,
        "title": title,
        "targets": [asked],
        "fieldConfig": config,
        "options": options,
        "gridPos": size,
    }


def dashboard(*panels: Json) -> Json:
    for number, one in enumerate(panels):
        one["id"] = number + 1
        one["gridPos"] |= {"x": number % 3 * 8, "y": number // 3 * 6}
    whole = {"title": "Planted", "time": {"from": "now-1h", "to": "now"}, "links": [], "panels": list(panels)}
    return {**whole, "templating": {"list": []}, "annotations": {"list": []}}


def several(count: int) -> str:
    """A query with that many series."""
    return " or ".join(f'label_replace(vector({n}), "feature", "feature-{n}", "", "")' for n in range(count))


def wide(columns: int) -> str:
    """A query with one series of that many labels."""
    expr = "vector(1)"
    for number in range(columns):
        expr = f'label_replace({expr}, "label_{number}", "value", "", "")'
    return expr


def seen(folder: Path, planted: Json) -> set[tuple[str, str]]:
    """(panel, kind of trouble) of everything that was found."""
    states.built("empty")
    with running(states.server("empty")) as server:
        (drawn,) = draw([Picture("planted", server.url, planted, 1280)], folder)
    assert (folder / "planted.png").stat().st_size > 10_000
    return set(drawn.kinds)


def test_what_is_planted_is_found(tmp_path: Path) -> None:
    planted = dashboard(
        panel("stat", "a query that fails", target("sum("), CALM, STAT),
        panel("stat", LONG, target("vector(1)"), CALM, STAT, width=3),
        panel("stat", "white on bright green", target("vector(1)"), BRIGHT, STAT),
        panel("timeseries", "no number", target("vector(0) / 0", instant=False), CALM, {"legend": LIST}),
        panel("timeseries", "a long legend", target(several(9), instant=False), CALM, {"legend": BELOW}),
        panel("table", "a wide table", target(wide(9), form="table"), CALM, {"showHeader": True, "cellHeight": "sm"}),
        panel("candlestick", "of an unknown type", target("vector(1)"), CALM, {}),
    )
    assert seen(tmp_path, planted) == {
        ("a query that fails", "query"),
        (LONG, "cut"),
        ("white on bright green", "faint"),
        ("no number", "empty"),
        ("a long legend", "below"),
        ("a wide table", "sideways"),
        ("of an unknown type", "error"),
    }


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path) -> None:
    fine = dashboard(
        panel("stat", "a number", target("vector(1)"), CALM, STAT),
        panel("stat", "no number", target("vector(1) > 1"), CALM, STAT),
        panel("timeseries", "a curve", target("vector(1)", instant=False), CALM, {"legend": LIST}),
        panel("timeseries", "no curve", target("vector(1) > 1", instant=False), CALM, {"legend": LIST}),
        panel("table", "a table", target(several(3), form="table"), CALM, {"showHeader": True, "cellHeight": "sm"}),
        panel("table", "no table", target("vector(1) > 1", form="table"), CALM, {"showHeader": True}),
    )
    assert seen(tmp_path, fine) == set()


def test_the_queries_of_every_panel_are_answered_as_grafana_is_asked_them() -> None:
    """Not by a Grafana: by a stand-in that puts them to a real Prometheus as its documentation says (``grafana.py``)."""
    dashboards = {name: json.loads(text) for name, text in texts(CLASSIC, levels=LEVELS).items()}
    states.built("busy")
    with running(states.server("busy")) as server, contextlib.closing(StandIn()) as stand_in:
        assert check(Grafana(stand_in.url, "Bearer secret"), server.url, dashboards) == []
