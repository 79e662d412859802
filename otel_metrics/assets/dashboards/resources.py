"""What resources are in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.model import Dashboard, Section, label_variable, variables
from otel_metrics.assets.dashboards.panels import Column, above, bars, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import chosen, count, latest, most
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
from otel_metrics.promql import INSTANCE, aggregate, like, series

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.catalogue import (
        Metric,
    )
    from otel_metrics.promql import Expression

_KEY = (RESOURCE_TYPE.name, RESOURCE_NAME.name)
_EACH = (*_KEY, INSTANCE)
_LEGEND = "{{resource_type}} {{resource_name}}"
_WHERE = (chosen(RESOURCE_TYPE), like(INSTANCE, "$instance"))
_FULL = above(thresholds.UTILIZATION[1], warn=thresholds.UTILIZATION[0])


def dashboard(_values: Values) -> Dashboard:
    """Return the dashboard."""

    def now(metric: Metric, by: tuple[str, ...] = _KEY) -> Expression:
        return aggregate("max", by, series(metric, *_WHERE))

    def last(metric: Metric, by: tuple[str, ...] = _EACH) -> Expression:
        return latest(metric, by, *_WHERE)

    utilization = series(RESOURCE_UTILIZATION)
    types = label_variable(RESOURCE_TYPE.name, RESOURCE_TYPE.name, utilization, "Type")
    instances = label_variable("instance", INSTANCE, utilization, "Process")
    return Dashboard(
        uids.RESOURCES,
        "otel_metrics / Resources",
        "What record_resource_utilization recorded. Where several processes report one resource, curves show the fullest.",
        variables(types, instances, hide_feature=True),
        (
            Section(
                "",
                (
                    stat(
                        "Fullest resource",
                        f"The highest utilization at the end of the period. Orange from {thresholds.UTILIZATION[0]:.0%}, "
                        f"red from {thresholds.UTILIZATION[1]:.0%}.",
                        most(last(RESOURCE_UTILIZATION, _KEY)),
                        "percentunit",
                        _FULL,
                        decimals=1,
                        width=8,
                    ),
                    stat(
                        "Resources",
                        "How many resources were reported in the period.",
                        aggregate("count", (), last(RESOURCE_UTILIZATION, _KEY)),
                        width=8,
                    ),
                    stat(
                        "Nearly full",
                        f"Resources above {thresholds.UTILIZATION[0]:.0%}.",
                        count(last(RESOURCE_UTILIZATION, _KEY) > thresholds.UTILIZATION[0]),
                        steps=above(1),
                        width=8,
                    ),
                ),
            ),
            Section(
                "Utilization",
                (
                    bars(
                        "At the end of the period",
                        "Each resource's share in use.",
                        last(RESOURCE_UTILIZATION, _KEY),
                        _LEGEND,
                        "percentunit",
                        _FULL,
                    ),
                    lines(
                        "Over time",
                        "Each resource's share in use.",
                        [over_time(now(RESOURCE_UTILIZATION), _LEGEND)],
                        "percentunit",
                        steps=_FULL,
                        low=0,
                    ),
                    lines(
                        "Used bytes",
                        "What is in use, and how much there is.",
                        [
                            over_time(now(RESOURCE_USED), f"{_LEGEND} used"),
                            over_time(now(RESOURCE_ALLOCATED), f"{_LEGEND} allocated"),
                        ],
                        "bytes",
                        low=0,
                    ),
                    lines(
                        "Used, in other units",
                        "What is in use, and how much there is, in the unit that the caller recorded.",
                        [
                            over_time(now(RESOURCE_USED_VALUE, (*_KEY, UNIT.name)), f"{_LEGEND} used {{{{unit}}}}"),
                            over_time(
                                now(RESOURCE_ALLOCATED_VALUE, (*_KEY, UNIT.name)), f"{_LEGEND} allocated {{{{unit}}}}"
                            ),
                        ],
                        low=0,
                    ),
                ),
            ),
            Section(
                "By process",
                (
                    table(
                        "At the end of the period",
                        "The last value of every process.",
                        {"resource_type": "Type", "resource_name": "Resource", INSTANCE: "Process"},
                        [
                            Column("Utilization", last(RESOURCE_UTILIZATION), "percentunit", _FULL, decimals=1),
                            Column("Used", last(RESOURCE_USED), "bytes"),
                            Column("Allocated", last(RESOURCE_ALLOCATED), "bytes"),
                        ],
                    ),
                ),
            ),
        ),
    )
