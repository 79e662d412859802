"""Whether what the other dashboards show can be trusted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import alert_table, firing_count
from otel_metrics.assets.dashboards.model import HIDDEN_FEATURES, Dashboard, Section
from otel_metrics.assets.dashboards.panels import (
    AMBER,
    GREEN,
    RED,
    Bound,
    Column,
    counts,
    lines,
    over_time,
    stat,
    table,
)
from otel_metrics.assets.dashboards.queries import ZERO, count, in_each_step, only
from otel_metrics.catalogue import COLLISIONS, LABEL, LABEL_OVERFLOW, REJECTED, SCRAPE_DURATION, SERIES
from otel_metrics.promql import Series, aggregate, difference, last_over, relabel, series, sum_by, total

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.promql import Expression

_ALERTS: Final = "(Telemetry[^H]|Prometheus|Alertm).+"
"""Those of telemetry_alerts.yml but TelemetryHeartbeat, which always fires."""
_TARGET: Final = "{{job}} {{instance}}"
_SLOW: Final = Bound(thresholds.SCRAPE_SECONDS.bound, color=AMBER)
_MANY_SERIES: Final = Bound(thresholds.OVERFLOW.bound + 1, color=AMBER)
_OVERFLOW: Final = series(LABEL_OVERFLOW)
_UP: Final = Series("up")
_ONE: Final = ("job", "instance")


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        uids.TELEMETRY,
        "otel_metrics / Telemetry health",
        "Can the other dashboards be trusted? Scrapes, arguments that were rejected, labels past their cap, rules, notifications.",
        (HIDDEN_FEATURES,),
        (
            Section("", (*_tiles(), _targets(), alert_table(values.scope, _ALERTS, width=10, name=240))),
            Section("Scrapes", _scrapes()),
            Section("What was not recorded as it was given", _rejected()),
            Section("Rules and notifications", _servers(), folded=True),
        ),
        refresh="1m",
        alerts=_ALERTS,
        known=_UP,
    )


def _tiles() -> tuple[Panel, ...]:
    rejected = total(REJECTED, difference("1h"), ("call", "reason"))
    return (
        firing_count(_ALERTS),
        stat(
            "Targets down now",
            "Those that cannot be scraped. Red where TelemetryTargetDown fires.",
            count(_UP.equals(0)),
            bound=Bound(1),
        ),
        stat(
            "Processes",
            "Processes that expose the metrics of otel_metrics. Red at none, where TelemetryMissing fires.",
            count(series(SERIES)),
            bound=Bound(1, low=True),
        ),
        stat(
            "Rejected, 1 h",
            f"Arguments of the worst call and reason; their values are in no metric. Amber above {thresholds.REJECTED.bound:g}, where "
            "TelemetryArgumentsRejected fires.",
            aggregate("max", (), rejected) | ZERO,
            bound=Bound(thresholds.REJECTED.bound + 1, color=AMBER),
        ),
        stat(
            "Under 'other' now",
            f"Series of the worst label: its values were more than its cap. Amber above {thresholds.OVERFLOW.bound:g}, where "
            "TelemetryLabelOverflow fires.",
            aggregate("max", (), sum_by((LABEL.name,), _OVERFLOW)) | ZERO,
            bound=_MANY_SERIES,
        ),
        stat(
            "Left out now",
            "Metrics whose name was taken by another one. Amber where TelemetryNameCollision fires.",
            sum_by((), series(COLLISIONS)),
            bound=Bound(1, color=AMBER),
            none="not reported",
        ),
    )


def _targets() -> Panel:
    samples = aggregate("max", _ONE, Series("scrape_samples_scraped"))
    states = {"0": {"text": "DOWN", "color": RED, "index": 0}, "1": {"text": "UP", "color": GREEN, "index": 1}}
    up = {
        "mappings": [{"type": "value", "options": states}],
        "custom.cellOptions": {"type": "color-background", "mode": "basic"},
        "custom.align": "center",
    }
    return table(
        "Targets, those that are down first",
        "What Prometheus scrapes, at the end of the period. Scrapes are judged by TelemetryScrapeSlow.",
        {"job": "Job", "instance": "Target"},
        [
            Column("State", aggregate("max", _ONE, _UP), width=70, more=tuple(up.items())),
            Column(
                "Scrape",
                aggregate("max", _ONE, Series("scrape_duration_seconds")),
                "s",
                _SLOW,
                width=84,
            ),
            Column("Samples", samples, width=90),
            Column("Samples over time", samples, trend=True, width=150),
        ],
        none="nothing is scraped",
        sort="State",
        ascending=True,
        width=14,
        interval="5m",
    )


def _scrapes() -> tuple[Panel, ...]:
    return (
        lines(
            "Duration of scrapes, as Prometheus sees it",
            f"The amber line is the bound of TelemetryScrapeSlow, {thresholds.SCRAPE_SECONDS.bound:g} s.",
            [over_time(Series("scrape_duration_seconds"), _TARGET)],
            "s",
            bound=_SLOW,
            low=0,
        ),
        lines(
            "Duration of scrapes, as processes see it",
            "How long the last scrape kept the process busy.",
            [over_time(series(SCRAPE_DURATION), _TARGET)],
            "s",
            low=0,
        ),
        lines(
            "Series that record calls are bound to",
            "Steady growth is a label that should not be one.",
            [over_time(aggregate("max", _ONE, series(SERIES)), _TARGET)],
            low=0,
        ),
    )


def _rejected() -> tuple[Panel, ...]:
    labels = REJECTED.label_names
    return (
        counts(
            "Rejected, per quarter of an hour",
            "By call and reason. Each kind is explained once in the application's log.",
            [over_time(total(REJECTED, in_each_step, labels), "{{call}} {{reason}}")],
            none="nothing was rejected",
            width=7,
        ),
        lines(
            "Series under 'other', by label",
            "Series of a label that was past its cap, since the processes started. The amber line is the bound of "
            "TelemetryLabelOverflow.",
            [over_time(sum_by((LABEL.name,), _OVERFLOW), "{{label}}")],
            bound=_MANY_SERIES,
            low=0,
            none="no label is past its cap",
            width=7,
        ),
        table(
            "Rejected arguments in this period",
            "Which call of which job, and why.",
            {"job": "Job", "call": "Call", "reason": "Reason"},
            [Column("Rejected", total(REJECTED, difference("$__range"), ("job", *labels)) > 0, width=96)],
            widths={"Job": 90, "Reason": 110},
            none="nothing was rejected",
            width=10,
            height=8,
        ),
    )


def _named(groups: Expression) -> Expression:
    """Return groups of rules with their names, without what all of them begin with, in a label of their own: two files may share a name."""
    return relabel(groups, "group", "$1", "rule_group", ".*;(?:otel_metrics_)?(?:service_level_)?(.+)")


def _servers() -> tuple[Panel, ...]:
    duration, interval = (Series(f"prometheus_rule_group_{each}_seconds") for each in ("last_duration", "interval"))
    lately, of_old = (last_over(each.over("15m", at="end()")) for each in (duration, interval))

    def of(counter: str, *by: str) -> Expression:
        return sum_by(by, in_each_step(Series(counter)))

    panels = (
        lines(
            "Duration of rules as a share of their interval",
            "At 100 % evaluations are left out. The amber line is the bound of PrometheusRulesSlow.",
            [over_time(_named(only(duration / interval, lately / of_old)), "{{group}}")],
            "percentunit",
            bound=Bound(thresholds.RULES_SLOW.bound, color=AMBER),
            low=0,
            width=24,
        ),
        counts(
            "Evaluations of rules that failed, per quarter of an hour",
            "Any of them makes the group's alerts and recorded series doubtful.",
            [over_time(_named(of("prometheus_rule_evaluation_failures_total", "rule_group")), "{{group}}")],
            none="no evaluation failed",
            width=12,
        ),
        counts(
            "Notifications, per quarter of an hour",
            "Sent and failed: from Prometheus to Alertmanager, and from there to the integrations in use.",
            [
                over_time(of("prometheus_notifications_sent_total"), "to Alertmanager"),
                over_time(of("prometheus_notifications_errors_total"), "to Alertmanager, failed"),
                over_time(of("alertmanager_notifications_total", "integration"), "{{integration}}"),
                over_time(of("alertmanager_notifications_failed_total", "integration"), "{{integration}}, failed"),
            ],
            width=12,
        ),
    )
    return tuple(replace(panel, of_servers=True) for panel in panels)
