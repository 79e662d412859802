"""The documented ``MetricsCollector``: three record calls without units or categories, and one getter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.facade.binding import REJECTED, LiveBinding
from otel_metrics.facade.getters import BasicGetters
from otel_metrics.recording.events import Event
from otel_metrics.sdk.context import current_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_metrics.recording.buffers import SeriesBuffer


class MetricsCollector(BasicGetters):
    """Core metrics collection; see :class:`~otel_metrics.facade.advanced.AdvancedMetrics` for what all calls share.

    ``MetricsCollector()``, also of a subclass, uses the process's configuration, as that class does.

    The unit of a performance metric is what its name ends in: ``_ms``, ``_seconds``, ``_bytes``, ``_mb``, ``_percent``,
    ``_per_second``, …
    """

    def __init__(self) -> None:
        super().__init__()
        self._performance: dict[tuple[object, ...], SeriesBuffer] = self._cache()
        self._learning: dict[tuple[object, ...], SeriesBuffer] = self._cache()
        self._optimization: dict[tuple[object, ...], SeriesBuffer] = self._cache()

    # The three say the same thrice: a call in between would be a fifth of what they cost.

    def record_performance_metric(
        self, feature: str, metric_name: str, value: float, metadata: Mapping[str, object] | None = None
    ) -> None:
        """Record one measured ``value``, in the unit that ``metric_name`` ends in."""
        key = (feature, metric_name)
        try:
            buffer = self._performance[key]
        except Exception:  # not bound yet, or nothing that could be a key
            buffer = self._bind(self._performance, key, LiveBinding.general, REJECTED)
        if not (current_context() and self._offered(buffer, (value,))):
            buffer.append(value)
            if len(buffer) >= buffer.limit:
                self._fold(buffer)
        if metadata is not None and self._events is not None:
            self._events.emit(
                Event.PERFORMANCE, feature=feature, metric_name=metric_name, value=value, metadata=metadata
            )

    def record_learning_metric(
        self, feature: str, metric_name: str, value: float, metadata: Mapping[str, object] | None = None
    ) -> None:
        """Record one ``value`` about learning (accuracy, loss, …)."""
        key = (feature, metric_name)
        try:
            buffer = self._learning[key]
        except Exception:  # not bound yet, or nothing that could be a key
            buffer = self._bind(self._learning, key, LiveBinding.learning_value, REJECTED)
        if not (current_context() and self._offered(buffer, (value,))):
            buffer.append(value)
            if len(buffer) >= buffer.limit:
                self._fold(buffer)
        if metadata is not None and self._events is not None:
            self._events.emit(Event.LEARNING, feature=feature, metric_name=metric_name, value=value, metadata=metadata)

    def record_optimization_metric(
        self, feature: str, metric_name: str, value: float, metadata: Mapping[str, object] | None = None
    ) -> None:
        """Record one ``value`` about optimization (speed-up, saving, …)."""
        key = (feature, metric_name)
        try:
            buffer = self._optimization[key]
        except Exception:  # not bound yet, or nothing that could be a key
            buffer = self._bind(self._optimization, key, LiveBinding.optimization_value, REJECTED)
        if not (current_context() and self._offered(buffer, (value,))):
            buffer.append(value)
            if len(buffer) >= buffer.limit:
                self._fold(buffer)
        if metadata is not None and self._events is not None:
            self._events.emit(
                Event.OPTIMIZATION, feature=feature, metric_name=metric_name, value=value, metadata=metadata
            )
