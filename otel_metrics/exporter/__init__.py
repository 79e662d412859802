"""The bridge from OpenTelemetry instruments to Prometheus; usable without the rest of the package.

Two lines in any OpenTelemetry application::

    reader = PrometheusReader()
    MeterProvider(metric_readers=[reader]); reader.serve(port=9464)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_metrics.exporter.auth import hash_password
from otel_metrics.exporter.reader import AutoPrometheusReader, PrometheusReader
from otel_metrics.exporter.server import ServerHandle, ServerLimits

if TYPE_CHECKING:
    from otel_metrics.exporter.push import otlp_reader as otlp_reader

__all__ = ["AutoPrometheusReader", "PrometheusReader", "ServerHandle", "ServerLimits", "hash_password"]


def __getattr__(name: str) -> Any:
    """Load what needs an extra when it is asked for."""
    if name != "otlp_reader":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from otel_metrics.exporter.push import otlp_reader
    except ImportError as error:
        raise ImportError("otlp_reader() needs its extra: pip install 'otel-metrics[otlp]'") from error
    return otlp_reader
