"""The documented ``MetricsCollector``: three record calls without units or categories, and one getter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_metrics.facade.getters import BasicGetters
from otel_metrics.recording.bulk import current_context
from otel_metrics.recording.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_metrics.facade.base import Cache


class MetricsCollector(BasicGetters):
    """Core metrics collection; see :class:`~otel_metrics.facade.advanced.AdvancedMetrics` for what all calls share.

    The unit of a performance metric is what its name ends in: ``_ms``, ``_seconds``, ``_bytes``, ``_mb``, ``_percent``,
    ``_per_second``, …
    """

    def __init__(self) -> None:
        super().__init__()
        self._performance = self._cache()
        self._learning = self._cache()
        self._optimization = self._cache()

    def record_performance_metric(
        self, feature: str, metric_name: str, value: float, metadata: Mapping[str, object] | None = None
    ) -> None:
        """Record one measured ``value``, in the unit that ``metric_name`` ends in."""
        self._record(self._performance, self._binding.general, Event.PERFORMANCE, feature, metric_name, value, metadata)

    def record_learning_metric(
        self, feature: str, metric_name: str, value: float, metadata: Mapping[str, object] | None = None
    ) -> None:
        """Record one ``value`` about learning (accuracy, loss, …)."""
        self._record(
            self._learning, self._binding.learning_value, Event.LEARNING, feature, metric_name, value, metadata
        )

    def record_optimization_metric(
        self, feature: str, metric_name: str, value: float, metadata: Mapping[str, object] | None = None
    ) -> None:
        """Record one ``value`` about optimization (speed-up, saving, …)."""
        self._record(
            self._optimization,
            self._binding.optimization_value,
            Event.OPTIMIZATION,
            feature,
            metric_name,
            value,
            metadata,
        )

    def _record(
        self,
        cache: Cache,
        bind: Callable[..., Any],
        event: Event,
        feature: str,
        metric_name: str,
        value: float,
        metadata: Mapping[str, object] | None,
    ) -> None:
        key = (feature, metric_name)
        try:
            cell = cache[key]
        except Exception:  # not bound yet, or nothing that could be a key
            cell = self._bind(cache, key, bind)
        if not (current_context() and self._offered(cell, (value,))):
            cell.append(value)
            if len(cell) >= self._limit:
                self._fold(cell)
        if metadata is not None:
            self._events.emit(event, feature=feature, metric_name=metric_name, value=value, metadata=metadata)
