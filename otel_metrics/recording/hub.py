"""Who folds when: the recording call itself every ``LIMIT`` rows, a ticker every second, a reader before it collects.

One lock guards all folding. A record call *tries* it, and only with a long backlog waits for it, a moment. So a signal
handler, a ``__del__`` or a log handler that records while its own thread folds appends its value and goes on; nothing here
waits for a lock that its own thread holds, and a signal handler that raises leaves the lock free (see :meth:`Hub._alone`).
What goes wrong under the lock is logged after it: a log handler may wait for whoever waits for the lock.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from otel_metrics.recording.cells import LIMIT, Cell, StrictCell, Tally
from otel_metrics.recording.delivery import HandOverError
from otel_metrics.recording.refusals import Refusals
from otel_metrics.recording.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    from otel_metrics.recording.delivery import Sink
    from otel_metrics.recording.values import Column

AnyCell = TypeVar("AnyCell", Cell, Tally)

_log: Final = logging.getLogger("otel_metrics")

HOOK_NAME: Final = "otel_metrics.hook"
"""An observable gauge without values: the SDK calls it before it collects anything else."""

_AT_ONCE: Final = 16
"""Cells that are folded before others get a chance at the lock."""

_BACKLOG: Final = 64 * LIMIT
"""Values after which a record call waits for the lock instead of leaving the work to its holder."""

_PATIENCE: Final = 0.1
"""Seconds that it waits: the holder may be waiting for something that the caller holds, such as a log handler."""


class Hub:
    """All cells of one meter.

    Args:
        meter: gets one more instrument, whose callback tells that a collection begins.
        clock: unix time in seconds.
        tick: seconds between the folds of the ticker thread; None for no ticker.
        refusals: told what fails and must not reach a record call; if they are strict, cells refuse what does not fit at once
            instead of when it is folded.
    """

    def __init__(
        self,
        meter: Meter,
        clock: Callable[[], float] = time.time,
        tick: float | None = 1.0,
        refusals: Refusals | None = None,
    ) -> None:
        self.clock = clock
        self.turn = 0
        self._refusals = refusals or Refusals(strict=False)
        self._cell: type[Cell] = StrictCell if self._refusals.strict else Cell
        self._lock = threading.RLock()
        self._folding = False
        self._cells: list[Cell | Tally] = []
        self._dirty: deque[Cell | Tally] = deque()
        self._tick = tick
        self.ticker = self._new_ticker()
        _hook(meter, self)

    def cell(self, columns: tuple[Column, ...], sinks: Sequence[Sequence[Sink]], rows: Sequence[Sink] = ()) -> Cell:
        """Make the cell of a series: per column its sinks, and sinks that count the rows."""
        return self._register(self._cell(columns, sinks, rows))

    def tally(self, rows: Sequence[Sink]) -> Tally:
        """Make the tally of a series."""
        return self._register(Tally(rows))

    def fold(self, cell: Cell) -> None:
        """Fold what a cell collected, unless somebody else is folding; they, or the next call, will."""
        crowded = len(cell) > _BACKLOG
        if crowded or not self._folding:
            self._alone(partial(self._take, cell), patience=_PATIENCE if crowded else 0.0)

    def record(self, cell: Cell, row: Sequence[Any], context: Context, extra: dict[str, str] | None = None) -> None:
        """Record one row of a cell at once, with the context that its exemplar tells.

        ``extra`` are attributes that only the exemplar gets (where the views are ours). A row that finds somebody else
        folding goes without an exemplar: whoever records never waits.
        """

        def at_once() -> None:
            cell.offered = self.turn
            self._take(cell)
            self._offer(partial(cell.fold, list(row), self.clock(), context, extra))

        if not self._alone(at_once, patience=0.0):
            cell.extend(row)

    def hit(self, tally: Tally, context: Context, extra: dict[str, str] | None = None) -> None:
        """Count one call at once, as :meth:`record` does."""

        def at_once() -> None:
            tally.offered = self.turn
            self._offer(partial(tally.fold, 1, self.clock(), context, extra))

        if not self._alone(at_once, patience=0.0):
            tally.hit()

    def drain(self, now: float | None = None) -> None:
        """Fold everything that was recorded before this call, so that sinks can be read."""
        pending = [cell for cell in list(self._cells) if cell]  # tallies do not tell
        for some in (pending[i : i + _AT_ONCE] for i in range(0, len(pending), _AT_ONCE)):
            self._alone(partial(self._take_all, some, now))
        # A cell that looked empty may have been with another thread, which is done with it when the lock is free.
        self._alone(lambda: None)

    def flush(self) -> None:
        """Fold everything and hand it to the instruments: what happens before every collection."""
        self.turn += 1
        self.drain()
        for _ in range(0, len(self._dirty), _AT_ONCE):
            self._alone(self._hand_over_some)

    def close(self) -> None:
        """Stop the ticker and hand over what is pending; nothing that is recorded later is."""
        if self.ticker is not None:
            self.ticker.stop()
        self.flush()
        for hubs in list(_hubs.values()):
            if self in hubs:
                hubs.remove(self)

    def forget(self) -> None:
        """Start anew in a forked child: what is pending is the parent's, as may be the lock. Cells made before are dead."""
        self._lock = threading.RLock()
        self._folding = False
        self._cells, self._dirty = [], deque()
        self.ticker = self._new_ticker()

    def _register(self, cell: AnyCell) -> AnyCell:
        cell.dirty = True  # counters appear at zero
        self._dirty.append(cell)
        self._cells.append(cell)
        if self.ticker is not None:
            self.ticker.announce(cell)
        return cell

    def _new_ticker(self) -> Ticker[Cell | Tally] | None:
        return None if self._tick is None else Ticker(self._tick, self.clock, self._on_tick, self._on_new)

    def _hand_over_some(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._dirty))):
            cell, again = self._dirty[0], True
            try:
                again = self._hand_over(cell)
            except Exception:  # the others must be handed over all the same, and this one is tried again
                self._refusals.failed("hand_over", later=True)
            finally:
                cell.dirty = again
                self._dirty.rotate(-1) if again else self._dirty.popleft()

    def _hand_over(self, cell: Cell | Tally) -> bool:
        """Flush the sinks that end in instruments; return whether they want to be flushed again without any news."""
        recurring = False
        for sink in cell.ends():
            flush = getattr(sink, "flush", None)
            if flush is not None:
                flush()
                recurring = recurring or getattr(sink, "recurring", False)
        return recurring

    def _take_all(self, cells: Iterable[Cell | Tally], now: float | None) -> None:
        for cell in cells:
            self._take(cell, now)

    def _take(self, cell: Cell | Tally, now: float | None = None) -> None:
        for earlier in cell.earlier():
            self._take(earlier, now)
        news = True
        try:
            news = cell.take(self.clock() if now is None else now)
        except HandOverError:
            self._refusals.failed("hand_over", later=True)
        finally:
            if news and not cell.dirty:
                cell.dirty = True
                self._dirty.append(cell)

    def _offer(self, fold: Callable[[], None]) -> None:
        """Hand over a value that belongs to a span. That runs foreign code, a filter or reservoir of the application's."""
        try:
            fold()
        except Exception:
            self._refusals.failed("exemplar", later=True)

    def _alone(self, work: Callable[[], object], *, patience: float = -1.0) -> bool:
        """Do ``work`` under the lock and return True, unless this thread is folding already, or the lock is not to be had.

        ``patience`` is how many seconds to wait for it, -1 for as long as it takes. The lock is re-entrant so that a
        signal handler can never wait for the code that it interrupted; the flag tells it that it did interrupt a fold. At
        interpreter shutdown nobody waits: the lock's holder may have died.
        """
        waits = patience != 0.0 and not sys.is_finalizing()
        held = mine = False
        try:
            # Signal handlers run after calls. Unpacking calls, too, but stores the result before anything can be raised.
            (held,) = map(self._lock.acquire, (waits,), (patience if waits else -1.0,))
            if held and not self._folding:
                mine = self._folding = True
                work()
        finally:
            if mine:
                self._folding = False
            if held:
                self._lock.release()
        if mine:
            self._refusals.say()
        return mine

    def _on_tick(self, now: float) -> None:
        self.turn += 1
        self.drain(now)
        for cell in self._dirty.copy():  # values that wait one by one are handed over: no collection may be near
            for sink in cell.ends():
                if getattr(sink, "crowded", False):
                    self._alone(partial(self._flush, sink))

    def _flush(self, sink: Any) -> None:
        try:
            sink.flush()
        except Exception:  # tried again, as it stays crowded
            self._refusals.failed("hand_over", later=True)

    def _on_new(self, cell: Cell | Tally) -> None:
        """Make counters appear at zero, so that their start is their first call's."""
        self._alone(partial(_seed, cell))


def _seed(cell: Cell | Tally) -> None:
    for sink in cell.ends():
        seed = getattr(sink, "seed", None)
        if seed is not None:
            seed()


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
