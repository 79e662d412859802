"""The words of PromQL: literals, selectors, moments, and several expressions in one. Pure functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PART: Final = "part"
"""Label that tells the expressions apart which one request joins."""

LONGEST: Final = 16_000
"""Bytes that a query should have at most: VictoriaMetrics refuses 16,384 unless told otherwise."""

_OR: Final = " or "
_SPECIAL: Final = re.compile(r'[\\"\x00-\x1f\x7f\ud800-\udfff\ufffd]')


def quoted(text: str) -> str:
    """Return ``text`` as a PromQL string literal that stands for exactly that text.

    Lone surrogates, which no label can hold, become U+FFFD, which Prometheus accepts as an escape only.
    """
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character in '\\"':
        return "\\" + character
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0x7F else "\\uFFFD"


def selector(name: str, where: Iterable[tuple[str, str]] = (), matchers: Iterable[str] = ()) -> str:
    """Return the selector of the series of ``name`` whose labels have the values ``where``."""
    inside = [*(f"{label}={quoted(value)}" for label, value in where), *matchers]
    return f"{name}{{{','.join(inside)}}}"


def milliseconds(seconds: float) -> str:
    """Return a duration, of a millisecond at least."""
    return f"{max(round(seconds * 1000), 1)}ms"


def at(when: float) -> str:
    """Return the modifier that evaluates at an instant, exact to the millisecond."""
    return f"@ {when:.3f}"


def batches(parts: Mapping[str, str]) -> Iterator[str]:
    """Join expressions to as few as possible that every engine accepts; their results carry the name of their part."""
    batch: list[str] = []
    size = 0
    for name, expression in parts.items():
        named = f'label_replace({expression}, "{PART}", {quoted(name)}, "", "")'
        length = len(named.encode()) + len(_OR)
        if batch and size + length > LONGEST:
            yield _OR.join(batch)
            batch, size = [], 0
        batch.append(named)
        size += length
    if batch:
        yield _OR.join(batch)
