"""Prometheus' protobuf format, rendered straight from the SDK's data points: native histograms, exemplars, start times.

The messages of ``io.prometheus.client`` are written by hand in protobuf's wire format: a field is its tag (number << 3 | wire
type), then a varint, eight bytes, or a length and bytes. Field numbers are those of Prometheus' ``metrics.proto``.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import accumulate, chain
from math import inf
from operator import sub
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint

from otel_metrics.exporter import exemplars
from otel_metrics.exporter.exponential import classic_counts, native_buckets, schema_of
from otel_metrics.exporter.text import as_float

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from otel_metrics.exporter.families import MetricFamily
    from otel_metrics.exporter.series import Series

ZERO_THRESHOLD: Final = 1e-128
"""Width of the zero bucket where the SDK names none, as in the specification."""

_METRIC: Final = b"\x22"  # MetricFamily.metric = 4
_GAUGE_VALUE: Final = b"\x12\x09\x09"  # Metric.gauge = 2, nine bytes: Gauge.value = 1

TYPES: Final = {"counter": 0, "gauge": 1, "summary": 2, "untyped": 3, "histogram": 4, "gaugehistogram": 5}

double: Final = struct.Struct("<d").pack


def varint(number: int) -> bytes:
    """Return ``number`` as a varint; negative ones in 64-bit two's complement."""
    if 0 <= number < len(_VARINTS):
        return _VARINTS[number]
    return _varint(number & 0xFFFF_FFFF_FFFF_FFFF)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_VARINTS: Final = [_varint(number) for number in range(4096)]


def zigzag(number: int) -> bytes:
    """Return ``number`` as a signed varint (sint)."""
    return varint((number << 1) ^ (number >> 63))


def message(field: int, content: bytes) -> bytes:
    """Return an embedded message, string, or packed list as ``field``."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def text(field: int, content: str) -> bytes:
    """Return a string as ``field``, nothing if it is empty."""
    return message(field, content.encode("utf-8", "backslashreplace")) if content else b""


def float_(field: int, number: float) -> bytes:
    """Return a double as ``field``."""
    return varint(field << 3 | 1) + double(number)


def unsigned(field: int, number: int) -> bytes:
    """Return an unsigned integer, or enumeration, as ``field``."""
    return varint(field << 3) + varint(number)


def signed(field: int, number: int) -> bytes:
    """Return a sint as ``field``."""
    return varint(field << 3) + zigzag(number)


def timestamp(field: int, nanoseconds: int) -> bytes:
    """Return a ``google.protobuf.Timestamp`` as ``field``."""
    whole, rest = divmod(int(nanoseconds), 1_000_000_000)
    return message(field, unsigned(1, whole) + (unsigned(2, rest) if rest else b""))


def start_time(field: int, nanoseconds: int) -> bytes:
    """Return a start time as ``field``, to the millisecond, which is all that Prometheus keeps; quick, as there is one per series."""
    milliseconds = nanoseconds // 1_000_000
    return message(field, _seconds(milliseconds // 1000) + _MILLISECONDS[milliseconds % 1000])


@lru_cache(maxsize=4096)
def _seconds(whole: int) -> bytes:
    return unsigned(1, whole)


_MILLISECONDS: Final = [b"", *(unsigned(2, number * 1_000_000) for number in range(1, 1000))]


def label_pairs(labels: Mapping[str, str], field: int = 1) -> bytes:
    """Return the repeated LabelPair of a Metric or an Exemplar."""
    return b"".join(message(field, text(1, name) + text(2, value)) for name, value in labels.items())


def exemplar(field: int, labels: Mapping[str, str], value: float, time_unix_nano: int) -> bytes:
    """Return an Exemplar as ``field``."""
    stamp = timestamp(3, time_unix_nano) if time_unix_nano else b""
    return message(field, label_pairs(labels) + float_(2, value) + stamp)


def delimited(name: str, help_: str, kind: int, unit: str, metrics: Iterable[bytes]) -> list[bytes]:
    """Return a delimited MetricFamily in pieces; ``metrics`` are complete fields, tag and length included."""
    start = text(1, name) + text(2, help_) + (unsigned(3, kind) if kind else b"")
    pieces = [start, *metrics, text(5, unit)]
    return [varint(sum(map(len, pieces))), *pieces]


class BucketHeads(dict[int, bytes]):
    """The start of a Bucket message, by its cumulative count: tag, length, count, and the tag of the bound that follows."""

    LIMIT: Final = 65536

    def __missing__(self, count: int) -> bytes:
        number = varint(count)
        head = b"\x1a" + bytes((len(number) + 10,)) + b"\x08" + number + b"\x11"
        if len(self) < self.LIMIT:
            self[count] = head
        return head


class Deltas(dict[int, bytes]):
    """Signed varints of differences between neighbouring native buckets."""

    LIMIT: Final = 65536

    def __missing__(self, delta: int) -> bytes:
        number = zigzag(delta)
        if len(self) < self.LIMIT:
            self[delta] = number
        return number


_heads: Final = BucketHeads()
_deltas: Final = Deltas()


@lru_cache(maxsize=4096)
def _tails(bounds: tuple[float, ...]) -> list[bytes]:
    return [double(float(bound)) for bound in (*bounds, inf)]


def metric(labels: bytes, content: bytes) -> bytes:
    """Return a Metric as a field of MetricFamily."""
    return b"".join((_METRIC, varint(len(labels) + len(content)), labels, content))


class ProtobufRenderer:
    """Renders families as delimited ``io.prometheus.client.MetricFamily`` messages."""

    def __init__(self, series: Series[bytes]) -> None:
        self._series = series

    def family(self, family: MetricFamily) -> list[bytes]:
        """Return the message in pieces. Its length comes first, so it is complete before anything can be sent."""
        kind = "gauge" if family.type == "info" else family.type
        metrics: Iterable[bytes]
        if family.type == "histogram":
            metrics = self._histograms(family)
        elif family.type == "counter":
            metrics = self._counters(family)
        else:
            metrics = (
                metric(labels, _GAUGE_VALUE + double(as_float(point.value)))
                for point, labels in self._series.of(family)
            )
        return delimited(family.name, family.help, TYPES[kind], family.unit, metrics)

    def _counters(self, family: MetricFamily) -> Iterator[bytes]:
        for point, labels in self._series.of(family):
            content = b"\x09" + double(as_float(point.value))
            if point.exemplars:
                newest = exemplars.latest(point.exemplars, family.strategy, family.escaping)
                content += b"" if newest is None else exemplar(2, *newest)
            if point.start_time_unix_nano:
                content += start_time(3, point.start_time_unix_nano)
            yield metric(labels, message(3, content))

    def _histograms(self, family: MetricFamily) -> Iterator[bytes]:
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
            yield metric(labels, message(7, self._histogram(family, point, bounds, counts, native)))

    def _histogram(
        self, family: MetricFamily, point: Any, bounds: tuple[float, ...], counts: Sequence[int], native: Any
    ) -> bytes:
        cumulative = list(accumulate(counts))
        pieces = [
            unsigned(1, cumulative[-1] if native is None else native.count),
            float_(2, as_float(point.sum)),
        ]
        own = None
        if point.exemplars:
            own = exemplars.by_bucket(bounds, point.exemplars, family.strategy, family.escaping)
        if own is None:
            pieces += chain.from_iterable(zip(map(_heads.__getitem__, cumulative), _tails(bounds), strict=True))
        else:
            for index, (count, bound) in enumerate(zip(cumulative, (*bounds, inf), strict=True)):
                bucket = unsigned(1, count) + float_(2, bound)
                if index in own:
                    bucket += exemplar(3, *own[index])
                pieces.append(message(3, bucket))
        if native is not None and (schema := schema_of(native.scale)) is not None:
            pieces += _native(native, schema)
            if own is not None:
                pieces += (exemplar(16, *each) for each in sorted(own.values(), key=lambda e: e.value))
        if point.start_time_unix_nano:
            pieces.append(start_time(15, point.start_time_unix_nano))
        return b"".join(pieces)


def _native(point: Any, schema: int) -> Iterator[bytes]:
    """Return the fields of a native histogram: schema, zero bucket, spans and deltas of both signs."""
    yield signed(5, schema)
    yield float_(6, max(ZERO_THRESHOLD, getattr(point, "zero_threshold", 0.0) or 0.0))
    if point.zero_count:
        yield unsigned(7, point.zero_count)
    shift = point.scale - schema
    for side, span_field, delta_field in ((point.negative, 9, 10), (point.positive, 12, 13)):
        spans, counts = native_buckets(side.offset, side.bucket_counts, shift)
        if span_field == 12 and not spans:
            # Without any span the histogram would not be recognised as a native one.
            spans = [(0, 0)]
        for offset, length in spans:
            yield message(span_field, signed(1, offset) + unsigned(2, length))
        if counts:
            yield message(delta_field, b"".join(map(_deltas.__getitem__, map(sub, counts, chain((0,), counts)))))
