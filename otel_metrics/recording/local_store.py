"""The local store: what this process recorded in the last two days, kept for the getters in bounded memory.

Recording side (sinks of a buffer, see :mod:`~otel_metrics.recording.buffers`); asking twice for one series gives the same sink::

    store = LocalStore(clock)
    store.histogram(metric, labels)              # Sink: keeps a batch's values
    store.counter(metric, labels)                # Sink: counts a batch's rows
    store.counter(metric, labels, total=True)    # Sink: adds a batch's sum
    store.gauge(metric, labels)                  # Sink: keeps a batch's last value; set(value, now)

Reading side (from any thread), for the time from ``start`` to ``end`` in unix seconds::

    store.covered(metrics, start, end)           # the time that is really answered for: both edges snapped to slots
    store.values(metric, start, end)             # (labels, parts) of every series; parts are arrays of values and sketches
    store.counts(metric, start, end)             # (labels, sum) of every series
    store.latest(metric, end)                    # (labels, value, time) of every gauge set before end

**Slots.** Values are kept by slots of UTC time: minutes while younger than two hours, ten minutes up to 26 hours, hours up to
``KEEP`` (49 hours), so that any UTC day up to yesterday is made of whole slots. A slot keeps its values as they are, which makes
all statistics exact, up to 16,384 of them, then a :class:`~otel_metrics.sketch.Sketch` of them.

**Memory.** ``budget`` bytes (64 MiB), plus at most 14 kB per series whose values lie within 48 decades: the last resort keeps
four days and the open minute of each. As it fills, slots widen (in the end to UTC days), values become sketches, and sketches
coarser; ``covered`` and the parts show what was lost. A new series takes less than 400 bytes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import inf, nextafter
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.recording.ring_buffer import KEEP, CounterRing, HistogramRing, Memory
from otel_metrics.recording.sinks import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from otel_metrics.catalogue import Metric
    from otel_metrics.recording.sinks import Batch
    from otel_metrics.sketch import Part

    Labels = dict[str, str]

BUDGET: Final = 64 * 2**20

HISTOGRAM, COUNTER = "histogram", "counter"

Entry = tuple[str, str, tuple[str, ...], Sequence[tuple[int, int, Any]]]
"""A series on its way from store to store: its kind, its metric, the values of its labels; start, end and content of its slots."""


class LocalStore:
    """Everything that this process recorded in the last two days.

    Args:
        clock: unix time in seconds.
        budget: bytes that values may take before the store becomes sparing.
        emptied: whether :meth:`take_out` is called, which needs to know what there is to take.
    """

    def __init__(self, clock: Callable[[], float] = time.time, budget: int = BUDGET, *, emptied: bool = False) -> None:
        self.clock = clock
        self.born = clock()
        self.memory = Memory(budget)
        self._names: dict[HistogramRing | CounterRing, tuple[str, str, tuple[str, ...]]] = {}
        if emptied:
            self.memory.touched = {}
        self._histograms: dict[str, dict[tuple[str, ...], HistogramRing]] = {}
        self._counters: dict[str, dict[tuple[str, ...], CounterRing]] = {}
        self._gauges: dict[str, dict[tuple[str, ...], LastValue]] = {}

    # ------------------------------------------------------------------------------------------------- recording

    def histogram(self, metric: Metric, labels: Mapping[str, str]) -> HistogramRing:
        """Return the sink that keeps the values of one series."""
        return self._histogram(metric.name, _key(metric, labels))

    def counter(self, metric: Metric, labels: Mapping[str, str], *, total: bool = False) -> CounterRing:
        """Return the sink that counts the rows (``total``: adds up the values) of one series."""
        return self._counter(metric.name, _key(metric, labels), total=total)

    def gauge(self, metric: Metric, labels: Mapping[str, str]) -> LastValue:
        """Return the sink that keeps the last value of one series."""
        with self.memory.lock:
            return self._gauges.setdefault(metric.name, {}).setdefault(_key(metric, labels), LastValue())

    def _histogram(self, name: str, key: tuple[str, ...]) -> HistogramRing:
        with self.memory.lock:
            family = self._histograms.setdefault(name, {})
            if key not in family:
                family[key] = HistogramRing(self.memory)
                self._added(family[key], HISTOGRAM, name, key)
            return family[key]

    def _counter(self, name: str, key: tuple[str, ...], *, total: bool = False) -> CounterRing:
        with self.memory.lock:
            family = self._counters.setdefault(name, {})
            if key not in family:
                family[key] = CounterRing(self.memory, total=total)
                self._added(family[key], COUNTER, name, key)
            return family[key]

    def _added(self, ring: HistogramRing | CounterRing, kind: str, name: str, key: tuple[str, ...]) -> None:
        self.memory.add(ring)
        if self.memory.touched is not None:
            self._names[ring] = kind, name, key

    # ------------------------------------------------------------------------------------------ from store to store

    def take_out(self, found: list[Entry]) -> None:
        """Move all values and counts to ``found``. If a signal handler raises, each is in there or still here."""
        with self.memory.lock:
            touched = list(self.memory.touched or ())
        for ring in touched:
            with self.memory.lock:
                ring.move_to(found, self._names[ring])
                if self.memory.touched:
                    self.memory.touched.pop(ring, None)

    def take_in(self, entries: Iterable[Entry]) -> None:
        """Add what was in another store."""
        now = self.clock()
        for kind, name, key, pieces in entries:
            ring: Any = self._counter(name, key) if kind == COUNTER else self._histogram(name, key)
            for start, end, content in pieces:
                with self.memory.lock:
                    ring.take_in(start, end, content, now)

    def entries(self) -> Iterator[Entry]:
        """Yield all values and counts."""
        families: tuple[tuple[str, dict[str, dict[tuple[str, ...], Any]]], ...] = (
            (HISTOGRAM, self._histograms),
            (COUNTER, self._counters),
        )
        now = self.clock()
        for kind, named in families:
            for name, family in named.items():
                for key, ring in family.items():
                    with self.memory.lock:
                        self.memory.account(ring.age(now))
                        pieces = ring.pieces()
                    if pieces:
                        yield kind, name, key, pieces

    # --------------------------------------------------------------------------------------------------- reading

    def covered(self, metrics: Iterable[Metric], start: float, end: float) -> tuple[float, float]:
        """Return (start, end) of the time that a question for ``start`` to ``end`` is answered for.

        Not before this store was made, not longer ago than ``KEEP`` (49 hours), not after now; otherwise a slot is in as a whole.
        """
        present = self.clock()
        now = nextafter(present, inf)  # what has just been recorded is in
        # A clock that was set back may stand before the time that this store was made at.
        born = self.born if self.born <= present else -inf
        first, last = max(start, born, present - KEEP), now if end >= present else end
        every: list[HistogramRing | CounterRing] = []
        for metric in metrics:
            every += self._histograms.get(metric.name, {}).values()
            every += self._counters.get(metric.name, {}).values()
        while first < last:
            before = first, last
            for series in every:
                with self.memory.lock:
                    first, last = series.slot(first)[0], series.slot(last)[1]
            first, last = max(first, born), min(last, now)
            if before == (first, last):
                return before
        return last, last

    def values(self, metric: Metric, start: float, end: float) -> Iterator[tuple[Labels, list[Part]]]:
        """Yield every series of a histogram with what its slots between ``start`` and ``end`` hold."""
        for key, series in list(self._histograms.get(metric.name, {}).items()):
            with self.memory.lock:
                parts = series.parts(start, end)
            yield _labels(metric, key), parts

    def counts(self, metric: Metric, start: float, end: float) -> Iterator[tuple[Labels, float]]:
        """Yield every series of a counter with its increments between ``start`` and ``end``."""
        for key, series in list(self._counters.get(metric.name, {}).items()):
            with self.memory.lock:
                amount = series.amount(start, end)
            yield _labels(metric, key), amount

    def latest(self, metric: Metric, end: float) -> Iterator[tuple[Labels, float, float]]:
        """Yield every series of a gauge that was set at or before ``end``: labels, value, unix time."""
        for key, gauge in list(self._gauges.get(metric.name, {}).items()):
            value, when = gauge.state
            if when <= end:
                yield _labels(metric, key), value, when


class LastValue(Sink):
    """The last value of one series and the time it was set."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = (0.0, inf)

    def fold(self, batch: Batch, now: float, /) -> None:
        """Keep the value recorded last."""
        self.state = (batch.last, now)

    def set(self, value: float, now: float) -> None:
        """Keep ``value``."""
        self.state = (value, now)


def _key(metric: Metric, labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(str(labels.get(name, "")) for name in metric.label_names)


def _labels(metric: Metric, key: tuple[str, ...]) -> Labels:
    return dict(zip(metric.label_names, key, strict=True))
