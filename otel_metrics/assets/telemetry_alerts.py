"""Alerts that tell that telemetry itself is broken, so that silence is never mistaken for health.

They name no job and no instance: whatever is scraped is watched.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds
from otel_metrics.assets.rulefile import COUNTED, Alert, Group
from otel_metrics.assets.scope import SCOPE, in_annotations
from otel_metrics.assets.uids import DAILY, TELEMETRY
from otel_metrics.catalogue import (
    COLLISIONS,
    DAILY_COUNT,
    DAILY_KEY,
    DAILY_TABLE,
    DAY,
    FEATURE,
    LABEL,
    LABEL_OVERFLOW,
    REJECTED,
    SCRAPES,
    SERIES,
    SHARED_ERRORS,
)
from otel_metrics.promql import (
    JOB,
    Series,
    aggregate,
    call,
    equal,
    last_over,
    series,
    sum_by,
    total,
)

if TYPE_CHECKING:
    from otel_metrics.assets.scope import Labels
    from otel_metrics.assets.thresholds import Limit
    from otel_metrics.promql import (
        Dialect,
        Expression,
    )

HEARTBEAT: Final = "TelemetryHeartbeat"
HEARTBEAT_SEVERITY: Final = "heartbeat"

_UP: Final = Series("up")
_ONE: Final = (JOB, "instance")
_OF_JOB: Final = f"{TELEMETRY}{in_annotations((JOB,))}"
_TARGET: Final = "{{ $labels.job }} {{ $labels.instance }}"


def groups(dialect: Dialect, scope: Labels = SCOPE) -> tuple[Group, ...]:
    """Return the alerts: on the applications' telemetry, and on the servers that judge and deliver it."""
    servers = (*(_prometheus() if dialect.exposes_prometheus else ()), _alertmanager())
    return (
        Group(
            "otel_metrics_telemetry",
            "1m",
            (*_targets(), *_bridge(dialect, scope)),
            "Is every application scraped, and is what it tells complete?",
        ),
        Group("otel_metrics_servers", "1m", servers, "Do the servers that judge and deliver alerts work themselves?"),
    )


def _alert(
    name: str,
    expr: Expression,
    limit: Limit,
    summary: str,
    description: str,
    *,
    severity: str = "warning",
    look: str = TELEMETRY,
) -> Alert:
    return Alert(name, expr, severity, summary, description, look, limit.hold, limit.keep)


def _targets() -> tuple[Alert, ...]:
    heartbeat, scrapes = series(SERIES), series(SCRAPES)
    frozen, slow = thresholds.FROZEN, thresholds.SCRAPE_SECONDS
    return (
        _alert(
            "TelemetryTargetDown",
            _UP.equals(0),
            thresholds.TARGET_DOWN,
            f"{_TARGET}: cannot be scraped",
            f"Prometheus gets no metrics from {_TARGET}. Its dashboards stand still, and its alerts cannot fire.",
            severity="critical",
            look=_OF_JOB,
        ),
        _alert(
            "TelemetryTargetsGone",
            aggregate("group", (JOB,), call("max_over_time", _UP.over("1h"))).unless(aggregate("group", (JOB,), _UP)),
            thresholds.TARGETS_GONE,
            "{{ $labels.job }}: no targets any more",
            "Job {{ $labels.job }} had targets within the last hour and has none now: service discovery or the configuration "
            "lost them all.",
            severity="critical",
            look=_OF_JOB,
        ),
        _alert(
            "TelemetryMissing",
            call("absent", heartbeat),
            thresholds.TELEMETRY_GONE,
            "No application reports any metrics",
            f"No target exposes {heartbeat}: no application with otel_metrics is scraped at all.",
            severity="critical",
        ),
        _alert(
            "TelemetryLost",
            _UP.equals(1).also(call("max_over_time", heartbeat.over("1h")), on=_ONE).unless(heartbeat, on=_ONE),
            thresholds.TELEMETRY_GONE,
            f"{_TARGET}: answers, but without its metrics",
            f"{_TARGET} is up, but no longer exposes what it exposed within the last hour: the reader was replaced, shut down, "
            "or another process took its port.",
            severity="critical",
            look=_OF_JOB,
        ),
        _alert(
            "TelemetryFrozen",
            (call("changes", scrapes.over("10m")) <= frozen.bound)
            & (call("count_over_time", scrapes.over("10m")) >= frozen.events),
            frozen,
            f"{_TARGET}: the same metrics again and again",
            f"The scrape counter of {_TARGET} has not moved for ten minutes although it was scraped: a cache or a stuck process "
            "answers in its place.",
            look=_OF_JOB,
        ),
        _alert(
            "TelemetryScrapeSlow",
            call("avg_over_time", Series("scrape_duration_seconds").over("10m")) > slow.bound,
            slow,
            f"{_TARGET}: a scrape takes {{{{ $value | humanizeDuration }}}}",
            f"Scrapes of {_TARGET} took {{{{ $value | humanizeDuration }}}} on average in the last ten minutes; "
            "past the time-out its metrics are gone.",
            look=_OF_JOB,
        ),
    )


def _bridge(dialect: Dialect, scope: Labels) -> tuple[Alert, ...]:
    rejected, overflow, collisions = thresholds.REJECTED, thresholds.OVERFLOW, thresholds.COLLISIONS
    by_call = total(REJECTED, dialect.hour_of_observed, (*scope, *REJECTED.label_names))
    of_application = f"{TELEMETRY}{in_annotations(scope)}"
    row = (*scope, *DAILY_KEY)
    yesterday = aggregate("group", row, series(DAILY_COUNT, equal(DAY, "previous")))
    written = last_over(Series(DAILY_TABLE["count"].series).over("2h"))
    return (
        _alert(
            "TelemetryArgumentsRejected",
            by_call > rejected.bound,
            rejected,
            f"{{{{ $labels.job }}}}: {COUNTED} arguments of {{{{ $labels.call }}}} rejected in an hour",
            f"{{{{ $labels.job }}}} gave {{{{ $labels.call }}}} {COUNTED} arguments in the last hour that were rejected "
            "({{ $labels.reason }}). Those values are in no metric.",
            look=of_application,
        ),
        _alert(
            "TelemetrySharingFailed",
            total(SHARED_ERRORS, dialect.hour_of_observed, (*scope, *SHARED_ERRORS.label_names))
            > thresholds.SHARED_ERRORS.bound,
            thresholds.SHARED_ERRORS,
            "{{ $labels.job }}: the multiprocess directory has a problem: {{ $labels.reason }}",
            f"Processes of {{{{ $labels.job }}}} could not read or write what they share {COUNTED} times in the last hour "
            "({{ $labels.reason }}). What they record waits in each of them, or is left out; docs/workers.md has the reasons.",
            look=of_application,
        ),
        _alert(
            "TelemetryLabelOverflow",
            sum_by((*scope, LABEL.name), series(LABEL_OVERFLOW)) > overflow.bound,
            overflow,
            "{{ $labels.job }}: more values of {{ $labels.label }} than its cap",
            "{{ $labels.job }} recorded more distinct values of {{ $labels.label }} than are kept; {{ $value }} series were put "
            "under 'other'. A value that should not be a label is one, or the cap is too low.",
            look=of_application,
        ),
        _alert(
            "TelemetryNameCollision",
            aggregate("max", scope, series(COLLISIONS)) > collisions.bound,
            collisions,
            "{{ $labels.job }}: {{ $value }} metrics left out, their names are taken",
            "Two instruments of {{ $labels.job }} have the same name once exposed; {{ $value }} metrics are left out of every scrape.",
            look=of_application,
        ),
        _alert(
            "TelemetryDailyTableMissing",
            aggregate("count", (*scope, FEATURE.name), yesterday.unless(written, on=row))
            > thresholds.DAILY_TABLE.bound,
            thresholds.DAILY_TABLE,
            "{{ $labels.feature }} of {{ $labels.job }}: {{ $value }} rows of the daily table are missing",
            "{{ $labels.feature }} of {{ $labels.job }} recorded values yesterday, but {{ $value }} rows of yesterday's daily table were not written. "
            "The totals stay readable until midnight UTC.",
            look=f"{DAILY}{in_annotations(scope, FEATURE.name)}",
        ),
        Alert(
            HEARTBEAT,
            call("vector", 1),
            HEARTBEAT_SEVERITY,
            "Always fires",
            "Always fires: a service outside that hears it regularly and raises an alarm when it stops notices that Prometheus or "
            "Alertmanager is gone.",
            TELEMETRY,
        ),
    )


def _of_server(counter: str, by: tuple[str, ...]) -> Expression:
    return sum_by(by, call("increase", Series(counter).over("15m")))


def _share_failed(failed: str, all_: str, *by: str) -> Expression:
    def per_second(counter: str) -> Expression:
        return sum_by(by, call("rate", Series(counter).over("5m")))

    return per_second(failed) / (per_second(all_) > 0)


def _prometheus() -> tuple[Alert, ...]:
    dropped, failures, slow = thresholds.SAMPLES_DROPPED, thresholds.RULE_FAILURES, thresholds.RULES_SLOW
    unreachable = thresholds.UNREACHABLE
    reasons = ("sample_duplicate_timestamp", "sample_out_of_order", "sample_out_of_bounds", "exceeded_sample_limit")
    drops = reduce(add, (_of_server(f"prometheus_target_scrapes_{reason}_total", ("instance",)) for reason in reasons))
    rejected = _share_failed(
        "prometheus_notifications_errors_total", "prometheus_notifications_sent_total", "alertmanager"
    )
    discovered = aggregate("max", ("instance",), Series("prometheus_notifications_alertmanagers_discovered"))
    duration, interval = (Series(f"prometheus_rule_group_{each}_seconds") for each in ("last_duration", "interval"))
    return (
        _alert(
            "PrometheusSamplesDropped",
            drops > dropped.bound,
            dropped,
            "Prometheus drops samples",
            "{{ $labels.instance }} dropped {{ $value | humanize }} samples in 15 minutes: two targets expose the same series, "
            "a clock is wrong, or a target passed its limit.",
        ),
        _alert(
            "PrometheusRuleFailures",
            _of_server("prometheus_rule_evaluation_failures_total", ("instance", "rule_group")) > failures.bound,
            failures,
            "Rules cannot be evaluated",
            "{{ $value | humanize }} evaluations in {{ $labels.rule_group }} failed in 15 minutes: alerts and recorded series of "
            "that group cannot be trusted.",
            severity="critical",
        ),
        _alert(
            "PrometheusRulesSlow",
            duration / interval > slow.bound,
            slow,
            "Rules take longer than their interval",
            "{{ $labels.rule_group }} takes {{ $value | humanize }} times its interval: evaluations are left out, alerts come late.",
        ),
        _alert(
            "PrometheusConfigReloadFailed",
            Series("prometheus_config_last_reload_successful").equals(thresholds.CONFIG_RELOAD.bound),
            thresholds.CONFIG_RELOAD,
            "Prometheus runs with an old configuration",
            "The configuration of {{ $labels.instance }} could not be loaded; it goes on with the one before.",
        ),
        _alert(
            "PrometheusAlertmanagerUnreachable",
            (rejected > unreachable.bound) | (discovered < 1),
            unreachable,
            "Alerts do not reach Alertmanager",
            "Prometheus cannot hand its alerts to {{ if $labels.alertmanager }}{{ $labels.alertmanager }}"
            "{{ else }}any Alertmanager{{ end }}: nobody is told of anything.",
            severity="critical",
        ),
    )


def _alertmanager() -> Alert:
    failing = thresholds.NOTIFICATIONS_FAILING
    undelivered = _share_failed(
        "alertmanager_notifications_failed_total", "alertmanager_notifications_total", "instance", "integration"
    )
    return _alert(
        "AlertmanagerNotificationsFailing",
        undelivered > failing.bound,
        failing,
        "Alertmanager cannot deliver by {{ $labels.integration }}",
        "{{ $value | humanizePercentage }} of the notifications by {{ $labels.integration }} fail: the receiver's address is "
        "wrong or it refuses them.",
        severity="critical",
    )
