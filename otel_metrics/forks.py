"""What a forked child renews, in a written order: its parent's totals are not its own, and the parent's locks may be held by nobody.

The one fork hook of the package. Whoever keeps locks, threads or totals registers how they are renewed, and as which
:class:`Part`; the order of registration does not matter.
"""

from __future__ import annotations

import logging
import os
import sys
from enum import IntEnum
from importlib import import_module
from typing import TYPE_CHECKING, Final

from otel_metrics.log import say

if TYPE_CHECKING:
    from collections.abc import Callable


class Part(IntEnum):
    """What is renewed, first to last: nothing may wait for a lock that is renewed only later."""

    AGGREGATIONS = 1
    """The locks of the SDK's aggregations that are ours."""
    FLUSHERS = 2
    """The locks that guard folding, what is pending (the parent's), and the thread that ticks."""
    TOTALS = 3
    """The totals of the day and the counts of rejections, per meter."""
    SHARED_TOTALS = 4
    """What is on its way into the totals of all processes (the parent's), and the lock that shows that the parent lives."""
    SERVERS = 5
    """Ports and threads that serve scrapes: the parent's."""
    NEIGHBOURS = 6
    """What is known of other processes at the same address."""
    ENDS = 7
    """Where signals are written to for the parent."""
    RUNTIME = 8
    """The process's provider, recorder and reader: made anew, of parts that work again."""


_renewals: Final[dict[Part, Callable[[], None]]] = {}


def renew_after_fork(part: Part, renew: Callable[[], None]) -> None:
    """Have a forked child call ``renew`` when it is the turn of ``part``. One that raises is logged, the others follow."""
    _renewals[part] = renew


_process = os.getpid()


def notice_fork() -> None:
    """Renew everything if this process was forked and Python was not told: uWSGI forks in C. Costs 50 ns."""
    if os.getpid() != _process:
        _in_child()


def _in_child() -> None:
    global _process
    _process = os.getpid()
    for part, renew in sorted(_renewals.items()):
        try:
            renew()
        except Exception as error:  # the child must not lose the other parts as well
            say(logging.ERROR, "after a fork, %s could not be renewed", part.name, error=error)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

if "uwsgi" in sys.modules:  # the module exists inside uWSGI only
    try:
        import_module("uwsgidecorators").postfork(notice_fork)
    except Exception as error:  # without a master process, for one, there is no hook
        say(logging.DEBUG, "uWSGI will not tell of forks", error=error)
