"""The end of a process: what was recorded last is pushed before, whichever way the process goes.

An interpreter that ends by itself calls ``atexit``. Many processes do not get there: the children of :mod:`multiprocessing` and
Celery leave by ``os._exit``, and web servers let the signal end them. So whoever pushes, or shares totals with other processes,
is asked to do it there, too. All of that takes two seconds together if the receiver does not answer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import sys
import threading
import time
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

from otel_metrics.forks import Part, renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType

_logger = logging.getLogger(__name__)

_PATIENCE: Final = 1.5
"""Seconds that a process waits in all, at its end, for receivers that do not answer: all of its end takes two."""

_LAST: Final = -1000
"""Priority among the finalizers of a child process: after those that may still record."""

_POOLS: Final = "multiprocessing.util", "billiard.util"


class Pusher(Protocol):
    """Something that pushes what was recorded."""

    def push(self, patience: float) -> bool:
        """Push now; return whether that was done within ``patience`` seconds."""

    def hurry(self) -> None:
        """Push often from now on, for a while: the process is about to end, and will not say when."""


_pushers: Final[WeakSet[Pusher]] = WeakSet()
_FORGIVEN: Final = 30.0
"""Seconds after which a receiver that did not answer is waited for again: that was another end, of an earlier configuration."""

_failed = -inf
_left = _PATIENCE


def before_end(pusher: Pusher) -> None:
    """Have ``pusher`` asked to push before this process ends: by SIGTERM, as a child of a pool, or as a Celery worker."""
    _pushers.add(pusher)
    _watch_signal()
    _hear_the_pool()
    for name in _POOLS:
        # What is not loaded has not made this process, and its children come here by the hook for forks.
        if (pool := sys.modules.get(name)) is not None:
            _watch_pool(pool)
    if (celery := sys.modules.get("celery.signals")) is not None:
        celery.worker_process_shutdown.connect(_push_all, weak=False, dispatch_uid=__name__)


def ended(pusher: Pusher) -> None:
    """Ask ``pusher`` no more: it has no thread any longer."""
    _pushers.discard(pusher)


def push_last(pusher: Pusher) -> None:
    """Have ``pusher`` push, within what is left of the time that the end of this process may take."""
    global _failed, _left
    started = time.monotonic()
    if started > _failed + _FORGIVEN:
        _left = _PATIENCE
    if not pusher.push(_left):
        _failed = time.monotonic()
        _left = max(0.0, _left - (_failed - started))


def _push_all(**_: Any) -> None:
    for pusher in list(_pushers):
        push_last(pusher)


_HURRY: Final = 0.1
_HURRIED: Final = 30.0
"""Seconds between pushes, and for how long, once the process was told to end: as long as servers take to end at most."""


class Periodic:
    """Calls ``work`` from a thread of its own: periodically, at once when it is asked to, and before the process ends.

    Nothing is called in a forked child.

    Args:
        work: what it raises is logged.
        interval: seconds between two calls, or what tells how many there are to the next one.
        costly: where a call takes long, seconds between two calls as a multiple of that.
        first: seconds until the first call, if not those between two.
        name: of the thread.
    """

    def __init__(
        self,
        work: Callable[[], object],
        interval: float | Callable[[], float],
        costly: float = 0.0,
        *,
        first: float | None = None,
        name: str,
    ) -> None:
        self._work = work
        self._interval = interval if callable(interval) else lambda: interval
        self._first = first
        self.urgent = False
        """For the work: whether somebody waits for it, or the process is about to end."""
        self._costly = costly
        self._process = os.getpid()
        self._hurried = -inf
        self._ended = False
        # Safe to fill from a signal handler; None ends the thread.
        self._asked: queue.SimpleQueue[threading.Event | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()
        before_end(self)

    def push(self, patience: float) -> bool:
        """Have the thread do its work now; return whether it was done within ``patience`` seconds.

        Not in the caller's thread: a signal handler may have interrupted a call that holds a lock, and could never leave it.
        """
        if self._ended or os.getpid() != self._process:
            return True
        done = threading.Event()
        self._asked.put(done)
        return done.wait(patience)

    def hurry(self) -> None:
        """Do it often for half a minute, but for a fifth of the time at most."""
        self._hurried = time.monotonic() + _HURRIED
        self._asked.put(threading.Event())

    def close(self) -> None:
        """Do it once more, and end. Takes two seconds at most if that takes longer."""
        if not self._ended:
            push_last(self)
            self._ended = True
            self._asked.put(None)
            ended(self)

    def _run(self) -> None:
        due = time.monotonic() + (self._interval() if self._first is None else self._first)
        waiting: list[threading.Event | None] = []
        while None not in waiting:
            waiting = []
            try:
                waiting.append(self._asked.get(timeout=max(0.0, due - time.monotonic())))
                while True:  # once is for all that wait
                    waiting.append(self._asked.get_nowait())
            except queue.Empty:
                pass
            if waiting == [None]:
                return
            started = time.monotonic()
            self.urgent = bool(waiting) or started < self._hurried
            try:
                self._work()
            except Exception:
                _logger.warning("%s failed", threading.current_thread().name, exc_info=True)
            for done in waiting:
                if done is not None:
                    done.set()
            finished = time.monotonic()
            spent = finished - started
            hurries = finished < self._hurried
            due = finished + (max(_HURRY, 4 * spent) if hurries else max(self._interval(), self._costly * spent))


def _watch_pool(pool: ModuleType) -> None:
    # A child forgets its finalizers when it starts, and then calls what is registered here.
    if pool not in _watched:
        _watched.append(pool)
        pool.register_after_fork(_watched, lambda _: _child_of(pool))
        _finalize(pool)


class _Watched(list[Any]):
    """The modules that make processes; a list that can be weakly referenced."""


_watched: Final = _Watched()


def _child_of(pool: ModuleType) -> None:
    _finalize(pool)
    _hear_the_pool()  # not before: a child does not know yet that it is one


def _finalize(pool: ModuleType) -> None:
    waits = pool.__name__ == _POOLS[0]  # billiard ends its children without waiting for their threads
    pool.Finalize(None, _end_of_child if waits else _push_all, exitpriority=_LAST)


def _end_of_child() -> None:
    """Push once the threads of a child have ended: multiprocessing waits for them after its finalizers, and calls nothing then."""
    try:
        if sys.modules["multiprocessing.process"].parent_process() is not None:
            threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001  # what it calls next; a second call does nothing
    finally:
        _push_all()


class _Terminate:
    """A handler of SIGTERM: pushes, then does what was to be done before."""

    def __init__(self, previous: Any) -> None:
        self._previous = previous
        self.ends = not callable(previous)
        """Whether the process ends with it, so that to be told twice does no harm."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        _heard.set()
        with contextlib.suppress(Exception):  # whatever a push may raise inside an event loop: the process must end
            _push_all()
        if not self.ends:
            # Requests that are being answered record yet, and what ends the process then may tell nobody.
            for pusher in list(_pushers):
                pusher.hurry()
            self._previous(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _watch_signal() -> None:
    if threading.current_thread() is not threading.main_thread():  # no other may set a handler
        return
    previous = signal.getsignal(signal.SIGTERM)
    if previous is None or previous is signal.SIG_IGN or isinstance(previous, _Terminate):
        return
    with contextlib.suppress(ValueError):  # not the main interpreter
        signal.signal(signal.SIGTERM, _Terminate(previous))


# ------------------------------------------------------------------------------------------------ the end of a pool's child
_heard = threading.Event()
"""Set when the handler of SIGTERM has begun."""

_wakeup: tuple[int, int] | None = None
"""Which process listens to its signals, and the descriptor that the interpreter writes them to."""

_UNHEARD: Final = 0.05
"""Seconds after which the main thread is told again."""


def _hear_the_pool() -> None:
    """See to it that a child of a pool ends when it is told to.

    Python runs a handler when the main thread gets to it. A pool ends its children just when they begin to wait for a lock in C:
    a signal that comes a moment before does not end that wait, and the pool waits for the child for ever.
    """
    global _wakeup
    made = sys.modules.get("multiprocessing.process")
    if made is None or made.parent_process() is None or not _told_to_end() or not hasattr(signal, "pthread_kill"):
        return
    if threading.current_thread() is not threading.main_thread() or (_wakeup and _wakeup[0] == os.getpid()):
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    if before != -1 and not (_wakeup and _wakeup[1] == before):  # an event loop's
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)
        return
    _wakeup = os.getpid(), write
    threading.Thread(target=_tell_again, args=(read,), name="otel_metrics.end", daemon=True).start()


def _told_to_end() -> bool:
    handler = signal.getsignal(signal.SIGTERM)
    return isinstance(handler, _Terminate) and handler.ends


def _tell_again(read: int) -> None:
    while signal.SIGTERM not in os.read(read, 64):
        pass
    main = threading.main_thread().ident
    while main is not None and not _heard.wait(_UNHEARD) and _told_to_end():
        signal.pthread_kill(main, signal.SIGTERM)


def _after_fork_in_child() -> None:
    """What is written to that descriptor is heard by the parent."""
    global _heard
    _heard = threading.Event()
    if _wakeup is not None and threading.current_thread() is threading.main_thread():
        before = signal.set_wakeup_fd(-1)
        if before != _wakeup[1]:
            signal.set_wakeup_fd(before)


renew_after_fork(Part.ENDS, _after_fork_in_child)
