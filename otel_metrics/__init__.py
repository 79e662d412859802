"""The documented metrics calls of a home-made tracker, on OpenTelemetry, Prometheus and Grafana.

from otel_metrics import get_advanced_metrics, get_metrics_collector
"""

from __future__ import annotations

from otel_metrics import testing
from otel_metrics.errors import (
    BadAnswerError,
    BadQueryError,
    ConfigurationError,
    InvalidArgumentError,
    MetricsError,
    QueryError,
    RefusedError,
    UnreachableError,
)
from otel_metrics.facade.advanced import AdvancedMetrics
from otel_metrics.facade.basic import MetricsCollector
from otel_metrics.runtime import (
    asgi_app,
    configure,
    get_advanced_metrics,
    get_metrics_collector,
    serve,
    shutdown,
    wsgi_app,
)
from otel_metrics.sdk.provider import ExemplarFilter, resource, views
from otel_metrics.settings import Settings
from otel_metrics.version import __version__

__all__ = [
    "AdvancedMetrics",
    "BadAnswerError",
    "BadQueryError",
    "ConfigurationError",
    "ExemplarFilter",
    "InvalidArgumentError",
    "MetricsCollector",
    "MetricsError",
    "QueryError",
    "RefusedError",
    "Settings",
    "UnreachableError",
    "__version__",
    "asgi_app",
    "configure",
    "get_advanced_metrics",
    "get_metrics_collector",
    "resource",
    "serve",
    "shutdown",
    "testing",
    "views",
    "wsgi_app",
]
