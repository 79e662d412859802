"""What optimizations changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.model import Dashboard, Section, address, label_variable, variables
from otel_metrics.assets.dashboards.panels import GREEN, ORANGE, RED, Column, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import NOW, chosen, latest
from otel_metrics.catalogue import (
    FEATURE,
    IMPACT_CATEGORY,
    METRIC_NAME,
    OPTIMIZATION_AFTER,
    OPTIMIZATION_BEFORE,
    OPTIMIZATION_CHANGE,
    OPTIMIZATION_ID,
    OPTIMIZATION_USER_IMPACT,
    OPTIMIZATION_VALUE,
)

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.queries import Values

_KEY = (FEATURE.name, IMPACT_CATEGORY.name)
_LEGEND = "{{feature}} {{impact_category}}"
_WHERE = chosen(IMPACT_CATEGORY)
_SHRANK = ((None, GREEN), (0.0, ORANGE))
_IMPACT = ((None, RED), (0.3, ORANGE), (0.6, GREEN))


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    period = values.of(OPTIMIZATION_CHANGE, values.period, (), _WHERE)
    impact = values.of(OPTIMIZATION_USER_IMPACT, values.period, (), _WHERE)
    each = values.of(OPTIMIZATION_CHANGE, values.period, _KEY, _WHERE)
    each_impact = values.of(OPTIMIZATION_USER_IMPACT, values.period, _KEY, _WHERE)
    key = (FEATURE.name, IMPACT_CATEGORY.name, OPTIMIZATION_ID.name)
    before = latest(OPTIMIZATION_BEFORE, key, chosen(FEATURE), _WHERE)
    after = latest(OPTIMIZATION_AFTER, key, chosen(FEATURE), _WHERE)
    selector = values.selector(OPTIMIZATION_CHANGE)
    return Dashboard(
        uids.OPTIMIZATION,
        "otel_metrics / Optimization",
        "What record_optimization_impact and the basic collector recorded: before, after, and what users noticed.",
        variables(label_variable(IMPACT_CATEGORY.name, IMPACT_CATEGORY.name, selector, "Category")),
        (
            Section(
                "",
                (
                    stat("Optimizations", "How many were measured in the period.", period.count(), width=6),
                    stat(
                        "Change",
                        "Mean of after / before - 1: below 0 the measure shrank.",
                        period.average() - 1,
                        "percentunit",
                        _SHRANK,
                        decimals=1,
                        width=6,
                    ),
                    stat(
                        "Median change",
                        "Estimated from buckets.",
                        period.quantile(0.5) - 1,
                        "percentunit",
                        _SHRANK,
                        decimals=1,
                        width=6,
                    ),
                    stat(
                        "Impact on users",
                        "Mean of the scores from 0 to 100 %.",
                        impact.average(),
                        "percentunit",
                        _IMPACT,
                        decimals=1,
                        width=6,
                    ),
                ),
            ),
            Section(
                "Over time",
                (
                    lines(
                        "Change",
                        "Mean of after / before - 1 by category: below 0 the measure shrank.",
                        [over_time(values.of(OPTIMIZATION_CHANGE, NOW, _KEY, _WHERE).average() - 1, _LEGEND)],
                        "percentunit",
                    ),
                    lines(
                        "Impact on users",
                        "Mean score by category.",
                        [over_time(values.of(OPTIMIZATION_USER_IMPACT, NOW, _KEY, _WHERE).average(), _LEGEND)],
                        "percentunit",
                        low=0,
                        high=1,
                    ),
                    lines(
                        "Other optimization metrics",
                        "Mean of what record_optimization_metric of the basic collector recorded, by name; may be below zero.",
                        [
                            over_time(
                                values.signed_average(OPTIMIZATION_VALUE, NOW, (FEATURE.name, METRIC_NAME.name)),
                                "{{feature}} {{metric_name}}",
                            )
                        ],
                        width=24,
                    ),
                ),
            ),
            Section(
                "In this period",
                (
                    table(
                        "By feature and category",
                        "Counts and averages are exact.",
                        {"feature": "Feature", "impact_category": "Category"},
                        [
                            Column("Optimizations", each.count(), decimals=0),
                            Column("Change", each.average() - 1, "percentunit", _SHRANK, decimals=1),
                            Column("Impact on users", each_impact.average(), "percentunit", _IMPACT, decimals=1),
                        ],
                        links={"Feature": address(uids.OPTIMIZATION, "var-feature=${__value.raw:percentencode}")},
                        height=7,
                    ),
                    table(
                        "Each optimization",
                        "The last measurement of each, in the unit that the caller recorded.",
                        {"feature": "Feature", "impact_category": "Category", "optimization_id": "Optimization"},
                        [
                            Column("Before", before),
                            Column("After", after),
                            Column("Change", after / before.differs(0) - 1, "percentunit", _SHRANK, decimals=1),
                        ],
                        sort="Optimization",
                    ),
                ),
            ),
        ),
    )
