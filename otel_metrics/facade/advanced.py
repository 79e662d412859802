"""The documented ``AdvancedMetrics``: seven record calls, what makes them by itself, and the getters that read them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.facade.binding import REJECTED, REJECTED_COUNT, REJECTED_SCORE, LiveBinding
from otel_metrics.facade.getters import AdvancedGetters
from otel_metrics.facade.tracking import Timed, Use
from otel_metrics.recording.events import Event
from otel_metrics.sdk.context import current_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_metrics.facade.scales import Scales
    from otel_metrics.recording.buffers import CallCounter, SeriesBuffer
    from otel_metrics.settings import Scale


class AdvancedMetrics(AdvancedGetters):
    """Detailed tracking of performance, satisfaction, usage, learning, optimization, resources and errors.

    Record calls return at once and never raise, except in strict mode (:class:`~otel_metrics.InvalidArgumentError`). What
    cannot be a label (feedback, error messages, interaction ids, ``metadata``) leaves as a log event, see ``docs/events.md``.

    ``AdvancedMetrics()``, also of a subclass, uses the process's configuration, as :func:`otel_metrics.get_advanced_metrics`
    does, and follows every later :func:`otel_metrics.configure`. All such objects record into the same series.
    """

    def __init__(self) -> None:
        super().__init__()
        self._performance: dict[tuple[object, ...], SeriesBuffer] = self._cache()
        self._satisfaction: dict[tuple[object, ...], Scales[SeriesBuffer]] = self._cache()
        self._usage: dict[tuple[object, ...], SeriesBuffer] = self._cache()
        self._learning: dict[tuple[object, ...], SeriesBuffer] = self._cache()
        self._optimization: dict[tuple[object, ...], SeriesBuffer] = self._cache()
        self._resource: dict[tuple[object, ...], SeriesBuffer] = self._cache()
        self._errors: dict[tuple[object, ...], CallCounter] = self._cache()

    def record_performance_metric(
        self,
        feature: str,
        metric_category: str,
        metric_name: str,
        value: float,
        unit: str | None = None,
        context: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Record one measured ``value`` in ``unit`` (``milliseconds``, ``MB``, ``percent``, …; unknown ones are kept as they are)."""
        key = (feature, metric_category, metric_name, unit, context)
        try:
            buffer = self._performance[key]
        except Exception:  # not bound yet, or nothing that could be a key
            buffer = self._bind(self._performance, key, LiveBinding.performance, REJECTED)
        if not (current_context() and self._offered(buffer, (value,))):
            buffer.append(value)
            if len(buffer) >= buffer.limit:
                self._fold(buffer)
        if metadata is not None and self._events is not None:
            self._events.emit(
                Event.PERFORMANCE,
                feature=feature,
                metric_category=metric_category,
                metric_name=metric_name,
                value=value,
                unit=unit,
                context=context,
                metadata=metadata,
            )

    def record_satisfaction(
        self,
        feature: str,
        satisfaction_type: str,
        score: float,
        feedback: str | None = None,
        interaction_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        *,
        scale: Scale | None = None,
    ) -> None:
        """Record a satisfaction ``score`` of 0 to 1, or of 1 to 5.

        A score above 1 is on 1 to 5, one below 1 on 0 to 1. Exactly 1 is ambiguous: ``scale``, the setting
        ``satisfaction_scales`` or else the scale last seen for this type decides. Before any of these it counts as the
        worst, and results count it in ``doubtful_responses``.
        """
        key = (feature, satisfaction_type, scale)
        try:
            scales = self._satisfaction[key]
        except Exception:  # not bound yet, or nothing that could be a key
            scales = self._bind(self._satisfaction, key, LiveBinding.satisfaction, REJECTED_SCORE)
        buffer = scales.buffer_for(score)
        if not ((interaction_id is not None or current_context()) and self._offered(buffer, (score,), interaction_id)):
            buffer.append(score)
            if len(buffer) >= buffer.limit:
                self._fold(buffer)
        if self._events is not None and (feedback is not None or interaction_id is not None or metadata is not None):
            self._events.emit(
                Event.SATISFACTION,
                feature=feature,
                satisfaction_type=satisfaction_type,
                score=score,
                feedback=feedback,
                interaction_id=interaction_id,
                metadata=metadata,
            )

    def record_feature_usage(
        self,
        feature: str,
        action: str,
        duration_ms: float | None = None,
        success: bool | None = True,
        error_type: str | None = None,
        user_context: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Record one use of an ``action``. A ``duration_ms`` or ``success`` of ``None`` is unknown, not zero."""
        key = (feature, action, success, error_type, user_context)
        try:
            buffer = self._usage[key]
        except Exception:  # not bound yet, or nothing that could be a key
            buffer = self._bind(self._usage, key, LiveBinding.usage, REJECTED)
        if not (current_context() and self._offered(buffer, (duration_ms,))):
            buffer.append(duration_ms)
            if len(buffer) >= buffer.limit:
                self._fold(buffer)
        if metadata is not None and self._events is not None:
            self._events.emit(
                Event.USAGE,
                feature=feature,
                action=action,
                duration_ms=duration_ms,
                success=success,
                error_type=error_type,
                user_context=user_context,
                metadata=metadata,
            )

    def record_learning_effectiveness(
        self,
        feature: str,
        learning_type: str,
        accuracy: float | None = None,
        confidence: float | None = None,
        sample_size: int | None = None,
        improvement_rate: float | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Record how well something was learnt: ``accuracy`` and ``confidence`` of 0 to 1, ``improvement_rate`` of -1 and above."""
        key = (feature, learning_type)
        try:
            buffer = self._learning[key]
        except Exception:  # not bound yet, or nothing that could be a key
            buffer = self._bind(self._learning, key, LiveBinding.learning, REJECTED)
        row = (accuracy, confidence, improvement_rate, sample_size)
        if not (current_context() and self._offered(buffer, row)):
            buffer += row
            if len(buffer) >= buffer.limit:
                self._fold(buffer)
        if metadata is not None and self._events is not None:
            self._events.emit(
                Event.LEARNING,
                feature=feature,
                learning_type=learning_type,
                accuracy=accuracy,
                confidence=confidence,
                sample_size=sample_size,
                improvement_rate=improvement_rate,
                metadata=metadata,
            )

    def record_optimization_impact(
        self,
        feature: str,
        optimization_id: str,
        impact_category: str,
        before_value: float,
        after_value: float,
        user_impact_score: float | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Record a value measured before and after an optimization, both in the same unit, and its impact on users, 0 to 1."""
        key = (feature, optimization_id, impact_category)
        try:
            buffer = self._optimization[key]
        except Exception:  # not bound yet, or nothing that could be a key
            buffer = self._bind(self._optimization, key, LiveBinding.optimization, REJECTED)
        row = (before_value, after_value, self._change(before_value, after_value), user_impact_score)
        if not (current_context() and self._offered(buffer, row)):
            buffer += row
            if len(buffer) >= buffer.limit:
                self._fold(buffer)
        if self._events is not None:  # always: the id may be past its cap
            self._events.emit(
                Event.OPTIMIZATION,
                feature=feature,
                optimization_id=optimization_id,
                impact_category=impact_category,
                before_value=before_value,
                after_value=after_value,
                user_impact_score=user_impact_score,
                metadata=metadata,
            )

    def record_resource_utilization(
        self,
        resource_type: str,
        resource_name: str,
        utilization_percent: float,
        allocated: float | None = None,
        used: float | None = None,
        unit: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Record the state of a resource: percent in use, and ``allocated`` and ``used`` in ``unit`` (``MB``, ``GiB``, ``cores``, …)."""
        key = (resource_type, resource_name, unit)
        try:
            buffer = self._resource[key]
        except Exception:  # not bound yet, or nothing that could be a key
            buffer = self._bind(self._resource, key, LiveBinding.resource, REJECTED)
        if buffer.same_gauges:
            buffer.same_gauges[0] = buffer
        row = (utilization_percent, allocated, used)
        if not (current_context() and self._offered(buffer, row)):
            buffer += row
            if len(buffer) >= buffer.limit:
                self._fold(buffer)
        if metadata is not None and self._events is not None:
            self._events.emit(
                Event.RESOURCE,
                resource_type=resource_type,
                resource_name=resource_name,
                utilization_percent=utilization_percent,
                allocated=allocated,
                used=used,
                unit=unit,
                metadata=metadata,
            )

    def record_error(
        self,
        feature: str,
        error_type: str,
        error_severity: str = "error",
        error_message: str | None = None,
        recovery_attempted: bool = False,
        recovery_successful: bool | None = False,
        impact_level: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Record one error.

        ``error_severity`` is ``critical``, ``error``, ``warning`` or ``info``; ``impact_level`` ``high``, ``medium``, ``low`` or ``None``.
        """
        key = (feature, error_type, error_severity, recovery_attempted, recovery_successful, impact_level)
        try:
            call_counter = self._errors[key]
        except Exception:  # not bound yet, or nothing that could be a key
            call_counter = self._bind(self._errors, key, LiveBinding.error, REJECTED_COUNT)
        if not (current_context() and self._offered_hit(call_counter)):
            call_counter.hit()
        if self._events is not None and (error_message is not None or metadata is not None):
            self._events.emit(
                Event.ERROR,
                severity=error_severity,
                feature=feature,
                error_type=error_type,
                error_severity=error_severity,
                error_message=error_message,
                recovery_attempted=recovery_attempted,
                recovery_successful=recovery_successful,
                impact_level=impact_level,
                metadata=metadata,
            )

    def record_exception(
        self,
        exception: BaseException,
        feature: str,
        error_severity: str = "error",
        recovery_attempted: bool = False,
        recovery_successful: bool | None = False,
        impact_level: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Record ``exception`` as one error: the name of its class as ``error_type``, its text as ``error_message``."""
        self.record_error(
            feature,
            type(exception).__name__,
            error_severity,
            None if self._events is None else _text(exception),
            recovery_attempted,
            recovery_successful,
            impact_level,
            metadata,
        )

    def track(
        self,
        feature: str,
        action: str,
        user_context: str | None = None,
        metadata: Mapping[str, object] | None = None,
        *,
        record_exception: bool = False,
    ) -> Use:
        """Record a block, or as a decorator every call of a function, as one use of ``action``, with its duration and outcome.

        An exception makes it a failure, with the name of its class as ``error_type``, and goes on to the caller. A block that was
        cancelled, or a generator that was closed before its end, has an unknown outcome. ``record_exception`` also records a
        failure's exception as an error.

            with advanced.track("search", "query") as use:
                found = index.find(text)
                use.success = bool(found)

            @advanced.track("search", "query")
            async def query(text: str) -> list[Document]: ...

        Functions, coroutine functions and generators of both kinds keep their signature. The time of a coroutine runs while it
        is awaited, that of a generator from the first item that is asked for until its end.

        Raises:
            RuntimeError: one object is entered twice: call ``track`` for each block.
        """
        exceptions = self.record_exception if record_exception else None
        return Use(self, self.record_feature_usage, exceptions, feature, action, user_context, metadata)

    def timed(
        self,
        feature: str,
        metric_category: str,
        metric_name: str,
        context: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Timed:
        """Record how long a block, or as a decorator every call of a function, takes: a performance metric in milliseconds.

        However it ends; with an outcome it is :meth:`track`, whose rules for functions hold here, too.

        Raises:
            RuntimeError: one object is entered twice: call ``timed`` for each block.
        """

        def record(duration_ms: float) -> None:
            self.record_performance_metric(
                feature, metric_category, metric_name, duration_ms, "milliseconds", context, metadata
            )

        return Timed(self, record)


def _text(exception: BaseException) -> str | None:
    try:
        return str(exception)
    except Exception:  # a foreign __str__
        return None
