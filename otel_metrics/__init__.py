"""The documented metrics calls of a home-made tracker, on OpenTelemetry, Prometheus and Grafana.

from otel_metrics import get_advanced_metrics, get_metrics_collector

Public are the names of this module, of :mod:`otel_metrics.aio`, of :mod:`otel_metrics.exporter`, of :mod:`otel_metrics.results`, of
:mod:`otel_metrics.testing`, and of the modules in :mod:`otel_metrics.integrations`. They are loaded when they are first used, so that
an application that wants the reader alone pays for the reader alone. All other modules are internal.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""As type checkers know it. Nothing is loaded here, so that Ctrl-C finds the command ready for it."""

if TYPE_CHECKING:
    from typing import Final

    from otel_metrics import aio, exporter, results, testing
    from otel_metrics.errors import (
        BadAnswerError,
        BadQueryError,
        ConfigurationError,
        InvalidArgumentError,
        MetricsError,
        QueryError,
        QueryTimeoutError,
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
    "QueryTimeoutError",
    "RefusedError",
    "Settings",
    "UnreachableError",
    "__version__",
    "aio",
    "asgi_app",
    "configure",
    "exporter",
    "get_advanced_metrics",
    "get_metrics_collector",
    "resource",
    "results",
    "serve",
    "shutdown",
    "testing",
    "views",
    "wsgi_app",
]

_NAMES: Final = {
    "errors": (
        "BadAnswerError",
        "BadQueryError",
        "ConfigurationError",
        "InvalidArgumentError",
        "MetricsError",
        "QueryError",
        "QueryTimeoutError",
        "RefusedError",
        "UnreachableError",
    ),
    "runtime": (  # which is what objects made directly ask for the process's configuration
        "AdvancedMetrics",
        "MetricsCollector",
        "asgi_app",
        "configure",
        "get_advanced_metrics",
        "get_metrics_collector",
        "serve",
        "shutdown",
        "wsgi_app",
    ),
    "sdk.provider": ("ExemplarFilter", "resource", "views"),
    "settings": ("Settings",),
    "version": ("__version__",),
}
_MODULES: Final = {name: module for module, names in _NAMES.items() for name in names}

if not TYPE_CHECKING:  # a type checker would take every name for one that is there

    def __getattr__(name: str) -> object:
        """Load a public name, or module, at its first use (PEP 562)."""
        from importlib import import_module

        if name in _MODULES:
            value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        elif name in __all__:
            value = import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
