"""Queries to PromQL expressions. Pure functions.

**Exact windows.** What was counted between two instants is the value at the end minus the value at the start; what a process
counted before its first scrape is in, and nothing is extrapolated, as ``increase()`` does. It asks that no two processes
share a series; every process has its own ``service_instance_id``.

**Cheap windows.** Of processes that are scraped at both edges of a period, sums of instant values are subtracted, whatever
its length. Only of :class:`Irregular` ones, mostly none, the samples in between are searched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_metrics import catalogue as c
from otel_metrics.catalogue import SECONDS_PER_DAY, Kind
from otel_metrics.naming import series_name
from otel_metrics.promql import (
    INSTANCE,
    PROMETHEUS,
    Series,
    aggregate,
    binary,
    call,
    equal,
    last_over,
    like,
    milliseconds,
    relabel,
    series,
    sum_by,
    unequal,
    unlike,
)
from otel_metrics.querying.source import DistributionQuery, LatestQuery

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from otel_metrics.catalogue import Daily
    from otel_metrics.promql import Dialect, Expression
    from otel_metrics.querying.source import Period, Query

PART: Final = "part"
"""Label that tells the expressions apart which one request joins."""

LONGEST: Final = 16_000
"""Bytes that a query should have at most: VictoriaMetrics rejects 16,384 unless told otherwise."""

RANGE: Final = "vmrange"
"""Label of VictoriaMetrics' own buckets, such as ``1.000e-01...1.136e-01``, which are not cumulative."""

NATIVE: Final = "native"
BUCKETS: Final = "buckets"
RANGES: Final = "ranges"
SUM: Final = "sum"
COUNT: Final = "count"
LOW: Final = "low"
HIGH: Final = "high"
NUMBER: Final = "number"

IRREGULAR: Final = "irregular"
SEEN: Final = "seen"

LOOKBACK: Final = 300.0
"""Seconds that Prometheus looks back for the sample of a moment."""

_GAP: Final = 86_400.0
"""Seconds that scrapes may have failed for before a period, without what was counted before being counted again."""

_UNKNOWN_GAP: Final = 3600.0
"""The same where everything has to be searched."""


@dataclass(frozen=True, slots=True)
class Irregular:
    """Processes that a period saw and that were not scraped at its end, or with a gap at its start."""

    instances: tuple[str, ...] = ()

    @property
    def matcher(self) -> str:
        """Return the matcher that selects their series."""
        return like(INSTANCE, self._pattern)

    @property
    def others(self) -> str:
        """Return the matcher that selects the series of all others."""
        return unlike(INSTANCE, self._pattern)

    @property
    def _pattern(self) -> str:
        return "|".join(map(re.escape, self.instances))


def at(when: float) -> str:
    """Return an instant for the modifier ``@``, exact to the millisecond."""
    return f"{when:.3f}"


def processes(period: Period) -> dict[str, Expression]:
    """Return the expressions for the irregular processes of a period, and for the number of all."""
    alive = series(c.SERIES)

    def by_process(values: Expression) -> Expression:
        return aggregate("count", (INSTANCE,), values)

    start, end = at(period.start), at(period.end)
    seen = by_process(last_over(alive.over(milliseconds(period.seconds + LOOKBACK), at=end)))
    before = by_process(last_over(alive.over(milliseconds(_GAP), at=start)))
    # Where series do not tell processes apart, as those pushed to a server that drops resource attributes, any may have ended.
    ended = seen.unless(by_process(alive.where(unequal(INSTANCE, "")).when(at=end)))
    gap = seen & before.unless(by_process(alive.when(at=start)))
    return {IRREGULAR: ended | gap, SEEN: aggregate("count", (), seen)}


def misnamed() -> Expression:
    """Return the expression for the names of our metrics as servers store them that are told to translate names otherwise."""
    right = {series_name(metric) for metric in c.CATALOGUE}
    names = {
        name
        for metric in c.CATALOGUE
        for spelling in (metric.name, metric.name + series_name(metric)[len(metric.name) :])
        for name in (spelling, spelling.replace(".", "_"))
    }
    pattern = "|".join(map(re.escape, sorted(names - right)))
    return aggregate("count", ("__name__",), Series("", (like("__name__", f"({pattern})(_count)?"),)))


def parts(
    queries: Mapping[str, Query], moment: Moment, dialect: Dialect = PROMETHEUS, *, without: Collection[str] = ()
) -> dict[str, Expression]:
    """Return the expressions that answer every query, by query name and form; ``without`` forms that are not needed."""
    return {
        f"{name}:{form}": expression
        for name, query in queries.items()
        for form, expression in _forms(query, moment, dialect)
        if form not in without
    }


def batches(parts: Mapping[str, Expression]) -> Iterator[str]:
    """Join expressions to as few as possible that every engine accepts; their results carry the name of their part."""
    batch: list[str] = []
    size = 0
    for name, expression in parts.items():
        named = str(relabel(expression, PART, name))
        length = len(named.encode()) + len(_OR)
        if batch and size + length > LONGEST:
            yield _OR.join(batch)
            batch, size = [], 0
        batch.append(named)
        size += length
    if batch:
        yield _OR.join(batch)


_OR: Final = " or "


def _forms(query: Query, moment: Moment, dialect: Dialect) -> list[tuple[str, Expression]]:
    """Return (form, expression) of what answers one query, however the server stores the metric."""
    where = tuple(equal(label, value) for label, value in query.where)
    found = series(query.metric, *where)
    if isinstance(query, LatestQuery):
        return [(NUMBER, moment.latest(found, query.by))]
    if query.metric.kind is Kind.COUNTER or not isinstance(query, DistributionQuery):
        return [(NUMBER, moment.increase(found, query.by))]
    by = (*query.by, c.SIGN.name) if c.SIGN in query.metric.labels else query.by
    counts, sums, bounds = (series(query.metric, *where, suffix=f"_{part}") for part in ("count", "sum", "bucket"))
    native = moment.increase(found, by)
    count = moment.increase(counts, by) > 0
    total = moment.increase(sums, by)
    buckets = moment.increase(bounds, (*by, "le"))
    if query.limit:
        most = aggregate("topk", (), query.limit, moment.increase(counts, query.by) > 0)
        count, total = count.also(most, on=query.by), total.also(most, on=query.by)
        most = aggregate("topk", (), query.limit, call("histogram_count", moment.increase(found, query.by)) > 0)
        native = native.also(most, on=query.by)
    # Buckets that say nothing new, as they hold none of the values or all of them, need not travel.
    telling = binary(buckets > 0, "<", count, "ignoring (le) group_left ()")
    forms = [(NATIVE, native)] if dialect.native else []
    forms += [(BUCKETS, telling), (SUM, total), (COUNT, count)]
    if dialect.ranges:
        forms.append((RANGES, moment.increase(bounds.where(unequal(RANGE, "")), (*by, RANGE)) > 0))
    if query.metric.daily and moment.in_two_days:
        forms += _extremes(query, query.metric.daily, moment)
    return forms


def extremes_by(query: Query, daily: Daily) -> dict[str, str]:
    """Return the labels of a query's groups that the daily extremes have, too: their name there -> their name here."""
    names = {
        c.FEATURE.name: c.FEATURE.name,
        c.METRIC_TYPE.name: daily.type_label,
        c.METRIC_NAME.name: daily.name_label,
        c.UNIT.name: daily.unit_label,
    }
    return {there: here for there, here in names.items() if here in query.by}


def _extremes(query: Query, daily: Daily, moment: Moment) -> list[tuple[str, Expression]]:
    """Return what bounds the values of a query: the extremes of the days that its period lies in."""
    there = {daily.type_label: c.METRIC_TYPE.name, daily.name_label: c.METRIC_NAME.name, daily.unit_label: c.UNIT.name}
    where = [equal(there.get(label, label), value) for label, value in query.where]
    if daily.metric_type:
        where.append(equal(c.METRIC_TYPE, daily.metric_type))
    if not daily.unit_label:
        where.append(equal(c.UNIT, daily.unit))
    by = tuple(extremes_by(query, daily))
    return [
        (LOW, aggregate("min", by, moment.last(series(c.DAILY_MIN, *where)))),
        (HIGH, aggregate("max", by, moment.last(series(c.DAILY_MAX, *where)))),
    ]


class Moment:
    """Expressions over one period.

    Args:
        period: from when to when.
        irregular: the processes that must be searched; None if not known, then all are.
        exactly: look at samples of the period only, not at those of its very end or from before its start.
    """

    def __init__(self, period: Period, irregular: Irregular | None = None, *, exactly: bool = False) -> None:
        if exactly and period.seconds < LOOKBACK:
            irregular = None  # a moment's value may be from before the period
        # Processes expose the extremes of the current day and of the one before.
        self.in_two_days = period.start >= (period.end // SECONDS_PER_DAY - 1) * SECONDS_PER_DAY
        self._irregular = irregular
        self._start = at(period.start)
        self._end = at(period.end - 0.001 if exactly else period.end)
        self._reach = milliseconds(period.seconds - 0.001 if exactly else max(period.seconds, LOOKBACK))
        self._before = milliseconds(max(_UNKNOWN_GAP, period.seconds) if irregular is None else _GAP)

    def last(self, found: Series) -> Expression:
        """Return the value of every series at the end, also of those that are not scraped any more."""
        if self._irregular is None:
            return last_over(found.over(self._reach, at=self._end))
        present = found.when(at=self._end)
        if not self._irregular.instances:
            return present
        return present | last_over(found.where(self._irregular.matcher).over(self._reach, at=self._end))

    def latest(self, found: Series, by: Sequence[str]) -> Expression:
        """Return the highest value at the end, grouped; ended processes tell only of groups that no living one has."""
        present = aggregate("max", by, found.when(at=self._end))
        if self._irregular is not None and not self._irregular.instances:
            return present
        past = found.where(self._irregular.matcher) if self._irregular else found
        return present | aggregate("max", by, last_over(past.over(self._reach, at=self._end)))

    def increase(self, found: Series, by: Sequence[str]) -> Expression:
        """Return what was added in the period, grouped."""
        if self._irregular is None:
            return sum_by(by, self._searched(found))
        if not self._irregular.instances:
            return self._subtracted(by, found)
        regular = self._subtracted(by, found.where(self._irregular.others))
        searched = sum_by(by, self._searched(found.where(self._irregular.matcher)))
        return sum_by(by, relabel(regular, PART, "regular") | relabel(searched, PART, "searched"))

    def _subtracted(self, by: Sequence[str], found: Series) -> Expression:
        last = sum_by(by, found.when(at=self._end))
        return last - (sum_by(by, found.when(at=self._start)) | last * 0)

    def _searched(self, found: Series) -> Expression:
        last = last_over(found.over(self._reach, at=self._end))
        return last - (last_over(found.over(self._before, at=self._start)) | last * 0)
