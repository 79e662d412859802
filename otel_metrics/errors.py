"""The errors that users of the package can catch. All derive from :class:`MetricsError`."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]+\s*")


class MetricsError(Exception):
    """Anything that this package raises on purpose. Can be pickled and copied, as the way back from a worker process asks for."""

    def __reduce__(
        self,
    ) -> tuple[Callable[..., MetricsError], tuple[type[MetricsError], tuple[object, ...], dict[str, object]]]:
        # Exception's own would call __init__ with the message alone, which some of us do not take.
        return _restored, (type(self), self.args, vars(self))


class ConfigurationError(MetricsError, ValueError):
    """A setting, or a combination of settings, that cannot work."""


class InvalidArgumentError(MetricsError, ValueError):
    """An argument of a call that is not allowed (record calls raise it in strict mode only).

    The message names the argument, its value and what is allowed; ``call``, ``argument`` and ``reason`` hold the parts.
    """

    def __init__(self, call: str, argument: str, value: object, reason: str, allowed: str) -> None:
        super().__init__(f"{call}: {argument}={_shown(value)} is not allowed ({reason}); allowed: {allowed}")
        self.call = call
        self.argument = argument
        self.reason = reason


class ImportFailedError(MetricsError):
    """An import of old data cannot go on. Days that were finished before stay; nothing of the others has been written."""


class QueryError(MetricsError):
    """A read call could not be answered by the Prometheus server."""


class UnreachableError(QueryError):
    """Nothing answered: connection refused, name unknown, time-out, also after the retries."""


class QueryTimeoutError(UnreachableError, TimeoutError):
    """The answer was not there within ``prometheus_timeout``, or the server gave up on the query itself."""


class RefusedError(QueryError):
    """The server answered and would not: missing or wrong credentials, rate limit, unavailable. ``status`` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class BadAnswerError(QueryError):
    """What came back is not the answer of a Prometheus HTTP API."""


class BadQueryError(QueryError):
    """The server could not execute the query: ``kind`` is its ``errorType`` (``bad_data``, ``execution``, …)."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def _restored(kind: type[MetricsError], arguments: tuple[object, ...], state: dict[str, object]) -> MetricsError:
    """Return an error as it was before it was pickled or copied."""
    error = kind.__new__(kind, *arguments)
    vars(error).update(state)
    return error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the part of a message that names the ``known`` name most like ``name``; empty if none is."""
    nearest = get_close_matches(name, list(known), 1, 0.8)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def _shown(value: object, limit: int = 80) -> str:
    """A short, printable form of any value, in one line: that of a table or an array has many."""
    if isinstance(value, (str, bytes)):
        value = value[: limit + 1]
    try:
        text = _CONTROLS.sub(" ", ascii(value))
    except Exception:  # a broken __repr__ must not hide the real error
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[:limit] + "…"
