"""The write path: from a record call to OpenTelemetry instruments.

``cells`` is the hot path, ``hub`` says who folds when, ``sinks`` end in instruments, ``bulk`` teaches the SDK to take many
values at once.
"""

from __future__ import annotations
