"""Label sets: from attributes to label strings, made once per series and kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from otel_metrics.exporter.names import (
    clean,
    escaped_label,
    is_legacy_label,
    translated_label,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_metrics.exporter.names import (
        Escaping,
        Strategy,
    )

S = TypeVar("S")

_KEEP: Final = 1024
"""Entries that a cache may always hold, however few series there are."""


def label_value(value: object) -> str:
    """Return an attribute's value as a label value: strings as they are, everything else as JSON (``true``, ``1.5``)."""
    if type(value) is str:
        return clean(value)
    if isinstance(value, str):  # also enumerations of strings
        return clean(str.__str__(value))
    try:
        return clean(json.dumps(value, default=str))
    except (TypeError, ValueError, RecursionError):
        return clean(str(value))


def escape_value(value: str) -> str:
    """Return ``value`` as it stands between the quotes of a label in either text format."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return value


def label_name(key: object, strategy: Strategy, escaping: Escaping) -> str:
    """Return the label name for an attribute's key: translated, then escaped, never one that Prometheus reserves for itself."""
    name = escaped_label(translated_label(str(key), strategy), escaping)
    return f"_{name.lstrip('_')}" if name.startswith("__") else name


def label_set(
    attributes: Mapping[str, Any],
    constant: Mapping[str, Any],
    strategy: Strategy,
    escaping: Escaping,
    *,
    histogram: bool = False,
) -> dict[str, str]:
    """Return label names and values of a data point, sorted by name.

    Where two keys become one name, the last one wins (as in the official exporter); ``constant`` labels come first.
    Empty values are left out, as Prometheus does not tell them from absent ones. A histogram's own ``le`` gives way.
    """
    labels = {label_name(key, strategy, escaping): label_value(value) for key, value in constant.items()}
    for key, value in attributes.items():
        labels[label_name(key, strategy, escaping)] = label_value(value)
    if histogram and "le" in labels:
        labels["exported_le"] = labels.pop("le")
    return {name: value for name, value in sorted(labels.items()) if value}


def is_ambiguous(
    attributes: Mapping[str, Any], constant: Mapping[str, Any], strategy: Strategy, escaping: Escaping
) -> bool:
    """Return whether other attributes could have the same labels: a changed or shadowing key, or a value changed on the way."""
    return any(
        type(value) is not str
        or not value
        or "\\" in value
        or key in {"le", "exported_le"}
        or label_name(key, strategy, escaping) != key
        for key, value in attributes.items()
    ) or not {label_name(key, strategy, escaping) for key in constant}.isdisjoint(attributes)


def text_labels(labels: Mapping[str, str]) -> str:
    """Return ``a="1",b="2"``; names outside the classic character set are quoted."""
    parts = []
    for name, value in labels.items():
        shown = name if is_legacy_label(name) else f'"{escape_value(name)}"'
        parts.append(f'{shown}="{escape_value(value)}"')
    return ",".join(parts)


class LabelCache(Generic[S]):
    """The rendered labels of every series of one resource, scope and style.

    The SDK hands out the same attributes object for a series at every collection; its identity is the key, and the
    entry keeps the object alive, so that the identity stays its own.
    """

    __slots__ = ("_render", "ambiguous", "entries")

    def __init__(self, render: Callable[[Mapping[str, Any]], tuple[S, bool]]) -> None:
        """``render`` returns the labels, and whether another attribute set could have the same ones."""
        self._render = render
        self.entries: dict[int, tuple[Mapping[str, Any], S]] = {}
        self.ambiguous = False
        """Whether unequal attributes may have become equal labels, so that duplicates must be looked for."""

    def add(self, attributes: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], S]:
        """Render and keep the labels of ``attributes``; callers look into :attr:`entries` first."""
        if attributes is None:
            attributes = {}
        rendered, ambiguous = self._render(attributes)
        if ambiguous:
            self.ambiguous = True
        entry = self.entries[id(attributes)] = (attributes, rendered)
        return entry

    def prune(self, alive: int) -> None:
        """Forget everything once most entries belong to series that are gone; ``alive`` is the number of series seen."""
        if len(self.entries) > 2 * alive + _KEEP:
            self.entries.clear()
            self.ambiguous = False
