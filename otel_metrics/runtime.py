"""Puts the parts together: settings -> provider and reader -> recorder -> the documented classes, and their lifetime."""

from __future__ import annotations

import atexit
import logging
import os
from contextlib import contextmanager
from functools import partial
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.resources import SERVICE_NAME
from prometheus_client import REGISTRY, CollectorRegistry

# What a child serves with: forked while another thread imports that, it would wait for it for ever.
import otel_metrics.exporter.apps
import otel_metrics.exporter.server
import otel_metrics.exporter.tls  # noqa: F401
from otel_metrics.errors import ConfigurationError
from otel_metrics.exporter import PrometheusReader
from otel_metrics.exporter.configured import answer_with
from otel_metrics.exporter.neighbours import neighbours
from otel_metrics.exporter.registry import OtherRegistry
from otel_metrics.exporter.shared import SharedReader
from otel_metrics.facade.advanced import AdvancedMetrics
from otel_metrics.facade.basic import MetricsCollector
from otel_metrics.facade.binding import PROCESS, Backend, Binding
from otel_metrics.forks import Part, notice_fork, renew_after_fork
from otel_metrics.querying.fallback_source import FallbackSource
from otel_metrics.querying.local_source import Local, LocalSource
from otel_metrics.recording.events import Events
from otel_metrics.recording.recorder import Recorder
from otel_metrics.recording.shared import SharedSinks
from otel_metrics.sdk.provider import INSTANCE, exemplar_filter, resource, views
from otel_metrics.settings import Settings
from otel_metrics.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opentelemetry.sdk.metrics.export import MetricReader, MetricsData
    from opentelemetry.sdk.resources import Resource
    from typing_extensions import Unpack

    from otel_metrics.catalogue import Metric
    from otel_metrics.exporter import ServerHandle
    from otel_metrics.exporter.apps import AppOptions, ASGIApp, Receive, Scope, Send, StartResponse, WSGIApp
    from otel_metrics.exporter.server import ServerOptions
    from otel_metrics.facade.binding import Facade
    from otel_metrics.multiprocess.totals import SharedTotals
    from otel_metrics.querying.prometheus_source import PrometheusSource
    from otel_metrics.querying.source import Source
    from otel_metrics.settings import SettingsFields

    Objects = tuple[MetricsCollector, AdvancedMetrics]

_log: Final = logging.getLogger("otel_metrics")


class Runtime:
    """Everything that one configuration made.

    Args:
        settings: the configuration.
        objects: what ``basic`` and ``advanced`` are; by default new ones.
        parent: that of the parent process, in a forked child.
    """

    def __init__(self, settings: Settings, objects: Objects | None = None, parent: Runtime | None = None) -> None:
        self.settings = settings
        # What settings can be wrong about comes first: a configuration that fails must not have taken the other's place.
        events = Events.of(settings)
        self.resource: Resource = resource(parent.resource if parent else None)
        # On a provider of the application's own the instance id is that provider's, which is not ours to know.
        server = _server(settings, self._instance_id if settings.meter_provider is None else None)
        if settings.otlp is not None:
            _need_otlp()
        self.totals: SharedTotals | None = parent.totals if parent else _shared_totals(settings, self.resource)
        self._reader: PrometheusReader | None = None
        self._servers: list[ServerHandle] = []
        self._private: MeterProvider | None = None
        self._shared_push: MetricReader | None = None
        exemplars = exemplar_filter()
        if settings.meter_provider is None:
            readers: list[MetricReader] = [] if settings.pushes_for_all else _push(settings)
            if self.totals is None:
                self._reader = _reader_of_process(settings)
                readers.insert(0, self._reader)
            # A forked child would inherit the SDK's own hook, and shut its parent's provider down, with all its locks.
            self._private = MeterProvider(readers, self.resource, exemplars, shutdown_on_exit=False, views=views())
        provider: MeterProvider = self._private or settings.meter_provider  # type: ignore[assignment]
        sinks = None
        if self.totals is not None:
            sinks = SharedSinks(self.totals, exemplars=not isinstance(exemplars, AlwaysOffExemplarFilter))
        self.recorder = Recorder(provider, settings, __version__, sinks)
        if self.totals is not None:
            # Its registry holds nothing else: what an application registered itself is of this process alone.
            self._reader = reader = SharedReader(
                self.totals,
                self.recorder.share,
                self.resource,
                settings.clock,
                registry=CollectorRegistry(),
                resource_constant_labels=(INSTANCE,),
                native_only=settings.native_only,
            )
            if settings.pushes_for_all:
                self._shared_push = _push_for_all(self.totals, self.recorder.share, reader.collected)
        self.source = _source(server, LocalSource(self._local), settings)
        self.backend = Backend(
            Binding(self.recorder),
            self.recorder.flusher,
            self.recorder.rejections,
            events,
            self.source,
            settings.clock,
            settings.timer,
        )
        self.basic, self.advanced = objects or (MetricsCollector(), AdvancedMetrics())
        self.basic.attach(self.backend)
        self.advanced.attach(self.backend)

    def _instance_id(self) -> str:
        return str(self.resource.attributes[INSTANCE]) if self.totals is None else self.totals.read().instance_id

    def _local(self) -> Local:
        """Return what a getter is answered from: all processes that share a directory, or this one."""
        shared = self.recorder.shared_store
        if shared is None:
            return Local(self.recorder.local_store, warnings=(_ONE_OF_MANY,) if neighbours else ())
        self.recorder.share({})
        if self.totals is not None:
            self.totals.ask()
        values = shared.values()
        if values is None:
            return Local(self.recorder.local_store, warnings=(_ONE_OF_MANY,))
        return Local(values, {_INSTANCE_LABEL: values.instance_id})

    @property
    def reader(self) -> PrometheusReader:
        """The reader of the private provider.

        Raises:
            ConfigurationError: the application brought its own provider, whose readers are its own.
        """
        if self._reader is None:
            raise ConfigurationError(
                "meter_provider is yours, so its readers serve its metrics: "
                'give it an otel_metrics.exporter.PrometheusReader(resource_constant_labels=["service.instance.id"]) '
                "and call that one's serve()"
            )
        return self._reader

    def serve(self, host: str | None = None, port: int | None = None, **options: Unpack[ServerOptions]) -> ServerHandle:
        """Serve the metrics over HTTP; see :func:`otel_metrics.serve`."""
        handle = self.reader.serve(
            host=self.settings.host if host is None else host,
            port=self.settings.port if port is None else port,
            **options,
        )
        if handle not in self._servers:
            self._servers.append(handle)
        return handle

    def served(self) -> list[str]:
        """Return the addresses that are served, or waited for."""
        return [server.url for server in self._servers if not server.closed]

    def close(self) -> None:
        """Stop serving and ticking. What was recorded but not collected has been handed to the readers."""
        for server in self._servers:
            server.close()
        if self._shared_push is not None:
            self._shared_push.shutdown()
        private, self._private = self._private, None  # once: it may be replaced and end the block that made it
        if private is not None:
            private.shutdown()  # a reader that pushes collects once more, so the recorder has to be there yet
        self.recorder.close()
        if self.totals is not None:
            self.reader.shutdown()
            shared = self.recorder.shared_store
            self.totals.close(*([shared.hand_over] if shared else []))


_INSTANCE_LABEL: Final = INSTANCE.replace(".", "_")

_ONE_OF_MANY: Final = (
    "answered from this process alone, which is one of several: ask a Prometheus server for all of them"
)


def _reader_of_process(settings: Settings) -> PrometheusReader:
    registry = CollectorRegistry()
    reader = PrometheusReader(registry=registry, resource_constant_labels=(INSTANCE,), native_only=settings.native_only)
    registry.register(OtherRegistry(registry, REGISTRY))  # after it: what the application registered itself comes last
    return reader


def _shared_totals(settings: Settings, resource: Resource) -> SharedTotals | None:
    """Return the totals that all processes of the application share, if they have a directory for them."""
    if settings.multiprocess_directory is None:
        return None
    try:
        from otel_metrics.multiprocess.totals import SharedTotals
    except ImportError as error:
        raise ConfigurationError("multiprocess_directory needs flock, which this system does not have") from error
    application = str(resource.attributes.get(SERVICE_NAME, ""))
    return SharedTotals(settings.multiprocess_directory, application, schema=__version__)


def _server(settings: Settings, instance: Callable[[], str] | None) -> PrometheusSource | None:
    """Return the server that answers getters, if it is not this process. ``instance`` tells whose job they are about."""
    if settings.prometheus_url is None:
        return None
    # Here, as most processes ask no server, and an HTTP client takes a fifth of what this package takes to load.
    from otel_metrics.querying.client import Access, PrometheusClient
    from otel_metrics.querying.prometheus_source import PrometheusSource
    from otel_metrics.querying.scope import Scope

    access = Access.of(settings)
    client = PrometheusClient(settings.prometheus_url, timeout=settings.prometheus_timeout, access=access)
    return PrometheusSource(client, settings.clock, Scope(settings.prometheus_matchers, instance))


def _source(server: PrometheusSource | None, local: LocalSource, settings: Settings) -> Source:
    """Return what answers getters."""
    if server is None:
        return local
    return FallbackSource(server, local) if settings.prometheus_unavailable == "local" else server


def _push(settings: Settings) -> list[MetricReader]:
    """Return the reader that pushes, if one is asked for."""
    if settings.otlp is None:
        return []
    variables = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    endpoint = next(filter(None, map(os.environ.get, variables)), "")
    if settings.otlp == "delta" and "/opentelemetry/" in f"{urlsplit(endpoint).path}/":
        raise ConfigurationError(
            "otlp='delta' is not allowed with VictoriaMetrics' own receiver, which would take every delta for a total; "
            "allowed: cumulative, or delta by way of a collector with the processor deltatocumulative"
        )
    from otel_metrics.exporter.push import otlp_reader

    return [otlp_reader(temporality=settings.otlp)]


def _push_for_all(
    totals: SharedTotals, share: Callable[[Mapping[Metric, float]], None], collect: Callable[[], MetricsData | None]
) -> MetricReader:
    """Return the reader that pushes what all processes have recorded, whenever it is this one's turn."""
    from otel_metrics.exporter.push import SharedPushReader

    return SharedPushReader(totals, partial(share, {}), collect)


def _need_otlp() -> None:
    try:
        import otel_metrics.exporter.push  # noqa: F401
    except ImportError as error:
        raise ConfigurationError("otlp needs its extra: pip install 'otel-metrics-bridge[otlp]'") from error


# ------------------------------------------------------------------------------------- the process's default runtime
_lock: Final = RLock()
_current: Runtime | None = None
_objects: Final[Objects] = (MetricsCollector(), AdvancedMetrics())
"""They outlive every runtime: the application may have fetched them at any time."""

_followers: Final[WeakValueDictionary[int, Facade]] = WeakValueDictionary()
"""Objects that the application made itself and that follow the process's configuration, as ``_objects`` do."""


def _following() -> Iterator[Facade]:
    yield from _objects
    for reference in _followers.valuerefs():  # a copy
        follower = reference()
        if follower is not None:
            yield follower


_left: Callable[[Runtime], None] | None = None
"""Told, inside a recording of a test, of each runtime that another one takes the place of; it is not closed yet."""

_inherited: SettingsFields = {}
"""What settings have inside a recording of a test unless they say otherwise."""


def _use(runtime: Runtime) -> Runtime:
    """Make ``runtime`` the process's."""
    global _current
    if _left is not None and _current is not None:
        _left(_current)
    _current = runtime
    for facade in _following():
        facade.attach(runtime.backend)
    return runtime


def _use_none() -> None:
    """Have the next call make the process's runtime anew."""
    global _current
    if _left is not None and _current is not None:
        _left(_current)
    _current = None
    for facade in _following():
        facade.detach()
    PROCESS.detached()


def _follow(facade: Facade) -> Backend:
    """Attach an object to the process's runtime, which is made at its first use, now and whenever there is another."""
    with _lock:
        backend = current().backend
        if facade not in _objects:
            _followers[id(facade)] = facade
        facade.attach(backend)
        return backend


PROCESS.attach = _follow


def _blank(kind: type[Facade]) -> Facade:
    """Return an object that is to become a copy of another one."""
    return kind.__new__(kind)


PROCESS.blank = _blank


def current() -> Runtime:
    """Return the process's runtime, made from the environment at its first use."""
    notice_fork()
    with _lock:
        return _current or _use(Runtime(Settings.from_env(**_inherited), _objects))


def configure(settings: Settings | None = None, **overrides: Unpack[SettingsFields]) -> Settings:
    """Configure the process's metrics: call it once at start-up, before anything is recorded or served.

    Takes a :class:`~otel_metrics.Settings`, or its fields as keywords on top of the environment's. Objects that
    ``get_metrics_collector()`` and ``get_advanced_metrics()`` returned earlier use the new configuration.

    Raises:
        ConfigurationError: a setting that cannot work, or both forms at once.
    """
    if settings is not None and overrides:
        raise ConfigurationError("pass a Settings object or its fields as keywords, not both")
    if settings is not None and not isinstance(settings, Settings):
        raise ConfigurationError(
            f"settings={settings!r} is not allowed; allowed: an otel_metrics.Settings, or keywords"
        )
    fields: SettingsFields = {**_inherited, **overrides}
    settings = settings or Settings.from_env(**fields)
    with _lock:
        old = _current
        _use(Runtime(settings, _objects))
    if old is not None:
        if old.recorder.labels.series() and settings.multiprocess_directory is None:
            _log.warning("configure(): what was recorded before is no longer exported; configure first, then record")
        for url in old.served():
            _log.warning("configure(): %s is closed, as it belongs to what was configured before; serve() again", url)
        old.close()
    return settings


def get_metrics_collector() -> MetricsCollector:
    """Return the process's basic collector. Needs no configuration."""
    return current().basic


def get_advanced_metrics() -> AdvancedMetrics:
    """Return the process's advanced metrics. Needs no configuration."""
    return current().advanced


def serve(host: str | None = None, port: int | None = None, **options: Unpack[ServerOptions]) -> ServerHandle:
    """Serve the metrics at ``http://host:port/metrics`` from daemon threads and return a handle (``url``, ``port``, ``close()``).

    Listens on loopback unless told otherwise; port 0 takes any free one. Where another process has the address, this one waits
    for it (``listening`` tells) and takes over; served again, it is the same handle. ``options`` are those of
    :meth:`otel_metrics.exporter.PrometheusReader.serve` (TLS, authentication, limits).

    Raises:
        ConfigurationError: with a ``meter_provider`` of the application's own.
        OSError: the address is none of this machine's, or is served with other options.
    """
    return current().serve(host, port, **options)


def asgi_app(*, metrics_path: str = "/metrics", **options: Unpack[AppOptions]) -> ASGIApp:
    """Return an ASGI application that answers scrapes, to mount in the application's own server.

    Its arguments are those of :meth:`otel_metrics.exporter.PrometheusReader.asgi_app`.
    """
    mounted = _Mounted(current().reader, lambda reader: reader.asgi_app(metrics_path=metrics_path, **options))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await mounted.app(_reader())(scope, receive, send)

    return app


def wsgi_app(*, metrics_path: str = "/metrics", **options: Unpack[AppOptions]) -> WSGIApp:
    """Return a WSGI application that answers scrapes, to mount in the application's own server; see :func:`asgi_app`."""
    mounted = _Mounted(current().reader, lambda reader: reader.wsgi_app(metrics_path=metrics_path, **options))

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        return mounted.app(_reader())(environ, start_response)

    return app


App = TypeVar("App")


class _Mounted(Generic[App]):
    """An application inside the web server of somebody else, made anew whenever the process has another reader.

    The server may have mounted it before it forked, or before the process was configured.

    Args:
        reader: the reader that the process has now.
        make: makes the application for a reader; it raises about options that cannot work.
    """

    def __init__(self, reader: PrometheusReader, make: Callable[[PrometheusReader], App]) -> None:
        self._make = make
        self._made = reader, make(reader)

    def app(self, reader: PrometheusReader | None) -> App:
        """Return the application for ``reader``; without one, that of the last."""
        known, app = self._made
        if reader is None or reader is known:
            return app
        app = self._make(reader)
        self._made = reader, app
        return app


def _reader() -> PrometheusReader | None:
    """Return the reader of the moment, without making one after ``shutdown()``."""
    notice_fork()
    return None if _current is None else _current.reader


def _private_reader() -> PrometheusReader | None:
    """Return the reader of the moment that has all metrics of the process; none where another reader has some of them."""
    if _current is None or _current.settings.meter_provider is not None:
        return None
    return _current.reader if _current.settings.multiprocess_directory is None else None


answer_with(_private_reader)


def shutdown() -> None:
    """Stop serving and release what ``configure()`` and ``serve()`` took.

    A call after that, also on an object fetched before, records with the environment's configuration, from nothing.
    """
    with _lock:
        old = _current
        _use_none()
    if old is not None:
        old.close()


def _at_exit() -> None:
    """Push, or share with the other processes, what is left."""
    if _current is not None:
        _current.close()


atexit.register(_at_exit)


@contextmanager
def replaced_by(settings: Settings, left: Callable[[Runtime], None]) -> Iterator[Runtime]:
    """Use another runtime inside the block, for the whole process; see :func:`otel_metrics.testing.recording`.

    ``left`` is called with every runtime that the block used, before it is closed: the application may configure, too.
    """
    global _left, _inherited
    outer = _left, _inherited
    with _lock:
        before, made = _current, Runtime(settings, _objects)
        _left = None  # the runtime from before goes on after the block
        _use(made)
        _left = left
        _inherited = {"strict": settings.strict, "clock": settings.clock, "timer": settings.timer}
    try:
        yield made
    finally:
        with _lock:
            last = _current
            if last is not None:
                left(last)
            _left = None
            if before is None:
                _use_none()
            else:
                _use(before)
            _left, _inherited = outer
        made.close()
        if last is not None:  # another one, if the application was configured inside the block
            last.close()


def _after_fork_in_child() -> None:
    """Start anew in a forked child: its parent's totals are not its own, and the parent's locks may be held by nobody."""
    global _lock, _left
    _lock = RLock()  # type: ignore[misc]
    _left = None  # a recording is the parent's
    REGISTRY._lock = Lock()  # noqa: SLF001  # every scrape of ours holds it for a moment; the fork may fall into that
    if _current is not None:
        _use(Runtime(_current.settings, _objects, _current))


renew_after_fork(Part.RUNTIME, _after_fork_in_child)
