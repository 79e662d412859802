"""A dashboard in Grafana's classic JSON model: what every panel has, where panels go, how dashboards link."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.assets import uids
from otel_metrics.assets.recording import SINCE
from otel_metrics.assets.scope import SCOPE, variable
from otel_metrics.assets.service_levels.levels import KIND, SERVICE_LEVEL
from otel_metrics.catalogue import CALL, FEATURE, LABEL, RESOURCE_NAME, RESOURCE_TYPE, SERIES
from otel_metrics.promql import Series, aggregate, call, equal, like, pretty, series, unequal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_metrics.assets.scope import Labels
    from otel_metrics.promql import Expression

Json = dict[str, Any]

SCHEMA_VERSION: Final = 42
COLUMNS: Final = 24
"""Width of Grafana's grid."""

TAG: Final = "otel-metrics"
GENERATED: Final = "otel-metrics-generated"
DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
NO_DATA: Final = "nothing counted in this period so far"
_SAME_TAB: Final[Json] = {"icon": "external link", "targetBlank": False}


# --------------------------------------------------------------------------------------------------------- the scope

_OF_AN_APPLICATION: Final = tuple(label.name for label in (FEATURE, RESOURCE_NAME, CALL, LABEL))
"""Labels whose values mean something within one application: what is told apart by them is by the scope, too."""


def scoped(expression: Expression, scope: Labels) -> Expression:
    """Return what is asked of the applications that are chosen, each for itself.

    Series that lack a label of the scope are everybody's, as for ``get_*``: they were imported, or are alerts on servers.
    """
    chosen = (like(label, f"${label}|") for label in scope)
    return expression.narrowed(*chosen).grouped(scope, _OF_AN_APPLICATION)


def _beside(labels: Sequence[str], scope: Labels) -> tuple[str, ...]:
    """Return the labels of the scope that what has these ``labels`` is told apart by, too."""
    return tuple(each for each in scope if each not in labels) if set(labels) & set(_OF_AN_APPLICATION) else ()


def _legend(text: str, scope: Labels) -> str:
    """Return a legend that names the application, where there may be curves of several."""
    return " ".join([*(f"{{{{{label}}}}}" for label in _beside(re.findall(r"{{(\w+)}}", text), scope)), text])


def override(heading: str, properties: Mapping[str, Any], *, matcher: str = "byName") -> Json:
    """Return properties of the columns, or curves, of a name."""
    return {
        "matcher": {"id": matcher, "options": heading},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


@dataclass(frozen=True, slots=True)
class Rows:
    """What tells the rows of a table apart, and what its columns are called."""

    labels: Mapping[str, str]
    """Label -> heading."""
    columns: Mapping[str, str]
    """Grafana's name -> heading."""
    menu: Menu
    """Where the name of a feature leads."""

    def _own(self, scope: Labels) -> dict[str, str]:
        return {label: label.capitalize() for label in _beside([*self.labels], scope)}

    def transformations(self, scope: Labels) -> list[Json]:
        """Return what joins the rows, names the columns and puts them in order, those of the scope after the first."""
        first, *others = self.labels
        named = {name: self.labels[name] for name in others}
        renamed = {first: self.labels[first], **self._own(scope), **named, **self.columns}
        order = {name: place for place, name in enumerate(renamed)}
        return [
            # Other labels, and the names of metrics, would keep rows apart.
            {"id": "filterFieldsByName", "options": {"include": {"names": [*renamed]}}},
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"indexByName": order, "renameByName": renamed}},
        ]

    def overrides(self, scope: Labels) -> list[Json]:
        """Return the widths of the scope's columns, and the links of features' names, each for its own application."""
        found = [override(heading, {"unit": "string", "custom.width": 84}) for heading in self._own(scope).values()]
        if self.menu:
            of_row = (f"var-{label}=${{__data.fields.{label.capitalize()}.text:percentencode}}" for label in scope)
            clicked = (*of_row, f"var-{FEATURE.name}=${{__value.raw:percentencode}}")
            links = [{"title": title, "url": address(uid, *clicked), "targetBlank": False} for title, uid in self.menu]
            found.append(override(self.labels[FEATURE.name], {"links": links}))
        return found


Menu = tuple[tuple[str, str], ...]
"""Titles and uids of dashboards."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its size on the grid, and what Grafana wants to know."""

    kind: str
    title: str
    description: str
    targets: tuple[Json, ...]
    """As Grafana's, but for ``expr``, which is an expression."""
    width: int
    height: int
    defaults: Json
    options: Json
    overrides: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()
    rows: Rows | None = None
    more: str = ""
    """The uid of a dashboard that says more."""
    of_servers: bool = False
    """Whether it is about servers instead of applications, so that no scope concerns it."""
    time_from: str = ""
    """A period of the panel's own, back from the end, whatever the dashboard's is."""
    interval: str = ""
    """The least step."""
    number: int = 0
    """Its number in links, where it is not counted with the others, so that theirs stay; 0 where it is."""

    def look(self, uid: str) -> Panel:
        """Return the panel with a link to a dashboard that says more."""
        return replace(self, more=uid)

    def body(self, number: int, x: int, y: int, scope: Labels) -> Json:
        """Return the JSON of the panel at a place of the grid."""
        scope = () if self.of_servers else scope
        overrides, transformations = list(self.overrides), list(self.transformations)
        if self.rows:
            transformations += self.rows.transformations(scope)
            overrides += self.rows.overrides(scope)
        body: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [
                {
                    "refId": chr(ord("A") + n),
                    **target,
                    "expr": pretty(scoped(target["expr"], scope)),
                    "legendFormat": _legend(target["legendFormat"], scope),
                }
                for n, target in enumerate(self.targets)
            ],
            "fieldConfig": {"defaults": {"noValue": NO_DATA, **self.defaults}, "overrides": overrides},
            "options": self.options,
        }
        optional = {
            "transformations": transformations,
            "links": [_link("More", "", self.more, scope)] if self.more else [],
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


_EVERY_APPLICATION: Final = series(SERIES)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    """After those of data source and scope: the feature, and others."""
    sections: tuple[Section, ...]
    period: str = "now-6h"
    refresh: str = "5m"
    timezone: str = "browser"
    alerts: str = ""
    """Pattern of the alerts whose beginnings are drawn into the graphs."""
    known: Series = _EVERY_APPLICATION
    """Series whose labels say which applications there are."""
    tags: tuple[str, ...] = field(default=(TAG, GENERATED))

    def text(self, scope: Labels = SCOPE) -> str:
        """Return the file that Grafana provisions, with a variable for each label of the scope."""
        several = all(variable.several for variable in self.variables)
        chosen = [
            Variable(label, label.capitalize(), self.known, name=label, several=several).body(scope[:n])
            for n, label in enumerate(scope)
        ]
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
                    "tooltip": "Other dashboards, for the same time, applications and features",
                    "url": "",
                },
                _link("Runbook", "What to do when an alert fires", uids.RUNBOOK, scope),
            ],
            "annotations": {"list": [_starts(scope), *(_marks(self.alerts, scope) if self.alerts else ())]},
            "templating": {
                "list": [_DATASOURCE_VARIABLE, *chosen, *(variable.body(scope) for variable in self.variables)]
            },
            "panels": _placed(self.sections, scope),
        }
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def address(uid: str, *variables: str) -> str:
    """Return the link to a dashboard, for the same time and data source, and with these variables."""
    return f"/d/{uid}?" + "&".join(["${__url_time_range}", "${datasource:queryparam}", *variables])


def onward(uid: str, scope: Labels) -> str:
    """Return the link to a dashboard for the same applications and features as well."""
    return address(uid, *(f"${{{name}:queryparam}}" for name in (*scope, FEATURE.name)))


def _link(title: str, tooltip: str, uid: str, scope: Labels) -> Json:
    return {
        "type": "link",
        "title": title,
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        **_SAME_TAB,
        "tooltip": tooltip,
        "url": onward(uid, scope),
    }


def feature_menu(here: str) -> Menu:
    """Return where the name of a feature in a table leads; ``here`` is the table's dashboard."""
    return (("Everything about it", uids.FEATURE), ("Only this one", here))


_FIRST_ROW: Final = 1001
"""Rows are numbered from here on, panels from 1 on, so that a new row changes no link to a panel."""


def _placed(sections: tuple[Section, ...], scope: Labels) -> list[Json]:
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
            into.append(panel.body(panel.number or number, x, top, scope))
            x, height, number = x + panel.width, max(height, panel.height), number + (not panel.number)
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


def _starts(scope: Labels) -> Json:
    started = Series("process_start_time_seconds").also(series(SERIES), on=("job", "instance"))
    return _event("Process starts", "blue", scoped(started, scope) * 1000, "{{job}} started", "{{instance}}")


FIRING: Final = Series(SINCE, (equal("alertstate", "firing"),))
"""Alerts that fire, and since when. One that was only pending is no event."""


def located(alerts: Expression, scope: Labels) -> Expression:
    """Return alerts with the label ``where``, made of what they are about: in a title, Grafana shows the name of a label that is not there.

    A level of service is among it, and its kind: that an error budget burns does not say whether uses fail or are slow.
    """
    parts = (*scope, FEATURE.name, KIND, SERVICE_LEVEL, RESOURCE_TYPE.name, RESOURCE_NAME.name)
    return call("label_join", alerts, "where", " ", *parts)


_ABOUT: Final = (FEATURE.name, RESOURCE_TYPE.name, RESOURCE_NAME.name)
"""Labels of what trouble is about."""


def _marks(alerts: str, scope: Labels) -> tuple[Json, ...]:
    """Return marks where trouble began: the first of its alerts, by name, as a dozen lines would hide what they mark."""

    def first(name: str, color: str, severity: str) -> Json:
        which = (like("alertname", alerts), equal("severity", severity), like(FEATURE, f"${FEATURE.name}|"))
        moments = scoped(aggregate("bottomk", _ABOUT, 1, FIRING.where(*which)), scope) * 1000
        return _event(name, color, located(moments, scope), "{{alertname}}: {{where}}", "trouble began")

    return first("Alerts that page", "red", "critical"), first("Other alerts", "orange", "warning")


# ---------------------------------------------------------------------------------------------------------- variables


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that holds the values of a label."""

    label: str
    title: str
    selector: Series
    name: str = ""
    """Where it is not the label's."""
    everything: str = ".*"
    """What `All` matches."""
    several: bool = True
    """Whether more than one value may be chosen, and all of them."""
    hidden: bool = False
    """Whether links carry it, and nobody sees it."""

    def body(self, scope: Labels) -> Json:
        """Return the JSON of the variable, for what is chosen of the scope."""
        query = f"label_values({scoped(self.selector, scope)}, {self.label})"
        name = self.name or variable(self.label)
        several: Json = {"allValue": self.everything, "current": {"text": ["All"], "value": ["$__all"]}}
        return {
            "name": name,
            "label": self.title,
            "type": "query",
            "datasource": DATASOURCE,
            "definition": query,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": self.several,
            "includeAll": self.several,
            **(several if self.several else {"current": {"text": "", "value": ""}}),
            "options": [],
            "hide": 2 if self.hidden else 0,
        }


FEATURES: Final = Variable(
    FEATURE.name, "Feature", Series("", (like("__name__", "feature_.+"), unequal(FEATURE, ""))), everything=".+"
)
HIDDEN_FEATURES: Final = replace(FEATURES, hidden=True)
"""Of a dashboard that has nothing to do with features: links lead on with the same ones."""
ONE_FEATURE: Final = replace(FEATURES, several=False)
"""Of a dashboard about one feature of one application."""

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
