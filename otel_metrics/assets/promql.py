"""PromQL for rules and panels. Strings in, strings out.

A *change* turns the selector of a cumulative series into what was added to it: :func:`exact` over a window, or :func:`rate`
per second. Everything above it (sums, averages, quantiles) is the same for both, and sums first and divides last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import SERIES
from otel_metrics.naming import series_name

if TYPE_CHECKING:
    from otel_metrics.catalogue import Metric

INSTANCE: Final = "service_instance_id"
"""The label that tells processes apart."""

Change = Callable[[str], str]
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

    def change(selector: str) -> str:
        last = f"last_over_time({selector}[{window}])"
        return f"({last} - (last_over_time({selector}[{lookback}] offset {window}) or {last} * 0))"

    return change


def watched_hour(selector: str) -> str:
    """Return what was added to a series in an hour as rules take it: as :func:`exact`, but only of what was watched.

    A process without a value at the start of the hour is a young one, unless

    - nothing at all was scraped then (Prometheus is new, or was away), and the process does not say that it is younger;
    - or the process was known before, and just then could not be scraped.

    What such a process has counted in its life did not happen in the hour: its first value within it counts as the start.
    """
    last, first = f"last_over_time({selector}[1h])", f"min_over_time({selector}[1h])"
    return (
        f"({last} - (last_over_time({selector}[1h] offset 1h)"
        f" or ({first} unless on () {_SCRAPED} unless on (job, instance) {_YOUNG})"
        f" or ({first} and on ({INSTANCE}) {_MISSED})"
        f" or {last} * 0))"
    )


def watched_hour_native(selector: str) -> str:
    """Return what :func:`watched_hour` returns, for native histograms.

    A first value within the hour cannot be asked for, so what was not watched at its start is extrapolated a little.
    """
    last = f"last_over_time({selector}[1h])"
    return (
        f"({last} - (last_over_time({selector}[1h] offset 1h)"
        f" or ({last} * 0 and on () {_SCRAPED} unless on ({INSTANCE}) {_MISSED})"
        f" or ({last} * 0 and on (job, instance) {_YOUNG}))"
        f" or increase({selector}[1h]))"
    )


_SCRAPED: Final = "group(up offset 1h)"
_YOUNG: Final = "(process_start_time_seconds > time() - 3600)"
_MISSED: Final = "(last_over_time({0}[1d] offset 1h) unless last_over_time({0}[1h] offset 1h))".format(
    series_name(SERIES)
)


def rate(window: str) -> Change:
    """Return the change per second over ``window``."""
    return lambda selector: f"rate({selector}[{window}])"


def select(name: str, *matchers: str) -> str:
    """Return the selector of the series called ``name``."""
    inner = ",".join(matcher for matcher in matchers if matcher)
    return f"{name}{{{inner}}}" if inner else name


def aggregate(operator: str, by: tuple[str, ...], expression: str) -> str:
    """Return ``expression`` aggregated to the labels ``by``."""
    return f"{operator} by ({', '.join(by)}) ({expression})" if by else f"{operator}({expression})"


def total(metric: Metric, change: Change, by: tuple[str, ...], *matchers: str) -> str:
    """Return what was added to a counter, summed to the labels ``by``."""
    return aggregate("sum", by, change(select(series_name(metric), *matchers)))


@dataclass(frozen=True)
class Distribution:
    """What was added to a histogram, summed to the labels ``by``."""

    metric: Metric
    change: Change
    by: tuple[str, ...]
    matchers: tuple[str, ...] = ()
    histograms: Histograms = Histograms.CLASSIC

    def count(self) -> str:
        """Return the number of values."""
        return self._part("count")

    def total(self) -> str:
        """Return the sum of the values."""
        return self._part("sum")

    def average(self) -> str:
        """Return the mean of the values; absent, not NaN, where there were none."""
        return f"{self.total()} / ({self.count()} > 0)"

    def quantile(self, quantile: float) -> str:
        """Return an estimate of a quantile of the values, none of which is negative; absent where there were none."""
        if self.histograms is Histograms.NATIVE:
            return f"histogram_quantile({quantile:g}, {self._sum('', self.by)}) >= 0"
        # NaN, which stands for no values, is not at least 0.
        return f"histogram_quantile({quantile:g}, {self._sum('_bucket', (*self.by, 'le'))}) >= 0"

    def buckets(self) -> str:
        """Return the values per bucket, as a heatmap takes them."""
        if self.histograms is Histograms.NATIVE:
            return self._sum("", ())
        return self._sum("_bucket", ("le",))

    def _part(self, part: str) -> str:
        if self.histograms is Histograms.NATIVE:
            return f"histogram_{part}({self._sum('', self.by)})"
        return self._sum(f"_{part}", self.by)

    def _sum(self, suffix: str, by: tuple[str, ...]) -> str:
        selector = select(series_name(self.metric) + suffix, *self.matchers)
        return aggregate("sum", by, self.change(selector))
