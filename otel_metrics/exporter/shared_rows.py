"""Rows of shared totals as data points that any renderer takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    Metric,
    Sum,
)

from otel_metrics.catalogue import Kind
from otel_metrics.sdk.lazy_points import LazyPoints, NumberPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_metrics import catalogue
    from otel_metrics.multiprocess.totals import RowId, Sample, Snapshot
    from otel_metrics.multiprocess.values import HistogramValue

    Attributes = Mapping[str, str]
    Made = Callable[[Attributes, Sample], Any]


CUMULATIVE: Final = AggregationTemporality.CUMULATIVE


class Rows(LazyPoints):
    """Rows as data points, each unpacked and made when its turn comes."""

    def __init__(self, snapshot: Snapshot, rows: Sequence[RowId], attributes: list[Attributes], made: Made) -> None:
        self._snapshot = snapshot
        self._ids = rows
        self._attributes = attributes
        self._made = made

    def __len__(self) -> int:
        return len(self._ids)

    def attributes(self) -> list[Attributes]:
        """Return the attributes of all points."""
        return self._attributes

    def __iter__(self) -> Iterator[Any]:
        made = self._made
        for sample, attributes in zip(map(self._snapshot.sample, self._ids), self._attributes, strict=True):
            yield None if sample is None else made(attributes, sample)


class _Exemplar(NamedTuple):
    """An exemplar whose labels, the ids of its trace among them, are ready."""

    value: float
    time_unix_nano: int
    filtered_attributes: Attributes
    trace_id: None = None
    span_id: None = None


class HistogramPoint:
    """A stand-in for the SDK's data point of a histogram, with the exponential one of the same values beside it."""

    __slots__ = (
        "_sample",
        "attributes",
        "bucket_counts",
        "exemplars",
        "explicit_bounds",
        "start_time_unix_nano",
        "sum",
    )

    def __init__(self, attributes: Attributes, sample: Sample) -> None:
        self._sample = sample
        self.attributes = attributes
        self.explicit_bounds: tuple[float, ...] = sample.shape[1]
        self.bucket_counts: Sequence[int] = sample.value.buckets
        self.sum: float = sample.value.total
        self.start_time_unix_nano = sample.born
        self.exemplars = exemplars_of(sample)

    @property
    def exponential(self) -> ExponentialHistogramDataPoint | None:
        """The same values in exponential buckets; None if they have not been counted so."""
        value: HistogramValue = self._sample.value
        if value.n and not value.zeros and not value.native.counts:
            return None
        return exponential_point(self.attributes, self._sample)


def exponential_point(attributes: Attributes, sample: Sample) -> ExponentialHistogramDataPoint:
    """Return the SDK's data point of an exponential histogram."""
    value: HistogramValue = sample.value
    return ExponentialHistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=sample.born,
        time_unix_nano=0,
        count=value.n,
        sum=value.total,
        scale=value.native.scale,
        zero_count=value.zeros,
        positive=Buckets(value.native.offset, value.native.counts or (0,)),
        negative=Buckets(0, (0,)),
        flags=0,
        min=value.low,
        max=value.high,
        exemplars=cast("Any", exemplars_of(sample)),
    )


def number_point(attributes: Attributes, sample: Sample) -> NumberPoint:
    """Return the data point of a counter or a gauge."""
    point = number(attributes, sample.value.value if sample.kind == "latest" else sample.value)
    point.start_time_unix_nano = sample.born
    point.exemplars = exemplars_of(sample)
    return point


def number(attributes: Attributes, value: float) -> NumberPoint:
    """Return a data point without a start time."""
    point = NumberPoint()
    point.attributes = attributes
    point.value = value
    point.start_time_unix_nano = 0
    point.exemplars = ()
    return point


def exemplars_of(sample: Sample) -> Sequence[_Exemplar]:
    """Return the exemplars of a row, as the SDK's data points have them."""
    if not sample.exemplars:
        return ()
    return [_Exemplar(each.value, each.time_unix_nano, dict(each.labels)) for each in sample.exemplars]


def metric_of(metric: catalogue.Metric, points: Any) -> Metric:
    """Return a metric of the catalogue with these data points."""
    data: Any
    if metric.kind is Kind.COUNTER:
        data = Sum(points, CUMULATIVE, is_monotonic=True)
    else:
        data = Histogram(points, CUMULATIVE) if metric.kind is Kind.HISTOGRAM else Gauge(points)
    return Metric(metric.name, metric.description, metric.unit, data)
