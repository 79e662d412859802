"""The daily table: what the old system kept in ``daily_aggregates``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import BEFORE, Column, lines, over_time, table
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
    UNIT,
)
from otel_metrics.naming import series_name
from otel_metrics.promql import Series, aggregate, call, equal, last_over, like, series, sum_by, unlike

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.catalogue import Metric
    from otel_metrics.promql import Expression

_WHERE: Final = (chosen(FEATURE), chosen(METRIC_TYPE), chosen(METRIC_NAME))
_LABELS: Final = {"feature": "Feature", "metric_type": "Type", "metric_name": "Name"}
_UNIT: Final = {"unit": "Unit"}
_SETTLED: Final = "90m"
"""How long after midnight the row of the day before is there for certain."""

_MONTH: Final = "30d"
_COUNT: Final = DAILY_TABLE["count"].series
_OTHERS: Final = ("avg_value", "min_value", "max_value", "stddev", "percentile_50", "percentile_95", "percentile_99")
_MENU: Final = feature_menu(uids.DAILY)
_WIDTHS: Final = {"Feature": 134, "Type": 184, "Unit": 88}
_UNITS: Final = (
    ("durations", equal(UNIT, "seconds"), "s", 9),
    ("scores and shares", equal(UNIT, "ratio"), "percentunit", 8),
    ("sizes", equal(UNIT, "bytes"), "bytes", 4),
    ("other units", unlike(UNIT, "seconds|ratio|bytes"), "none", 7),
)
"""Tables of the last full day: name, rows, Grafana's unit, height."""


def _row(series: str, *matchers: str, days_later: int = 0) -> Expression:
    """Return the value of a column, at midnight, for the day that ends then (or so many days later)."""
    return _at_midnight(Series(series, (*_WHERE, *matchers)), days_later)


def _at_midnight(column: Series, days_later: int = 0) -> Expression:
    return last_over(column.over("23h", offset=f"-{23 + 24 * days_later}h30m"))


def _last_day(series: str, *matchers: str) -> Expression:
    """Return a column of the last full day, without its name, so that the columns of a row differ in nothing else."""
    return _days(_row(series, *matchers), "1d", "max_over_time")


def _each_day(series: str, *matchers: str, offset: str = "") -> Expression:
    """Return a column over days, each at the midnight that it begins with."""
    return last_over(_row(series, *matchers, days_later=1).every("1d", "1d", offset=offset))


def _days(of_day: Expression, window: str, operator: str = "sum_over_time", *, offset: str = _SETTLED) -> Expression:
    """Return what an operator makes of the last full days."""
    return call(operator, of_day.every(window, "1d", offset=offset))


def dashboard(_values: Values) -> Dashboard:
    """Return the dashboard."""
    names = like("__name__", f"{_COUNT}|{series_name(DAILY_COUNT)}")
    known = Series("", (names, chosen(FEATURE)))
    return Dashboard(
        uids.DAILY,
        "otel_metrics / Daily table",
        "The table of the old daily_aggregates, one row per UTC day and metric. A day's rows appear half an hour to an hour and a half "
        "after midnight. Count, average, minimum, maximum and deviation are exact, percentiles estimated from histograms.",
        (
            FEATURES,
            Variable(METRIC_TYPE.name, "Type", known),
            Variable(METRIC_NAME.name, "Name", known),
        ),
        (
            Section("", tuple(_day(*unit) for unit in _UNITS)),
            Section("Today so far", (_today(),), folded=True),
            Section("This week against last", (_over_days(), _weeks()), folded=True),
        ),
        period=f"now-{_MONTH}",
        refresh="",
        timezone="utc",
    )


def _day(name: str, rows: str, unit: str, height: int) -> Panel:
    others = {key: DAILY_TABLE[key] for key in _OTHERS}
    return table(
        f"The last full day: {name}",
        "Of the end of the chosen period; choose an earlier end for an earlier day. The curve is the average of each day of "
        "30. Improvement rates are one plus the rate: 1.05 is 5 %.",
        {**_LABELS, **(_UNIT if unit == "none" else {})},
        [
            Column("Count", _last_day(_COUNT, rows), width=76),
            Column(
                "Average over days",
                _each_day(DAILY_TABLE["avg_value"].series, rows),
                trend=True,
                width=84,
            ),
            *(
                Column(
                    column.title,
                    _last_day(column.series, rows),
                    unit,
                    # Two decimals of a share: 0.00985 % would need more room than a number of any other unit.
                    decimals=2 if unit == "percentunit" else None,
                    width=84 if unit == "bytes" else 80 if column.name in {"stddev", "max_value"} else 72,
                )
                for column in others.values()
            ),
        ],
        menu=_MENU,
        widths={**_WIDTHS, "Type": 130} if unit == "none" else {"Type": _WIDTHS["Type"]},
        none="no rows: those of a day are complete an hour and a half after midnight UTC",
        sort="Count",
        height=height,
        time_from=_MONTH,
        interval="1d",
    )


def _today() -> Panel:
    today = equal(DAY, "current")

    def of(operator: str, metric: Metric) -> Expression:
        return aggregate(operator, DAILY_KEY, series(metric, today, *_WHERE))

    every_count = sum_by(DAILY_KEY, Series(series_name(DAILY_COUNT), (today,), matched=True))

    return table(
        "Today so far, in the unit of each row",
        "Exact, of the processes that run at the end of the chosen period.",
        {**_LABELS, **_UNIT},
        [
            Column("Count", of("sum", DAILY_COUNT)),
            Column("Average", of("sum", DAILY_SUM) / every_count, "none"),
            Column("Minimum", of("min", DAILY_MIN), "none"),
            Column("Maximum", of("max", DAILY_MAX), "none"),
        ],
        menu=_MENU,
        widths=_WIDTHS,
        none="nothing recorded today",
        sort="Count",
    )


def _over_days() -> Panel:
    return lines(
        "Values per day, and those of the same day a week before",
        "All chosen metrics together; the same weekday one above the other.",
        [
            over_time(sum_by((), _each_day(_COUNT)), "this day"),
            over_time(sum_by((), _each_day(_COUNT, offset="7d")), BEFORE),
        ],
        low=0,
        width=24,
        time_from=_MONTH,
        interval="1d",
    )


def _weeks() -> Panel:
    count, before = _row(_COUNT), f"7d{_SETTLED}"
    # Each filters one side: what has the same labels is divided.
    every_count = _at_midnight(Series(_COUNT, matched=True))
    total = count * _at_midnight(Series(DAILY_TABLE["avg_value"].series, matched=True))
    change = _days(count, "7d") / _days(every_count, "7d", offset=before) - 1

    def average(offset: str) -> Expression:
        return _days(total, "7d", offset=offset) / _days(every_count, "7d", offset=offset)

    return table(
        "The last seven full days against the seven before, in the unit of each row",
        "Averages are weighted by the count of each day. A change is told only where both weeks have seven days. Percentiles "
        "of a week do not follow from those of its days, so there are none.",
        {**_LABELS, **_UNIT},
        [
            Column("Days", _days(count, "7d", "count_over_time"), width=60),
            Column("Days before", _days(count, "7d", "count_over_time", offset=before), width=96),
            Column("Count", _days(count, "7d")),
            Column("Count before", _days(count, "7d", offset=before)),
            Column(
                "Change of count",
                change & _days(every_count, "14d", "count_over_time").equals(14),
                "percentunit",
                decimals=1,
            ),
            Column("Average", average(_SETTLED), "none"),
            Column("Average before", average(before), "none"),
        ],
        menu=_MENU,
        widths=_WIDTHS,
        none="no full day yet",
        sort="Count",
        height=11,
    )
