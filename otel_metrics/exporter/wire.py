"""The messages of ``io.prometheus.client`` (MetricFamily and what is in it), written by hand in protobuf's wire format.

A field is its tag (number << 3 | wire type), then a varint, eight bytes, or a length and bytes. Field numbers are those of
Prometheus' ``metrics.proto``.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


def created(field: int, nanoseconds: int) -> bytes:
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


def family(name: str, help_: str, kind: int, unit: str, metrics: Iterable[bytes]) -> list[bytes]:
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
