"""Scores of users: what ``get_satisfaction_metrics`` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.model import Dashboard, Section, address, label_variable, variables
from otel_metrics.assets.dashboards.panels import Column, below, heat, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import NOW, added, chosen, recorded, satisfaction_rate
from otel_metrics.assets.recording import SATISFACTION_1H
from otel_metrics.catalogue import FEATURE, SATISFACTION_RESPONSES, SATISFACTION_SCORE, SATISFACTION_TYPE

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.queries import Values

_KEY = (FEATURE.name, SATISFACTION_TYPE.name)
_LEGEND = "{{feature}} {{satisfaction_type}}"
_WHERE = chosen(SATISFACTION_TYPE)
_LOW = below(thresholds.SATISFACTION.bound)


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    period = values.of(SATISFACTION_SCORE, values.period, (), _WHERE)
    each = values.of(SATISFACTION_SCORE, values.period, _KEY, _WHERE)
    now = values.of(SATISFACTION_SCORE, NOW, _KEY, _WHERE)
    selector = values.selector(SATISFACTION_SCORE)
    bound = f"{thresholds.SATISFACTION.bound:.0%}"
    return Dashboard(
        uids.SATISFACTION,
        "otel_metrics / Satisfaction",
        "What record_satisfaction recorded; scores of any scale are shown from 0 % to 100 %.",
        variables(label_variable(SATISFACTION_TYPE.name, SATISFACTION_TYPE.name, selector, "Type")),
        (
            Section(
                "",
                (
                    stat(
                        "Average score",
                        f"Mean of all scores in the period. Red below {bound}.",
                        period.average(),
                        "percentunit",
                        _LOW,
                        width=6,
                    ),
                    stat(
                        "Satisfied",
                        "Share of scores at or above the threshold in force when they were recorded.",
                        satisfaction_rate(values.period, (), _WHERE),
                        "percentunit",
                        _LOW,
                        width=6,
                    ),
                    stat("Median score", "Estimated from buckets.", period.quantile(0.5), "percentunit", _LOW, width=6),
                    stat("Responses", "How many scores were given in the period.", period.count(), width=6),
                ),
            ),
            Section(
                "Over time",
                (
                    lines(
                        "Average of the last hour, by feature",
                        f"What the alert FeatureSatisfactionLow looks at; the dashed line is its bound, {bound}.",
                        [over_time(recorded(SATISFACTION_1H), "{{feature}}")],
                        "percentunit",
                        steps=_LOW,
                        low=0,
                        high=1,
                    ),
                    lines(
                        "Average score, by type",
                        "Mean of the scores of the moment.",
                        [over_time(now.average(), _LEGEND)],
                        "percentunit",
                        low=0,
                        high=1,
                    ),
                    heat(
                        "Distribution of scores",
                        "How many scores per second fell between two bounds: two bands are two opinions, which an average hides.",
                        over_time(values.of(SATISFACTION_SCORE, NOW, (), _WHERE).buckets()),
                        "percentunit",
                        native=values.native,
                    ),
                    lines(
                        "Responses",
                        "Scores per second: few of them say little.",
                        [over_time(added(SATISFACTION_RESPONSES, NOW, _KEY, _WHERE), _LEGEND)],
                        "ops",
                        stacked=True,
                        low=0,
                    ),
                ),
            ),
            Section(
                "In this period",
                (
                    table(
                        "By feature and type",
                        "Counts, averages and shares are exact, percentiles estimated from buckets.",
                        {"feature": "Feature", "satisfaction_type": "Type"},
                        [
                            Column("Responses", each.count(), decimals=0),
                            Column("Average", each.average(), "percentunit", _LOW),
                            Column("Satisfied", satisfaction_rate(values.period, _KEY, _WHERE), "percentunit", _LOW),
                            Column("p50", each.quantile(0.5), "percentunit", _LOW),
                            Column("p95", each.quantile(0.95), "percentunit", _LOW),
                        ],
                        links={"Feature": address(uids.SATISFACTION, "var-feature=${__value.raw:percentencode}")},
                    ),
                ),
            ),
        ),
    )
