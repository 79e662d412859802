"""Prometheus' protobuf format, rendered straight from the SDK's data points: native histograms, exemplars, start times."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, chain
from math import inf
from operator import sub
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint

from otel_metrics.exporter import exemplars, wire
from otel_metrics.exporter.exponential import classic_counts, native_buckets, schema_of
from otel_metrics.exporter.text import as_float

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from otel_metrics.exporter.families import Family
    from otel_metrics.exporter.series import Series

ZERO_THRESHOLD: Final = 2.0**-128
"""Width of the zero bucket, as in client_golang."""

_METRIC: Final = b"\x22"  # MetricFamily.metric = 4
_COUNTER_VALUE: Final = b"\x1a\x09\x09"  # Metric.counter = 3, nine bytes: Counter.value = 1
_GAUGE_VALUE: Final = b"\x12\x09\x09"  # Metric.gauge = 2, nine bytes: Gauge.value = 1

_heads: Final = wire.BucketHeads()
_deltas: Final = wire.Deltas()


@lru_cache(maxsize=4096)
def _tails(bounds: tuple[float, ...]) -> list[bytes]:
    return [wire.double(float(bound)) for bound in (*bounds, inf)]


def metric(labels: bytes, content: bytes) -> bytes:
    """Return a Metric as a field of MetricFamily."""
    return b"".join((_METRIC, wire.varint(len(labels) + len(content)), labels, content))


class ProtobufRenderer:
    """Renders families as delimited ``io.prometheus.client.MetricFamily`` messages."""

    def __init__(self, series: Series[bytes]) -> None:
        self._series = series

    def family(self, family: Family) -> list[bytes]:
        """Return the message in pieces. Its length comes first, so it is complete before anything can be sent."""
        kind = "gauge" if family.kind == "info" else family.kind
        metrics: Iterable[bytes]
        if family.kind == "histogram":
            metrics = self._histograms(family)
        elif family.kind == "counter":
            metrics = self._counters(family)
        else:
            metrics = (
                metric(labels, _GAUGE_VALUE + wire.double(as_float(point.value)))
                for point, labels in self._series.of(family)
            )
        return wire.family(family.name, family.help, wire.TYPES[kind], family.unit, metrics)

    def _counters(self, family: Family) -> Iterator[bytes]:
        for point, labels in self._series.of(family):
            content = b"\x09" + wire.double(as_float(point.value))
            if point.exemplars:
                newest = exemplars.latest(point.exemplars, family.strategy, family.escaping)
                content += b"" if newest is None else wire.exemplar(2, *newest)
            if point.start_time_unix_nano:
                content += wire.created(3, point.start_time_unix_nano)
            yield metric(labels, wire.message(3, content))

    def _histograms(self, family: Family) -> Iterator[bytes]:
        ladder: tuple[float, ...] | None = None
        native: Any
        for point, labels in self._series.of(family):
            if isinstance(point, ExponentialHistogramDataPoint):
                if ladder is None:
                    ladder = self._series.ladder(family)
                bounds, counts, native = ladder, classic_counts(point, ladder), point
            else:
                bounds, counts = tuple(point.explicit_bounds), point.bucket_counts
                # A distribution of ours carries both kinds of buckets, made from the same values.
                native = getattr(point, "exponential", None)
            yield metric(labels, wire.message(7, self._histogram(family, point, bounds, counts, native)))

    def _histogram(
        self, family: Family, point: Any, bounds: tuple[float, ...], counts: Sequence[int], native: Any
    ) -> bytes:
        cumulative = list(accumulate(counts))
        pieces = [
            wire.unsigned(1, cumulative[-1] if native is None else native.count),
            wire.float_(2, as_float(point.sum)),
        ]
        own = None
        if point.exemplars:
            own = exemplars.by_bucket(bounds, point.exemplars, family.strategy, family.escaping)
        if own is None:
            pieces += chain.from_iterable(zip(map(_heads.__getitem__, cumulative), _tails(bounds), strict=True))
        else:
            for index, (count, bound) in enumerate(zip(cumulative, (*bounds, inf), strict=True)):
                bucket = wire.unsigned(1, count) + wire.float_(2, bound)
                if index in own:
                    bucket += wire.exemplar(3, *own[index])
                pieces.append(wire.message(3, bucket))
        if native is not None and (schema := schema_of(native.scale)) is not None:
            pieces += _native(native, schema)
            if own is not None:
                pieces += (wire.exemplar(16, *exemplar) for exemplar in sorted(own.values(), key=lambda e: e.value))
        if point.start_time_unix_nano:
            pieces.append(wire.created(15, point.start_time_unix_nano))
        return b"".join(pieces)


def _native(point: Any, schema: int) -> Iterator[bytes]:
    """Return the fields of a native histogram: schema, zero bucket, spans and deltas of both signs."""
    yield wire.signed(5, schema)
    yield wire.float_(6, max(ZERO_THRESHOLD, getattr(point, "zero_threshold", 0.0) or 0.0))
    if point.zero_count:
        yield wire.unsigned(7, point.zero_count)
    shift = point.scale - schema
    for side, span_field, delta_field in ((point.negative, 9, 10), (point.positive, 12, 13)):
        spans, counts = native_buckets(side.offset, side.bucket_counts, shift)
        if span_field == 12 and not spans:
            # Without any span the histogram would not be recognised as a native one.
            spans = [(0, 0)]
        for offset, length in spans:
            yield wire.message(span_field, wire.signed(1, offset) + wire.unsigned(2, length))
        if counts:
            yield wire.message(delta_field, b"".join(map(_deltas.__getitem__, map(sub, counts, chain((0,), counts)))))
