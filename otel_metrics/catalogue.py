"""THE table: every metric this package emits, written here and nowhere else.

Instruments, buckets, label limits, zero-seeding, recording rules, alerts, dashboards, the read API and the documentation
table are derived from these rows. To change a name, a bucket or a label, change it here and run ``otel-metrics render``.

Units are base units in UCUM notation (``s``, ``By``, ``1`` for ratios); :mod:`otel_metrics.naming` derives the exposed names.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

OTHER: Final = "other"
"""What a label value past its cap, or outside its declared values, collapses to."""


class Kind(Enum):
    """The OpenTelemetry instrument behind a row."""

    HISTOGRAM = "histogram"
    COUNTER = "counter"
    GAUGE = "gauge"


class Family(Enum):
    """What a metric is about: one dashboard, one getter and one part of the README per family."""

    PERFORMANCE = "performance"
    SATISFACTION = "satisfaction"
    USAGE = "usage"
    LEARNING = "learning"
    OPTIMIZATION = "optimization"
    RESOURCE = "resource"
    ERROR = "error"
    DAILY = "daily"
    BRIDGE = "bridge"


@dataclass(frozen=True, slots=True)
class Label:
    """One label. ``values`` is its closed domain (seeded at zero); an open label keeps at most ``cap`` distinct values."""

    name: str
    values: tuple[str, ...] = ()
    cap: int = 100


@dataclass(frozen=True, slots=True)
class Daily:
    """Where a histogram's values go in the daily table: its (metric_type, metric_name).

    ``metric_type`` is a literal, or, for ``type_label``, the value of that label of the series.
    """

    name_label: str
    metric_type: str = ""
    type_label: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the catalogue."""

    name: str
    kind: Kind
    family: Family
    description: str
    unit: str = ""
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    daily: Daily | None = None
    low: float = 0.0
    """Smallest admissible value, in the base unit."""
    high: float = float("inf")

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label names, in the catalogue's order."""
        return tuple(label.name for label in self.labels)


# ------------------------------------------------------------------ buckets
def _steps(first_decade: int, decades: int, digits: tuple[float, ...]) -> tuple[float, ...]:
    """Preferred numbers over several decades, closed by the next power of ten."""
    exponents = range(first_decade, first_decade + decades)
    return (*(float(f"{d}e{e}") for e in exponents for d in digits), float(f"1e{first_decade + decades}"))


_E6 = (1.0, 1.5, 2.2, 3.3, 4.7, 6.8)
_E3 = (1.0, 2.2, 4.7)
_TWENTIETHS = tuple(n / 20 for n in range(21))

SECONDS: Final = _steps(-4, 6, _E6)
BYTES: Final = tuple(float(2**n) for n in range(6, 35))
SCORES: Final = _TWENTIETHS
RATIOS: Final = (*_TWENTIETHS, 1.25, 1.5, 2.0, 5.0, 10.0)
ACCURACIES: Final = (*_TWENTIETHS[:19], *(n / 100 for n in range(91, 101)))
CHANGES: Final = (*_TWENTIETHS, *(1 + n / 20 for n in range(1, 11)), 1.75, 2.0, 3.0, 5.0, 10.0)
RATES: Final = _steps(-2, 8, _E3)
VALUES: Final = (0.0, *_steps(-3, 12, _E3))

# ------------------------------------------------------------------- labels
FEATURE = Label("feature", cap=200)
CONTEXT = Label("context", cap=20)
UNIT = Label("unit", cap=20)
SIGN = Label("sign", ("positive", "negative"))
METRIC_CATEGORY = Label("metric_category", cap=50)
METRIC_NAME = Label("metric_name", cap=500)
SATISFACTION_TYPE = Label("satisfaction_type", cap=50)
SATISFIED = Label("satisfied", ("true", "false"))
ACTION = Label("action", cap=200)
OUTCOME = Label("outcome", ("success", "failure", "unknown"))
ERROR_TYPE = Label("error_type", cap=200)
SEVERITY = Label("severity", ("critical", "error", "warning", "info"))
IMPACT_LEVEL = Label("impact_level", ("high", "medium", "low", "unknown"))
RECOVERY = Label("recovery", ("none", "failed", "succeeded"))
LEARNING_TYPE = Label("learning_type", cap=50)
IMPACT_CATEGORY = Label("impact_category", cap=50)
OPTIMIZATION_ID = Label("optimization_id", cap=200)
RESOURCE_TYPE = Label("resource_type", cap=20)
RESOURCE_NAME = Label("resource_name", cap=200)
METRIC_TYPE = Label("metric_type", cap=500)
DAY = Label("day", ("current", "previous"))
CALL = Label("call", cap=50)
REASON = Label("reason", cap=50)
LABEL = Label("label", cap=50)

_PERFORMANCE = (FEATURE, METRIC_CATEGORY, METRIC_NAME, CONTEXT)
_PERFORMANCE_DAILY = Daily("metric_name", type_label="metric_category")
_DAY_LABELS = (FEATURE, METRIC_TYPE, METRIC_NAME, UNIT, DAY)

# ------------------------------------------------------------------ metrics
PERFORMANCE_DURATION = Metric(
    "feature.performance.duration",
    Kind.HISTOGRAM,
    Family.PERFORMANCE,
    "Performance values recorded in units of time.",
    "s",
    _PERFORMANCE,
    SECONDS,
    _PERFORMANCE_DAILY,
)
PERFORMANCE_SIZE = Metric(
    "feature.performance.size",
    Kind.HISTOGRAM,
    Family.PERFORMANCE,
    "Performance values recorded in units of information.",
    "By",
    _PERFORMANCE,
    BYTES,
    _PERFORMANCE_DAILY,
)
PERFORMANCE_RATIO = Metric(
    "feature.performance.ratio",
    Kind.HISTOGRAM,
    Family.PERFORMANCE,
    "Performance values recorded as percentages or ratios (1 is 100 %).",
    "",
    _PERFORMANCE,
    RATIOS,
    _PERFORMANCE_DAILY,
)
PERFORMANCE_RATE = Metric(
    "feature.performance.rate",
    Kind.HISTOGRAM,
    Family.PERFORMANCE,
    "Performance values recorded per second.",
    "{operation}/s",
    _PERFORMANCE,
    RATES,
    _PERFORMANCE_DAILY,
)
PERFORMANCE_VALUE = Metric(
    "feature.performance.value",
    Kind.HISTOGRAM,
    Family.PERFORMANCE,
    "Absolute performance values in any other unit; sign tells below zero from above.",
    "",
    (*_PERFORMANCE, UNIT, SIGN),
    VALUES,
    _PERFORMANCE_DAILY,
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
    Daily("action", "usage"),
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
    Daily("metric_name", "learning"),
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
    Daily("metric_name", "optimization"),
    low=float("-inf"),
)
RESOURCE_UTILIZATION = Metric(
    "resource.utilization.ratio",
    Kind.GAUGE,
    Family.RESOURCE,
    "Share of a resource in use (1 is 100 %).",
    "1",
    (RESOURCE_TYPE, RESOURCE_NAME),
)
RESOURCE_ALLOCATED = Metric(
    "resource.allocated",
    Kind.GAUGE,
    Family.RESOURCE,
    "Size of a resource.",
    "By",
    (RESOURCE_TYPE, RESOURCE_NAME),
)
RESOURCE_USED = Metric(
    "resource.used",
    Kind.GAUGE,
    Family.RESOURCE,
    "Part of a resource in use.",
    "By",
    (RESOURCE_TYPE, RESOURCE_NAME),
)
RESOURCE_ALLOCATED_VALUE = Metric(
    "resource.allocated.value",
    Kind.GAUGE,
    Family.RESOURCE,
    "Size of a resource that is not counted in bytes.",
    "",
    (RESOURCE_TYPE, RESOURCE_NAME, UNIT),
)
RESOURCE_USED_VALUE = Metric(
    "resource.used.value",
    Kind.GAUGE,
    Family.RESOURCE,
    "Part of a resource in use that is not counted in bytes.",
    "",
    (RESOURCE_TYPE, RESOURCE_NAME, UNIT),
)
ERRORS = Metric(
    "feature.errors",
    Kind.COUNTER,
    Family.ERROR,
    "Errors of a feature, and whether recovery was tried and worked.",
    "",
    (FEATURE, ERROR_TYPE, SEVERITY, IMPACT_LEVEL, RECOVERY),
)
DAILY_COUNT = Metric(
    "feature.daily.count",
    Kind.GAUGE,
    Family.DAILY,
    "Number of values recorded in the UTC day.",
    "",
    _DAY_LABELS,
)
DAILY_SUM = Metric(
    "feature.daily.sum",
    Kind.GAUGE,
    Family.DAILY,
    "Sum of the values recorded in the UTC day.",
    "",
    _DAY_LABELS,
)
DAILY_SUMSQ = Metric(
    "feature.daily.sumsq",
    Kind.GAUGE,
    Family.DAILY,
    "Sum of the squares of the values recorded in the UTC day.",
    "",
    _DAY_LABELS,
)
DAILY_MIN = Metric(
    "feature.daily.min",
    Kind.GAUGE,
    Family.DAILY,
    "Smallest value recorded in the UTC day.",
    "",
    _DAY_LABELS,
)
DAILY_MAX = Metric(
    "feature.daily.max",
    Kind.GAUGE,
    Family.DAILY,
    "Largest value recorded in the UTC day.",
    "",
    _DAY_LABELS,
)
REJECTED = Metric(
    "otel_metrics.rejected",
    Kind.COUNTER,
    Family.BRIDGE,
    "Arguments of record calls that were refused.",
    "",
    (CALL, REASON),
)
LABEL_OVERFLOW = Metric(
    "otel_metrics.label.overflow",
    Kind.COUNTER,
    Family.BRIDGE,
    "Bindings of a new series in which a label past its cap became 'other'.",
    "",
    (LABEL,),
)
SERIES = Metric("otel_metrics.series", Kind.GAUGE, Family.BRIDGE, "Series that record calls are bound to.")
SCRAPES = Metric("otel_metrics.scrapes", Kind.COUNTER, Family.BRIDGE, "Scrapes answered.")
SCRAPE_DURATION = Metric("otel_metrics.scrape.duration", Kind.GAUGE, Family.BRIDGE, "Duration of the last scrape.", "s")
COLLISIONS = Metric(
    "otel_metrics.collisions",
    Kind.GAUGE,
    Family.BRIDGE,
    "Metrics left out of the exposition because their exposed name is taken by another one.",
)

CATALOGUE: Final[tuple[Metric, ...]] = tuple(row for row in list(globals().values()) if isinstance(row, Metric))
"""Every row, in the order above."""

# ------------------------------------------------------ recorded daily table
DAILY_TABLE: Final[dict[str, str]] = {
    "avg_value": "feature_type_name:value:avg1d",
    "min_value": "feature_type_name:value:min1d",
    "max_value": "feature_type_name:value:max1d",
    "stddev": "feature_type_name:value:stddev1d",
    "count": "feature_type_name:value:count1d",
    "percentile_50": "feature_type_name:value:p50_1d",
    "percentile_95": "feature_type_name:value:p95_1d",
    "percentile_99": "feature_type_name:value:p99_1d",
}
"""Column of the old ``daily_aggregates`` table -> series recorded once a day by Prometheus."""
