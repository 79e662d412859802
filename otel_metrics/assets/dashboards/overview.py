"""For somebody who has just been woken up: who is in trouble, since when, what fires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import FIRING, alert_table, firing_count
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section
from otel_metrics.assets.dashboards.panels import Column, counts, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import (
    MANY,
    NOW,
    RESPONSE_TIMES,
    SHOWN,
    SLOW,
    UNLOVED,
    chosen,
    hour_of_errors,
    hour_of_response_times,
    hour_of_satisfaction,
    in_each_step,
    only,
    per_minute,
    recorded,
    success,
    whole,
    worst,
)
from otel_metrics.assets.recording import DURATION_1H, ERRORS_5M, SATISFACTION_1H, USES_5M
from otel_metrics.catalogue import (
    ERRORS,
    FEATURE,
    LEARNING_ACCURACY,
    RESOURCE_NAME,
    RESOURCE_TYPE,
    RESOURCE_UTILIZATION,
    SEVERITY,
)
from otel_metrics.promql import aggregate, last_over, series, sum_by

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.promql import Expression

BY: Final = (FEATURE.name,)
NAME: Final = "{{feature}}"
MENU: Final = (
    ("Everything about it", uids.FEATURE),
    ("Errors", uids.ERRORS),
    ("Usage", uids.USAGE),
    ("Performance", uids.PERFORMANCE),
    ("Only this one", uids.OVERVIEW),
)
"""Where the name of a feature leads."""


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        uids.OVERVIEW,
        "otel_metrics / Overview",
        "Who is in trouble, since when, what fires? Tiles and red cells are judged by the alerts, over the last hour.",
        (FEATURES,),
        (
            Section("", (*tiles(), _features(), alert_table(values.scope))),
            Section("Rate, errors, duration", _curves()),
            Section("Users, learning, resources", _rest(values)),
        ),
        refresh="1m",
        alerts="Feature.+",
    )


def tiles() -> tuple[Panel, ...]:
    """Return the tiles: the worst feature of the last hour by each measure, as the alerts judge it."""
    errors, satisfaction, slow = thresholds.ERRORS, thresholds.SATISFACTION, thresholds.RESPONSE_TIME
    return (
        firing_count().look(uids.TELEMETRY),
        stat(
            "Most errors, 1 h",
            f"Of the worst feature, exact. Red above {errors.bound:g}, where FeatureErrorsHigh fires.",
            aggregate("topk", (), 1, hour_of_errors()),
            bound=MANY,
            name=NAME,
            none="no feature known",
        ).look(uids.ERRORS),
        stat(
            "Slowest, 1 h",
            f"Average response time of the worst feature with {slow.events} of them. Red above {slow.bound:g} s, where "
            "FeatureResponseTimeHigh fires.",
            aggregate("topk", (), 1, hour_of_response_times()),
            "s",
            bound=SLOW,
            name=NAME,
            none="few or none",
        ).look(uids.PERFORMANCE),
        stat(
            "Lowest score, 1 h",
            f"Average satisfaction of the worst feature with {satisfaction.events} responses. Red below {satisfaction.bound:.0%}, where "
            "FeatureSatisfactionLow fires.",
            aggregate("bottomk", (), 1, hour_of_satisfaction()),
            "percentunit",
            bound=UNLOVED,
            name=NAME,
            none="few or none",
            decimals=1,
        ).look(uids.SATISFACTION),
        stat(
            "Success, 1 h",
            "Of the worst feature, of the uses whose outcome is known. No alert judges it.",
            aggregate("bottomk", (), 1, success(BY)),
            "percentunit",
            name=NAME,
            none="no uses",
            decimals=1,
        ).look(uids.USAGE),
        stat(
            "Uses a minute",
            "Of all chosen features, over the last five minutes.",
            per_minute(sum_by((), recorded(USES_5M))),
            "none",
            none="no uses",
            decimals=1,
        ).look(uids.USAGE),
    )


def _features() -> Panel:
    def each(expression: Expression) -> Expression:
        return aggregate("max", BY, expression)

    return table(
        "Features, the worst first",
        "Of the last hour. Red is what an alert calls too much; too few values for a judgement are shown as –. "
        "Errors are exact, success follows from rates. The name leads to more.",
        {FEATURE.name: "Feature"},
        [
            Column("Alerts", aggregate("count", BY, FIRING), width=68),
            Column("Errors", each(hour_of_errors()), bound=MANY, width=68),
            Column("Errors, trend", sum_by(BY, recorded(ERRORS_5M)), trend=True, color="#F2495C", width=76),
            Column("Response", each(hour_of_response_times()), "s", SLOW, width=80),
            Column("Satisfaction", each(hour_of_satisfaction()), "percentunit", UNLOVED, 1, width=94),
            Column("Success", success(BY), "percentunit", decimals=1, width=76),
            Column("Uses/min", per_minute(sum_by(BY, recorded(USES_5M))), "none", decimals=1, width=76),
        ],
        menu=MENU,
        none="no feature has recorded anything",
        sort=("Alerts", "Errors"),
        width=15,
        interval="5m",
    )


_RESOURCE: Final = (RESOURCE_TYPE.name, RESOURCE_NAME.name)


def _curves() -> tuple[Panel, ...]:
    uses = per_minute(sum_by(BY, recorded(USES_5M)))
    recently = sum_by(BY, last_over(recorded(USES_5M).over("15m", at="end()")))
    return (
        lines(
            "Uses per minute",
            f"The {SHOWN} features that are used most.",
            [over_time(only(uses, recently, BY), NAME)],
            "none",
            low=0,
        ).look(uids.USAGE),
        counts(
            "Errors by severity, per ten minutes",
            "Of all chosen features. Bars are longer than ten minutes where the period is long.",
            [over_time(sum_by((SEVERITY.name,), in_each_step(series(ERRORS, chosen(FEATURE)))), "{{severity}}")],
        ).look(uids.ERRORS),
        lines(
            "Average response time of the last hour",
            f"The {SHOWN} slowest features. The red line is the bound of FeatureResponseTimeHigh.",
            [over_time(worst(recorded(DURATION_1H, RESPONSE_TIMES)), NAME)],
            "s",
            bound=SLOW,
            low=0,
        ).look(uids.PERFORMANCE),
    )


def _rest(values: Values) -> tuple[Panel, ...]:
    accuracies = values.of(LEARNING_ACCURACY, NOW, BY).average()
    accuracy = only(accuracies, values.of(LEARNING_ACCURACY, whole, BY).average(), BY, best="bottomk")
    fullest = aggregate("max", _RESOURCE, series(RESOURCE_UTILIZATION))
    return (
        lines(
            "Average satisfaction of the last hour",
            f"The {SHOWN} least satisfying features. The red line is the bound of FeatureSatisfactionLow.",
            [over_time(worst(recorded(SATISFACTION_1H), best="bottomk"), NAME)],
            "percentunit",
            bound=UNLOVED,
            soft_low=0.5,
            high=1,
        ).look(uids.SATISFACTION),
        lines(
            "Accuracy of learning",
            f"Mean of five minutes, the {SHOWN} least accurate features.",
            [over_time(accuracy, NAME)],
            "percentunit",
            soft_low=0.5,
            high=1,
            interval="5m",
        ).look(uids.LEARNING),
        lines(
            "Resources: share in use",
            "The fullest eight, each of its fullest process.",
            [
                over_time(
                    fullest.also(aggregate("topk", (), SHOWN, fullest), on=_RESOURCE),
                    "{{resource_type}} {{resource_name}}",
                )
            ],
            "percentunit",
            low=0,
            high=1,
        ).look(uids.RESOURCES),
    )
