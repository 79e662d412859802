"""Teaches the SDK to take many values in one measurement.

A :class:`BulkMeasurement` is a float: one true measurement of its series, which any aggregation can take. An aggregation of ours
(from :func:`otel_metrics.sdk.views.views`) sees what else it carries, takes all of it and acknowledges; so the sender
knows, without asking the SDK, whether the rest of the values must follow one by one. They follow as :class:`AlreadyTaken`, which
aggregations of ours leave alone, so that several views of one instrument, ours and others, get every value exactly once.

What is relied upon is in :mod:`~otel_metrics.sdk.private_names`; :mod:`~otel_metrics.sdk.views` probes it before use.

With ``exponential=True`` a data point is a :class:`CombinedDataPoint`: an explicit-bucket ``HistogramDataPoint`` for every
exporter, whose attribute ``exponential`` is the ``ExponentialHistogramDataPoint`` of the same values (at most 640 buckets,
scale at most 8), or None. One instrument has one stream per view and two views of one name conflict; so both travel in one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache, partial
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
)

from otel_metrics.forks import Part, renew_after_fork
from otel_metrics.sdk.acknowledged import AcknowledgedFloat
from otel_metrics.sdk.bucket_counts import MAX_BUCKETS, SCALE, BucketCounts, BucketSpec, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from otel_metrics.sdk.bucket_counts import Accumulation

    _Sample = Callable[[Any, bool], None]


class BulkMeasurement(AcknowledgedFloat):
    """Many measurements in one. As a float it is one of them; ``content`` is all of them.

    ``takers`` counts the aggregations of ours that have taken all of it, ``added`` tells of others that have taken the float.
    ``born`` is the time (unix nanoseconds) of the first measurement of its series, ``extra`` attributes for the exemplar.
    """

    __slots__ = ("born", "content", "extra", "scale", "spec", "summed", "takers")

    content: Sequence[float] | BucketCounts
    summed: BucketCounts | None
    born: int | None
    extra: Mapping[str, str] | None
    takers: int
    spec: BucketSpec | None
    scale: int

    @classmethod
    def of(
        cls,
        value: float,
        content: Sequence[float] | BucketCounts,
        born: int | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> BulkMeasurement:
        """Make a bulk of ``content`` that is ``value`` to those who know no better."""
        self = cls(value)
        self.content = content
        self.summed = None
        self.born = born
        self.extra = extra
        self.takers = 0
        self.spec = None
        self.scale = SCALE
        return self

    def counts_for(self, sums: Accumulation) -> BucketCounts:
        """Return the content as a counts; aggregations that want the same get the same."""
        if isinstance(self.content, BucketCounts):
            return self.content
        if self.summed is None or self.summed.spec != sums.spec or self.summed.scale < sums.scale:
            self.summed = sums.counts_of(self.content)
        return self.summed

    def wish(self, spec: BucketSpec | None, scale: int) -> None:
        """Tell what the next bulk may be summed up into (None: nothing), and how finely; after counting as a taker."""
        self.scale = min(self.scale, scale)
        self.spec = spec if self.takers == 1 else self.spec.union(spec) if self.spec else None


class AlreadyTaken(AcknowledgedFloat):
    """A value that aggregations of ours have taken already, in a bulk."""


@dataclass(frozen=True)
class CombinedDataPoint(HistogramDataPoint):
    """An explicit-bucket data point that carries the exponential one of the same values along."""

    exponential: ExponentialHistogramDataPoint | None = None


class _Single:
    """The measurement of one value out of a bulk."""

    __slots__ = ("attributes", "context", "time_unix_nano", "value")

    def __init__(self, measurement: Any, value: float, extra: Mapping[str, str] | None = None) -> None:
        self.value = value
        self.time_unix_nano = measurement.time_unix_nano
        self.context = measurement.context
        self.attributes = {**(measurement.attributes or {}), **extra} if extra else measurement.attributes


class _Guard:
    """What all series of a view share. One lock each would be a fiftieth of their memory; new after a fork, which may fall into it.

    ``anew`` tells that sums start anew after collections, so that it does not matter how coarse they became before.
    """

    __slots__ = ("__weakref__", "anew", "lock")

    _all: ClassVar[WeakSet[_Guard]] = WeakSet()

    def __init__(self) -> None:
        self.lock = RLock()
        self.anew = False
        self._all.add(self)

    @classmethod
    def renew(cls) -> None:
        for guard in cls._all:
            guard.lock = RLock()


renew_after_fork(Part.AGGREGATIONS, _Guard.renew)


class _Intake:
    """What an aggregation of ours keeps beside the fields that the SDK gave it."""

    __slots__ = ("begin", "guard", "labels", "spec", "sums")

    def __init__(self, spec: BucketSpec, labels: Any, begin: int, guard: _Guard) -> None:
        self.spec = spec
        self.labels = labels
        self.begin = begin
        self.sums = nothing(spec)
        self.guard = guard

    def take(self, measurement: Any, sample: _Sample | None, each: Callable[[Any], None] | None = None) -> None:
        """Take one measurement or a bulk of them; ``each`` is called with every single one, where it is wanted."""
        value = measurement.value
        if type(value) is AlreadyTaken:
            return
        bulk = value if type(value) is BulkMeasurement else None
        with self.guard.lock:
            if bulk is not None and bulk.born is not None and not self.sums.n:
                self.begin = min(self.begin, bulk.born)
            counts = self.sums.counts_of([value]) if bulk is None else bulk.counts_for(self.sums)
            self.sums = self.sums.plus(counts)
            if bulk is not None:
                bulk.takers += 1  # in the same breath as it was added: then it is not offered again
                bulk.wish(None if each else self.spec, SCALE if self.guard.anew else self.sums.scale)
            content = [value] if bulk is None else bulk.content
            if each is not None and not isinstance(content, BucketCounts):
                for one in content:
                    each(_Single(measurement, one))
        if sample is not None:
            sample(_Single(measurement, float(value), bulk.extra if bulk else None), True)

    def turn(self, temporality: AggregationTemporality, now: int) -> tuple[Accumulation, int]:
        """Return the sums to report and their start; after a delta collection they start anew."""
        sums, begin = self.sums, self.begin
        if temporality is AggregationTemporality.DELTA:
            self.guard.anew = True
            self.sums, self.begin = nothing(self.spec), now
        return sums, begin

    def exponential_point(self, sums: Accumulation, begin: int, now: int, exemplars: Any) -> Any:
        """Return the data point of the exponential buckets, None if there are none."""
        buckets = sums.exponential
        if buckets is None:
            return None
        return ExponentialHistogramDataPoint(
            attributes=self.labels,
            exemplars=exemplars,
            start_time_unix_nano=begin,
            time_unix_nano=now,
            count=sums.n,
            sum=sums.total,
            scale=buckets.scale,
            zero_count=buckets.zeros,
            positive=Buckets(offset=buckets.offset, bucket_counts=tuple(buckets.counts) or (0,)),
            negative=Buckets(offset=0, bucket_counts=(0,)),
            flags=0,
            min=sums.low,
            max=sums.high,
        )

    def point(self, temporality: AggregationTemporality, now: int, exemplars: Callable[[], Any]) -> Any:
        """Return the data point of a collection, None if there is nothing to report."""
        with self.guard.lock:
            sums, begin = self.turn(temporality, now)
            if not sums.n:
                return None
            sampled = exemplars()
            exponential = self.exponential_point(sums, begin, now, sampled)
            if sums.buckets is None:
                return exponential
            return CombinedDataPoint(
                attributes=self.labels,
                exemplars=sampled,
                start_time_unix_nano=begin,
                time_unix_nano=now,
                count=sums.n,
                sum=sums.total,
                bucket_counts=tuple(sums.buckets),
                explicit_bounds=self.spec.bounds or (),
                min=sums.low,
                max=sums.high,
                exponential=exponential,
            )

    def beside(self, point: Any, temporality: AggregationTemporality, now: int) -> Any:
        """Return the SDK's data point with the exponential one beside it."""
        with self.guard.lock:
            sums, begin = self.turn(temporality, now)
            if point is None or sums.exponential is None:
                return point
            values = {field.name: getattr(point, field.name) for field in fields(point)}
            return CombinedDataPoint(**values, exponential=self.exponential_point(sums, begin, now, point.exemplars))


@cache
def merging_class(base: Any) -> Any:
    """Return the class of aggregations that keep their own sums, derived from one of the SDK's."""

    class Merging(base):  # type: ignore[misc]
        """Keeps its own sums: the SDK's stay empty."""

        def aggregate(self, measurement: Any, should_sample_exemplar: bool = True) -> None:
            self.intake.take(measurement, self._sample_exemplar if should_sample_exemplar else None)

        def collect(self, temporality: AggregationTemporality, now: int) -> Any:
            return self.intake.point(temporality, now, self._collect_exemplars)

    return Merging


@cache
def _repeating(base: Any) -> Any:
    class Repeating(base):  # type: ignore[misc]
        """Lets the SDK's aggregation take the values one by one; only the exponential companion is our own."""

        def aggregate(self, measurement: Any, should_sample_exemplar: bool = True) -> None:
            each = partial(super().aggregate, should_sample_exemplar=False)
            self.intake.take(measurement, self._sample_exemplar if should_sample_exemplar else None, each)

        def collect(self, temporality: AggregationTemporality, now: int) -> Any:
            return self.intake.beside(super().collect(temporality, now), temporality, now)

    return Repeating


class BulkHistogramAggregation(ExplicitBucketHistogramAggregation):
    """Explicit buckets, and optionally exponential ones of the same values, that take batches."""

    def __init__(self, boundaries: Sequence[float], *, exponential: bool, merging: bool = True) -> None:
        super().__init__(boundaries)
        self._derive = merging_class if merging else _repeating
        self._guard = _Guard()
        self._needs = BucketSpec(tuple(boundaries) if merging else None, exponential)

    def _create_aggregation(self, instrument: Any, attributes: Any, reservoir_factory: Any, begin: int) -> Any:
        made: Any = super()._create_aggregation(instrument, attributes, reservoir_factory, begin)
        kind: Any = type(made)
        made.__class__ = self._derive(kind)
        made.intake = _Intake(self._needs, attributes, begin, self._guard)
        return made


class BulkExponentialAggregation(ExponentialBucketHistogramAggregation):
    """Exponential buckets alone that take batches."""

    def __init__(self) -> None:
        super().__init__(max_size=MAX_BUCKETS, max_scale=SCALE)
        self._guard = _Guard()

    def _create_aggregation(self, instrument: Any, attributes: Any, reservoir_factory: Any, begin: int) -> Any:
        made: Any = super()._create_aggregation(instrument, attributes, reservoir_factory, begin)
        kind: Any = type(made)
        made.__class__ = merging_class(kind)
        made.intake = _Intake(BucketSpec(None, exponential=True), attributes, begin, self._guard)
        return made
