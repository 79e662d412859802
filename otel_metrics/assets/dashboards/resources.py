"""What resources are in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import alert_table, firing_count
from otel_metrics.assets.dashboards.model import HIDDEN_FEATURES, Dashboard, Section, Variable
from otel_metrics.assets.dashboards.panels import OF_RESOURCE, Column, bars, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import FULL, SHOWN, chosen, fullest, fullest_curves
from otel_metrics.catalogue import (
    RESOURCE_ALLOCATED,
    RESOURCE_ALLOCATED_VALUE,
    RESOURCE_TYPE,
    RESOURCE_USED,
    RESOURCE_USED_VALUE,
    RESOURCE_UTILIZATION,
    UNIT,
)
from otel_metrics.naming import series_name
from otel_metrics.promql import INSTANCE, Series, aggregate, call, like, series

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values

_ALERTS: Final = "Resource.+"
_WHERE: Final = (chosen(RESOURCE_TYPE), like(INSTANCE, "$instance"))


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    utilization = series(RESOURCE_UTILIZATION)
    return Dashboard(
        uids.RESOURCES,
        "otel_metrics / Resources",
        "What is nearly full? Of what record_resource_utilization recorded. Where several processes report one resource, the "
        "fullest is shown.",
        (
            HIDDEN_FEATURES,
            Variable(RESOURCE_TYPE.name, "Type", utilization),
            Variable(INSTANCE, "Process", utilization, name="instance"),
        ),
        (
            Section("", (firing_count(_ALERTS), _fullest(), alert_table(values.scope, _ALERTS, width=12, height=4))),
            Section("Share in use", (_bars(), _shares())),
            Section("By process", (_processes(),)),
        ),
        alerts=_ALERTS,
    )


def _fullest() -> Panel:
    return stat(
        "Fullest resource now",
        f"The highest share in use. Red above {thresholds.EXHAUSTED.bound:.0%}, where ResourceExhausted fires.",
        aggregate("topk", (), 1, fullest(*_WHERE)),
        "percentunit",
        bound=FULL,
        name=OF_RESOURCE,
        none="none reported",
        decimals=1,
        width=8,
    )


def _bars() -> Panel:
    return bars(
        "Share in use now, the fullest first",
        f"The {SHOWN} fullest resources, of processes that live.",
        call("sort_desc", aggregate("topk", (), SHOWN, fullest(*_WHERE))),
        OF_RESOURCE,
        "percentunit",
    )


def _shares() -> Panel:
    return lines(
        "Share in use over time",
        f"The {SHOWN} resources that are fullest at the end. The red line is the bound of ResourceExhausted.",
        [over_time(fullest_curves(*_WHERE), OF_RESOURCE)],
        "percentunit",
        bound=FULL,
        low=0,
        high=1,
        none="none reported now",
        width=16,
    )


def _processes() -> Panel:
    share = series(RESOURCE_UTILIZATION, *_WHERE)
    living = Series(series_name(RESOURCE_UTILIZATION), at="end()", matched=True)
    return table(
        "What each process has in use now",
        "Of processes that live; other units than bytes are the caller's.",
        {"resource_type": "Type", "resource_name": "Resource", INSTANCE: "Process", UNIT.name: "Unit"},
        [
            Column("Share", share, "percentunit", decimals=1),
            Column("Share over time", share & living, trend=True, width=200, more=(("min", 0), ("max", 1))),
            Column("Bytes used", series(RESOURCE_USED, *_WHERE), "bytes"),
            Column("Bytes allocated", series(RESOURCE_ALLOCATED, *_WHERE), "bytes"),
            Column("Used", series(RESOURCE_USED_VALUE, *_WHERE), "none"),
            Column("Allocated", series(RESOURCE_ALLOCATED_VALUE, *_WHERE), "none"),
        ],
        none="no process reports any",
        sort="Share",
        height=11,
        interval="5m",
    )
