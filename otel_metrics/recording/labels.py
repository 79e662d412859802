"""Callers' strings to label values that are safe to expose and few enough to store."""

from __future__ import annotations

import logging
from threading import RLock
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import CATALOGUE, OTHER
from otel_metrics.label_text import LONGEST, printable, text_of
from otel_metrics.log import say
from otel_metrics.recording.rejections import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_metrics.catalogue import Label
    from otel_metrics.recording.rejections import Rejections

EVERY: Final = "*"
"""The label name that overflow of a whole call's series is counted under."""

_CLOSED: Final = frozenset(label.name for metric in CATALOGUE for label in metric.labels if label.values)


def given(value: object) -> bool:
    """Return whether an optional argument was given: it is neither ``None`` nor empty. Its own truth is not asked for."""
    return value is not None and not (isinstance(value, str) and not value)


class RejectedCallError(Exception):
    """Internal: a call cannot be attributed to any series and has been rejected and counted."""


class Labels:
    """Cleans label values and bounds how many there are.

    Each label has a cap of its own. Past it *that* label becomes ``other`` for new values, values seen before keep their
    identity, and so do the series' other labels. A value that is too long, or outside a closed domain, becomes
    ``other`` too: the event is kept, the bad argument is rejected and counted. ``overflow`` are counts to go on with.
    """

    def __init__(
        self, caps: Mapping[str, int], limit: int, rejections: Rejections, overflow: Counts[str] | None = None
    ) -> None:
        self._caps = caps
        self._limit = limit
        self._series: dict[str, set[tuple[str, ...]]] = {}
        self._rejections = rejections
        self._lock = RLock()
        self._seen: dict[str, set[str]] = {}
        self._overflow = overflow or Counts()

    def required(self, call: str, label: Label, value: object, argument: str | None = None) -> str:
        """Return the label value for an argument that a series cannot do without.

        Raises:
            RejectedCallError: ``value`` is nothing that has a text of its own, or that is empty.
            InvalidArgumentError: instead, in strict mode.
        """
        argument = argument or label.name
        text = text_of(value)
        if text is None:
            self._rejections.reject(call, argument, value, "type", "a string")
            raise RejectedCallError
        if not text or text.isspace():
            self._rejections.reject(call, argument, value, "empty", "a string that is not empty")
            raise RejectedCallError
        return self._bounded(label, self._clean(call, label, text, argument))

    def kept(self, call: str, label: Label, value: object, argument: str | None = None) -> str:
        """Return the label value for an argument that the event is worth more than: an unusable one becomes ``other``."""
        try:
            return self.required(call, label, value, argument)
        except RejectedCallError:
            return OTHER

    def optional(self, call: str, label: Label, value: object, argument: str | None = None) -> str:
        """Return the label value for an argument that may be ``None`` or empty: then the empty string, Prometheus's "absent"."""
        return self.kept(call, label, value, argument) if given(value) else ""

    def within(self, call: str, labels: dict[str, str]) -> dict[str, str]:
        """Return ``labels``, or, once ``call`` is bound to as many series as the limit allows, with every open label ``other``."""
        values = tuple(labels.values())
        with self._lock:
            series = self._series.setdefault(call, set())
            if values in series or len(series) < self._limit:
                series.add(values)
                return labels
        self._overflowed(EVERY)
        return {name: value if name in _CLOSED else OTHER for name, value in labels.items()}

    def series(self) -> int:
        """Return how many label combinations record calls are bound to."""
        with self._lock:
            return sum(map(len, self._series.values()))

    def overflow(self) -> dict[str, int]:
        """Return how many new series lost a value to ``other``, by label name."""
        return self._overflow.so_far()

    def _overflowed(self, name: str) -> None:
        """Count one collapse of label ``name``, log the first."""
        if self._overflow.add(name):
            say(logging.WARNING, "label %s is past its cap: new values are recorded as %r, and counted", name, OTHER)

    def _clean(self, call: str, label: Label, value: str, argument: str) -> str:
        if label.values:
            if value in label.values:
                return value
            self._rejections.reject(call, argument, value, "unknown", ", ".join(label.values))
            return OTHER
        if len(value) > LONGEST:
            self._rejections.reject(call, argument, value, "length", f"at most {LONGEST} characters")
            return OTHER
        cleaned = printable(value)
        if cleaned != value:
            self._rejections.reject(call, argument, value, "characters", "printable characters")
        return cleaned

    def _bounded(self, label: Label, value: str) -> str:
        if label.values:
            return value
        with self._lock:
            seen = self._seen.setdefault(label.name, set())
            if value in seen or value == OTHER:
                return value
            if len(seen) < self._caps.get(label.name, label.cap):
                seen.add(value)
                return value
        self._overflowed(label.name)
        return OTHER
