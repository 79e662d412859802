"""The daily table as recording rules: what the old system kept in ``daily_aggregates``, one value per key and UTC day.

**When.** Rules run at an offset that the server chooses. A subquery's steps do not: ``(EXPR)[1d:1d]`` evaluates EXPR at
midnight UTC, whenever the rule runs. All columns turn to the day that ended at midnight E between E + 30 min and E + 90 min;
so the row of that day is ``last_over_time(name[23h] @ E+23.5h)``.

**Count, sum, extremes, deviation** are exact. Every process exposes its own totals of the current and of the previous day.
What a process says of the previous day within an hour after midnight is final; of a process that did not live to say so, the
last that it said of the current day counts. The first minute after a midnight is left out, as clocks differ.

**Percentiles** are estimates from histogram buckets, in two tiers: differences over full hours, then their sum. Reading a
whole day of every bucket at once would take a server minutes. They are kept between the exact extremes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets.rulefile import Group, Recording
from otel_metrics.assets.scope import SCOPE
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
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_metrics.assets.scope import Labels
    from otel_metrics.catalogue import Accumulator, Daily, Metric
    from otel_metrics.promql import (
        Dialect,
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


def groups(dialect: Dialect, scope: Labels = SCOPE) -> tuple[Group, ...]:
    """Return the rules, the hourly differences first; they keep the labels of the scope."""
    hourly = _native_hours if dialect.native else _classic_hours
    rows = [metric for metric in CATALOGUE if metric.daily]
    return (
        Group(
            "otel_metrics_hours",
            "10m",
            tuple(rule for metric in rows for rule in hourly(metric, dialect, scope)),
            "What every histogram gained in the last full hour, by the key of the daily table. A day is the sum of 24 of them: "
            "no server needs to read a day of every bucket at once.",
        ),
        Group(
            "otel_metrics_daily",
            "30m",
            (*_accumulated(dialect, scope), *_percentiles(dialect, scope)),
            "The daily table of the last full UTC day: count, average, extremes and deviation from what processes add up "
            "themselves, exact; percentiles from the hours, kept between the extremes.",
        ),
    )


def _at_midnight(expression: Expression) -> Expression:
    """Return ``expression`` evaluated at the last midnight UTC that is at least half an hour ago."""
    return last_over(expression.every("1d", "1d", offset="30m"))


def _at_the_hour(expression: Expression) -> Expression:
    return last_over(expression.every("1h", "1h", offset="5m"))


def _recorded(name: str, dialect: Dialect) -> Expression:
    """Return what a rule before has recorded about the day.

    Where a rule does not see that in the same evaluation, it reads the one before: it turns to a new day half an hour later.
    """
    return Series(name) if dialect.chains else last_over(Series(name).over("1h"))


# ------------------------------------------------------------------------------------------- from the day totals


def _accumulated(dialect: Dialect, scope: Labels) -> Iterator[Recording]:
    columns = {"count": DAILY_TABLE["count"].series, "total": SUM, "squares": SQUARES}
    columns |= {"low": DAILY_TABLE["min_value"].series, "high": DAILY_TABLE["max_value"].series}
    for each in DAILY_ACCUMULATORS:
        yield Recording(columns[each.field], _of_all(each, scope))
    count, total, squares = (_recorded(columns[name], dialect) for name in ("count", "total", "squares"))
    yield Recording(DAILY_TABLE["avg_value"].series, total / count)
    # Of a sample, as Python's statistics.stdev: n - 1; rounding must not make it the root of less than nothing.
    spread = call("clamp_min", squares - total**2 / count, 0)
    deviation = call("sqrt", spread / call("clamp_min", count - 1, 1))
    yield Recording(DAILY_TABLE["stddev"].series, deviation)


def _of_all(each: Accumulator, scope: Labels) -> Expression:
    final = last_over(series(each.metric, _PREVIOUS).over("59m", offset="-1h"))
    died = last_over(series(each.metric, _CURRENT).over("1439m", offset="1ms"))
    return _at_midnight(aggregate(each.merge, (*scope, *DAILY_KEY), final.or_ignoring(died, DAY.name)))


# ----------------------------------------------------------------------------------------------------- from histograms


def _classic_hours(metric: Metric, dialect: Dialect, scope: Labels) -> Iterator[Recording]:
    daily = _daily(metric)
    by = (*scope, *_own_labels(daily), "le")
    labels = _literals(metric, daily)

    def added(*matchers: str) -> Expression:
        return sum_by(by, dialect.hour(series(metric, *matchers, suffix="_bucket")))

    def rule(expression: Expression, **more: str) -> Recording:
        return Recording(BUCKETS_1H, _at_the_hour(_typed(daily, expression)), {**labels, **more})

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


def _native_hours(metric: Metric, dialect: Dialect, scope: Labels) -> Iterator[Recording]:
    daily = _daily(metric)
    # A native histogram cannot be mirrored: a day with values below zero has no percentiles (see _percentiles).
    added = dialect.hour_of_histograms(series(metric, _POSITIVE if SIGN in metric.labels else ""))
    by = (*scope, *_own_labels(daily))
    yield Recording(NATIVE_1H, _at_the_hour(_typed(daily, sum_by(by, added))), _literals(metric, daily))


def _percentiles(dialect: Dialect, scope: Labels) -> Iterator[Recording]:
    columns = DAILY_TABLE["min_value"].series, DAILY_TABLE["max_value"].series
    if dialect.native:
        yield Recording(NATIVE, _of_the_day(NATIVE_1H, scope).unless(Series(columns[0]) < 0))
    else:
        yield Recording(BUCKETS, _of_the_day(BUCKETS_1H, scope, "le"))
    values = _recorded(NATIVE if dialect.native else BUCKETS, dialect)
    low, high = (_recorded(column, dialect) for column in columns)
    for column in DAILY_TABLE.values():
        if column.quantile is not None:
            estimate = call("histogram_quantile", column.quantile, values)
            # The last condition holds wherever the others do not, unless there were no values: then it is NaN.
            kept = (high < estimate) | (low > estimate) | (estimate <= high)
            yield Recording(column.series, kept)


def _of_the_day(hourly: str, scope: Labels, *by: str) -> Expression:
    """Return the sum of the 24 hourly differences; the one of the hour that ends at h is recorded from h + 5 min on."""
    hours = last_over(Series(hourly).over("24m", offset="-29m")).every("1d", "1h")
    return _at_midnight(sum_by((*scope, *DAILY_KEY, *by), _named(call("sum_over_time", hours))))


def _own_labels(daily: Daily) -> tuple[str, ...]:
    """Return the labels of a histogram that become its key."""
    return tuple(dict.fromkeys(filter(None, (FEATURE.name, daily.type_label, daily.name_label, daily.unit_label))))


def _literals(metric: Metric, daily: Daily) -> dict[str, str]:
    """Return the labels of what is recorded of a histogram that are the same for all its series."""
    known = {METRIC_TYPE.name: daily.metric_type, UNIT.name: "" if daily.unit_label else daily.unit}
    return {name: value for name, value in known.items() if value} | {HISTOGRAM: series_name(metric)}


def _typed(daily: Daily, expression: Expression) -> Expression:
    """Return ``expression`` with the label that tells the type also under its name in the key."""
    if not daily.type_label:
        return expression
    return relabel(expression, METRIC_TYPE.name, "$1", daily.type_label, "(.*)")


def _named(hours: Expression) -> Expression:
    """Return hourly differences with the labels that tell the name also under its name in the key."""
    own = (metric.daily.name_label for metric in CATALOGUE if metric.daily)
    # Each series has only one of them, so joined without anything in between they are that one.
    return call("label_join", hours, METRIC_NAME.name, "", *dict.fromkeys((METRIC_NAME.name, *own)))


def _daily(metric: Metric) -> Daily:
    if metric.daily is None:
        raise ValueError(f"{metric.name} has no place in the daily table")
    return metric.daily
