"""Scores of users: what ``get_satisfaction_metrics`` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import alert_table
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import (
    NONE_SO_FAR,
    OF_FEATURE,
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
    UNLOVED,
    added,
    average,
    bars,
    chosen,
    hour_of_satisfaction,
    measured,
    most,
    most_averages,
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
_ALERTS: Final = "FeatureSatisfaction.+"


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = values.selector(SATISFACTION_SCORE)
    return Dashboard(
        uids.SATISFACTION,
        "otel_metrics / Satisfaction",
        "Are users content, and how many of them said so? Scores of any scale are shown from 0 % to 100 %.",
        (FEATURES, Variable(SATISFACTION_TYPE.name, "Type", selector)),
        (
            Section("", (*_tiles(), _types(values), alert_table(values.scope, _ALERTS))),
            Section("Over time", _curves(values)),
        ),
        alerts=_ALERTS,
    )


def _tiles() -> tuple[Panel, ...]:
    satisfaction = thresholds.SATISFACTION
    return (
        stat(
            "Lowest satisfaction, last hour",
            f"Average of the worst feature with {satisfaction.events} responses, exact. Amber below {satisfaction.bound:.0%}, "
            f"where {_ALERT} fires.",
            aggregate("bottomk", (), 1, hour_of_satisfaction()),
            "percentunit",
            bound=UNLOVED,
            name=OF_FEATURE,
            none="few or none",
            decimals=1,
            width=8,
        ),
        stat(
            "Responses in this period",
            f"How many scores were given, exact: few of them say little. {WHEN_OVER}",
            added(SATISFACTION_RESPONSES, PERIOD, (), _WHERE),
            none=NONE_SO_FAR,
            width=8,
        ),
        stat(
            "Satisfied in this period",
            "Share of the scores at or above the threshold in force when they were recorded, exact.",
            satisfaction_rate(PERIOD, (), _WHERE),
            "percentunit",
            none=NONE_SO_FAR,
            decimals=1,
            width=8,
        ),
    )


def _types(values: Values) -> Panel:
    return table(
        "Satisfaction in this period, by feature and type",
        "Counts, averages and shares are exact. One of ten scores was below p10, which is estimated from buckets, of full hours.",
        {"feature": "Feature", "satisfaction_type": "Type"},
        [
            Column("Satisfied", satisfaction_rate(PERIOD, _KEY, _WHERE), "percentunit", decimals=1, width=108),
            Column("Average", average(SATISFACTION_SCORE, PERIOD, _KEY, _WHERE), "percentunit", decimals=1, width=80),
            Column("p10", values.quantile(0.1, SATISFACTION_SCORE, _KEY, _WHERE), "percentunit", decimals=1, width=72),
            Column("Responses", measured(SATISFACTION_SCORE, PERIOD, _KEY, _WHERE), width=92),
        ],
        menu=feature_menu(uids.SATISFACTION),
        none="no responses counted in this period so far",
        sort="Satisfied",
        ascending=True,
        width=14,
    )


def _curves(values: Values) -> tuple[Panel, ...]:
    responses = bars(SATISFACTION_RESPONSES, _KEY, _WHERE)
    return (
        lines(
            "Average satisfaction of the last hour",
            f"The {SHOWN} least satisfying features, exact. The amber line is the bound of {_ALERT}.",
            [over_time(worst(recorded(SATISFACTION_1H), best="bottomk"), OF_FEATURE)],
            "percentunit",
            bound=UNLOVED,
            soft_low=0.5,
            high=1,
            width=12,
        ),
        counts(
            "Responses by feature and type, per hour",
            f"The {SHOWN} with most responses in the period: few of them say little.",
            [over_time(most(responses, SATISFACTION_RESPONSES, _KEY, _WHERE), _LEGEND)],
            width=12,
            interval="1h",
        ),
        heat(
            "Scores by their height",
            "How many of each hour fell between two bounds: two bands are two opinions, which an average hides.",
            over_time(values.distribution(SATISFACTION_SCORE, _WHERE)),
            "percentunit",
            native=values.native,
            interval="1h",
        ),
        lines(
            "Average satisfaction by feature and type, per half hour",
            f"Mean of the scores of each half hour, the {SHOWN} with most of them in the period.",
            [over_time(most_averages(SATISFACTION_SCORE, _KEY, _WHERE), _LEGEND)],
            "percentunit",
            soft_low=0.5,
            high=1,
            width=12,
            interval="30m",
        ),
    )
