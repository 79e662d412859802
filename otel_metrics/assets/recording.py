"""Recording rules that alerts and the overview read: the last hour exactly, and the last five minutes as rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets.rulefile import Group, Recording
from otel_metrics.assets.scope import SCOPE
from otel_metrics.catalogue import (
    ERRORS,
    FEATURE,
    IMPACT_CATEGORY,
    LEARNING_ACCURACY,
    LEARNING_SAMPLES,
    LEARNING_TYPE,
    METRIC_CATEGORY,
    OPTIMIZATION_CHANGE,
    OUTCOME,
    PERFORMANCE_DURATION,
    RECOVERY,
    SATISFACTION_SCORE,
    SEVERITY,
    USAGE,
)
from otel_metrics.naming import series_name
from otel_metrics.promql import HistogramChange, like, rate, total

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
BY_RECOVERY: Final = (FEATURE.name, RECOVERY.name)
BY_LEARNING_TYPE: Final = (FEATURE.name, LEARNING_TYPE.name)
BY_IMPACT_CATEGORY: Final = (FEATURE.name, IMPACT_CATEGORY.name)

SEVERE: Final = like(SEVERITY, "critical|error")
"""What counts as an error where errors are judged: warnings and infos do not."""

ERRORS_1H: Final = recorded(ERRORS, "increase1h", *BY_FEATURE)
ERRORS_5M: Final = recorded(ERRORS, "rate5m", *BY_SEVERITY)
RECOVERIES_1H: Final = recorded(ERRORS, "increase1h", *BY_RECOVERY)
USES_1H: Final = recorded(USAGE, "increase1h", *BY_FEATURE)
OUTCOMES_1H: Final = recorded(USAGE, "increase1h", *BY_OUTCOME)
USES_5M: Final = recorded(USAGE, "rate5m", *BY_OUTCOME)
SATISFACTION_1H: Final = recorded(SATISFACTION_SCORE, "avg1h", *BY_FEATURE)
RESPONSES_1H: Final = recorded(SATISFACTION_SCORE, "count1h", *BY_FEATURE)
DURATION_1H: Final = recorded(PERFORMANCE_DURATION, "avg1h", *BY_CATEGORY)
DURATIONS_1H: Final = recorded(PERFORMANCE_DURATION, "count1h", *BY_CATEGORY)
ACCURACY_1H: Final = recorded(LEARNING_ACCURACY, "avg1h", *BY_LEARNING_TYPE)
LEARNINGS_1H: Final = recorded(LEARNING_ACCURACY, "count1h", *BY_LEARNING_TYPE)
SAMPLES_1H: Final = recorded(LEARNING_SAMPLES, "increase1h", *BY_LEARNING_TYPE)
CHANGE_1H: Final = recorded(OPTIMIZATION_CHANGE, "avg1h", *BY_IMPACT_CATEGORY)
DURATION_P95_5M: Final = recorded(PERFORMANCE_DURATION, "p95_5m", *BY_CATEGORY)


def groups(dialect: Dialect, scope: Labels = SCOPE) -> tuple[Group, ...]:
    """Return the rules, which keep the labels of the scope."""

    def of(metric: Metric, change: Change, by: Labels) -> HistogramChange:
        return HistogramChange(metric, change, (*scope, *by), native=dialect.native)

    def added(metric: Metric, change: Change, by: Labels, *matchers: str) -> Expression:
        return total(metric, change, (*scope, *by), *matchers)

    scores = of(SATISFACTION_SCORE, dialect.hour_of_histograms, BY_FEATURE)
    durations = of(PERFORMANCE_DURATION, dialect.hour_of_histograms, BY_CATEGORY)
    accuracies = of(LEARNING_ACCURACY, dialect.hour_of_histograms, BY_LEARNING_TYPE)
    changes = of(OPTIMIZATION_CHANGE, dialect.hour_of_histograms, BY_IMPACT_CATEGORY)
    return (
        Group(
            "otel_metrics_hour",
            "1m",
            (
                Recording(ERRORS_1H, added(ERRORS, dialect.hour, BY_FEATURE, SEVERE)),
                Recording(RECOVERIES_1H, added(ERRORS, dialect.hour, BY_RECOVERY)),
                Recording(USES_1H, added(USAGE, dialect.hour, BY_FEATURE)),
                Recording(OUTCOMES_1H, added(USAGE, dialect.hour, BY_OUTCOME)),
                Recording(SATISFACTION_1H, scores.average()),
                Recording(RESPONSES_1H, scores.count()),
                Recording(DURATION_1H, durations.average()),
                Recording(DURATIONS_1H, durations.count()),
                Recording(ACCURACY_1H, accuracies.average()),
                Recording(LEARNINGS_1H, accuracies.count()),
                Recording(SAMPLES_1H, added(LEARNING_SAMPLES, dialect.hour, BY_LEARNING_TYPE)),
                Recording(CHANGE_1H, changes.average()),
            ),
            "What happened in the last hour, to the last unit: alerts judge by it, the overview shows it. An error by feature alone "
            "is one of severity critical or error.",
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
