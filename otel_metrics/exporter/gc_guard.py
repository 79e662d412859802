"""Keeping out of the application's way while a scrape is being made.

Two things of the interpreter make threads wait for a scrape. The garbage collector: data points are many, live for a moment
and contain no cycles, but every few hundred of them trigger a collection, and some of those walk the whole heap of the
application. And the switch interval: a thread that works without pause is asked to give way after 5 ms only.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from otel_metrics.forks import Part, renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Iterator

SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a scrape gives way to a thread that waits; costs nothing where none does."""

_NAP: Final = 0.00001
"""Seconds; what comes out is the operating system's shortest."""

_lock = threading.Lock()
_holders = 0
_thresholds = gc.get_threshold()
_interval = 0.0


@contextmanager
def gc_guard() -> Iterator[None]:
    """Hold the garbage collector back, and give way more often, until the last of those who asked for it is done.

    Both are settings of the whole process. What the application had set is there again afterwards.
    """
    global _holders
    with _lock:
        _holders += 1
        first = _holders == 1
        if first:
            _begin()
    if first:
        # Threads that wait already wait as long as was the rule when they began to.
        time.sleep(_NAP)
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                _end()


def _begin() -> None:
    global _thresholds, _interval
    _thresholds, _interval = gc.get_threshold(), sys.getswitchinterval()
    # Not gc.disable(): that switch is the application's, which may well turn it in the meantime.
    gc.set_threshold(0)
    if _interval > SWITCH_INTERVAL:
        sys.setswitchinterval(SWITCH_INTERVAL)


def _end() -> None:
    if gc.get_threshold()[0] == 0:
        gc.set_threshold(*_thresholds)
    if _interval > SWITCH_INTERVAL:
        sys.setswitchinterval(_interval)


def _after_fork_in_child() -> None:
    """Forget the holders, which are threads of the parent."""
    global _lock, _holders
    _lock = threading.Lock()
    if _holders:
        _holders = 0
        _end()


renew_after_fork(Part.GARBAGE_COLLECTION, _after_fork_in_child)
