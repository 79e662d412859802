"""What a provider of the application's own has collected, added up with what those of the other processes have.

A process knows its streams by their totals so far. It remembers what it has added of each, and adds the rest to the rows that
all share: at every scrape, every second where that takes little, and when it ends.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from array import array
from bisect import bisect_left
from math import inf
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    Gauge,
    Histogram,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import format_span_id, format_trace_id

from otel_metrics.allowed import require
from otel_metrics.catalogue import CATALOGUE, PROCESSES, REASON, SHARED_ERRORS, Kind
from otel_metrics.ends import Periodic
from otel_metrics.errors import ConfigurationError
from otel_metrics.exporter.exponential import CLASSIC_LADDER
from otel_metrics.exporter.names import label_value
from otel_metrics.exporter.shared_rows import (
    CUMULATIVE,
    HistogramPoint,
    HistogramPoints,
    exponential_point,
    metric_of,
    number,
    number_points,
)
from otel_metrics.multiprocess.totals import SharedTotals
from otel_metrics.multiprocess.values import GAUGE_MODES, Exemplar, HistogramValue, Latest, Native
from otel_metrics.naming import METER_NAME
from otel_metrics.sdk.lazy_points import LazyPoints
from otel_metrics.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_metrics import catalogue
    from otel_metrics.multiprocess.files import Key
    from otel_metrics.multiprocess.totals import GaugeRow, Place, Row, Snapshot
    from otel_metrics.multiprocess.values import Exemplars

_logger = logging.getLogger(__name__)

_INTERVAL: Final = 1.0
_SOON: Final = 0.1
"""Seconds until the first addition, with which others can ask this process. The provider is made by then."""

_COSTLY: Final = 50
"""Seconds between two additions; where one takes long, it is this many times that."""

_PATIENCE: Final = 2.0
"""Seconds that a scrape waits for another collection, before it answers with what has been added."""

_FIRST_PATIENCE: Final = 8.0
"""The same as long as this process knows nothing of the others: an answer without them would be taken for counters gone back."""

_KEEP: Final = 1024
"""Attributes that may always be remembered, however few series there are."""

_MODES: Final = {metric.name: metric.merge for metric in CATALOGUE if metric.kind is Kind.GAUGE}


class SharedStreams:
    """The streams of one reader.

    Args:
        directory: where the processes of the application meet.
        gauges: how the values of a gauge become one, by the name of its instrument: ``sum``, ``max`` (unless told otherwise),
            ``min`` or ``mean`` of the living processes, or the ``latest`` of all.
        collect: returns what this process has collected, up to now.
        figures: returns the reader's own figures, as of the last scrape.

    Raises:
        ValueError: there is no such mode.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        gauges: Mapping[str, str],
        collect: Callable[[], MetricsData | None],
        figures: Callable[[], Mapping[catalogue.Metric, float]],
    ) -> None:
        for name, mode in gauges.items():
            modes = *GAUGE_MODES, "latest"
            require(mode in modes, f"multiprocess_gauges[{name!r}]", mode, ", ".join(modes))
        self._directory = directory
        self._modes = {**_MODES, **gauges}
        self._collect = collect
        self._figures = figures
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._totals: SharedTotals | None = None
        self._resource = Resource.get_empty()
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._attributes: dict[Key, Mapping[str, str]] = {}
        self._failed = False
        self._periodic = Periodic(self._add, _INTERVAL, _COSTLY, first=_SOON, name="otel_metrics.shared")

    def data(self) -> MetricsData | None:
        """Return what all processes have collected; what this one has, if it cannot join the others."""
        own = self._add()
        if self._totals is None:
            return own
        self._totals.ask()
        snapshot = self._totals.read()
        scopes: dict[str, tuple[InstrumentationScope, list[Metric]]] = {}
        for name in snapshot.metrics:
            rows: dict[str, list[Place]] = {}
            for place in snapshot.places(name):
                rows.setdefault(place.key[1], []).append(place)
            told = filter(None, snapshot.samples(rows.pop(_DESCRIPTION, [])))
            for sample in sorted(told, key=lambda each: each.value.time_unix_nano):
                self._stream(name, sample.key[2]).description = sample.key[3]
            for text, places in rows.items():
                stream = self._stream(name, text)
                points = stream.points(snapshot, places, [*map(self._attributes_of, places)])
                _, metrics = scopes.setdefault(stream.scope_text, (stream.scope, []))
                metrics.append(stream.metric(points))
        scoped = [ScopeMetrics(scope, metrics, "") for scope, metrics in scopes.values()]
        scoped.append(ScopeMetrics(_OWN, [metric_of(PROCESSES, [number({}, snapshot.processes)])], ""))
        attributes = {key: value for key, value in self._resource.attributes.items() if not key.startswith("process.")}
        resource = Resource({**attributes, SERVICE_INSTANCE_ID: snapshot.instance_id})
        return MetricsData([ResourceMetrics(resource, scoped, "")])

    def close(self) -> None:
        """Add what is left, and leave."""
        self._periodic.close()
        if self._totals is not None:
            self._totals.close()

    def _add(self) -> MetricsData | None:
        """Add what this process has collected since it did so last; return what it has collected so far."""
        if os.getpid() != self._process:
            if not self._failed:
                _logger.error("nothing of this process is shared: it was forked after its reader was made")
            self._failed = True
            return None  # the SDK's locks may be held by nobody
        # One at a time, the collection included: totals must not be added in another order than they were collected in.
        first = self._totals is None and not self._failed
        if not self._lock.acquire(timeout=_FIRST_PATIENCE if first else _PATIENCE):
            return None  # a callback of the application's may be waiting for this very scrape
        try:
            data = self._collect()
            if data is None or not data.resource_metrics:
                return data
            totals = self._joined(data.resource_metrics[0].resource)
            if totals is not None:
                for part in data.resource_metrics:
                    for scoped in part.scope_metrics:
                        for metric in scoped.metrics:
                            self._add_metric(totals, scoped.scope, metric)
                for metric in self._own_metrics(totals):
                    self._add_metric(totals, _OWN, metric)
                totals.flush()
            return data
        finally:
            self._lock.release()

    def _joined(self, resource: Resource) -> SharedTotals | None:
        if self._totals is None:
            self._resource = resource
            application = str(resource.attributes.get(SERVICE_NAME, ""))
            try:
                self._totals = SharedTotals(self._directory, application, schema=f"streams {__version__}")
                self._totals.answer(self._add)
            except ConfigurationError as error:
                if not self._failed:
                    _logger.error("this process answers for itself: %s", error)  # noqa: TRY400 (it says all)
                self._failed = True
        return self._totals

    def _own_metrics(self, totals: SharedTotals) -> Iterator[Metric]:
        for metric, value in self._figures().items():
            yield metric_of(metric, [number(_NO_ATTRIBUTES, value)])
        problems = list(totals.problems.items())
        yield metric_of(SHARED_ERRORS, [number({REASON.name: reason}, n) for reason, n in problems])

    def _add_metric(self, totals: SharedTotals, scope: InstrumentationScope, metric: Metric) -> None:
        points: Any = metric.data.data_points
        stream = self._stream(metric.name, _text(scope, metric))
        if metric.description and not stream.described:
            stream.described = True
            totals.latest((metric.name, _DESCRIPTION, stream.text, metric.description)).add(Latest(time_ns(), 1.0))
        stream.synchronous = stream.synchronous or isinstance(points, LazyPoints)
        for point in points:
            self._series_of(totals, stream, point.attributes or _NO_ATTRIBUTES).upto(point)

    def _series_of(self, totals: SharedTotals, stream: _Stream, attributes: Mapping[str, Any]) -> _Series:
        # The SDK mostly has the same attributes object for a series at every collection.
        found = stream.recent.get(id(attributes))
        if found is None:
            identity = frozenset(attributes.items())
            series = stream.series.get(identity)
            if series is None:
                series = stream.series[identity] = self._new_series(
                    totals, stream, (stream.name, stream.text, *_flat(attributes))
                )
            if len(stream.recent) > 2 * len(stream.series) + _KEEP:
                stream.recent.clear()
            found = stream.recent[id(attributes)] = attributes, series
        return found[1]

    def _new_series(self, totals: SharedTotals, stream: _Stream, key: Key) -> _Series:
        if stream.kind == _SUM:
            return _Counted(totals.counter(key), totals.exemplars(key))
        if stream.kind in {_LEVEL, _GAUGE}:
            mode = "sum" if stream.kind == _LEVEL else self._modes.get(stream.name, "max")
            return _Set(totals.latest(key) if mode == "latest" else totals.gauge(key, mode))
        return _Summed(totals, key, _explicit if stream.kind == _HISTOGRAM else _exponential)

    def _stream(self, name: str, text: str) -> _Stream:
        return self._streams.get((name, text)) or self._streams.setdefault((name, text), _Stream(name, text))

    def _attributes_of(self, place: Place) -> Mapping[str, str]:
        """Return the attributes of a series: the same object at every scrape, by which rendered labels are found again."""
        key = place.key
        found = self._attributes.get(key)
        if found is None:
            found = self._attributes.setdefault(key, dict(zip(key[2::2], key[3::2], strict=False)))
        return found


_OWN: Final = InstrumentationScope(METER_NAME)

_DESCRIPTION: Final = "description"
"""Of a stream: a row as well, so that every process knows it; the newest counts."""

_SUM, _LEVEL, _GAUGE, _HISTOGRAM, _EXPONENTIAL = "sum", "level", "gauge", "histogram", "exponential"
"""Kinds of streams: counters, sums that go up and down, and so on."""


class _Stream:
    """What the rows of one instrument have in common. ``text`` is what their keys say of that."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.kind, self.unit, scope, version, schema_url, attributes = json.loads(text)
        self.scope = InstrumentationScope(scope, version, schema_url, dict(attributes))
        self.scope_text = text.partition(",")[2].partition(",")[2]
        self.description = ""
        self.described = False
        """Whether this process has told how it describes the instrument."""
        self.synchronous = False
        """Whether this process has seen that the instrument is no observable one."""
        self.series: dict[object, _Series] = {}
        self.recent: dict[int, tuple[object, _Series]] = {}
        """By the identity of the attributes, which are kept alive with them."""

    def metric(self, points: Any) -> Metric:
        data: Any
        if self.kind == _SUM:
            data = Sum(points, CUMULATIVE, is_monotonic=True)
        elif self.kind == _HISTOGRAM:
            data = Histogram(points, CUMULATIVE)
        else:
            data = ExponentialHistogram(points, CUMULATIVE) if self.kind == _EXPONENTIAL else Gauge(points)
        return Metric(self.name, self.description, self.unit, data)

    def points(
        self, snapshot: Snapshot, places: Sequence[Place], attributes: Sequence[Mapping[str, str]]
    ) -> LazyPoints:
        """Return rows as data points."""
        if self.kind == _HISTOGRAM:
            return HistogramPoints(snapshot, places, attributes, HistogramPoint)
        if self.kind == _EXPONENTIAL:
            return HistogramPoints(snapshot, places, attributes, exponential_point)
        # Others than synchronous ones may have begun before anybody looked.
        return number_points(snapshot, places, attributes, started=self.synchronous)


def _text(scope: InstrumentationScope, metric: Metric) -> str:
    data: Any = metric.data
    if isinstance(data, Sum):
        kind = _SUM if data.is_monotonic else _LEVEL
    elif isinstance(data, Histogram):
        kind = _HISTOGRAM
    else:
        kind = _EXPONENTIAL if isinstance(data, ExponentialHistogram) else _GAUGE
    flat = _flat(getattr(scope, "attributes", None))
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return json.dumps(
        [kind, metric.unit or "", scope.name, scope.version or "", scope.schema_url or "", pairs], separators=(",", ":")
    )


def _flat(attributes: Mapping[str, Any] | None) -> list[str]:
    """Return keys and values as labels have them, so that the order in which a process names them does not matter."""
    return [part for key, value in sorted((attributes or {}).items()) for part in (str(key), label_value(value))]


_NO_ATTRIBUTES: Final[Mapping[str, str]] = {}


# ----------------------------------------------------------------------------------------------- series of this process
class _Series:
    """One series, as this process has it."""

    __slots__ = ()

    def upto(self, point: Any) -> None:
        """Add what has come since the last time. A total that is less than before began anew."""
        raise NotImplementedError


class _Counted(_Series):
    __slots__ = ("_row", "_so_far", "_told", "pending")

    def __init__(self, row: Row[float], told: Row[Exemplars]) -> None:
        self._row = row
        self._told = told
        self._so_far = 0.0
        self.pending: float | None = 0.0  # zero is news, too: the series appears

    def upto(self, point: Any) -> None:
        value = point.value
        if value != self._so_far:
            news = value - self._so_far if value > self._so_far else value
            self.pending, self._so_far = (self.pending or 0.0) + news, value
        self._row.take(self)
        if point.exemplars:
            self._told.add(_exemplars(point.exemplars, ()))


class _Set(_Series):
    __slots__ = ("_row", "_so_far")

    def __init__(self, row: Row[Latest] | GaugeRow) -> None:
        self._row: Any = row
        self._so_far: float | None = None

    def upto(self, point: Any) -> None:
        value = float(point.value)
        if value != self._so_far:
            latest = self._row.layout.kind == "latest"
            self._row.add(Latest(time_ns(), value)) if latest else self._row.set(value)
            self._so_far = value


class _Summed(_Series):
    """A histogram, classic or exponential."""

    __slots__ = ("_key", "_row", "_so_far", "_totals", "_value", "pending")

    def __init__(self, totals: SharedTotals, key: Key, value: Callable[[Any], HistogramValue]) -> None:
        self._totals = totals
        self._key = key
        self._value = value
        self._row: Row[HistogramValue] | None = None
        self._so_far: HistogramValue | None = None
        self.pending: HistogramValue | None = None

    def upto(self, point: Any) -> None:
        value, so_far = self._value(point), self._so_far
        bounds = tuple(getattr(point, "explicit_bounds", ()))
        if self._row is None:
            self._row = self._totals.histogram(self._key, bounds)
        if so_far is None or value != so_far:
            news = value if so_far is None or value.n < so_far.n else value.minus(so_far)
            after = news if self.pending is None else self.pending.plus(news)
            # Stored without a call in between, see otel_metrics.recording.buffers.
            self.pending, self._so_far = after, value
        self._row.take(self)
        if point.exemplars:
            self._totals.exemplars(self._key).add(_exemplars(point.exemplars, bounds or CLASSIC_LADDER))


def _explicit(point: Any) -> HistogramValue:
    carried = getattr(point, "exponential", None)
    counts = array("q", point.bucket_counts)
    value = HistogramValue(sum(counts), float(point.sum), inf, -inf, counts)
    if carried is None:
        return value
    return value._replace(zeros=carried.zero_count, native=_native(carried.positive, carried.scale))


def _exponential(point: Any) -> HistogramValue:
    # Values below zero, which no histogram of the SDK takes, are only there by a view; here they count as zeros.
    zeros = point.zero_count + sum(point.negative.bucket_counts)
    native = _native(point.positive, point.scale)
    return HistogramValue(
        point.count, float(point.sum), point.min, point.max, array("q", (point.count,)), zeros, native
    )


def _native(buckets: Any, scale: int) -> Native:
    return Native.of(scale, buckets.offset, buckets.bucket_counts)


def _exemplars(found: Sequence[Any], bounds: Sequence[float]) -> Exemplars:
    return tuple(
        Exemplar(bisect_left(bounds, each.value), float(each.value), each.time_unix_nano, tuple(_told(each)))
        for each in found
    )


def _told(exemplar: Any) -> Iterator[tuple[str, str]]:
    if exemplar.trace_id:
        yield "trace_id", format_trace_id(exemplar.trace_id)
    if exemplar.span_id:
        yield "span_id", format_span_id(exemplar.span_id)
    flat = _flat(exemplar.filtered_attributes)
    yield from zip(flat[::2], flat[1::2], strict=True)
