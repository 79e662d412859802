"""Recording rules that alerts and dashboards read: the last hour exactly, the last five minutes as rates, and sums of which long
periods are made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds
from otel_metrics.assets.rulefile import Group, Recording
from otel_metrics.assets.scope import SCOPE
from otel_metrics.catalogue import (
    CONTEXT,
    ERRORS,
    FEATURE,
    IMPACT_CATEGORY,
    LEARNING_ACCURACY,
    LEARNING_CONFIDENCE,
    LEARNING_IMPROVEMENT,
    LEARNING_SAMPLES,
    LEARNING_TYPE,
    LEARNING_VALUE,
    METRIC_CATEGORY,
    METRIC_NAME,
    OPTIMIZATION_AFTER,
    OPTIMIZATION_BEFORE,
    OPTIMIZATION_CHANGE,
    OPTIMIZATION_USER_IMPACT,
    OPTIMIZATION_VALUE,
    OUTCOME,
    PERFORMANCE_DURATION,
    PERFORMANCE_RATE,
    PERFORMANCE_RATIO,
    PERFORMANCE_SIZE,
    PERFORMANCE_VALUE,
    RECOVERY,
    SATISFACTION_RESPONSES,
    SATISFACTION_SCORE,
    SEVERITY,
    SIGN,
    USAGE,
    USAGE_DURATION,
    Kind,
)
from otel_metrics.naming import series_name
from otel_metrics.promql import (
    HistogramChange,
    Series,
    aggregate,
    binary,
    call,
    equal,
    like,
    rate,
    series,
    sum_by,
    total,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

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
BY_RECOVERY: Final = (FEATURE.name, RECOVERY.name)
BY_LEARNING_TYPE: Final = (FEATURE.name, LEARNING_TYPE.name)
BY_IMPACT_CATEGORY: Final = (FEATURE.name, IMPACT_CATEGORY.name)

SEVERITIES: Final = ("critical", "error")
SEVERE: Final = like(SEVERITY, "|".join(SEVERITIES))
"""What counts as an error where errors are judged: warnings and infos do not."""

ERRORS_1H: Final = recorded(ERRORS, "increase1h", *BY_FEATURE)
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
UNUSED_SINCE: Final = recorded(USAGE, "unused_since", *BY_FEATURE)
FEATURE_SILENT: Final = "FeatureSilent"
"""The alert whose condition comes an hour later than what it reports."""
SINCE: Final = "ALERTS:since"
"""Alerts that fire or are pending, as ``ALERTS`` has them, each with the moment since when what it reports has been there."""
LATEST: Final = {metric: f"job:{series_name(metric)}:max" for metric in (OPTIMIZATION_BEFORE, OPTIMIZATION_AFTER)}
"""Gauges whose last values panels ask for: the largest where several processes that live have one."""


# ------------------------------------------------------------------------------------------------------ sums of periods

QUARTER: Final = "15m"
HOUR: Final = "1h"


@dataclass(frozen=True, slots=True)
class Sums:
    """What was added to a metric in each ``window``, of all processes together: a period is the sum of them.

    Panels that read raw samples of a week would read millions for one number.
    """

    metric: Metric
    window: str = QUARTER
    without: tuple[str, ...] = (SIGN.name,)
    """Labels of the metric that no panel asks for."""

    @property
    def labels(self) -> Labels:
        """The labels that are kept."""
        return tuple(name for name in self.metric.label_names if name not in self.without)

    def name(self, operation: str = "increase", suffix: str = "") -> str:
        """Return the name of the recorded series; it begins with ``job``, as all labels but those of processes are kept."""
        return f"job:{series_name(self.metric).removesuffix('_total')}{suffix}:{operation}{self.window}"


_NO_CONTEXT: Final = (SIGN.name, CONTEXT.name)
_OF_PERIODS: Final = (
    *(Sums(metric) for metric in (ERRORS, USAGE, SATISFACTION_RESPONSES, LEARNING_SAMPLES)),
    *(
        Sums(metric, without=_NO_CONTEXT)
        for metric in (
            PERFORMANCE_DURATION,
            PERFORMANCE_SIZE,
            PERFORMANCE_RATIO,
            PERFORMANCE_RATE,
            PERFORMANCE_VALUE,
        )
    ),
    Sums(USAGE_DURATION, without=(OUTCOME.name,)),
    *(
        Sums(metric)
        for metric in (
            SATISFACTION_SCORE,
            LEARNING_ACCURACY,
            LEARNING_CONFIDENCE,
            LEARNING_IMPROVEMENT,
            LEARNING_VALUE,
            OPTIMIZATION_CHANGE,
            OPTIMIZATION_USER_IMPACT,
            OPTIMIZATION_VALUE,
        )
    ),
)
SUMS: Final = {each.metric: each for each in _OF_PERIODS}
"""Counters, and counts and sums of histograms, by their metric."""

_DISTRIBUTIONS: Final = (
    Sums(PERFORMANCE_DURATION, HOUR, _NO_CONTEXT),
    Sums(USAGE_DURATION, HOUR, (OUTCOME.name,)),
    Sums(SATISFACTION_SCORE, HOUR),
    Sums(LEARNING_ACCURACY, HOUR),
)
DISTRIBUTIONS: Final = {each.metric: each for each in _DISTRIBUTIONS}
"""Histograms of which panels show percentiles, by all their labels: each weighs as much as twenty numbers, so there is one an hour."""

_DURATIONS: Final = Sums(PERFORMANCE_DURATION, without=(*_NO_CONTEXT, METRIC_NAME.name))
SPREADS: Final = {**DISTRIBUTIONS, PERFORMANCE_DURATION: _DURATIONS}
"""Histograms of which panels show the buckets over time: of those with most names, without these."""


def _summed(sums: Sums, dialect: Dialect, scope: Labels) -> Iterator[Recording]:
    by = (*scope, *sums.labels)
    if sums.metric.kind is Kind.COUNTER:
        yield Recording(sums.name(), total(sums.metric, dialect.watched(sums.window), by))
        return
    change = dialect.watched_histograms(sums.window)
    values = HistogramChange(sums.metric, change, by, native=dialect.native)
    yield Recording(sums.name("count"), values.count())
    yield Recording(
        sums.name("sum"), _signed(sums.metric, dialect, change, by) if SIGN in sums.metric.labels else values.total()
    )


def _signed(metric: Metric, dialect: Dialect, change: Change, by: Labels) -> Expression:
    """Return the sum of values of which those below zero are recorded without their sign."""

    def of(sign: str) -> Expression:
        if dialect.native:
            return call("histogram_sum", change(series(metric, equal(SIGN, sign))))
        return change(series(metric, equal(SIGN, sign), suffix="_sum"))

    positive, negative = map(of, SIGN.values)
    return sum_by(by, positive | negative * -1)


def _distributed(sums: Sums, dialect: Dialect, scope: Labels) -> Recording:
    by = (*scope, *sums.labels)
    values = HistogramChange(sums.metric, dialect.watched_histograms(sums.window), by, native=dialect.native)
    if dialect.native:
        return Recording(sums.name(), values.values())
    return Recording(sums.name(suffix="_bucket"), replace(values, by=(*by, "le")).bucket())


def _unused_since() -> Expression:
    """Return when each feature that was not used in the last hour, but in the day before it, was used last."""
    used = Series(USES_1H).when(offset="-1h") > thresholds.SILENCE.bound
    last = call("max_over_time", (used * 0 + call("time")).every("26h", "1m"))
    return last.unless(Series(USES_1H) > thresholds.SILENCE.bound)


def _since(of_feature: Labels) -> Expression:
    """Return the alerts with the moments of what they report; ``of_feature`` is what tells features apart."""
    conditions = Series("ALERTS_FOR_STATE")
    silent = conditions.where(equal("alertname", FEATURE_SILENT)) * 0
    unused = binary(silent, "+", Series(UNUSED_SINCE), f"on ({', '.join(of_feature)}) group_left ()")
    return binary(Series("ALERTS"), "*", unused | conditions, "ignoring (alertstate) group_left ()")


def groups(dialect: Dialect, scope: Labels = SCOPE) -> tuple[Group, ...]:
    """Return the rules, which keep the labels of the scope."""

    def of(metric: Metric, change: Change, by: Labels) -> HistogramChange:
        return HistogramChange(metric, change, (*scope, *by), native=dialect.native)

    def added(metric: Metric, change: Change, by: Labels, *matchers: str) -> Expression:
        return total(metric, change, (*scope, *by), *matchers)

    def last_hour(metric: Metric, by: Labels) -> tuple[Recording, ...]:
        values = of(metric, dialect.hour_of_histograms, by)
        average, count, whole = (recorded(metric, operation, *by) for operation in ("avg1h", "count1h", "increase1h"))
        if not dialect.native:
            return (Recording(average, values.average()), Recording(count, values.count()))
        return (
            Recording(whole, values.values()),
            # NaN, which stands for no values, is not at least 0.
            Recording(average, call("histogram_avg", Series(whole)) >= 0),
            Recording(count, call("histogram_count", Series(whole))),
        )

    changes = of(OPTIMIZATION_CHANGE, dialect.hour_of_histograms, BY_IMPACT_CATEGORY)
    return (
        Group(
            "otel_metrics_hour",
            "1m",
            (
                Recording(USES_1H, added(USAGE, dialect.hour, BY_FEATURE)),
                Recording(OUTCOMES_1H, added(USAGE, dialect.hour, BY_OUTCOME)),
                Recording(ERRORS_1H, added(ERRORS, dialect.hour, BY_FEATURE, SEVERE) | Series(USES_1H) * 0),
                Recording(RECOVERIES_1H, added(ERRORS, dialect.hour, BY_RECOVERY)),
                *last_hour(SATISFACTION_SCORE, BY_FEATURE),
                *last_hour(PERFORMANCE_DURATION, BY_CATEGORY),
                *last_hour(LEARNING_ACCURACY, BY_LEARNING_TYPE),
                Recording(SAMPLES_1H, added(LEARNING_SAMPLES, dialect.hour, BY_LEARNING_TYPE)),
                Recording(CHANGE_1H, changes.average()),
            ),
            "What happened in the last hour, to the last unit: alerts judge by it, the overview shows it. An error by feature alone "
            "is one of severity critical or error. A feature that is used has 0 errors until it has some.",
        ),
        Group(
            "otel_metrics_now",
            "1m",
            (
                Recording(USES_5M, added(USAGE, _NOW, BY_OUTCOME)),
                Recording(DURATION_P95_5M, of(PERFORMANCE_DURATION, _NOW, BY_CATEGORY).quantile(0.95)),
                Recording(UNUSED_SINCE, _unused_since()),
                *(
                    Recording(name, aggregate("max", (*scope, *metric.label_names), series(metric)))
                    for metric, name in LATEST.items()
                ),
            ),
            "How fast it goes now, per second over five minutes: the curves of the overview. When what has not been used for an hour "
            "was used last. What optimizations measured last.",
        ),
        Group(
            "otel_metrics_alerts",
            "1m",
            (Recording(SINCE, _since((*scope, *BY_FEATURE))),),
            "Since when, in seconds since 1970, what each alert reports has been there: its condition, or that a feature is unused.",
        ),
        Group(
            "otel_metrics_quarters",
            QUARTER,
            (
                *(rule for sums in _OF_PERIODS for rule in _summed(sums, dialect, scope)),
                _distributed(_DURATIONS, dialect, scope),
            ),
            "What was added in each quarter of an hour: tables, curves and bars of a period add these up, where raw samples of a week "
            "would be millions.",
            dialect.delay,
        ),
        Group(
            "otel_metrics_distributions",
            HOUR,
            tuple(_distributed(sums, dialect, scope) for sums in _DISTRIBUTIONS),
            "How the values of each hour were distributed: percentiles of a period.",
            dialect.delay,
        ),
    )
