"""The reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import REGISTRY, CollectorRegistry, make_asgi_app, make_wsgi_app

from otel_metrics.exporter.server import ServerHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class PrometheusReader(PrometheusMetricReader):
    """A metric reader that Prometheus can scrape."""

    def __init__(
        self,
        disable_target_info: bool = False,
        prefix: str = "",
        scope_info_enabled: bool = False,
        *,
        resource_attribute_filter: Callable[[str], bool] | None = None,
        resource_attributes: Collection[str] = (),
        registry: CollectorRegistry = REGISTRY,
        cardinality_limits: Any = None,
    ) -> None:
        chosen = frozenset(resource_attributes)
        super().__init__(
            disable_target_info,
            prefix,
            scope_info_enabled,
            resource_attribute_filter=resource_attribute_filter or (chosen.__contains__ if chosen else None),
            registry=registry,
            cardinality_limits=cardinality_limits,
        )
        self.registry = registry

    def serve(self, *, host: str = "127.0.0.1", port: int = 9464) -> ServerHandle:
        """Serve the exposition from daemon threads."""
        return ServerHandle(self.wsgi_app(), host, port)

    def wsgi_app(self) -> Callable[..., Any]:
        """Return a WSGI application that serves the exposition."""
        return make_wsgi_app(self.registry)

    def asgi_app(self) -> Callable[..., Any]:
        """Return an ASGI application that serves the exposition."""
        return make_asgi_app(self.registry)
