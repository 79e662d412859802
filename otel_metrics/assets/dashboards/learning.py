"""How well learning goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.model import Dashboard, Section, address, label_variable, variables
from otel_metrics.assets.dashboards.panels import Column, heat, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import NOW, added, chosen
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

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.catalogue import Metric
    from otel_metrics.promql import Expression

_KEY = (FEATURE.name, LEARNING_TYPE.name)
_LEGEND = "{{feature}} {{learning_type}}"
_WHERE = chosen(LEARNING_TYPE)


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""

    def average(metric: Metric, by: tuple[str, ...] = ()) -> Expression:
        return values.of(metric, values.period, by, _WHERE).average()

    def curve(title: str, description: str, metric: Metric) -> Panel:
        query = values.of(metric, NOW, _KEY, _WHERE).average()
        return lines(title, description, [over_time(query, _LEGEND)], "percentunit", low=0, high=1)

    accuracies = values.of(LEARNING_ACCURACY, NOW, (), _WHERE)
    each = values.of(LEARNING_ACCURACY, values.period, _KEY, _WHERE)
    improvement = values.of(LEARNING_IMPROVEMENT, NOW, _KEY, _WHERE).average()
    selector = values.selector(LEARNING_ACCURACY)
    return Dashboard(
        uids.LEARNING,
        "otel_metrics / Learning",
        "What record_learning_effectiveness and the basic collector's record_learning_metric recorded.",
        variables(label_variable(LEARNING_TYPE.name, LEARNING_TYPE.name, selector, "Type")),
        (
            Section(
                "",
                (
                    stat(
                        "Accuracy",
                        "Mean accuracy in the period.",
                        average(LEARNING_ACCURACY),
                        "percentunit",
                        decimals=1,
                        width=6,
                    ),
                    stat(
                        "Confidence",
                        "Mean confidence in the period.",
                        average(LEARNING_CONFIDENCE),
                        "percentunit",
                        decimals=1,
                        width=6,
                    ),
                    stat(
                        "Improvement rate",
                        "Mean improvement rate in the period: above 0 it got better.",
                        average(LEARNING_IMPROVEMENT) - 1,
                        "percentunit",
                        ((None, "orange"), (0, "green")),
                        decimals=1,
                        width=6,
                    ),
                    stat(
                        "Samples",
                        "Samples learnt from in the period.",
                        added(LEARNING_SAMPLES, values.period, (), _WHERE),
                        width=6,
                    ),
                ),
            ),
            Section(
                "Over time",
                (
                    curve("Accuracy", "Mean accuracy by type of learning.", LEARNING_ACCURACY),
                    curve(
                        "Confidence",
                        "Mean confidence by type of learning: far above the accuracy it is misplaced.",
                        LEARNING_CONFIDENCE,
                    ),
                    lines(
                        "Improvement rate",
                        "Mean improvement rate: above 0 it got better.",
                        [over_time(improvement - 1, _LEGEND)],
                        "percentunit",
                    ),
                    lines(
                        "Samples",
                        "Samples learnt from per second.",
                        [over_time(added(LEARNING_SAMPLES, NOW, _KEY, _WHERE), _LEGEND)],
                        "ops",
                        stacked=True,
                        low=0,
                    ),
                    heat(
                        "Distribution of accuracies",
                        "How many results per second were so accurate.",
                        over_time(accuracies.buckets()),
                        "percentunit",
                        native=values.native,
                    ),
                    lines(
                        "Other learning metrics",
                        "Mean of what record_learning_metric of the basic collector recorded, by name; may be below zero.",
                        [
                            over_time(
                                values.signed_average(LEARNING_VALUE, NOW, (FEATURE.name, METRIC_NAME.name)),
                                "{{feature}} {{metric_name}}",
                            )
                        ],
                    ),
                ),
            ),
            Section(
                "In this period",
                (
                    table(
                        "By feature and type",
                        "Counts and averages are exact, percentiles estimated from buckets.",
                        {"feature": "Feature", "learning_type": "Type"},
                        [
                            Column("Results", each.count(), decimals=0),
                            Column("Accuracy", each.average(), "percentunit", decimals=1),
                            Column("p50", each.quantile(0.5), "percentunit", decimals=1),
                            Column("Confidence", average(LEARNING_CONFIDENCE, _KEY), "percentunit", decimals=1),
                            Column(
                                "Improvement rate",
                                average(LEARNING_IMPROVEMENT, _KEY) - 1,
                                "percentunit",
                                decimals=1,
                            ),
                            Column("Samples", added(LEARNING_SAMPLES, values.period, _KEY, _WHERE), decimals=0),
                        ],
                        links={"Feature": address(uids.LEARNING, "var-feature=${__value.raw:percentencode}")},
                    ),
                ),
            ),
        ),
    )
