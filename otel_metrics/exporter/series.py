"""The series of a family: data points with their rendered labels, each label set once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic

from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint

from otel_metrics.exporter.labels import LabelCache, S, is_ambiguous, label_set
from otel_metrics.sdk.lazy_points import LazyPoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otel_metrics.exporter.exponential import Ladders
    from otel_metrics.exporter.families import Block, Collisions, Family


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

    def of(self, family: Family) -> Iterator[tuple[Any, S]]:
        """Return the data points of ``family`` with their labels; later points with labels already seen are reported."""
        seen: set[S] | None = set() if len(family.blocks) > 1 else None
        for block in family.blocks:
            cache = self._cache(family, block)
            get, add = cache.entries.get, cache.add
            points = block.points
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

    def ladder(self, family: Family) -> tuple[float, ...]:
        """Return the classic bounds for the exponential histograms of ``family``."""
        points = (point for block in family.blocks for point in block.points)
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

    def _cache(self, family: Family, block: Block) -> LabelCache[S]:
        constant, strategy, escaping = block.constant, family.strategy, family.escaping
        histogram = family.kind == "histogram"
        key = (strategy, escaping, histogram, tuple((name, str(value)) for name, value in constant.items()))
        with self._lock:  # two scrapes may run at once
            self._alive[key] = self._alive.get(key, 0) + len(block.points)
            cache = self._caches.get(key)
        if cache is None:

            def rendered(attributes: Mapping[str, Any]) -> tuple[S, bool]:
                labels = label_set(attributes, constant, strategy, escaping, histogram=histogram)
                return self._render(labels), is_ambiguous(attributes, constant, strategy, escaping)

            cache = LabelCache(rendered)
            with self._lock:
                cache = self._caches.setdefault(key, cache)
        return cache
