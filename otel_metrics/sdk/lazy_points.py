"""Reading the SDK's aggregations where they are, one at a time, instead of having all their data points made first.

The SDK makes a list of data points per instrument at every collection: 7 µs and half a kilobyte for each, all alive until
the last one is rendered, with the garbage collector walking over them meanwhile. Here the list is replaced by a sequence
that reads one aggregation when it is asked for one point. Nothing is changed in the SDK's state.

What is used of the SDK is in :mod:`~otel_metrics.sdk.private_names`. It is probed once against what the SDK itself says; where
an SDK is made differently, :func:`attach` does nothing and the SDK's own data points are used.
"""

from __future__ import annotations

import logging
from functools import cache
from itertools import compress, islice
from operator import add
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, TraceBasedExemplarFilter, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, Buckets, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from otel_metrics.sdk.bulk import merging_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import MetricReader

_logger = logging.getLogger(__name__)

_SYNCHRONOUS: Final = (Counter, UpDownCounter, Histogram)
"""Asynchronous instruments are left to the SDK: their values belong to one collection."""

_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE

_AT_ONCE: Final = 128
"""Numbers of a block: a tenth of a millisecond's work, so that other threads need not wait for more."""


class Numbers(NamedTuple):
    """Some points of a counter or gauge in columns, each with its labels; ``starts`` are unix nanoseconds, 0 where not known."""

    labels: Sequence[Any]
    values: Sequence[float]
    starts: Sequence[int]
    exemplars: Sequence[Sequence[Any]]

    def only(self, chosen: Sequence[bool]) -> Numbers:
        """Return those that are ``chosen``."""
        columns: Iterator[Any] = (tuple(compress(column, chosen)) for column in self)
        return Numbers(*columns)


def numbers_of(points: Iterable[Any], labels: Sequence[Any]) -> Iterator[Numbers]:
    """Return the points of a counter or gauge in blocks, without those that have nothing to say."""
    if isinstance(points, (NumberPoints, SumPoints)):
        for start in range(0, len(labels), _AT_ONCE):
            block = slice(start, start + _AT_ONCE)
            yield Numbers(labels[block], *points.columns(block))
        return
    rows = (
        (own, point.value, point.start_time_unix_nano, point.exemplars or ())
        for point, own in zip(points, labels, strict=True)
        if point is not None
    )
    while some := tuple(islice(rows, _AT_ONCE)):
        yield Numbers(*zip(*some, strict=True))


class NumberPoint:
    """A stand-in for the SDK's `NumberDataPoint`."""

    __slots__ = ("attributes", "exemplars", "start_time_unix_nano", "value")

    attributes: Mapping[str, Any]
    exemplars: Sequence[Any]
    start_time_unix_nano: int
    value: float


class HistogramPoint:
    """A stand-in for the SDK's `HistogramDataPoint`."""

    __slots__ = ("attributes", "bucket_counts", "exemplars", "explicit_bounds", "start_time_unix_nano", "sum")

    attributes: Mapping[str, Any]
    bucket_counts: Sequence[int]
    exemplars: Sequence[Any]
    explicit_bounds: Sequence[float]
    start_time_unix_nano: int
    sum: float


class PositiveBuckets:
    """A stand-in for the SDK's `Buckets`, which never change."""

    __slots__ = ("bucket_counts", "offset")

    bucket_counts: Sequence[int]
    offset: int


class ExponentialPoint:
    """A stand-in for the SDK's `ExponentialHistogramDataPoint`."""

    __slots__ = ("count", "negative", "positive", "scale", "zero_count")

    negative: Buckets
    positive: PositiveBuckets
    count: int
    scale: int
    zero_count: int


class CombinedPoint(HistogramPoint):
    """A stand-in for our `CombinedDataPoint`."""

    __slots__ = ("exponential",)

    exponential: ExponentialPoint | None


class LazyPoints:
    """The data points of one metric stream, each made when its turn comes, and valid until the next one's."""

    def __init__(self, aggregations: list[Any], time_unix_nano: int) -> None:
        self._aggregations = aggregations
        self._time = time_unix_nano

    def __len__(self) -> int:
        return len(self._aggregations)

    def attributes(self) -> Sequence[Mapping[str, Any]]:
        """Return the attributes of all points, at no cost."""
        return [aggregation._attributes for aggregation in self._aggregations]

    def __iter__(self) -> Iterator[Any]:
        readers = _readers()
        time = self._time
        for aggregation in self._aggregations:
            read = readers.get(type(aggregation))
            # Aggregations that somebody else wrote, and those not worth it, are collected as the SDK would.
            yield aggregation.collect(_CUMULATIVE, time) if read is None else read(aggregation)


class SumPoints(LazyPoints):
    """Those of a counter."""

    def columns(self, block: slice) -> tuple[Sequence[float], Sequence[int], Sequence[Any]]:
        """Return values, start times and exemplars of some points."""
        aggregations = self._aggregations[block]
        starts = [aggregation._start_time_unix_nano for aggregation in aggregations]
        return list(map(_total_of, aggregations)), starts, list(map(_exemplars, aggregations))


class NumberPoints(LazyPoints):
    """Numbers as they are; without start times or exemplars, as gauges have them, unless these are given."""

    def __init__(
        self,
        attributes: Sequence[Mapping[str, Any]],
        values: Sequence[float],
        starts: Sequence[int] = (),
        exemplars: Sequence[Sequence[Any]] = (),
    ) -> None:
        self._attributes = attributes
        self.values = values
        self._starts = starts or (0,) * len(values)
        self._exemplars = exemplars or ((),) * len(values)

    def __len__(self) -> int:
        return len(self.values)

    def attributes(self) -> Sequence[Mapping[str, Any]]:
        """Return the attributes of all points."""
        return self._attributes

    def columns(self, block: slice) -> tuple[Sequence[float], Sequence[int], Sequence[Any]]:
        """Return values, start times and exemplars of some points."""
        return self.values[block], self._starts[block], self._exemplars[block]

    def __iter__(self) -> Iterator[NumberPoint]:
        point = NumberPoint()
        for values in zip(self._attributes, self.values, self._starts, self._exemplars, strict=True):
            point.attributes, point.value, point.start_time_unix_nano, point.exemplars = values
            yield point


# ruff: noqa: SLF001


def _exemplars(aggregation: Any) -> Sequence[Any]:
    # A reservoir of the SDK's that is empty need not be asked; one of the application's own is.
    return aggregation._collect_exemplars() if getattr(aggregation._reservoir, "_reservoir_storage", True) else ()


def _total_of(aggregation: Any) -> float:
    with aggregation._lock:
        value = aggregation._value
        total: float = aggregation._previous_value if value is None else value + aggregation._previous_value
    return total


def _number_reader() -> Callable[[Any], NumberPoint]:
    point = NumberPoint()

    def read(aggregation: Any) -> NumberPoint:
        point.value = _total_of(aggregation)
        point.attributes = aggregation._attributes
        point.start_time_unix_nano = aggregation._start_time_unix_nano
        point.exemplars = _exemplars(aggregation)
        return point

    return read


def _histogram_reader() -> Callable[[Any], HistogramPoint]:
    point = HistogramPoint()

    def read(aggregation: Any) -> HistogramPoint:
        with aggregation._lock:
            new, old = aggregation._value, aggregation._previous_value
            if old is None:
                # Neither, between a series' birth in another thread and its first value: an empty histogram, as the SDK has it.
                point.bucket_counts = (0,) * (len(aggregation._boundaries) + 1) if new is None else tuple(new)
            else:
                point.bucket_counts = old if new is None else tuple(map(add, new, old))
            point.sum = aggregation._sum + aggregation._previous_sum
        point.attributes = aggregation._attributes
        point.explicit_bounds = aggregation._boundaries
        point.start_time_unix_nano = aggregation._start_time_unix_nano
        point.exemplars = _exemplars(aggregation)
        return point

    return read


def _combined_reader() -> Callable[[Any], CombinedPoint | None]:
    point, exponential = CombinedPoint(), ExponentialPoint()
    exponential.positive, exponential.negative = PositiveBuckets(), Buckets(0, (0,))

    def read(aggregation: Any) -> CombinedPoint | None:
        sums = aggregation.intake.sums  # which never change
        if not sums.n:
            return None
        point.attributes = aggregation._attributes
        point.explicit_bounds = sums.spec.bounds
        point.bucket_counts = sums.buckets
        point.sum = sums.total
        point.start_time_unix_nano = aggregation.intake.begin
        point.exemplars = _exemplars(aggregation)
        point.exponential = None
        if (buckets := sums.exponential) is not None:
            point.exponential = exponential
            exponential.count, exponential.scale, exponential.zero_count = sums.n, buckets.scale, buckets.zeros
            exponential.positive.offset, exponential.positive.bucket_counts = buckets.offset, buckets.counts
        return point

    return read


def _sdk() -> Any:
    from opentelemetry.sdk.metrics._internal import aggregation

    return aggregation


def _readers() -> dict[type, Callable[[Any], Any]]:
    """Return how to read the most frequent aggregations; new ones each time, as they reuse one point."""
    sdk = _sdk()
    return {
        sdk._SumAggregation: _number_reader(),
        sdk._ExplicitBucketHistogramAggregation: _histogram_reader(),
        merging_class(sdk._ExplicitBucketHistogramAggregation): _combined_reader(),
    }


def is_registered(reader: MetricReader) -> bool:
    """Return whether a provider has ``reader``; before, it can collect nothing. True where this SDK does not tell."""
    return getattr(reader, "_collect", True) is not None


def attach(reader: MetricReader) -> None:
    """Have the SDK return :class:`LazyPoints` to ``reader`` for its synchronous instruments, if this SDK allows it."""
    if _works():
        _attach(reader)


def _attach(reader: MetricReader) -> None:
    collect = getattr(reader, "_collect", None)
    if collect is None:  # not registered with a provider
        return
    storage = collect.__self__._reader_storages.get(reader)
    if storage is None:
        return
    # And whatever is derived from them. Exponential histograms are looked at twice (for their range first): they stay lists.
    kinds = tuple(_readers())
    for instrument, streams in list(storage._instrument_view_instrument_matches.items()):
        if isinstance(instrument, _SYNCHRONOUS):
            for stream in streams:
                if "collect" not in vars(stream) and isinstance(stream._aggregation, kinds):
                    stream.collect = _lazily(stream)


def _lazily(stream: Any) -> Callable[[AggregationTemporality, int], LazyPoints | None]:
    sums = {_sdk()._SumAggregation}

    def collect(_: AggregationTemporality, time_unix_nano: int) -> LazyPoints | None:
        with stream._lock:
            aggregations = list(stream._attributes_aggregation.values())
        if not aggregations:
            return None
        return (SumPoints if set(map(type, aggregations)) == sums else LazyPoints)(aggregations, time_unix_nano)

    return collect


@cache
def _works() -> bool:
    """Return whether reading directly gives what the SDK gives: before and after its own collections, with and without new values."""
    try:
        lazy, plain = InMemoryMetricReader(), InMemoryMetricReader()
        provider = MeterProvider(
            [lazy, plain], Resource.get_empty(), TraceBasedExemplarFilter(), shutdown_on_exit=False
        )
        meter = provider.get_meter(__name__)
        histogram = meter.create_histogram("histogram")
        counters: list[Any] = [meter.create_counter("counter"), meter.create_up_down_counter("up_down_counter")]
        for attached in (False, False, True, True):
            for value in (3, 0.5, 7000):
                histogram.record(value, {"probe": "often"})
                if not attached:
                    histogram.record(value, {"probe": "early"})
                for counter in counters:
                    counter.add(value, {"probe": str(attached)})
            if attached:
                _attach(lazy)
            if _seen(lazy, attached=attached) != _seen(plain, attached=False):
                _logger.info("this SDK's aggregations cannot be read directly, its data points are used")
                return False
        provider.shutdown()
        return True
    except Exception:
        _logger.info("this SDK's aggregations cannot be read directly, its data points are used", exc_info=True)
        return False


def _seen(reader: InMemoryMetricReader, *, attached: bool) -> list[Any]:
    data = reader.get_metrics_data()
    metrics = [] if data is None else [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
    seen: list[Any] = []
    for metric in metrics:
        points: Any = metric.data.data_points
        if attached and not isinstance(points, LazyPoints):
            raise TypeError("the SDK did not take the replacement")
        for point in points:
            values = (
                (tuple(point.bucket_counts), tuple(point.explicit_bounds), point.sum)
                if hasattr(point, "bucket_counts")
                else (point.value,)
            )
            # Start times differ from reader to reader by some nanoseconds; that there is one is what can be compared.
            seen.append((metric.name, dict(point.attributes), *values, point.start_time_unix_nano > 0))
    return seen
