"""The bridge from OpenTelemetry instruments to Prometheus; usable without the rest of the package.

Two lines in any OpenTelemetry application::

    reader = PrometheusReader()
    MeterProvider(metric_readers=[reader]); reader.serve(port=9464)
"""

from __future__ import annotations

from otel_metrics.exporter.auth import hash_password
from otel_metrics.exporter.reader import AutoPrometheusReader, PrometheusReader
from otel_metrics.exporter.server import ServerHandle, ServerLimits

__all__ = ["AutoPrometheusReader", "PrometheusReader", "ServerHandle", "ServerLimits", "hash_password"]
