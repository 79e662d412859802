"""What both documented classes share: bounded call caches, folding, events, and never breaking the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from otel_metrics.errors import InvalidArgumentError
from otel_metrics.recording.buffers import LIMIT
from otel_metrics.recording.labels import RejectedCallError, printable
from otel_metrics.sdk.context import current_context, sampled

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from otel_metrics.facade.binding import Binding
    from otel_metrics.querying.source import Source
    from otel_metrics.recording.buffers import CallCounter, SeriesBuffer
    from otel_metrics.recording.events import Events
    from otel_metrics.recording.flusher import Flusher
    from otel_metrics.recording.rejections import Rejections

CACHE_LIMIT: Final = 16_384
"""Argument combinations that one call remembers; beyond it the cache starts anew, the series stay."""

EXEMPLAR_LIMIT: Final = 50
"""Characters of an interaction id on an exemplar: OpenMetrics allows 128 for all its labels, the trace takes 61."""

Bound = TypeVar("Bound")
Cache = dict[Any, Any]


class Rejected:
    """Takes the place of a buffer for a call that was rejected (and counted): swallows what it is given."""

    turns = ()

    def append(self, value: object) -> None:
        """Swallow a value."""

    def __iadd__(self, row: object) -> Self:
        return self

    def __len__(self) -> int:
        return 0

    def hit(self) -> None:
        """Swallow a call."""

    def buffer_for(self, _score: object) -> Rejected:
        """Swallow a score."""
        return self


_REJECTED: Final[Any] = Rejected()


class Facade:
    """A documented class on top of whatever recorder and source are configured.

    Instances outlive :func:`otel_metrics.configure` and a fork: they are attached anew and forget what they had bound.
    """

    def __init__(self) -> None:
        self._caches: list[Cache] = []

    def _cache(self) -> Cache:
        """Return a new call cache, emptied whenever the facade is attached."""
        cache: Cache = {}
        self._caches.append(cache)
        return cache

    def attach(
        self,
        binding: Binding,
        flusher: Flusher,
        rejections: Rejections,
        events: Events,
        source: Source,
        clock: Callable[[], float],
    ) -> None:
        """Use these from now on."""
        self._binding = binding
        self._flusher = flusher
        self._rejections = rejections
        self._events = events
        self._source = source
        self._clock = clock
        self._fold: Callable[[SeriesBuffer], None] = flusher.fold
        self._limit = LIMIT
        for cache in self._caches:
            cache.clear()

    def _bind(self, cache: Cache, key: tuple[object, ...], make: Callable[..., Bound]) -> Bound:
        """Return what a method of the binding makes of ``key``, and remember it unless something of it was rejected.

        Never raises, except in strict mode; ``key`` may hold anything, also what cannot be hashed.
        """
        rejected, binding = self._rejections.total, self._binding
        bound: Bound = _REJECTED
        try:
            bound = getattr(binding, make.__name__)(*key)  # by name: a stand-in has the same methods
            if self._rejections.total == rejected:
                if len(cache) >= CACHE_LIMIT:
                    cache.clear()
                cache[key] = bound
            if binding is not self._binding:  # configured anew meanwhile: what was bound belongs to the past
                cache.pop(key, None)
                return self._bind(cache, key, make)
        except InvalidArgumentError:
            raise
        except RejectedCallError:
            pass  # it has been counted and logged
        except Exception:
            self._rejections.failed(make.__name__)
        return bound

    def _offered(self, buffer: SeriesBuffer, row: tuple[Any, ...], interaction_id: str | None = None) -> bool:
        """Record ``row`` at once if it belongs to a sampled span or an interaction: as an exemplar it keeps that id.

        Once a second and series: a scrape has no use for more, and recording at once costs what naive calls cost.
        """
        if buffer is _REJECTED:
            return True
        if buffer.offered == self._flusher.epoch:
            return False
        context = sampled()
        if context is None and interaction_id is None:
            return False
        buffer.admit(row)
        extra = None
        if isinstance(interaction_id, str):
            extra = {"interaction_id": printable(interaction_id[:EXEMPLAR_LIMIT])}
        self._flusher.record(buffer, row, context or current_context(), extra)
        return True

    def _offered_hit(self, call_counter: CallCounter) -> bool:
        """Count a call at once if it belongs to a sampled span, as :meth:`_offered` does."""
        if call_counter is _REJECTED:
            return True
        if call_counter.offered == self._flusher.epoch or (context := sampled()) is None:
            return False
        self._flusher.hit(call_counter, context)
        return True
