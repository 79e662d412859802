"""THE table: every metric this package emits, written in this folder and nowhere else.

``features`` holds what record calls emit, ``daily`` the daily table, ``derived`` the rest; ``labels`` and ``buckets`` are what their rows are made of,
``schema`` says what a row is. Instruments, label limits, zero-seeding, recording rules, alerts, dashboards, the read API and
the documentation table are derived from the rows. To change a name, a bucket or a label, change it there and run
``otel-metrics render``.

Units are base units in UCUM notation (``s``, ``By``, ``1`` for ratios); :mod:`otel_metrics.naming` derives the exposed names.
"""

from __future__ import annotations

from typing import Final

from otel_metrics.catalogue.buckets import (
    ACCURACIES,
    BYTES,
    CHANGES,
    RATES,
    RATIOS,
    SCORES,
    SECONDS,
    VALUES,
)
from otel_metrics.catalogue.daily import (
    DAILY_ACCUMULATORS,
    DAILY_COUNT,
    DAILY_KEY,
    DAILY_MAX,
    DAILY_MIN,
    DAILY_SQL,
    DAILY_SQL_KEY,
    DAILY_SUM,
    DAILY_SUMSQ,
    DAILY_TABLE,
    Accumulator,
    DailyColumn,
    DayKey,
)
from otel_metrics.catalogue.derived import (
    COLLISIONS,
    LABEL_OVERFLOW,
    REJECTED,
    SCRAPE_DURATION,
    SCRAPES,
    SERIES,
)
from otel_metrics.catalogue.features import (
    ERRORS,
    LEARNING_ACCURACY,
    LEARNING_CONFIDENCE,
    LEARNING_IMPROVEMENT,
    LEARNING_SAMPLES,
    LEARNING_VALUE,
    OPTIMIZATION_AFTER,
    OPTIMIZATION_BEFORE,
    OPTIMIZATION_CHANGE,
    OPTIMIZATION_USER_IMPACT,
    OPTIMIZATION_VALUE,
    PERFORMANCE_DURATION,
    PERFORMANCE_RATE,
    PERFORMANCE_RATIO,
    PERFORMANCE_SIZE,
    PERFORMANCE_UNIT,
    PERFORMANCE_VALUE,
    RESOURCE_ALLOCATED,
    RESOURCE_ALLOCATED_VALUE,
    RESOURCE_USED,
    RESOURCE_USED_VALUE,
    RESOURCE_UTILIZATION,
    SATISFACTION_DOUBTFUL,
    SATISFACTION_RESPONSES,
    SATISFACTION_SCORE,
    USAGE,
    USAGE_DURATION,
)
from otel_metrics.catalogue.labels import (
    ACTION,
    CALL,
    CONTEXT,
    DAY,
    ERROR_TYPE,
    FEATURE,
    IMPACT_CATEGORY,
    IMPACT_LEVEL,
    LABEL,
    LEARNING_TYPE,
    METRIC_CATEGORY,
    METRIC_NAME,
    METRIC_TYPE,
    OPTIMIZATION_ID,
    OUTCOME,
    REASON,
    RECOVERY,
    RESOURCE_NAME,
    RESOURCE_TYPE,
    SATISFACTION_TYPE,
    SATISFIED,
    SEVERITY,
    SIGN,
    UNIT,
)
from otel_metrics.catalogue.schema import (
    OTHER,
    Daily,
    Family,
    Kind,
    Label,
    Metric,
)

CATALOGUE: Final[tuple[Metric, ...]] = tuple(row for row in list(globals().values()) if isinstance(row, Metric))
"""Every row."""

_TYPES: Final = frozenset(row.daily.metric_type for row in CATALOGUE if row.daily)


def category_label(category: str) -> str:
    """Return the label value for a performance metric's category.

    It is the metric's type in the daily table, so a category called like another type ("usage") must not be one.
    """
    return f"{category}_performance" if category in _TYPES else category


__all__ = [
    "ACCURACIES",
    "ACTION",
    "BYTES",
    "CALL",
    "CATALOGUE",
    "CHANGES",
    "COLLISIONS",
    "CONTEXT",
    "DAILY_ACCUMULATORS",
    "DAILY_COUNT",
    "DAILY_KEY",
    "DAILY_MAX",
    "DAILY_MIN",
    "DAILY_SQL",
    "DAILY_SQL_KEY",
    "DAILY_SUM",
    "DAILY_SUMSQ",
    "DAILY_TABLE",
    "DAY",
    "ERRORS",
    "ERROR_TYPE",
    "FEATURE",
    "IMPACT_CATEGORY",
    "IMPACT_LEVEL",
    "LABEL",
    "LABEL_OVERFLOW",
    "LEARNING_ACCURACY",
    "LEARNING_CONFIDENCE",
    "LEARNING_IMPROVEMENT",
    "LEARNING_SAMPLES",
    "LEARNING_TYPE",
    "LEARNING_VALUE",
    "METRIC_CATEGORY",
    "METRIC_NAME",
    "METRIC_TYPE",
    "OPTIMIZATION_AFTER",
    "OPTIMIZATION_BEFORE",
    "OPTIMIZATION_CHANGE",
    "OPTIMIZATION_ID",
    "OPTIMIZATION_USER_IMPACT",
    "OPTIMIZATION_VALUE",
    "OTHER",
    "OUTCOME",
    "PERFORMANCE_DURATION",
    "PERFORMANCE_RATE",
    "PERFORMANCE_RATIO",
    "PERFORMANCE_SIZE",
    "PERFORMANCE_UNIT",
    "PERFORMANCE_VALUE",
    "RATES",
    "RATIOS",
    "REASON",
    "RECOVERY",
    "REJECTED",
    "RESOURCE_ALLOCATED",
    "RESOURCE_ALLOCATED_VALUE",
    "RESOURCE_NAME",
    "RESOURCE_TYPE",
    "RESOURCE_USED",
    "RESOURCE_USED_VALUE",
    "RESOURCE_UTILIZATION",
    "SATISFACTION_DOUBTFUL",
    "SATISFACTION_RESPONSES",
    "SATISFACTION_SCORE",
    "SATISFACTION_TYPE",
    "SATISFIED",
    "SCORES",
    "SCRAPES",
    "SCRAPE_DURATION",
    "SECONDS",
    "SERIES",
    "SEVERITY",
    "SIGN",
    "UNIT",
    "USAGE",
    "USAGE_DURATION",
    "VALUES",
    "Accumulator",
    "Daily",
    "DailyColumn",
    "DayKey",
    "Family",
    "Kind",
    "Label",
    "Metric",
    "category_label",
]
