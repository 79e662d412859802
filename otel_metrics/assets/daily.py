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

from otel_metrics.assets.promql import Histograms, aggregate, select, watched_hour, watched_hour_native
from otel_metrics.assets.rulefile import Group, Recording
from otel_metrics.catalogue import (
    CATALOGUE,
    DAILY_COUNT,
    DAILY_KEY,
    DAILY_MAX,
    DAILY_MIN,
    DAILY_SUM,
    DAILY_SUMSQ,
    DAILY_TABLE,
    DAY,
    FEATURE,
    METRIC_NAME,
    METRIC_TYPE,
    SIGN,
    UNIT,
)
from otel_metrics.naming import series_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_metrics.catalogue import (
        Daily,
        Metric,
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

_NEGATIVE: Final = f'{SIGN.name}="negative"'
_POSITIVE: Final = f'{SIGN.name}="positive"'
_ALL: Final = 'le="+Inf"'
_WITHIN: Final = 'le!~"[+]Inf|0|0[.]0"'
_PREVIOUS: Final = f'{DAY.name}="previous"'
_CURRENT: Final = f'{DAY.name}="current"'


def groups(histograms: Histograms) -> tuple[Group, ...]:
    """Return the rules, the hourly differences first."""
    hourly = _native_hours if histograms is Histograms.NATIVE else _classic_hours
    rows = [metric for metric in CATALOGUE if metric.daily]
    return (
        Group("otel_metrics_hours", "10m", tuple(rule for metric in rows for rule in hourly(metric))),
        Group("otel_metrics_daily", "30m", (*_accumulated(), *_percentiles(histograms))),
    )


def at_midnight(expression: str) -> str:
    """Return ``expression`` evaluated at the last midnight UTC that is at least half an hour ago."""
    return f"last_over_time((\n  {expression}\n)[1d:1d] offset 30m)"


def _at_the_hour(expression: str) -> str:
    return f"last_over_time((\n  {expression}\n)[1h:1h] offset 5m)"


# ------------------------------------------------------------------------------------------- from the day accumulators


def _accumulated() -> Iterator[Recording]:
    yield Recording(DAILY_TABLE["count"].series, _of_all("sum", DAILY_COUNT))
    yield Recording(SUM, _of_all("sum", DAILY_SUM))
    yield Recording(SQUARES, _of_all("sum", DAILY_SUMSQ))
    yield Recording(DAILY_TABLE["min_value"].series, _of_all("min", DAILY_MIN))
    yield Recording(DAILY_TABLE["max_value"].series, _of_all("max", DAILY_MAX))
    count = DAILY_TABLE["count"].series
    yield Recording(DAILY_TABLE["avg_value"].series, f"{SUM} / {count}")
    # Of a sample, as Python's statistics.stdev: n - 1; rounding must not make it the root of less than nothing.
    spread = f"clamp_min({SQUARES} - {SUM} ^ 2 / {count}, 0)"
    yield Recording(DAILY_TABLE["stddev"].series, f"sqrt({spread} / clamp_min({count} - 1, 1))")


def _of_all(operator: str, metric: Metric) -> str:
    name = series_name(metric)
    final = f"last_over_time({select(name, _PREVIOUS)}[59m] offset -1h)"
    died = f"last_over_time({select(name, _CURRENT)}[1439m] offset 1ms)"
    return at_midnight(aggregate(operator, DAILY_KEY, f"\n    {final}\n    or ignoring ({DAY.name})\n    {died}\n  "))


# ----------------------------------------------------------------------------------------------------- from histograms


def _classic_hours(metric: Metric) -> Iterator[Recording]:
    daily = _daily(metric)
    by = (*_own_labels(daily), "le")
    labels = {HISTOGRAM: series_name(metric)}

    def added(*matchers: str, by: tuple[str, ...] = by) -> str:
        return aggregate("sum", by, watched_hour(select(f"{series_name(metric)}_bucket", *matchers)))

    def rule(expression: str, **more: str) -> Recording:
        keyed = aggregate("sum", (*DAILY_KEY, "le"), _key_labels(daily, expression))
        return Recording(BUCKETS_1H, _at_the_hour(keyed), {**labels, **more})

    if SIGN not in metric.labels:
        yield rule(added())
        return
    # Values below zero are recorded without their sign. Mirrored, what is at most -x is everything that is not within x,
    # and everything below zero is below every bound from zero up.
    everything = f"+ ignoring (le) group_left () {added(_NEGATIVE, _ALL)}"
    mirrored = f"{added(_NEGATIVE, _WITHIN)} * -1 {everything}"
    yield rule(added(_POSITIVE), sign="positive")
    yield rule(f"{added(_NEGATIVE)} * 0 {everything}", sign="negative")
    yield rule(f'label_replace({mirrored}, "le", "-$1", "le", "(.+)")', sign="mirrored")


def _native_hours(metric: Metric) -> Iterator[Recording]:
    daily = _daily(metric)
    # A native histogram cannot be mirrored: a day with values below zero has no percentiles (see _percentiles).
    matchers = (_POSITIVE,) if SIGN in metric.labels else ()
    added = aggregate("sum", _own_labels(daily), watched_hour_native(select(series_name(metric), *matchers)))
    keyed = aggregate("sum", DAILY_KEY, _key_labels(daily, added))
    yield Recording(NATIVE_1H, _at_the_hour(keyed), {HISTOGRAM: series_name(metric)})


def _percentiles(histograms: Histograms) -> Iterator[Recording]:
    key, count = ", ".join(DAILY_KEY), DAILY_TABLE["count"].series
    if histograms is Histograms.NATIVE:
        yield Recording(NATIVE, at_midnight(aggregate("sum", DAILY_KEY, _of_the_day(NATIVE_1H))))
        values = f"({NATIVE} and (histogram_count({NATIVE}) > 0) and {count}\n  unless ({DAILY_TABLE['min_value'].series} < 0))"
    else:
        yield Recording(BUCKETS, at_midnight(aggregate("sum", (*DAILY_KEY, "le"), _of_the_day(BUCKETS_1H))))
        some = f"{select(BUCKETS, _ALL)} > 0"
        values = f"({BUCKETS} and on ({key}) ({some}) and on ({key}) {count})"
    for column in DAILY_TABLE.values():
        if column.quantile is None:
            continue
        estimate = f"histogram_quantile({column.quantile:g}, {values})"
        above = f"({DAILY_TABLE['max_value'].series} < {estimate})"
        below = f"({DAILY_TABLE['min_value'].series} > {estimate})"
        yield Recording(column.series, f"{above}\nor {below}\nor {estimate}")


def _of_the_day(hourly: str) -> str:
    """Return the sum of the 24 hourly differences; the one of the hour that ends at h is recorded from h + 5 min on."""
    return f"sum_over_time((last_over_time({hourly}[24m] offset -29m))[1d:1h])"


def _own_labels(daily: Daily) -> tuple[str, ...]:
    """Return the labels of a histogram that become its key."""
    return tuple(dict.fromkeys(filter(None, (FEATURE.name, daily.type_label, daily.name_label, daily.unit_label))))


def _key_labels(daily: Daily, expression: str) -> str:
    """Return ``expression`` with its own labels renamed to those of the key."""

    def named(expression: str, target: str, label: str, literal: str) -> str:
        if label == target:
            return expression
        if label:
            return f'label_replace({expression}, "{target}", "$1", "{label}", "(.*)")'
        return f'label_replace({expression}, "{target}", "{literal}", "", "")' if literal else expression

    expression = named(expression, METRIC_TYPE.name, daily.type_label, daily.metric_type)
    expression = named(expression, METRIC_NAME.name, daily.name_label, "")
    return named(expression, UNIT.name, daily.unit_label, daily.unit)


def _daily(metric: Metric) -> Daily:
    if metric.daily is None:
        raise ValueError(f"{metric.name} has no place in the daily table")
    return metric.daily
