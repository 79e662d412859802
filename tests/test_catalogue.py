"""The catalogue holds together: no name collides, and what it says is what real servers accept."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from otel_metrics.catalogue import CATALOGUE, DAILY_TABLE, Kind
from otel_metrics.naming import series_name

if TYPE_CHECKING:
    from otel_metrics.catalogue import Metric

BASE_UNITS = {"", "1", "s", "By", "{operation}/s"}


def exposed(metric: Metric) -> list[str]:
    name = series_name(metric)
    return [f"{name}{suffix}" for suffix in ("_bucket", "_sum", "_count")] if metric.kind is Kind.HISTOGRAM else [name]


def test_no_two_rows_are_exposed_under_one_name() -> None:
    names = Counter(name for metric in CATALOGUE for name in exposed(metric))

    assert [name for name, times in names.items() if times > 1] == []


def test_the_exposed_names() -> None:
    """Typed by hand: dashboards, alerts and people's queries depend on these."""
    assert sorted(map(series_name, CATALOGUE)) == [
        "feature_daily_max",
        "feature_daily_min",
        "feature_daily_sum_of_squares",
        "feature_daily_sum_of_values",
        "feature_daily_values",
        "feature_errors_total",
        "feature_learning_accuracy",
        "feature_learning_confidence",
        "feature_learning_improvement",
        "feature_learning_samples_total",
        "feature_learning_value",
        "feature_optimization_after",
        "feature_optimization_before",
        "feature_optimization_change",
        "feature_optimization_user_impact",
        "feature_optimization_value",
        "feature_performance_duration_seconds",
        "feature_performance_rate_per_second",
        "feature_performance_ratio",
        "feature_performance_size_bytes",
        "feature_performance_unit_info",
        "feature_performance_value",
        "feature_satisfaction_doubtful_total",
        "feature_satisfaction_responses_total",
        "feature_satisfaction_score",
        "feature_usage_duration_seconds",
        "feature_usage_total",
        "otel_metrics_collisions",
        "otel_metrics_invalid_files",
        "otel_metrics_label_overflow_total",
        "otel_metrics_processes",
        "otel_metrics_rejected_total",
        "otel_metrics_scrape_duration_seconds",
        "otel_metrics_scrapes_total",
        "otel_metrics_series",
        "otel_metrics_shared_errors_total",
        "otel_metrics_unmerged",
        "resource_allocated_bytes",
        "resource_allocated_value",
        "resource_used_bytes",
        "resource_used_value",
        "resource_utilization_ratio",
    ]


def test_the_daily_table_is_recorded_under_the_documented_names() -> None:
    assert {name: column.series for name, column in DAILY_TABLE.items()} == {
        "avg_value": "feature_type_name:value:avg1d",
        "min_value": "feature_type_name:value:min1d",
        "max_value": "feature_type_name:value:max1d",
        "stddev": "feature_type_name:value:stddev1d",
        "count": "feature_type_name:value:count1d",
        "percentile_50": "feature_type_name:value:p50_1d",
        "percentile_95": "feature_type_name:value:p95_1d",
        "percentile_99": "feature_type_name:value:p99_1d",
    }


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_row_is_well_formed(metric: Metric) -> None:
    assert metric.unit in BASE_UNITS
    assert metric.description.endswith((".", "1", ")")), "a sentence: it is the HELP text"
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert all(isinstance(bound, float) for bound in metric.buckets), 'le="1.0" and le="1" would be two series'
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert all(label.cap > 0 for label in metric.labels)
