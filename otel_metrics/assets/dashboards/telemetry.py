"""Whether what the other dashboards show can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import firing_count, firing_table
from otel_metrics.assets.dashboards.model import Dashboard, Section, variables
from otel_metrics.assets.dashboards.panels import Column, above, below, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import NOW, ZERO, count
from otel_metrics.catalogue import COLLISIONS, LABEL, LABEL_OVERFLOW, REJECTED, SCRAPE_DURATION, SERIES
from otel_metrics.promql import Series, aggregate, difference, series, sum_by, total

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.promql import Expression

_TARGET: Final = "{{job}} {{instance}}"
_SLOW: Final = above(thresholds.SCRAPE_SECONDS.bound)
_OVERFLOW: Final = series(LABEL_OVERFLOW)
_PERIOD: Final = difference("$__range")
"""Of observable counters, which have no start time: their first value counts."""

_ONE: Final = ("job", "instance")


def dashboard(_values: Values) -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        uids.TELEMETRY,
        "otel_metrics / Telemetry health",
        "Scrapes, refused arguments, labels past their cap, rules and notifications: red here means that the other dashboards lie.",
        variables(hide_feature=True),
        (
            Section("", _judged()),
            Section("Scrapes", _scrapes()),
            Section("What was not recorded as it was given", _refused()),
            Section("Rules and notifications", (*_servers(), firing_table())),
        ),
    )


def _judged() -> tuple[Panel, ...]:
    rejected = total(REJECTED, _PERIOD, ())
    return (
        firing_count(),
        stat("Targets down", "Targets that cannot be scraped.", count(Series("up").equals(0)), steps=above(1)),
        stat(
            "Processes reporting",
            "Processes that expose the metrics of otel_metrics.",
            aggregate("count", (), series(SERIES)),
            steps=below(1),
            none="none: no application is scraped",
        ),
        stat(
            "Arguments refused",
            f"In the period; their values are in no metric. Red above {thresholds.REJECTED.bound:g}, the alert's bound for an hour.",
            rejected | ZERO,
            steps=above(thresholds.REJECTED.bound + 1, warn=1),
        ),
        stat(
            "Series under 'other'",
            f"Series whose label was past its cap. Red above {thresholds.OVERFLOW.bound:g}, as the alert.",
            sum_by((), _OVERFLOW) | ZERO,
            steps=above(thresholds.OVERFLOW.bound + 1, warn=1),
        ),
        stat(
            "Metrics left out",
            "Metrics whose name was taken by another one.",
            sum_by((), series(COLLISIONS)),
            steps=above(1),
            none="not reported",
        ),
    )


def _scrapes() -> tuple[Panel, ...]:
    return (
        table(
            "Targets",
            "What Prometheus scrapes, at the end of the period.",
            {"job": "Job", "instance": "Target"},
            [
                Column("Up", aggregate("max", _ONE, Series("up")), steps=below(1)),
                Column("Scrape duration", aggregate("max", _ONE, Series("scrape_duration_seconds")), "s", _SLOW),
                Column("Samples", aggregate("max", _ONE, Series("scrape_samples_scraped")), decimals=0),
            ],
            sort="Scrape duration",
            height=6,
        ),
        lines(
            "Duration of scrapes, as Prometheus sees it",
            f"The dashed line is the bound of the alert TelemetryScrapeSlow, {thresholds.SCRAPE_SECONDS.bound:g} s.",
            [over_time(Series("scrape_duration_seconds"), _TARGET)],
            "s",
            steps=_SLOW,
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
            "Samples per scrape",
            "What every target exposes.",
            [over_time(Series("scrape_samples_scraped"), _TARGET)],
            low=0,
        ),
        lines(
            "Series that record calls are bound to",
            "Steady growth is a label that should not be one.",
            [over_time(series(SERIES), _TARGET)],
            low=0,
        ),
    )


def _refused() -> tuple[Panel, ...]:
    labels = REJECTED.label_names
    return (
        lines(
            "Refused arguments",
            "Per second, by call and reason. Each kind is explained once in the application's log.",
            [over_time(total(REJECTED, NOW, labels), "{{call}} {{reason}}")],
            "ops",
            stacked=True,
            low=0,
        ),
        lines(
            "Series under 'other'",
            "By the label that was past its cap, since the processes started.",
            [over_time(sum_by((LABEL.name,), _OVERFLOW), "{{label}}")],
            steps=above(thresholds.OVERFLOW.bound),
            low=0,
        ),
        table(
            "Refused arguments in this period",
            "Which call of which job, and why.",
            {"job": "Job", "call": "Call", "reason": "Reason"},
            [Column("Refused", total(REJECTED, _PERIOD, ("job", *labels)) > 0, decimals=0)],
            none="nothing was refused",
            height=6,
        ),
    )


def _servers() -> tuple[Panel, ...]:
    duration, interval = (Series(f"prometheus_rule_group_{each}_seconds") for each in ("last_duration", "interval"))

    def now(counter: str, *by: str) -> Expression:
        return sum_by(by, NOW(Series(counter)))

    return (
        lines(
            "Duration of rules",
            "Share of each group's interval; at 100 % evaluations are left out.",
            [over_time(duration / interval, "{{rule_group}}")],
            "percentunit",
            steps=above(thresholds.RULES_SLOW.bound),
            low=0,
        ),
        lines(
            "Failed evaluations of rules",
            "Per second and group; anything but 0 makes its alerts and recorded series doubtful.",
            [over_time(now("prometheus_rule_evaluation_failures_total", "rule_group"), "{{rule_group}}")],
            "ops",
            low=0,
        ),
        lines(
            "From Prometheus to Alertmanager",
            "Alerts per second.",
            [
                over_time(now("prometheus_notifications_sent_total"), "sent"),
                over_time(now("prometheus_notifications_errors_total"), "failed"),
            ],
            "ops",
            low=0,
        ),
        lines(
            "From Alertmanager to receivers",
            "Notifications per second.",
            [
                over_time(now("alertmanager_notifications_total", "integration"), "{{integration}}"),
                over_time(
                    now("alertmanager_notifications_failed_total", "integration"),
                    "{{integration}} failed",
                ),
            ],
            "ops",
            low=0,
        ),
    )
