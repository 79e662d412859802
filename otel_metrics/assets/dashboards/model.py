"""A dashboard in Grafana's classic JSON model: what every panel has, where panels go, how dashboards link."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Final

from otel_metrics.assets import uids
from otel_metrics.promql import Series, like, unequal

Json = dict[str, Any]

SCHEMA_VERSION: Final = 42
COLUMNS: Final = 24
"""Width of Grafana's grid."""

TAG: Final = "otel-metrics"
GENERATED: Final = "otel-metrics-generated"
DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
NO_DATA: Final = "nothing in this period"
_SAME_TAB: Final[Json] = {"icon": "external link", "targetBlank": False}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its size on the grid, and what Grafana wants to know."""

    kind: str
    title: str
    description: str
    targets: tuple[Json, ...]
    width: int
    height: int
    defaults: Json
    options: Json
    overrides: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()
    links: tuple[Json, ...] = ()
    time_from: str = ""

    def look(self, uid: str) -> Panel:
        """Return the panel with a link to a dashboard that says more."""
        link: Json = {"title": "More", "type": "link", "url": address(uid), "tooltip": "", "tags": [], **_SAME_TAB}
        return replace(self, links=({**link, "asDropdown": False, "includeVars": False, "keepTime": False},))

    def body(self, number: int, x: int, y: int) -> Json:
        """Return the JSON of the panel at a place of the grid."""
        body: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [{"refId": chr(ord("A") + n), **target} for n, target in enumerate(self.targets)],
            "fieldConfig": {"defaults": {"noValue": NO_DATA, **self.defaults}, "overrides": list(self.overrides)},
            "options": self.options,
        }
        optional = {
            "transformations": list(self.transformations),
            "links": list(self.links),
            "timeFrom": self.time_from,
        }
        return {**body, **{name: value for name, value in optional.items() if value}}


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading; the first section of a dashboard has none."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[Json, ...]
    sections: tuple[Section, ...]
    period: str = "now-6h"
    refresh: str = "1m"
    tags: tuple[str, ...] = field(default=(TAG, GENERATED))

    def text(self) -> str:
        """Return the file that Grafana provisions."""
        body: Json = {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": list(self.tags),
            "schemaVersion": SCHEMA_VERSION,
            "editable": False,
            "graphTooltip": 1,
            # Days are UTC in the daily table, so they are everywhere.
            "timezone": "utc",
            "time": {"from": self.period, "to": "now"},
            "refresh": self.refresh,
            "links": [
                {
                    "type": "dashboards",
                    "title": "otel_metrics",
                    "tags": [TAG],
                    "asDropdown": True,
                    "includeVars": True,
                    "keepTime": True,
                    **_SAME_TAB,
                    "tooltip": "Other dashboards, for the same time and the same features",
                    "url": "",
                }
            ],
            "annotations": {"list": []},
            "templating": {"list": list(self.variables)},
            "panels": _placed(self.sections),
        }
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def address(uid: str, *more: str) -> str:
    """Return the link to a dashboard, for the same time, features and data source."""
    return f"/d/{uid}?" + "&".join(
        ["${__url_time_range}", "${datasource:queryparam}", *(more or ("${feature:queryparam}",))]
    )


def _placed(sections: tuple[Section, ...]) -> list[Json]:
    """Return the panels, left to right, top to bottom, numbered in that order."""
    placed: list[Json] = []
    y = 0
    for section in sections:
        if section.title:
            heading = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
            placed.append(
                {
                    "id": len(placed) + 1,
                    "type": "row",
                    "title": section.title,
                    "collapsed": False,
                    "gridPos": heading,
                    "panels": [],
                }
            )
            y += 1
        x = height = 0
        for panel in section.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            placed.append(panel.body(len(placed) + 1, x, y))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return placed


# ---------------------------------------------------------------------------------------------------------- variables


def variables(*more: Json, hide_feature: bool = False) -> tuple[Json, ...]:
    """Return the variables that every dashboard has, so that links carry them along, and ``more``."""
    return (_DATASOURCE_VARIABLE, {**_FEATURE_VARIABLE, "hide": 2 if hide_feature else 0}, *more)


def label_variable(name: str, label: str, selector: Series, title: str) -> Json:
    """Return a variable that holds the values of a label."""
    query = f"label_values({selector}, {label})"
    return {
        "name": name,
        "label": title,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "options": [],
        "hide": 0,
    }


_DATASOURCE_VARIABLE: Final[Json] = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {"text": "Prometheus", "value": uids.DATASOURCE},
    "refresh": 1,
    "includeAll": False,
    "multi": False,
    "options": [],
    "hide": 0,
}
_FEATURE_VARIABLE: Final = label_variable(
    "feature", "feature", Series("", (like("__name__", "feature_.+"), unequal("feature", ""))), "Feature"
)
