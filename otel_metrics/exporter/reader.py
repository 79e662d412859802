"""The reader: what a `MeterProvider` takes, and what a Prometheus server scrapes."""

from __future__ import annotations

import contextlib
import errno
import inspect
import ssl
import threading
import weakref
from collections.abc import Collection
from dataclasses import replace
from fnmatch import fnmatchcase
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader, MetricsData, ScopeMetrics
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import REGISTRY, CollectorRegistry

from otel_metrics.allowed import is_path_or_none, is_text, naming, require, within
from otel_metrics.exporter.endpoint import MAX_SCRAPES, RESPONSE_TIMEOUT, Endpoint, named_by
from otel_metrics.exporter.exponential import CLASSIC_LADDER, Ladders
from otel_metrics.exporter.exposition import Exposition
from otel_metrics.exporter.families import Collisions, ReaderOptions
from otel_metrics.exporter.names import STRATEGIES
from otel_metrics.exporter.neighbours import neighbours
from otel_metrics.exporter.registry import RegistryCollector
from otel_metrics.naming import METER_NAME
from otel_metrics.sdk.lazy_points import attach, is_registered
from otel_metrics.sdk.observed import taking

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opentelemetry.metrics import Instrument
    from opentelemetry.sdk.metrics.view import Aggregation

    from otel_metrics.exporter.apps import ASGIApp, WSGIApp
    from otel_metrics.exporter.auth import Users
    from otel_metrics.exporter.names import Strategy
    from otel_metrics.exporter.negotiation import Format
    from otel_metrics.exporter.server import ServerHandle, ServerLimits
    from otel_metrics.exporter.shared_streams import SharedStreams
    from otel_metrics.exporter.watched_files import WatchedFiles

MAX_PORT: Final = 65535

_CUMULATIVE: dict[type, AggregationTemporality] = dict.fromkeys(
    (Counter, UpDownCounter, Histogram, ObservableCounter, ObservableUpDownCounter, ObservableGauge),
    AggregationTemporality.CUMULATIVE,
)

_OWN: Final = InstrumentationScope(METER_NAME)

_AT_MOST: Final = 120_000.0
"""Milliseconds for all callbacks of a collection: how long a scrape may take is for the scraper to say. By default, the SDK throws
away what took ten seconds."""


class PrometheusReader(PrometheusMetricReader):
    """A metric reader for Prometheus, accepted wherever OpenTelemetry's own `PrometheusMetricReader` is.

    Args:
        disable_target_info: leave out the ``target_info`` metric, which carries the resource's attributes.
        prefix: put in front of every metric's name, with an underscore.
        scope_info_enabled: whether the instrumentation scope becomes labels of every series: ``otel_scope_name``,
            ``otel_scope_version``, … A new version of an instrumentation starts all its series anew. Without them, only the series of
            metrics that several scopes have in common carry them, as they would be equal otherwise.
        resource_attribute_filter: tells by key which attributes of the resource become labels of every series.
        resource_constant_labels: the same as a collection of keys; ``*`` and ``?`` stand for any characters, and for one.
        registry: the registry that the metrics are registered with, and whose other collectors are exposed along with them.
        cardinality_limits: series kept per instrument class, handed to the SDK; SDKs that have no limits ignore it.
        translation_strategy: how names are made, in the terms of OpenTelemetry's configuration; see docs/reader.md.
        default_aggregation: aggregation per instrument class, where no view says otherwise; with
            ``{Histogram: ExponentialBucketHistogramAggregation()}`` histograms are native ones.
        classic_bounds: bucket bounds that exponential histograms are shown with to scrapers that know no native histograms.
        created_samples: whether OpenMetrics has ``_created`` samples. Prometheus stores them as series of their own unless it
            runs with ``created-timestamp-zero-ingestion``; protobuf carries start times at no such cost, always.
        native_only: whether protobuf leaves classic buckets out of histograms that have native ones. Text keeps them. Only where
            every Prometheus that scrapes stores native histograms: one that does not, and asks for protobuf all the same, gets
            counts and sums alone.
        self_metrics: whether the bridge's own ``otel_metrics_…`` metrics are exposed along with the others.
        multiprocess_directory: where the processes of one application meet: the endpoint of any of them answers for all, see
            docs/workers.md. The default registry is then left alone, as its collectors know one process only.
        multiprocess_gauges: how the values of a gauge in several processes become one, by the name of its instrument: ``sum``,
            ``max`` (unless told otherwise), ``min`` or ``mean`` of the living ones, or the ``latest`` of all.

    Raises:
        ValueError: an unknown translation strategy, a classic bound that is no number, or a mode of a gauge that there is not.
        ImportError: a multiprocess directory on a system without ``flock``.
    """

    def __init__(
        self,
        disable_target_info: bool = False,
        prefix: str = "",
        scope_info_enabled: bool = True,
        *,
        resource_attribute_filter: Callable[[str], bool] | None = None,
        resource_constant_labels: Collection[str] = (),
        registry: CollectorRegistry = REGISTRY,
        cardinality_limits: Mapping[Any, int] | None = None,
        translation_strategy: Strategy = "UnderscoreEscapingWithSuffixes",
        default_aggregation: Mapping[type[Instrument], Aggregation] | None = None,
        classic_bounds: Sequence[float] = CLASSIC_LADDER,
        created_samples: bool = False,
        native_only: bool = False,
        self_metrics: bool = True,
        multiprocess_directory: str | os.PathLike[str] | None = None,
        multiprocess_gauges: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        fits = is_text(translation_strategy) and translation_strategy in STRATEGIES
        require(fits, "translation_strategy", translation_strategy, ", ".join(STRATEGIES))
        fits = _are_names(resource_constant_labels)
        require(fits, "resource_constant_labels", resource_constant_labels, "several keys, as a list")
        require(
            is_path_or_none(multiprocess_directory), "multiprocess_directory", multiprocess_directory, "a path, or None"
        )
        # Not the official reader's constructor: it registers a collector that fails on exponential histograms.
        MetricReader.__init__(
            self,
            preferred_temporality=_CUMULATIVE,
            preferred_aggregation=dict(default_aggregation) if default_aggregation else None,
            **_supported(cardinality_limits),
        )
        self._received = threading.local()
        self._collisions = Collisions()
        ladders = Ladders(classic_bounds)
        options = ReaderOptions(
            disable_target_info,
            prefix,
            scope_info_enabled,
            _chosen(resource_attribute_filter, resource_constant_labels),
            translation_strategy,
        )
        shares = multiprocess_directory is not None
        if shares and registry is REGISTRY:
            registry = CollectorRegistry()
        self.registry = registry
        self._files: weakref.WeakSet[WatchedFiles[Any]] = weakref.WeakSet()
        self._exposition = Exposition(
            registry,
            self._collected,
            options,
            ladders,
            self._collisions,
            created=created_samples,
            self_metrics=self_metrics and not shares,
            native_only=native_only,
            invalid_files=self._invalid_files,
        )
        self._streams: SharedStreams | None = None
        if multiprocess_directory is not None:
            from otel_metrics.exporter.shared_streams import SharedStreams  # needs flock

            figures = self._exposition.figures if self_metrics else dict
            self._streams = SharedStreams(
                multiprocess_directory,
                multiprocess_gauges,
                lambda: self._collected_here() if is_registered(self) else None,
                figures,
            )
        self._registered: RegistryCollector | None = RegistryCollector(
            registry, self._collected, options, ladders, self._collisions
        )
        registry.register(self._registered)
        self._handles: dict[ServerHandle, tuple[Any, ...]] = {}  # with the options of each

    def serve(
        self,
        *,
        host: str = "localhost",
        port: int = 9464,
        certfile: str | None = None,
        keyfile: str | None = None,
        client_cafile: str | None = None,
        users_file: str | os.PathLike[str] | None = None,
        web_config_file: str | os.PathLike[str] | None = None,
        allowed_hosts: Collection[str] = (),
        metrics_path: str = "/metrics",
        max_scrapes: int = MAX_SCRAPES,
        limits: ServerLimits | None = None,
    ) -> ServerHandle:
        """Serve the metrics from daemon threads, until the handle or the reader is closed.

        An address that another process has is waited for: this one takes over when it is free. To serve again at the same
        address returns the handle that there is.

        Args:
            host: address to listen on; loopback unless told otherwise.
            port: 0 for any free one, see the handle's ``port``.
            certfile: certificate chain, PEM, which turns TLS on. It is read again when it changes, as all these files are.
            keyfile: private key, not encrypted, unless it is in ``certfile`` too.
            client_cafile: authorities of the clients that are let in (mutual TLS).
            users_file: lines of ``user:hash`` for basic authentication, see `otel_metrics.exporter.auth`.
            web_config_file: TLS and users as in the ``web.config.yml`` of other exporters, in place of the four above. Needs the
                extra ``web-config``.
            allowed_hosts: names with a dot, besides ``host`` and this machine's, that clients may ask for where there is neither
                TLS nor a password; ``*`` for any.
            metrics_path: where the metrics are.
            max_scrapes: scrapes at once; further ones are answered with 503.
            limits: what clients may take of the application.

        Raises:
            OSError: the address is not one of this machine's, a file cannot be read, or this reader serves there with other options.
            RuntimeError: the reader has been shut down.
            ValueError: no port, a file is malformed, the key is encrypted, or arguments do not go together.
        """
        from otel_metrics.exporter.server import ServerHandle, ServerLimits  # an application that mounts needs neither
        from otel_metrics.exporter.tls import TlsConfig, watched_tls

        if self._registered is None:
            raise RuntimeError("the reader has been shut down: its metrics are no longer collected")
        require(is_text(host), "host", host, "a string")
        require(within(port, Integral, 0, MAX_PORT), "port", port, f"an integer from 0 to {MAX_PORT}")
        require(_are_names(allowed_hosts), "allowed_hosts", allowed_hosts, "several names, as a list")
        require(limits is None or isinstance(limits, ServerLimits), "limits", limits, "a ServerLimits, or None")
        files = certfile, keyfile, client_cafile, users_file, web_config_file
        options = files, {*allowed_hosts}, metrics_path, max_scrapes, limits
        if (handle := self._served(host, port)) is not None:
            if self._handles[handle] != options:
                raise OSError(errno.EADDRINUSE, f"{handle.url} is served already, with other options")
            return handle
        if certfile is None and (keyfile or client_cafile):
            raise ValueError("keyfile and client_cafile need a certfile")
        if web_config_file is None:
            users = _users(users_file)
            client_auth = ssl.CERT_NONE if client_cafile is None else ssl.CERT_REQUIRED
            tls = None
            if certfile is not None:
                config = TlsConfig(certfile, keyfile, client_cafile, client_auth)
                tls = watched_tls(lambda: config)
        elif certfile or users_file:
            raise ValueError("web_config_file goes without certfile and users_file: it names them itself")
        else:
            try:
                from otel_metrics.exporter import web_config
            except ImportError as error:
                raise ValueError(
                    "web_config_file needs its extra: pip install 'otel-metrics-bridge[web-config]'"
                ) from error
            require(is_path_or_none(web_config_file), "web_config_file", web_config_file, "a path, or None")
            with naming(f"web_config_file={str(web_config_file)!r}"):
                users, tls = web_config.read(Path(web_config_file))
        limits = limits or ServerLimits()
        serves = named_by(host, ("*",) if tls is not None else allowed_hosts)
        endpoint = self._endpoint(metrics_path, max_scrapes, users, limits.response_timeout, serves)
        with naming(f"host={host!r}, port={port}"):
            handle = ServerHandle(endpoint, host, port, tls=None if tls is None else tls.current, limits=limits)
        if tls is not None:
            self._files.add(tls)
        self._handles[handle] = options
        return handle

    def wsgi_app(
        self,
        *,
        metrics_path: str = "/metrics",
        max_scrapes: int = MAX_SCRAPES,
        users_file: str | os.PathLike[str] | None = None,
        response_timeout: float = RESPONSE_TIMEOUT,
    ) -> WSGIApp:
        """Return a WSGI application with the same answers, to be run by itself, or mounted at ``/metrics``, or elsewhere."""
        from otel_metrics.exporter.apps import wsgi_app

        return wsgi_app(self._endpoint(metrics_path, max_scrapes, _users(users_file), response_timeout))

    def asgi_app(
        self,
        *,
        metrics_path: str = "/metrics",
        max_scrapes: int = MAX_SCRAPES,
        users_file: str | os.PathLike[str] | None = None,
        response_timeout: float = RESPONSE_TIMEOUT,
    ) -> ASGIApp:
        """Return an ASGI application with the same answers, to be run by itself, or mounted at ``/metrics``, or elsewhere."""
        from otel_metrics.exporter.asgi import asgi_app  # loads asyncio

        return asgi_app(self._endpoint(metrics_path, max_scrapes, _users(users_file), response_timeout))

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:  # noqa: ARG002 (the SDK's signature)
        """Stop all servers, and take the metrics out of the registry. Called by the provider's ``shutdown``."""
        if self._streams is not None and self._registered is not None:
            self._streams.close()
        for handle in self._handles:
            handle.close()
        self._handles.clear()
        registered, self._registered = self._registered, None
        if registered is not None:
            # Somebody may have cleared the registry before.
            with contextlib.suppress(KeyError):
                self.registry.unregister(registered)

    def _served(self, host: str, port: int) -> ServerHandle | None:
        """Return the server at an address, if there is one. It may be waiting for it."""
        return next(
            (each for each in self._handles if (each.host, each.port) == (host, port) and not each.closed), None
        )

    def _scrape(self, form: Format) -> Iterator[bytes]:
        return self._exposition.scrape(form)

    def _endpoint(
        self,
        metrics_path: str,
        max_scrapes: int,
        users: Users | None,
        response_timeout: float,
        serves: Callable[[str], bool] = lambda _: True,
    ) -> Endpoint:
        if users is not None:
            self._files.add(users.file)
        return Endpoint(
            self._scrape,
            metrics_path=metrics_path,
            max_scrapes=max_scrapes,
            response_timeout=response_timeout,
            users=users,
            serves=serves,
            asked_at=self._asked_at,
            left=neighbours.leave,
        )

    def _asked_at(self, address: str) -> None:
        """Take note that this process answers there: others may, too, with other numbers."""
        if self._streams is None:
            neighbours.look(address)

    def _invalid_files(self) -> int | None:
        """Return how many files of the endpoints cannot be used as they are; None: there are no files."""
        files = list(self._files)
        return sum(not each.valid for each in files) if files else None

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect, for nobody: only a scrape exports."""
        with taking():
            return super().force_flush(timeout_millis)

    def _receive_metrics(self, metrics_data: MetricsData, *_: Any, **__: Any) -> None:
        # Only for the scrape that asked, in this thread.
        if getattr(self._received, "waiting", False):
            self._received.data = metrics_data

    def _collected(self) -> MetricsData | None:
        """Return what there is now: of this process, or of all that share a directory."""
        return self._collected_here() if self._streams is None else self._streams.data()

    def _collected_here(self) -> MetricsData | None:
        """Collect now, and return the result to this thread alone."""
        if self._registered is None:  # shut down
            return None
        self._received.waiting, self._received.data = True, None
        try:
            attach(self)
            with taking() as observed:
                self.collect(_AT_MOST)
            data: MetricsData | None = self._received.data
            if data is None:
                return None
            own = ScopeMetrics(_OWN, observed, "")
            return MetricsData(
                [replace(part, scope_metrics=[*part.scope_metrics, own]) for part in data.resource_metrics]
            )
        finally:
            self._received.waiting, self._received.data = False, None


def _chosen(filter_: Callable[[str], bool] | None, patterns: Collection[str]) -> Callable[[str], bool] | None:
    """Return what tells which attributes of the resource become labels; None for none."""
    if not patterns:
        return filter_

    def chosen(key: str) -> bool:
        return any(fnmatchcase(key, pattern) for pattern in patterns) or (filter_ is not None and filter_(key))

    return chosen


def _users(users_file: str | os.PathLike[str] | None) -> Users | None:
    require(is_path_or_none(users_file), "users_file", users_file, "a path, or None")
    if users_file is None:
        return None
    from otel_metrics.exporter.auth import Users

    with naming(f"users_file={str(users_file)!r}"):
        return Users(users_file)


def _are_names(value: object) -> bool:
    """Return whether a value is several strings; one is not, though it is a collection of its letters."""
    return isinstance(value, Collection) and not isinstance(value, str) and all(map(is_text, value))


def _supported(cardinality_limits: Mapping[Any, int] | None) -> dict[str, Any]:
    """Return those arguments of the SDK's reader that this version of it knows."""
    wanted = {"cardinality_limits": cardinality_limits} if cardinality_limits else {}
    known = inspect.signature(MetricReader.__init__).parameters
    return {name: value for name, value in wanted.items() if name in known}
