"""The series of a family: its data points with their label sets, each rendered once and kept from scrape to scrape."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint

from otel_metrics.exporter.names import exposed_label, label_value
from otel_metrics.sdk.lazy_points import LazyPoints, numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_metrics.exporter.exponential import Ladders
    from otel_metrics.exporter.families import Collisions, LabelPairs, MetricFamily, MetricStream
    from otel_metrics.exporter.names import Escaping, Strategy
    from otel_metrics.sdk.lazy_points import Numbers

S = TypeVar("S")

_KEEP: Final = 1024
"""Labels that a cache may always hold, however few series there are."""


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
    pairs = (*constant, *attributes.items())
    values = [label_value(value) for _, value in pairs]
    names = _names(tuple(key for key, _ in pairs), strategy, escaping, histogram=histogram)
    joined = ((name, ";".join(map(values.__getitem__, places))) for name, places in names)
    return {name: value for name, value in joined if value}


@lru_cache(maxsize=4096)
def _names(
    keys: tuple[object, ...], strategy: Strategy, escaping: Escaping, *, histogram: bool
) -> list[tuple[str, list[int]]]:
    """Return the names that ``keys`` become, sorted, each with the places of its keys, which are sorted, too."""
    found: dict[str, list[int]] = {}
    for place in sorted(range(len(keys)), key=lambda place: str(keys[place])):
        name = exposed_label(keys[place], strategy, escaping)
        found.setdefault("exported_le" if histogram and name == "le" else name, []).append(place)
    return sorted(found.items())


def is_ambiguous(attributes: Mapping[str, Any], constant: LabelPairs, strategy: Strategy, escaping: Escaping) -> bool:
    """Return whether other attributes could have the same labels: a changed or shadowing key, or a value changed on the way."""
    if any(type(value) is not str or not value or "\\" in value for value in attributes.values()):
        return True
    return _are_ambiguous(tuple(attributes), tuple(key for key, _ in constant), strategy, escaping)


@lru_cache(maxsize=4096)
def _are_ambiguous(keys: tuple[str, ...], constant: tuple[str, ...], strategy: Strategy, escaping: Escaping) -> bool:
    if any(key in {"le", "exported_le"} or exposed_label(key, strategy, escaping) != key for key in keys):
        return True
    return not {exposed_label(key, strategy, escaping) for key in constant}.isdisjoint(keys)


class LabelCache(Generic[S]):
    """The rendered labels of every series of one resource, scope and style.

    The SDK hands out the same attributes object for a series at every collection; its identity is the key, and the
    object is kept alive, so that the identity stays its own.
    """

    __slots__ = ("_attributes", "_render", "ambiguous", "entries")

    def __init__(self, render: Callable[[Mapping[str, Any]], tuple[S, bool]]) -> None:
        """``render`` returns the labels, and whether another attribute set could have the same ones."""
        self._render = render
        self.entries: dict[int, S] = {}
        self._attributes: list[Mapping[str, Any] | None] = []
        self.ambiguous = False
        """Whether unequal attributes may have become equal labels, so that duplicates must be looked for."""

    def of(self, attributes: Sequence[Mapping[str, Any] | None]) -> list[S]:
        """Return the labels of each, rendered at the first time."""
        try:
            return list(map(self.entries.__getitem__, map(id, attributes)))
        except KeyError:
            return list(map(self._one, attributes))

    def _one(self, attributes: Mapping[str, Any] | None) -> S:
        found = self.entries.get(id(attributes))
        if found is None:
            found, ambiguous = self._render(attributes or {})
            self.ambiguous = self.ambiguous or ambiguous
            self._attributes.append(attributes)
            self.entries[id(attributes)] = found
        return found


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
        for points, labels, seen in self._labelled(family):
            # An aggregation may have nothing to say, which the SDK would have left out.
            pairs = (pair for pair in zip(points, labels, strict=True) if pair[0] is not None)
            yield from pairs if seen is None else (pair for pair in pairs if self._is_first(family, pair[1], seen))

    def numbers(self, family: MetricFamily) -> Iterator[Numbers]:
        """Return the same of a counter or gauge, in blocks."""
        for points, labels, seen in self._labelled(family):
            for block in numbers_of(points, labels):
                if seen is None:
                    yield block
                else:
                    first = [self._is_first(family, own, seen) for own in block.labels]
                    yield block.only(first)

    def _labelled(self, family: MetricFamily) -> Iterator[tuple[Sequence[Any], list[S], set[S] | None]]:
        """Yield points and their labels; and labels seen so far, where some may be there twice."""
        seen: set[S] | None = set() if len(family.streams) > 1 else None
        for stream in family.streams:
            cache = self._cache(family, stream)
            points = stream.points
            labels = cache.of(points.attributes() if isinstance(points, LazyPoints) else [p.attributes for p in points])
            if seen is None and cache.ambiguous:
                seen = set()
            yield points, labels, seen

    def _is_first(self, family: MetricFamily, labels: S, seen: set[S]) -> bool:
        if labels in seen:
            self._collisions.report(family.name, "two data points have the same labels, the first one is kept")
            return False
        seen.add(labels)
        return True

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
                # Also where most belong to series that are gone. A new one is made then: another scrape may still read this one.
                if key not in alive or len(cache.entries) > 2 * alive[key] + _KEEP:
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
