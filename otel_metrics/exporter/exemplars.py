"""Exemplars: from a value in a bucket to the trace, or the interaction, that it came from."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_metrics.exporter.names import exposed_label, label_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_metrics.exporter.names import Escaping, Strategy

MAX_CHARACTERS: Final = 128
"""All names and values of one exemplar's labels together: OpenMetrics' limit, which Prometheus applies to every format."""


class ShownExemplar(NamedTuple):
    """One exemplar, ready for any format."""

    labels: dict[str, str]
    value: float
    time_unix_nano: int


def shown(exemplar: Any, strategy: Strategy, escaping: Escaping) -> ShownExemplar:
    """Return ``exemplar`` with the trace and span ids first, then as many of its attributes as the limit admits."""
    candidates: list[tuple[str, str]] = []
    if exemplar.trace_id:
        candidates.append(("trace_id", f"{exemplar.trace_id:032x}"))
    if exemplar.span_id:
        candidates.append(("span_id", f"{exemplar.span_id:016x}"))
    candidates += (
        (exposed_label(key, strategy, escaping), label_value(value))
        for key, value in (exemplar.filtered_attributes or {}).items()
    )
    labels: dict[str, str] = {}
    left = MAX_CHARACTERS
    for name, value in candidates:
        if value and name not in labels and (size := len(name) + len(value)) <= left:
            labels[name] = value
            left -= size
    return ShownExemplar(labels, float(exemplar.value), int(exemplar.time_unix_nano))


def latest(exemplars: Iterable[Any], strategy: Strategy, escaping: Escaping) -> ShownExemplar | None:
    """Return the newest of ``exemplars``, or None if there is none."""
    newest = max(exemplars, key=lambda exemplar: exemplar.time_unix_nano, default=None)
    return None if newest is None else shown(newest, strategy, escaping)


def by_bucket(
    bounds: tuple[float, ...], exemplars: Iterable[Any], strategy: Strategy, escaping: Escaping
) -> dict[int, ShownExemplar]:
    """Return the newest exemplar of every classic bucket that has one."""
    chosen: dict[int, Any] = {}
    for exemplar in exemplars:
        index = bisect_left(bounds, exemplar.value)
        if index not in chosen or chosen[index].time_unix_nano < exemplar.time_unix_nano:
            chosen[index] = exemplar
    return {index: shown(exemplar, strategy, escaping) for index, exemplar in chosen.items()}
