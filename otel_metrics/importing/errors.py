"""What can end an import."""

from __future__ import annotations

from otel_metrics.errors import MetricsError


class ImportFailedError(MetricsError):
    """An import cannot go on. Days that were finished before stay; nothing of the others has been written."""
