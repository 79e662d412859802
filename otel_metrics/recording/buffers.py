"""The hot path: a record call is one dictionary lookup and one list append.

Each series owns a :class:`SeriesBuffer`, which is a plain list. A call appends its value (or a value per argument) and returns;
every ``LIMIT`` calls the list is *folded*: sorted, checked and summed up in bulk into one
:class:`~otel_metrics.recording.sinks.Batch` per argument, which every sink of the series takes in (buckets, day totals, local
store). The OpenTelemetry instrument hears of it only when a reader collects, and then once per series instead of once per value.
See :mod:`~otel_metrics.recording.flusher` for who folds when, :mod:`~otel_metrics.recording.sinks` for what is handed over.

::

    flusher = Flusher(meter, clock=time.time)
    milliseconds = ArgumentSpec(convert=unit.to_base, low=0.0, reject=reject)   # shared by all series of a call
    buffer = flusher.buffer((milliseconds,), ((HistogramSink(histogram, labels), day_sink),), calls=(CounterSink(counter, labels),))

    buffer.append(12.5)                            # one argument;  buffer += (a, b, c) for three
    if len(buffer) >= buffer.limit: flusher.fold(buffer)

    call_counter = flusher.call_counter((CounterSink(counter, labels),))
    call_counter.hit()                             # a call without a value

    flusher.record(buffer, (12.5,), context)       # instead of append, when the value belongs to a sampled span (``sampled()``)
    flusher.drain()                                # before reading what sinks hold

A signal handler may raise in the middle of all this (Ctrl-C, a time limit). CPython runs it after a call or at a jump. So
whatever must not be left half done is computed first, and then stored without a call or a jump: nothing is lost, nothing is there
twice. Foreign code may raise, too: an exemplar filter or reservoir of the application's. What an aggregation has taken by then
(see :mod:`~otel_metrics.sdk.acknowledged`) is not offered again; what none has taken is.
"""

from __future__ import annotations

import sys
from itertools import chain, count
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.recording.sinks import Batch, Split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.context import Context
    from typing_extensions import Self

    from otel_metrics.recording.arguments import ArgumentSpec
    from otel_metrics.recording.sinks import Part, Sink

_ATTEMPTS: Final = 5
"""How often a sink is asked to take in a batch; one that raises each time goes without it."""

LIMIT: Final = 128
"""Rows that a buffer collects before the recording call folds them; the ticker folds what is older than a second.

More would hardly make a call cheaper on average (0.01 µs at 256), but the one in so many that folds slower.
"""

GIL: Final = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Without it, an ``itertools.count`` may miss steps. Lists lock themselves."""

_NO_OTHERS: Final[list[Any]] = []


class SeriesBuffer(list[Any]):
    """The values that a series recorded since its last fold, row by row. Made by :meth:`Flusher.buffer`.

    ``limit`` is how many there may be before a call folds them; while somebody else is folding, it is put off.
    ``same_gauges`` is shared by buffers that set the same gauge: first the one that was recorded to last, then all of them.
    """

    __slots__ = ("arguments", "calls", "dirty", "limit", "offered", "same_gauges", "sinks")

    def __init__(
        self, arguments: tuple[ArgumentSpec, ...], sinks: Sequence[Sequence[Sink]], calls: Sequence[Sink] = ()
    ) -> None:
        super().__init__()
        self.arguments = arguments
        self.sinks = tuple(map(tuple, sinks))
        self.calls = tuple(calls)
        self.limit = LIMIT * len(arguments)
        self.dirty = False
        self.offered = -1
        self.same_gauges: list[SeriesBuffer] = _NO_OTHERS

    def earlier(self) -> Iterator[SeriesBuffer]:
        """Yield the buffers to fold before this one, so that the gauge which they share shows what was recorded last."""
        if self.same_gauges and self.same_gauges[0] is self:
            for buffer in self.same_gauges[1:]:
                if buffer is not self:
                    yield buffer

    def admit(self, row: Sequence[Any]) -> None:
        """Raise if ``row`` must not be recorded. It may: what does not fit is rejected when it is folded."""

    def take(self, now: float) -> bool:
        """Fold what is pending, return whether that was anything. What other threads append meanwhile comes after it."""
        n, self.limit = len(self), LIMIT * len(self.arguments)
        if not n:
            return False
        parts = self._batches(self[:n])
        try:
            del self[:n]
            _dispatch(parts, now)
        except BaseException:
            _resume(parts, now)
            raise
        return True

    def fold(
        self, raw: list[Any], now: float, context: Context | None = None, extra: dict[str, str] | None = None
    ) -> None:
        """Give ``raw``, whole rows in call order, to the sinks."""
        _dispatch_all(self._batches(raw, context, extra), now)

    def all_sinks(self) -> Iterator[Sink]:
        """Yield every sink that keeps something of the series."""
        return _resolved(chain(self.calls, *self.sinks))

    def _batches(
        self, raw: list[Any], context: Context | None = None, extra: dict[str, str] | None = None
    ) -> list[Part]:
        """Return the batches of ``raw`` and who takes them in."""
        width = len(self.arguments)
        parts: list[Part] = []
        if self.calls:
            calls = Batch([], len(raw) // width, 0.0, context)
            calls.extra = extra
            parts += _parts_of(calls, self.calls)
        for i, argument in enumerate(self.arguments):
            batch = argument.batch(raw[i::width] if width > 1 else raw, context)
            if batch is not None:
                batch.extra = extra
                parts += _parts_of(batch, self.sinks[i])
        return parts


class StrictBuffer(SeriesBuffer):
    """Rejects before it is recorded what would be rejected when it is folded."""

    __slots__ = ()

    def append(self, value: Any, /) -> None:
        """Append a row of one value."""
        self.admit((value,))
        super().append(value)

    def __iadd__(self, row: Iterable[Any]) -> Self:  # type: ignore[misc]  # list's own pair does not match either
        row = tuple(row)
        self.admit(row)
        return super().__iadd__(row)

    def admit(self, row: Sequence[Any]) -> None:
        """Reject the first value that does not fit; whoever rejects may raise."""
        for argument, value in zip(self.arguments, row, strict=True):
            reason = argument.check(value)
            if reason is not None and argument.reject is not None:
                argument.reject(value, reason)


def _locked(call: Callable[[], int]) -> Callable[[], int]:
    lock = RLock()  # re-entrant for signal handlers, and held around one C call, so that they interrupt nothing halfway

    def locked() -> int:
        with lock:
            return call()

    return locked


class CallCounter:
    """A series that only counts calls: ``hit()`` is a single C function. Made by :meth:`Flusher.call_counter`."""

    __slots__ = ("_counted", "_counter", "_reads", "calls", "dirty", "hit", "offered")

    def __init__(self, calls: Sequence[Sink]) -> None:
        self._counter = count()
        self._reads = 0
        self._counted = 0
        self.hit: Callable[[], int] = self._counter.__next__ if GIL else _locked(self._counter.__next__)
        self.calls = tuple(calls)
        self.dirty = False
        self.offered = -1

    def take(self, now: float) -> bool:
        """Fold the hits since the last time, return whether there were any."""
        # Reading the counter advances it, so the reads are subtracted.
        self._reads += 1
        hits = self.hit() - self._reads + 1
        if hits == self._counted:
            return False
        parts = _parts_of(Batch([], hits - self._counted, 0.0), self.calls)
        try:
            self._counted = hits
            _dispatch(parts, now)
        except BaseException:
            _resume(parts, now)
            raise
        return True

    def earlier(self) -> tuple[()]:
        """Return no buffers: hits have no order."""
        return ()

    def fold(self, n: int, now: float, context: Context | None = None, extra: dict[str, str] | None = None) -> None:
        """Give ``n`` hits to the sinks."""
        batch = Batch([], n, 0.0, context)
        batch.extra = extra
        _dispatch_all(_parts_of(batch, self.calls), now)

    def all_sinks(self) -> Iterator[Sink]:
        """Yield every sink that keeps something of the series."""
        return _resolved(self.calls)


# ------------------------------------------------------------- a dispatch that goes on where an exception has interrupted it
def _parts_of(batch: Batch, sinks: Sequence[Sink]) -> list[Part]:
    """Return who takes in what, splits resolved."""
    parts: list[Part] = []
    undivided: list[Sink] = []
    for sink in sinks:
        if isinstance(sink, Split):
            for part, branches in sink.split(batch):
                if part is batch:
                    undivided += branches
                else:
                    parts.append((part, branches))
        else:
            undivided.append(sink)
    parts.append((batch, undivided))
    return parts


def _dispatch(parts: Sequence[Part], now: float) -> None:
    """Have every batch taken in by its sinks, from where an earlier attempt left off."""
    for batch, sinks in parts:
        while batch.taken < len(sinks):
            at = batch.taken
            sinks[at].fold(batch, now)
            batch.taken = at + 1


def _dispatch_all(parts: Sequence[Part], now: float) -> None:
    """Have every batch taken in by all of its sinks, whatever some of them raise; then raise that."""
    try:
        _dispatch(parts, now)
    except BaseException:
        _resume(parts, now)
        raise


def _resume(parts: Sequence[Part], now: float, attempts: int = _ATTEMPTS) -> None:
    """Go on with what an exception interrupted; past a sink that raises again and again."""
    try:
        _dispatch(parts, now)
    except BaseException:
        if attempts:
            _resume(parts, now, attempts - 1)
        else:
            stuck = next(batch for batch, sinks in parts if batch.taken < len(sinks))
            stuck.taken += 1
            _resume(parts, now)
        raise


def _resolved(sinks: Iterable[Sink]) -> Iterator[Sink]:
    """Yield every sink that keeps something, splits resolved."""
    for sink in sinks:
        if isinstance(sink, Split):
            yield from sink.branches
        else:
            yield sink
