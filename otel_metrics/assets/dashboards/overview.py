"""What ``get_comprehensive_dashboard`` tells, for somebody who has just been woken up: is it bad, where, since when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import firing_count, firing_table
from otel_metrics.assets.dashboards.model import Dashboard, Section, address, variables
from otel_metrics.assets.dashboards.panels import Column, above, bars, below, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import (
    NOW,
    added,
    latest,
    most,
    recorded,
    recovery_rate,
    success_rate,
)
from otel_metrics.assets.feature_alerts import RESPONSE_TIME_CATEGORY
from otel_metrics.assets.recording import (
    DURATION_1H,
    DURATION_P95_5M,
    ERRORS_1H,
    ERRORS_5M,
    SATISFACTION_1H,
    USES_5M,
)
from otel_metrics.catalogue import (
    ERRORS,
    FEATURE,
    LEARNING_ACCURACY,
    METRIC_CATEGORY,
    OPTIMIZATION_CHANGE,
    PERFORMANCE_DURATION,
    RESOURCE_NAME,
    RESOURCE_TYPE,
    RESOURCE_UTILIZATION,
    SATISFACTION_SCORE,
    USAGE,
)
from otel_metrics.promql import aggregate, equal, sum_by

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import (
        Values,
    )

_BY: Final = (FEATURE.name,)
_RESPONSES: Final = equal(METRIC_CATEGORY, RESPONSE_TIME_CATEGORY)
_MANY: Final = above(thresholds.ERRORS.bound + 1)
_LOW: Final = below(thresholds.SATISFACTION.bound)
_SLOW: Final = above(thresholds.RESPONSE_TIME.bound)
_RATE: Final = below(thresholds.SUCCESS_RATE[0], good=thresholds.SUCCESS_RATE[1])
_FULL: Final = above(thresholds.UTILIZATION[1], warn=thresholds.UTILIZATION[0])


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        uids.OVERVIEW,
        "otel_metrics / Overview",
        "Every feature at a glance. The first row is judged by the same numbers as the alerts; click a number for more.",
        variables(),
        (
            Section("", _judged(values)),
            Section("Features in this period", (_features(values),)),
            Section("Over time", _curves()),
            Section("Learning, optimization, resources", _rest(values)),
            Section("Alerts", (firing_table(),)),
        ),
    )


def _judged(values: Values) -> tuple[Panel, ...]:
    errors, satisfaction = thresholds.ERRORS.bound, thresholds.SATISFACTION.bound
    response_time = thresholds.RESPONSE_TIME.bound
    return (
        firing_count().look(uids.TELEMETRY),
        stat(
            "Errors, last hour",
            f"Of the worst feature. Above {errors:g} the alert FeatureErrorsHigh fires.",
            most(recorded(ERRORS_1H)),
            steps=_MANY,
            none="no feature known",
            decimals=0,
        ).look(uids.ERRORS),
        stat(
            "Satisfaction, last hour",
            f"Average of the worst feature. Below {satisfaction:.0%} the alert FeatureSatisfactionLow fires.",
            aggregate("min", (), recorded(SATISFACTION_1H)),
            "percentunit",
            _LOW,
            none="no responses in the last hour",
            decimals=0,
        ).look(uids.SATISFACTION),
        stat(
            "Response time, last hour",
            f"Average of the worst feature. Above {response_time * 1000:g} ms the alert FeatureResponseTimeHigh fires.",
            most(recorded(DURATION_1H, _RESPONSES)),
            "s",
            _SLOW,
            none="no response times in the last hour",
        ).look(uids.PERFORMANCE),
        stat("Uses", "How often features were used in the period.", added(USAGE, values.period), decimals=0).look(
            uids.USAGE
        ),
        stat(
            "Success rate",
            f"In the period, of the uses whose outcome is known. Red below {thresholds.SUCCESS_RATE[0]:.0%}.",
            success_rate(values.period, ()),
            "percentunit",
            _RATE,
            decimals=1,
        ).look(uids.USAGE),
    )


def _features(values: Values) -> Panel:
    scores = values.of(SATISFACTION_SCORE, values.period, _BY)
    durations = values.of(PERFORMANCE_DURATION, values.period, _BY, _RESPONSES)
    return table(
        "Features",
        "Counts, averages and shares are exact, the 95th percentile is estimated from buckets.",
        {"feature": "Feature"},
        [
            Column("Uses", added(USAGE, values.period, _BY), decimals=0),
            Column("Success rate", success_rate(values.period, _BY), "percentunit", _RATE, 1),
            Column("Errors", added(ERRORS, values.period, _BY), decimals=0),
            Column("Recovery rate", recovery_rate(values.period, _BY), "percentunit", decimals=1),
            Column("Satisfaction", scores.average(), "percentunit", _LOW, 0),
            Column("Responses", scores.count(), decimals=0),
            Column("Response time", durations.average(), "s", _SLOW),
            Column("Response time p95", durations.quantile(0.95), "s", _SLOW),
            Column("Accuracy", values.of(LEARNING_ACCURACY, values.period, _BY).average(), "percentunit", decimals=1),
        ],
        links={"Feature": address(uids.OVERVIEW, "var-feature=${__value.raw:percentencode}")},
        sort="Errors",
    )


def _curves() -> tuple[Panel, ...]:
    return (
        lines(
            "Uses, by feature",
            "Uses per second.",
            [over_time(sum_by(("feature",), recorded(USES_5M)), "{{feature}}")],
            "ops",
            stacked=True,
            low=0,
        ),
        lines(
            "Errors, by severity",
            "Errors per second.",
            [over_time(sum_by(("severity",), recorded(ERRORS_5M)), "{{severity}}")],
            "ops",
            stacked=True,
            low=0,
        ),
        lines(
            "Satisfaction of the last hour",
            f"Average by feature; the dashed line is the alert's bound, {thresholds.SATISFACTION.bound:.0%}.",
            [over_time(recorded(SATISFACTION_1H), "{{feature}}")],
            "percentunit",
            steps=_LOW,
            low=0,
            high=1,
        ),
        lines(
            "Response time",
            f"95th percentile of five minutes, and the average of the last hour that the alert looks at (bound: "
            f"{thresholds.RESPONSE_TIME.bound * 1000:g} ms).",
            [
                over_time(recorded(DURATION_P95_5M, _RESPONSES), "{{feature}} p95"),
                over_time(recorded(DURATION_1H, _RESPONSES), "{{feature}} average of the hour"),
            ],
            "s",
            steps=_SLOW,
            low=0,
        ),
    )


def _rest(values: Values) -> tuple[Panel, ...]:
    accuracy = values.of(LEARNING_ACCURACY, NOW, _BY).average()
    change = values.of(OPTIMIZATION_CHANGE, values.period, _BY).average()
    fullest = latest(RESOURCE_UTILIZATION, (RESOURCE_TYPE.name, RESOURCE_NAME.name))
    return (
        lines(
            "Learning accuracy",
            "Mean by feature.",
            [over_time(accuracy, "{{feature}}")],
            "percentunit",
            low=0,
            high=1,
            width=8,
        ).look(uids.LEARNING),
        bars(
            "Optimized to",
            "Mean of after / before in the period, by feature: 80 % says that a fifth was saved.",
            change,
            "{{feature}}",
            "percentunit",
            ((None, "green"), (1.0, "orange")),
            width=8,
        ).look(uids.OPTIMIZATION),
        bars(
            "Fullest resources",
            "The ten that are used most at the end of the period.",
            aggregate("topk", (), 10, fullest),
            "{{resource_type}} {{resource_name}}",
            "percentunit",
            _FULL,
            width=8,
        ).look(uids.RESOURCES),
    )
