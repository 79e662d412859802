"""Whether a result is what its type says: every key that must be there, no other, each of its type."""

from __future__ import annotations

import datetime as dt
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

from otel_metrics import results

if TYPE_CHECKING:
    from collections.abc import Iterator


def deviations(value: object, expected: Any, path: str = "") -> Iterator[str]:
    """Yield where ``value`` is not what the type ``expected`` says."""
    if is_typeddict(expected):
        assert isinstance(value, dict), path
        hints = get_type_hints(expected)
        yield from (f"{path}.{key} is missing" for key in expected.__required_keys__ - value.keys())
        yield from (f"{path}.{key} is not documented" for key in value.keys() - hints.keys())
        for key in value.keys() & hints.keys():
            yield from deviations(value[key], hints[key], f"{path}.{key}")
    elif get_origin(expected) is list:
        assert isinstance(value, list), path
        for entry in value:
            yield from deviations(entry, get_args(expected)[0], f"{path}[]")
    elif get_origin(expected) is dict:
        assert isinstance(value, dict), path
        for key, entry in value.items():
            assert type(key) is str, path
            yield from deviations(entry, get_args(expected)[1], f"{path}[{key}]")
    elif get_origin(expected) is Literal:
        if value not in get_args(expected):
            yield f"{path} is {value!r}"
    else:
        allowed = get_args(expected) if isinstance(expected, UnionType) else (expected,)
        # As type checkers have it, an int is a float, too.
        if type(value) not in allowed and not (type(value) is int and float in allowed):
            yield f"{path} is of type {type(value).__name__}"


def returned_by(getter: Any) -> Any:
    """Return what the annotation of a getter says that it returns."""
    return get_type_hints(getter, localns={"dt": dt, "r": results})["return"]
