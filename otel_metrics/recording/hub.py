"""Who folds when: the recording call itself every ``LIMIT`` rows, a ticker every second, a reader before it collects.

One lock guards all folding. A record call only ever *tries* it, so a signal handler, a ``__del__`` or a log handler that
records while its own thread folds appends its value and goes on; nothing here waits for a lock that its own thread holds.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from opentelemetry.context import get_current
from opentelemetry.trace import get_current_span

from otel_metrics.recording.cells import LIMIT, Cell, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    from otel_metrics.recording.cells import Column, Sink

AnyCell = TypeVar("AnyCell", Cell, Tally)

_log: Final = logging.getLogger("otel_metrics")

HOOK_NAME: Final = "otel_metrics.hook"
"""An observable gauge without values: the SDK calls it before it collects anything else."""

SECONDS_PER_DAY: Final = 86_400
BEFORE_MIDNIGHT: Final = 0.005
"""How long before midnight UTC, in seconds, the ticker folds, so that values go to the day they were recorded in."""

LATE: Final = 1.0
"""Seconds that this may be late on a busy machine; a clock that was set over midnight is later."""

_AT_ONCE: Final = 16
"""Cells that are folded before others get a chance at the lock."""

_BACKLOG: Final = 64 * LIMIT
"""Values after which a recording call waits for the lock instead of leaving the work to its holder."""

_PATIENCE: Final = 0.1
"""Seconds that it waits: the holder may be waiting for something that the caller holds, such as a log handler."""


def sampled() -> Context | None:
    """Return the current context if it carries a sampled span: such a value is offered as an exemplar."""
    context = get_current()
    if context and get_current_span(context).get_span_context().trace_flags.sampled:
        return context
    return None


class Hub:
    """All cells of one meter.

    Args:
        meter: gets one more instrument, whose callback tells that a collection begins.
        clock: unix time in seconds.
        tick: seconds between the folds of the ticker thread; None for no ticker.
        afterwards: called without the lock whenever something was folded; the place for what may block, such as logging.
    """

    def __init__(
        self,
        meter: Meter,
        clock: Callable[[], float] = time.time,
        tick: float | None = 1.0,
        afterwards: Callable[[], None] | None = None,
    ) -> None:
        self.clock = clock
        self.turn = 0
        self._tick = tick
        self._afterwards = afterwards
        self._lock = threading.RLock()
        self._folding = False
        self._due = self._midnight = 0.0
        self._cells: list[Cell | Tally] = []
        self._dirty: deque[Cell | Tally] = deque()
        self._ticker: threading.Thread | None = None
        self._new: SimpleQueue[Cell | Tally | None] = SimpleQueue()  # safe to fill from a signal handler
        _hook(meter, self)

    def cell(self, columns: tuple[Column, ...], sinks: Sequence[Sequence[Sink]], rows: Sequence[Sink] = ()) -> Cell:
        """Make the cell of a series: per column its sinks, and sinks that count the rows."""
        return self._register(Cell(columns, sinks, rows))

    def tally(self, rows: Sequence[Sink]) -> Tally:
        """Make the tally of a series."""
        return self._register(Tally(rows))

    def fold(self, cell: Cell) -> None:
        """Fold what a cell collected, unless somebody else is folding; they, or the next call, will."""
        if self._acquire(patience=_PATIENCE if len(cell) > _BACKLOG else 0.0):
            try:
                self._take(cell)
            finally:
                self._release()

    def record(self, cell: Cell, row: Sequence[Any], context: Context, extra: dict[str, str] | None = None) -> None:
        """Record one row at once, with the context that its exemplar shall carry, at most once per :attr:`turn`.

        ``extra`` are attributes that only the exemplar gets (where the views are ours). A row that finds somebody else
        folding goes without an exemplar: whoever records never waits.
        """
        if not self._acquire(patience=0.0):
            cell.extend(row)
            return
        try:
            cell.offered = self.turn
            self._take(cell)
            cell.fold(list(row), self.clock(), context, extra)
        finally:
            self._release()

    def hit(self, tally: Tally, context: Context, extra: dict[str, str] | None = None) -> None:
        """Count one call at once, as :meth:`record` does."""
        if not self._acquire(patience=0.0):
            tally.hit()
            return
        try:
            tally.offered = self.turn
            tally.fold(1, self.clock(), context, extra)
        finally:
            self._release()

    def drain(self, now: float | None = None) -> None:
        """Fold everything that was recorded before this call, so that sinks can be read."""
        pending = [cell for cell in list(self._cells) if cell]  # tallies do not tell
        for some in (pending[i : i + _AT_ONCE] for i in range(0, len(pending), _AT_ONCE)):
            with self._held() as held:
                for cell in some if held else ():
                    self._take(cell, now)
        with self._held():
            pass  # a cell that looked empty may have been with another thread, which is done with it now

    def flush(self) -> None:
        """Fold everything and hand it to the instruments: what happens before every collection."""
        self.turn += 1
        self.drain()
        for _ in range(len(self._dirty)):  # one at a time, so that recording calls never wait long
            with self._held() as held:
                if not held or not self._dirty:
                    return
                cell = self._dirty.popleft()
                self._each(cell, "flush")
                cell.dirty = any(getattr(sink, "recurring", False) for sink in cell.all_sinks())
                if cell.dirty:
                    self._dirty.append(cell)

    def close(self) -> None:
        """Stop the ticker and hand over what is pending; nothing that is recorded later is."""
        self._tick = None
        self._new.put(None)
        self.flush()
        for hubs in list(_hubs.values()):
            if self in hubs:
                hubs.remove(self)

    def forget(self) -> None:
        """Start anew in a forked child: what is pending is the parent's, as may be the lock. Cells made before are dead."""
        self._lock = threading.RLock()
        self._folding = False
        self._cells, self._dirty = [], deque()
        self._ticker, self._new = None, SimpleQueue()

    def _register(self, cell: AnyCell) -> AnyCell:
        cell.dirty = True  # counters appear at zero
        self._dirty.append(cell)
        self._cells.append(cell)
        if self._tick is not None:
            self._new.put(cell)
            if self._ticker is None:
                self._ticker = threading.Thread(target=self._run, name="otel_metrics.ticker", daemon=True)
                with suppress(RuntimeError):  # too late: the interpreter is shutting down
                    self._ticker.start()
        return cell

    @staticmethod
    def _each(cell: Cell | Tally, action: str) -> None:
        """Call a method of the sinks that have it; those that end in no instrument do not."""
        for sink in cell.all_sinks():
            method = getattr(sink, action, None)
            if method is not None:
                method()

    def _take(self, cell: Cell | Tally, now: float | None = None) -> None:
        if cell.take(self.clock() if now is None else now) and not cell.dirty:
            cell.dirty = True
            self._dirty.append(cell)

    def _acquire(self, *, patience: float = -1.0) -> bool:
        """Take the lock, unless this thread is folding already or the lock's holder died with the interpreter.

        ``patience`` is how many seconds to wait for it, -1 for as long as it takes. The lock is re-entrant so that a
        signal handler can never wait for the code that it interrupted; the flag tells it that it did interrupt a fold.
        """
        waits = patience != 0.0 and not sys.is_finalizing()
        if not self._lock.acquire(waits, patience if waits else -1):
            return False
        if self._folding:
            self._lock.release()
            return False
        self._folding = True
        return True

    def _release(self) -> None:
        self._folding = False
        self._lock.release()
        if self._afterwards is not None:
            self._afterwards()

    @contextmanager
    def _held(self) -> Iterator[bool]:
        held = self._acquire()
        try:
            yield held
        finally:
            if held:
                self._release()

    def _run(self) -> None:
        while self._tick is not None:
            try:
                self._tick_once(self._tick)
            except Exception:  # the ticker must go on
                _log.exception("values could not be folded")

    def _tick_once(self, tick: float) -> None:
        """Fold when it is due; meanwhile make new counters appear at zero, so that their start is their first call's."""
        if time.monotonic() >= self._due:
            now = self._time_of_tick()
            self.turn += 1
            self._due = time.monotonic() + self._pause(tick)
            self.drain(now)
            self._relieve()
        try:
            cell = self._new.get(timeout=max(0.0, self._due - time.monotonic()))
        except Empty:
            return
        if cell is not None:
            with self._held() as held:
                if held:
                    self._each(cell, "seed")

    def _relieve(self) -> None:
        """Hand over values that wait one by one, because no collection may be near."""
        for cell in list(self._dirty):
            if any(getattr(sink, "crowded", False) for sink in cell.all_sinks()):
                with self._held() as held:
                    if held:
                        self._each(cell, "flush")

    def _time_of_tick(self) -> float:
        """Return the time to fold at: a tick that was due before midnight and is a little late still belongs before it."""
        now, midnight = self.clock(), self._midnight
        self._midnight = now - now % SECONDS_PER_DAY + SECONDS_PER_DAY
        return midnight - BEFORE_MIDNIGHT if 0.0 <= now - midnight < LATE else now

    def _pause(self, tick: float) -> float:
        until_midnight = self._midnight - self.clock() - BEFORE_MIDNIGHT
        return min(tick, until_midnight) if until_midnight > 0 else tick


# --------------------------------------------------------------------------------------- collections and forks, per meter
_hubs: Final[WeakKeyDictionary[Meter, list[Hub]]] = WeakKeyDictionary()


def _hook(meter: Meter, hub: Hub) -> None:
    """Have ``hub`` hand over before the readers of ``meter`` collect. A meter makes an instrument of one name only once."""
    hubs = _hubs.get(meter)
    if hubs is None:
        hubs = _hubs[meter] = []
        meter.create_observable_gauge(HOOK_NAME, callbacks=[partial(_before_collection, hubs)])
    hubs.append(hub)


def _before_collection(hubs: list[Hub], _options: CallbackOptions) -> Iterable[Observation]:
    for hub in hubs:
        try:
            hub.flush()
        except Exception:  # a collection must go on without us
            _log.exception("values could not be handed over")
    return ()


def _after_fork_in_child() -> None:
    for hubs in list(_hubs.values()):
        for hub in hubs:
            hub.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
