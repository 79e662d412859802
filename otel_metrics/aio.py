"""The documented getters for asyncio: awaited, they let the event loop go on; cancelled, they close their request.

    metrics = otel_metrics.aio.get_advanced_metrics()
    stats = await metrics.get_error_stats("search", hours=1)

Each runs in a thread of the loop's default executor and returns, or raises, what the getter of the same name does. Record calls
need no such form: they do not wait.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from otel_metrics import runtime
from otel_metrics.facade.advanced import AdvancedMetrics
from otel_metrics.facade.getters import BasicGetters
from otel_metrics.querying.client import Cancellation

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Concatenate, ParamSpec

    P = ParamSpec("P")

__all__ = ["AdvancedGetters", "MetricsGetters", "get_advanced_metrics", "get_metrics_collector"]

R = TypeVar("R")


class _Getters:
    """Awaitable getters of ``metrics``."""

    def __init__(self, metrics: BasicGetters) -> None:
        self._metrics = metrics

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._metrics!r})"


def _awaitable(
    getter: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[_Getters, P], Coroutine[Any, Any, R]]:
    """Return ``getter`` as a coroutine function with the same signature."""

    @wraps(getter)
    async def awaited(self: _Getters, /, *args: P.args, **kwargs: P.kwargs) -> R:
        cancellation = Cancellation()
        context = copy_context()
        context.run(Cancellation.current.set, cancellation)
        call = partial(getattr(self._metrics, getter.__name__), *args, **kwargs)
        try:
            result: R = await asyncio.get_running_loop().run_in_executor(None, context.run, call)
        except asyncio.CancelledError:
            cancellation.cancel()
            raise
        return result

    return awaited


class MetricsGetters(_Getters):
    """The getter of :class:`~otel_metrics.MetricsCollector`, awaitable."""

    get_metric_statistics = _awaitable(BasicGetters.get_metric_statistics)


class AdvancedGetters(_Getters):
    """The getters of :class:`~otel_metrics.AdvancedMetrics`, awaitable."""

    get_metric_statistics = _awaitable(AdvancedMetrics.get_metric_statistics)
    get_performance_metrics = _awaitable(AdvancedMetrics.get_performance_metrics)
    get_satisfaction_metrics = _awaitable(AdvancedMetrics.get_satisfaction_metrics)
    get_feature_usage_stats = _awaitable(AdvancedMetrics.get_feature_usage_stats)
    get_error_stats = _awaitable(AdvancedMetrics.get_error_stats)
    get_learning_metrics = _awaitable(AdvancedMetrics.get_learning_metrics)
    get_optimization_metrics = _awaitable(AdvancedMetrics.get_optimization_metrics)
    get_resource_metrics = _awaitable(AdvancedMetrics.get_resource_metrics)
    get_comprehensive_dashboard = _awaitable(AdvancedMetrics.get_comprehensive_dashboard)
    aggregate_daily_metrics = _awaitable(AdvancedMetrics.aggregate_daily_metrics)
    query = _awaitable(AdvancedMetrics.query)


def get_metrics_collector() -> MetricsGetters:
    """Return the getter of the process's basic collector."""
    return MetricsGetters(runtime.get_metrics_collector())


def get_advanced_metrics() -> AdvancedGetters:
    """Return the getters of the process's advanced metrics."""
    return AdvancedGetters(runtime.get_advanced_metrics())
