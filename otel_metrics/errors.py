"""The errors that users of the package can catch. All derive from :class:`MetricsError`."""

from __future__ import annotations


class MetricsError(Exception):
    """Anything that this package raises on purpose."""


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


class RefusedError(QueryError):
    """The server answered and would not: missing or wrong credentials, rate limit, unavailable. ``status`` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class BadAnswerError(QueryError):
    """What came back is not the answer of a Prometheus HTTP API."""


class BadQueryError(QueryError):
    """The server could not execute the query: ``kind`` is its ``errorType`` (``bad_data``, ``execution``, ``timeout``, …)."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def _shown(value: object, limit: int = 80) -> str:
    """A short, printable form of any value."""
    if isinstance(value, (str, bytes)):
        value = value[: limit + 1]
    try:
        text = ascii(value)
    except Exception:  # a broken __repr__ must not hide the real error
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[:limit] + "…"
