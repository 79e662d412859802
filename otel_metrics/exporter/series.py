"""The series of a family: its data points with their label sets, each rendered once and kept from scrape to scrape."""

from __future__ import annotations

import threading
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint

from otel_metrics.exporter.names import exposed_label, label_value
from otel_metrics.sdk.lazy_points import LazyPoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otel_metrics.exporter.exponential import Ladders
    from otel_metrics.exporter.families import Collisions, LabelPairs, MetricFamily, MetricStream
    from otel_metrics.exporter.names import Escaping, Strategy

S = TypeVar("S")

_KEEP: Final = 1024
"""Entries that a cache may always hold, however few series there are."""


def label_set(
    attributes: Mapping[str, Any],
    constant: LabelPairs,
    strategy: Strategy,
    escaping: Escaping,
    *,
    histogram: bool = False,
) -> dict[str, str]:
    """Return label names and values of a data point, sorted by name.

    Where several keys become one name, their values are joined by ``;``, in the order of the keys, as the specification wants it.
    Empty values are left out, as Prometheus does not tell them from absent ones. A histogram's own ``le`` gives way.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for key, value in (*constant, *attributes.items()):
        name = exposed_label(key, strategy, escaping)
        if histogram and name == "le":
            name = "exported_le"
        found.setdefault(name, []).append((str(key), label_value(value)))
    joined = ((name, ";".join(value for _, value in sorted(pairs, key=_key))) for name, pairs in sorted(found.items()))
    return {name: value for name, value in joined if value}


_key: Final = itemgetter(0)


def is_ambiguous(attributes: Mapping[str, Any], constant: LabelPairs, strategy: Strategy, escaping: Escaping) -> bool:
    """Return whether other attributes could have the same labels: a changed or shadowing key, or a value changed on the way."""
    return any(
        type(value) is not str
        or not value
        or "\\" in value
        or key in {"le", "exported_le"}
        or exposed_label(key, strategy, escaping) != key
        for key, value in attributes.items()
    ) or not {exposed_label(key, strategy, escaping) for key, _ in constant}.isdisjoint(attributes)


class LabelCache(Generic[S]):
    """The rendered labels of every series of one resource, scope and style.

    The SDK hands out the same attributes object for a series at every collection; its identity is the key, and the
    entry keeps the object alive, so that the identity stays its own.
    """

    __slots__ = ("_render", "ambiguous", "entries")

    def __init__(self, render: Callable[[Mapping[str, Any]], tuple[S, bool]]) -> None:
        """``render`` returns the labels, and whether another attribute set could have the same ones."""
        self._render = render
        self.entries: dict[int, tuple[Mapping[str, Any], S]] = {}
        self.ambiguous = False
        """Whether unequal attributes may have become equal labels, so that duplicates must be looked for."""

    def add(self, attributes: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], S]:
        """Render and keep the labels of ``attributes``; callers look into :attr:`entries` first."""
        if attributes is None:
            attributes = {}
        rendered, ambiguous = self._render(attributes)
        if ambiguous:
            self.ambiguous = True
        entry = self.entries[id(attributes)] = (attributes, rendered)
        return entry

    def prune(self, alive: int) -> None:
        """Forget everything once most entries belong to series that are gone; ``alive`` is the number of series seen."""
        if len(self.entries) > 2 * alive + _KEEP:
            self.entries.clear()
            self.ambiguous = False


class Series(Generic[S]):
    """Everything that is kept from scrape to scrape for one style of labels."""

    def __init__(self, render: Callable[[Mapping[str, str]], S], ladders: Ladders, collisions: Collisions) -> None:
        self._render = render
        self._ladders = ladders
        self._collisions = collisions
        self._caches: dict[Any, LabelCache[S]] = {}
        self._alive: dict[Any, int] = {}
        self._lock = threading.Lock()
        self.templates: dict[Any, Any] = {}
        """For renderers: whatever they prepare per family and set of bounds."""

    def of(self, family: MetricFamily) -> Iterator[tuple[Any, S]]:
        """Return the data points of ``family`` with their labels; later points with labels already seen are reported."""
        seen: set[S] | None = set() if len(family.streams) > 1 else None
        for stream in family.streams:
            cache = self._cache(family, stream)
            get, add = cache.entries.get, cache.add
            points = stream.points
            attributes = points.attributes() if isinstance(points, LazyPoints) else [p.attributes for p in points]
            labels = [(get(id(each)) or add(each))[1] for each in attributes]
            if seen is None and not cache.ambiguous:
                # An aggregation may have nothing to say, which the SDK would have left out.
                yield from (pair for pair in zip(points, labels, strict=True) if pair[0] is not None)
                continue
            seen = set() if seen is None else seen
            for point, label in zip(points, labels, strict=True):
                if point is None:
                    continue
                if label in seen:
                    self._collisions.report(family.name, "two data points have the same labels, the first one is kept")
                else:
                    seen.add(label)
                    yield point, label

    def ladder(self, family: MetricFamily) -> tuple[float, ...]:
        """Return the classic bounds for the exponential histograms of ``family``."""
        points = (point for stream in family.streams for point in stream.points)
        return self._ladders.bounds(
            family.name, (point for point in points if isinstance(point, ExponentialHistogramDataPoint))
        )

    def prune(self) -> None:
        """Forget the labels of series that are gone; called after every scrape."""
        with self._lock:
            alive, self._alive = self._alive, {}
            for key, cache in list(self._caches.items()):
                if key in alive:
                    cache.prune(alive[key])
                else:
                    del self._caches[key]
        if len(self.templates) > 10_000:
            self.templates.clear()

    def _cache(self, family: MetricFamily, stream: MetricStream) -> LabelCache[S]:
        constant, strategy, escaping = stream.shared, family.strategy, family.escaping
        histogram = family.type == "histogram"
        key = (strategy, escaping, histogram, tuple((name, str(value)) for name, value in constant))
        with self._lock:  # two scrapes may run at once
            self._alive[key] = self._alive.get(key, 0) + len(stream.points)
            cache = self._caches.get(key)
        if cache is None:

            def rendered(attributes: Mapping[str, Any]) -> tuple[S, bool]:
                labels = label_set(attributes, constant, strategy, escaping, histogram=histogram)
                return self._render(labels), is_ambiguous(attributes, constant, strategy, escaping)

            cache = LabelCache(rendered)
            with self._lock:
                cache = self._caches.setdefault(key, cache)
        return cache
