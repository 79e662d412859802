"""Errors and recoveries: what ``get_error_stats`` tells."""

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
    lines,
    over_time,
    stat,
    table,
)
from otel_metrics.assets.dashboards.queries import (
    MANY,
    PERIOD,
    SHOWN,
    ZERO,
    added,
    bars,
    chosen,
    most,
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
_ALERTS: Final = "Feature(Errors|Warnings|Recovery).+"


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = series(ERRORS, chosen(FEATURE))
    return Dashboard(
        uids.ERRORS,
        "otel_metrics / Errors",
        "What fails, how badly, and does it recover? Of what record_error recorded.",
        (FEATURES, Variable(SEVERITY.name, "Severity", selector)),
        (
            Section("", (*_tiles(), _types(), alert_table(values.scope, _ALERTS, height=11))),
            Section("Over time", _curves()),
        ),
        refresh="1m",
        alerts=_ALERTS,
    )


def _tiles() -> tuple[Panel, ...]:
    bound = thresholds.ERRORS.bound
    return (
        stat(
            "Most errors, last hour",
            f"Of severity error or critical, of the worst feature, whichever severity is chosen; exact. Red above {bound:g}, where {_ALERT} fires.",
            aggregate("topk", (), 1, recorded(ERRORS_1H)),
            bound=MANY,
            name=OF_FEATURE,
            none="no feature used",
            width=6,
        ),
        stat(
            "Errors in this period",
            f"Exact. {WHEN_OVER}",
            added(ERRORS, PERIOD, (), _WHERE),
            none=NONE_SO_FAR,
            width=6,
        ),
        stat(
            "Critical errors in this period",
            f"Of severity critical, exact. No alert judges them by themselves. {WHEN_OVER}",
            added(ERRORS, PERIOD, (), _WHERE, equal(SEVERITY, "critical")) | ZERO,
            width=6,
        ),
        stat(
            "Recoveries that succeeded",
            "Share of those that the application attempted in this period.",
            recovery_rate(PERIOD, (), _WHERE),
            "percentunit",
            none=NONE_SO_FAR,
            decimals=1,
            width=6,
        ),
    )


def _types() -> Panel:
    return table(
        "Errors in this period, by feature and type",
        f"Exact counts. {WHEN_OVER} The share of attempted recoveries that succeeded, – where none was attempted. The text of each error "
        "is in no metric; the setting events can keep it.",
        {"feature": "Feature", "error_type": "Type", "severity": "Severity", "impact_level": "Impact"},
        [
            Column("Errors", added(ERRORS, PERIOD, _KEY, _WHERE) > 0, width=76),
            Column("Recovered", recovery_rate(PERIOD, _KEY, _WHERE), "percentunit", decimals=1, width=92),
        ],
        menu=feature_menu(uids.ERRORS),
        widths={"Severity": 88, "Impact": 84},
        none="no errors counted in this period so far",
        sort="Errors",
        width=14,
        height=11,
    )


def _curves() -> tuple[Panel, ...]:
    bound = thresholds.ERRORS.bound
    by_type = (FEATURE.name, ERROR_TYPE.name)
    return (
        lines(
            "Errors of the last hour, by feature",
            f"Of severity error or critical, exact; the {SHOWN} worst features. The red line is the bound of {_ALERT}, {bound:g} an hour.",
            [over_time(worst(recorded(ERRORS_1H)), OF_FEATURE)],
            bound=MANY,
            low=0,
            width=12,
        ),
        counts(
            "Errors by severity, per quarter of an hour",
            f"Exact. {WHEN_OVER} Bars are longer where the period is long.",
            [over_time(bars(ERRORS, (SEVERITY.name,), _WHERE), "{{severity}}")],
            width=12,
        ),
        counts(
            "Errors by type, per quarter of an hour",
            f"The {SHOWN} most frequent types of the period.",
            [over_time(most(bars(ERRORS, by_type, _WHERE), ERRORS, by_type, _WHERE), "{{feature}} {{error_type}}")],
            width=12,
        ),
        counts(
            "Errors by recovery, per quarter of an hour",
            "Not tried, failed, succeeded: mostly succeeded is not urgent.",
            [over_time(bars(ERRORS, (RECOVERY.name,), _WHERE), "{{recovery}}")],
            width=12,
        ),
    )
