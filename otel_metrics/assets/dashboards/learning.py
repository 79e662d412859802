"""How well learning goes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.alerts import alert_table
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import (
    NAMES,
    NONE_SO_FAR,
    WHEN_OVER,
    Column,
    counts,
    heat,
    lines,
    over_time,
    stat,
    table,
)
from otel_metrics.assets.dashboards.queries import (
    PERIOD,
    SHOWN,
    STEP,
    added,
    at_last,
    average,
    bars,
    chosen,
    measured,
    most,
    only,
    recorded,
)
from otel_metrics.assets.recording import ACCURACY_1H
from otel_metrics.catalogue import (
    FEATURE,
    LEARNING_ACCURACY,
    LEARNING_CONFIDENCE,
    LEARNING_IMPROVEMENT,
    LEARNING_SAMPLES,
    LEARNING_TYPE,
    LEARNING_VALUE,
    METRIC_NAME,
)
from otel_metrics.promql import aggregate

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.catalogue import Metric
    from otel_metrics.promql import Expression

_KEY: Final = (FEATURE.name, LEARNING_TYPE.name)
_LEGEND: Final = "{{feature}} {{learning_type}}"
_ALERTS: Final = "FeatureLearning.+"
_WHERE: Final = chosen(LEARNING_TYPE)


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = values.selector(LEARNING_ACCURACY)
    return Dashboard(
        uids.LEARNING,
        "otel_metrics / Learning",
        "Does it get better? Of what record_learning_effectiveness and record_learning_metric recorded.",
        (FEATURES, Variable(LEARNING_TYPE.name, "Type", selector)),
        (
            Section("", (*_tiles(), _types())),
            Section("Over time", _curves()),
            Section("Alerts", (alert_table(values.scope, _ALERTS, width=24, height=6, name=260),)),
            Section("Details", _details(values), folded=True),
        ),
        alerts=_ALERTS,
    )


def _period(metric: Metric) -> Expression:
    return average(metric, PERIOD, _KEY, _WHERE)


def _tiles() -> tuple[Panel, ...]:
    return (
        stat(
            "Lowest accuracy in this period",
            "Mean of the feature and type with the lowest one.",
            aggregate("bottomk", (), 1, _period(LEARNING_ACCURACY)),
            "percentunit",
            name=_LEGEND,
            none=NONE_SO_FAR,
            decimals=1,
            width=8,
        ),
        stat(
            "Lowest rate of improvement in this period",
            "Mean of the feature and type with the lowest one: below 0 it got worse.",
            aggregate("bottomk", (), 1, _period(LEARNING_IMPROVEMENT) - 1),
            "percentunit",
            name=_LEGEND,
            none=NONE_SO_FAR,
            decimals=1,
            width=8,
        ),
        stat(
            "Samples learnt from in this period",
            f"Exact. {WHEN_OVER}",
            added(LEARNING_SAMPLES, PERIOD, (), _WHERE),
            none=NONE_SO_FAR,
            width=8,
        ),
    )


def _types() -> Panel:
    now = average(LEARNING_ACCURACY, STEP, _KEY, _WHERE)
    return table(
        "Learning in this period, by feature and type",
        "Counts and averages are exact. Confidence far above accuracy is misplaced.",
        {"feature": "Feature", "learning_type": "Type"},
        [
            Column("Accuracy", _period(LEARNING_ACCURACY), "percentunit", decimals=1),
            Column("Accuracy over time", now, trend=True, width=200, more=(("min", 0.5), ("max", 1))),
            Column("Confidence", _period(LEARNING_CONFIDENCE), "percentunit", decimals=1),
            Column("Improvement", _period(LEARNING_IMPROVEMENT) - 1, "percentunit", decimals=1),
            Column("Results", measured(LEARNING_ACCURACY, PERIOD, _KEY, _WHERE)),
            Column("Samples", added(LEARNING_SAMPLES, PERIOD, _KEY, _WHERE)),
        ],
        menu=feature_menu(uids.LEARNING),
        widths=NAMES,
        sort="Accuracy",
        ascending=True,
        interval="15m",
    )


def _curves() -> tuple[Panel, ...]:
    latest = at_last(recorded(ACCURACY_1H, _WHERE))

    def curve(title: str, description: str, metric: Metric, less: float = 0) -> Panel:
        mean = only(average(metric, STEP, _KEY, _WHERE), latest, best="bottomk")
        query = over_time(mean - less if less else mean, _LEGEND)
        if less:
            return lines(title, description, [query], "percentunit", interval="15m")
        return lines(title, description, [query], "percentunit", soft_low=0.5, high=1, interval="15m")

    panels = (
        curve(
            "Average accuracy, per quarter of an hour",
            f"Curves are the {SHOWN} types whose last hour was least accurate.",
            LEARNING_ACCURACY,
        ),
        curve(
            "Average confidence, per quarter of an hour", "Far above the accuracy it is misplaced.", LEARNING_CONFIDENCE
        ),
        curve("Average improvement, per quarter of an hour", "Above 0 it got better.", LEARNING_IMPROVEMENT, 1),
    )
    # The names of types are long.
    return tuple(replace(panel, height=9) for panel in panels)


def _details(values: Values) -> tuple[Panel, ...]:
    other = average(LEARNING_VALUE, STEP, (FEATURE.name, METRIC_NAME.name))
    return (
        counts(
            "Samples learnt from, per hour",
            f"The {SHOWN} types with most samples.",
            [over_time(most(bars(LEARNING_SAMPLES, _KEY, _WHERE), LEARNING_SAMPLES, _KEY, _WHERE), _LEGEND)],
            interval="1h",
        ),
        heat(
            "Results by their accuracy",
            "How many results of each hour were so accurate.",
            over_time(values.distribution(LEARNING_ACCURACY, _WHERE)),
            "percentunit",
            native=values.native,
            width=8,
            interval="1h",
        ),
        lines(
            "Other learning metrics",
            "Mean of what record_learning_metric of the basic collector recorded, by name; may be below zero.",
            [over_time(other, "{{feature}} {{metric_name}}")],
            "none",
            interval="15m",
        ),
    )
