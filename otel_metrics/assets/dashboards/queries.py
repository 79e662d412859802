"""What panels ask. Numbers over the dashboard's period add up what rules have recorded of each quarter of an hour, exactly;
no panel reads raw samples of a period.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds
from otel_metrics.assets.dashboards.panels import AMBER, Bound
from otel_metrics.assets.feature_alerts import RESPONSE_TIME_CATEGORY
from otel_metrics.assets.recording import (
    BY_FEATURE,
    DISTRIBUTIONS,
    DURATION_1H,
    DURATIONS_1H,
    LATEST,
    OUTCOMES_1H,
    RESPONSES_1H,
    SATISFACTION_1H,
    SPREADS,
    SUMS,
)
from otel_metrics.assets.scope import variable
from otel_metrics.catalogue import (
    ERRORS,
    FEATURE,
    METRIC_CATEGORY,
    OUTCOME,
    RECOVERY,
    RESOURCE_NAME,
    RESOURCE_TYPE,
    RESOURCE_UTILIZATION,
    SATISFACTION_RESPONSES,
    SATISFIED,
    USAGE,
    Kind,
)
from otel_metrics.promql import (
    Number,
    Series,
    aggregate,
    binary,
    call,
    equal,
    last_over,
    like,
    relabel,
    series,
    sum_by,
    unequal,
)

if TYPE_CHECKING:
    from otel_metrics.assets.recording import Sums
    from otel_metrics.assets.scope import Labels
    from otel_metrics.catalogue import Label, Metric
    from otel_metrics.promql import Dialect, Expression

ZERO: Final = call("vector", 0)
WEEK: Final = "7d"
SHOWN: Final = 8
"""At most so many curves are drawn in one graph."""

PERIOD: Final = "$__range"
"""The window of numbers of the dashboard's period."""
STEP: Final = "$__interval"
"""The window of a graph's points and bars: no longer than from one to the next, so that nothing is in two of them."""


def in_each_step(selector: Series) -> Expression:
    """Return the change of a raw counter within each step of a graph; extrapolated a little, absent where nothing changed."""
    return call("increase", selector.over("$__rate_interval")) > 0


def chosen(label: Label) -> str:
    """Return the matcher for the values chosen in the label's variable."""
    return like(label, f"${variable(label.name)}")


def recorded(name: str, *matchers: str) -> Series:
    """Return the selector of a recorded series of the chosen features."""
    return Series(name).where(chosen(FEATURE), *matchers)


_MINUTES: Final = Number("$__interval_ms") / 60_000
"""Of a step."""


def per_minute(expression: Expression) -> Expression:
    """Return a rate in a unit that people count in."""
    return expression * 60


def only(expression: Expression, ranking: Expression, *, best: str = "topk", shown: int = SHOWN) -> Expression:
    """Return the curves that rank first, by something with the same labels: the same ones at every step."""
    return expression & aggregate(best, (), shown, ranking)


def at_last(expression: Series) -> Expression:
    """Return the last values of a recorded series in the period, however long ago they were."""
    return last_over(expression.over(PERIOD, at="end()"))


def worst(expression: Series, *, best: str = "topk", shown: int = SHOWN) -> Expression:
    """Return the curves of a recorded series whose last values are the worst."""
    return only(expression, at_last(expression), best=best, shown=shown)


def named(expression: Expression, label: Label) -> Expression:
    """Return ``expression`` with a word for the label's absence, so that the legend has one."""
    return relabel(expression, label.name, "(none)", label.name, "")


# ------------------------------------------------------------------------------------------- what the alerts judge, 1 h


def hour_of_satisfaction() -> Expression:
    """Return what FeatureSatisfactionLow judges: nothing where too few responses were given."""
    return recorded(SATISFACTION_1H) & (Series(RESPONSES_1H, matched=True) >= thresholds.SATISFACTION.events)


def hour_of_response_times() -> Expression:
    """Return what FeatureResponseTimeHigh judges: nothing where there were too few of them."""
    return recorded(DURATION_1H, RESPONSE_TIMES) & (
        Series(DURATIONS_1H, matched=True) >= thresholds.RESPONSE_TIME.events
    )


def hour_of_success() -> Expression:
    """Return what FeatureFailuresHigh judges, as the share that did not fail: nothing where too few outcomes are known."""
    return _outcome("success", thresholds.FAILURES.events)


RESPONSE_TIMES: Final = equal(METRIC_CATEGORY, RESPONSE_TIME_CATEGORY)
MANY: Final = Bound(thresholds.ERRORS.bound + 1)
UNLOVED: Final = Bound(thresholds.SATISFACTION.bound, low=True, color=AMBER)
SLOW: Final = Bound(thresholds.RESPONSE_TIME.bound, color=AMBER)
FAILING: Final = Bound(1 - thresholds.FAILURES.bound, low=True)
"""Of the share that does not fail."""
FAILURES: Final = Bound(thresholds.FAILURES.bound)
FULL: Final = Bound(thresholds.EXHAUSTED.bound)


def failures(*, offset: str = "") -> Expression:
    """Return the share of the last hour's uses that failed, of those whose outcome is known: few uses make that of less time jump."""
    return _outcome("failure", offset=offset)


def _outcome(outcome: str, events: int = 1, *, offset: str = "") -> Expression:
    known = sum_by(BY_FEATURE, Series(OUTCOMES_1H, (unequal(OUTCOME, "unknown"),)).when(offset=offset))
    uses = recorded(OUTCOMES_1H, equal(OUTCOME, outcome)).when(offset=offset)
    return binary(uses, "/", known >= events, f"ignoring ({OUTCOME.name})")


def fullest(*matchers: str, at: str = "") -> Expression:
    """Return the share in use of each resource: that of its fullest process, of those that live."""
    used = series(RESOURCE_UTILIZATION, *matchers).when(at=at)
    return aggregate("max", (RESOURCE_TYPE.name, RESOURCE_NAME.name), used)


def fullest_curves(*matchers: str) -> Expression:
    """Return the curves of the resources that are fullest at the end."""
    return only(fullest(*matchers), fullest(*matchers, at="end()"))


# -------------------------------------------------------------------------------------------- of the dashboard's period


def _over(
    name: str, labels: tuple[str, ...], window: str, by: tuple[str, ...], *matchers: str, at: str = ""
) -> Expression:
    """Return the sum of a window, to the labels ``by`` of those that are recorded."""
    each = call("sum_over_time", recorded(name, *matchers).over(window, at=at))
    return each if by == labels else sum_by(by, each)


def added(metric: Metric, window: str, by: tuple[str, ...] = (), *matchers: str, at: str = "") -> Expression:
    """Return what was added to a counter of the chosen features, in full quarters of an hour."""
    return _over(SUMS[metric].name(), SUMS[metric].labels, window, by, *matchers, at=at)


def measured(metric: Metric, window: str, by: tuple[str, ...] = (), *matchers: str, at: str = "") -> Expression:
    """Return the number of values of a histogram of the chosen features, in full quarters of an hour."""
    return _over(SUMS[metric].name("count"), SUMS[metric].labels, window, by, *matchers, at=at)


def average(metric: Metric, window: str, by: tuple[str, ...] = (), *matchers: str, at: str = "") -> Expression:
    """Return the mean of these values; absent where there were none."""
    total = _over(SUMS[metric].name("sum"), SUMS[metric].labels, window, by, *matchers, at=at)
    if by == SUMS[metric].labels:
        # Only what has the same labels is divided, so one side needs no filters.
        return total / (call("sum_over_time", Series(SUMS[metric].name("count")).over(window, at=at)) > 0)
    return total / (measured(metric, window, by, *matchers, at=at) > 0)


def success_rate(window: str, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return the share of uses that succeeded, of those whose outcome is known."""
    known = added(USAGE, window, by, unequal(OUTCOME, "unknown"), *matchers)
    return added(USAGE, window, by, equal(OUTCOME, "success"), *matchers) / (known > 0)


def satisfaction_rate(window: str, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return the share of responses at or above the threshold."""
    satisfied = added(SATISFACTION_RESPONSES, window, by, equal(SATISFIED, "true"), *matchers)
    return satisfied / (added(SATISFACTION_RESPONSES, window, by, *matchers) > 0)


def recovery_rate(window: str, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return the share of attempted recoveries that succeeded."""
    attempted = added(ERRORS, window, by, unequal(RECOVERY, "none"), *matchers)
    return added(ERRORS, window, by, equal(RECOVERY, "succeeded"), *matchers) / (attempted > 0)


def bars(metric: Metric, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return what was added in each step of a graph; absent where nothing was."""
    return added(metric, STEP, by, *matchers) > 0


def pace(metric: Metric, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return what was added per minute of each step."""
    return added(metric, STEP, by, *matchers) / _MINUTES


def most(curves: Expression, metric: Metric, by: tuple[str, ...], *matchers: str, shown: int = SHOWN) -> Expression:
    """Return those of the curves whose counter grew most in the period."""
    return only(curves, added(metric, PERIOD, by, *matchers, at="end()"), shown=shown)


def most_averages(metric: Metric, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return the mean of each step of what had most values in the period."""
    return only(average(metric, STEP, by, *matchers), measured(metric, PERIOD, by, *matchers, at="end()"))


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

    def quantile(self, quantile: float, metric: Metric, by: tuple[str, ...], *matchers: str) -> Expression:
        """Return an estimate of a quantile of the values, none of which is negative, of the period's full hours."""
        # NaN, which stands for no values, is not at least 0.
        return call("histogram_quantile", quantile, self._values(DISTRIBUTIONS[metric], PERIOD, by, *matchers)) >= 0

    def distribution(self, metric: Metric, *matchers: str) -> Expression:
        """Return values per step by bucket; absent, not zero, when there were none, so that a heatmap can say so."""
        some = measured(metric, STEP, (), *matchers) > 0
        return self._values(SPREADS[metric], STEP, (), *matchers).also(some, on=())

    def _values(self, sums: Sums, window: str, by: tuple[str, ...], *matchers: str) -> Expression:
        if self.native:
            return _over(sums.name(), sums.labels, window, by, *matchers)
        return _over(sums.name(suffix="_bucket"), (*sums.labels, "le"), window, (*by, "le"), *matchers)

    def selector(self, metric: Metric, *matchers: str) -> Series:
        """Return a selector that finds every label set of a metric once."""
        suffix = "_count" if metric.kind is Kind.HISTOGRAM and not self.native else ""
        return series(metric, chosen(FEATURE), *matchers, suffix=suffix)


def latest(metric: Metric, *matchers: str) -> Expression:
    """Return the last value of a gauge in the period, the largest where several processes had one then."""
    return last_over(recorded(LATEST[metric], *matchers).over(PERIOD))
