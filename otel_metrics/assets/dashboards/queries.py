"""What panels ask. Every count over the dashboard's period is exact, as ``get_*`` counts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_metrics.assets.promql import Distribution, Histograms, aggregate, exact, rate, select, total
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
from otel_metrics.naming import series_name

if TYPE_CHECKING:
    from otel_metrics.assets.promql import Change
    from otel_metrics.catalogue import Label, Metric

PERIOD: Final = exact("$__range")
NOW: Final = rate("$__rate_interval")


def chosen(label: Label) -> str:
    """Return the matcher for the values chosen in the variable of a label's name."""
    return f'{label.name}=~"${label.name}"'


def equals(label: Label, value: str) -> str:
    """Return the matcher for one value of a label."""
    return f'{label.name}="{value}"'


def recorded(name: str, *matchers: str) -> str:
    """Return the selector of a recorded series of the chosen features."""
    return select(name, chosen(FEATURE), *matchers)


def share(part: str, whole: str) -> str:
    """Return ``part`` of ``whole``: 0 where there is no part, absent where there is no whole."""
    return f"({part} or {whole} * 0) / ({whole} > 0)"


def success_rate(change: Change, by: tuple[str, ...], *matchers: str) -> str:
    """Return the share of uses that succeeded, of those whose outcome is known."""
    known = f'{OUTCOME.name}!="unknown"'
    succeeded = total(USAGE, change, by, chosen(FEATURE), equals(OUTCOME, "success"), *matchers)
    return share(succeeded, total(USAGE, change, by, chosen(FEATURE), known, *matchers))


def satisfaction_rate(change: Change, by: tuple[str, ...], *matchers: str) -> str:
    """Return the share of responses at or above the threshold."""
    satisfied = total(SATISFACTION_RESPONSES, change, by, chosen(FEATURE), equals(SATISFIED, "true"), *matchers)
    return share(satisfied, total(SATISFACTION_RESPONSES, change, by, chosen(FEATURE), *matchers))


def recovery_rate(change: Change, by: tuple[str, ...], *matchers: str) -> str:
    """Return the share of attempted recoveries that succeeded."""
    succeeded = total(ERRORS, change, by, chosen(FEATURE), equals(RECOVERY, "succeeded"), *matchers)
    attempted = total(ERRORS, change, by, chosen(FEATURE), f'{RECOVERY.name}!="none"', *matchers)
    return share(succeeded, attempted)


def added(metric: Metric, change: Change, by: tuple[str, ...] = (), *matchers: str) -> str:
    """Return what was added to a counter of the chosen features."""
    return total(metric, change, by, chosen(FEATURE), *matchers)


@dataclass(frozen=True, slots=True)
class Values:
    """Queries about histograms, as the server stores them."""

    histograms: Histograms

    @property
    def native(self) -> bool:
        """Whether they are native."""
        return self.histograms is Histograms.NATIVE

    def of(self, metric: Metric, change: Change, by: tuple[str, ...] = (), *matchers: str) -> Distribution:
        """Return the values of a histogram of the chosen features."""
        return Distribution(metric, change, by, (chosen(FEATURE), *matchers), self.histograms)

    def signed_average(self, metric: Metric, change: Change, by: tuple[str, ...], *matchers: str) -> str:
        """Return the mean of values that may be below zero, which are recorded without their sign."""
        both = self.of(metric, change, by, *matchers)
        positive = self.of(metric, change, by, equals(SIGN, "positive"), *matchers).total()
        negative = self.of(metric, change, by, equals(SIGN, "negative"), *matchers).total()
        total_ = both.total()
        return f"(({positive} or {total_} * 0) - ({negative} or {total_} * 0)) / ({both.count()} > 0)"

    def selector(self, metric: Metric, *matchers: str) -> str:
        """Return a selector that finds every label set of a metric once."""
        suffix = "_count" if metric.kind is Kind.HISTOGRAM and not self.native else ""
        return select(series_name(metric) + suffix, chosen(FEATURE), *matchers)


def latest(metric: Metric, by: tuple[str, ...], *matchers: str) -> str:
    """Return the value of a gauge at the end of the period, the largest where several processes have one.

    As for ``get_*``, processes that ended within the period tell only of what no living one has.
    """
    series = select(series_name(metric), *matchers)
    return f"({aggregate('max', by, series)} or {aggregate('max', by, f'last_over_time({series}[$__range])')})"
