"""Keeping out of the application's way while a scrape is being made: the garbage collector, and turns at the interpreter.

A scrape of 50,000 series creates some hundred thousand objects that live for a second and contain no cycles. Each few
hundred of them would trigger a collection, and some of those walk the whole heap of the application while every thread waits.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

_SHORTEST: Final = 0.001
_LONGEST: Final = 0.005
_NAP: Final = 0.00002
"""Seconds; what comes out is the operating system's shortest."""

_lock = threading.Lock()
_holders = 0
_was_enabled = False


@contextmanager
def quiet() -> Iterator[None]:
    """Switch automatic collection off until the last of those who asked for it is done.

    An application that has switched it off itself finds it off afterwards.
    """
    global _holders, _was_enabled
    with _lock:
        _holders += 1
        if _holders == 1:
            _was_enabled = gc.isenabled()
            gc.disable()
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0 and _was_enabled:
                gc.enable()


class Turns:
    """Lets other threads run, about every millisecond, instead of after the five that the interpreter lets them wait.

    Where other threads are busy, a turn lasts until they are made to give way; the more of them there are, the rarer the
    turns become, so that the scrape still comes to an end.
    """

    __slots__ = ("_since", "_slice")

    def __init__(self) -> None:
        self._slice = _SHORTEST
        self._since = time.perf_counter()

    def offer(self) -> None:
        """Sleep for a moment if there has been work for long enough."""
        now = time.perf_counter()
        if now - self._since >= self._slice:
            # Not zero: the interpreter would hardly ever be taken by another thread in no time.
            time.sleep(_NAP)
            self._since = time.perf_counter()
            self._slice = min(max((self._since - now) / 4, _SHORTEST), _LONGEST)

    def paced(self, items: Iterable[T]) -> Iterator[T]:
        """Yield ``items``, with a turn offered now and then."""
        for number, item in enumerate(items):
            if not number & 31:
                self.offer()
            yield item


def _after_fork_in_child() -> None:
    """Forget the holders, which are threads of the parent."""
    global _lock, _holders
    _lock = threading.Lock()
    if _holders and _was_enabled:
        gc.enable()
    _holders = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
