"""The kinds of panels that are used, each with the options that make it readable.

Five colours mean something, and are used for nothing else: red, the bound of an alert that pages is passed; amber, that of
an alert that can wait; green, judged and fine; grey, nothing to judge; the colour of text, not judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.assets.dashboards.model import COLUMNS, DATASOURCE, NO_DATA, Panel, Rows, override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_metrics.assets.dashboards.model import Json, Menu
    from otel_metrics.promql import Expression

# Dark enough for white figures: Grafana's own green, orange and red are too bright for them.
GREEN: Final = "#2B5C34"
RED: Final = "#C4162A"
AMBER: Final = "#A35200"
GREY: Final = "#4A4E57"
CLEAR: Final = "transparent"
BLUE: Final = "#5794F2"
"""Of sparklines and bars that nobody judges."""
PAST: Final = "#8E9AA8"
"""Of the week before, beside curves of any colour."""

NAMES: Final = {"Feature": 216}
"""Widths for long names, in tables as wide as the page."""

EMPTY: Final = "–"
"""What an empty cell says."""
NO_VALUES: Final = "no values in this period so far"
"""Of curves."""
NOT_SCRAPED: Final = "none was scraped in this period"
"""Of curves of five minutes, which imported history does not have."""

Steps = tuple[tuple[float | None, str], ...]
"""Colours from a value upwards; the first has no value."""

PLAIN: Final[Steps] = ((None, "text"),)

_STATES: Final = {
    "severity": {"critical": "dark-red", "error": "red", "warning": "orange", "info": "blue"},
    "outcome": {"success": "green", "failure": "red", "unknown": GREY},
    "recovery": {"succeeded": "green", "failed": "red", "none": GREY},
}
"""Labels whose values are good or bad: each value has one colour wherever it is drawn."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The number that an alert compares with."""

    value: float
    low: bool = False
    """Whether values below it are the bad ones."""
    color: str = RED
    """Of the bad ones: `AMBER` where the alert does not page."""

    def steps(self, fine: str = GREEN) -> Steps:
        """Return the colours of values on both sides."""
        return ((None, self.color), (self.value, fine)) if self.low else ((None, fine), (self.value, self.color))

    def line(self) -> Steps:
        """Return what a graph draws as a line, which takes the colour of the step that begins there."""
        return ((None, CLEAR), (self.value, "red" if self.color == RED else "orange"))


def thresholds_of(steps: Steps) -> Json:
    """Return the property of colours from a value upwards."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def absent(text: str, color: str = GREY) -> Json:
    """Return what is shown, and in which colour, where there is no value: the first step's colour would judge it."""
    return {"type": "special", "options": {"match": "null+nan", "result": {"text": text, "color": color, "index": 0}}}


def over_time(expr: Expression, legend: str = "", *, exemplars: bool = False) -> Json:
    """Return the target of a query over the dashboard's period."""
    target: Json = {
        "datasource": DATASOURCE,
        "expr": expr,
        "legendFormat": legend or "__auto",
        "editorMode": "code",
        "range": True,
        "instant": False,
        "format": "time_series",
    }
    return {**target, "exemplar": True} if exemplars else target


def at_end(expr: Expression, legend: str = "", *, form: str = "time_series") -> Json:
    """Return the target of a query at the end of the dashboard's period."""
    return {**over_time(expr, legend), "range": False, "instant": True, "format": form}


def stat(
    title: str,
    description: str,
    expr: Expression,
    unit: str = "locale",
    *,
    bound: Bound | None = None,
    name: str = "",
    none: str = NO_DATA,
    decimals: int | None = None,
    width: int = 4,
) -> Panel:
    """Return one big number, with the ``name`` that its series has."""
    defaults: Json = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds_of(bound.steps() if bound else PLAIN),
        "mappings": [absent(none)],
        "noValue": none,
    }
    if decimals is not None or unit == "locale":
        defaults["decimals"] = decimals or 0
    options: Json = {
        "colorMode": "background_solid" if bound else "none",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": "value_and_name" if name else "value",
        "wideLayout": False,
    }
    return Panel("stat", title, description, (at_end(expr, name),), width, 4, defaults, options)


def lines(
    title: str,
    description: str,
    targets: Sequence[Json],
    unit: str = "locale",
    *,
    bound: Bound | None = None,
    stacked: bool = False,
    low: float | None = None,
    high: float | None = None,
    soft_low: float | None = None,
    none: str = NO_VALUES,
    width: int = 8,
    interval: str = "",
    time_from: str = "",
) -> Panel:
    """Return curves over time; the bound is drawn as a line. What is called "a week before" is dotted."""
    custom: Json = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 2,
        "fillOpacity": 30 if stacked else 0,
        "showPoints": "auto",
        "pointSize": 4,
        # A restart cuts no curve.
        "spanNulls": 600_000,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if bound else "off"},
    }
    if soft_low is not None:
        custom["axisSoftMin"] = soft_low
    panel = _graph(title, description, targets, unit, custom, bound, (low, high), width)
    return replace(panel, defaults={**panel.defaults, "noValue": none}, time_from=time_from, interval=interval)


def counts(
    title: str,
    description: str,
    targets: Sequence[Json],
    *,
    none: str = NO_DATA,
    width: int = 8,
    interval: str = "15m",
) -> Panel:
    """Return stacked bars of how many there were in each interval: what happens less than once a second."""
    custom: Json = {
        "drawStyle": "bars",
        "lineWidth": 0,
        "fillOpacity": 80,
        "barWidthFactor": 0.8,
        # A bar alone would be as wide as hours.
        "barMaxWidth": 100,
        "showPoints": "never",
        "stacking": {"mode": "normal", "group": "A"},
        "thresholdsStyle": {"mode": "off"},
    }
    panel = _graph(title, description, targets, "locale", custom, None, (0, None), width)
    return replace(panel, defaults={**panel.defaults, "decimals": 0, "noValue": none}, interval=interval)


def _graph(
    title: str,
    description: str,
    targets: Sequence[Json],
    unit: str,
    custom: Json,
    bound: Bound | None,
    ends: tuple[float | None, float | None],
    width: int,
) -> Panel:
    low, high = ends
    if low == 0 and high is None:
        # Nothing but zeros would have an axis up to 100.
        custom["axisSoftMax"] = _LITTLE.get(unit, 1)
    legends = " ".join(target["legendFormat"] for target in targets)
    # A feature has its colour in every graph, whichever others are in it.
    of_features = all(target["legendFormat"] == OF_FEATURE for target in targets)
    palette = "palette-classic-by-name" if of_features else "palette-classic"
    defaults: Json = {
        "unit": unit,
        "color": {"mode": palette},
        "custom": custom,
        "thresholds": thresholds_of(bound.line() if bound else PLAIN),
    }
    defaults |= {name: value for name, value in (("min", low), ("max", high)) if value is not None}
    legend: Json = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
    if width > COLUMNS // 2:
        legend |= {"displayMode": "table", "placement": "right", "calcs": ["max", "lastNotNull"]}
        legend |= {"sortBy": "Last *", "sortDesc": True, "width": 320}
    options: Json = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc", "maxHeight": 300}}
    states = [_STATES[label] for label in re.findall(r"{{(\w+)}}", legends) if label in _STATES]
    overrides = [override(state, fixed(color)) for values in states for state, color in values.items()]
    if BEFORE in legends:
        dotted: Json = {"custom.lineStyle": {"fill": "dot", "dash": [0, 6]}, **fixed(PAST)}
        overrides.append(override(f"/.*{BEFORE}.*/", dotted, matcher="byRegexp"))
    return Panel(
        "timeseries",
        title,
        description,
        tuple(targets),
        width,
        8,
        defaults,
        options,
        tuple(overrides),
    )


WHEN_OVER: Final = "A quarter of an hour counts when it is over."
"""Of numbers of the dashboard's period, which add up what rules record of quarters."""
NONE_SO_FAR: Final = "none counted so far"

OF_FEATURE: Final = "{{feature}}"
"""The legend of a curve that is all of a feature."""
OF_RESOURCE: Final = "{{resource_type}} {{resource_name}}"
BEFORE: Final = "a week before"
"""How the legend of a dotted curve ends."""

_LITTLE: Final = {"s": 0.01, "percentunit": 0.01, "bytes": 1024}


def heat(
    title: str, description: str, target: Json, unit: str, *, native: bool = False, width: int = 12, interval: str = ""
) -> Panel:
    """Return the distribution of values over time, from a histogram's buckets."""
    options: Json = {
        # Classic buckets come as one series per bound and are counted below each; native ones as they are.
        "calculate": False,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
            "fill": "dark-orange",
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    buckets = {**target, "exemplar": True}
    if not native:
        buckets |= {"format": "heatmap", "legendFormat": "{{le}}"}
    custom: Json = {
        "scaleDistribution": {"type": "linear"},
        "hideFrom": {"legend": False, "tooltip": False, "viz": False},
    }
    return Panel("heatmap", title, description, (buckets,), width, 8, {"custom": custom}, options, interval=interval)


def bars(title: str, description: str, expr: Expression, legend: str, unit: str, *, width: int = 8) -> Panel:
    """Return one horizontal bar for each series at the end of the period."""
    defaults: Json = {
        "unit": unit,
        "color": {"mode": "fixed", "fixedColor": BLUE},
        "thresholds": thresholds_of(PLAIN),
        "mappings": [absent(NO_DATA, "text")],
        "min": 0,
    }
    if unit == "percentunit":
        defaults |= {"max": 1, "decimals": 1}
    options: Json = {
        "displayMode": "basic",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "maxVizHeight": 28,
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "auto",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        # Heights of bars count only so.
        "sizing": "manual",
        # On a wall numbers would grow out of their place.
        "text": {"titleSize": 12, "valueSize": 16},
        "valueMode": "color",
    }
    return Panel("bargauge", title, description, (at_end(expr, legend),), width, 8, defaults, options)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: a number, or with ``trend`` a small curve of it over the period."""

    title: str
    expr: Expression
    unit: str = "locale"
    bound: Bound | None = None
    decimals: int | None = None
    width: int = 0
    """Pixels; 0 shares what is left."""
    trend: bool = False
    color: str = BLUE
    """Of a trend."""
    more: tuple[tuple[str, Any], ...] = ()
    """Further properties of Grafana's."""

    def properties(self) -> Json:
        """Return the properties that Grafana gives the column."""
        if self.trend:
            cell: Json = {
                "type": "sparkline",
                "hideValue": True,
                "fillOpacity": 20,
                "lineWidth": 1,
                # Here a longest gap is none, and values further apart than a step would not be seen.
                "spanNulls": True,
            }
            own: Json = {"custom.cellOptions": cell, **fixed(self.color)}
        else:
            own = {"unit": self.unit, "custom.wrapText": False}
            if self.decimals is not None or self.unit == "locale":
                own["decimals"] = self.decimals or 0
            if self.bound:
                own |= {
                    "thresholds": thresholds_of(self.bound.steps(CLEAR)),
                    "color": {"mode": "thresholds"},
                    "mappings": [absent(EMPTY, CLEAR)],
                    "custom.cellOptions": {"type": "color-background", "mode": "basic"},
                }
        return {**own, **({"custom.width": self.width} if self.width else {}), **dict(self.more)}


def table(
    title: str,
    description: str,
    labels: Mapping[str, str],
    columns: Sequence[Column],
    *,
    menu: Menu = (),
    links: Mapping[str, tuple[str, str]] | None = None,
    more: Mapping[str, Json] | None = None,
    widths: Mapping[str, int] | None = None,
    none: str = NO_DATA,
    sort: str | Sequence[str] = "",
    ascending: bool = False,
    width: int = COLUMNS,
    height: int = 9,
    interval: str = "",
    time_from: str = "",
) -> Panel:
    """Return a table: one row for each set of ``labels`` (label to heading), one column for each expression.

    Args:
        title: what rows and columns are about.
        description: exact or estimated, judged by which alert, what to do next.
        labels: what rows are about.
        columns: what is told about them.
        menu: where the name of a feature leads.
        links: by heading, where its cells lead (title, address).
        more: by heading, further properties of columns of labels.
        widths: by heading, pixels of columns of labels.
        none: what the table says without rows.
        sort: heading, or headings, by which rows are sorted, the greatest first.
        ascending: whether it is the least first.
        width: of the grid's columns.
        height: in units of the grid.
        interval: the least step of trends.
        time_from: a period of the table's own, back from the end.
    """
    trends = [n for n, column in enumerate(columns) if column.trend]
    # Grafana calls the value of an only query just that.
    names = [f"Trend #{_ref(n)}" if column.trend else f"Value #{_ref(n)}" for n, column in enumerate(columns)]
    names = ["Value"] if len(columns) == 1 else names
    properties: dict[str, Json] = {column.title: column.properties() for column in columns}
    # A name that is a number would be grouped as one, and blanks would be 0.
    properties |= {heading: {"unit": "string"} for heading in labels.values()}
    for heading, (name, url) in (links or {}).items():
        properties[heading] |= {"links": [{"title": name, "url": url, "targetBlank": False}]}
    for heading, pixels in (widths or {}).items():
        properties[heading] |= {"custom.width": pixels}
    for heading, own in (more or {}).items():
        properties[heading] |= own
    overrides = [override("/.*/", {"noValue": EMPTY}, matcher="byRegexp")]
    overrides += [override(heading, own) for heading, own in properties.items()]
    order = [sort] if isinstance(sort, str) else sort
    options: Json = {
        "cellHeight": "sm",
        "showHeader": True,
        "sortBy": [{"displayName": heading or columns[0].title, "desc": not ascending} for heading in order],
    }
    transformations: list[Json] = []
    if trends:
        of_trends = {_ref(n): {"timeField": "Time"} for n in trends}
        transformations.append({"id": "timeSeriesTable", "options": of_trends})
    return Panel(
        "table",
        title,
        description,
        tuple(over_time(column.expr) if column.trend else at_end(column.expr, form="table") for column in columns),
        width,
        height,
        {
            "unit": "locale",
            "color": {"mode": "thresholds"},
            "custom": {
                "align": "auto",
                "cellOptions": {"type": "auto"},
                "filterable": False,
                "minWidth": 50,
                "wrapHeaderText": True,
                "wrapText": True,
            },
            "mappings": [absent(EMPTY, CLEAR)],
            "thresholds": thresholds_of(PLAIN),
            "noValue": none,
        },
        options,
        tuple(overrides),
        tuple(transformations),
        Rows(labels, dict(zip(names, (column.title for column in columns), strict=True)), tuple(menu)),
        time_from=time_from,
        interval=interval,
    )


def _ref(place: int) -> str:
    return chr(ord("A") + place)


def fixed(color: str) -> Json:
    """Return the property of a colour that no value changes."""
    return {"color": {"mode": "fixed", "fixedColor": color}}
