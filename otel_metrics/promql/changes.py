"""What was added to cumulative series.

A *change* turns the selector of a series into that. Everything above it (sums, averages, quantiles) is the same for all of
them, and sums first and divides last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_metrics.promql.syntax import Expression, Series, call, equal, like, series, sum_by

if TYPE_CHECKING:
    from otel_metrics.catalogue import Metric

Change = Callable[[Series], Expression]
"""Selector of a cumulative series -> expression of what was added to it."""


def rate(window: str) -> Change:
    """Return the change per second over ``window``."""
    return lambda selector: call("rate", selector.over(window))


def total(metric: Metric, change: Change, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return what was added to a counter, summed to the labels ``by``."""
    return sum_by(by, change(series(metric, *matchers)))


def ends_at(bound: float) -> str:
    """Return the matcher of the classic bucket that ends at ``bound``, however the server spells it."""
    # Some drop the zero of 1.0.
    return like("le", f"{bound:g}([.]0)?") if bound == int(bound) else equal("le", f"{bound:g}")


@dataclass(frozen=True, slots=True)
class HistogramChange:
    """What was added to a histogram, summed to the labels ``by``."""

    metric: Metric
    change: Change
    by: tuple[str, ...]
    matchers: tuple[str, ...] = ()
    native: bool = True

    def count(self) -> Expression:
        """Return the number of values."""
        return call("histogram_count", self._sum()) if self.native else self._sum("_count")

    def total(self) -> Expression:
        """Return the sum of the values."""
        return call("histogram_sum", self._sum()) if self.native else self._sum("_sum")

    def average(self) -> Expression:
        """Return the mean of the values, none of which is negative; absent where there were none."""
        # NaN, which stands for no values, is not at least 0.
        return call("histogram_avg", self._sum()) >= 0 if self.native else self.total() / (self.count() > 0)

    def quantile(self, quantile: float) -> Expression:
        """Return an estimate of a quantile of the values, none of which is negative; absent where there were none."""
        values = self._sum() if self.native else self._sum("_bucket", (*self.by, "le"))
        return call("histogram_quantile", quantile, values) >= 0

    def values(self) -> Expression:
        """Return the values themselves, as a native histogram."""
        return self._sum()

    def bucket(self) -> Expression:
        """Return the number of values in the classic bucket that ``matchers`` name."""
        return self._sum("_bucket")

    def buckets(self) -> Expression:
        """Return the values per bucket, as a heatmap takes them."""
        return self._sum(by=()) if self.native else self._sum("_bucket", ("le",))

    def _sum(self, suffix: str = "", by: tuple[str, ...] | None = None) -> Expression:
        change = self.change(series(self.metric, *self.matchers, suffix=suffix))
        return sum_by(self.by if by is None else by, change)
