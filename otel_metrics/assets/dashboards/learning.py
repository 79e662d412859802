"""How well learning goes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import NAMES, Column, counts, heat, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import NOW, SHOWN, added, chosen, in_each_step, most_of, only, whole
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
_WHERE: Final = chosen(LEARNING_TYPE)


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = values.selector(LEARNING_ACCURACY)
    return Dashboard(
        uids.LEARNING,
        "otel_metrics / Learning",
        "Does it get better? Of what record_learning_effectiveness and record_learning_metric recorded. No alert judges it.",
        (FEATURES, Variable(LEARNING_TYPE.name, "Type", selector)),
        (
            Section("", (*_tiles(values), _types(values))),
            Section("Over time", _curves(values)),
            Section("Details", _details(values), folded=True),
        ),
    )


def _period(values: Values, metric: Metric, by: tuple[str, ...] = _KEY) -> Expression:
    return values.of(metric, values.period, by, _WHERE).average()


def _tiles(values: Values) -> tuple[Panel, ...]:
    return (
        stat(
            "Lowest accuracy in this period",
            "Mean of the feature and type with the lowest one.",
            aggregate("bottomk", (), 1, _period(values, LEARNING_ACCURACY)),
            "percentunit",
            name=_LEGEND,
            decimals=1,
            width=8,
        ),
        stat(
            "Lowest rate of improvement in this period",
            "Mean of the feature and type with the lowest one: below 0 it got worse.",
            aggregate("bottomk", (), 1, _period(values, LEARNING_IMPROVEMENT) - 1),
            "percentunit",
            name=_LEGEND,
            decimals=1,
            width=8,
        ),
        stat(
            "Samples learnt from in this period",
            "Exact.",
            added(LEARNING_SAMPLES, values.period, (), _WHERE),
            width=8,
        ),
    )


def _types(values: Values) -> Panel:
    now = values.of(LEARNING_ACCURACY, NOW, _KEY, _WHERE).average()
    return table(
        "Learning in this period, by feature and type",
        "Counts and averages are exact. Confidence far above accuracy is misplaced.",
        {"feature": "Feature", "learning_type": "Type"},
        [
            Column("Accuracy", _period(values, LEARNING_ACCURACY), "percentunit", decimals=1),
            Column("Accuracy over time", now, trend=True, width=200),
            Column("Confidence", _period(values, LEARNING_CONFIDENCE), "percentunit", decimals=1),
            Column("Improvement", _period(values, LEARNING_IMPROVEMENT) - 1, "percentunit", decimals=1),
            Column("Results", values.of(LEARNING_ACCURACY, values.period, _KEY, _WHERE).count()),
            Column("Samples", added(LEARNING_SAMPLES, values.period, _KEY, _WHERE)),
        ],
        menu=feature_menu(uids.LEARNING),
        widths=NAMES,
        sort="Accuracy",
        ascending=True,
        interval="10m",
    )


def _curves(values: Values) -> tuple[Panel, ...]:
    least = values.of(LEARNING_ACCURACY, whole, _KEY, _WHERE).average()

    def curve(title: str, description: str, metric: Metric, less: float = 0) -> Panel:
        mean = only(values.of(metric, NOW, _KEY, _WHERE).average(), least, _KEY, best="bottomk")
        query = over_time(mean - less if less else mean, _LEGEND)
        if less:
            return lines(title, description, [query], "percentunit", interval="10m")
        return lines(title, description, [query], "percentunit", soft_low=0.5, high=1, interval="10m")

    panels = (
        curve(
            "Accuracy",
            f"Mean of ten minutes. Curves are the {SHOWN} types with the lowest accuracy in the period.",
            LEARNING_ACCURACY,
        ),
        curve("Confidence", "Mean of ten minutes: far above the accuracy it is misplaced.", LEARNING_CONFIDENCE),
        curve("Rate of improvement", "Mean of ten minutes: above 0 it got better.", LEARNING_IMPROVEMENT, 1),
    )
    # The names of types are long.
    return tuple(replace(panel, height=9) for panel in panels)


def _details(values: Values) -> tuple[Panel, ...]:
    other = values.signed_average(LEARNING_VALUE, NOW, (FEATURE.name, METRIC_NAME.name))
    return (
        counts(
            "Samples learnt from, per hour",
            f"The {SHOWN} types with most samples.",
            [over_time(most_of(LEARNING_SAMPLES, in_each_step, _KEY, _WHERE), _LEGEND)],
            interval="1h",
        ),
        heat(
            "Results by their accuracy",
            "How many results per second were so accurate.",
            over_time(values.distribution(LEARNING_ACCURACY, _WHERE)),
            "percentunit",
            native=values.native,
            width=8,
            interval="10m",
        ),
        lines(
            "Other learning metrics",
            "Mean of what record_learning_metric of the basic collector recorded, by name; may be below zero.",
            [over_time(other, "{{feature}} {{metric_name}}")],
            "none",
            interval="10m",
        ),
    )
