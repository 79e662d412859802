"""Logging from inside a record call, which must not raise: not even what a log handler or filter of the application's does."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

_log: Final = logging.getLogger("otel_metrics")


def say(level: int, message: str, *args: object, error: BaseException | None = None) -> None:
    """Log a message, with the traceback of ``error``. What is said is counted as well, so it is not the last trace."""
    with suppress(Exception):
        _log.log(level, message, *args, exc_info=error, stacklevel=2)
