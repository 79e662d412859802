"""The kinds of panels that are used, each with the options that make it readable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.assets.dashboards.model import DATASOURCE, NO_DATA, Panel
from otel_metrics.promql import pretty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_metrics.assets.dashboards.model import Json
    from otel_metrics.promql import Expression

GREEN: Final = "green"
ORANGE: Final = "orange"
RED: Final = "red"
BLUE: Final = "blue"

Steps = tuple[tuple[float | None, str], ...]
"""Colours from a value upwards; the first has no value."""

PLAIN: Final[Steps] = ((None, BLUE),)


def above(bound: float, *, warn: float | None = None) -> Steps:
    """Return colours for values that are bad from ``bound`` upwards."""
    return ((None, GREEN), *(((warn, ORANGE),) if warn is not None else ()), (bound, RED))


def below(bound: float, *, good: float | None = None) -> Steps:
    """Return colours for values that are bad below ``bound``, and doubtful below ``good``."""
    if good is None:
        return ((None, RED), (bound, GREEN))
    return ((None, RED), (bound, ORANGE), (good, GREEN))


def _thresholds(steps: Steps) -> Json:
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def over_time(expr: Expression, legend: str = "", *, step: str = "") -> Json:
    """Return the target of a query over the dashboard's period."""
    target: Json = {
        "datasource": DATASOURCE,
        "expr": pretty(expr),
        "legendFormat": legend or "__auto",
        "editorMode": "code",
        "range": True,
        "instant": False,
        "format": "time_series",
    }
    return {**target, "interval": step} if step else target


def at_end(expr: Expression, legend: str = "", *, form: str = "time_series") -> Json:
    """Return the target of a query at the end of the dashboard's period."""
    return {**over_time(expr, legend), "range": False, "instant": True, "format": form}


def stat(
    title: str,
    description: str,
    expr: Expression,
    unit: str = "short",
    steps: Steps = PLAIN,
    *,
    none: str = NO_DATA,
    decimals: int | None = None,
    width: int = 4,
) -> Panel:
    """Return one big number, coloured by its thresholds."""
    defaults: Json = {"unit": unit, "color": {"mode": "thresholds"}, "thresholds": _thresholds(steps), "noValue": none}
    if decimals is not None:
        defaults["decimals"] = decimals
    options: Json = {
        "colorMode": "background_solid" if len(steps) > 1 else "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": "value",
        "wideLayout": True,
    }
    return Panel("stat", title, description, (at_end(expr),), width, 4, defaults, options)


def lines(
    title: str,
    description: str,
    targets: Sequence[Json],
    unit: str = "short",
    *,
    steps: Steps | None = None,
    stacked: bool = False,
    bars: bool = False,
    low: float | None = None,
    high: float | None = None,
    width: int = 12,
    height: int = 8,
) -> Panel:
    """Return curves over time; ``steps`` are drawn as lines."""
    custom: Json = {
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "linear",
        "lineWidth": 1 if bars else 2,
        "fillOpacity": 60 if bars else (30 if stacked else 5),
        "showPoints": "auto",
        "pointSize": 5,
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
    }
    defaults: Json = {
        "unit": unit,
        "color": {"mode": "palette-classic"},
        "custom": custom,
        "thresholds": _thresholds(steps or PLAIN),
    }
    if low is not None:
        defaults["min"] = low
    if high is not None:
        defaults["max"] = high
    options: Json = {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["mean", "max", "lastNotNull"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, description, tuple(targets), width, height, defaults, options)


def heat(title: str, description: str, target: Json, unit: str, *, native: bool = False, width: int = 12) -> Panel:
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
    buckets = target if native else {**target, "format": "heatmap", "legendFormat": "{{le}}"}
    custom: Json = {
        "scaleDistribution": {"type": "linear"},
        "hideFrom": {"legend": False, "tooltip": False, "viz": False},
    }
    return Panel("heatmap", title, description, (buckets,), width, 8, {"custom": custom}, options)


def bars(
    title: str, description: str, expr: Expression, legend: str, unit: str, steps: Steps, *, width: int = 12
) -> Panel:
    """Return one horizontal bar for each series at the end of the period."""
    defaults: Json = {"unit": unit, "color": {"mode": "thresholds"}, "thresholds": _thresholds(steps), "min": 0}
    if unit == "percentunit":
        defaults["max"] = 1
    options: Json = {
        "displayMode": "basic",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "maxVizHeight": 32,
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "auto",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    }
    return Panel("bargauge", title, description, (at_end(expr, legend),), width, 8, defaults, options)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of numbers of a table."""

    title: str
    expr: Expression
    unit: str = "short"
    steps: Steps = ()
    decimals: int | None = None


def table(
    title: str,
    description: str,
    labels: dict[str, str],
    columns: Sequence[Column],
    *,
    links: dict[str, str] | None = None,
    none: str = NO_DATA,
    sort: str = "",
    height: int = 9,
) -> Panel:
    """Return a table: one row for each set of ``labels`` (label to heading), one column for each expression."""
    # Grafana calls the value of an only query just that.
    names = ["Value"] if len(columns) == 1 else [f"Value #{chr(ord('A') + n)}" for n in range(len(columns))]
    renamed = {**labels, **dict(zip(names, (column.title for column in columns), strict=True))}
    overrides = [_override(column.title, _column(column)) for column in columns]
    for heading, url in (links or {}).items():
        overrides.append(_override(heading, {"links": [{"title": "Only this one", "url": url, "targetBlank": False}]}))
    organize: Json = {
        "excludeByName": {"Time": True},
        "indexByName": {name: place for place, name in enumerate(renamed)},
        "renameByName": renamed,
    }
    options: Json = {
        "cellHeight": "sm",
        "showHeader": True,
        "sortBy": [{"displayName": sort or columns[0].title, "desc": True}],
    }
    return Panel(
        "table",
        title,
        description,
        tuple(at_end(column.expr, form="table") for column in columns),
        24,
        height,
        {
            "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True},
            "thresholds": _thresholds(PLAIN),
            "noValue": none,
        },
        options,
        tuple(overrides),
        ({"id": "merge", "options": {}}, {"id": "organize", "options": organize}),
    )


def _column(column: Column) -> Json:
    properties: Json = {"unit": column.unit}
    if column.decimals is not None:
        properties["decimals"] = column.decimals
    if column.steps:
        properties |= {
            "thresholds": _thresholds(column.steps),
            "color": {"mode": "thresholds"},
            "custom.cellOptions": {"type": "color-text"},
        }
    return properties


def _override(heading: str, properties: dict[str, Any]) -> Json:
    return {
        "matcher": {"id": "byName", "options": heading},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }
