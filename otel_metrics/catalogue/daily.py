"""The daily table, written once: its key, its eight columns, and what they are called in each place that holds them.

A process exposes the sums of the day (:data:`DAILY_ACCUMULATORS`), Prometheus records the columns as series, the old database
has them in SQL, results have them as keys. A row is one UTC day and one :class:`DayKey`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from otel_metrics.catalogue.labels import DAY, FEATURE, METRIC_NAME, METRIC_TYPE, UNIT
from otel_metrics.catalogue.schema import Family, Kind, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_metrics.catalogue.schema import Daily

SECONDS_PER_DAY: Final = 86_400
"""Of a UTC day, which has no leap seconds in unix time."""

DAILY_SQL: Final = "daily_aggregates"
"""The table in the old database."""


class DayKey(NamedTuple):
    """What the daily table has one row for; ``unit`` is a base unit. The fields are called like the labels."""

    feature: str
    metric_type: str
    metric_name: str
    unit: str

    @classmethod
    def of(cls, daily: Daily, labels: Mapping[str, str]) -> DayKey:
        """Return the key that the values of a histogram's series go to."""
        return cls(
            labels.get(FEATURE.name, ""),
            labels.get(daily.type_label, "") if daily.type_label else daily.metric_type,
            labels.get(daily.name_label, ""),
            labels.get(daily.unit_label, "") if daily.unit_label else daily.unit,
        )


DAILY_KEY: Final = DayKey._fields
"""The labels of a row."""

DAILY_SQL_KEY: Final = ("date", FEATURE.name, METRIC_TYPE.name, METRIC_NAME.name)
"""The columns that tell rows apart in the old database, which has no units."""


@dataclass(frozen=True, slots=True)
class DailyColumn:
    """One statistic of a row: in SQL and in results ``name``, in short ``field``, recorded by Prometheus as ``series``."""

    name: str
    field: str
    series: str
    title: str
    description: str
    quantile: float | None = None
    """Of a percentile, which is estimated; the others are exact."""
    sql: str = "REAL"


DAILY_TABLE: Final[dict[str, DailyColumn]] = {
    column.name: column
    for column in (
        DailyColumn("avg_value", "avg", "feature_type_name:value:avg1d", "Average", "Mean of the day."),
        DailyColumn("min_value", "min", "feature_type_name:value:min1d", "Minimum", "Smallest value of the day."),
        DailyColumn("max_value", "max", "feature_type_name:value:max1d", "Maximum", "Largest value of the day."),
        DailyColumn(
            "stddev", "stddev", "feature_type_name:value:stddev1d", "Deviation", "Standard deviation of a sample."
        ),
        DailyColumn(
            "count", "count", "feature_type_name:value:count1d", "Count", "Values recorded on the day.", sql="INTEGER"
        ),
        DailyColumn(
            "percentile_50", "p50", "feature_type_name:value:p50_1d", "p50", "Median of the day, estimated.", 0.5
        ),
        DailyColumn(
            "percentile_95", "p95", "feature_type_name:value:p95_1d", "p95", "95th percentile, estimated.", 0.95
        ),
        DailyColumn(
            "percentile_99", "p99", "feature_type_name:value:p99_1d", "p99", "99th percentile, estimated.", 0.99
        ),
    )
}
"""The columns by name, in the order of the old table."""

_LABELS: Final = (FEATURE, METRIC_TYPE, METRIC_NAME, UNIT, DAY)


def _accumulator(name: str, description: str) -> Metric:
    return Metric(f"feature.daily.{name}", Kind.GAUGE, Family.DAILY, description, "", _LABELS)


DAILY_COUNT: Final = _accumulator("values", "Number of values recorded in the UTC day.")
DAILY_SUM: Final = _accumulator("sum_of_values", "Sum of the values recorded in the UTC day.")
DAILY_SUMSQ: Final = _accumulator("sum_of_squares", "Sum of the squares of the values recorded in the UTC day.")
DAILY_MIN: Final = _accumulator("min", "Smallest value recorded in the UTC day.")
DAILY_MAX: Final = _accumulator("max", "Largest value recorded in the UTC day.")


@dataclass(frozen=True, slots=True)
class Accumulator:
    """What a process adds up of a row's values: ``field`` inside it, ``metric`` outside, ``merge`` of several processes."""

    field: str
    metric: Metric
    merge: Literal["sum", "min", "max"] = "sum"


DAILY_ACCUMULATORS: Final = (
    Accumulator("count", DAILY_COUNT),
    Accumulator("total", DAILY_SUM),
    Accumulator("squares", DAILY_SUMSQ),
    Accumulator("low", DAILY_MIN, "min"),
    Accumulator("high", DAILY_MAX, "max"),
)
