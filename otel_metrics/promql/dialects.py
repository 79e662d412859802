"""What servers understand, as data: whoever builds an expression asks the dialect, and nobody asks for a server's name.

A dialect is used for rules, panels and configuration of one kind of server. All give the same numbers; where one does not,
docs/servers.md says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import SERIES
from otel_metrics.promql.syntax import Series, aggregate, call, duration, last_over, seconds, series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_metrics.promql.changes import Change
    from otel_metrics.promql.syntax import Expression

INSTANCE: Final = "service_instance_id"
"""The label that tells processes apart."""

JOB: Final = "job"
"""The label that Prometheus gives all processes of an application."""


class Histograms(Enum):
    """How the server stores histograms."""

    NATIVE = "native"
    CLASSIC = "classic"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one kind of server understands, and what it is given to store."""

    name: str
    server: str
    """For people: which servers these are."""
    anchored: bool = False
    """``increase(x[1h] anchored)`` is exact, resets and ended processes included. A process that is born within the window
    counts from zero where the server keeps start times (``created-timestamp-zero-ingestion``)."""
    chains: bool = True
    """A rule reads what the rules before it have recorded in the same evaluation."""
    delay: str = "15s"
    """How far back rules are evaluated that count minute by minute: a scrape that is stored later than its time would be in no
    minute otherwise. Empty where the server does that by itself."""
    exposes_prometheus: bool = True
    """The server exposes Prometheus' own metrics (``prometheus_…``), which alerts on the server read."""
    partial_response: str = ""
    """What rules do with the answer that is left while one of several stores is away, in the words of Thanos. Its own default,
    ``abort``, evaluates none: the loss of one replica would silence every alert."""
    ranges: bool = False
    """Native histograms that reach the server all the same become buckets by ``vmrange``."""
    stores: tuple[Histograms, ...] = (Histograms.NATIVE, Histograms.CLASSIC)
    """The kinds of histograms that the server can store, the better first."""
    histograms: Histograms = Histograms.NATIVE
    """What it does store."""

    @property
    def native(self) -> bool:
        """Whether histograms are native."""
        return self.histograms is Histograms.NATIVE

    def storing(self, histograms: Histograms) -> Dialect:
        """Return the same for a server that stores histograms in this way.

        Raises:
            ValueError: it cannot.
        """
        if histograms not in self.stores:
            raise ValueError(f"{self.server} stores no {histograms.value} histograms")
        return replace(self, histograms=histograms)

    def period(self, window: str) -> Change:
        """Return the exact change over a window, as panels take it."""
        return anchored(window) if self.anchored else difference(window)

    def watched(self, window: str) -> Change:
        """Return the exact change of counters over a window, as rules take it: of what was watched only."""
        return anchored(window) if self.anchored else watched(window)

    def watched_histograms(self, window: str) -> Change:
        """Return the same for histograms, as they are stored."""
        return watched_native(window) if self.native and not self.anchored else self.watched(window)

    def past(self, window: float, ago: float) -> Change:
        """Return the exact change over a window of so many seconds that ended some seconds ago."""
        if not ago:
            return self.period(duration(window))
        if self.anchored:
            return anchored(duration(window), offset=duration(ago))
        return difference(duration(window), offset=duration(ago), before=duration(window + ago))

    @property
    def hour(self) -> Change:
        """The exact change of counters over an hour, as rules take it."""
        return self.watched("1h")

    @property
    def hour_of_observed(self) -> Change:
        """The same for observable counters: these have no start time, so their first value counts here."""
        return difference("1h") if self.anchored else self.hour

    @property
    def hour_of_histograms(self) -> Change:
        """The same for histograms, as they are stored."""
        return self.watched_histograms("1h")


PROMETHEUS: Final = Dialect("prometheus", "Prometheus 3.16 and later", anchored=True)
PROMETHEUS_3_5: Final = Dialect("prometheus-3.5", "Prometheus 3.5 to 3.15")
THANOS: Final = Dialect("thanos", "Thanos Rule 0.42 and later", partial_response="warn")
VICTORIAMETRICS: Final = Dialect(
    "victoriametrics",
    "VictoriaMetrics with vmalert",
    chains=False,
    delay="",
    exposes_prometheus=False,
    ranges=True,
    stores=(Histograms.CLASSIC,),
    histograms=Histograms.CLASSIC,
)

DIALECTS: Final = {dialect.name: dialect for dialect in (PROMETHEUS, PROMETHEUS_3_5, THANOS, VICTORIAMETRICS)}

_ANCHORED_FROM: Final = (3, 16)


def of_prometheus(version: tuple[int, ...]) -> Dialect:
    """Return the dialect of a Prometheus of this version."""
    return PROMETHEUS if version >= _ANCHORED_FROM else PROMETHEUS_3_5


def of_server(build: Mapping[str, object]) -> Dialect:
    """Return the dialect of a server that gives this build information under ``/api/v1/status/buildinfo``.

    VictoriaMetrics gives the version of a Prometheus, but nothing about Go. Thanos, Mimir and Cortex give versions of their own, lower
    than Prometheus' and are asked as an older one, which they all understand.
    """
    if "goVersion" not in build:
        return VICTORIAMETRICS
    found = re.match(r"v?(\d+)\.(\d+)", str(build.get("version")))
    return of_prometheus(tuple(map(int, found.groups()))) if found else PROMETHEUS_3_5


# ----------------------------------------------------------------------------------------- the change over a window


def anchored(window: str, *, offset: str = "") -> Change:
    """Return the change over ``window`` as the server computes it exactly."""
    return lambda selector: call("increase", selector.over(window, offset=offset, modifier="anchored"))


def difference(window: str, lookback: str = "1h", *, offset: str = "", before: str = "") -> Change:
    """Return the change over ``window``, to the last unit.

    ``increase()`` extrapolates, and loses the first increment of a series born within the window. This is the last value minus
    the one at the start (0 if there was none), which needs every process to have series of its own: it has, by its
    ``service_instance_id``. ``lookback`` is how long a gap before the start may be. A window that ended some time ago has an
    ``offset``, and its start the offset ``before``.
    """

    def change(selector: Series) -> Expression:
        last = last_over(selector.over(window, offset=offset))
        return last - (last_over(selector.over(lookback, offset=before or window)) | last * 0)

    return change


def watched(window: str, lookback: str = "1h") -> Change:
    """Return the change over a window as rules take it: as :func:`difference`, but only of what was watched.

    A process without a value at the start of the window is a young one, unless

    - nothing at all was scraped or pushed then (the server is new, or was away), and the process does not say that it is younger;
    - or the process was known before, and just then could not be scraped.

    What such a process has counted in its life did not happen in the window: its first value within it counts as the start.
    """

    def change(selector: Series) -> Expression:
        last, first = last_over(selector.over(window)), call("min_over_time", selector.over(window))
        return last - (
            last_over(selector.over(lookback, offset=window))
            | first.unless(_scraped(window), on=()).unless(_young(window), on=("job", "instance"))
            | first.also(_missed(window, lookback), on=(INSTANCE,))
            | last * 0
        )

    return change


def watched_native(window: str, lookback: str = "1h") -> Change:
    """Return what :func:`watched` returns, for native histograms.

    A first value within the window cannot be asked for, so what was not watched at its start is extrapolated a little.
    """

    def change(selector: Series) -> Expression:
        last = last_over(selector.over(window))
        started = (
            last_over(selector.over(lookback, offset=window))
            | (last * 0).also(_scraped(window), on=()).unless(_missed(window, lookback), on=(INSTANCE,))
            | (last * 0).also(_young(window), on=("job", "instance"))
        )
        return (last - started) | call("increase", selector.over(window))

    return change


def _scraped(window: str) -> Expression:
    """Return something if anything was scraped at the start of the window, or pushed: who only pushes has no ``up``."""
    return aggregate("group", (), Series("up").when(offset=window) | series(SERIES).when(offset=window))


def _young(window: str) -> Expression:
    """Return the targets that say that they have started within the window."""
    return Series("process_start_time_seconds") > call("time") - seconds(window)


def _missed(window: str, lookback: str) -> Expression:
    """Return the processes that were known before the window, and not seen right before it."""
    known, seen = (last_over(series(SERIES).over(each, offset=window)) for each in ("1d", lookback))
    return known.unless(seen)
