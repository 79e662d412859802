"""Recording rules that alerts and the overview read: the last hour exactly, and the last five minutes as rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets.rulefile import Group, Recording
from otel_metrics.assets.scope import SCOPE
from otel_metrics.catalogue import (
    ERRORS,
    FEATURE,
    METRIC_CATEGORY,
    OUTCOME,
    PERFORMANCE_DURATION,
    SATISFACTION_SCORE,
    SEVERITY,
    USAGE,
)
from otel_metrics.naming import series_name
from otel_metrics.promql import HistogramChange, rate, total

if TYPE_CHECKING:
    from otel_metrics.assets.scope import Labels
    from otel_metrics.catalogue import Metric
    from otel_metrics.promql import Change, Dialect, Expression

_NOW: Final = rate("5m")


def recorded(metric: Metric, operation: str, *labels: str) -> str:
    """Return the name of a recorded series: its labels, the metric, what was done to it.

    Labels of the scope are not named, as in ``path:requests:rate5m`` of Prometheus' own documentation: all series have them.
    """
    return f"{'_'.join(labels)}:{series_name(metric).removesuffix('_total')}:{operation}"


BY_FEATURE: Final = (FEATURE.name,)
BY_CATEGORY: Final = (FEATURE.name, METRIC_CATEGORY.name)
BY_OUTCOME: Final = (FEATURE.name, OUTCOME.name)
BY_SEVERITY: Final = (FEATURE.name, SEVERITY.name)

ERRORS_1H: Final = recorded(ERRORS, "increase1h", *BY_FEATURE)
ERRORS_5M: Final = recorded(ERRORS, "rate5m", *BY_SEVERITY)
USES_1H: Final = recorded(USAGE, "increase1h", *BY_FEATURE)
USES_5M: Final = recorded(USAGE, "rate5m", *BY_OUTCOME)
SATISFACTION_1H: Final = recorded(SATISFACTION_SCORE, "avg1h", *BY_FEATURE)
RESPONSES_1H: Final = recorded(SATISFACTION_SCORE, "count1h", *BY_FEATURE)
DURATION_1H: Final = recorded(PERFORMANCE_DURATION, "avg1h", *BY_CATEGORY)
DURATIONS_1H: Final = recorded(PERFORMANCE_DURATION, "count1h", *BY_CATEGORY)
DURATION_P95_5M: Final = recorded(PERFORMANCE_DURATION, "p95_5m", *BY_CATEGORY)


def groups(dialect: Dialect, scope: Labels = SCOPE) -> tuple[Group, ...]:
    """Return the rules, which keep the labels of the scope."""

    def of(metric: Metric, change: Change, by: Labels) -> HistogramChange:
        return HistogramChange(metric, change, (*scope, *by), native=dialect.native)

    def added(metric: Metric, change: Change, by: Labels) -> Expression:
        return total(metric, change, (*scope, *by))

    scores = of(SATISFACTION_SCORE, dialect.hour_of_histograms, BY_FEATURE)
    durations = of(PERFORMANCE_DURATION, dialect.hour_of_histograms, BY_CATEGORY)
    return (
        Group(
            "otel_metrics_hour",
            "1m",
            (
                Recording(ERRORS_1H, added(ERRORS, dialect.hour, BY_FEATURE)),
                Recording(USES_1H, added(USAGE, dialect.hour, BY_FEATURE)),
                Recording(SATISFACTION_1H, scores.average()),
                Recording(RESPONSES_1H, scores.count()),
                Recording(DURATION_1H, durations.average()),
                Recording(DURATIONS_1H, durations.count()),
            ),
            "What happened in the last hour, to the last unit: alerts judge by it, the overview shows it.",
        ),
        Group(
            "otel_metrics_now",
            "1m",
            (
                Recording(ERRORS_5M, added(ERRORS, _NOW, BY_SEVERITY)),
                Recording(USES_5M, added(USAGE, _NOW, BY_OUTCOME)),
                Recording(DURATION_P95_5M, of(PERFORMANCE_DURATION, _NOW, BY_CATEGORY).quantile(0.95)),
            ),
            "How fast it goes now, per second over five minutes: the curves of the overview.",
        ),
    )
