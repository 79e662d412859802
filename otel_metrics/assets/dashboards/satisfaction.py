"""Scores of users: what ``get_satisfaction_metrics`` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import alert_table
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import Column, counts, heat, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import (
    NOW,
    SHOWN,
    UNLOVED,
    added,
    chosen,
    hour_of_satisfaction,
    in_each_step,
    most_of,
    recorded,
    satisfaction_rate,
    worst,
)
from otel_metrics.assets.recording import SATISFACTION_1H
from otel_metrics.catalogue import FEATURE, SATISFACTION_RESPONSES, SATISFACTION_SCORE, SATISFACTION_TYPE
from otel_metrics.promql import aggregate

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values

_KEY: Final = (FEATURE.name, SATISFACTION_TYPE.name)
_LEGEND: Final = "{{feature}} {{satisfaction_type}}"
_WHERE: Final = chosen(SATISFACTION_TYPE)
_ALERT: Final = "FeatureSatisfactionLow"


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = values.selector(SATISFACTION_SCORE)
    return Dashboard(
        uids.SATISFACTION,
        "otel_metrics / Satisfaction",
        "Are users content, and how many of them said so? Scores of any scale are shown from 0 % to 100 %.",
        (FEATURES, Variable(SATISFACTION_TYPE.name, "Type", selector)),
        (
            Section("", (*_tiles(values), _types(values), alert_table(values.scope, _ALERT))),
            Section("Over time", _curves(values)),
        ),
        alerts=_ALERT,
    )


def _tiles(values: Values) -> tuple[Panel, ...]:
    satisfaction = thresholds.SATISFACTION
    return (
        stat(
            "Lowest satisfaction, last hour",
            f"Average of the worst feature with {satisfaction.events} responses, exact. Red below {satisfaction.bound:.0%}, "
            f"where {_ALERT} fires.",
            aggregate("bottomk", (), 1, hour_of_satisfaction()),
            "percentunit",
            bound=UNLOVED,
            name="{{feature}}",
            none="few or none",
            decimals=1,
            width=8,
        ),
        stat(
            "Responses in this period",
            "How many scores were given, exact: few of them say little.",
            added(SATISFACTION_RESPONSES, values.period, (), _WHERE),
            none="no responses",
            width=8,
        ),
        stat(
            "Satisfied in this period",
            "Share of the scores at or above the threshold in force when they were recorded, exact.",
            satisfaction_rate(values.period, (), _WHERE),
            "percentunit",
            none="no responses",
            decimals=1,
            width=8,
        ),
    )


def _types(values: Values) -> Panel:
    each = values.of(SATISFACTION_SCORE, values.period, _KEY, _WHERE)
    return table(
        "Scores in this period, by feature and type",
        "Counts, averages and shares are exact. One of ten scores was below p10, which is estimated from buckets.",
        {"feature": "Feature", "satisfaction_type": "Type"},
        [
            Column("Satisfied", satisfaction_rate(values.period, _KEY, _WHERE), "percentunit", decimals=1, width=108),
            Column("Average", each.average(), "percentunit", decimals=1, width=80),
            Column("p10", each.quantile(0.1), "percentunit", decimals=1, width=72),
            Column("Responses", each.count(), width=92),
        ],
        menu=feature_menu(uids.SATISFACTION),
        none="no responses in this period",
        sort="Satisfied",
        ascending=True,
        width=15,
    )


def _curves(values: Values) -> tuple[Panel, ...]:
    return (
        lines(
            "Average satisfaction of the last hour",
            f"The {SHOWN} least satisfying features, exact. The red line is the bound of {_ALERT}.",
            [over_time(worst(recorded(SATISFACTION_1H), best="bottomk"), "{{feature}}")],
            "percentunit",
            bound=UNLOVED,
            soft_low=0.5,
            high=1,
            width=12,
        ),
        counts(
            "Responses by feature and type, per hour",
            f"The {SHOWN} with most responses in the period: few of them say little.",
            [over_time(most_of(SATISFACTION_RESPONSES, in_each_step, _KEY, _WHERE), _LEGEND)],
            width=12,
            interval="1h",
        ),
        heat(
            "Scores by their height",
            "How many per second fell between two bounds: two bands are two opinions, which an average hides.",
            over_time(values.distribution(SATISFACTION_SCORE, _WHERE)),
            "percentunit",
            native=values.native,
            interval="10m",
        ),
        lines(
            "Average score by feature and type, per half hour",
            f"Mean of the scores of each half hour, the {SHOWN} with most of them in the period.",
            [over_time(values.most(SATISFACTION_SCORE, NOW, _KEY, _WHERE), _LEGEND)],
            "percentunit",
            soft_low=0.5,
            high=1,
            width=12,
            interval="30m",
        ),
    )
