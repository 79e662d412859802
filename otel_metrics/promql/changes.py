"""What was added to cumulative series: over a window exactly, or per second.

A *change* turns the selector of a series into that. Everything above it (sums, averages, quantiles) is the same for all of
them, and sums first and divides last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import SERIES
from otel_metrics.promql.syntax import Expression, Series, aggregate, call, last_over, series, sum_by

if TYPE_CHECKING:
    from otel_metrics.catalogue import Metric

INSTANCE: Final = "service_instance_id"
"""The label that tells processes apart."""

Change = Callable[[Series], Expression]
"""Selector of a cumulative series -> expression of what was added to it."""


class Histograms(Enum):
    """How the server stores histograms."""

    CLASSIC = "classic"
    NATIVE = "native"


def exact(window: str, lookback: str = "1h") -> Change:
    """Return the change over ``window``, to the last unit.

    ``increase()`` extrapolates, and loses the first increment of a series born within the window. This is the last value minus
    the one at the start (0 if there was none), which needs every process to have series of its own: it has, by its
    ``service_instance_id``. ``lookback`` is how long a gap before the start may be.
    """

    def change(selector: Series) -> Expression:
        last = last_over(selector.over(window))
        return last - (last_over(selector.over(lookback, offset=window)) | last * 0)

    return change


def watched_hour(selector: Series) -> Expression:
    """Return what was added to a series in an hour as rules take it: as :func:`exact`, but only of what was watched.

    A process without a value at the start of the hour is a young one, unless

    - nothing at all was scraped then (Prometheus is new, or was away), and the process does not say that it is younger;
    - or the process was known before, and just then could not be scraped.

    What such a process has counted in its life did not happen in the hour: its first value within it counts as the start.
    """
    last, first = last_over(selector.over("1h")), call("min_over_time", selector.over("1h"))
    return last - (
        last_over(selector.over("1h", offset="1h"))
        | first.unless(_SCRAPED, on=()).unless(_YOUNG, on=("job", "instance"))
        | first.also(_MISSED, on=(INSTANCE,))
        | last * 0
    )


def watched_hour_native(selector: Series) -> Expression:
    """Return what :func:`watched_hour` returns, for native histograms.

    A first value within the hour cannot be asked for, so what was not watched at its start is extrapolated a little.
    """
    last = last_over(selector.over("1h"))
    started = (
        last_over(selector.over("1h", offset="1h"))
        | (last * 0).also(_SCRAPED, on=()).unless(_MISSED, on=(INSTANCE,))
        | (last * 0).also(_YOUNG, on=("job", "instance"))
    )
    return (last - started) | call("increase", selector.over("1h"))


_SCRAPED: Final = aggregate("group", (), Series("up").when(offset="1h"))
_YOUNG: Final = Series("process_start_time_seconds") > call("time") - 3600
_MISSED: Final = last_over(series(SERIES).over("1d", offset="1h")).unless(
    last_over(series(SERIES).over("1h", offset="1h"))
)


def rate(window: str) -> Change:
    """Return the change per second over ``window``."""
    return lambda selector: call("rate", selector.over(window))


def total(metric: Metric, change: Change, by: tuple[str, ...], *matchers: str) -> Expression:
    """Return what was added to a counter, summed to the labels ``by``."""
    return sum_by(by, change(series(metric, *matchers)))


@dataclass(frozen=True, slots=True)
class HistogramChange:
    """What was added to a histogram, summed to the labels ``by``."""

    metric: Metric
    change: Change
    by: tuple[str, ...]
    matchers: tuple[str, ...] = ()
    histograms: Histograms = Histograms.CLASSIC

    def count(self) -> Expression:
        """Return the number of values."""
        return self._part("count")

    def total(self) -> Expression:
        """Return the sum of the values."""
        return self._part("sum")

    def average(self) -> Expression:
        """Return the mean of the values; absent, not NaN, where there were none."""
        return self.total() / (self.count() > 0)

    def quantile(self, quantile: float) -> Expression:
        """Return an estimate of a quantile of the values, none of which is negative; absent where there were none."""
        native = self.histograms is Histograms.NATIVE
        values = self._sum("", self.by) if native else self._sum("_bucket", (*self.by, "le"))
        # NaN, which stands for no values, is not at least 0.
        return call("histogram_quantile", quantile, values) >= 0

    def buckets(self) -> Expression:
        """Return the values per bucket, as a heatmap takes them."""
        return self._sum("", ()) if self.histograms is Histograms.NATIVE else self._sum("_bucket", ("le",))

    def _part(self, part: str) -> Expression:
        if self.histograms is Histograms.NATIVE:
            return call(f"histogram_{part}", self._sum("", self.by))
        return self._sum(f"_{part}", self.by)

    def _sum(self, suffix: str, by: tuple[str, ...]) -> Expression:
        return sum_by(by, self.change(series(self.metric, *self.matchers, suffix=suffix)))
