"""What optimizations changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import Column, lines, over_time, stat, table
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
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values

_KEY: Final = (FEATURE.name, IMPACT_CATEGORY.name)
_LEGEND: Final = "{{feature}} {{impact_category}}"
_WHERE: Final = chosen(IMPACT_CATEGORY)


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = values.selector(OPTIMIZATION_CHANGE)
    return Dashboard(
        uids.OPTIMIZATION,
        "otel_metrics / Optimization",
        "What did a change bring? Of what record_optimization_impact and the basic collector recorded. Nothing is judged: "
        "whether less is better depends on what was measured.",
        (FEATURES, Variable(IMPACT_CATEGORY.name, "Category", selector)),
        (
            Section("", (*_tiles(values), _each(), _categories(values))),
            Section("Over time", _curves(values)),
        ),
    )


def _tiles(values: Values) -> tuple[Panel, ...]:
    return (
        stat(
            "Optimizations measured in this period",
            "Exact.",
            values.of(OPTIMIZATION_CHANGE, values.period, (), _WHERE).count(),
            none="none",
            width=12,
        ),
        stat(
            "Average impact on users in this period",
            "Mean of the scores from 0 % to 100 %, exact.",
            values.of(OPTIMIZATION_USER_IMPACT, values.period, (), _WHERE).average(),
            "percentunit",
            none="no score",
            decimals=1,
            width=12,
        ),
    )


def _each() -> Panel:
    key = (*_KEY, OPTIMIZATION_ID.name)
    before = latest(OPTIMIZATION_BEFORE, key, chosen(FEATURE), _WHERE)
    after = latest(OPTIMIZATION_AFTER, key, chosen(FEATURE), _WHERE)
    return table(
        "Each optimization, before and after",
        "The last measurement of each in this period, in the unit that the caller recorded.",
        {"feature": "Feature", "impact_category": "Category", "optimization_id": "Optimization"},
        [
            Column("Before", before, "none", width=72),
            Column("After", after, "none", width=72),
            Column("Change", after / before.differs(0) - 1, "percentunit", decimals=1, width=72),
        ],
        menu=feature_menu(uids.OPTIMIZATION),
        sort="Optimization",
        width=13,
    )


def _categories(values: Values) -> Panel:
    each = values.of(OPTIMIZATION_CHANGE, values.period, _KEY, _WHERE)
    impact = values.of(OPTIMIZATION_USER_IMPACT, values.period, _KEY, _WHERE).average()
    return table(
        "Optimizations in this period, by feature and category",
        "Counts and averages are exact.",
        {"feature": "Feature", "impact_category": "Category"},
        [
            Column("Count", each.count(), width=60),
            Column("Change", each.average() - 1, "percentunit", decimals=1, width=76),
            Column("Impact on users", impact, "percentunit", decimals=1, width=90),
        ],
        menu=feature_menu(uids.OPTIMIZATION),
        width=11,
    )


def _curves(values: Values) -> tuple[Panel, ...]:
    other = values.signed_average(OPTIMIZATION_VALUE, NOW, (FEATURE.name, METRIC_NAME.name))
    change = values.most(OPTIMIZATION_CHANGE, NOW, _KEY, _WHERE) - 1
    impact = values.most(OPTIMIZATION_USER_IMPACT, NOW, _KEY, _WHERE)
    return (
        lines(
            "Average change, per half hour",
            "Mean of after / before - 1 by category: below 0 the measure shrank.",
            [over_time(change, _LEGEND)],
            "percentunit",
            interval="30m",
        ),
        lines(
            "Average impact on users, per half hour",
            "Mean score by category.",
            [over_time(impact, _LEGEND)],
            "percentunit",
            low=0,
            high=1,
            interval="30m",
        ),
        lines(
            "Other optimization metrics, per half hour",
            "Mean of what record_optimization_metric of the basic collector recorded, by name; may be below zero.",
            [over_time(other, "{{feature}} {{metric_name}}")],
            "none",
            interval="30m",
        ),
    )
