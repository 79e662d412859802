"""Who folds when: the recording call itself every ``LIMIT`` rows, a ticker every second, a reader before it collects.

One lock guards all folding. A record call *tries* it, and only with a long backlog waits for it, a moment. So a signal
handler, a ``__del__`` or a log handler that records while its own thread folds appends its value and goes on; nothing here
waits for a lock that its own thread holds, and a signal handler that raises leaves the lock free (see :meth:`Flusher._alone`).
What goes wrong under the lock is logged after it: a log handler may wait for whoever waits for the lock.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from otel_metrics.ends import before_end, push_last
from otel_metrics.forks import Part, notice_fork, renew_after_fork
from otel_metrics.recording.buffers import LIMIT, CallCounter, SeriesBuffer, StrictBuffer
from otel_metrics.recording.rejections import Rejections
from otel_metrics.recording.sinks import HandOverError
from otel_metrics.recording.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    from otel_metrics.recording.arguments import ArgumentSpec
    from otel_metrics.recording.sinks import Sink

AnyBuffer = TypeVar("AnyBuffer", SeriesBuffer, CallCounter)

_log: Final = logging.getLogger("otel_metrics")

HOOK_NAME: Final = "otel_metrics.hook"
"""An observable gauge without values: the SDK calls it before it collects anything else."""

_AT_ONCE: Final = 16
"""Buffers that are folded before others get a chance at the lock."""

_BACKLOG: Final = 64 * LIMIT
"""Values after which a record call waits for the lock instead of leaving the work to its holder."""

_PATIENCE: Final = 0.1
"""Seconds that it waits: the holder may be waiting for something that the caller holds, such as a log handler."""

_LONGEST: Final = 10.0
"""Seconds that a reader waits: it may be a signal handler's, and the holder be waiting for a lock of what that interrupted."""

_PART: Final = 0.8
"""Of the time that the SDK gives all callbacks of a collection, which fails when it is up."""


class Flusher:
    """All buffers of one meter.

    Args:
        meter: gets one more instrument, whose callback tells that a collection begins.
        clock: unix time in seconds.
        tick: seconds between the folds of the ticker thread; None for no ticker.
        rejections: told what fails and must not reach a record call; if they are strict, buffers reject what does not fit at once
            instead of when it is folded.
        share: called (with the clock's time) when sinks have handed over. With it, the ticker has them hand over every second and
            waits for no collection.
    """

    def __init__(
        self,
        meter: Meter,
        clock: Callable[[], float] = time.time,
        tick: float | None = 1.0,
        rejections: Rejections | None = None,
        share: Callable[[float], object] | None = None,
    ) -> None:
        self.clock = clock
        self.epoch = 0
        self._rejections = rejections or Rejections(strict=False)
        self._buffer: type[SeriesBuffer] = StrictBuffer if self._rejections.strict else SeriesBuffer
        self._lock = threading.RLock()
        self._folding = False
        self._buffers: list[SeriesBuffer | CallCounter] = []
        self._dirty: deque[SeriesBuffer | CallCounter] = deque()
        self._tick = tick
        self._share = share
        self.ticker = self._new_ticker()
        _hook(meter, self)

    def buffer(
        self, arguments: tuple[ArgumentSpec, ...], sinks: Sequence[Sequence[Sink]], calls: Sequence[Sink] = ()
    ) -> SeriesBuffer:
        """Make the buffer of a series: per argument its sinks, and sinks that count the calls."""
        return self._register(self._buffer(arguments, sinks, calls))

    def call_counter(self, calls: Sequence[Sink]) -> CallCounter:
        """Make the call counter of a series."""
        return self._register(CallCounter(calls))

    def hand_over(self, sinks: Sequence[Sink]) -> None:
        """Have sinks that no series has hand over what is pending, with the next collection."""
        self._dirty.append(CallCounter(sinks))

    def fold(self, buffer: SeriesBuffer) -> None:
        """Fold what a buffer collected, unless somebody else is folding; they, or a later call, will."""
        notice_fork()
        crowded = len(buffer) > _BACKLOG
        tried = crowded or not self._folding
        if not (tried and self._alone(partial(self._take, buffer), patience=_PATIENCE if crowded else 0.0)):
            # Who folds may not get to run for milliseconds, in which thousands of calls would come here in vain.
            buffer.limit = len(buffer) + LIMIT

    def record(
        self, buffer: SeriesBuffer, row: Sequence[Any], context: Context, extra: dict[str, str] | None = None
    ) -> None:
        """Record one row of a buffer at once, with the context that its exemplar tells.

        ``extra`` are attributes that only the exemplar gets (where the views are ours). A row that finds somebody else
        folding goes without an exemplar: whoever records never waits.
        """

        def at_once() -> None:
            buffer.offered = self.epoch
            self._take(buffer)
            self._offer(partial(buffer.fold, list(row), self.clock(), context, extra))

        if not self._alone(at_once, patience=0.0):
            buffer.extend(row)

    def hit(self, call_counter: CallCounter, context: Context, extra: dict[str, str] | None = None) -> None:
        """Count one call at once, as :meth:`record` does."""

        def at_once() -> None:
            call_counter.offered = self.epoch
            self._offer(partial(call_counter.fold, 1, self.clock(), context, extra))

        if not self._alone(at_once, patience=0.0):
            call_counter.hit()

    def drain(self, now: float | None = None) -> bool:
        """Fold everything that was recorded before this call, so that sinks can be read; return whether that was possible."""
        notice_fork()
        pending = [buffer for buffer in list(self._buffers) if buffer]  # call counters do not tell
        for some in (pending[i : i + _AT_ONCE] for i in range(0, len(pending), _AT_ONCE)):
            if not self._alone(partial(self._take_all, some, now)):
                return False  # who has waited once does not wait again
        # A buffer that looked empty may have been with another thread, which is done with it when the lock is free.
        return self._alone(lambda: None)

    def flush(self, now: float | None = None, patience: float = inf) -> None:
        """Fold everything and have sinks hand it over: what happens before every collection.

        What is not handed over within ``patience`` seconds, or half of that in processor time, goes with the next collection:
        of very many new series the scraper waits for the rendering, too.
        """
        until, enough = time.monotonic() + patience, time.thread_time() + patience / 2
        self.epoch += 1
        if self.drain(now):
            for _ in range(0, len(self._dirty), _AT_ONCE):
                if time.monotonic() > until or time.thread_time() > enough or not self._alone(self._hand_over_some):
                    break
        if self._share is not None:
            self._share(self.clock())

    def close(self) -> None:
        """Stop the ticker and hand over what is pending; nothing that is recorded later is."""
        if self.ticker is not None:
            if self._share is not None:
                # In its thread: a SIGTERM that comes meanwhile waits for it, too, before the process ends.
                push_last(self.ticker)
            self.ticker.stop()
        self.flush()
        for flushers in list(_flushers.values()):
            if self in flushers:
                flushers.remove(self)

    def forget(self) -> None:
        """Start anew in a forked child: what is pending is the parent's, as may be the lock. Buffers made before are dead."""
        self._lock = threading.RLock()
        self._folding = False
        self._buffers, self._dirty = [], deque()
        self.ticker = self._new_ticker()

    def _register(self, buffer: AnyBuffer) -> AnyBuffer:
        notice_fork()
        buffer.dirty = True  # counters appear at zero
        self._dirty.append(buffer)
        self._buffers.append(buffer)
        if self.ticker is not None:
            self.ticker.start()
        return buffer

    def _new_ticker(self) -> Ticker | None:
        if self._tick is None:
            return None
        ticker = Ticker(self._tick, self.clock, self._on_tick)
        if self._share is not None:
            before_end(ticker)
        return ticker

    def _hand_over_some(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._dirty))):
            buffer, again = self._dirty[0], True
            try:
                again = self._hand_over(buffer)
            except Exception:  # the others must be handed over all the same, and this one is tried again
                self._rejections.failed("hand_over", later=True)
            finally:
                buffer.dirty = again
                self._dirty.rotate(-1) if again else self._dirty.popleft()

    def _hand_over(self, buffer: SeriesBuffer | CallCounter) -> bool:
        """Flush the sinks; return whether they want to be flushed again without any news."""
        recurring = False
        for sink in buffer.all_sinks():
            sink.flush()
            recurring = recurring or sink.recurring
        return recurring

    def _take_all(self, buffers: Iterable[SeriesBuffer | CallCounter], now: float | None) -> None:
        for buffer in buffers:
            self._take(buffer, now)

    def _take(self, buffer: SeriesBuffer | CallCounter, now: float | None = None) -> None:
        for earlier in buffer.earlier():
            self._take(earlier, now)
        news = True
        try:
            news = buffer.take(self.clock() if now is None else now)
        except HandOverError:
            self._rejections.failed("hand_over", later=True)
        finally:
            if news and not buffer.dirty:
                buffer.dirty = True
                self._dirty.append(buffer)

    def _offer(self, fold: Callable[[], None]) -> None:
        """Hand over a value that belongs to a span. That runs foreign code, a filter or reservoir of the application's."""
        try:
            fold()
        except Exception:
            self._rejections.failed("exemplar", later=True)

    def _alone(self, work: Callable[[], object], *, patience: float | None = None) -> bool:
        """Do ``work`` under the lock and return True, unless this thread is folding already, or the lock is not to be had.

        ``patience`` is how many seconds to wait for it, None for as long as is sensible. The lock is re-entrant so that a
        signal handler can never wait for the code that it interrupted; the flag tells it that it did interrupt a fold. At
        interpreter shutdown nobody waits: the lock's holder may have died.
        """
        seconds = _LONGEST if patience is None else patience
        waits = seconds != 0.0 and not sys.is_finalizing()
        held = mine = False
        try:
            # Signal handlers run after calls. Unpacking calls, too, but stores the result before anything can be raised.
            (held,) = map(self._lock.acquire, (waits,), (seconds if waits else -1.0,))
            if held and not self._folding:
                mine = self._folding = True
                work()
        finally:
            if mine:
                self._folding = False
            if held:
                self._lock.release()
        if mine:
            self._rejections.say()
        elif waits and not held and patience is None:
            _log.warning(
                "another thread has been folding for %g s: what is read now may lack the newest values", seconds
            )
        return mine

    def _on_tick(self, now: float) -> None:
        if self._share is not None:
            self.flush(now)
            return
        self.epoch += 1
        self.drain(now)
        for buffer in self._dirty.copy():  # values that wait one by one are handed over: no collection may be near
            for sink in buffer.all_sinks():
                if sink.crowded:
                    self._alone(partial(self._flush, sink))

    def _flush(self, sink: Sink) -> None:
        try:
            sink.flush()
        except Exception:  # tried again, as it stays crowded
            self._rejections.failed("hand_over", later=True)


# --------------------------------------------------------------------------------------- collections and forks, per meter
_flushers: Final[WeakKeyDictionary[Meter, list[Flusher]]] = WeakKeyDictionary()


def _hook(meter: Meter, flusher: Flusher) -> None:
    """Have ``flusher`` hand over before the readers of ``meter`` collect. A meter makes an instrument of one name only once."""
    flushers = _flushers.get(meter)
    if flushers is None:
        flushers = _flushers[meter] = []
        meter.create_observable_gauge(HOOK_NAME, callbacks=[partial(_before_collection, flushers)])
    flushers.append(flusher)


def _before_collection(flushers: list[Flusher], options: CallbackOptions) -> Iterable[Observation]:
    for flusher in flushers:
        try:
            flusher.flush(patience=_PART * options.timeout_millis / 1000)
        except Exception:  # a collection must go on without us
            _log.exception("values could not be handed over")
    return ()


def _after_fork_in_child() -> None:
    for flushers in list(_flushers.values()):
        for flusher in flushers:
            flusher.forget()


renew_after_fork(Part.FLUSHERS, _after_fork_in_child)
