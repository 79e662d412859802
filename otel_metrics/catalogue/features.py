"""What record calls emit: one row per metric."""

from __future__ import annotations

from otel_metrics.catalogue.buckets import ACCURACIES, BYTES, CHANGES, RATES, RATIOS, SCORES, SECONDS, VALUES
from otel_metrics.catalogue.labels import (
    ACTION,
    CONTEXT,
    ERROR_TYPE,
    FEATURE,
    IMPACT_CATEGORY,
    IMPACT_LEVEL,
    LEARNING_TYPE,
    METRIC_CATEGORY,
    METRIC_NAME,
    OPTIMIZATION_ID,
    OUTCOME,
    RECOVERY,
    RESOURCE_NAME,
    RESOURCE_TYPE,
    SATISFACTION_TYPE,
    SATISFIED,
    SEVERITY,
    SIGN,
    UNIT,
)
from otel_metrics.catalogue.schema import Daily, Family, Kind, Metric

_PERFORMANCE = (FEATURE, METRIC_CATEGORY, METRIC_NAME, CONTEXT)

PERFORMANCE_DURATION = Metric(
    "feature.performance.duration",
    Kind.HISTOGRAM,
    Family.PERFORMANCE,
    "Performance values recorded in units of time.",
    "s",
    _PERFORMANCE,
    SECONDS,
    Daily("metric_name", type_label="metric_category", unit="seconds"),
)
PERFORMANCE_SIZE = Metric(
    "feature.performance.size",
    Kind.HISTOGRAM,
    Family.PERFORMANCE,
    "Performance values recorded in units of information.",
    "By",
    _PERFORMANCE,
    BYTES,
    Daily("metric_name", type_label="metric_category", unit="bytes"),
)
PERFORMANCE_RATIO = Metric(
    "feature.performance.ratio",
    Kind.HISTOGRAM,
    Family.PERFORMANCE,
    "Performance values recorded as percentages or ratios (1 is 100 %).",
    "",
    _PERFORMANCE,
    RATIOS,
    Daily("metric_name", type_label="metric_category", unit="ratio"),
)
PERFORMANCE_RATE = Metric(
    "feature.performance.rate",
    Kind.HISTOGRAM,
    Family.PERFORMANCE,
    "Performance values recorded per second.",
    "{operation}/s",
    _PERFORMANCE,
    RATES,
    Daily("metric_name", type_label="metric_category", unit="per_second"),
)
PERFORMANCE_VALUE = Metric(
    "feature.performance.value",
    Kind.HISTOGRAM,
    Family.PERFORMANCE,
    "Absolute performance values in any other unit; sign tells below zero from above.",
    "",
    (*_PERFORMANCE, UNIT, SIGN),
    VALUES,
    Daily("metric_name", type_label="metric_category", unit_label="unit"),
    low=float("-inf"),
)
PERFORMANCE_UNIT = Metric(
    "feature.performance.unit.info",
    Kind.GAUGE,
    Family.PERFORMANCE,
    "The unit that callers recorded a performance metric with; always 1.",
    "",
    (FEATURE, METRIC_CATEGORY, METRIC_NAME, UNIT),
)
SATISFACTION_SCORE = Metric(
    "feature.satisfaction.score",
    Kind.HISTOGRAM,
    Family.SATISFACTION,
    "Satisfaction scores on a scale of 0 to 1.",
    "",
    (FEATURE, SATISFACTION_TYPE),
    SCORES,
    Daily("satisfaction_type", "satisfaction"),
    high=1.0,
)
SATISFACTION_RESPONSES = Metric(
    "feature.satisfaction.responses",
    Kind.COUNTER,
    Family.SATISFACTION,
    "Satisfaction scores received; satisfied is true at or above the threshold.",
    "",
    (FEATURE, SATISFACTION_TYPE, SATISFIED),
)
SATISFACTION_DOUBTFUL = Metric(
    "feature.satisfaction.doubtful",
    Kind.COUNTER,
    Family.SATISFACTION,
    "Scores of exactly 1 received before the scale of their type was known; counted as the lowest from 1 to 5.",
    "",
    (FEATURE, SATISFACTION_TYPE),
)
USAGE = Metric(
    "feature.usage",
    Kind.COUNTER,
    Family.USAGE,
    "Uses of a feature's actions.",
    "",
    (FEATURE, ACTION, OUTCOME, ERROR_TYPE, CONTEXT),
)
USAGE_DURATION = Metric(
    "feature.usage.duration",
    Kind.HISTOGRAM,
    Family.USAGE,
    "How long uses of a feature's actions took.",
    "s",
    (FEATURE, ACTION, OUTCOME),
    SECONDS,
    Daily("action", "usage", unit="seconds"),
)
LEARNING_ACCURACY = Metric(
    "feature.learning.accuracy",
    Kind.HISTOGRAM,
    Family.LEARNING,
    "Accuracy of learning, 0 to 1.",
    "",
    (FEATURE, LEARNING_TYPE),
    ACCURACIES,
    Daily("learning_type", "learning_accuracy"),
    high=1.0,
)
LEARNING_CONFIDENCE = Metric(
    "feature.learning.confidence",
    Kind.HISTOGRAM,
    Family.LEARNING,
    "Confidence of learning, 0 to 1.",
    "",
    (FEATURE, LEARNING_TYPE),
    ACCURACIES,
    Daily("learning_type", "learning_confidence"),
    high=1.0,
)
LEARNING_IMPROVEMENT = Metric(
    "feature.learning.improvement",
    Kind.HISTOGRAM,
    Family.LEARNING,
    "One plus the improvement rate of learning: above 1 it got better.",
    "",
    (FEATURE, LEARNING_TYPE),
    CHANGES,
    Daily("learning_type", "learning_improvement"),
)
LEARNING_SAMPLES = Metric(
    "feature.learning.samples",
    Kind.COUNTER,
    Family.LEARNING,
    "Samples learnt from.",
    "",
    (FEATURE, LEARNING_TYPE),
)
LEARNING_VALUE = Metric(
    "feature.learning.value",
    Kind.HISTOGRAM,
    Family.LEARNING,
    "Absolute values of the basic collector's learning metrics.",
    "",
    (FEATURE, METRIC_NAME, SIGN),
    VALUES,
    Daily("metric_name", "learning", unit=""),
    low=float("-inf"),
)
OPTIMIZATION_CHANGE = Metric(
    "feature.optimization.change",
    Kind.HISTOGRAM,
    Family.OPTIMIZATION,
    "Value after an optimization divided by the value before: below 1 it shrank.",
    "",
    (FEATURE, IMPACT_CATEGORY),
    CHANGES,
    Daily("impact_category", "optimization_change"),
)
OPTIMIZATION_USER_IMPACT = Metric(
    "feature.optimization.user_impact",
    Kind.HISTOGRAM,
    Family.OPTIMIZATION,
    "Impact of an optimization on users, 0 to 1.",
    "",
    (FEATURE, IMPACT_CATEGORY),
    SCORES,
    Daily("impact_category", "optimization_user_impact"),
    high=1.0,
)
OPTIMIZATION_BEFORE = Metric(
    "feature.optimization.before",
    Kind.GAUGE,
    Family.OPTIMIZATION,
    "Last value measured before an optimization, in the caller's unit.",
    "",
    (FEATURE, OPTIMIZATION_ID, IMPACT_CATEGORY),
    low=float("-inf"),
)
OPTIMIZATION_AFTER = Metric(
    "feature.optimization.after",
    Kind.GAUGE,
    Family.OPTIMIZATION,
    "Last value measured after an optimization, in the caller's unit.",
    "",
    (FEATURE, OPTIMIZATION_ID, IMPACT_CATEGORY),
    low=float("-inf"),
)
OPTIMIZATION_VALUE = Metric(
    "feature.optimization.value",
    Kind.HISTOGRAM,
    Family.OPTIMIZATION,
    "Absolute values of the basic collector's optimization metrics.",
    "",
    (FEATURE, METRIC_NAME, SIGN),
    VALUES,
    Daily("metric_name", "optimization", unit=""),
    low=float("-inf"),
)
RESOURCE_UTILIZATION = Metric(
    "resource.utilization.ratio",
    Kind.GAUGE,
    Family.RESOURCE,
    "Share of a resource in use (1 is 100 %).",
    "1",
    (RESOURCE_TYPE, RESOURCE_NAME),
    merge="max",
)
RESOURCE_ALLOCATED = Metric(
    "resource.allocated",
    Kind.GAUGE,
    Family.RESOURCE,
    "Size of a resource.",
    "By",
    (RESOURCE_TYPE, RESOURCE_NAME),
    merge="max",
)
RESOURCE_USED = Metric(
    "resource.used",
    Kind.GAUGE,
    Family.RESOURCE,
    "Part of a resource in use.",
    "By",
    (RESOURCE_TYPE, RESOURCE_NAME),
    merge="max",
)
RESOURCE_ALLOCATED_VALUE = Metric(
    "resource.allocated.value",
    Kind.GAUGE,
    Family.RESOURCE,
    "Size of a resource that is not counted in bytes.",
    "",
    (RESOURCE_TYPE, RESOURCE_NAME, UNIT),
    merge="max",
)
RESOURCE_USED_VALUE = Metric(
    "resource.used.value",
    Kind.GAUGE,
    Family.RESOURCE,
    "Part of a resource in use that is not counted in bytes.",
    "",
    (RESOURCE_TYPE, RESOURCE_NAME, UNIT),
    merge="max",
)
ERRORS = Metric(
    "feature.errors",
    Kind.COUNTER,
    Family.ERROR,
    "Errors of a feature, and whether recovery was tried and worked.",
    "",
    (FEATURE, ERROR_TYPE, SEVERITY, IMPACT_LEVEL, RECOVERY),
)
