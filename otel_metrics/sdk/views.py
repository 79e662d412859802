"""Views that make the SDK take values in bulk, for our own provider and for a user's: ``MeterProvider(views=views(...))``.

How that is done depends on the SDK's inner workings, so it is tried out first, best way first (:class:`Way`). Without these
views, or where none of it works, everything is still recorded, value by value.
"""

from __future__ import annotations

import logging
import os
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.metrics import Histogram, MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_metrics.sdk.bucket_counts import MAX_BUCKETS, SCALE
from otel_metrics.sdk.bulk import AlreadyTaken, BulkExponentialAggregation, BulkHistogramAggregation, BulkMeasurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.metrics.view import Aggregation

_log: Final = logging.getLogger("otel_metrics")


class Way(Enum):
    """How values reach an aggregation."""

    MERGE = "a bulk is added at once, to sums of our own"
    REPEAT = "the SDK's aggregation is called per value, without the 6 µs in front of it"
    PUBLIC = "values are recorded one by one; no exponential buckets beside the explicit ones"


class Buckets(Enum):
    """Which buckets a histogram gets."""

    EXPLICIT = "explicit"
    EXPONENTIAL = "exponential"
    BOTH = "explicit and exponential, see CombinedDataPoint"


def views(
    histograms: Mapping[str, Sequence[float]],
    buckets: Buckets = Buckets.BOTH,
    way: Way | None = None,
    **criteria: Any,
) -> list[View]:
    """Return one view per histogram.

    Args:
        histograms: instrument name -> upper bounds of its explicit buckets.
        buckets: which buckets to keep.
        way: how to hand over values; None for the best that this SDK allows.
        criteria: further arguments of every ``View``, such as ``meter_name``.
    """
    chosen = way or best_way()
    return [
        View(instrument_name=name, aggregation=aggregation(bounds, buckets, chosen), **criteria)
        for name, bounds in histograms.items()
    ]


def aggregation(bounds: Sequence[float], buckets: Buckets, way: Way) -> Aggregation:
    """Return the aggregation of one histogram."""
    if buckets is Buckets.EXPONENTIAL:
        if way is Way.MERGE:
            return BulkExponentialAggregation()
        return ExponentialBucketHistogramAggregation(max_size=MAX_BUCKETS, max_scale=SCALE)
    if way is Way.PUBLIC:
        return ExplicitBucketHistogramAggregation(bounds)
    return BulkHistogramAggregation(bounds, exponential=buckets is Buckets.BOTH, merging=way is Way.MERGE)


@cache
def best_way() -> Way:
    """Return the best way that works with the SDK that is installed."""
    if os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true":  # it makes instruments that do nothing
        _log.warning("OTEL_SDK_DISABLED is true: OpenTelemetry's instruments take no values")
        return Way.PUBLIC
    for way in (Way.MERGE, Way.REPEAT):
        try:
            if _works(way):
                return way
        except Exception:  # an SDK whose inside has changed may raise anything
            _log.debug("%s does not work with this OpenTelemetry SDK", way, exc_info=True)
    _log.warning("this OpenTelemetry SDK takes values one by one only; recording costs more")
    return Way.PUBLIC


@cache
def gauges_last() -> bool:
    """Return whether the SDK reports a gauge again when it was not set again; those before 1.45 do not."""
    reader = InMemoryMetricReader()
    # Detecting a resource takes threads, which an interpreter that ends has none of: a gauge's first flush may be its last.
    provider = MeterProvider([reader], Resource.get_empty(), TraceBasedExemplarFilter(), shutdown_on_exit=False)
    try:
        provider.get_meter("otel_metrics.probe").create_gauge("probe").set(1)
        reader.get_metrics_data()
        return reader.get_metrics_data() is not None
    finally:
        provider.shutdown()


def _works(way: Way) -> bool:
    """Try a way out on a provider of its own: batches, single values, an exemplar, two readers, both temporalities."""
    total = InMemoryMetricReader()
    delta = InMemoryMetricReader(preferred_temporality={Histogram: AggregationTemporality.DELTA})
    provider = MeterProvider(
        [total, delta],
        Resource.get_empty(),
        TraceBasedExemplarFilter(),  # whatever the environment says of the application's
        shutdown_on_exit=False,
        views=views({"probe": (1.0, 2.0)}, way=way),
    )
    try:
        histogram = provider.get_meter("otel_metrics.probe").create_histogram("probe")
        bulk = BulkMeasurement.of(0.5, [0.5, 1.0, 3.0])
        histogram.record(bulk)
        histogram.record(1.5, None, _SAMPLED)
        histogram.record(AlreadyTaken(9.0))
        seen = [_seen(total), _seen(delta)]
        histogram.record(2.0)
        seen += [_seen(total), _seen(delta)]
    finally:
        provider.shutdown()
    first, second, last = (4, 6.0, (2, 1, 1), 0.5, 3.0), (5, 8.0, (2, 2, 1), 0.5, 3.0), (1, 2.0, (0, 1, 0), 2.0, 2.0)
    return bulk.takers == 2 and seen == [first, first, second, last]


_SAMPLED: Final = set_span_in_context(NonRecordingSpan(SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(1))))


def _seen(reader: InMemoryMetricReader) -> tuple[Any, ...]:
    data: Any = reader.get_metrics_data()
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    if point.exponential.count != point.count:
        return ()
    return point.count, point.sum, tuple(point.bucket_counts), point.min, point.max
