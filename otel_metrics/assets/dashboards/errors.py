"""Errors and recoveries: what ``get_error_stats`` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import alert_table
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import Column, counts, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import (
    MANY,
    SHOWN,
    ZERO,
    added,
    chosen,
    hour_of_errors,
    in_each_step,
    most_of,
    recorded,
    recovery_rate,
    worst,
)
from otel_metrics.assets.recording import ERRORS_1H
from otel_metrics.catalogue import ERROR_TYPE, ERRORS, FEATURE, IMPACT_LEVEL, RECOVERY, SEVERITY
from otel_metrics.promql import aggregate, equal, series

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values

_WHERE: Final = chosen(SEVERITY)
_KEY: Final = (FEATURE.name, ERROR_TYPE.name, SEVERITY.name, IMPACT_LEVEL.name)
_ALERT: Final = "FeatureErrorsHigh"


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = series(ERRORS, chosen(FEATURE))
    return Dashboard(
        uids.ERRORS,
        "otel_metrics / Errors",
        "What fails, how badly, and does it recover? Of what record_error recorded.",
        (FEATURES, Variable(SEVERITY.name, "Severity", selector)),
        (
            Section("", (*_tiles(values), _types(values), alert_table(values.scope, _ALERT, height=11))),
            Section("Over time", _curves()),
        ),
        refresh="1m",
        alerts=_ALERT,
    )


def _tiles(values: Values) -> tuple[Panel, ...]:
    bound = thresholds.ERRORS.bound
    return (
        stat(
            "Most errors, last hour",
            f"Of the worst feature, of any severity. Red above {bound:g}, where {_ALERT} fires.",
            aggregate("topk", (), 1, hour_of_errors()),
            bound=MANY,
            name="{{feature}}",
            none="no feature known",
            width=6,
        ),
        stat(
            "Errors in this period",
            "Exact.",
            added(ERRORS, values.period, (), _WHERE),
            none="no feature known",
            width=6,
        ),
        stat(
            "Critical errors in this period",
            "Of severity critical, exact. No alert judges them by themselves.",
            added(ERRORS, values.period, (), _WHERE, equal(SEVERITY, "critical")) | ZERO,
            width=6,
        ),
        stat(
            "Recoveries that succeeded",
            "Share of those that the application attempted in this period.",
            recovery_rate(values.period, (), _WHERE),
            "percentunit",
            none="none attempted",
            decimals=1,
            width=6,
        ),
    )


def _types(values: Values) -> Panel:
    return table(
        "Errors in this period, by feature and type",
        "Exact counts; the share of attempted recoveries that succeeded, – where none was attempted. The text of each error "
        "is in no metric; the setting events can keep it.",
        {"feature": "Feature", "error_type": "Type", "severity": "Severity", "impact_level": "Impact"},
        [
            Column("Errors", added(ERRORS, values.period, _KEY, _WHERE) > 0, width=76),
            Column("Recovered", recovery_rate(values.period, _KEY, _WHERE), "percentunit", decimals=1, width=92),
        ],
        menu=feature_menu(uids.ERRORS),
        widths={"Severity": 88, "Impact": 84},
        none="no errors in this period",
        sort="Errors",
        width=15,
        height=11,
    )


def _curves() -> tuple[Panel, ...]:
    bound = thresholds.ERRORS.bound
    by_type = (FEATURE.name, ERROR_TYPE.name)
    return (
        lines(
            "Errors of the last hour, by feature",
            f"The {SHOWN} worst features, exact. The red line is the bound of {_ALERT}, {bound:g} an hour.",
            [over_time(worst(recorded(ERRORS_1H)), "{{feature}}")],
            bound=MANY,
            low=0,
            width=12,
        ),
        counts(
            "Errors by severity, per ten minutes",
            "Bars are longer than ten minutes where the period is long.",
            [over_time(added(ERRORS, in_each_step, (SEVERITY.name,), _WHERE), "{{severity}}")],
            width=12,
        ),
        counts(
            "Errors by type, per ten minutes",
            f"The {SHOWN} most frequent types of the period.",
            [over_time(most_of(ERRORS, in_each_step, by_type, _WHERE), "{{feature}} {{error_type}}")],
            width=12,
        ),
        counts(
            "Errors by recovery, per ten minutes",
            "Not tried, failed, succeeded: mostly succeeded is not urgent.",
            [over_time(added(ERRORS, in_each_step, (RECOVERY.name,), _WHERE), "{{recovery}}")],
            width=12,
        ),
    )
