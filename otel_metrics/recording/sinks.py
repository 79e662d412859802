"""Sinks that end in an OpenTelemetry instrument: what is folded waits here until a reader collects.

``flush()`` hands it to the public instrument; the hub calls it on every collection, for the series that have news.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.metrics import Counter, Histogram, UpDownCounter, _Gauge

    from otel_metrics.recording.cells import Chunk

    Attributes = Mapping[str, str | bool | int | float]


class InstrumentSink:
    """A sink that keeps what was folded until a collection."""

    __slots__ = ()

    def fold(self, chunk: Chunk, now: float, /) -> None:
        """Take in a chunk."""
        raise NotImplementedError

    def flush(self) -> None:
        """Hand over what is pending to the instrument."""
        raise NotImplementedError


class HistogramSink(InstrumentSink):
    """Values of one series of a histogram."""

    __slots__ = ("_attributes", "_instrument", "_values")

    def __init__(self, instrument: Histogram, attributes: Attributes) -> None:
        self._instrument = instrument
        self._attributes = attributes
        self._values: list[float] = []

    def fold(self, chunk: Chunk, _now: float, /) -> None:
        """Keep the values, or record one that belongs to a span at once."""
        if chunk.context is not None:
            for value in chunk.values:
                self._instrument.record(value, self._attributes, chunk.context)
        else:
            self._values += chunk.values

    def flush(self) -> None:
        """Record what is pending."""
        values, self._values = self._values, []
        for value in values:
            self._instrument.record(value, self._attributes)


class CounterSink(InstrumentSink):
    """Adds the number of values or rows, or (``total=True``) their sum, to one series of a counter.

    The series appears, at zero, with the first collection, whether or not anything was counted.
    """

    __slots__ = ("_attributes", "_instrument", "_pending", "_total")

    def __init__(self, instrument: Counter | UpDownCounter, attributes: Attributes, *, total: bool = False) -> None:
        self._instrument = instrument
        self._attributes = attributes
        self._total = total
        self._pending: float | None = 0

    def fold(self, chunk: Chunk, _now: float, /) -> None:
        """Add a chunk's count or sum."""
        self.add(chunk.total if self._total else chunk.n, chunk.context)

    def add(self, amount: float, context: object = None) -> None:
        """Add ``amount``; at once if it belongs to a span."""
        if context is not None:
            self._instrument.add(amount, self._attributes, context)  # type: ignore[arg-type]
        else:
            self._pending = amount + (self._pending or 0)

    def flush(self) -> None:
        """Add what is pending."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._instrument.add(pending, self._attributes)


class GaugeSink(InstrumentSink):
    """Sets one series of a gauge to the value recorded last."""

    __slots__ = ("_attributes", "_instrument", "_last")

    def __init__(self, instrument: _Gauge, attributes: Attributes) -> None:
        self._instrument = instrument
        self._attributes = attributes
        self._last: float | None = None

    def fold(self, chunk: Chunk, _now: float, /) -> None:
        """Remember the last value."""
        self._last = chunk.last

    def flush(self) -> None:
        """Set the gauge."""
        if self._last is not None:
            last, self._last = self._last, None
            self._instrument.set(last, self._attributes)


class ThresholdSink(InstrumentSink):
    """Counts values at or above a threshold and values below it, exactly, at record time."""

    __slots__ = ("_above", "_below", "_threshold")

    def __init__(self, threshold: float, at_or_above: CounterSink, below: CounterSink) -> None:
        self._threshold = threshold
        self._above = at_or_above
        self._below = below

    def fold(self, chunk: Chunk, _now: float, /) -> None:
        """Count a chunk on both sides of the threshold."""
        below = bisect_left(chunk.values, self._threshold)
        if below:
            self._below.add(below, chunk.context)
        if below < chunk.n:
            self._above.add(chunk.n - below, chunk.context)

    def flush(self) -> None:
        """Add what is pending to both counters."""
        self._below.flush()
        self._above.flush()
