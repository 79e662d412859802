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
from otel_metrics.promql.syntax import Series, aggregate, call, last_over, series

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
    exposes_prometheus: bool = True
    """The server exposes Prometheus' own metrics (``prometheus_…``), which alerts on the server read."""
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

    @property
    def hour(self) -> Change:
        """The exact change of counters over an hour, as rules take it: of what was watched only."""
        return anchored("1h") if self.anchored else watched_hour

    @property
    def hour_of_observed(self) -> Change:
        """The same for observable counters: these have no start time, so their first value counts here."""
        return difference("1h") if self.anchored else self.hour

    @property
    def hour_of_histograms(self) -> Change:
        """The same for histograms, as they are stored."""
        return watched_hour_native if self.native and not self.anchored else self.hour


PROMETHEUS: Final = Dialect("prometheus", "Prometheus 3.16 and later", anchored=True)
PROMETHEUS_3_5: Final = Dialect("prometheus-3.5", "Prometheus 3.5 to 3.15")
VICTORIAMETRICS: Final = Dialect(
    "victoriametrics",
    "VictoriaMetrics with vmalert",
    chains=False,
    exposes_prometheus=False,
    ranges=True,
    stores=(Histograms.CLASSIC,),
    histograms=Histograms.CLASSIC,
)

DIALECTS: Final = {dialect.name: dialect for dialect in (PROMETHEUS, PROMETHEUS_3_5, VICTORIAMETRICS)}

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


def anchored(window: str) -> Change:
    """Return the change over ``window`` as the server computes it exactly."""
    return lambda selector: call("increase", selector.over(window, modifier="anchored"))


def difference(window: str, lookback: str = "1h") -> Change:
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
    """Return what was added to a series in an hour as rules take it: as :func:`difference`, but only of what was watched.

    A process without a value at the start of the hour is a young one, unless

    - nothing at all was scraped or pushed then (the server is new, or was away), and the process does not say that it is younger;
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


# Who only pushes has no `up`.
_SCRAPED: Final = aggregate("group", (), Series("up").when(offset="1h") | series(SERIES).when(offset="1h"))
_YOUNG: Final = Series("process_start_time_seconds") > call("time") - 3600
_MISSED: Final = last_over(series(SERIES).over("1d", offset="1h")).unless(
    last_over(series(SERIES).over("1h", offset="1h"))
)
