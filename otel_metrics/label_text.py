"""What callers give as a label value, as the text that is recorded and has to be asked for."""

from __future__ import annotations

import re
from decimal import Decimal
from enum import Enum
from math import isfinite
from numbers import Integral, Real
from typing import Final
from uuid import UUID

LONGEST: Final = 200
"""Characters that a label value may have."""

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """Return ``text`` as it is recorded, and has to be asked for: characters that no label should hold replaced."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def text_of(value: object) -> str | None:
    """Return a label value as text, or ``None`` for what is none: a database stores an HTTP status in a text column, too.

    Text, numbers that are finite, UUIDs, and members of an ``Enum`` of these. A truth value in place of a name is a mistake.
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return str.__str__(value)  # a subclass may print as something else
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, Integral):
            return str(int(value))
        if isinstance(value, (Real, Decimal)) and isfinite(value):
            return str(float(value) if isinstance(value, Real) else value)
    except Exception:  # whatever foreign numbers raise
        return None
    return str(value) if isinstance(value, UUID) else None
