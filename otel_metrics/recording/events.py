"""What cannot be a label leaves as a log event: feedback, error messages, interaction ids, metadata.

One event per call that carries such a thing, named after the call (``feature.satisfaction.recorded``, …), attributes as
documented in ``docs/events.md``. By default it is a record of the standard library's logger ``otel_metrics.events`` at level
INFO, with ``event_name`` and ``event_attributes`` on the record; with ``Settings.logger_provider`` it is an OpenTelemetry log event.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from opentelemetry._logs import SeverityNumber

from otel_metrics.errors import ConfigurationError
from otel_metrics.log import say

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

LONGEST: Final = 16_384
"""Characters of one attribute that are kept."""

_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_log: Final = logging.getLogger("otel_metrics.events")


class Event(Enum):
    """The events, one per record call."""

    PERFORMANCE = "feature.performance.recorded"
    SATISFACTION = "feature.satisfaction.recorded"
    USAGE = "feature.usage.recorded"
    LEARNING = "feature.learning.recorded"
    OPTIMIZATION = "feature.optimization.recorded"
    RESOURCE = "resource.recorded"
    ERROR = "feature.error.recorded"


_SEVERITIES: Final = {
    "critical": SeverityNumber.FATAL,
    "error": SeverityNumber.ERROR,
    "warning": SeverityNumber.WARN,
}


class Events:
    """Emits events to one destination, chosen when the package is configured."""

    def __init__(self, provider: LoggerProvider | None = None) -> None:
        self._logger = provider.get_logger("otel_metrics") if provider else None
        if self._logger and "event_name" not in inspect.signature(self._logger.emit).parameters:
            raise ConfigurationError(
                "logger_provider is not allowed: its Logger.emit() has no event_name; update opentelemetry-sdk"
            )

    def enabled(self) -> bool:
        """Return whether anybody listens."""
        return self._logger is not None or _log.isEnabledFor(logging.INFO)

    def emit(self, event: Event, severity: object = "info", **attributes: object) -> None:
        """Emit ``event`` with those of ``attributes`` that are not ``None``; never raises.

        ``severity`` is one of the documented error severities; it becomes the OpenTelemetry severity. Others are INFO.
        """
        if not self.enabled():
            return
        try:
            cleaned = {key: _clean(value) for key, value in attributes.items() if value is not None}
            if self._logger is None:
                text = json.dumps(cleaned, ensure_ascii=False)
                _log.info("%s %s", event.value, text, extra={"event_name": event.value, "event_attributes": cleaned})
            else:
                known = severity if isinstance(severity, str) else ""
                number = _SEVERITIES.get(known, SeverityNumber.INFO)
                self._logger.emit(event_name=event.value, severity_number=number, attributes=cleaned)
        except Exception as error:
            say(logging.WARNING, "%s could not be emitted", event.value, error=error)


def _clean(value: object) -> Any:
    """Return ``value`` as an attribute: numbers of 64 bits and booleans as they are, anything else as bounded, printable text."""
    if isinstance(value, float) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    text = value if isinstance(value, str) else _json(value)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}… ({len(text)} characters)"
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _json(value: object) -> str:
    """Return ``value`` as JSON, or, where it has none (a circle, keys that are no text), as Python shows it."""
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except Exception:
        try:
            return repr(value)
        except Exception:  # whatever a foreign __repr__ raises: the rest of the event still goes out
            return f"<{type(value).__name__}>"
