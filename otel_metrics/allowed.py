"""What an argument or a setting has to be, and one message for those that are not: name, value, what is allowed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any

from otel_metrics.errors import ConfigurationError, _shown

if TYPE_CHECKING:
    from collections.abc import Iterator


def require(holds: bool, name: str, value: object, allowed: str) -> None:
    """Say what is allowed, unless it holds.

    Raises:
        ConfigurationError: it does not hold.
    """
    if not holds:
        raise ConfigurationError(f"{name}={_shown(value)} is not allowed; allowed: {allowed}")


def within(value: Any, kind: type[Any], least: float, most: float = inf) -> bool:
    """Return whether a value is a number of a kind (``Integral``, ``Real``), from ``least`` to ``most``."""
    return isinstance(value, kind) and not isinstance(value, bool) and bool(least <= value <= most)  # NaN is not


def is_positive(value: object) -> bool:
    """Return whether a value is a number above 0, such as seconds that something may take."""
    return within(value, Real, 0) and value != 0


def is_text(value: object) -> bool:
    """Return whether a value is a string."""
    return isinstance(value, str)


def is_path_or_none(value: object) -> bool:
    """Return whether a value can be the path of something, or None."""
    if value is None:
        return True
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    return isinstance(text, str) and text != "" and "\0" not in text


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Have errors of the system say what they are about; that is often missing in them.

    Raises:
        OSError: what the system says, of the same kind.
        ConfigurationError: content that is not what it should be.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not of the system: a time limit, which is for whoever set it
            raise
        raise type(error)(error.errno, f"{what} cannot be used: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigurationError(f"{what} cannot be used: {error}") from error
