"""A time limit, as a signal handler sets it, at any moment of what is tested.

The signal is the one that ends a test that hangs, so tests that use this are marked ``timeout(method="thread")``.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class TimeLimitError(TimeoutError):
    """What the signal handler raises: the usual time limit is an ``OSError``, too."""


def interrupted(rounds: int, record: Callable[[], object], work: Callable[[], object], longest: float = 0.002) -> int:
    """Call both in each round, ``work`` under a limit of up to ``longest`` seconds; return how often that was interrupted."""
    count = 0

    def interrupt(*_: object) -> None:
        raise TimeLimitError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for each in range(rounds):
            record()
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, longest * (each % 200 + 1) / 200)
                    work()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except TimeLimitError:
                count += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    return count
