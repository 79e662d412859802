"""The daily table: what the old system kept in ``daily_aggregates``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.model import Dashboard, Section, address, label_variable, variables
from otel_metrics.assets.dashboards.panels import Column, lines, over_time, table
from otel_metrics.assets.dashboards.queries import chosen
from otel_metrics.catalogue import (
    DAILY_COUNT,
    DAILY_KEY,
    DAILY_MAX,
    DAILY_MIN,
    DAILY_SUM,
    DAILY_TABLE,
    DAY,
    FEATURE,
    METRIC_NAME,
    METRIC_TYPE,
)
from otel_metrics.naming import series_name
from otel_metrics.promql import Series, aggregate, call, equal, last_over, like, series, sum_by

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.catalogue import Metric
    from otel_metrics.promql import Expression

_WHERE: Final = (chosen(FEATURE), chosen(METRIC_TYPE), chosen(METRIC_NAME))
_LEGEND: Final = "{{feature}} {{metric_type}} {{metric_name}} {{unit}}"
_LABELS: Final = {"feature": "Feature", "metric_type": "Type", "metric_name": "Name", "unit": "Unit"}
_COLUMNS: Final = sorted(DAILY_TABLE.values(), key=lambda column: column.name != "count")
_SETTLED: Final = "90m"
"""How long after midnight the row of the day before is there for certain."""


def _row(column: str, *, days_later: int = 0) -> Expression:
    """Return the value of a column, at midnight, for the day that ends then (or so many days later)."""
    return last_over(Series(DAILY_TABLE[column].series, _WHERE).over("23h", offset=f"-{23 + 24 * days_later}h30m"))


def _last_day(column: str) -> Expression:
    return last_over(_row(column).every("1d", "1d", offset=_SETTLED))


def _each_day(column: str, offset: str = "") -> Expression:
    """Return a column over days, each at the midnight that it begins with."""
    return last_over(_row(column, days_later=1).every("1d", "1d", offset=offset))


def _week(expression: Expression, *, before: bool = False, operator: str = "sum_over_time") -> Expression:
    return call(operator, expression.every("7d", "1d", offset="169h30m" if before else _SETTLED))


def dashboard(_values: Values) -> Dashboard:
    """Return the dashboard."""
    names = like("__name__", f"{DAILY_TABLE['count'].series}|{series_name(DAILY_COUNT)}")
    known = Series("", (names, chosen(FEATURE)))
    return Dashboard(
        uids.DAILY,
        "otel_metrics / Daily table",
        "The table of the old daily_aggregates, one row per UTC day and metric. A day's rows appear half an hour to an hour and a half "
        "after midnight. Count, average, minimum, maximum and deviation are exact, percentiles estimated from histograms.",
        variables(
            label_variable(METRIC_TYPE.name, METRIC_TYPE.name, known, "Type"),
            label_variable(METRIC_NAME.name, METRIC_NAME.name, known, "Name"),
        ),
        (
            Section("", (_yesterday(), _today())),
            Section("Trends", _trends()),
            Section("This week against last", _weeks()),
        ),
        period="now-30d",
        refresh="",
    )


def _yesterday() -> Panel:
    return table(
        "The last full day",
        "Of the end of the chosen period: choose an earlier end for an earlier day. Values in the unit of their row; "
        "improvement rates as one plus the rate: 1.05 is 5 %.",
        _LABELS,
        [
            Column(column.title, _last_day(column.name), decimals=0 if column.name == "count" else None)
            for column in _COLUMNS
        ],
        links={"Feature": address(uids.DAILY, "var-feature=${__value.raw:percentencode}")},
        none="no full day yet: rows are complete an hour and a half after midnight UTC",
        height=11,
    )


def _today() -> Panel:
    def of(operator: str, metric: Metric) -> Expression:
        return aggregate(operator, DAILY_KEY, series(metric, equal(DAY, "current"), *_WHERE))

    return table(
        "Today so far",
        "Exact, of the processes that run at the end of the chosen period.",
        _LABELS,
        [
            Column("Count", of("sum", DAILY_COUNT), decimals=0),
            Column("Average", of("sum", DAILY_SUM) / of("sum", DAILY_COUNT)),
            Column("Minimum", of("min", DAILY_MIN)),
            Column("Maximum", of("max", DAILY_MAX)),
        ],
        none="nothing recorded today",
    )


def _trends() -> tuple[Panel, ...]:
    return tuple(
        lines(
            column.title,
            f"{column.description} Choose a feature, type and name to see few curves of one unit.",
            [over_time(_each_day(column.name), _LEGEND, step="1d")],
            bars=column.name == "count",
            stacked=column.name == "count",
            low=0 if column.name in {"count", "stddev"} else None,
        )
        for column in _COLUMNS
    )


def _weeks() -> tuple[Panel, ...]:
    values = _row("avg_value") * _row("count")

    def both(expression: Expression, operator: str = "sum_over_time") -> tuple[Expression, Expression]:
        return _week(expression, operator=operator), _week(expression, before=True, operator=operator)

    count, count_before = both(_row("count"))
    total, total_before = both(values)
    highest, highest_before = both(_row("max_value"), "max_over_time")
    average, average_before = total / (count > 0), total_before / (count_before > 0)
    daily = _each_day("count"), _each_day("count", "7d")
    return (
        lines(
            "Values per day, and a week before",
            "All chosen metrics together; the same weekday one above the other.",
            [
                over_time(sum_by((), daily[0]), "this day", step="1d"),
                over_time(sum_by((), daily[1]), "the same day of the week before", step="1d"),
            ],
            low=0,
            width=24,
        ),
        table(
            "The last seven full days against the seven before",
            "Averages are weighted by the count of each day. Percentiles of a week do not follow from those of its days, so "
            "there are none.",
            _LABELS,
            [
                Column("Count", count, decimals=0),
                Column("Count before", count_before, decimals=0),
                Column("Count change", count / (count_before > 0) - 1, "percentunit", decimals=1),
                Column("Average", average),
                Column("Average before", average_before),
                Column("Average change", average / average_before.differs(0) - 1, "percentunit", decimals=1),
                Column("Maximum", highest),
                Column("Maximum before", highest_before),
            ],
            none="two weeks of full days are needed",
            height=11,
        ),
    )
