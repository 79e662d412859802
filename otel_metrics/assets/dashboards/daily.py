"""The daily table: what the old system kept in ``daily_aggregates``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.model import Dashboard, Row, address, label_variable, variables
from otel_metrics.assets.dashboards.panels import Column, lines, over_time, table
from otel_metrics.assets.dashboards.queries import chosen
from otel_metrics.assets.promql import aggregate, select
from otel_metrics.catalogue import (
    DAILY_COUNT,
    DAILY_KEY,
    DAILY_MAX,
    DAILY_MIN,
    DAILY_SUM,
    DAILY_TABLE,
    FEATURE,
    METRIC_NAME,
    METRIC_TYPE,
)
from otel_metrics.naming import series_name

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.catalogue import Metric

_WHERE: Final = (chosen(FEATURE), chosen(METRIC_TYPE), chosen(METRIC_NAME))
_LEGEND: Final = "{{feature}} {{metric_type}} {{metric_name}} {{unit}}"
_LABELS: Final = {"feature": "Feature", "metric_type": "Type", "metric_name": "Name", "unit": "Unit"}
_COLUMNS: Final = sorted(DAILY_TABLE.values(), key=lambda column: column.name != "count")
_SETTLED: Final = "1h"
"""How long after midnight the row of the day before is there for certain."""


def _row(column: str, *, days_later: int = 0) -> str:
    """Return the value of a column, at midnight, for the day that ends then (or so many days later)."""
    return f"last_over_time({select(DAILY_TABLE[column].series, *_WHERE)}[23h] offset -{23 + 24 * days_later}h30m)"


def _last_day(column: str) -> str:
    return f"last_over_time(({_row(column)})[1d:1d] offset {_SETTLED})"


def _each_day(column: str, offset: str = "") -> str:
    """Return a column over days, each at the midnight that it begins with."""
    return f"last_over_time(({_row(column, days_later=1)})[1d:1d]{offset})"


def _week(expression: str, *, before: bool = False, operator: str = "sum_over_time") -> str:
    return f"{operator}(({expression})[7d:1d] offset {'169h' if before else _SETTLED})"


def dashboard(_values: Values) -> Dashboard:
    """Return the dashboard."""
    known = f'{{__name__=~"{DAILY_TABLE["count"].series}|{series_name(DAILY_COUNT)}",{chosen(FEATURE)}}}'
    return Dashboard(
        uids.DAILY,
        "otel_metrics / Daily table",
        "The table of the old daily_aggregates, one row per UTC day and metric. A day's rows appear half an hour to one hour "
        "after midnight. Count, average, minimum, maximum and deviation are exact, percentiles estimated from histograms.",
        variables(
            label_variable(METRIC_TYPE.name, METRIC_TYPE.name, known, "Type"),
            label_variable(METRIC_NAME.name, METRIC_NAME.name, known, "Name"),
        ),
        (
            Row("", (_yesterday(), _today())),
            Row("Trends", _trends()),
            Row("This week against last", _weeks()),
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
        links={"Feature": address(uids.DAILY, "var-feature=${__value.raw}")},
        none="no full day yet: rows appear half an hour to one hour after midnight UTC",
        height=11,
    )


def _today() -> Panel:
    def of(operator: str, metric: Metric) -> str:
        return aggregate(operator, DAILY_KEY, select(series_name(metric), 'day="current"', *_WHERE))

    return table(
        "Today so far",
        "Exact, of the processes that run at the end of the chosen period.",
        _LABELS,
        [
            Column("Count", of("sum", DAILY_COUNT), decimals=0),
            Column("Average", f"{of('sum', DAILY_SUM)} / {of('sum', DAILY_COUNT)}"),
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
    values = f"{_row('avg_value')} * {_row('count')}"

    def both(expression: str, operator: str = "sum_over_time") -> tuple[str, str]:
        return _week(expression, operator=operator), _week(expression, before=True, operator=operator)

    count, count_before = both(_row("count"))
    total, total_before = both(values)
    highest, highest_before = both(_row("max_value"), "max_over_time")
    average, average_before = f"{total} / ({count} > 0)", f"{total_before} / ({count_before} > 0)"
    daily = _each_day("count"), _each_day("count", " offset 7d")
    return (
        lines(
            "Values per day, and a week before",
            "All chosen metrics together; the same weekday one above the other.",
            [
                over_time(f"sum({daily[0]})", "this day", step="1d"),
                over_time(f"sum({daily[1]})", "the same day of the week before", step="1d"),
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
                Column("Count change", f"{count} / ({count_before} > 0) - 1", "percentunit", decimals=1),
                Column("Average", average),
                Column("Average before", average_before),
                Column("Average change", f"({average}) / (({average_before}) != 0) - 1", "percentunit", decimals=1),
                Column("Maximum", highest),
                Column("Maximum before", highest_before),
            ],
            none="two weeks of full days are needed",
            height=11,
        ),
    )
