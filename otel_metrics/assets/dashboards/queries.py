"""What panels ask. Every count over the dashboard's period is exact, as ``get_*`` counts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import (
    ERRORS,
    FEATURE,
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
    series,
    sum_by,
    total,
    unequal,
)

if TYPE_CHECKING:
    from otel_metrics.catalogue import Label, Metric
    from otel_metrics.promql import (
        Change,
        Dialect,
        Expression,
    )

NOW: Final = rate("$__rate_interval")
ZERO: Final = call("vector", 0)


def chosen(label: Label) -> str:
    """Return the matcher for the values chosen in the variable of a label's name."""
    return like(label, f"${label.name}")


def recorded(name: str, *matchers: str) -> Series:
    """Return the selector of a recorded series of the chosen features."""
    return Series(name).where(chosen(FEATURE), *matchers)


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


def most(expression: Expression) -> Expression:
    """Return the largest value."""
    return aggregate("max", (), expression)


def count(expression: Expression) -> Expression:
    """Return how many series there are; 0, too."""
    return aggregate("count", (), expression) | ZERO


@dataclass(frozen=True, slots=True)
class Values:
    """Queries in the dialect of the server."""

    dialect: Dialect

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
