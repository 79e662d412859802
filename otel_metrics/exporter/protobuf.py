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
from otel_metrics.exporter.text import Known, as_float
from otel_metrics.exporter.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from otel_metrics.exporter.families import MetricFamily
    from otel_metrics.exporter.series import Series

ZERO_THRESHOLD: Final = 1e-128
"""Width of the zero bucket where the SDK names none, as in the specification."""

_METRIC: Final = b"\x22"  # MetricFamily.metric = 4
_COUNTER: Final = b"\x1a"  # Metric.counter = 3
_VALUE: Final = b"\x09"  # Counter.value = 1
_GAUGE_VALUE: Final = b"\x12\x09\x09"  # Metric.gauge = 2, nine bytes: Gauge.value = 1

TYPES: Final = {"counter": 0, "gauge": 1, "summary": 2, "untyped": 3, "histogram": 4, "gaugehistogram": 5}

double: Final = struct.Struct("<d").pack


def _varint(number: int) -> bytes:
    """Return ``number`` as a varint; negative ones in 64-bit two's complement."""
    number &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _zigzag(number: int) -> bytes:
    """Return ``number`` as a signed varint (sint)."""
    return _varint((number << 1) ^ (number >> 63))


varint: Final = Known(_varint).__getitem__
zigzag: Final = Known(_zigzag).__getitem__


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
    """Return a start time as ``field``, to the millisecond, which is all that Prometheus keeps."""
    return _start_time(field, nanoseconds // 1_000_000)


@lru_cache(maxsize=4096)  # there is one per series, and many began at once
def _start_time(field: int, milliseconds: int) -> bytes:
    return timestamp(field, milliseconds * 1_000_000)


def label_pairs(labels: Mapping[str, str], field: int = 1) -> bytes:
    """Return the repeated LabelPair of a Metric or an Exemplar."""
    return b"".join([_label_pair(field, name, value) for name, value in labels.items()])


@lru_cache(maxsize=4096)
def _label_pair(field: int, name: str, value: str) -> bytes:
    return message(field, text(1, name) + text(2, value))


def exemplar(field: int, labels: Mapping[str, str], value: float, time_unix_nano: int) -> bytes:
    """Return an Exemplar as ``field``."""
    stamp = timestamp(3, time_unix_nano) if time_unix_nano else b""
    return message(field, label_pairs(labels) + float_(2, value) + stamp)


def delimited(name: str, help_: str, kind: int, unit: str, metrics: Iterable[bytes]) -> list[bytes]:
    """Return a delimited MetricFamily in pieces; ``metrics`` are complete fields, tag and length included."""
    start = text(1, name) + text(2, help_) + (unsigned(3, kind) if kind else b"")
    pieces = [start, *metrics, text(5, unit)]
    return [varint(sum(map(len, pieces))), *pieces]


def _bucket_head(count: int) -> bytes:
    """Return the start of a Bucket message: tag, length, cumulative count, and the tag of the bound that follows."""
    number = varint(count)
    return b"\x1a" + bytes((len(number) + 10,)) + b"\x08" + number + b"\x11"


_heads: Final = Known(_bucket_head).__getitem__


@lru_cache(maxsize=4096)
def _tails(bounds: tuple[float, ...]) -> list[bytes]:
    return [double(float(bound)) for bound in (*bounds, inf)]


def metric(labels: bytes, content: bytes) -> bytes:
    """Return a Metric as a field of MetricFamily."""
    return b"".join((_METRIC, varint(len(labels) + len(content)), labels, content))


class ProtobufRenderer:
    """Renders families as delimited ``io.prometheus.client.MetricFamily`` messages."""

    def __init__(self, series: Series[bytes], *, native_only: bool = False) -> None:
        """``native_only``: whether classic buckets are left out where there are native ones."""
        self._series = series
        self._native_only = native_only

    def family(self, family: MetricFamily) -> list[bytes]:
        """Return the message in pieces. Its length comes first, so it is complete before anything can be sent."""
        kind = "gauge" if family.type == "info" else family.type
        metrics: Iterable[bytes]
        if family.type == "histogram":
            metrics = self._histograms(family)
        elif family.type == "counter":
            metrics = self._counters(family)
        else:
            metrics = self._gauges(family)
        return delimited(family.name, family.help, TYPES[kind], family.unit, in_turns(metrics))

    def _gauges(self, family: MetricFamily) -> Iterator[bytes]:
        for block in self._series.numbers(family):
            pieces: list[bytes] = []
            for labels, value in zip(block.labels, block.values, strict=True):
                size = len(labels) + len(_GAUGE_VALUE) + 8
                pieces += _METRIC, varint(size), labels, _GAUGE_VALUE, double(as_float(value))
            yield b"".join(pieces)

    def _counters(self, family: MetricFamily) -> Iterator[bytes]:
        for block in self._series.numbers(family):
            pieces: list[bytes] = []
            for labels, value, start, found in zip(*block, strict=True):
                content = _VALUE + double(as_float(value))
                newest = exemplars.latest(found, family.strategy, family.escaping) if found else None
                if newest is not None:
                    content += exemplar(2, *newest)
                if start:
                    content += start_time(3, start)
                length = varint(len(content))
                size = len(labels) + len(_COUNTER) + len(length) + len(content)
                pieces += _METRIC, varint(size), labels, _COUNTER, length, content
            yield b"".join(pieces)

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
        pieces = [
            b"\x08" + varint(sum(counts) if native is None else native.count),  # Histogram.sample_count = 1
            b"\x11" + double(as_float(point.sum)),  # Histogram.sample_sum = 2
        ]
        schema = None if native is None else schema_of(native.scale)
        own = None
        if point.exemplars:
            own = exemplars.by_bucket(bounds, point.exemplars, family.strategy, family.escaping)
        classic = schema is None or not self._native_only
        if classic and own is None:
            pieces += chain.from_iterable(zip(map(_heads, accumulate(counts)), _tails(bounds), strict=True))
        elif classic and own is not None:
            for index, (count, bound) in enumerate(zip(accumulate(counts), (*bounds, inf), strict=True)):
                bucket = unsigned(1, count) + float_(2, bound)
                if index in own:
                    bucket += exemplar(3, *own[index])
                pieces.append(message(3, bucket))
        if schema is not None:
            pieces += _native(native, schema)
            if own is not None:
                pieces += (exemplar(16, *each) for each in sorted(own.values(), key=lambda e: e.value))
        if point.start_time_unix_nano:
            pieces.append(start_time(15, point.start_time_unix_nano))
        return b"".join(pieces)


def _native(point: Any, schema: int) -> Iterator[bytes]:
    """Return the fields of a native histogram: schema, zero bucket, spans and deltas of both signs."""
    yield _resolution(schema, max(ZERO_THRESHOLD, getattr(point, "zero_threshold", 0.0) or 0.0))
    if point.zero_count:
        yield unsigned(7, point.zero_count)
    shift = point.scale - schema
    if any(point.negative.bucket_counts):  # most have no values below zero
        spans, counts = native_buckets(point.negative.offset, point.negative.bucket_counts, shift)
        yield _side(9, spans, counts)
    spans, counts = native_buckets(point.positive.offset, point.positive.bucket_counts, shift)
    # Without any span the histogram would not be recognised as a native one.
    yield _side(12, spans or [(0, 0)], counts)


@lru_cache(maxsize=4096)
def _resolution(schema: int, zero_threshold: float) -> bytes:
    return signed(5, schema) + float_(6, zero_threshold)


def _side(field: int, spans: Sequence[tuple[int, int]], counts: Sequence[int]) -> bytes:
    """Return the spans as ``field``, and the deltas as the next one."""
    made = b"".join([message(field, b"\x08" + zigzag(offset) + b"\x10" + varint(length)) for offset, length in spans])
    deltas = b"".join(map(zigzag, map(sub, counts, chain((0,), counts))))
    return made + message(field + 1, deltas) if counts else made
