"""Log lines that say which trace, span and interaction they belong to: a processor for structlog, a filter for ``logging``.

from otel_metrics.integrations.logs import IdsFilter, add_ids

structlog.configure(processors=[structlog.contextvars.merge_contextvars, add_ids, structlog.processors.JSONRenderer()])
handler.addFilter(IdsFilter())
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.sdk.context import ids

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["IdsFilter", "add_ids"]

_NONE: Final = {"trace_id": "", "span_id": "", "interaction_id": ""}


def add_ids(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids of the current OpenTelemetry context to an event of structlog: a processor.

    ``trace_id`` and ``span_id`` are those of the current span, in hexadecimal digits, ``interaction_id`` is the entry of that name in
    the current baggage. What there is none of is left out, and what the event has is kept.
    """
    for name, value in ids().items():
        event.setdefault(name, value)
    return event


class IdsFilter(logging.Filter):
    """Gives every log record the attributes ``trace_id``, ``span_id`` and ``interaction_id``, as :func:`add_ids` does; drops none.

    An id that there is none of is empty text, so that a format can name it. It reads the context of the thread that it runs in: where
    records go through a queue, it belongs to the ``QueueHandler``.
    """

    def __init__(self) -> None:
        super().__init__()

    def filter(self, record: logging.LogRecord) -> bool:
        """Give ``record`` the ids that it has not."""
        for name, value in (_NONE | ids()).items():
            record.__dict__.setdefault(name, value)
        return True
