"""The documented getters: each asks a plan of the source and shapes the answer; nothing else happens here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.facade.binding import Facade
from otel_metrics.facade.frames import frame, require_pandas
from otel_metrics.querying import plans, shaping
from otel_metrics.querying.source import Period, parse_day

if TYPE_CHECKING:
    import datetime as dt

    import pandas as pd

    from otel_metrics import results as r
    from otel_metrics.querying.plans import Plan
    from otel_metrics.querying.source import Answer


class BasicGetters(Facade):
    """What the basic collector reads back."""

    def get_metric_statistics(self, feature: str, metric_name: str, hours: float = 24) -> r.MetricStatistics:
        """Return count, avg, min, max, stddev, p50, p95 and p99 of one metric, in the unit it was recorded with.

        Of performance, learning and optimization metrics of one name the first that has values is reported; ``warnings`` tells of others.
        """
        answer = self._ask(plans.metric_statistics(feature, metric_name), hours, "get_metric_statistics")
        return shaping.metric_statistics(answer, feature, metric_name)

    def _ask(self, plan: Plan, hours: float, call: str) -> Answer:
        period = Period.last(hours, self._now(), call)
        return self._source.fetch(plan, period)

    def _now(self) -> float:
        """Return the time, once everything recorded before has a time that is earlier."""
        self._flusher.drain()
        return self._clock()


class AdvancedGetters(BasicGetters):
    """What the advanced metrics read back.

    All take a positive number of ``hours``; ``feature=None`` means all features. Every result tells its ``source``
    (``local`` or ``prometheus``), the ``window`` really covered, whether it ``has_data`` and which keys are ``estimated``.
    With no data counts are 0, averages and rates ``nan``.

    Raises:
        InvalidArgumentError: ``hours`` or ``date`` that cannot be.
        QueryError: the configured Prometheus did not answer the question.
    """

    def get_performance_metrics(
        self, feature: str | None = None, metric_category: str | None = None, hours: float = 24, limit: int = 1000
    ) -> list[r.PerformanceRow]:
        """Return one row per metric, statistics in the unit recorded with, most recorded first, at most ``limit``."""
        answer = self._ask(plans.performance(feature, metric_category, limit), hours, "get_performance_metrics")
        return shaping.performance(answer, limit)

    def get_satisfaction_metrics(
        self, feature: str | None = None, satisfaction_type: str | None = None, hours: float = 24
    ) -> r.SatisfactionResult:
        """Return ``avg_score`` and ``satisfaction_rate``, both 0 to 1, and their parts by satisfaction type."""
        answer = self._ask(plans.satisfaction(feature, satisfaction_type), hours, "get_satisfaction_metrics")
        return shaping.satisfaction(answer, feature, satisfaction_type)

    def get_feature_usage_stats(self, feature: str | None = None, hours: float = 24) -> r.UsageResult:
        """Return ``total_usage``, ``success_rate`` (of those with a known outcome), ``avg_duration_ms`` and the parts by action."""
        return shaping.usage(self._ask(plans.usage(feature), hours, "get_feature_usage_stats"), feature)

    def get_error_stats(self, feature: str | None = None, hours: float = 24) -> r.ErrorResult:
        """Return ``total_errors``, ``recovery_rate`` (of recoveries tried) and the parts by type, severity and impact."""
        return shaping.errors(self._ask(plans.errors(feature), hours, "get_error_stats"), feature)

    def get_learning_metrics(
        self, feature: str | None = None, learning_type: str | None = None, hours: float = 24
    ) -> r.LearningResult:
        """Return average accuracy, confidence and improvement rate, samples learnt from, and the parts by learning type."""
        answer = self._ask(plans.learning(feature, learning_type), hours, "get_learning_metrics")
        return shaping.learning(answer, feature, learning_type)

    def get_optimization_metrics(
        self, feature: str | None = None, impact_category: str | None = None, hours: float = 24, limit: int = 1000
    ) -> r.OptimizationResult:
        """Return the average change (after / before) and user impact by category, and at most ``limit`` single optimizations."""
        answer = self._ask(plans.optimization(feature, impact_category, limit), hours, "get_optimization_metrics")
        return shaping.optimization(answer, feature, impact_category, limit)

    def get_resource_metrics(
        self, resource_type: str | None = None, resource_name: str | None = None, hours: float = 24
    ) -> r.ResourceResult:
        """Return the last known state of every resource: percent in use, allocated and used."""
        return shaping.resources(
            self._ask(plans.resources(resource_type, resource_name), hours, "get_resource_metrics")
        )

    def get_comprehensive_dashboard(self, feature: str | None = None, hours: float = 24) -> r.Dashboard:
        """Return everything at once: performance by category, satisfaction, usage, errors, learning, optimization, resources."""
        return shaping.dashboard(
            self._ask(plans.dashboard(feature), hours, "get_comprehensive_dashboard"), feature, hours
        )

    def aggregate_daily_metrics(self, date: str | dt.date | None = None) -> list[r.DailyRow]:
        """Return the rows of a UTC day (``"2025-12-14"``; today by default) in the columns of the old ``daily_aggregates`` table.

        A ``datetime`` with a time zone means the UTC day that it lies in, one without the day that it shows.
        Values are in the unit they were recorded with. Nothing has to be called nightly: Prometheus records these rows by
        itself. ``partial`` marks a day that is not over, or not wholly known.
        """
        return shaping.daily(self._source.day(parse_day(date, self._now())))

    def query(
        self, question: str, hours: float = 24, *, feature: str | None = None, step: float | None = None
    ) -> pd.DataFrame:
        """Return what the configured Prometheus answers, as a pandas frame with ``time`` (UTC), the labels, and ``value``.

        ``question`` is the name of one in ``docs/cookbook.md``, which is about the series that getters count, or PromQL, which is
        sent as it is. ``step`` (seconds) asks for curves: of a question about a trend, whose points cover one step each, or of PromQL.

        Raises:
            ConfigurationError: there is no pandas (extra ``pandas``), or no server is configured.
            BadQueryError: the PromQL is wrong, or gives histograms or text.
        """
        require_pandas()
        from otel_metrics.querying.questions import inquiry_of  # with all of PromQL and the cookbook

        return frame(self._source.ask(inquiry_of(question, hours, self._now(), feature=feature, step=step)))
