"""What is recorded and read back: the same for every source.

:func:`record` makes the calls, a :class:`Subject` reads what one source makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from otel_metrics.facade.advanced import AdvancedMetrics
    from otel_metrics.facade.basic import MetricsCollector
    from otel_metrics.runtime import Runtime

ODD = 'ödd "quoted" \\ back{slash} =~.* 日本'
"""A feature whose name is an accident in every query language."""


@dataclass
class Subject:
    """One source under test; ``percentiles`` is the relative error that its percentiles may have."""

    name: str
    runtime: Runtime
    percentiles: float

    def near(self, value: float) -> Any:
        """Whatever is as close to ``value`` as a percentile of this source must be."""
        return pytest.approx(value, rel=self.percentiles) if self.percentiles else pytest.approx(value, rel=1e-9)

    @property
    def advanced(self) -> AdvancedMetrics:
        return self.runtime.advanced

    @property
    def basic(self) -> MetricsCollector:
        return self.runtime.basic


def record(advanced: AdvancedMetrics, basic: MetricsCollector) -> None:
    """Make the calls whose results the suite knows."""
    for n in range(1, 1001):
        advanced.record_performance_metric("chat", "response_time", "reply", float(n), "milliseconds", "production")
    for n in range(1, 101):
        advanced.record_performance_metric("chat", "response_time", "search", n / 10, "seconds")
        advanced.record_performance_metric("chat", "memory_usage", "heap", n, "MB")
        advanced.record_performance_metric("chat", "cpu_usage", "worker", n, "percent")
        advanced.record_performance_metric("chat", "throughput", "answers", 60 * n, "per_minute")
        advanced.record_performance_metric("chat", "drift", "offset", n - 50.5, "widgets")
        basic.record_performance_metric("chat", "startup_ms", 10.0 * n)
        basic.record_learning_metric("chat", "gain", float(n))
        basic.record_optimization_metric("chat", "saved", -float(n))
    advanced.record_performance_metric("other", "response_time", "reply", 5.0, "ms")

    for score in (0.2, 0.6, 0.7, 0.9, 1.0):
        advanced.record_satisfaction("chat", "accuracy", score, scale="0-1")
    for stars in (1, 3, 5):
        advanced.record_satisfaction("chat", "speed", stars, scale="1-5")

    for n in range(10):
        advanced.record_feature_usage("chat", "ask", 100.0 + n, success=n >= 3, error_type="Timeout" if n < 3 else None)
    advanced.record_feature_usage("chat", "ask", None, success=None)
    advanced.record_feature_usage("chat", "close")

    advanced.record_error("chat", "Timeout", "critical", "m", recovery_attempted=True, recovery_successful=True)
    advanced.record_error("chat", "Timeout", "error", "m", recovery_attempted=True, impact_level="high")
    advanced.record_error("chat", "Parse", "warning", impact_level="low")
    advanced.record_error("other", "Parse", "info")

    advanced.record_learning_effectiveness("chat", "prediction", 0.9, 0.8, 100, -0.25)
    advanced.record_learning_effectiveness("chat", "prediction", 0.7, None, 50, 0.75)
    advanced.record_learning_effectiveness("chat", "classification", accuracy=0.5)

    advanced.record_optimization_impact("chat", "opt-1", "time", 40.0, 30.0, 0.8)
    advanced.record_optimization_impact("chat", "opt-2", "time", 40.0, 50.0)
    advanced.record_optimization_impact("chat", "opt-3", "loss", -2.0, -1.0, 0.4)

    advanced.record_resource_utilization("memory", "cache", 65.5, 1024.0, 670.0, "MB")
    advanced.record_resource_utilization("cpu", "pool", 90.0, 8, 7.2, "cores")
    advanced.record_resource_utilization("disk", "scratch", 10.0)

    advanced.record_error(ODD, ODD, "error")
    for _ in range(3):
        advanced.record_feature_usage(ODD, ODD, 1.5, success=True, user_context=ODD)
