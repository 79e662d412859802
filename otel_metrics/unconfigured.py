"""What the documented objects hold while there is no runtime: stand-ins for its parts, whose first use makes one.

A record call that cannot have one, as the environment is wrong, does nothing and says so once; a getter raises.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from otel_metrics.log import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_metrics.facade.base import Facade
    from otel_metrics.runtime import Runtime


def put_to_sleep(objects: tuple[Facade, ...], wake: Callable[[], Runtime]) -> None:
    """Have the next call on any of ``objects`` call ``wake``, which attaches them to the runtime that it makes."""
    binding: Any = _Binding(lambda: wake().binding)
    flusher: Any = _Part(lambda: wake().recorder.flusher)
    source: Any = _Part(lambda: wake().source)
    rejections: Any = _Rejections()
    events: Any = _Events()

    def clock() -> float:
        return wake().settings.clock()

    for each in objects:
        each.attach(binding, flusher, rejections, events, source, clock)


class _Part:
    """Passes calls on to the part that it stands in for."""

    def __init__(self, awake: Callable[[], Any]) -> None:
        self._awake = awake

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            return getattr(self._awake(), name)(*arguments)

        call.__name__ = name
        return call


class _Binding(_Part):
    """Every record call comes here first: the caches are empty."""

    def change(self, _before: object, _after: object) -> None:
        """Compute nothing: binding failed."""


class _Rejections:
    strict = False
    total = 0

    def __init__(self) -> None:
        self._said = False

    def failed(self, call: str) -> None:
        """Log (inside an ``except`` block) why nothing is recorded."""
        if not self._said:
            self._said = True
            error = sys.exc_info()[1]
            say(logging.ERROR, "%s: nothing is recorded; further calls are not logged", call, error=error)


class _Events:
    def enabled(self) -> bool:
        """Return no: what is not recorded is no event."""
        return False

    def emit(self, *_: object, **__: object) -> None:
        """Swallow an event."""
