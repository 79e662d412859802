"""The bridge from OpenTelemetry instruments to Prometheus; usable without the rest of the package.

Two lines in any OpenTelemetry application::

    reader = PrometheusReader()
    MeterProvider(metric_readers=[reader]); reader.serve(port=9464)

The path of a scrape, by file::

    server        a connection, one request within its deadline      (apps, asgi: the same under WSGI and ASGI)
    endpoint      path, host, password (auth), whose scrape gives way
      watched_files   users and certificates (tls) are read again when they change; web_config: a file of other exporters
    negotiation   Accept headers -> format, escaping, compression
    exposition    collects everything that the registry knows, and hands it to a renderer, family by family
      reader        the SDK's collection, for this scrape alone
      registry      asks the prometheus_client registry that readers and other collectors share
      families      OpenTelemetry metrics -> metric families: name, type, collisions  (names: translation, escaping)
      series        data points with their labels, rendered once and kept
      text, protobuf   the lines, the messages   (exponential: buckets; exemplars; other_collectors: foreign families)
      turns         lets other threads run meanwhile

Where the processes of an application share a directory, the collection is that of all of them: ``shared`` for what record calls
add up, ``shared_streams`` for any instrument of an application's own provider; both make data points by ``shared_rows``. Where they
do not, ``neighbours`` notices that several answer at one address.

``configured`` makes readers from environment variables and declarative configuration. ``push`` is the other direction: the same
data sent by OTLP.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from otel_metrics.exporter.configured import AutoPrometheusReader, declared_reader
from otel_metrics.exporter.reader import PrometheusReader

if TYPE_CHECKING:
    from otel_metrics.exporter.auth import hash_password
    from otel_metrics.exporter.push import otlp_reader
    from otel_metrics.exporter.server import ServerHandle, ServerLimits

__all__ = [
    "AutoPrometheusReader",
    "PrometheusReader",
    "ServerHandle",
    "ServerLimits",
    "declared_reader",
    "hash_password",
    "otlp_reader",
]

_LATER = {"hash_password": "auth", "ServerHandle": "server", "ServerLimits": "server"}
"""The modules of what a reader alone does not need."""

if not TYPE_CHECKING:  # a type checker would take every name for one that is there

    def __getattr__(name: str) -> object:
        """Load what a reader alone does not need when it is asked for."""
        if name in _LATER:
            return getattr(import_module(f"otel_metrics.exporter.{_LATER[name]}"), name)
        if name != "otlp_reader":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            from otel_metrics.exporter.push import otlp_reader
        except ImportError as error:
            raise ImportError("otlp_reader() needs its extra: pip install 'otel-metrics-bridge[otlp]'") from error
        return otlp_reader
