"""The write path: from a record call to OpenTelemetry instruments.

``recorder`` makes series, ``buffers`` is the hot path, ``flusher`` says who folds when, ``arguments`` turns what was recorded into
numbers, ``sinks`` keep them and end in instruments. ``day_totals`` and ``local_store`` (with ``ring_buffer`` and its sketches) keep
what the daily table and the getters need. ``labels`` and ``rejections`` guard what comes in, ``events`` is what cannot be a label.
"""

from __future__ import annotations
