"""The write path: from a record call to OpenTelemetry instruments.

``buffers`` is the hot path, ``flusher`` says who folds when, ``sinks`` end in instruments, ``bulk`` teaches the SDK to take many
values at once.
"""

from __future__ import annotations
