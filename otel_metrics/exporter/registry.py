"""Our metrics for whoever reads the prometheus_client registry itself (``generate_latest``, another exposition, a test)."""

from __future__ import annotations

import threading
from itertools import accumulate
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.core import Metric as ClientMetric

from otel_metrics.exporter import exemplars
from otel_metrics.exporter.exponential import classic_counts
from otel_metrics.exporter.families import Claims, group
from otel_metrics.exporter.series import Series, label_set
from otel_metrics.exporter.text import as_float, bound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opentelemetry.sdk.metrics.export import MetricsData
    from prometheus_client import CollectorRegistry

    from otel_metrics.exporter.exponential import Ladders
    from otel_metrics.exporter.families import Collisions, MetricFamily, ReaderOptions


class Collected(ClientMetric):
    """What a collector yields to our own endpoint instead of families: the collected data, to be rendered as they are."""

    def __init__(self, data: MetricsData, options: ReaderOptions) -> None:
        super().__init__("otel_metrics_direct", "", "unknown")
        self.data = data
        self.options = options


class _Asking(threading.local):
    registry: CollectorRegistry | None = None
    """The one that is asked; a collector of it may well read another one, for its families."""


_asking = _Asking()


def registered(registry: CollectorRegistry) -> Iterator[ClientMetric]:
    """Collect from ``registry`` so that readers of ours yield :class:`Collected` instead of families."""
    metrics = iter(registry.collect())
    while True:
        before, _asking.registry = _asking.registry, registry
        try:
            metric = next(metrics, None)
        finally:
            _asking.registry = before
        if metric is None:
            return
        yield metric


class OtherRegistry:
    """A registry as one more collector of another one: asked, never touched. Readers on it are rendered as they are, too."""

    def __init__(self, registry: CollectorRegistry, other: CollectorRegistry) -> None:
        self._registry = registry
        self._other = other

    def collect(self) -> Iterable[ClientMetric]:
        """Return the families of the other registry."""
        return registered(self._other) if _asking.registry is self._registry else self._other.collect()


class RegistryCollector:
    """The collector that a reader registers."""

    def __init__(
        self,
        registry: CollectorRegistry,
        collect: Callable[[], MetricsData | None],
        options: ReaderOptions,
        ladders: Ladders,
        collisions: Collisions,
    ) -> None:
        self._registry = registry
        self._collect = collect
        self._options = options
        self._series: Series[tuple[tuple[str, str], ...]] = Series(
            lambda labels: tuple(labels.items()), ladders, collisions
        )
        self._collisions = collisions

    def describe(self) -> Iterable[ClientMetric]:
        """Return nothing: what there will be is not known when a registry asks for it, at registration."""
        return ()

    def collect(self) -> Iterator[ClientMetric]:
        """Yield the families, exponential histograms as classic ones."""
        data = self._collect()
        if data is None:
            return
        if _asking.registry is self._registry:
            yield Collected(data, self._options)
            return
        for family in group([(data, self._options)], Claims(self._collisions), self._collisions):
            yield self._family(family)
        self._series.prune()

    def _family(self, family: MetricFamily) -> ClientMetric:
        if family.type == "histogram":
            return self._histogram(family)
        if family.type == "info":
            info = InfoMetricFamily(family.name.removesuffix("_info"), family.help)
            for stream in family.streams:
                info.add_metric([], label_set(stream.points[0].attributes, (), family.strategy, family.escaping))
            return info
        counter = family.type == "counter" and family.name.endswith("_total")
        made: ClientMetric
        if counter:
            made = CounterMetricFamily(family.name, family.help, unit=family.unit)
        elif family.type == "gauge":
            made = GaugeMetricFamily(family.name, family.help, unit=family.unit)
        else:  # a counter that was to keep its name has no place in prometheus_client's
            made = UnknownMetricFamily(family.name, family.help)
        for point, labels in self._series.of(family):
            newest = exemplars.latest(point.exemplars or (), family.strategy, "allow-utf-8") if counter else None
            made.add_sample(family.name, dict(labels), as_float(point.value), exemplar=_exemplar(newest))
        return made

    def _histogram(self, family: MetricFamily) -> HistogramMetricFamily:
        made = HistogramMetricFamily(family.name, family.help, unit=family.unit)
        ladder: tuple[float, ...] | None = None
        for point, pairs in self._series.of(family):
            if isinstance(point, ExponentialHistogramDataPoint):
                ladder = self._series.ladder(family) if ladder is None else ladder
                bounds, counts = ladder, classic_counts(point, ladder)
            else:
                bounds, counts = point.explicit_bounds, point.bucket_counts
            labels = dict(pairs)
            found = exemplars.by_bucket(bounds, point.exemplars or (), family.strategy, "allow-utf-8")
            for index, (le, count) in enumerate(
                zip([*map(bound, map(float, bounds)), "+Inf"], accumulate(counts), strict=True)
            ):
                exemplar = _exemplar(found.get(index))
                made.add_sample(f"{family.name}_bucket", {**labels, "le": le}, count, exemplar=exemplar)
            if not bounds or bounds[0] >= 0:
                made.add_sample(f"{family.name}_count", labels, count)
                made.add_sample(f"{family.name}_sum", labels, as_float(point.sum))
        return made


def _exemplar(shown: exemplars.ShownExemplar | None) -> Exemplar | None:
    if shown is None:
        return None
    labels: Mapping[str, str] = shown.labels
    return Exemplar(dict(labels), shown.value, shown.time_unix_nano / 1e9)
