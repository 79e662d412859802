"""Sinks that end in the totals that all processes share, where :mod:`~otel_metrics.recording.sinks` end in OpenTelemetry's instruments.

A sink adds up what its series recorded, and ``flush()`` adds that to the series' row in one go. A second later at most it is
in the files, see :class:`~otel_metrics.multiprocess.totals.SharedTotals`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from threading import RLock
from typing import TYPE_CHECKING, cast

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

from otel_metrics.catalogue import DAILY_COUNT, REASON, SECONDS_PER_DAY, SHARED_ERRORS, Kind
from otel_metrics.multiprocess.values import (
    DAYS,
    Day,
    Exemplar,
    HistogramValue,
    Latest,
    Native,
    newest_exemplars,
)
from otel_metrics.recording.sinks import Sink
from otel_metrics.sdk.bucket_counts import BucketCounts, BucketSpec, Exponential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_metrics.catalogue import DayKey, Metric
    from otel_metrics.multiprocess.files import Key
    from otel_metrics.multiprocess.totals import GaugeRow, Row, SharedTotals
    from otel_metrics.multiprocess.values import Days, Exemplars
    from otel_metrics.recording.sinks import Batch


class SharedSinks:
    """Makes the sinks of every series, each with a row of ``totals``, and with ``exemplars`` one of these."""

    def __init__(self, totals: SharedTotals, *, exemplars: bool) -> None:
        self.totals = totals
        self._counted: dict[Key, _Counted] = {}
        self._lock = RLock()
        self._exemplars = exemplars

    def histogram(self, metric: Metric, attributes: Mapping[str, str]) -> Sink:
        """Return the sink of one series of a histogram."""
        key = _key(metric, attributes)
        return SharedHistogram(self.totals.histogram(key, metric.buckets), self._exemplars_of(key), metric.buckets)

    def counter(self, metric: Metric, attributes: Mapping[str, str], *, total: bool = False) -> Sink:
        """Return the sink of one series of a counter: of rows, or (``total``) of the sum of values."""
        key = _key(metric, attributes)
        return SharedCounter(self.totals.counter(key), self._exemplars_of(key), total=total)

    def gauge(self, metric: Metric, attributes: Mapping[str, str]) -> Sink:
        """Return the sink of one series of a gauge."""
        return SharedGauge(self._gauge(metric, attributes))

    def day(self, key: DayKey) -> Sink:
        """Return the sink of the days of one row of the daily table."""
        return SharedDays(self.totals.days((DAILY_COUNT.name, *key)))

    def info(self, metric: Metric, attributes: Mapping[str, str], now: float) -> None:
        """Set one series of an info metric."""
        self.observed(metric, attributes, 1.0, now)

    def observed(self, metric: Metric, attributes: Mapping[str, str], value: float, now: float) -> None:
        """Take what is observed instead of recorded: the value of a gauge, or what this process has counted so far."""
        if metric.kind is Kind.GAUGE:
            _set(self._gauge(metric, attributes), Latest(_nanoseconds(now), value))
            return
        key = _key(metric, attributes)
        with self._lock:  # the ticker and several scrapes may be here at once
            counted = self._counted.setdefault(key, _Counted())
            counted.upto(value)
            self.totals.counter(key).take(counted)

    def share(self, now: float) -> None:
        """Add what sinks have handed over to the totals of all processes."""
        for reason, n in list(self.totals.problems.items()):
            self.observed(SHARED_ERRORS, {REASON.name: reason}, n, now)
        self.totals.flush()

    def _gauge(self, metric: Metric, attributes: Mapping[str, str]) -> Row[Latest] | GaugeRow:
        key = _key(metric, attributes)
        return self.totals.latest(key) if metric.merge == "latest" else self.totals.gauge(key, metric.merge)

    def _exemplars_of(self, key: Key) -> Row[Exemplars] | None:
        return self.totals.exemplars(key) if self._exemplars else None


class _Counted:
    """What this process has counted so far, of which the row lacks what is pending. It begins at zero, which is news, too."""

    __slots__ = ("_so_far", "pending")

    def __init__(self) -> None:
        self._so_far = 0.0
        self.pending: float | None = 0.0

    def upto(self, value: float) -> None:
        if value > self._so_far:
            self.pending, self._so_far = (self.pending or 0.0) + value - self._so_far, value


class SharedHistogram(Sink):
    """Values of one series of a histogram. Negative ones do not get here: see :class:`~otel_metrics.recording.sinks.SignSplit`."""

    __slots__ = ("_counts", "_row", "_spec", "_told", "exemplars", "pending")

    def __init__(self, row: Row[HistogramValue], told: Row[Exemplars] | None, bounds: tuple[float, ...]) -> None:
        self._row = row
        self._told = told
        self._spec = BucketSpec(bounds, exponential=True)
        self._counts: BucketCounts | None = None
        self.pending: HistogramValue | None = None
        self.exemplars: Exemplars = ()

    def fold(self, batch: Batch, now: float, /) -> None:
        """Sum up a batch."""
        if batch.context is not None and self._told is not None:
            bucket = bisect_left(self._row.layout.shape[1], batch.last)
            self.exemplars = newest_exemplars(self.exemplars, _exemplars(batch, batch.last, bucket, now))
        if self._counts is None:
            self._counts = BucketCounts(self._spec)
        self._counts.add(batch.values, batch.total, batch.last)
        batch.taken += 1

    def flush(self) -> None:
        """Add what is pending to the row."""
        if self._counts is not None:
            value = _value(self._counts)
            # Stored without a call in between, see otel_metrics.recording.buffers.
            self.pending, self._counts = value if self.pending is None else self.pending.plus(value), None
        self._row.take(self)
        _tell(self._told, self)


class SharedCounter(Sink):
    """Adds the number of values or rows, or (``total=True``) their sum, to one series of a counter, which begins at zero."""

    __slots__ = ("_row", "_told", "_total", "exemplars", "pending")

    def __init__(self, row: Row[float], told: Row[Exemplars] | None, *, total: bool = False) -> None:
        self._row = row
        self._told = told
        self._total = total
        self.pending: float | None = 0.0  # zero is news, too: the series appears
        self.exemplars: Exemplars = ()

    def fold(self, batch: Batch, now: float, /) -> None:
        """Add a batch's count or sum."""
        amount = batch.total if self._total else batch.n
        if batch.context is not None and self._told is not None:
            self.exemplars = newest_exemplars(self.exemplars, _exemplars(batch, amount, 0, now))
        self.pending = amount + (self.pending or 0.0)
        batch.taken += 1

    def seed(self) -> None:
        """Make the series appear at zero."""
        self.flush()

    def flush(self) -> None:
        """Add what is pending to the row."""
        self._row.take(self)
        _tell(self._told, self)


class SharedGauge(Sink):
    """Sets one series of a gauge, or this process's part in it, to the value recorded last."""

    __slots__ = ("_news", "_row")

    def __init__(self, row: Row[Latest] | GaugeRow) -> None:
        self._row = row
        self._news: Latest | None = None

    def fold(self, batch: Batch, now: float, /) -> None:
        """Remember the last value."""
        self._news = Latest(_nanoseconds(now), batch.last)
        batch.taken += 1

    def flush(self) -> None:
        """Set the gauge."""
        if self._news is not None:
            _set(self._row, self._news)
            self._news = None  # afterwards: to set it twice does no harm


class SharedDays(Sink):
    """The sums of each UTC day of one row of the daily table."""

    __slots__ = ("_row", "pending")

    def __init__(self, row: Row[Days]) -> None:
        self._row = row
        self.pending: Days | None = None

    def fold(self, batch: Batch, now: float, /) -> None:
        """Add a batch of values recorded at ``now``."""
        day = Day(int(now // SECONDS_PER_DAY), batch.n, batch.total, batch.squares, batch.low, batch.high)
        self.pending = DAYS.plus(self.pending or (), (day,))
        batch.taken += 1

    def flush(self) -> None:
        """Add what is pending to the row."""
        self._row.take(self)


def _value(counts: BucketCounts) -> HistogramValue:
    native = Exponential()
    native.add(counts)
    return HistogramValue(
        counts.n,
        counts.total,
        counts.low,
        counts.high,
        array("q", counts.buckets or ()),
        native.zeros,
        Native(native.scale, native.offset, array("q", native.counts)),
    )


def _tell(row: Row[Exemplars] | None, sink: SharedHistogram | SharedCounter) -> None:
    if sink.exemplars and row is not None:
        row.add(sink.exemplars)
        sink.exemplars = ()  # afterwards: of an exemplar that is added twice one is kept


def _key(metric: Metric, attributes: Mapping[str, str]) -> Key:
    return (metric.name, *(attributes.get(name, "") for name in metric.label_names))


def _set(row: Row[Latest] | GaugeRow, value: Latest) -> None:
    if row.layout.kind == "gauge":
        cast("GaugeRow", row).set(value.value)
    else:
        cast("Row[Latest]", row).add(value)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


def _exemplars(batch: Batch, value: float, bucket: int, now: float) -> Exemplars:
    """Return the exemplar of a value that belongs to a sampled span or an interaction."""
    span = get_current_span(batch.context).get_span_context()
    labels = dict(batch.extra or {})
    if span.trace_flags.sampled:
        labels = {"trace_id": format_trace_id(span.trace_id), "span_id": format_span_id(span.span_id), **labels}
    return (Exemplar(bucket, value, _nanoseconds(now), tuple(labels.items())),) if labels else ()
