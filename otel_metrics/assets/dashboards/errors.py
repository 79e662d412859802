"""Errors and recoveries: what ``get_error_stats`` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.model import Dashboard, Section, address, label_variable, variables
from otel_metrics.assets.dashboards.panels import Column, above, below, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import NOW, ZERO, added, chosen, most, recorded, recovery_rate
from otel_metrics.assets.recording import ERRORS_1H
from otel_metrics.catalogue import ERROR_TYPE, ERRORS, FEATURE, IMPACT_LEVEL, RECOVERY, SEVERITY
from otel_metrics.promql import aggregate, equal, series, unequal

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.queries import Values

_WHERE = chosen(SEVERITY)
_MANY = above(thresholds.ERRORS.bound + 1)
_RECOVERED = below(0.5, good=0.9)
_KEY = (FEATURE.name, ERROR_TYPE.name, SEVERITY.name, IMPACT_LEVEL.name)


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = series(ERRORS, chosen(FEATURE))
    bound = f"{thresholds.ERRORS.bound:g}"
    return Dashboard(
        uids.ERRORS,
        "otel_metrics / Errors",
        "What record_error recorded: what fails, how badly, and whether it recovers.",
        variables(label_variable(SEVERITY.name, SEVERITY.name, selector, "Severity")),
        (
            Section(
                "",
                (
                    stat(
                        "Last hour, worst feature",
                        f"What the alert FeatureErrorsHigh looks at. Red above {bound}.",
                        most(recorded(ERRORS_1H)),
                        steps=_MANY,
                    ),
                    stat("Errors", "All errors in the period.", added(ERRORS, values.period, (), _WHERE), decimals=0),
                    stat(
                        "Critical",
                        "Errors of severity critical in the period.",
                        added(ERRORS, values.period, (), _WHERE, equal(SEVERITY, "critical")) | ZERO,
                        steps=above(1),
                    ),
                    stat(
                        "High impact",
                        "Errors of impact level high in the period.",
                        added(ERRORS, values.period, (), _WHERE, equal(IMPACT_LEVEL, "high")) | ZERO,
                        steps=above(1),
                    ),
                    stat(
                        "Recovery rate",
                        "Share of the attempted recoveries that succeeded.",
                        recovery_rate(values.period, (), _WHERE),
                        "percentunit",
                        _RECOVERED,
                        none="no recovery attempted",
                        decimals=1,
                    ),
                    stat(
                        "Recoveries attempted",
                        "Errors that the application tried to recover from.",
                        added(ERRORS, values.period, (), _WHERE, unequal(RECOVERY, "none")),
                    ),
                ),
            ),
            Section(
                "Over time",
                (
                    lines(
                        "Errors of the last hour, by feature",
                        f"What the alert FeatureErrorsHigh looks at; the dashed line is its bound, {bound} an hour.",
                        [over_time(recorded(ERRORS_1H), "{{feature}}")],
                        steps=_MANY,
                        low=0,
                    ),
                    lines(
                        "By severity",
                        "Errors per second.",
                        [over_time(added(ERRORS, NOW, (SEVERITY.name,), _WHERE), "{{severity}}")],
                        "ops",
                        stacked=True,
                        low=0,
                    ),
                    lines(
                        "By type",
                        "Errors per second, the ten most frequent types.",
                        [
                            over_time(
                                aggregate("topk", (), 10, added(ERRORS, NOW, (FEATURE.name, ERROR_TYPE.name), _WHERE)),
                                "{{feature}} {{error_type}}",
                            )
                        ],
                        "ops",
                        stacked=True,
                        low=0,
                    ),
                    lines(
                        "By recovery",
                        "Errors per second: not tried, failed, succeeded.",
                        [over_time(added(ERRORS, NOW, (RECOVERY.name,), _WHERE), "{{recovery}}")],
                        "ops",
                        stacked=True,
                        low=0,
                    ),
                ),
            ),
            Section(
                "In this period",
                (
                    table(
                        "By feature and type",
                        "Exact counts; only what happened in the period.",
                        {"feature": "Feature", "error_type": "Type", "severity": "Severity", "impact_level": "Impact"},
                        [
                            Column("Errors", added(ERRORS, values.period, _KEY, _WHERE) > 0, decimals=0),
                            Column(
                                "Recovery rate",
                                recovery_rate(values.period, _KEY, _WHERE),
                                "percentunit",
                                _RECOVERED,
                                decimals=1,
                            ),
                        ],
                        links={"Feature": address(uids.ERRORS, "var-feature=${__value.raw:percentencode}")},
                        height=11,
                    ),
                ),
            ),
        ),
    )
