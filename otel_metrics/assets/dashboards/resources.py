"""What resources are in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.model import HIDDEN_FEATURES, Dashboard, Section, Variable
from otel_metrics.assets.dashboards.panels import Column, bars, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import SHOWN, chosen
from otel_metrics.catalogue import (
    RESOURCE_ALLOCATED,
    RESOURCE_ALLOCATED_VALUE,
    RESOURCE_NAME,
    RESOURCE_TYPE,
    RESOURCE_USED,
    RESOURCE_USED_VALUE,
    RESOURCE_UTILIZATION,
    UNIT,
)
from otel_metrics.promql import INSTANCE, aggregate, call, like, series

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.catalogue import Metric
    from otel_metrics.promql import Expression

_KEY: Final = (RESOURCE_TYPE.name, RESOURCE_NAME.name)
_EACH: Final = (*_KEY, INSTANCE)
_LEGEND: Final = "{{resource_type}} {{resource_name}}"
_WHERE: Final = (chosen(RESOURCE_TYPE), like(INSTANCE, "$instance"))


def dashboard(_values: Values) -> Dashboard:
    """Return the dashboard."""
    utilization = series(RESOURCE_UTILIZATION)
    return Dashboard(
        uids.RESOURCES,
        "otel_metrics / Resources",
        "What is nearly full? Of what record_resource_utilization recorded. Where several processes report one resource, the "
        "fullest is shown. No alert judges it.",
        (
            HIDDEN_FEATURES,
            Variable(RESOURCE_TYPE.name, "Type", utilization),
            Variable(INSTANCE, "Process", utilization, name="instance"),
        ),
        (
            Section("", (_fullest(), _bars(), _shares())),
            Section("By process", (_processes(),)),
        ),
    )


def _now(metric: Metric, by: tuple[str, ...] = _KEY) -> Expression:
    return aggregate("max", by, series(metric, *_WHERE))


def _fullest() -> Panel:
    return stat(
        "Fullest resource now",
        "The highest share in use.",
        aggregate("topk", (), 1, _now(RESOURCE_UTILIZATION)),
        "percentunit",
        name=_LEGEND,
        none="no process reports any",
        decimals=1,
        width=24,
    )


def _bars() -> Panel:
    return bars(
        "Share in use now, the fullest first",
        f"The {SHOWN} fullest resources, of processes that live.",
        call("sort_desc", aggregate("topk", (), SHOWN, _now(RESOURCE_UTILIZATION))),
        _LEGEND,
        "percentunit",
    )


def _shares() -> Panel:
    share = _now(RESOURCE_UTILIZATION)
    return lines(
        "Share in use over time",
        f"The {SHOWN} resources that are fullest at the end.",
        [over_time(share.also(aggregate("topk", (), SHOWN, _at_end(RESOURCE_UTILIZATION)), on=_KEY), _LEGEND)],
        "percentunit",
        low=0,
        high=1,
        width=16,
    )


def _at_end(metric: Metric, by: tuple[str, ...] = _KEY) -> Expression:
    return aggregate("max", by, series(metric, *_WHERE).when(at="end()"))


def _processes() -> Panel:
    units = (*_EACH, UNIT.name)
    living = _now(RESOURCE_UTILIZATION, _EACH).also(_at_end(RESOURCE_UTILIZATION, _EACH), on=_EACH)
    return table(
        "What each process has in use now",
        "Of processes that live; other units than bytes are the caller's.",
        {"resource_type": "Type", "resource_name": "Resource", INSTANCE: "Process", UNIT.name: "Unit"},
        [
            Column("Share", _now(RESOURCE_UTILIZATION, _EACH), "percentunit", decimals=1),
            Column("Share over time", living, trend=True, width=200),
            Column("Bytes used", _now(RESOURCE_USED, _EACH), "bytes"),
            Column("Bytes there are", _now(RESOURCE_ALLOCATED, _EACH), "bytes"),
            Column("Used", _now(RESOURCE_USED_VALUE, units), "none"),
            Column("There is", _now(RESOURCE_ALLOCATED_VALUE, units), "none"),
        ],
        none="no process reports any",
        sort="Share",
        height=11,
        interval="5m",
    )
