"""The hot path: a record call is one dictionary lookup and one list append.

Each series owns a :class:`Cell`, which is a plain list. A call appends its value (or its row of values) and returns; every
``LIMIT`` rows the list is *folded*: sorted, checked and summed up in bulk into one :class:`Chunk`, which every sink of the
series takes in (buckets, day accumulator, local window). The OpenTelemetry instrument hears of it only when a reader
collects, and then once per series instead of once per value. See :mod:`~otel_metrics.recording.hub` for who folds when,
:mod:`~otel_metrics.recording.sinks` for what is handed over.

::

    hub = Hub(meter, clock=time.time)
    milliseconds = Column(convert=unit.to_base, low=0.0, refuse=refuse)   # one per argument of a call, shared by all series
    cell = hub.cell((milliseconds,), ((HistogramSink(histogram, labels), day_sink),), rows=(CounterSink(counter, labels),))

    cell.append(12.5)                      # one column;  cell += (a, b, c) for three
    if len(cell) >= LIMIT: hub.fold(cell)  # LIMIT * 3 for three columns

    tally = hub.tally((CounterSink(counter, labels),))
    tally.hit()                            # a call without a value

    hub.record(cell, (12.5,), context)     # instead of append, when the value belongs to a sampled span (``sampled()``)
    hub.drain()                            # before reading what sinks hold

In strict mode validate before appending: ``column.check(value)`` returns the reason for refusing it, or None.
"""

from __future__ import annotations

import sys
from itertools import chain, count
from math import inf, isfinite, isnan
from operator import mul
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.context import Context

LIMIT: Final = 128
"""Rows that a cell collects before the recording call folds them; the ticker folds what is older than a second.

More would hardly make a call cheaper on average (0.01 µs at 256), but the one in so many that folds slower.
"""

GIL: Final = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Without it, an ``itertools.count`` may miss steps. Lists lock themselves."""

_NUMBERS: Final = frozenset({float, int})


class Chunk:
    """Values of one series, summed up once for all its sinks. Read-only.

    ``values`` are ascending, converted and admissible; ``last`` is the one recorded last. A chunk of bare events (the rows
    of a call, the hits of a tally) has ``n`` and no values.
    ``context`` is set for a single value recorded in a sampled span, ``extra`` holds attributes for its exemplar only.
    """

    __slots__ = ("_squares", "context", "extra", "high", "last", "low", "n", "total", "values")

    def __init__(self, values: list[float], n: int, last: float, context: Context | None = None) -> None:
        self.values = values
        self.n = n
        self.last = last
        self.total: float = sum(values)
        self.low = values[0] if values else inf
        self.high = values[-1] if values else -inf
        self.context = context
        self.extra: dict[str, str] | None = None
        self._squares: float | None = None

    @property
    def squares(self) -> float:
        """Sum of squares, computed when a sink asks for it."""
        if self._squares is None:
            self._squares = sum(map(mul, self.values, self.values))
        return self._squares


class Sink(Protocol):
    """Takes in what a series recorded. Calls never overlap: they are made under the hub's lock, and must not block.

    A sink that only divides its chunks among others names these in ``branches``; what ends in an instrument has ``flush``, and
    may have ``seed``, ``crowded`` and ``recurring`` (see :mod:`~otel_metrics.recording.sinks`).
    """

    def fold(self, chunk: Chunk, now: float, /) -> None:
        """Take in ``chunk``, recorded shortly before ``now`` (unix seconds)."""


class Column:
    """How one argument of a call becomes numbers: shared by all series of the call.

    Args:
        convert: from the caller's unit to the base unit; must be monotonic.
        low: smallest admissible value, in the base unit.
        high: largest admissible value, in the base unit.
        refuse: called as ``refuse(value, reason)`` with each value that does not fit; the reason is one of ``type``,
            ``nan``, ``infinite``, ``negative``, ``range``. ``None`` is an absent value and skipped silently.
        latest: only the value recorded last is of interest, as to a gauge; chunks hold it and the extremes, which tell
            whether all fit.
    """

    __slots__ = ("convert", "high", "latest", "low", "refuse")

    def __init__(
        self,
        convert: Callable[[list[float]], list[float]] | None = None,
        low: float = 0.0,
        high: float = inf,
        refuse: Callable[[Any, str], object] | None = None,
        *,
        latest: bool = False,
    ) -> None:
        self.convert = convert
        self.low = low
        self.high = high
        self.refuse = refuse
        self.latest = latest

    def chunk(self, raw: list[Any], context: Context | None = None) -> Chunk | None:
        """Return the values of ``raw`` (in call order) that fit, summed up, or None if there are none."""
        values = raw
        kinds = set(map(type, raw))
        if not kinds <= _NUMBERS:
            values = [value for value in raw if value is not None]
            if not set(map(type, values)) <= _NUMBERS:
                return self._one_by_one(values, context)
        if not values:
            return None
        try:
            if self.latest and isfinite(sum(values)):
                values = [min(values), max(values), values[-1]]
            if int in kinds:
                values = list(map(float, values))
            if self.convert is not None:
                values = self.convert(values)
        except OverflowError:
            return self._one_by_one(values, context)
        chunk = Chunk(sorted(values), len(values), values[-1], context)
        # A NaN or an infinity anywhere shows in the sum; without them the order is right and the ends are the extremes.
        if isfinite(chunk.total) and chunk.low >= self.low and chunk.high <= self.high:
            return chunk
        return self._one_by_one(raw, context)

    def check(self, value: object) -> str | None:
        """Return why ``value`` would be refused, or None."""
        return None if value is None else self._judge(value)[0]

    def _one_by_one(self, raw: list[Any], context: Context | None) -> Chunk | None:
        """Keep what fits, refuse the rest: the slow way, taken only when a value of the chunk is wrong."""
        fitting: list[float] = []
        refused: list[tuple[Any, str]] = []
        for value in raw:
            if value is not None:
                reason, number = self._judge(value)
                if reason is None:
                    fitting.append(number)
                else:
                    refused.append((value, reason))
        if self.refuse is not None:
            for value, reason in refused:
                self.refuse(value, reason)
        return Chunk(sorted(fitting), len(fitting), fitting[-1], context) if fitting else None

    def _judge(self, value: Any) -> tuple[str | None, float]:
        # Text that happens to spell a number, or a bool, is a mistake at the call site.
        if isinstance(value, (bool, str, bytes)):
            return "type", 0.0
        try:
            number = float(value)
            if self.convert is not None:
                number = self.convert([number])[0]
        except OverflowError:
            return "infinite", 0.0
        except Exception:  # whatever a foreign __float__ raises
            return "type", 0.0
        if isnan(number):
            return "nan", 0.0
        if not isfinite(number):
            return "infinite", 0.0
        if number < self.low:
            return "negative" if number < 0.0 <= self.low else "range", 0.0
        return ("range", 0.0) if number > self.high else (None, number)


class Cell(list[Any]):
    """The values that a series recorded since its last fold, row by row. Made by :meth:`Hub.cell`."""

    __slots__ = ("columns", "dirty", "offered", "rows", "sinks")

    def __init__(self, columns: tuple[Column, ...], sinks: Sequence[Sequence[Sink]], rows: Sequence[Sink] = ()) -> None:
        super().__init__()
        self.columns = columns
        self.sinks = tuple(map(tuple, sinks))
        self.rows = tuple(rows)
        self.dirty = False
        self.offered = -1

    def take(self, now: float) -> bool:
        """Fold what is pending, return whether that was anything. What other threads append meanwhile comes after it."""
        n = len(self)
        if n:
            raw = self[:n]
            del self[:n]
            self.fold(raw, now)
        return n > 0

    def ends(self) -> Iterator[Sink]:
        """Yield every sink that keeps something of the series."""
        return _ends(chain(self.rows, *self.sinks))

    def fold(
        self, raw: list[Any], now: float, context: Context | None = None, extra: dict[str, str] | None = None
    ) -> None:
        """Give ``raw``, whole rows in call order, to the sinks."""
        width = len(self.columns)
        if self.rows:
            rows = Chunk([], len(raw) // width, 0.0, context)
            rows.extra = extra
            for sink in self.rows:
                sink.fold(rows, now)
        for i, column in enumerate(self.columns):
            chunk = column.chunk(raw[i::width] if width > 1 else raw, context)
            if chunk is not None:
                chunk.extra = extra
                for sink in self.sinks[i]:
                    sink.fold(chunk, now)


def _ends(sinks: Iterable[Sink]) -> Iterator[Sink]:
    for sink in sinks:
        branches = getattr(sink, "branches", None)
        if branches is None:
            yield sink
        else:
            yield from _ends(branches)


def _locked(call: Callable[[], int]) -> Callable[[], int]:
    lock = RLock()  # re-entrant for signal handlers, and held around one C call, so that they interrupt nothing halfway

    def locked() -> int:
        with lock:
            return call()

    return locked


class Tally:
    """A series that only counts calls: ``hit()`` is a single C function. Made by :meth:`Hub.tally`."""

    __slots__ = ("_counted", "_counter", "_reads", "dirty", "hit", "offered", "rows")

    def __init__(self, rows: Sequence[Sink]) -> None:
        self._counter = count()
        self._reads = 0
        self._counted = 0
        self.hit: Callable[[], int] = self._counter.__next__ if GIL else _locked(self._counter.__next__)
        self.rows = tuple(rows)
        self.dirty = False
        self.offered = -1

    def take(self, now: float) -> bool:
        """Fold the hits since the last time, return whether there were any."""
        # Reading the counter advances it, so the reads are subtracted.
        hits = self.hit() - self._reads
        self._reads += 1
        n = hits - self._counted
        if n:
            self._counted = hits
            self.fold(n, now)
        return n > 0

    def ends(self) -> Iterator[Sink]:
        """Yield every sink that keeps something of the series."""
        return _ends(self.rows)

    def fold(self, n: int, now: float, context: Context | None = None, extra: dict[str, str] | None = None) -> None:
        """Give ``n`` hits to the sinks."""
        chunk = Chunk([], n, 0.0, context)
        chunk.extra = extra
        for sink in self.rows:
            sink.fold(chunk, now)
