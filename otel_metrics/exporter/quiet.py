"""Holding the garbage collector back while a scrape is being made.

A scrape of 50,000 series creates some hundred thousand objects that live for a second and contain no cycles. Each few
hundred of them would trigger a collection, and some of those walk the whole heap of the application while every thread waits.
"""

from __future__ import annotations

import gc
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def _after_fork_in_child() -> None:
    """Forget the holders, which are threads of the parent."""
    global _lock, _holders
    _lock = threading.Lock()
    if _holders and _was_enabled:
        gc.enable()
    _holders = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
