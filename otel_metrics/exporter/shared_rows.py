"""Rows of shared totals as data points that any renderer takes."""

from __future__ import annotations

from itertools import compress, repeat
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
from otel_metrics.multiprocess.values import Latest
from otel_metrics.sdk.lazy_points import LazyPoints, NumberPoint, NumberPoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_metrics import catalogue
    from otel_metrics.multiprocess.totals import Place, Snapshot
    from otel_metrics.multiprocess.values import Exemplars, HistogramValue

    Attributes = Mapping[str, str]

CUMULATIVE: Final = AggregationTemporality.CUMULATIVE


class HistogramPoints(LazyPoints):
    """Rows of a histogram as data points, each unpacked and made when its turn comes."""

    def __init__(
        self,
        snapshot: Snapshot,
        places: Sequence[Place],
        attributes: Sequence[Attributes],
        made: Callable[[Attributes, tuple[float, ...], HistogramValue, int, Sequence[_Exemplar]], Any],
    ) -> None:
        self._snapshot = snapshot
        self._places = places
        self._attributes = attributes
        self._made = made

    def __len__(self) -> int:
        return len(self._places)

    def attributes(self) -> Sequence[Attributes]:
        """Return the attributes of all points."""
        return self._attributes

    def __iter__(self) -> Iterator[Any]:
        made, snapshot, places = self._made, self._snapshot, self._places
        told = map(_exemplars, snapshot.exemplars(places) or repeat(()))
        for place, attributes, stored, exemplars in zip(
            places, self._attributes, snapshot.values(places), told, strict=False
        ):
            if stored is None:
                yield None
            else:
                value, born = stored
                yield made(attributes, place.layout.shape[1], value, born, exemplars)


def number_points(
    snapshot: Snapshot, places: Sequence[Place], attributes: Sequence[Attributes], *, started: bool = True
) -> NumberPoints:
    """Return the rows of a counter or a gauge as data points; ``started`` if they have start times."""
    stored = list(snapshot.values(places))
    exemplars = [*map(_exemplars, snapshot.exemplars(places))]
    if None in stored:
        has_value = [each is not None for each in stored]
        attributes, exemplars = list(compress(attributes, has_value)), list(compress(exemplars, has_value))
    found = [each for each in stored if each is not None]
    values = [value.value if isinstance(value, Latest) else value for value, _ in found]
    return NumberPoints(attributes, values, [born for _, born in found] if started else (), exemplars)


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
        "attributes",
        "bucket_counts",
        "exemplars",
        "explicit_bounds",
        "start_time_unix_nano",
        "sum",
        "value",
    )

    def __init__(
        self,
        attributes: Attributes,
        bounds: tuple[float, ...],
        value: HistogramValue,
        born: int,
        exemplars: Sequence[_Exemplar],
    ) -> None:
        self.value = value
        self.attributes = attributes
        self.explicit_bounds = bounds
        self.bucket_counts = value.buckets
        self.sum = value.total
        self.start_time_unix_nano = born
        self.exemplars = exemplars

    @property
    def exponential(self) -> ExponentialHistogramDataPoint | None:
        """The same values in exponential buckets; None if they have not been counted so."""
        value = self.value
        if value.n and not value.zeros and not value.native.counts:
            return None
        return exponential_point(self.attributes, (), value, self.start_time_unix_nano, self.exemplars)


def exponential_point(
    attributes: Attributes, _: tuple[float, ...], value: HistogramValue, born: int, exemplars: Sequence[_Exemplar]
) -> ExponentialHistogramDataPoint:
    """Return the SDK's data point of an exponential histogram."""
    return ExponentialHistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=born,
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
        exemplars=cast("Any", exemplars),
    )


def number(attributes: Attributes, value: float) -> NumberPoint:
    """Return a data point without a start time."""
    point = NumberPoint()
    point.attributes = attributes
    point.value = value
    point.start_time_unix_nano = 0
    point.exemplars = ()
    return point


def _exemplars(found: Exemplars) -> Sequence[_Exemplar]:
    """Return exemplars as the SDK's data points have them."""
    return [_Exemplar(each.value, each.time_unix_nano, dict(each.labels)) for each in found] if found else ()


def metric_of(metric: catalogue.Metric, points: Any) -> Metric:
    """Return a metric of the catalogue with these data points."""
    data: Any
    if metric.kind is Kind.COUNTER:
        data = Sum(points, CUMULATIVE, is_monotonic=True)
    else:
        data = Histogram(points, CUMULATIVE) if metric.kind is Kind.HISTOGRAM else Gauge(points)
    return Metric(metric.name, metric.description, metric.unit, data)
