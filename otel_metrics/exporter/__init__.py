"""The bridge from OpenTelemetry instruments to Prometheus; usable without the rest of the package.

    reader = PrometheusReader()
    MeterProvider(metric_readers=[reader])
    handle = reader.serve(port=9464)
"""

from __future__ import annotations

from otel_metrics.exporter.reader import PrometheusReader
from otel_metrics.exporter.server import ServerHandle

__all__ = ["PrometheusReader", "ServerHandle"]
