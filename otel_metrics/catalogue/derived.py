"""What is emitted besides: the day's accumulators, the bridge's own health, and what Prometheus records once a day."""

from __future__ import annotations

from typing import Final

from otel_metrics.catalogue.labels import CALL, DAY, FEATURE, LABEL, METRIC_NAME, METRIC_TYPE, REASON, UNIT
from otel_metrics.catalogue.schema import Family, Kind, Metric

_DAY_LABELS = (FEATURE, METRIC_TYPE, METRIC_NAME, UNIT, DAY)

DAILY_COUNT = Metric(
    "feature.daily.values",
    Kind.GAUGE,
    Family.DAILY,
    "Number of values recorded in the UTC day.",
    "",
    _DAY_LABELS,
)
DAILY_SUM = Metric(
    "feature.daily.sum_of_values",
    Kind.GAUGE,
    Family.DAILY,
    "Sum of the values recorded in the UTC day.",
    "",
    _DAY_LABELS,
)
DAILY_SUMSQ = Metric(
    "feature.daily.sum_of_squares",
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
