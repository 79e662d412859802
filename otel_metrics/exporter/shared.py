"""The reader whose endpoint answers for all processes that share totals, as if they were one."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_metrics.catalogue import CATALOGUE, DAILY_ACCUMULATORS, DAILY_COUNT, DAY, PROCESSES, SECONDS_PER_DAY, Kind
from otel_metrics.exporter.reader import PrometheusReader
from otel_metrics.naming import METER_NAME
from otel_metrics.sdk.lazy_points import LazyPoints, NumberPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from otel_metrics import catalogue
    from otel_metrics.multiprocess.totals import Sample, SharedTotals, Snapshot
    from otel_metrics.multiprocess.values import Day, HistogramValue

_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE

_SUMS: Final[Mapping[str, Callable[[Day], float]]] = {
    "count": attrgetter("n"),
    "total": attrgetter("total"),
    "squares": attrgetter("squares"),
    "low": attrgetter("low"),
    "high": attrgetter("high"),
}
"""The sums of a day, by the name that the catalogue has for them."""

Attributes = Mapping[str, str]


class SharedReader(PrometheusReader):
    """Exposes the metrics of the catalogue as all processes have added to them. Belongs to no provider.

    Args:
        totals: what the processes share.
        share: called before every scrape, with this reader's own figures: adds what this process knows to the totals.
        resource: what the series are from; the identity of a process, and its pid, give way to that of all.
        clock: unix time in seconds.
        options: those of :class:`~otel_metrics.exporter.PrometheusReader`.
    """

    def __init__(
        self,
        totals: SharedTotals,
        share: Callable[[Mapping[catalogue.Metric, float]], None],
        resource: Resource,
        clock: Callable[[], float],
        **options: Any,
    ) -> None:
        super().__init__(self_metrics=False, **options)
        self._totals = totals
        self._share = share
        self._resource = {name: value for name, value in resource.attributes.items() if not name.startswith("process.")}
        self._clock = clock
        self._attributes: dict[tuple[str, ...], Attributes] = {}

    def _asked_at(self, address: str) -> None:
        """Whichever process is asked, the answer is the same."""

    def _collected(self) -> MetricsData | None:
        if self._registered is None:  # shut down
            return None
        self._share(self._exposition.figures())
        snapshot = self._totals.read()
        metrics = [*self._recorded(snapshot), *self._daily(snapshot), _gauge(PROCESSES, snapshot.processes)]
        resource = Resource({**self._resource, SERVICE_INSTANCE_ID: snapshot.instance_id})
        scope = ScopeMetrics(InstrumentationScope(METER_NAME), metrics, "")
        return MetricsData([ResourceMetrics(resource, [scope], "")])

    def _recorded(self, snapshot: Snapshot) -> Iterator[Metric]:
        for metric in CATALOGUE:
            rows = [] if metric is DAILY_COUNT else snapshot.ids(metric.name)
            if rows:
                attributes = [self._of(metric, key[1:]) for _, key in rows]
                yield _metric(metric, _Rows(metric, snapshot, rows, attributes))

    def _daily(self, snapshot: Snapshot) -> Iterator[Metric]:
        """Yield the sums of the current day and of the one before, as of now."""
        today = int(self._clock() // SECONDS_PER_DAY)
        found: list[tuple[Attributes, Day]] = []
        for sample in snapshot.rows(DAILY_COUNT.name):
            for day in sample.value:
                if 0 <= today - day.day < len(DAY.values):
                    which = DAY.values[today - day.day]
                    found.append((self._of(DAILY_COUNT, (*sample.key[1:], which)), day))
        if found:
            for each in DAILY_ACCUMULATORS:
                read = _SUMS[each.field]
                yield _metric(each.metric, [_number(attributes, read(day)) for attributes, day in found])

    def _of(self, metric: catalogue.Metric, values: tuple[str, ...]) -> Attributes:
        """Return the attributes of a series: the same object at every scrape, by which rendered labels are found again."""
        names = metric.label_names
        found = self._attributes.get((metric.name, *values))
        if found is None:
            found = {name: value for name, value in zip(names, values, strict=False) if value}
            found = self._attributes.setdefault((metric.name, *values), found)
        return found


class _Rows(LazyPoints):
    """The rows of one metric as data points, each unpacked when its turn comes, and valid until the next one's."""

    def __init__(
        self,
        metric: catalogue.Metric,
        snapshot: Snapshot,
        rows: Sequence[tuple[str, tuple[str, ...]]],
        attributes: list[Attributes],
    ) -> None:
        self._metric = metric
        self._snapshot = snapshot
        self._ids = rows
        self._attributes = attributes

    def __len__(self) -> int:
        return len(self._ids)

    def attributes(self) -> list[Attributes]:
        """Return the attributes of all points."""
        return self._attributes

    def __iter__(self) -> Iterator[Any]:
        histogram = self._metric.kind is Kind.HISTOGRAM
        bounds = self._metric.buckets
        for row, attributes in zip(self._ids, self._attributes, strict=True):
            sample = self._snapshot.sample(row)
            if sample is None:
                yield None
            elif histogram:
                yield _HistogramPoint(attributes, bounds, sample)
            else:
                value = sample.value.value if sample.kind == "latest" else sample.value
                yield _number(attributes, value, sample)


class _Exemplar(NamedTuple):
    """An exemplar whose labels, the ids of its trace among them, are ready."""

    value: float
    time_unix_nano: int
    filtered_attributes: Attributes
    trace_id: None = None
    span_id: None = None


class _HistogramPoint:
    """A stand-in for the SDK's data point of a histogram, with the exponential one of the same values beside it."""

    __slots__ = ("_value", "attributes", "exemplars", "explicit_bounds", "start_time_unix_nano")

    def __init__(self, attributes: Attributes, bounds: tuple[float, ...], sample: Sample) -> None:
        self._value: HistogramValue = sample.value
        self.attributes = attributes
        self.explicit_bounds = bounds
        self.start_time_unix_nano = sample.born
        self.exemplars = _exemplars(sample)

    @property
    def bucket_counts(self) -> Sequence[int]:
        return self._value.buckets

    @property
    def sum(self) -> float:
        return self._value.total

    @property
    def exponential(self) -> ExponentialHistogramDataPoint:
        value = self._value
        return ExponentialHistogramDataPoint(
            attributes=self.attributes,
            start_time_unix_nano=self.start_time_unix_nano,
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
        )


def _metric(metric: catalogue.Metric, points: Any) -> Metric:
    data: Any
    if metric.kind is Kind.COUNTER:
        data = Sum(points, _CUMULATIVE, is_monotonic=True)
    else:
        data = Histogram(points, _CUMULATIVE) if metric.kind is Kind.HISTOGRAM else Gauge(points)
    return Metric(metric.name, metric.description, metric.unit, data)


def _gauge(metric: catalogue.Metric, value: float) -> Metric:
    return _metric(metric, [_number({}, value)])


def _number(attributes: Attributes, value: float, sample: Sample | None = None) -> NumberPoint:
    point = NumberPoint()
    point.attributes = attributes
    point.value = value
    point.start_time_unix_nano = 0 if sample is None else sample.born
    point.exemplars = () if sample is None else _exemplars(sample)
    return point


def _exemplars(sample: Sample) -> Sequence[_Exemplar]:
    if not sample.exemplars:
        return ()
    return [_Exemplar(each.value, each.time_unix_nano, dict(each.labels)) for each in sample.exemplars]
