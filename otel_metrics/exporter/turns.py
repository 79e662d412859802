"""Letting other threads run while a scrape is being made, without a setting of the interpreter that the whole process would notice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_T = TypeVar("_T")

TURN: Final = 0.002
"""Seconds of work after which a scrape gives way. A thread that never pauses gets 5 ms then, the interpreter's switch interval."""

_NAP: Final = 0.00001
"""Seconds; what comes out is the operating system's shortest."""


def in_turns(pieces: Iterable[_T]) -> Iterator[_T]:
    """Yield ``pieces``, each made when it is asked for, and sleep for a moment now and then: who waits need not ask first."""
    until = time.monotonic() + TURN
    for piece in pieces:
        yield piece
        if time.monotonic() > until:
            time.sleep(_NAP)
            until = time.monotonic() + TURN
