"""The thread that folds what nobody else has folded: every second, and right before midnight UTC."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import SECONDS_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Callable

_log: Final = logging.getLogger("otel_metrics")

BEFORE_MIDNIGHT: Final = 0.005
"""How long before midnight UTC, in seconds, a tick comes, so that values go to the day they were recorded in."""

_HURRY: Final = 0.1
"""Seconds between two ticks once the process was told to end."""


class Ticker:
    """Calls ``tick(now)`` when it is due, in a daemon thread.

    Args:
        seconds: between two ticks.
        clock: unix time in seconds.
        tick: gets the time that what was recorded belongs to.
    """

    def __init__(self, seconds: float, clock: Callable[[], float], tick: Callable[[float], object]) -> None:
        self.due = 0.0
        self._seconds = seconds
        self._clock = clock
        self._tick = tick
        self._midnight = inf  # the next one, as of the last tick
        self._stopped = False
        self._process = os.getpid()
        self._waiting: list[threading.Event] = []  # for a tick that begins from now on
        self._starting = False  # a signal handler that interrupts a start must not start another: threading has locks
        self._running = threading.Lock()  # taken by the thread that ticks, for good

    @property
    def _calls(self) -> queue.SimpleQueue[None]:
        """What wakes the thread before its time.

        Made at its first use, of the class that the module has by then: gevent and eventlet replace it, as they do the thread
        that waits here, and an application may be patched after this package was imported.
        """
        made: queue.SimpleQueue[None] | None = vars(self).get("_queue")
        return vars(self).setdefault("_queue", queue.SimpleQueue()) if made is None else made

    def start(self) -> None:
        """Start the thread, if it does not run; never blocks, never raises."""
        if self._stopped or self._starting or self._running.locked():
            return
        thread = threading.Thread(target=self._run, name="otel_metrics.ticker", daemon=True)
        try:
            self._starting = True
            thread.start()
        except RuntimeError:  # no more threads for now, or the interpreter is shutting down
            pass
        finally:
            self._starting = False

    def push(self, patience: float) -> bool:
        """Have the thread tick now; return whether it was done within ``patience`` seconds."""
        if (
            self._stopped or self._process != os.getpid() or not self._running.locked()
        ):  # the parent's, or never started
            return True
        done = threading.Event()
        self._waiting.append(done)
        self.due = 0.0
        self._calls.put(None)
        return done.wait(patience)

    def hurry(self) -> None:
        """Tick often from now on."""
        self._seconds = min(self._seconds, _HURRY)
        self.due = 0.0
        self._calls.put(None)

    def stop(self) -> None:
        """Let the thread end."""
        self._stopped = True
        self._calls.put(None)

    def _run(self) -> None:
        """Tick, unless another thread does.

        Several may have been started at once. That is settled here and not where they are started: no signal handler
        raises here, and who records never waits.
        """
        if not self._running.acquire(blocking=False):
            return
        while not self._stopped:
            try:
                self._once()
            except Exception:  # the ticker must go on
                _log.exception("values could not be folded")

    def _once(self) -> None:
        late = time.monotonic() - self.due
        if late >= 0.0:
            now = self._time_of_tick(late)
            self.due = time.monotonic() + self._pause()
            waiting, self._waiting = self._waiting, []
            self._tick(now)
            for done in waiting:
                done.set()
        with suppress(queue.Empty):
            self._calls.get(timeout=max(0.0, self.due - time.monotonic()))

    def _time_of_tick(self, late: float) -> float:
        """Return the time to fold at: a tick that was due before midnight still belongs before it, however ``late`` it is.

        It is when the machine is busy or the process was stopped. A clock that is set over midnight makes no tick late:
        what was recorded belongs to the day that the clock says now.
        """
        now, midnight = self._clock(), self._midnight
        self._midnight = now - now % SECONDS_PER_DAY + SECONDS_PER_DAY
        return midnight - BEFORE_MIDNIGHT if now - late < midnight <= now else now

    def _pause(self) -> float:
        until_midnight = self._midnight - self._clock() - BEFORE_MIDNIGHT
        return min(self._seconds, until_midnight) if until_midnight > 0 else self._seconds
