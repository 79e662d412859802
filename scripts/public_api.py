"""Print every public name with its signature: `.venv/bin/python scripts/public_api.py > tests/public_api.txt`.

Public is what ``__all__`` of the modules below names. A test compares, so that no change goes unnoticed.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODULES: Final = (
    "otel_metrics",
    "otel_metrics.aio",
    "otel_metrics.exporter",
    "otel_metrics.integrations.celery",
    "otel_metrics.integrations.django",
    "otel_metrics.integrations.logs",
    "otel_metrics.integrations.web",
    "otel_metrics.results",
    "otel_metrics.testing",
)

_LONGEST: Final = 60
"""Characters of a default value that are shown."""


def lines() -> Iterator[str]:
    """Yield the public names, module by module."""
    for name in MODULES:
        module = importlib.import_module(name)
        for public in sorted(module.__all__):
            yield from _described(f"{name}.{public}", getattr(module, public))


def _described(name: str, thing: object) -> Iterator[str]:
    if isinstance(thing, type):
        bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from _members(name, thing)
    elif inspect.isroutine(thing):
        yield f"{name}{_signature(thing)}"
    else:
        yield f"{name}: {type(thing).__name__}"


def _members(name: str, owner: type) -> Iterator[str]:
    """Yield the constructor and the public members, inherited ones as well, as far as this package defines them."""
    ours = [base for base in owner.__mro__ if base.__module__.partition(".")[0] == "otel_metrics"]
    if any("__init__" in vars(base) for base in ours):
        yield f"{name}{_signature(owner)}"
    types = {key: text for base in ours for key, text in inspect.get_annotations(base).items()}
    members = {key: value for base in reversed(ours) for key, value in vars(base).items()}
    for member in sorted(key for key in {*types, *members} if not key.startswith("_")):
        value = members.get(member)
        if isinstance(value, property):
            yield f"{name}.{member}: {inspect.signature(value.fget).return_annotation}" if value.fget else ""
        elif isinstance(value, classmethod | staticmethod):
            yield f"{name}.{member}{_signature(value.__func__)}"
        elif inspect.isroutine(value):
            yield f"{name}.{member}{_signature(value)}"
        else:
            known = types.get(member, type(value).__name__)
            yield f"{name}.{member}: {getattr(known, '__forward_arg__', known)}"


def _signature(thing: Callable[..., object]) -> str:
    signature = inspect.signature(thing)
    shown = [
        parameter.replace(default=_default(parameter.default), annotation=_annotation(parameter.annotation))
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=shown, return_annotation=_annotation(signature.return_annotation)))


class _Text(str):
    """Text that is shown without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def _annotation(value: object) -> object:
    return _Text(value.strip('"')) if isinstance(value, str) else value


def _default(value: object) -> object:
    text = repr(value)
    return value if len(text) <= _LONGEST and " at 0x" not in text else ...


if __name__ == "__main__":
    print(*lines(), sep="\n")
