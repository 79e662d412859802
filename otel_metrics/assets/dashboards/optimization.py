"""What optimizations changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.alerts import alert_table
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import NONE_SO_FAR, WHEN_OVER, Column, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import PERIOD, STEP, average, chosen, latest, measured, most_averages
from otel_metrics.catalogue import (
    FEATURE,
    IMPACT_CATEGORY,
    METRIC_NAME,
    OPTIMIZATION_AFTER,
    OPTIMIZATION_BEFORE,
    OPTIMIZATION_CHANGE,
    OPTIMIZATION_USER_IMPACT,
    OPTIMIZATION_VALUE,
)

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values

_KEY: Final = (FEATURE.name, IMPACT_CATEGORY.name)
_LEGEND: Final = "{{feature}} {{impact_category}}"
_ALERTS: Final = "FeatureOptimization.+"
_WHERE: Final = chosen(IMPACT_CATEGORY)


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = values.selector(OPTIMIZATION_CHANGE)
    return Dashboard(
        uids.OPTIMIZATION,
        "otel_metrics / Optimization",
        "What did a change bring? Of what record_optimization_impact and the basic collector recorded. Colours judge "
        "nothing: whether less is better depends on what was measured; FeatureOptimizationWorse knows it of four categories.",
        (FEATURES, Variable(IMPACT_CATEGORY.name, "Category", selector)),
        (
            Section("", (*_tiles(), _each(), _categories())),
            Section("Over time", _curves()),
            Section("Alerts", (alert_table(values.scope, _ALERTS, width=24, height=6, name=260),)),
        ),
        alerts=_ALERTS,
    )


def _tiles() -> tuple[Panel, ...]:
    return (
        stat(
            "Optimizations measured in this period",
            f"Exact. {WHEN_OVER}",
            measured(OPTIMIZATION_CHANGE, PERIOD, (), _WHERE),
            none=NONE_SO_FAR,
            width=12,
        ),
        stat(
            "Average impact on users in this period",
            "Mean of the scores from 0 % to 100 %, exact.",
            average(OPTIMIZATION_USER_IMPACT, PERIOD, (), _WHERE),
            "percentunit",
            none="no score",
            decimals=1,
            width=12,
        ),
    )


def _each() -> Panel:
    before, after = (latest(each, _WHERE) for each in (OPTIMIZATION_BEFORE, OPTIMIZATION_AFTER))
    return table(
        "Each optimization, before and after",
        "The last measurement of each, whenever it was, of processes that ran in this period; in the unit that the caller recorded.",
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


def _categories() -> Panel:
    impact = average(OPTIMIZATION_USER_IMPACT, PERIOD, _KEY, _WHERE)
    return table(
        "Optimizations in this period, by feature and category",
        "Counts and averages are exact.",
        {"feature": "Feature", "impact_category": "Category"},
        [
            Column("Count", measured(OPTIMIZATION_CHANGE, PERIOD, _KEY, _WHERE), width=80),
            Column(
                "Change", average(OPTIMIZATION_CHANGE, PERIOD, _KEY, _WHERE) - 1, "percentunit", decimals=1, width=76
            ),
            Column("Impact on users", impact, "percentunit", decimals=1, width=90),
        ],
        menu=feature_menu(uids.OPTIMIZATION),
        width=11,
    )


def _curves() -> tuple[Panel, ...]:
    other = average(OPTIMIZATION_VALUE, STEP, (FEATURE.name, METRIC_NAME.name))
    change = most_averages(OPTIMIZATION_CHANGE, _KEY, _WHERE) - 1
    impact = most_averages(OPTIMIZATION_USER_IMPACT, _KEY, _WHERE)
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
