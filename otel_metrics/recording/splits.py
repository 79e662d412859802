"""Sinks that split a batch between others: by a threshold, by sign."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from otel_metrics.recording.batches import Batch
from otel_metrics.recording.dispatch import Split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_metrics.recording.dispatch import Part, Sink


class ThresholdSplit(Split):
    """Counts the values at or above a threshold in some sinks, those below it in others; exact, at record time."""

    __slots__ = ("_above", "_below", "_threshold")

    def __init__(self, threshold: float, at_or_above: tuple[Sink, ...], below: tuple[Sink, ...]) -> None:
        self._threshold = threshold
        self._above = at_or_above
        self._below = below

    @property
    def branches(self) -> tuple[Sink, ...]:
        """The sinks of both sides."""
        return (*self._above, *self._below)

    def split(self, batch: Batch) -> Iterator[Part]:
        """Count a batch on both sides of the threshold."""
        below = bisect_left(batch.values, self._threshold)
        for n, sinks in ((below, self._below), (batch.n - below, self._above)):
            if n:
                rows = Batch([], n, 0.0, batch.context)
                rows.extra = batch.extra
                yield rows, sinks


class SignSplit(Split):
    """Gives values of zero and above to one sink, the absolute values of those below zero to another.

    Histograms on the wire hold no negative values: their sum would not be a counter.
    """

    __slots__ = ("_negative", "_positive")

    def __init__(self, positive: Sink, negative: Sink) -> None:
        self._positive = positive
        self._negative = negative

    @property
    def branches(self) -> tuple[Sink, ...]:
        """The sinks of both sides."""
        return (self._positive, self._negative)

    def split(self, batch: Batch) -> Iterator[Part]:
        """Give each side its part."""
        if batch.low >= 0:
            yield batch, (self._positive,)
            return
        values = batch.values
        zero = bisect_left(values, 0.0)
        for sink, part in (
            (self._negative, [-value for value in reversed(values[:zero])]),
            (self._positive, values[zero:]),
        ):
            if part:
                half = Batch(part, len(part), part[-1], batch.context)
                half.extra = batch.extra
                yield half, (sink,)
