"""What the documented getters return, as types: every key with its meaning, so that an editor completes it.

Averages, rates and percentiles of nothing are ``nan``, counts of nothing 0. JSON has no ``nan``: ``json.dumps(result)``, and a web
framework that is given a result, write ``null``, as ``items()`` has ``None`` in its place. For other ways out, such as a copy that is no
result any more, there is :func:`json_safe`. The page ``docs/results.md`` is written from this module.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypedDict

__all__ = [
    "ActionUsage",
    "CategoryStatistics",
    "ChangeStatistics",
    "DailyRow",
    "Dashboard",
    "DashboardSections",
    "DurationStatistics",
    "ErrorResult",
    "ErrorSection",
    "LearningOfType",
    "LearningResult",
    "LearningSection",
    "LearningStatistics",
    "MetricStatistics",
    "OptimizationOfCategory",
    "OptimizationResult",
    "OptimizationSection",
    "Outcomes",
    "PerformanceRow",
    "PerformanceSection",
    "ResourceResult",
    "ResourceSection",
    "ResourceState",
    "Result",
    "SatisfactionOfType",
    "SatisfactionResult",
    "SatisfactionSection",
    "ScoreStatistics",
    "Section",
    "SingleOptimization",
    "TimeWindow",
    "UnitStatistics",
    "UsageResult",
    "UsageSection",
    "ValueStatistics",
    "json_safe",
]

SourceName = Literal["local", "prometheus"]


class TimeWindow(TypedDict):
    """The time that a result really covers."""

    start: str
    """ISO 8601, UTC."""
    end: str
    """ISO 8601, UTC; not included."""


class _Warnings(TypedDict, total=False):
    warnings: list[str]
    """What the server remarked on its answer, and what is not in it. Only there if there is any."""


class Section(TypedDict):
    """What every section of a dashboard says of itself, and every result."""

    has_data: bool
    """Whether anything was recorded."""
    estimated: list[str]
    """Keys whose values are estimates. All others are exact."""


class Result(Section, _Warnings):
    """What every result says of itself."""

    source: SourceName
    """Who answered: this process, or all that share a directory with it (``local``), or the server."""
    window: TimeWindow
    """The time really covered."""
    scope: dict[str, str]
    """Labels of the series that were asked for, such as ``{"job": "shop"}``; the ``service_instance_id`` that all processes of
    a directory have together, where these answer. Empty: everything that the source knows."""


class ValueStatistics(TypedDict):
    """Statistics of values, in the unit that is named beside them."""

    count: int
    avg: float
    min: float
    max: float
    stddev: float
    """Of a sample (divided by n - 1); 0 for a single value."""
    p50: float
    p95: float
    p99: float


class MetricStatistics(ValueStatistics, Result):
    """The result of ``get_metric_statistics``."""

    feature: str
    metric_name: str
    unit: str
    """The unit that the values were recorded with."""


class PerformanceRow(ValueStatistics, Result):
    """One row of ``get_performance_metrics``: one metric."""

    feature: str
    metric_category: str
    metric_name: str
    value: float
    """The average, under the name of the old table's column."""
    unit: str
    """The unit that the values were recorded with."""
    context: str | None


class UnitStatistics(ValueStatistics):
    """Values of one unit."""

    unit: str
    """Milliseconds for times; otherwise the unit that the values were recorded with."""


class _OtherUnits(TypedDict, total=False):
    other_units: list[UnitStatistics]
    """Values of the category in units that have no common average with these. Only there if there are any."""


class CategoryStatistics(UnitStatistics, _OtherUnits):
    """Values of one metric category."""


class PerformanceSection(Section):
    """Performance in a dashboard."""

    categories: dict[str, CategoryStatistics]
    """By metric category."""


class ScoreStatistics(TypedDict):
    """Statistics of satisfaction scores, on a scale of 0 to 1."""

    avg_score: float
    min_score: float
    max_score: float
    stddev_score: float
    p50_score: float
    p95_score: float
    p99_score: float


class SatisfactionOfType(ScoreStatistics):
    """Satisfaction of one type."""

    total_responses: int
    satisfaction_rate: float
    """Share of scores at or above the threshold, 0 to 1."""
    doubtful_responses: int
    """Scores of exactly 1 that came before the scale of their type was known, counted as the worst; see ``satisfaction_scales``."""


class SatisfactionSection(SatisfactionOfType, Section):
    """Satisfaction in a dashboard."""

    satisfied_responses: int
    """Scores at or above the threshold."""
    by_type: dict[str, SatisfactionOfType]
    """By satisfaction type."""


class SatisfactionResult(SatisfactionSection, Result):
    """The result of ``get_satisfaction_metrics``."""

    feature: str | None
    satisfaction_type: str | None


class Outcomes(TypedDict):
    """How often something was used, and how that went."""

    total_usage: int
    successful: int
    failed: int
    success_rate: float
    """Share of successes among uses with a known outcome, 0 to 1."""


class DurationStatistics(TypedDict):
    """Statistics of durations in milliseconds."""

    avg_duration_ms: float
    min_duration_ms: float
    max_duration_ms: float
    stddev_duration_ms: float
    p50_duration_ms: float
    p95_duration_ms: float
    p99_duration_ms: float


class ActionUsage(Outcomes, DurationStatistics):
    """Usage of one action."""


class UsageSection(Outcomes, DurationStatistics, Section):
    """Usage in a dashboard."""

    by_action: dict[str, ActionUsage]
    """By action."""
    by_error_type: dict[str, int]
    """Uses that failed, by error type."""


class UsageResult(UsageSection, Result):
    """The result of ``get_feature_usage_stats``."""

    feature: str | None


class ErrorSection(Section):
    """Errors in a dashboard. ``has_data`` is true for a known zero."""

    total_errors: int
    recovery_attempts: int
    recovered: int
    recovery_rate: float
    """Share of recoveries that worked among those tried, 0 to 1."""
    by_severity: dict[str, int]
    by_type: dict[str, int]
    by_impact: dict[str, int]


class ErrorResult(ErrorSection, Result):
    """The result of ``get_error_stats``."""

    feature: str | None


class LearningStatistics(TypedDict):
    """Statistics of accuracy and confidence (0 to 1), and of the improvement rate (0 is no change)."""

    avg_accuracy: float
    min_accuracy: float
    max_accuracy: float
    stddev_accuracy: float
    p50_accuracy: float
    p95_accuracy: float
    p99_accuracy: float
    avg_confidence: float
    min_confidence: float
    max_confidence: float
    stddev_confidence: float
    p50_confidence: float
    p95_confidence: float
    p99_confidence: float
    avg_improvement_rate: float
    min_improvement_rate: float
    max_improvement_rate: float
    stddev_improvement_rate: float
    p50_improvement_rate: float
    p95_improvement_rate: float
    p99_improvement_rate: float


class LearningOfType(LearningStatistics):
    """How well things of one learning type were learnt."""

    total_samples: int
    """Samples that were learnt from."""


class LearningSection(LearningOfType, Section):
    """Learning in a dashboard."""

    by_type: dict[str, LearningOfType]
    """By learning type."""


class LearningResult(LearningSection, Result):
    """The result of ``get_learning_metrics``."""

    feature: str | None
    learning_type: str | None


class ChangeStatistics(TypedDict):
    """Statistics of changes (after / before) and of the impact on users."""

    avg_change: float
    min_change: float
    max_change: float
    stddev_change: float
    p50_change: float
    p95_change: float
    p99_change: float
    avg_user_impact: float
    min_user_impact: float
    max_user_impact: float
    stddev_user_impact: float
    p50_user_impact: float
    p95_user_impact: float
    p99_user_impact: float


class OptimizationOfCategory(ChangeStatistics):
    """What the optimizations of one impact category changed."""

    total_optimizations: int


class OptimizationSection(OptimizationOfCategory, Section):
    """Optimization in a dashboard."""

    by_category: dict[str, OptimizationOfCategory]
    """By impact category."""


class SingleOptimization(TypedDict):
    """One optimization."""

    feature: str
    optimization_id: str
    impact_category: str
    before_value: float
    after_value: float


class OptimizationResult(OptimizationSection, Result):
    """The result of ``get_optimization_metrics``."""

    feature: str | None
    impact_category: str | None
    optimizations: list[SingleOptimization]
    """At most ``limit`` of them."""


class ResourceState(TypedDict):
    """The last known state of one resource."""

    resource_type: str
    resource_name: str
    utilization_percent: float
    """0 to 100."""
    allocated: float
    used: float
    unit: str
    """Of ``allocated`` and ``used``."""


class ResourceSection(Section):
    """Resources in a dashboard: the 100 fullest."""

    resources: list[ResourceState]
    """The fullest first."""


class ResourceResult(ResourceSection, Result):
    """The result of ``get_resource_metrics``."""


class DashboardSections(TypedDict):
    """The parts of a dashboard."""

    performance: PerformanceSection
    satisfaction: SatisfactionSection
    usage: UsageSection
    errors: ErrorSection
    learning: LearningSection
    optimization: OptimizationSection
    resources: ResourceSection


class Dashboard(DashboardSections, Result):
    """The result of ``get_comprehensive_dashboard``. ``estimated`` names keys as (section).(key)."""

    feature: str | None
    hours: float
    generated_at: str
    """ISO 8601, UTC."""
    exact: bool
    """Whether nothing in it is an estimate."""


class DailyRow(_Warnings):
    """One row of ``aggregate_daily_metrics``: one metric on one UTC day, in the columns of the old ``daily_aggregates`` table."""

    date: str
    """YYYY-MM-DD."""
    feature: str
    metric_type: str
    metric_name: str
    avg_value: float
    min_value: float
    max_value: float
    stddev: float
    count: int
    percentile_50: float
    percentile_95: float
    percentile_99: float
    unit: str
    """The unit that the values were recorded with."""
    partial: bool
    """The day is not over, or not known in whole."""
    instances: int | None
    """Processes that recorded values of the row; None if that is not known."""
    complete: bool | None
    """Whether everything that these recorded on the day is in; None if that is not known."""
    reason: str
    """What may be missing, if it is not complete."""
    source: SourceName
    """Who answered: this process, or all that share a directory with it (``local``), or the server."""
    estimated: list[str]
    """Columns whose values are estimates."""


def json_safe(value: Any) -> Any:
    """Return a result with ``None`` where a number is not finite: JSON has no NaN, and ``nan`` means that there is no data.

    The rest is what ``json.dumps`` takes as it is. The result itself is not changed.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: json_safe(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(entry) for entry in value]
    return value
