"""A dashboard in Grafana's classic JSON model: what every panel has, where panels go, how dashboards link."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.assets import uids
from otel_metrics.catalogue import FEATURE, SERIES
from otel_metrics.promql import Series, like, pretty, series, unequal

if TYPE_CHECKING:
    from otel_metrics.promql import Expression

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
    """A period of the panel's own, back from the end, whatever the dashboard's is."""
    interval: str = ""
    """The least step."""

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
            "interval": self.interval,
        }
        return {**body, **{name: value for name, value in optional.items() if value}}


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading; the first section of a dashboard has none."""

    title: str
    panels: tuple[Panel, ...]
    folded: bool = False
    """Whether it is opened by hand, and asks nothing before."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[Json, ...]
    sections: tuple[Section, ...]
    period: str = "now-6h"
    refresh: str = "5m"
    timezone: str = "browser"
    alerts: str = ""
    """Pattern of the alerts whose beginnings are drawn into the graphs."""
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
            "timezone": self.timezone,
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
                },
                {
                    "type": "link",
                    "title": "Runbook",
                    "tags": [],
                    "asDropdown": False,
                    "includeVars": False,
                    "keepTime": False,
                    **_SAME_TAB,
                    "tooltip": "What to do when an alert fires",
                    "url": address(uids.RUNBOOK),
                },
            ],
            "annotations": {"list": [_STARTS, *([_began(self.alerts)] if self.alerts else [])]},
            "templating": {"list": list(self.variables)},
            "panels": _placed(self.sections),
        }
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def address(uid: str, *more: str) -> str:
    """Return the link to a dashboard, for the same time, features and data source."""
    return f"/d/{uid}?" + "&".join(
        ["${__url_time_range}", "${datasource:queryparam}", *(more or ("${feature:queryparam}",))]
    )


CLICKED: Final = f"var-{FEATURE.name}=${{__value.raw:percentencode}}"
"""The variable of a link for the feature in the cell that is clicked on."""


def feature_menu(here: str) -> tuple[tuple[str, str], ...]:
    """Return where the name of a feature in a table leads (title, address); ``here`` is the table's dashboard."""
    titles = (("Everything about it", uids.FEATURE), ("Only this one", here))
    return tuple((title, address(uid, CLICKED)) for title, uid in titles)


_FIRST_ROW: Final = 1001
"""Rows are numbered from here on, panels from 1 on, so that a new row changes no link to a panel."""


def _placed(sections: tuple[Section, ...]) -> list[Json]:
    """Return the panels, left to right, top to bottom, numbered in that order."""
    placed: list[Json] = []
    y, number = 0, 1
    for order, section in enumerate(sections):
        into = placed
        if section.title:
            placed.append(
                {
                    "id": _FIRST_ROW + order,
                    "type": "row",
                    "title": section.title,
                    "collapsed": section.folded,
                    "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
                    "panels": [],
                }
            )
            y += 1
            if section.folded:
                into = placed[-1]["panels"]
        x, top, height = 0, y, 0
        for panel in section.panels:
            if x + panel.width > COLUMNS:
                x, top, height = 0, top + height, 0
            into.append(panel.body(number, x, top))
            x, height, number = x + panel.width, max(height, panel.height), number + 1
        if not section.folded:
            y = top + height
    return placed


# -------------------------------------------------------------------------------------------------------- annotations


def _event(name: str, color: str, expr: Expression, title: str, text: str) -> Json:
    """Return marks in every graph at the moments, in milliseconds since 1970, that an expression has as values."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": color,
        "expr": pretty(expr),
        "step": "60s",
        "useValueForTime": True,
        "titleFormat": title,
        "textFormat": text,
    }


_STARTS: Final = _event(
    "Process starts",
    "blue",
    Series("process_start_time_seconds").also(series(SERIES), on=("job", "instance")) * 1000,
    "{{job}} started",
    "{{instance}}",
)


def _began(alerts: str) -> Json:
    where = (like("alertname", alerts), like(FEATURE, f"${FEATURE.name}|"))
    return _event("Alerts", "red", Series("ALERTS_FOR_STATE", where) * 1000, "{{alertname}}", "began: {{feature}}")


# ---------------------------------------------------------------------------------------------------------- variables


def variables(*more: Json, hide_feature: bool = False) -> tuple[Json, ...]:
    """Return the variables that every dashboard has, so that links carry them along, and ``more``."""
    return (_DATASOURCE_VARIABLE, {**_FEATURE_VARIABLE, "hide": 2 if hide_feature else 0}, *more)


def one_feature() -> tuple[Json, ...]:
    """Return the variables of a dashboard about a single feature."""
    single = {"multi": False, "includeAll": False, "current": {"text": "", "value": ""}, "allValue": None}
    return (_DATASOURCE_VARIABLE, {name: v for name, v in {**_FEATURE_VARIABLE, **single}.items() if v is not None})


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
    FEATURE.name, FEATURE.name, Series("", (like("__name__", "feature_.+"), unequal(FEATURE, ""))), "Feature"
)
JOB_VARIABLE: Final = label_variable("job", "job", Series("up"), "Job")
