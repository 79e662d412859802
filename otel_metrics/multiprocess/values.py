"""What a row of shared totals may hold, how two of them are added up, and how one is packed.

Every kind of value has one operation, ``plus``: what a process adds to what all have added. It is associative, so a process
may add up as much as it likes before it adds that to the row, and the order among processes does not matter. Only where clocks
are wrong it does: which of two latest values wins, and which days are kept.
"""

from __future__ import annotations

import json
from array import array
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import add, sub
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

V = TypeVar("V")

Buffer = bytes | bytearray

MAX_NATIVE_BUCKETS: Final = 640
"""Buckets of a native histogram; one whose values spread further gets coarser."""

DAYS_KEPT: Final = 4
"""Days in one row: today's, yesterday's, and two for a clock that is wrong for a while."""

EXEMPLAR_BYTES: Final = 512
"""All exemplars of one series together; the oldest are left out."""

_CLOCK_ERROR: Final = 10 * 10**9
"""Nanoseconds by which the newest value of a gauge may be newer than the one that is being added. More is a wrong clock."""


class Latest(NamedTuple):
    """The value of a gauge that only the newest value of all processes matters for."""

    time_unix_nano: int
    value: float

    def plus(self, news: Latest) -> Latest:
        """Return the newer one; ``news`` if this one is from a clock that was wrong."""
        ahead = self.time_unix_nano - news.time_unix_nano
        return self if 0 < ahead < _CLOCK_ERROR else news


class Day(NamedTuple):
    """The sums of one UTC day (days since 1970)."""

    day: int
    n: int
    total: float
    squares: float
    low: float
    high: float

    def plus(self, news: Day) -> Day:
        """Return the sums of both."""
        return Day(
            self.day,
            self.n + news.n,
            self.total + news.total,
            self.squares + news.squares,
            min(self.low, news.low),
            max(self.high, news.high),
        )


Days = tuple[Day, ...]
"""Days by their number, the one added to last first."""


class Native(NamedTuple):
    """Exponential buckets in OpenTelemetry's terms: bucket i is (2^(i/2^scale), 2^((i+1)/2^scale)], ``counts`` from ``offset`` on.

    The first and the last count are not zero.
    """

    scale: int
    offset: int
    counts: Sequence[int]

    def plus(self, news: Native) -> Native:
        """Return both together: as fine as the coarser of the two, and as ``MAX_NATIVE_BUCKETS`` allow."""
        if not self.counts or not news.counts:
            return self if self.counts else news
        scale = min(self.scale, news.scale)
        low = min(self.offset >> self.scale - scale, news.offset >> news.scale - scale)
        high = max(self._last >> self.scale - scale, news._last >> news.scale - scale)
        while high - low >= MAX_NATIVE_BUCKETS:
            scale, low, high = scale - 1, low >> 1, high >> 1
        counts = array("q", bytes(8 * (high - low + 1)))
        for part in (self, news):
            change = part.scale - scale
            if not change and part is self:
                at = part.offset - low
                counts[at : at + len(part.counts)] = array("q", part.counts)
                continue
            for index, n in enumerate(part.counts, part.offset):
                if n:
                    counts[(index >> change) - low] += n
        return Native(scale, low, counts)

    def coarser(self, scale: int) -> Native:
        """Return the same buckets at a scale that is not finer."""
        change = self.scale - scale
        if not change or not self.counts:
            return self._replace(scale=scale)
        counts = array("q", bytes(8 * ((self._last >> change) - (self.offset >> change) + 1)))
        for index, n in enumerate(self.counts, self.offset):
            counts[(index >> change) - (self.offset >> change)] += n
        return Native(scale, self.offset >> change, counts)

    def minus(self, before: Native) -> Native:
        """Return what has come since ``before``, of which this is the sequel."""
        before = before.coarser(self.scale)
        counts = array("q", self.counts)
        for index, n in enumerate(before.counts, before.offset - self.offset):
            if n:
                counts[index] -= n
        return Native.of(self.scale, self.offset, counts)

    @staticmethod
    def of(scale: int, offset: int, counts: Sequence[int]) -> Native:
        """Return buckets of which any may be empty."""
        filled = [index for index, n in enumerate(counts) if n]
        return Native(scale, offset + filled[0], counts[filled[0] : filled[-1] + 1]) if filled else NO_NATIVE

    @property
    def _last(self) -> int:
        return self.offset + len(self.counts) - 1


NO_NATIVE: Final = Native(0, 0, ())


class HistogramValue(NamedTuple):
    """Everything that is known of the values of one histogram. ``buckets`` are not cumulative, the last one is up to infinity."""

    n: int
    total: float
    low: float
    high: float
    buckets: Sequence[int]
    zeros: int = 0
    native: Native = NO_NATIVE

    def plus(self, news: HistogramValue) -> HistogramValue:
        """Return both together."""
        return HistogramValue(
            self.n + news.n,
            self.total + news.total,
            min(self.low, news.low),
            max(self.high, news.high),
            array("q", map(add, self.buckets, news.buckets)),
            self.zeros + news.zeros,
            self.native.plus(news.native) if news.native.counts else self.native,
        )

    def minus(self, before: HistogramValue) -> HistogramValue:
        """Return what has come since ``before``, of which this is the sequel; the extremes are those of both."""
        return self._replace(
            n=self.n - before.n,
            total=self.total - before.total,
            buckets=array("q", map(sub, self.buckets, before.buckets)),
            zeros=self.zeros - before.zeros,
            native=self.native.minus(before.native),
        )


class Exemplar(NamedTuple):
    """A value and where it came from; ``bucket`` is the classic bucket that it lies in (0 for a counter)."""

    bucket: int
    value: float
    time_unix_nano: int
    labels: tuple[tuple[str, str], ...]


Exemplars = tuple[Exemplar, ...]
"""At most one per bucket, newest first."""


def newest_exemplars(stored: Exemplars, news: Exemplars) -> Exemplars:
    """Return the newest exemplar of every bucket."""
    chosen: dict[int, Exemplar] = {}
    for exemplar in sorted(stored + news, key=_time, reverse=True):
        chosen.setdefault(exemplar.bucket, exemplar)
    return tuple(chosen.values())


def _time(exemplar: Exemplar) -> int:
    return exemplar.time_unix_nano


def _plus_days(stored: Days, news: Days) -> Days:
    before = {day.day: day for day in stored}
    latest = [before.pop(day.day).plus(day) if day.day in before else day for day in news]
    return tuple(latest + list(before.values()))[:DAYS_KEPT]


# --------------------------------------------------------------------------------------------------------- layouts
UNSTORABLE: Final = (OverflowError, ValueError, StructError)
"""What is raised for a number that is too large, or a list of another length."""


@dataclass(frozen=True, slots=True)
class Layout(Generic[V]):
    """How values of one kind are added up, and packed into at most ``size`` bytes."""

    shape: tuple[Any, ...]
    """The kind and whatever else tells this layout from others; what the file of keys says of a row."""
    size: int
    plus: Callable[[V, V], V]
    pack: Callable[[V], bytes]
    """Raises one of :data:`UNSTORABLE` for what no row can hold."""
    unpack: Callable[[Buffer, int], V]
    """Called with bytes and where in them the value begins."""

    @property
    def kind(self) -> str:
        """The first part of the shape, such as ``counter``."""
        return str(self.shape[0])

    def fitting(self, value: V) -> Layout[V]:
        """Return the layout that ``value`` needs: this one, or a larger one of the same kind."""
        if isinstance(value, HistogramValue):
            with suppress(*UNSTORABLE):
                room = len(self.pack(value)) - _HISTOGRAM.size
                if room > self.shape[2]:
                    larger = histogram_layout(self.shape[1], max(_LEAST_ROOM, 1 << (room - 1).bit_length()))
                    return cast("Layout[V]", larger)
        return self

    def agrees(self, other: Layout[Any]) -> bool:
        """Whether values of both can be added up, whatever their room."""
        return self.shape[:2] == other.shape[:2]


_NUMBER: Final = Struct("<d")

COUNTER: Final[Layout[float]] = Layout(
    ("counter",), _NUMBER.size, add, _NUMBER.pack, lambda data, at: _NUMBER.unpack_from(data, at)[0]
)

_LATEST: Final = Struct("<qd")

LATEST: Final[Layout[Latest]] = Layout(
    ("latest",),
    _LATEST.size,
    Latest.plus,
    lambda value: _LATEST.pack(*value),
    lambda data, at: Latest(*_LATEST.unpack_from(data, at)),
)

_DAY: Final = Struct("<qqdddd")


def _pack_days(days: Days) -> bytes:
    return b"".join(_DAY.pack(*day) for day in days[:DAYS_KEPT])


def _unpack_days(data: Buffer, at: int) -> Days:
    days: list[Day] = []
    for start in range(at, at + DAYS_KEPT * _DAY.size, _DAY.size):
        fields = _DAY.unpack_from(data, start)
        if not fields[1]:
            break
        days.append(Day._make(fields))
    return tuple(days)


DAYS: Final[Layout[Days]] = Layout(("days",), DAYS_KEPT * _DAY.size, _plus_days, _pack_days, _unpack_days)


def _pack_exemplars(exemplars: Exemplars) -> bytes:
    lines = b""
    for exemplar in exemplars:
        line = json.dumps(exemplar, separators=(",", ":")).encode() + b"\n"
        if len(lines) + len(line) <= EXEMPLAR_BYTES:
            lines += line
    return lines


def _unpack_exemplars(data: Buffer, at: int) -> Exemplars:
    lines = data[at : at + EXEMPLAR_BYTES].rstrip(b"\0").splitlines()
    return tuple(
        Exemplar(bucket, value, time, tuple((name, text) for name, text in labels))
        for bucket, value, time, labels in map(json.loads, lines)
    )


EXEMPLARS: Final[Layout[Exemplars]] = Layout(
    ("exemplars",), EXEMPLAR_BYTES, newest_exemplars, _pack_exemplars, _unpack_exemplars
)

_HISTOGRAM: Final = Struct("<qdddqBBbHHHi")
"""Count, sum, extremes and zeros; the types of classic and of native counts; the native scale; where the classic counts begin,
their number, that of the native ones, and where these begin."""

_TYPES: Final = "HIQ"
"""Integers of two, four and eight bytes."""

_LEAST_ROOM: Final = 32


@lru_cache(maxsize=4096)
def histogram_layout(bounds: tuple[float, ...], room: int = 0) -> Layout[HistogramValue]:
    """Return the layout of histograms with these upper bounds, and with ``room`` bytes for bucket counts.

    Of the classic buckets only those from the first to the last that is not empty are kept.
    """
    length = len(bounds) + 1

    def pack(value: HistogramValue) -> bytes:
        count, total, low, high, buckets, zeros, (scale, offset, native) = value
        if len(buckets) != length:
            raise ValueError(f"{len(buckets)} buckets where {length} are expected")
        filled = [index for index, n in enumerate(buckets) if n]
        first, end = (filled[0], filled[-1] + 1) if filled else (0, 0)
        filling = buckets[first:end]
        # A row that needs a wider type moves. Classic buckets are few and fill up, so these begin with four bytes.
        type_, native_type = max(1, _type(filling)), _type(native)
        numbers = count, total, low, high, zeros, type_, native_type, scale, first, end - first, len(native), offset
        counts = array(_TYPES[type_], filling).tobytes() + array(_TYPES[native_type], native).tobytes()
        return _HISTOGRAM.pack(*numbers) + counts

    def unpack(data: Buffer, at: int) -> HistogramValue:
        numbers = _HISTOGRAM.unpack_from(data, at)
        n, total, low, high, zeros, type_, native_type, scale, first, classic, native, offset = numbers
        start = at + _HISTOGRAM.size
        end = start + (2 * classic << type_)
        buckets = [0] * length
        buckets[first : first + classic] = array(_TYPES[type_], data[start:end])
        counts = array(_TYPES[native_type], data[end : end + (2 * native << native_type)])
        return HistogramValue(
            n, total, low, high, buckets, zeros, Native(scale, offset, counts) if native else NO_NATIVE
        )

    return Layout(("histogram", bounds, room), _HISTOGRAM.size + room, HistogramValue.plus, pack, unpack)


def _type(counts: Sequence[int]) -> int:
    most = max(counts, default=0)
    return (most > 0xFFFF) + (most > 0xFFFFFFFF)


def _most_room(bounds: Sequence[float]) -> int:
    return 2 * 8 * (len(bounds) + 1 + MAX_NATIVE_BUCKETS)


# ---------------------------------------------------------------------------------------------------------- gauges
GAUGE_MODES: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "sum": sum,
    "max": max,
    "min": min,
    "mean": lambda values: sum(values) / len(values),
}
"""How the values of a gauge in several living processes become one."""


@lru_cache(maxsize=len(GAUGE_MODES))
def gauge_layout(mode: str) -> Layout[float]:
    """Return the layout of a gauge that every living process has a value of: no room in the totals."""
    if mode not in GAUGE_MODES:
        raise ValueError(f"mode={mode!r} is not allowed: {', '.join(GAUGE_MODES)}")
    return Layout(("gauge", mode), 0, _later, _NUMBER.pack, COUNTER.unpack)


def _later(_: float, news: float) -> float:
    return news


_PLAIN: Final[dict[str, Layout[Any]]] = {layout.kind: layout for layout in (COUNTER, LATEST, DAYS, EXEMPLARS)}


def layout_of(shape: Sequence[Any]) -> Layout[Any]:
    """Return the layout of a shape as read from a file.

    Raises:
        ValueError: there is no such shape.
    """
    match shape:
        case [str(kind)] if kind in _PLAIN:
            return _PLAIN[kind]
        case ["gauge", str(mode)]:
            return gauge_layout(mode)
        case ["histogram", list(bounds), int(room)] if 0 <= room <= _most_room(bounds):
            if all(type(bound) is float for bound in bounds):
                return histogram_layout(tuple(bounds), room)
    raise ValueError(f"{shape!r} is no shape of a row")
