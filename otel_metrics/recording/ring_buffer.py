"""What one series recorded lately, by time slots: minutes that widen with age and with the pressure on memory.

Everything here runs under the lock of the :class:`Memory` that the series shares with others.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import chain
from math import inf
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_metrics.recording.sinks import Sink
from otel_metrics.sketch import Moments, Sketch, bins_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_metrics.recording.sinks import Batch
    from otel_metrics.sketch import Part

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 24 * HOUR
KEEP: Final = 49 * HOUR
"""Seconds that values are kept: today, yesterday, and an hour to read them in."""


class Level(NamedTuple):
    """How sparing the rings are with memory. ``widths``: (age in seconds, slot width) from fine to coarse."""

    share: float
    widths: tuple[tuple[int, int], ...]
    raw: int
    bins: int


LEVELS: Final = (
    Level(0.5, ((2 * HOUR, 600), (26 * HOUR, HOUR)), 16384, 2**20),
    Level(0.7, ((600, 600), (2 * HOUR, HOUR)), 2048, 2**20),
    Level(0.85, ((0, HOUR),), 256, 1024),
    Level(inf, ((0, DAY),), 128, 160),
)
_SLOT_BYTES: Final = 250
_SKETCH_BYTES: Final = 400
_BIN_BYTES: Final = 12


class Memory:
    """What the rings of one store share: a lock, and how many bytes they take, which says how sparing they must be.

    Args:
        budget: bytes that values may take before the rings become sparing.
    """

    def __init__(self, budget: int) -> None:
        self.lock = RLock()  # held for one series at a time, never while anything else is waited for
        self.level = LEVELS[0]
        self._budget = budget
        self._used = 0
        self._floor, self._ceiling = 0.0, self.level.share * budget
        self._rings: list[HistogramRing | CounterRing] = []
        self.touched: dict[HistogramRing | CounterRing, None] | None = None
        """Rings that have been recorded to since they were emptied last, where that is done."""
        self._next = 0

    def add(self, ring: HistogramRing | CounterRing) -> None:
        """Look after one more ring."""
        self._rings.append(ring)

    def touch(self, ring: HistogramRing | CounterRing) -> None:
        """Note that there is something in a ring that may have been emptied."""
        if self.touched is not None:
            self.touched[ring] = None

    def account(self, size: int) -> None:
        """Note that ``size`` more bytes are used."""
        self._used += size
        if not self._floor <= self._used < self._ceiling:
            self._floor = 0.0
            for self.level in LEVELS:
                self._ceiling = self.level.share * self._budget
                if self._used < self._ceiling:
                    break
                self._floor = self._ceiling

    def look_after(self, ring: HistogramRing | CounterRing, now: float) -> None:
        """Age a ring and a few others: those that nothing is recorded in any more have nobody else."""
        self.account(ring.age(now))
        for _ in range(1 if self.level is LEVELS[0] else 8):
            self._next = (self._next + 1) % len(self._rings)
            self.account(self._rings[self._next].age(now))


class HistogramRing(Sink):
    """One series of values. Everything is called with the memory's lock held, except ``fold``."""

    __slots__ = ("_memory", "_minute", "_moments", "_past", "_sketch", "_values")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._minute = -1.0
        self._values = array("d")
        self._sketch: Sketch | None = None
        self._moments: Moments | None = None  # of the values that wait to be sketched
        self._past: list[_Slot] | tuple[()] = ()

    def fold(self, batch: Batch, now: float, /) -> None:
        """Keep a batch's values."""
        values, memory = batch.values, self._memory
        with memory.lock:
            if (minute := now // MINUTE) != self._minute:
                self._roll(minute, now)
            more, moments = array("d", values), self._moments
            if self._sketch is not None:
                these = Moments.of_sums(batch.n, batch.total, batch.squares, batch.low, batch.high)
                moments = these if moments is None else moments.plus(these)
            # Added without a call, see otel_metrics.recording.buffers.
            if self._values:
                self._values += more
            else:
                self._values = more  # no larger than needed: most series are small
            self._moments = moments
            batch.taken += 1
            memory.account(8 * len(values))
            if len(self._values) > memory.level.raw:
                self._condense()

    def _condense(self) -> None:
        """Turn the open slot's values into a sketch."""
        sketch, before = Sketch(self._moments or Moments.of(self._values), bins_of(self._values)), 8 * len(self._values)
        if self._sketch is not None:
            sketch, before = sketch.plus(self._sketch), before + _size(self._sketch)
        self._sketch, self._values, self._moments = _coarse(sketch, self._memory.level), array("d"), None
        self._memory.account(_size(self._sketch) - before)

    def _roll(self, minute: float, now: float) -> None:
        """Close the open slot and open that of ``minute``."""
        if self._sketch is not None and self._values:
            self._condense()
        part: Part = self._values[:] if self._sketch is None else self._sketch
        self._memory.touch(self)
        last, past, grown, none = self._minute, self._past, 0, array("d")
        if part:
            past, grown = self._with(_Slot(int(last) * MINUTE, int(last) * MINUTE + MINUTE, part))
        self._minute, self._past, self._values, self._sketch = minute, past, none, None
        if part:
            self._memory.account(grown - _size(part))
            if minute // 10 != last // 10 or self._memory.level is not LEVELS[0]:
                self._memory.look_after(self, now)

    def _with(self, slot: _Slot) -> tuple[list[_Slot], int]:
        """Return the closed slots and one more, and by how many bytes they grew; in order even when the clock stepped back."""
        past = list(self._past)
        at = bisect_right(past, slot.start, key=_start)
        if at and past[at - 1].end > slot.start:
            before, past[at - 1] = past[at - 1], past[at - 1].plus(slot, self._memory.level)
            return past, past[at - 1].size() - before.size()
        past.insert(at, slot)
        return past, slot.size()

    def age(self, now: float) -> int:
        """Widen slots by age and memory pressure, forget the oldest; return by how many bytes the series grew."""
        level, before = self._memory.level, sum(map(_Slot.size, self._past))
        kept: list[_Slot] = []
        for slot in self._past:
            if slot.end > now - KEEP:
                slot = slot.at(*_home(slot.start, slot.end, now, level), level)  # noqa: PLW2901
                if kept and slot.start < kept[-1].end:
                    kept[-1] = kept[-1].plus(slot, level)
                else:
                    kept.append(slot)
        self._past = kept or ()
        return sum(map(_Slot.size, kept)) - before

    def slot(self, when: float) -> tuple[float, float]:
        """Return (start, end) of the slot that a time lies within; (when, when) if it is on an edge or in none."""
        at = bisect_right(self._past, when, key=_start) - 1
        if at >= 0 and self._past[at].start < when < self._past[at].end:
            return self._past[at].start, self._past[at].end
        return _minute_around(when, self._minute)

    def parts(self, start: float, end: float) -> list[Part]:
        """Return what the slots that overlap the time from ``start`` to ``end`` hold."""
        if start >= end:
            return []
        found = [slot.part for slot in self._past if slot.start < end and slot.end > start]
        if self._minute * MINUTE < end and self._minute * MINUTE + MINUTE > start:
            if self._sketch is not None:
                found.append(self._sketch)
            if self._values:
                found.append(self._values[:])
        return found

    def pieces(self) -> list[tuple[int, int, Part]]:
        """Return everything that is kept: where each slot begins and ends, and its values."""
        found = [(slot.start, slot.end, slot.part) for slot in self._past]
        if self._sketch is not None and self._values:
            self._condense()
        part: Part = self._values if self._sketch is None else self._sketch
        if part:
            start = int(self._minute) * MINUTE
            found.append((start, start + MINUTE, part))
        return found

    def move_to(self, found: list[Any], name: tuple[str, str, tuple[str, ...]]) -> None:
        """Keep nothing, and have ``found`` keep it."""
        pieces, none = self.pieces(), array("d")
        size = sum(map(_Slot.size, self._past)) + 8 * len(self._values) + (_size(self._sketch) if self._sketch else 0)
        # Moved without a call, see otel_metrics.recording.buffers.
        if pieces:
            found += [(*name, pieces)]
        self._minute, self._past, self._values, self._sketch, self._moments = -1.0, (), none, None, None
        self._memory.account(-size)

    def take_in(self, start: int, end: int, part: Part, now: float) -> None:
        """Keep what another ring had in a slot."""
        self._memory.touch(self)
        if not isinstance(part, array) or end - start != MINUTE:
            self._past, grown = self._with(_Slot(start, end, part))
            self._memory.account(grown + self.age(now))
            return
        if start // MINUTE != self._minute:
            self._roll(start // MINUTE, start)
        if self._sketch is not None:
            these = Moments.of(part)
            self._moments = these if self._moments is None else self._moments.plus(these)
        self._values += part
        self._memory.account(8 * len(part))
        if len(self._values) > self._memory.level.raw:
            self._condense()


class CounterRing(Sink):
    """One series of increments: flat triples (start, end, amount) of closed slots, and the open one."""

    __slots__ = ("_amount", "_memory", "_minute", "_past", "_total")

    def __init__(self, memory: Memory, *, total: bool) -> None:
        self._memory = memory
        self._total = total
        self._minute = -1.0
        self._amount = 0.0
        self._past: array[float] | tuple[()] = ()

    def fold(self, batch: Batch, now: float, /) -> None:
        """Add a batch's rows or sum."""
        with self._memory.lock:
            if (minute := now // MINUTE) != self._minute:
                self._roll(minute, now)
            self._amount += batch.total if self._total else batch.n
            batch.taken += 1

    def _roll(self, minute: float, now: float) -> None:
        last, amount, past = self._minute, self._amount, self._past
        self._memory.touch(self)
        if amount:
            past = self._with(last * MINUTE, last * MINUTE + MINUTE, amount)
        grown = 8 * (len(past) - len(self._past))
        self._minute, self._past, self._amount = minute, past, 0.0
        if amount:
            self._memory.account(grown)
            if minute // 10 != last // 10 or self._memory.level is not LEVELS[0]:
                self._memory.look_after(self, now)

    def _with(self, start: float, end: float, amount: float) -> array[float]:
        """Return the closed slots and one more, in order even when the clock stepped back, or in the wider one that it lies in."""
        past, at = array("d", self._past), 3 * self._before(start)
        if at and past[at - 2] > start:
            past[at - 1] += amount
        else:
            past[at:at] = array("d", (start, end, amount))
        return past

    def _before(self, when: float) -> int:
        """Return how many closed slots begin at a time or before."""
        return bisect_right(range(0, len(self._past), 3), when, key=self._past.__getitem__)

    def age(self, now: float) -> int:
        """Widen slots by age and memory pressure, forget the oldest; return by how many bytes the series grew."""
        kept: list[tuple[float, float, float]] = []
        for start, end, amount in self._slots():
            if end > now - KEEP:
                home = _home(int(start), int(end), now, self._memory.level)
                if kept and home[0] < kept[-1][1]:
                    first, last, before = kept.pop()
                    kept.append((min(first, home[0]), max(last, home[1]), before + amount))
                else:
                    kept.append((*home, amount))
        size = len(self._past)
        self._past = array("d", chain.from_iterable(kept))
        return 8 * (len(self._past) - size)

    def slot(self, when: float) -> tuple[float, float]:
        """Return (start, end) of the slot that a time lies within; (when, when) if it is on an edge or in none."""
        at = self._before(when) - 1
        if at >= 0 and self._past[3 * at] < when < self._past[3 * at + 1]:
            return self._past[3 * at], self._past[3 * at + 1]
        return _minute_around(when, self._minute)

    def amount(self, start: float, end: float) -> float:
        """Return the increments of the slots that overlap the time from ``start`` to ``end``."""
        if start >= end:
            return 0.0
        closed = sum(amount for bottom, top, amount in self._slots() if bottom < end and top > start)
        is_open = self._minute * MINUTE < end and self._minute * MINUTE + MINUTE > start
        return closed + (self._amount if is_open else 0.0)

    def pieces(self) -> list[tuple[int, int, float]]:
        """Return everything that is kept: where each slot begins and ends, and its amount."""
        found = [(int(start), int(end), amount) for start, end, amount in self._slots()]
        if self._amount:
            start = int(self._minute) * MINUTE
            found.append((start, start + MINUTE, self._amount))
        return found

    def move_to(self, found: list[Any], name: tuple[str, str, tuple[str, ...]]) -> None:
        """Keep nothing, and have ``found`` keep it."""
        pieces, size = self.pieces(), 8 * len(self._past)
        # Moved without a call, see otel_metrics.recording.buffers.
        if pieces:
            found += [(*name, pieces)]
        self._minute, self._past, self._amount = -1.0, (), 0.0
        self._memory.account(-size)

    def take_in(self, start: int, end: int, amount: float, now: float) -> None:
        """Keep what another ring had in a slot."""
        self._memory.touch(self)
        if end - start == MINUTE:
            if start // MINUTE != self._minute:
                self._roll(start // MINUTE, start)
            self._amount += amount
            return
        slots = sorted((*self._slots(), (float(start), float(end), amount)))
        self._past = array("d", chain.from_iterable(slots))
        self._memory.account(24 + self.age(now))

    def _slots(self) -> Iterator[tuple[float, float, float]]:
        numbers = iter(self._past)
        return zip(numbers, numbers, numbers)  # noqa: B905  # one iterator three times: triples


class _Slot:
    """A closed slot. Never changed once made, so that readers need no copy."""

    __slots__ = ("end", "part", "start")

    def __init__(self, start: int, end: int, part: Part) -> None:
        self.start = start
        self.end = end
        self.part = part

    def size(self) -> int:
        """Return about how many bytes this takes."""
        return _SLOT_BYTES + _size(self.part)

    def at(self, start: int, end: int, level: Level) -> _Slot:
        """Return the slot, widened."""
        part = _thrifty(self.part, level)
        return self if part is self.part and start == self.start and end == self.end else _Slot(start, end, part)

    def plus(self, other: _Slot, level: Level) -> _Slot:
        """Return the slot with another one's values added."""
        part = _thrifty(_joined(self.part, other.part), level)
        return _Slot(min(self.start, other.start), max(self.end, other.end), part)


def _start(slot: _Slot) -> int:
    return slot.start


def _minute_around(when: float, minute: float) -> tuple[float, float]:
    start = minute * MINUTE
    return (start, start + MINUTE) if start < when < start + MINUTE else (when, when)


def _home(start: int, end: int, now: float, level: Level) -> tuple[int, int]:
    """Return the (start, end) that a slot has at its age: the widest whose whole span is old enough."""
    for age, width in reversed(level.widths):
        bottom = start // width * width
        if width > end - start and (age == 0 or now - bottom - width >= age):
            return bottom, bottom + width
    return start, end


def _joined(part: Part, other: Part) -> Part:
    """Return both parts as one: a sketch if one of them is."""
    if isinstance(part, array) and isinstance(other, array):
        return part + other
    one, two = (Sketch.of(p) if isinstance(p, array) else p for p in (part, other))
    return one.plus(two)


def _thrifty(part: Part, level: Level) -> Part:
    """Return a part as small as the level asks for."""
    if isinstance(part, array) and len(part) <= level.raw:
        return part
    return _coarse(Sketch.of(part) if isinstance(part, array) else part, level)


def _coarse(sketch: Sketch, level: Level) -> Sketch:
    while len(sketch) > level.bins and sketch.bits:
        sketch = sketch.coarser()
    return sketch


def _size(part: Part) -> int:
    return 8 * len(part) if isinstance(part, array) else _SKETCH_BYTES + _BIN_BYTES * len(part)
