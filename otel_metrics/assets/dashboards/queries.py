"""What panels ask. Every count over the dashboard's period is exact, as ``get_*`` counts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds
from otel_metrics.assets.dashboards.panels import Bound
from otel_metrics.assets.feature_alerts import RESPONSE_TIME_CATEGORY
from otel_metrics.assets.recording import (
    DURATION_1H,
    DURATIONS_1H,
    ERRORS_1H,
    RESPONSES_1H,
    SATISFACTION_1H,
    USES_5M,
)
from otel_metrics.catalogue import (
    ERRORS,
    FEATURE,
    METRIC_CATEGORY,
    OUTCOME,
    RECOVERY,
    SATISFACTION_RESPONSES,
    SATISFIED,
    SIGN,
    USAGE,
    Kind,
)
from otel_metrics.promql import (
    HistogramChange,
    Series,
    aggregate,
    call,
    equal,
    last_over,
    like,
    rate,
    relabel,
    series,
    sum_by,
    total,
    unequal,
)

if TYPE_CHECKING:
    from otel_metrics.assets.scope import Labels
    from otel_metrics.catalogue import Label, Metric
    from otel_metrics.promql import (
        Change,
        Dialect,
        Expression,
    )

NOW: Final = rate("$__rate_interval")
ZERO: Final = call("vector", 0)
WEEK: Final = "7d"
SHOWN: Final = 8
"""At most so many curves are drawn in one graph."""


def in_each_step(selector: Series) -> Expression:
    """Return the change within each step of a graph, for bars; extrapolated a little, absent where nothing changed."""
    return call("increase", selector.over("$__rate_interval")) > 0


def chosen(label: Label) -> str:
    """Return the matcher for the values chosen in the variable of a label's name."""
    return like(label, f"${label.name}")


def recorded(name: str, *matchers: str) -> Series:
    """Return the selector of a recorded series of the chosen features."""
    return Series(name).where(chosen(FEATURE), *matchers)


def per_minute(expression: Expression) -> Expression:
    """Return a rate in a unit that people count in."""
    return expression * 60


def worst(expression: Series, *, best: str = "topk") -> Expression:
    """Return the curves of a recorded series that are worst at the end: the same ones at every step."""
    return expression.also(
        aggregate(best, (), SHOWN, last_over(expression.over("15m", at="end()"))), on=(FEATURE.name,)
    )


def whole(selector: Series) -> Expression:
    """Return the change over the whole period at every step of a graph, to choose curves by."""
    return call("increase", selector.over("$__range", at="end()"))


def only(expression: Expression, ranking: Expression, by: tuple[str, ...], *, best: str = "topk") -> Expression:
    """Return the curves that rank first over the whole period: the same ones at every step."""
    return expression.also(aggregate(best, (), SHOWN, ranking), on=by)


def most_of(metric: Metric, change: Change, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return the curves of a counter that grew most in the period."""
    selector = series(metric, chosen(FEATURE), *matchers)
    return only(sum_by(by, change(selector)), sum_by(by, whole(selector)), by)


def named(expression: Expression, label: Label) -> Expression:
    """Return ``expression`` with a word for the label's absence, so that the legend has one."""
    return relabel(expression, label.name, "(none)", label.name, "")


# ------------------------------------------------------------------------------------------- what the alerts judge, 1 h


def hour_of_errors(*matchers: str) -> Series:
    """Return what FeatureErrorsHigh judges."""
    return recorded(ERRORS_1H, *matchers)


def hour_of_satisfaction() -> Expression:
    """Return what FeatureSatisfactionLow judges: nothing where too few responses were given."""
    return recorded(SATISFACTION_1H).also(Series(RESPONSES_1H) >= thresholds.SATISFACTION.events, on=(FEATURE.name,))


def hour_of_response_times() -> Expression:
    """Return what FeatureResponseTimeHigh judges: nothing where there were too few of them."""
    enough = Series(DURATIONS_1H, (RESPONSE_TIMES,)) >= thresholds.RESPONSE_TIME.events
    return recorded(DURATION_1H, RESPONSE_TIMES).also(enough, on=(FEATURE.name,))


RESPONSE_TIMES: Final = equal(METRIC_CATEGORY, RESPONSE_TIME_CATEGORY)
MANY: Final = Bound(thresholds.ERRORS.bound + 1)
UNLOVED: Final = Bound(thresholds.SATISFACTION.bound, low=True)
SLOW: Final = Bound(thresholds.RESPONSE_TIME.bound)


def success(by: tuple[str, ...]) -> Expression:
    """Return the share of uses that succeeded in the last hour, of those whose outcome is known, from recorded rates."""

    def uses(matcher: str) -> Expression:
        return sum_by(by, call("sum_over_time", recorded(USES_5M, matcher).over("1h")))

    return share(uses(equal(OUTCOME, "success")), uses(unequal(OUTCOME, "unknown")))


def failures(by: tuple[str, ...], *, offset: str = "") -> Expression:
    """Return the share of uses that fail, of those whose outcome is known, over half an hour: few uses make it jump."""

    def uses(matcher: str) -> Expression:
        return sum_by(by, call("sum_over_time", recorded(USES_5M, matcher).over("30m", offset=offset)))

    return share(uses(equal(OUTCOME, "failure")), uses(unequal(OUTCOME, "unknown")))


# -------------------------------------------------------------------------------------------- of the dashboard's period


def share(part: Expression, whole: Expression) -> Expression:
    """Return ``part`` of ``whole``: 0 where there is no part, absent where there is no whole."""
    return (part | whole * 0) / (whole > 0)


def success_rate(change: Change, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return the share of uses that succeeded, of those whose outcome is known."""
    known = unequal(OUTCOME, "unknown")
    succeeded = total(USAGE, change, by, chosen(FEATURE), equal(OUTCOME, "success"), *matchers)
    return share(succeeded, total(USAGE, change, by, chosen(FEATURE), known, *matchers))


def satisfaction_rate(change: Change, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return the share of responses at or above the threshold."""
    satisfied = total(SATISFACTION_RESPONSES, change, by, chosen(FEATURE), equal(SATISFIED, "true"), *matchers)
    return share(satisfied, total(SATISFACTION_RESPONSES, change, by, chosen(FEATURE), *matchers))


def recovery_rate(change: Change, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return the share of attempted recoveries that succeeded."""
    succeeded = total(ERRORS, change, by, chosen(FEATURE), equal(RECOVERY, "succeeded"), *matchers)
    attempted = total(ERRORS, change, by, chosen(FEATURE), unequal(RECOVERY, "none"), *matchers)
    return share(succeeded, attempted)


def added(metric: Metric, change: Change, by: tuple[str, ...] = (), *matchers: str) -> Expression:
    """Return what was added to a counter of the chosen features."""
    return total(metric, change, by, chosen(FEATURE), *matchers)


def count(expression: Expression) -> Expression:
    """Return how many series there are; 0, too."""
    return aggregate("count", (), expression) | ZERO


@dataclass(frozen=True, slots=True)
class Values:
    """Queries in the dialect of the server."""

    dialect: Dialect
    scope: Labels
    """The labels that tell applications apart. Panels put them into what they ask by themselves."""

    @property
    def native(self) -> bool:
        """Whether histograms are native."""
        return self.dialect.native

    @property
    def period(self) -> Change:
        """The exact change over the dashboard's period."""
        return self.dialect.period("$__range")

    def of(self, metric: Metric, change: Change, by: tuple[str, ...] = (), *matchers: str) -> HistogramChange:
        """Return the values of a histogram of the chosen features."""
        return HistogramChange(metric, change, by, (chosen(FEATURE), *matchers), self.native)

    def most(self, metric: Metric, change: Change, by: tuple[str, ...], *matchers: str) -> Expression:
        """Return the averages over time of what had most values in the period."""
        return only(self.of(metric, change, by, *matchers).average(), self.of(metric, whole, by, *matchers).count(), by)

    def distribution(self, metric: Metric, *matchers: str) -> Expression:
        """Return values per second by bucket; absent, not zero, when there were none, so that a heatmap can say so."""
        now = self.of(metric, NOW, (), *matchers)
        return now.buckets().also(now.count() > 0, on=())

    def signed_average(self, metric: Metric, change: Change, by: tuple[str, ...], *matchers: str) -> Expression:
        """Return the mean of values that may be below zero, which are recorded without their sign."""
        both = (chosen(FEATURE), *matchers)
        positive, negative = (self._sums(metric, change, *both, equal(SIGN, sign)) for sign in SIGN.values)
        count = HistogramChange(metric, change, by, both, self.native).count()
        return sum_by(by, positive | negative * -1) / (count > 0)

    def _sums(self, metric: Metric, change: Change, *matchers: str) -> Expression:
        """Return the sums of a histogram's series, each by itself."""
        if self.native:
            return call("histogram_sum", change(series(metric, *matchers)))
        return change(series(metric, *matchers, suffix="_sum"))

    def selector(self, metric: Metric, *matchers: str) -> Series:
        """Return a selector that finds every label set of a metric once."""
        suffix = "_count" if metric.kind is Kind.HISTOGRAM and not self.native else ""
        return series(metric, chosen(FEATURE), *matchers, suffix=suffix)


def latest(metric: Metric, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return the value of a gauge at the end of the period, the largest where several processes have one.

    As for ``get_*``, processes that ended within the period tell only of what no living one has.
    """
    found = series(metric, *matchers)
    return aggregate("max", by, found) | aggregate("max", by, last_over(found.over("$__range")))
