"""The daily table as recording rules: what the old system kept in ``daily_aggregates``, one value per key and UTC day.

**When.** Rules run at an offset that the server chooses. A subquery's steps do not: ``(EXPR)[1d:1d]`` evaluates EXPR at
midnight UTC, whenever the rule runs. All columns turn to the day that ended at midnight E at E + 30 min, together; so the row
of that day is ``last_over_time(name[23h] @ E+23.5h)``.

**Count, sum, extremes, deviation** are exact. Every process exposes its own totals of the current and of the previous day.
What a process says of the previous day within an hour after midnight is final; of a process that did not live to say so, the
last that it said of the current day counts. The first minute after a midnight is left out, as clocks differ.

**Percentiles** are estimates from histogram buckets, in two tiers: differences over full hours, then their sum. Reading a
whole day of every bucket at once would take a server minutes. They are kept between the exact extremes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets.rulefile import Group, Recording
from otel_metrics.catalogue import (
    CATALOGUE,
    DAILY_ACCUMULATORS,
    DAILY_KEY,
    DAILY_TABLE,
    DAY,
    FEATURE,
    METRIC_NAME,
    METRIC_TYPE,
    SIGN,
    UNIT,
)
from otel_metrics.naming import series_name
from otel_metrics.promql import (
    Histograms,
    Series,
    aggregate,
    binary,
    call,
    equal,
    last_over,
    relabel,
    series,
    sum_by,
    unlike,
    watched_hour,
    watched_hour_native,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_metrics.catalogue import Accumulator, Daily, Metric
    from otel_metrics.promql import (
        Expression,
    )

_PREFIX: Final = DAILY_TABLE["count"].series.rpartition(":")[0]
_LEVEL, _, _VALUE = _PREFIX.partition(":")
SUM: Final = f"{_PREFIX}:sum1d"
SQUARES: Final = f"{_PREFIX}:sumsq1d"
BUCKETS: Final = f"{_LEVEL}_le:{_VALUE}_bucket:increase1d"
NATIVE: Final = f"{_PREFIX}:increase1d"
BUCKETS_1H: Final = f"{_LEVEL}_histogram_le:{_VALUE}_bucket:increase1h"
NATIVE_1H: Final = f"{_LEVEL}_histogram:{_VALUE}:increase1h"
HISTOGRAM: Final = "histogram"
"""Label of the hourly differences that keeps different histograms with one key apart."""

_NEGATIVE: Final = equal(SIGN, "negative")
_POSITIVE: Final = equal(SIGN, "positive")
_ALL: Final = equal("le", "+Inf")
_WITHIN: Final = unlike("le", "[+]Inf|0|0[.]0")
_CURRENT, _PREVIOUS = (equal(DAY, value) for value in DAY.values)


def groups(histograms: Histograms) -> tuple[Group, ...]:
    """Return the rules, the hourly differences first."""
    hourly = _native_hours if histograms is Histograms.NATIVE else _classic_hours
    rows = [metric for metric in CATALOGUE if metric.daily]
    return (
        Group("otel_metrics_hours", "10m", tuple(rule for metric in rows for rule in hourly(metric))),
        Group("otel_metrics_daily", "30m", (*_accumulated(), *_percentiles(histograms))),
    )


def _at_midnight(expression: Expression) -> Expression:
    """Return ``expression`` evaluated at the last midnight UTC that is at least half an hour ago."""
    return last_over(expression.every("1d", "1d", offset="30m"))


def _at_the_hour(expression: Expression) -> Expression:
    return last_over(expression.every("1h", "1h", offset="5m"))


def _column(name: str) -> Series:
    return Series(DAILY_TABLE[name].series)


# ------------------------------------------------------------------------------------------- from the day accumulators


def _accumulated() -> Iterator[Recording]:
    columns = {"count": DAILY_TABLE["count"].series, "total": SUM, "squares": SQUARES}
    columns |= {"low": DAILY_TABLE["min_value"].series, "high": DAILY_TABLE["max_value"].series}
    for each in DAILY_ACCUMULATORS:
        yield Recording(columns[each.field], _of_all(each))
    count, total, squares = _column("count"), Series(SUM), Series(SQUARES)
    yield Recording(DAILY_TABLE["avg_value"].series, total / count)
    # Of a sample, as Python's statistics.stdev: n - 1; rounding must not make it the root of less than nothing.
    spread = call("clamp_min", squares - total**2 / count, 0)
    yield Recording(DAILY_TABLE["stddev"].series, call("sqrt", spread / call("clamp_min", count - 1, 1)))


def _of_all(each: Accumulator) -> Expression:
    final = last_over(series(each.metric, _PREVIOUS).over("59m", offset="-1h"))
    died = last_over(series(each.metric, _CURRENT).over("1439m", offset="1ms"))
    return _at_midnight(aggregate(each.merge, DAILY_KEY, final.or_ignoring(died, DAY.name)))


# ----------------------------------------------------------------------------------------------------- from histograms


def _classic_hours(metric: Metric) -> Iterator[Recording]:
    daily = _daily(metric)
    by = (*_own_labels(daily), "le")
    labels = {HISTOGRAM: series_name(metric)}

    def added(*matchers: str) -> Expression:
        return sum_by(by, watched_hour(series(metric, *matchers, suffix="_bucket")))

    def rule(expression: Expression, **more: str) -> Recording:
        keyed = sum_by((*DAILY_KEY, "le"), _key_labels(daily, expression))
        return Recording(BUCKETS_1H, _at_the_hour(keyed), {**labels, **more})

    if SIGN not in metric.labels:
        yield rule(added())
        return
    # Values below zero are recorded without their sign. Mirrored, what is at most -x is everything that is not within x,
    # and everything below zero is below every bound from zero up.
    everything = added(_NEGATIVE, _ALL)
    mirrored = binary(added(_NEGATIVE, _WITHIN) * -1, "+", everything, _TO_EACH_BOUND)
    yield rule(added(_POSITIVE), sign="positive")
    yield rule(binary(added(_NEGATIVE) * 0, "+", everything, _TO_EACH_BOUND), sign="negative")
    yield rule(relabel(mirrored, "le", "-$1", "le", "(.+)"), sign="mirrored")


_TO_EACH_BOUND: Final = "ignoring (le) group_left ()"


def _native_hours(metric: Metric) -> Iterator[Recording]:
    daily = _daily(metric)
    # A native histogram cannot be mirrored: a day with values below zero has no percentiles (see _percentiles).
    selector = series(metric, _POSITIVE if SIGN in metric.labels else "")
    keyed = sum_by(DAILY_KEY, _key_labels(daily, sum_by(_own_labels(daily), watched_hour_native(selector))))
    yield Recording(NATIVE_1H, _at_the_hour(keyed), {HISTOGRAM: series_name(metric)})


def _percentiles(histograms: Histograms) -> Iterator[Recording]:
    low, high = _column("min_value"), _column("max_value")
    if histograms is Histograms.NATIVE:
        yield Recording(NATIVE, _at_midnight(sum_by(DAILY_KEY, _of_the_day(NATIVE_1H))))
        day = Series(NATIVE)
        values = (day & (call("histogram_count", day) > 0) & _column("count")).unless(low < 0)
    else:
        yield Recording(BUCKETS, _at_midnight(sum_by((*DAILY_KEY, "le"), _of_the_day(BUCKETS_1H))))
        day = Series(BUCKETS)
        values = day.also(day.where(_ALL) > 0, on=DAILY_KEY).also(_column("count"), on=DAILY_KEY)
    for column in DAILY_TABLE.values():
        if column.quantile is not None:
            estimate = call("histogram_quantile", column.quantile, values)
            yield Recording(column.series, (high < estimate) | (low > estimate) | estimate)


def _of_the_day(hourly: str) -> Expression:
    """Return the sum of the 24 hourly differences; the one of the hour that ends at h is recorded from h + 5 min on."""
    return call("sum_over_time", last_over(Series(hourly).over("24m", offset="-29m")).every("1d", "1h"))


def _own_labels(daily: Daily) -> tuple[str, ...]:
    """Return the labels of a histogram that become its key."""
    return tuple(dict.fromkeys(filter(None, (FEATURE.name, daily.type_label, daily.name_label, daily.unit_label))))


def _key_labels(daily: Daily, expression: Expression) -> Expression:
    """Return ``expression`` with its own labels renamed to those of the key."""

    def named(expression: Expression, target: str, label: str, literal: str) -> Expression:
        if label == target:
            return expression
        if label:
            return relabel(expression, target, "$1", label, "(.*)")
        return relabel(expression, target, literal) if literal else expression

    expression = named(expression, METRIC_TYPE.name, daily.type_label, daily.metric_type)
    expression = named(expression, METRIC_NAME.name, daily.name_label, "")
    return named(expression, UNIT.name, daily.unit_label, daily.unit)


def _daily(metric: Metric) -> Daily:
    if metric.daily is None:
        raise ValueError(f"{metric.name} has no place in the daily table")
    return metric.daily
