"""From what the SDK collected to metric families: exposed name, type, and the data points that belong there.

Renderers and the collector for prometheus_client all start from here, so that names, merging and collisions are
decided once, whatever the format.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    Gauge,
    Histogram,
    NumberDataPoint,
    Sum,
)

from otel_metrics.exporter.names import escaped_metric, exposed_label, translated_metric
from otel_metrics.naming import METER_NAME
from otel_metrics.sdk.lazy_points import LazyPoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.sdk.metrics.export import (
        Metric,
        MetricsData,
    )
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from otel_metrics.exporter.names import Escaping, MetricType, Strategy

_logger = logging.getLogger(__name__)

TARGET_INFO: Final = "target_info"

LabelPairs = Sequence[tuple[str, Any]]
"""Attribute keys, or what is said instead of one, and values; a key may be there twice."""

_SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    # OpenMetrics keeps _created free even where there is none; for counters see openmetrics_type().
    "histogram": ("", "_bucket", "_count", "_sum", "_created"),
    "gaugehistogram": ("", "_bucket", "_gcount", "_gsum"),
    "summary": ("", "_count", "_sum", "_created"),
}


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """How a reader names and labels things."""

    disable_target_info: bool = False
    prefix: str = ""
    scope_labels: bool = True
    resource_filter: Callable[[str], bool] | None = None
    strategy: Strategy = "UnderscoreEscapingWithSuffixes"


@dataclass(slots=True)
class MetricStream:
    """Data points of one OpenTelemetry metric, and the labels that all of them share."""

    points: Sequence[Any]
    shared: LabelPairs = ()
    scope: LabelPairs = ()
    """Labels of the instrumentation scope that are only there where its series could not be told from another scope's."""


@dataclass(slots=True)
class MetricFamily:
    """One metric family. A counter's ``name`` ends in ``_total``, unless the strategy keeps suffixes away."""

    name: str
    type: MetricType
    help: str
    unit: str
    strategy: Strategy
    escaping: Escaping
    streams: list[MetricStream] = field(default_factory=list)


RECENT: Final = 300.0
"""Seconds that a collision counts for: longer than scrape intervals, shorter than what the alert waits for."""


class Collisions:
    """What was left out because its name, or its labels, were taken. Logged once per name, counted as long as it lasts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, str], float] = {}
        self._said: set[tuple[str, str]] = set()

    @property
    def count(self) -> int:
        """Distinct collisions of the last five minutes."""
        since = self._clock() - RECENT
        return sum(seen >= since for seen in list(self._seen.values()))

    def report(self, name: str, problem: str) -> None:
        """Remember and log that (a part of) the metric exposed as ``name`` is left out."""
        self.warn(name, f"left out of the exposition: {problem}")
        self._seen[name, problem] = self._clock()

    def warn(self, name: str, problem: str) -> None:
        """Log, once, what is not as it should be with the metric exposed as ``name`` although no value is left out."""
        if (name, problem) not in self._said:
            self._said.add((name, problem))
            _logger.warning("%s: %s", name, problem)


class Claims:
    """The series names of one scrape: each belongs to one family."""

    def __init__(self, collisions: Collisions) -> None:
        self._owners: dict[str, str] = {}
        self._collisions = collisions

    def take(self, name: str, kind: str) -> bool:
        """Claim all series names of a family; false, and reported, if one of them is taken."""
        wanted = [name + suffix for suffix in _SUFFIXES.get(kind, ("",))]
        for series in wanted:
            if (owner := self._owners.get(series)) is not None:
                if (name, kind) != (TARGET_INFO, "info"):  # of which there is one, the first reader's
                    self._collisions.report(name, f"the {kind} would expose {series!r}, which belongs to {owner}")
                return False
        for series in wanted:
            self._owners[series] = f"the {kind} {name!r}"
        return True

    def reserve(self, names: Sequence[str]) -> bool:
        """Claim names that are no series, all or none; false if one of them is taken."""
        free = self._owners.keys().isdisjoint(names)
        if free:
            self._owners.update((name, "OpenMetrics") for name in names)
        return free


def type_of(metric: Metric) -> MetricType | None:
    """Return the Prometheus type of an OpenTelemetry metric; None if there is none."""
    data = metric.data
    if isinstance(data, Sum):
        # The specification: non-monotonic cumulative sums are gauges.
        return "counter" if data.is_monotonic else "gauge"
    if isinstance(data, Gauge):
        return "gauge"
    if isinstance(data, Histogram | ExponentialHistogram):
        return "histogram"
    return None  # types that a later SDK may bring


def group(
    collected: Iterable[tuple[MetricsData, ReaderOptions]],
    claims: Claims,
    collisions: Collisions,
    escaping: Escaping = "allow-utf-8",
) -> list[MetricFamily]:
    """Return the families of everything that was collected, in order; target information first.

    Names are escaped as the scraper wants them, before they are compared.
    """
    families: dict[str, MetricFamily] = {}
    for data, options in collected:
        for part in data.resource_metrics:
            if not options.disable_target_info and part.resource.attributes:
                _add_target_info(families, claims, part.resource, options, escaping)
            shared = _resource_labels(part.resource, options)
            for scoped in part.scope_metrics:
                scope = _scope_labels(scoped.scope, options, escaping)
                for metric in scoped.metrics:
                    stream = MetricStream(
                        _points(metric), *(((*shared, *scope),) if options.scope_labels else (shared, scope))
                    )
                    _add(families, claims, collisions, metric, stream, options, escaping)
    for family in families.values():
        if any(stream.scope != family.streams[0].scope for stream in family.streams):
            for stream in family.streams:
                stream.shared = (*stream.shared, *stream.scope)
    return list(families.values())


def _add(
    families: dict[str, MetricFamily],
    claims: Claims,
    collisions: Collisions,
    metric: Metric,
    stream: MetricStream,
    options: ReaderOptions,
    escaping: Escaping,
) -> None:
    type_ = type_of(metric)
    if type_ is None:
        collisions.report(metric.name, f"metrics of type {type(metric.data).__name__} cannot be exposed")
        return
    name = f"{options.prefix}_{metric.name}" if options.prefix else metric.name
    translated, unit = translated_metric(name, metric.unit or "", type_, options.strategy)
    exposed = escaped_metric(translated, escaping)
    family = families.get(exposed)
    if family is not None and family.type == type_:
        # The same name from two meters, or two names that became one: one family, series apart by their labels.
        family.streams.append(stream)
        if (metric.description or "", unit) != (family.help, family.unit):
            collisions.warn(exposed, "its descriptions, or units, differ from scope to scope, the first one is shown")
    elif claims.take(exposed, type_):
        families[exposed] = MetricFamily(
            exposed, type_, metric.description or "", unit, options.strategy, escaping, [stream]
        )


def _points(metric: Metric) -> Sequence[Any]:
    """Return the data points; without a start time where the instrument may be an asynchronous one.

    Such a stream began before anybody looked. The SDK's start time is that of the first collection, and a server that takes it
    for a zero counts everything up to then as new.
    """
    points: Sequence[Any] = metric.data.data_points
    if not isinstance(metric.data, Sum) or isinstance(points, LazyPoints):  # the SDK's synchronous instruments
        return points
    return [replace(point, start_time_unix_nano=0) for point in points]


def _add_target_info(
    families: dict[str, MetricFamily], claims: Claims, resource: Resource, options: ReaderOptions, escaping: Escaping
) -> None:
    """Add the target information; there is one, the first reader's."""
    if claims.take(TARGET_INFO, "info"):
        stream = MetricStream([NumberDataPoint(resource.attributes, 0, 0, 1)])
        families[TARGET_INFO] = MetricFamily(
            TARGET_INFO, "info", "Target metadata", "", options.strategy, escaping, [stream]
        )


def _resource_labels(resource: Resource, options: ReaderOptions) -> LabelPairs:
    chosen = options.resource_filter
    return [(key, value) for key, value in resource.attributes.items() if chosen(key)] if chosen else ()


def _scope_labels(scope: InstrumentationScope, options: ReaderOptions, escaping: Escaping) -> LabelPairs:
    if scope.name == METER_NAME:  # our own metrics are told apart by their names
        return ()
    named = {
        "otel_scope_name": scope.name or "",
        "otel_scope_version": scope.version or "",
        "otel_scope_schema_url": scope.schema_url or "",
    }
    taken = {exposed_label(name, options.strategy, escaping) for name in named}
    attributes = ((f"otel_scope_{key}", value) for key, value in (getattr(scope, "attributes", None) or {}).items())
    others = [(key, value) for key, value in attributes if exposed_label(key, options.strategy, escaping) not in taken]
    return [*named.items(), *others]
