"""The daily table through PromQL: read from what the recording rules stored, or computed from what processes exposed.

Count, average, extremes and deviation come from the accumulators that every process keeps per UTC day and exposes for the
current and the previous one, and are exact; percentiles come from the histograms.
"""

from __future__ import annotations

from collections import Counter
from math import nan, sqrt
from typing import TYPE_CHECKING, Any, Final

from otel_metrics import catalogue as c
from otel_metrics.catalogue import DAILY_KEY, DayKey
from otel_metrics.promql import INSTANCE, Number, Series, aggregate, call, equal, last_over, milliseconds, series
from otel_metrics.querying import expressions
from otel_metrics.querying.buckets import Buckets
from otel_metrics.querying.expressions import Moment, at
from otel_metrics.querying.source import Completeness, DistributionQuery, LatestQuery
from otel_metrics.querying.statistics import PERCENTILES, Statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_metrics.catalogue import Metric
    from otel_metrics.promql import Expression
    from otel_metrics.querying.client import Sample
    from otel_metrics.querying.expressions import Irregular
    from otel_metrics.querying.source import Period, Query

    Numbers = Mapping[str, Mapping[DayKey, float]]

RECORDED_AFTER: Final = 5400.0
"""Seconds after midnight from which on the recorded table holds the day before, all columns of it."""

_READ_AT: Final = 23.5 * 3600
_READ_BACK: Final = 23 * 3600
_PREVIOUS: Final = 3600.0
_CURRENT, _BEFORE = (equal(c.DAY, value) for value in c.DAY.values)

INSTANCES: Final = "instances"
ENDED: Final = "ended"
GAPS: Final = "gaps"
_NOTHING: Final = 1.0
"""Seconds before midnight that nobody misses."""

UNITS: Final = LatestQuery(c.PERFORMANCE_UNIT, c.PERFORMANCE_UNIT.label_names)


def recorded(day: Period) -> dict[str, Expression]:
    """Return, per column, the expression that reads what the rules recorded for a past day."""
    back, moment = milliseconds(_READ_BACK), at(day.end + _READ_AT)
    return {name: last_over(Series(column.series).over(back, at=moment)) for name, column in c.DAILY_TABLE.items()}


def accumulated(day: Period, irregular: Irregular | None, *, over: bool) -> dict[str, Expression]:
    """Return, per accumulator, the expression that adds up all processes: for a day that is over, or the part of it so far."""
    moment = Moment(day, irregular, exactly=True)
    parts = {}
    for each in c.DAILY_ACCUMULATORS:
        value = moment.last(series(each.metric, _CURRENT))
        if over:  # who lived on past midnight knows the whole day, also what came after the last scrape of it
            value = _previous(each.metric, day.end, irregular).or_ignoring(value, c.DAY.name)
        parts[each.field] = aggregate(each.merge, DAILY_KEY, value)
    return parts


def _previous(metric: Metric, midnight: float, irregular: Irregular | None) -> Expression:
    """Return what was exposed after midnight about the day before: within the hour, or once a gap in the scrapes was over."""
    found = series(metric, _BEFORE)

    def within(seconds: float, found: Series) -> Expression:
        return last_over(found.over(milliseconds(seconds), at=at(midnight + seconds)))

    if irregular is None or not irregular.instances:
        return within(_PREVIOUS, found)
    return within(_PREVIOUS, found) | within(_READ_BACK, found.where(irregular.matcher))


def completeness(
    day: Period, irregular: Irregular | None, *, over: bool, recorded: bool = False
) -> dict[str, Expression]:
    """Return the expressions that count, per row, the processes that have values of it: all, and those that may lack some.

    ``recorded``: of what the rules recorded, which look for an hour only, instead of what can be computed now.
    """
    counts = series(c.DAILY_COUNT, _CURRENT)
    current = Moment(day, irregular, exactly=True).last(counts)
    if not over:
        return {INSTANCES: aggregate("count", DAILY_KEY, current)}
    previous = _previous(c.DAILY_COUNT, day.end, None if recorded else irregular)
    told = call("timestamp", counts.when(at=at(day.end - 0.001))) > Number(at(day.end - _NOTHING))
    everyone = previous.or_ignoring(current, c.DAY.name)
    # Whose last sample is from the end of the day has told everything, too: as the processes of an import.
    ended = current.unless_ignoring(previous, c.DAY.name).unless_ignoring(told, c.DAY.name)
    return {
        INSTANCES: aggregate("count", DAILY_KEY, everyone),
        ENDED: aggregate("count", DAILY_KEY, ended),
        GAPS: aggregate("count", DAILY_KEY, everyone.also(_gaps(day), on=(INSTANCE,))),
    }


def _gaps(day: Period) -> Expression:
    """Return the processes that were not seen for a while, and then again."""
    alive, step, whole = series(c.SERIES), expressions.LOOKBACK, milliseconds(day.seconds)

    def over(function: str, value: Expression) -> Expression:
        return call(f"{function}_over_time", value.every(whole, milliseconds(step), at=at(day.end)))

    seen = alive * 0 + call("time")
    missing = (over("max", seen) - over("min", seen)) / step + 1 - over("count", alive)
    start = at(day.start)
    away = last_over(alive.over(whole, at=start)).unless(alive.when(at=start))
    # An import's samples are far apart, and the last of them is the day's last millisecond.
    imported = call("timestamp", alive.when(at=at(day.end - 0.001))) > Number(at(day.end - 0.002))
    return ((missing > 1) | away).unless(imported, on=(INSTANCE,))


def completenesses(keys: Iterable[DayKey], counts: Numbers) -> dict[DayKey, Completeness]:
    """Return what the answers to :func:`completeness` mean for every row."""
    found = {}
    for key in keys:
        instances, ended, gaps = (round(counts.get(name, {}).get(key, 0)) for name in (INSTANCES, ENDED, GAPS))
        reasons = []
        if ended:
            reasons.append(f"{ended} of {instances} processes not seen after midnight")
        if gaps:
            reasons.append(f"{gaps} of {instances} processes not seen for a while")
        found[key] = Completeness(instances or None, tuple(reasons))
    return found


def distributions() -> dict[str, Query]:
    """Return the queries for the histograms behind the daily table."""
    queries: dict[str, Query] = {}
    for metric in c.CATALOGUE:
        if metric.daily:
            labels = (c.FEATURE.name, metric.daily.type_label, metric.daily.name_label, metric.daily.unit_label)
            queries[metric.name] = DistributionQuery(metric, tuple(label for label in labels if label))
    return queries


def from_recorded(columns: Numbers) -> dict[DayKey, Statistics]:
    """Return the rows that the rules recorded."""
    rows: dict[DayKey, Statistics] = {}
    for key, count in columns.get("count", {}).items():
        values: dict[str, Any] = {
            column.field: columns.get(name, {}).get(key) for name, column in c.DAILY_TABLE.items()
        }
        values["count"] = round(count)
        if count > 0:
            estimated = frozenset(PERCENTILES) if count > 1 else frozenset()
            rows[key] = Statistics(**values, total=(values["avg"] or 0.0) * count, estimated=estimated)
    return rows


def several(samples: Iterable[Sample]) -> set[DayKey]:
    """Return the keys that more than one sample has: several servers, or several jobs, recorded a row of each."""
    keys = Counter(_key(sample) for sample in samples)
    return {key for key, times in keys.items() if times > 1}


def from_accumulated(sums: Numbers, histograms: Mapping[DayKey, Buckets]) -> dict[DayKey, Statistics]:
    """Return the rows that processes' accumulators and histograms give."""
    rows = {key: buckets.statistics() for key, buckets in histograms.items() if buckets.count}
    for key, count in sums.get("count", {}).items():
        if count > 0:
            numbers = {name: found.get(key, nan) for name, found in sums.items()}
            rows[key] = _exact(numbers, histograms.get(key, Buckets()))
    return rows


def _exact(sums: Mapping[str, float], histogram: Buckets) -> Statistics:
    """Return exact statistics, with percentiles from a histogram."""
    count, total, low, high = round(sums["count"]), sums["total"], sums["low"], sums["high"]
    avg = total / count
    deviations = max(sums["squares"] - total * avg, 0.0) if low < high else 0.0
    stddev = sqrt(deviations / (count - 1)) if count > 1 else 0.0
    if low == high:
        return Statistics(count, total, avg, low, high, stddev, low, low, low)
    estimate = histogram.within(low, high).statistics()
    return Statistics(
        count, total, avg, low, high, stddev, estimate.p50, estimate.p95, estimate.p99, frozenset(PERCENTILES)
    )


def by_key(samples: Iterable[Sample]) -> dict[DayKey, float]:
    """Return numbers by the key that their labels spell."""
    return {_key(sample): sample.value for sample in samples}


def _key(sample: Sample) -> DayKey:
    return DayKey(*(sample.labels.get(name, "") for name in DAILY_KEY))
