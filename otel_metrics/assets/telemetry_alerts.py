"""Alerts that tell that telemetry itself is broken, so that silence is never mistaken for health.

They name no job and no instance: whatever is scraped is watched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds
from otel_metrics.assets.promql import total, watched_hour
from otel_metrics.assets.rulefile import COUNTED, Alert, Group
from otel_metrics.assets.uids import DAILY, TELEMETRY
from otel_metrics.catalogue import (
    COLLISIONS,
    DAILY_COUNT,
    DAILY_KEY,
    DAILY_TABLE,
    FEATURE,
    LABEL,
    LABEL_OVERFLOW,
    REJECTED,
    SCRAPES,
    SERIES,
)
from otel_metrics.naming import series_name

if TYPE_CHECKING:
    from otel_metrics.assets.thresholds import Limit

HEARTBEAT: Final = "TelemetryHeartbeat"
HEARTBEAT_SEVERITY: Final = "heartbeat"

_TARGET: Final = "{{ $labels.job }} {{ $labels.instance }}"


def groups() -> tuple[Group, ...]:
    """Return the alerts: on the applications' telemetry, and on the servers that judge and deliver it."""
    return (
        Group("otel_metrics_telemetry", "1m", (*_targets(), *_bridge())),
        Group("otel_metrics_servers", "1m", _servers()),
    )


def _alert(
    name: str,
    expr: str,
    limit: Limit,
    summary: str,
    description: str,
    *,
    severity: str = "warning",
    look: str = TELEMETRY,
) -> Alert:
    return Alert(name, expr, severity, summary, description, look, limit.hold, limit.keep)


def _targets() -> tuple[Alert, ...]:
    heartbeat, scrapes = series_name(SERIES), series_name(SCRAPES)
    frozen, slow = thresholds.FROZEN, thresholds.SCRAPE_SECONDS
    return (
        _alert(
            "TelemetryTargetDown",
            "up == 0",
            thresholds.TARGET_DOWN,
            f"{_TARGET}: cannot be scraped",
            f"Prometheus gets no metrics from {_TARGET}. Its dashboards stand still, and its alerts cannot fire.",
            severity="critical",
        ),
        _alert(
            "TelemetryTargetsGone",
            "group by (job) (max_over_time(up[1h]))\nunless group by (job) (up)",
            thresholds.TARGETS_GONE,
            "{{ $labels.job }}: no targets any more",
            "Job {{ $labels.job }} had targets within the last hour and has none now: service discovery or the configuration "
            "lost them all.",
            severity="critical",
        ),
        _alert(
            "TelemetryMissing",
            f"absent({heartbeat})",
            thresholds.TELEMETRY_GONE,
            "No application reports any metrics",
            f"No target exposes {heartbeat}: no application with otel_metrics is scraped at all.",
            severity="critical",
        ),
        _alert(
            "TelemetryLost",
            f"(up == 1 and on (job, instance) max_over_time({heartbeat}[1h]))\nunless on (job, instance) {heartbeat}",
            thresholds.TELEMETRY_GONE,
            f"{_TARGET}: answers, but without its metrics",
            f"{_TARGET} is up, but no longer exposes what it exposed within the last hour: the reader was replaced, shut down, "
            "or another process took its port.",
            severity="critical",
        ),
        _alert(
            "TelemetryFrozen",
            f"(changes({scrapes}[10m]) <= {frozen.bound:g})\nand (count_over_time({scrapes}[10m]) >= {frozen.events})",
            frozen,
            f"{_TARGET}: the same metrics again and again",
            f"The scrape counter of {_TARGET} has not moved for ten minutes although it was scraped: a cache or a stuck process "
            "answers in its place.",
        ),
        _alert(
            "TelemetryScrapeSlow",
            f"avg_over_time(scrape_duration_seconds[10m]) > {slow.bound:g}",
            slow,
            f"{_TARGET}: a scrape takes {{{{ $value | humanizeDuration }}}}",
            f"Scrapes of {_TARGET} took {{{{ $value | humanizeDuration }}}} on average in the last ten minutes; "
            "past the time-out its metrics are gone.",
        ),
    )


def _bridge() -> tuple[Alert, ...]:
    rejected, overflow, collisions = thresholds.REJECTED, thresholds.OVERFLOW, thresholds.COLLISIONS
    by_call = total(REJECTED, watched_hour, ("job", *REJECTED.label_names))
    key, count = ", ".join(DAILY_KEY), series_name(DAILY_COUNT)
    written = f"last_over_time({DAILY_TABLE['count'].series}[2h])"
    return (
        _alert(
            "TelemetryArgumentsRejected",
            f"{by_call} > {rejected.bound:g}",
            rejected,
            f"{{{{ $labels.call }}}}: {COUNTED} arguments refused in an hour",
            f"{{{{ $labels.job }}}} gave {{{{ $labels.call }}}} {COUNTED} arguments in the last hour that were refused "
            "({{ $labels.reason }}). Those values are in no metric.",
        ),
        _alert(
            "TelemetryLabelOverflow",
            f"sum by (job, {LABEL.name}) ({series_name(LABEL_OVERFLOW)}) > {overflow.bound:g}",
            overflow,
            "{{ $labels.label }}: more values than its cap",
            "{{ $labels.job }} recorded more distinct values of {{ $labels.label }} than are kept; {{ $value }} series were put "
            "under 'other'. A value that should not be a label is one, or the cap is too low.",
        ),
        _alert(
            "TelemetryNameCollision",
            f"max by (job) ({series_name(COLLISIONS)}) > {collisions.bound:g}",
            collisions,
            "{{ $labels.job }}: {{ $value }} metrics left out, their names are taken",
            "Two instruments of {{ $labels.job }} have the same name once exposed; {{ $value }} metrics are left out of every scrape.",
        ),
        _alert(
            "TelemetryDailyTableMissing",
            f"count by ({FEATURE.name}) (\n"
            f'  group by ({key}) ({count}{{day="previous"}})\n'
            f"  unless on ({key}) {written}\n"
            f") > {thresholds.DAILY_TABLE.bound:g}",
            thresholds.DAILY_TABLE,
            "{{ $labels.feature }}: {{ $value }} rows of the daily table are missing",
            "{{ $labels.feature }} recorded values yesterday, but {{ $value }} rows of yesterday's daily table were not written. "
            "The totals stay readable until midnight UTC.",
            look=DAILY,
        ),
        Alert(
            HEARTBEAT,
            "vector(1)",
            HEARTBEAT_SEVERITY,
            "Always fires",
            "Always fires: a service outside that hears it regularly and raises an alarm when it stops notices that Prometheus or "
            "Alertmanager is gone.",
            TELEMETRY,
        ),
    )


def _servers() -> tuple[Alert, ...]:
    dropped, failures, slow = thresholds.SAMPLES_DROPPED, thresholds.RULE_FAILURES, thresholds.RULES_SLOW
    unreachable, failing = thresholds.UNREACHABLE, thresholds.NOTIFICATIONS_FAILING
    reasons = ("sample_duplicate_timestamp", "sample_out_of_order", "sample_out_of_bounds", "exceeded_sample_limit")
    drops = "\n+ ".join(
        f"sum by (instance) (increase(prometheus_target_scrapes_{reason}_total[15m]))" for reason in reasons
    )
    sent, errors = "prometheus_notifications_sent_total", "prometheus_notifications_errors_total"
    refused = (
        f"sum by (alertmanager) (rate({errors}[5m]))\n"
        f"/ (sum by (alertmanager) (rate({sent}[5m])) > 0) > {unreachable.bound:g}"
    )
    return (
        _alert(
            "PrometheusSamplesDropped",
            f"{drops} > {dropped.bound:g}",
            dropped,
            "Prometheus drops samples",
            "{{ $labels.instance }} dropped {{ $value | humanize }} samples in 15 minutes: two targets expose the same series, "
            "a clock is wrong, or a target passed its limit.",
        ),
        _alert(
            "PrometheusRuleFailures",
            "sum by (instance, rule_group) (increase(prometheus_rule_evaluation_failures_total[15m])) "
            f"> {failures.bound:g}",
            failures,
            "Rules cannot be evaluated",
            "{{ $value | humanize }} evaluations in {{ $labels.rule_group }} failed in 15 minutes: alerts and recorded series of "
            "that group cannot be trusted.",
            severity="critical",
        ),
        _alert(
            "PrometheusRulesSlow",
            f"prometheus_rule_group_last_duration_seconds\n/ prometheus_rule_group_interval_seconds > {slow.bound:g}",
            slow,
            "Rules take longer than their interval",
            "{{ $labels.rule_group }} takes {{ $value | humanize }} times its interval: evaluations are left out, alerts come late.",
        ),
        _alert(
            "PrometheusConfigReloadFailed",
            f"prometheus_config_last_reload_successful == {thresholds.CONFIG_RELOAD.bound:g}",
            thresholds.CONFIG_RELOAD,
            "Prometheus runs with an old configuration",
            "The configuration of {{ $labels.instance }} could not be loaded; it goes on with the one before.",
        ),
        _alert(
            "PrometheusAlertmanagerUnreachable",
            f"{refused}\nor max by (instance) (prometheus_notifications_alertmanagers_discovered) < 1",
            unreachable,
            "Alerts do not reach Alertmanager",
            "Prometheus cannot hand its alerts to {{ if $labels.alertmanager }}{{ $labels.alertmanager }}"
            "{{ else }}any Alertmanager{{ end }}: nobody is told of anything.",
            severity="critical",
        ),
        _alert(
            "AlertmanagerNotificationsFailing",
            "sum by (instance, integration) (rate(alertmanager_notifications_failed_total[5m]))\n"
            "/ (sum by (instance, integration) (rate(alertmanager_notifications_total[5m])) > 0) "
            f"> {failing.bound:g}",
            failing,
            "Alertmanager cannot deliver by {{ $labels.integration }}",
            "{{ $value | humanizePercentage }} of the notifications by {{ $labels.integration }} fail: the receiver's address is "
            "wrong or it refuses them.",
            severity="critical",
        ),
    )
