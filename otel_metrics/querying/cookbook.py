"""Questions that users asked the old tables, each with one query: what ``otel-metrics query`` and ``advanced.query()`` know by name.

docs/cookbook.md is generated from :data:`COOKBOOK`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from otel_metrics import catalogue as c
from otel_metrics.catalogue import Family
from otel_metrics.promql import (
    HistogramChange,
    Number,
    Series,
    aggregate,
    call,
    duration,
    ends_at,
    equal,
    last_over,
    like,
    number,
    rate,
    relabel,
    series,
    sum_by,
    total,
    unequal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_metrics.catalogue import Label, Metric
    from otel_metrics.promql import Dialect, Expression

WEEK: Final = 7 * c.SECONDS_PER_DAY
"""Seconds."""

_MOST: Final = 10
"""Rows of a question that asks for the most of something."""

_NO_DEVIATION: Final = 1e-9
"""Product of two deviations, up to which values that are all the same may differ by rounding."""

_SLOW: Final = 1.0
"""Seconds; a bucket ends there, so shares above it are exact."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a question is asked in: the server's dialect, and how many seconds one value of the answer covers."""

    dialect: Dialect
    seconds: float

    @property
    def window(self) -> str:
        """The same as a duration."""
        return duration(self.seconds)

    def added(self, metric: Metric, *by: Label, where: str = "", ago: float = 0) -> Expression:
        """Return what was added to a counter, in a window that ended some seconds ago."""
        return total(metric, self.dialect.past(self.seconds, ago), _names(by), where)

    def values(self, metric: Metric, *by: Label, ago: float = 0) -> HistogramChange:
        """Return the values recorded in a histogram, in a window that ended some seconds ago."""
        return HistogramChange(metric, self.dialect.past(self.seconds, ago), _names(by), native=self.dialect.native)

    def hourly(self, metric: Metric, *by: Label) -> Expression:
        """Return the average of the last hour of a histogram."""
        return HistogramChange(metric, rate("1h"), _names(by), native=self.dialect.native).average()


@dataclass(frozen=True, slots=True)
class Question:
    """One entry of the cookbook."""

    name: str
    family: Family
    question: str
    value: str
    """What the number of a row is, with its unit."""
    ask: Callable[[Terms], Expression]
    """Makes the query; of a question about :attr:`exemplars`, the selector of a histogram."""
    trend: bool = False
    """The answer is a curve: each point covers one step."""
    order: Literal["highest", "lowest", "labels"] = "highest"
    """What rows are sorted by."""
    exemplars: bool = False
    """The answer is not in series, but in what they keep of single values, such as interaction ids."""


def _names(labels: tuple[Label, ...]) -> tuple[str, ...]:
    return tuple(label.name for label in labels)


# -------------------------------------------------------------------------------------------------------- performance


def _slowest_metrics(terms: Terms) -> Expression:
    durations = terms.values(c.PERFORMANCE_DURATION, c.FEATURE, c.METRIC_CATEGORY, c.METRIC_NAME)
    return aggregate("topk", (), _MOST, durations.quantile(0.95))


def _duration_trend(terms: Terms) -> Expression:
    return terms.values(c.PERFORMANCE_DURATION, c.FEATURE).quantile(0.95)


def _slower_than_last_week(terms: Terms) -> Expression:
    before = terms.values(c.PERFORMANCE_DURATION, c.FEATURE, ago=WEEK)
    return terms.values(c.PERFORMANCE_DURATION, c.FEATURE).average() / before.average()


def _duration_by_context(terms: Terms) -> Expression:
    return terms.values(c.PERFORMANCE_DURATION, c.FEATURE, c.CONTEXT).average()


def _slow_share(terms: Terms) -> Expression:
    by, change = (c.FEATURE.name,), terms.dialect.past(terms.seconds, 0)
    if terms.dialect.native:
        values = sum_by(by, change(series(c.PERFORMANCE_DURATION)))
        return call("histogram_fraction", _SLOW, Number("+Inf"), values) >= 0
    quick = sum_by(by, change(series(c.PERFORMANCE_DURATION, ends_at(_SLOW), suffix="_bucket")))
    return number(1) - quick / (terms.values(c.PERFORMANCE_DURATION, c.FEATURE).count() > 0)


# ------------------------------------------------------------------------------------------------------- satisfaction


def _satisfaction_by_type(terms: Terms) -> Expression:
    return terms.values(c.SATISFACTION_SCORE, c.FEATURE, c.SATISFACTION_TYPE).average()


def _satisfaction_trend(terms: Terms) -> Expression:
    return terms.values(c.SATISFACTION_SCORE, c.FEATURE).average()


def _satisfaction_against_last_week(terms: Terms) -> Expression:
    before = terms.values(c.SATISFACTION_SCORE, c.FEATURE, ago=WEEK)
    return terms.values(c.SATISFACTION_SCORE, c.FEATURE).average() - before.average()


def _satisfaction_and_duration(terms: Terms) -> Expression:
    scores, durations = terms.hourly(c.SATISFACTION_SCORE, c.FEATURE), terms.hourly(c.PERFORMANCE_DURATION, c.FEATURE)

    def over_hours(function: str, of: Expression) -> Expression:
        return call(function, of.every(terms.window, "1h"))

    def both(function: str) -> tuple[Expression, Expression]:
        """Return the same of both, of the hours that have both."""
        return over_hours(function, scores & durations), over_hours(function, durations & scores)

    score, seconds = both("avg_over_time")
    score_deviation, seconds_deviation = both("stddev_over_time")
    covariance = over_hours("avg_over_time", scores * durations) - score * seconds
    return covariance / (score_deviation * seconds_deviation > _NO_DEVIATION)


def _unhappy_interactions(terms: Terms) -> Expression:
    return series(c.SATISFACTION_SCORE, suffix="" if terms.dialect.native else "_bucket")


# -------------------------------------------------------------------------------------------------------------- usage


def _compare_features(terms: Terms) -> Expression:
    measures = {
        "uses": terms.added(c.USAGE, c.FEATURE),
        "failed share": _failed(terms, c.FEATURE),
        "errors": terms.added(c.ERRORS, c.FEATURE),
        "satisfaction": terms.values(c.SATISFACTION_SCORE, c.FEATURE).average(),
        "average seconds": terms.values(c.PERFORMANCE_DURATION, c.FEATURE).average(),
    }
    first, *others = (relabel(measure, "measure", name) for name, measure in measures.items())
    for other in others:
        first |= other
    return first


def _failed(terms: Terms, *by: Label) -> Expression:
    """Return the share of uses that failed, of those whose outcome is known."""
    known = terms.added(c.USAGE, *by, where=unequal(c.OUTCOME, "unknown")) > 0
    failed = terms.added(c.USAGE, *by, where=equal(c.OUTCOME, "failure"))
    return failed / known


def _most_used_actions(terms: Terms) -> Expression:
    return aggregate("topk", (), _MOST, terms.added(c.USAGE, c.FEATURE, c.ACTION) > 0)


def _failing_actions(terms: Terms) -> Expression:
    return _failed(terms, c.FEATURE, c.ACTION) > 0


def _use_trend(terms: Terms) -> Expression:
    return terms.added(c.USAGE, c.FEATURE)


def _silent_features(terms: Terms) -> Expression:
    before = terms.added(c.USAGE, c.FEATURE, ago=terms.seconds) > 0
    return before.unless(terms.added(c.USAGE, c.FEATURE) > 0)


# ------------------------------------------------------------------------------------------------------------- errors


def _frequent_errors(terms: Terms) -> Expression:
    return aggregate("topk", (), _MOST, terms.added(c.ERRORS, c.FEATURE, c.ERROR_TYPE) > 0)


def _error_trend(terms: Terms) -> Expression:
    return terms.added(c.ERRORS, c.SEVERITY)


def _errors_against_last_week(terms: Terms) -> Expression:
    now = terms.added(c.ERRORS, c.FEATURE)
    return now - (terms.added(c.ERRORS, c.FEATURE, ago=WEEK) | now * 0)


def _errors_per_use(terms: Terms) -> Expression:
    return terms.added(c.ERRORS, c.FEATURE) / (terms.added(c.USAGE, c.FEATURE) > 0) * 100


def _recovery_rate(terms: Terms) -> Expression:
    by = (c.FEATURE, c.ERROR_TYPE)
    tried = terms.added(c.ERRORS, *by, where=unequal(c.RECOVERY, "none")) > 0
    # Where recovery has never worked, nothing counts that it did.
    return (terms.added(c.ERRORS, *by, where=equal(c.RECOVERY, "succeeded")) | tried * 0) / tried


# ------------------------------------------------------------------------------- learning, optimization and resources


def _learning_quality(terms: Terms) -> Expression:
    return terms.values(c.LEARNING_ACCURACY, c.FEATURE, c.LEARNING_TYPE).average()


def _overconfident_learning(terms: Terms) -> Expression:
    by = (c.FEATURE, c.LEARNING_TYPE)
    return terms.values(c.LEARNING_CONFIDENCE, *by).average() - terms.values(c.LEARNING_ACCURACY, *by).average()


def _grown_by_optimization(terms: Terms) -> Expression:
    by = c.OPTIMIZATION_AFTER.label_names
    after, before = (
        aggregate("max", by, last_over(series(metric).over(terms.window)))
        for metric in (c.OPTIMIZATION_AFTER, c.OPTIMIZATION_BEFORE)
    )
    return aggregate("topk", (), _MOST, after / (before > 0) > 1)


def _fullest_resources(terms: Terms) -> Expression:
    latest = last_over(series(c.RESOURCE_UTILIZATION).over(terms.window))
    return aggregate("topk", (), _MOST, aggregate("max", c.RESOURCE_UTILIZATION.label_names, latest))


def _resources_full_soon(terms: Terms) -> Expression:
    used = series(c.RESOURCE_UTILIZATION)
    per_hour = (call("deriv", used.over(terms.window)) > 0) * 3600
    return aggregate("min", c.RESOURCE_UTILIZATION.label_names, (number(1) - used) / per_hour)


COOKBOOK: Final[dict[str, Question]] = {
    question.name: question
    for question in (
        Question(
            "slowest-metrics",
            Family.PERFORMANCE,
            "Which metrics are slowest?",
            "95th percentile, seconds",
            _slowest_metrics,
        ),
        Question(
            "duration-trend",
            Family.PERFORMANCE,
            "Is a feature getting slower?",
            "95th percentile, seconds",
            _duration_trend,
            trend=True,
        ),
        Question(
            "slower-than-last-week",
            Family.PERFORMANCE,
            "Which features are slower than a week ago?",
            "average duration ÷ a week ago",
            _slower_than_last_week,
        ),
        Question(
            "duration-by-context",
            Family.PERFORMANCE,
            "Is production slower than staging?",
            "average, seconds",
            _duration_by_context,
        ),
        Question(
            "slow-share",
            Family.PERFORMANCE,
            "How many of the durations are above one second?",
            "share above 1 s",
            _slow_share,
        ),
        Question(
            "satisfaction-by-type",
            Family.SATISFACTION,
            "What are users least satisfied with?",
            "average score, 0 to 1",
            _satisfaction_by_type,
            order="lowest",
        ),
        Question(
            "satisfaction-trend",
            Family.SATISFACTION,
            "How does satisfaction develop?",
            "average score, 0 to 1",
            _satisfaction_trend,
            trend=True,
        ),
        Question(
            "satisfaction-against-last-week",
            Family.SATISFACTION,
            "Are users less satisfied than a week ago?",
            "average score - a week ago",
            _satisfaction_against_last_week,
            order="lowest",
        ),
        Question(
            "satisfaction-and-duration",
            Family.SATISFACTION,
            "Are users less satisfied in the hours that are slower?",
            "correlation, -1 to 1",
            _satisfaction_and_duration,
            order="lowest",
        ),
        Question(
            "unhappy-interactions",
            Family.SATISFACTION,
            "Which interactions left users least satisfied?",
            "score, 0 to 1",
            _unhappy_interactions,
            order="lowest",
            exemplars=True,
        ),
        Question(
            "compare-features",
            Family.USAGE,
            "How do features compare?",
            "what is measured",
            _compare_features,
            order="labels",
        ),
        Question(
            "most-used-actions",
            Family.USAGE,
            "What is used most?",
            "uses",
            _most_used_actions,
        ),
        Question(
            "failing-actions",
            Family.USAGE,
            "Which actions fail?",
            "share of uses that fail",
            _failing_actions,
        ),
        Question(
            "use-trend",
            Family.USAGE,
            "When is a feature used?",
            "uses",
            _use_trend,
            trend=True,
        ),
        Question(
            "silent-features",
            Family.USAGE,
            "Which features are not used any more?",
            "uses in the time before",
            _silent_features,
        ),
        Question(
            "frequent-errors",
            Family.ERROR,
            "Which errors are most frequent?",
            "errors",
            _frequent_errors,
        ),
        Question(
            "error-trend",
            Family.ERROR,
            "Are there more and more errors, and how severe are they?",
            "errors",
            _error_trend,
            trend=True,
        ),
        Question(
            "errors-against-last-week",
            Family.ERROR,
            "Which features have more errors than a week ago?",
            "errors - a week ago",
            _errors_against_last_week,
        ),
        Question(
            "errors-per-use",
            Family.ERROR,
            "Which features fail often for how much they are used?",
            "errors per 100 uses",
            _errors_per_use,
        ),
        Question(
            "recovery-rate",
            Family.ERROR,
            "From which errors does recovery fail?",
            "share of recoveries that worked",
            _recovery_rate,
            order="lowest",
        ),
        Question(
            "learning-quality",
            Family.LEARNING,
            "Where is learning least accurate?",
            "average accuracy, 0 to 1",
            _learning_quality,
            order="lowest",
        ),
        Question(
            "overconfident-learning",
            Family.LEARNING,
            "Where is learning more confident than accurate?",
            "confidence - accuracy",
            _overconfident_learning,
        ),
        Question(
            "grown-by-optimization",
            Family.OPTIMIZATION,
            "Which optimizations made their value grow, which makes times and resources worse?",
            "value after ÷ before",
            _grown_by_optimization,
        ),
        Question(
            "fullest-resources",
            Family.RESOURCE,
            "Which resources are fullest?",
            "share in use",
            _fullest_resources,
        ),
        Question(
            "resources-full-soon",
            Family.RESOURCE,
            "Which resources will be full soon?",
            "hours until full",
            _resources_full_soon,
            order="lowest",
        ),
    )
}
"""The questions by name."""

_HISTOGRAMS: Final = tuple(metric for metric in c.CATALOGUE if metric.kind is c.Kind.HISTOGRAM)


def native_histograms(seconds: float) -> Expression:
    """Return the query that has a result where a server stores native histograms of ours: their names have no suffix."""
    names = "|".join(series(metric).name for metric in _HISTOGRAMS)
    return aggregate("group", (), last_over(Series("", (like("__name__", names),)).over(duration(seconds))))
