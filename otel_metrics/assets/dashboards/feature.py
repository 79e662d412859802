"""Everything about one feature: rate, errors, duration, satisfaction, learning, and the week before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.alerts import alert_table, firing_count
from otel_metrics.assets.dashboards.model import ONE_FEATURE, Dashboard, Section
from otel_metrics.assets.dashboards.panels import (
    BEFORE,
    NOT_SCRAPED,
    WHEN_OVER,
    Column,
    counts,
    lines,
    over_time,
    stat,
    table,
)
from otel_metrics.assets.dashboards.queries import (
    FAILING,
    FAILURES,
    MANY,
    PERIOD,
    RESPONSE_TIMES,
    SLOW,
    STEP,
    UNLOVED,
    WEEK,
    added,
    average,
    bars,
    failures,
    hour_of_response_times,
    hour_of_satisfaction,
    hour_of_success,
    per_minute,
    recorded,
    success_rate,
)
from otel_metrics.assets.recording import DURATION_1H, DURATION_P95_5M, ERRORS_1H, SATISFACTION_1H, USES_5M
from otel_metrics.catalogue import (
    ACTION,
    ERROR_TYPE,
    ERRORS,
    LEARNING_ACCURACY,
    LEARNING_CONFIDENCE,
    SEVERITY,
    USAGE,
    USAGE_DURATION,
)
from otel_metrics.promql import aggregate, sum_by

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values

_NOW: Final = "now"
_ALERTS: Final = "Feature.+"


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        uids.FEATURE,
        "otel_metrics / Feature",
        "How is this feature? Rate, errors, duration, satisfaction and learning of one feature; dotted is the week before.",
        (ONE_FEATURE,),
        (
            Section("", _tiles()),
            Section("Rate, errors, duration", _red()),
            Section("Errors, users, learning", _more()),
            Section("In this period", _tables(values)),
        ),
        refresh="1m",
        alerts=_ALERTS,
    )


def _tiles() -> tuple[Panel, ...]:
    return (
        firing_count(_ALERTS),
        stat(
            "Errors, 1 h",
            "Of severity error or critical, exact. Red where FeatureErrorsHigh fires.",
            aggregate("max", (), recorded(ERRORS_1H)),
            bound=MANY,
            none="none known",
        ).look(uids.ERRORS),
        stat(
            "Success, 1 h",
            "Of the uses whose outcome is known, exact. Red where FeatureFailuresHigh fires.",
            aggregate("min", (), hour_of_success()),
            "percentunit",
            bound=FAILING,
            none="few or none",
            decimals=1,
        ).look(uids.USAGE),
        stat(
            "Response, 1 h",
            "Average, exact. Amber where FeatureResponseTimeHigh fires.",
            aggregate("max", (), hour_of_response_times()),
            "s",
            bound=SLOW,
            none="few or none",
        ).look(uids.PERFORMANCE),
        stat(
            "Satisfaction, 1 h",
            "Average, exact. Amber where FeatureSatisfactionLow fires.",
            aggregate("min", (), hour_of_satisfaction()),
            "percentunit",
            bound=UNLOVED,
            none="few or none",
            decimals=1,
        ).look(uids.SATISFACTION),
        stat(
            "Uses a minute",
            "Over the last five minutes.",
            per_minute(sum_by((), recorded(USES_5M))),
            "none",
            none="no uses",
            decimals=1,
        ).look(uids.USAGE),
    )


def _red() -> tuple[Panel, ...]:
    uses, response = recorded(USES_5M), recorded(DURATION_1H, RESPONSE_TIMES)
    return (
        lines(
            "Uses per minute",
            "Over five minutes.",
            [
                over_time(per_minute(sum_by((), uses)), _NOW),
                over_time(per_minute(sum_by((), uses.when(offset=WEEK))), BEFORE),
            ],
            "none",
            low=0,
            none=NOT_SCRAPED,
        ),
        lines(
            "Uses that fail, 1 h",
            "Share of the uses of the last hour whose outcome is known, exact. The red line is the bound of FeatureFailuresHigh.",
            [over_time(failures(), _NOW), over_time(failures(offset=WEEK), BEFORE)],
            "percentunit",
            bound=FAILURES,
            low=0,
        ),
        lines(
            "Response time: average of the last hour, and p95",
            "The average is exact, and the amber line the bound of FeatureResponseTimeHigh on it. p95, of five minutes, is "
            "estimated from buckets; FeatureResponseTimeP95High judges it.",
            [
                over_time(response, "average"),
                over_time(recorded(DURATION_P95_5M, RESPONSE_TIMES), "p95"),
                over_time(response.when(offset=WEEK), f"average {BEFORE}"),
            ],
            "s",
            bound=SLOW,
            low=0,
        ),
    )


def _more() -> tuple[Panel, ...]:
    score = recorded(SATISFACTION_1H)
    return (
        counts(
            "Errors by severity, per quarter of an hour",
            f"Exact. {WHEN_OVER} Bars are longer where the period is long.",
            [over_time(bars(ERRORS, (SEVERITY.name,)), "{{severity}}")],
        ),
        lines(
            "Average satisfaction of the last hour",
            "Exact. The amber line is the bound of FeatureSatisfactionLow.",
            [over_time(score, _NOW), over_time(score.when(offset=WEEK), BEFORE)],
            "percentunit",
            bound=UNLOVED,
            soft_low=0.5,
            high=1,
        ),
        lines(
            "Learning: accuracy and confidence",
            "Means of a quarter of an hour: confidence far above accuracy is misplaced.",
            [
                over_time(average(LEARNING_ACCURACY, STEP), "accuracy"),
                over_time(average(LEARNING_CONFIDENCE, STEP), "confidence"),
            ],
            "percentunit",
            soft_low=0.5,
            high=1,
            interval="15m",
        ),
    )


def _tables(values: Values) -> tuple[Panel, ...]:
    actions = (ACTION.name,)
    errors = (ERROR_TYPE.name, SEVERITY.name)
    return (
        table(
            "Actions in this period",
            f"Exact. {WHEN_OVER}",
            {"action": "Action"},
            [
                Column("Uses", added(USAGE, PERIOD, actions), width=76),
                Column("Success", success_rate(PERIOD, actions), "percentunit", decimals=1, width=80),
                Column("Average", average(USAGE_DURATION, PERIOD, actions), "s", width=90),
            ],
            width=7,
            height=8,
        ),
        table(
            "Errors in this period",
            f"Exact. {WHEN_OVER}",
            {"error_type": "Type", "severity": "Severity"},
            [Column("Errors", added(ERRORS, PERIOD, errors) > 0, width=76)],
            none="no errors counted in this period so far",
            width=7,
            height=8,
        ),
        alert_table(values.scope, _ALERTS, height=8),
    )
