"""What cannot be a label leaves as a log event: feedback, error messages, interaction ids, metadata.

One event per call that carries such a thing, named after the call (``feature.satisfaction.recorded``, …), attributes as
documented in ``docs/events.md``. They hold users' text, so there are none unless ``Settings.events`` says where to: records of the
standard library's logger ``otel_metrics.events``, with ``event_name`` and ``event_attributes``, or OpenTelemetry log events. Either has the ids of the call's trace, span and interaction.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
import threading
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from opentelemetry._logs import SeverityNumber, get_logger_provider

from otel_metrics.errors import ConfigurationError
from otel_metrics.log import say
from otel_metrics.sdk.context import current_context, ids

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

    from otel_metrics.settings import Settings

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
    """Emits events to one destination, chosen when the package is configured.

    Args:
        provider: emit OpenTelemetry log events; None for records of the standard library's logger.
        level: of these records.

    Raises:
        ConfigurationError: the provider's loggers know no event names.
    """

    def __init__(self, provider: LoggerProvider | None = None, level: int = logging.DEBUG) -> None:
        self._logger = provider.get_logger("otel_metrics") if provider else None
        self._level = level
        self._emitting = threading.local()
        if self._logger and "event_name" not in inspect.signature(self._logger.emit).parameters:
            raise ConfigurationError(
                "logger_provider is not allowed: its Logger.emit() has no event_name; update opentelemetry-sdk"
            )

    @classmethod
    def of(cls, settings: Settings) -> Events | None:
        """Return where ``settings`` send events to, None for nowhere."""
        if settings.events == "log":
            return cls(level=getattr(logging, settings.events_level))
        if settings.events == "otel" or (settings.events is None and settings.logger_provider is not None):
            return cls(settings.logger_provider or get_logger_provider())
        return None

    def emit(self, event: Event, severity: object = "info", **attributes: object) -> None:
        """Emit ``event`` with those of ``attributes`` that are not ``None``; never raises.

        ``severity`` is one of the documented error severities; it becomes the OpenTelemetry severity. Others are INFO. A record
        call that a log handler makes meanwhile, in the same thread, emits nothing: it would be asked for without end.
        """
        if (self._logger is None and not _log.isEnabledFor(self._level)) or getattr(self._emitting, "now", False):
            return
        self._emitting.now = True
        try:
            told = ids() if current_context() else {}
            if attributes.get("interaction_id") is None:
                attributes["interaction_id"] = told.get("interaction_id")
            cleaned = {key: _clean(value) for key, value in attributes.items() if value is not None}
            if self._logger is None:
                text = json.dumps(cleaned, ensure_ascii=False)
                record = _log.makeRecord(
                    _log.name, self._level, __file__, 0, "%s %s", (event.value, text), None, "emit"
                )
                # As attributes, not as `extra`, which rejects those that an application's record factory has given.
                about = {"event_name": event.value, "event_attributes": cleaned}
                if "interaction_id" in cleaned:
                    told["interaction_id"] = cleaned["interaction_id"]
                record.__dict__.update(told | vars(record) | about)
                _log.handle(record)
            else:
                known = severity if isinstance(severity, str) else ""
                number = _SEVERITIES.get(known, SeverityNumber.INFO)
                self._logger.emit(event_name=event.value, severity_number=number, attributes=cleaned)
        except Exception as error:
            say(logging.WARNING, "%s could not be emitted", event.value, error=error)
        finally:
            self._emitting.now = False


def _clean(value: object) -> Any:
    """Return ``value`` as an attribute: numbers of 64 bits and booleans as they are, anything else as bounded, printable text."""
    if type(value) is str and len(value) <= LONGEST and value.isprintable():
        return value  # as most are
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
