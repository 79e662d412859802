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
from otel_metrics.catalogue import Kind
from otel_metrics.naming import series_name
from otel_metrics.querying.promql import PART, at, milliseconds, quoted, selector
from otel_metrics.querying.source import SECONDS_PER_DAY, DistributionQuery, LatestQuery

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from otel_metrics.catalogue import Daily
    from otel_metrics.querying.source import Period, Query

INSTANCE: Final = "service_instance_id"

NATIVE: Final = "native"
BUCKETS: Final = "buckets"
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
        return f"{INSTANCE}=~{self._pattern}"

    @property
    def others(self) -> str:
        """Return the matcher that selects the series of all others."""
        return f"{INSTANCE}!~{self._pattern}"

    @property
    def _pattern(self) -> str:
        return quoted("|".join(map(re.escape, self.instances)))


def processes(period: Period) -> dict[str, str]:
    """Return the expressions for the irregular processes of a period, and for the number of all."""
    name = series_name(c.SERIES)

    def by_process(values: str) -> str:
        return f"count by ({INSTANCE}) ({values})"

    start, end = at(period.start), at(period.end)
    seen = by_process(f"last_over_time({name}[{milliseconds(period.seconds + LOOKBACK)}] {end})")
    before = by_process(f"last_over_time({name}[{milliseconds(_GAP)}] {start})")
    ended = f"{seen} unless {by_process(f'{name} {end}')}"
    gap = f"{seen} and ({before} unless {by_process(f'{name} {start}')})"
    return {IRREGULAR: f"(({ended}) or ({gap}))", SEEN: f"count({seen})"}


def parts(queries: Mapping[str, Query], moment: Moment, *, without: Collection[str] = ()) -> dict[str, str]:
    """Return the expressions that answer every query, by query name and form; ``without`` forms that are not needed."""
    return {
        f"{name}:{form}": expression
        for name, query in queries.items()
        for form, expression in _forms(query, moment)
        if form not in without
    }


def _forms(query: Query, moment: Moment) -> list[tuple[str, str]]:
    """Return (form, expression) of what answers one query, however the server stores the metric."""
    name = series_name(query.metric)
    if isinstance(query, LatestQuery):
        return [(NUMBER, moment.latest(name, query.by, query.where))]
    if query.metric.kind is Kind.COUNTER or not isinstance(query, DistributionQuery):
        return [(NUMBER, moment.increase(name, query.by, query.where))]
    by = (*query.by, c.SIGN.name) if c.SIGN in query.metric.labels else query.by
    native = moment.increase(name, by, query.where)
    count = f"({moment.increase(f'{name}_count', by, query.where)} > 0)"
    total = moment.increase(f"{name}_sum", by, query.where)
    buckets = moment.increase(f"{name}_bucket", (*by, "le"), query.where)
    if query.limit:
        groups = ", ".join(query.by)
        most = f"and on ({groups}) topk({query.limit}, {moment.increase(f'{name}_count', query.by, query.where)} > 0)"
        count = f"({count} {most})"
        total = f"({total} {most})"
        most = f"topk({query.limit}, histogram_count({moment.increase(name, query.by, query.where)}) > 0)"
        native = f"({native} and on ({groups}) {most})"
    # Buckets that say nothing new, as they hold none of the values or all of them, need not travel.
    telling = f"(({buckets} > 0) < ignoring (le) group_left () {count})"
    forms = [(NATIVE, native), (BUCKETS, telling), (SUM, total), (COUNT, count)]
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


def _extremes(query: Query, daily: Daily, moment: Moment) -> list[tuple[str, str]]:
    """Return what bounds the values of a query: the extremes of the days that its period lies in."""
    there = {daily.type_label: c.METRIC_TYPE.name, daily.name_label: c.METRIC_NAME.name, daily.unit_label: c.UNIT.name}
    where = [(there.get(label, label), value) for label, value in query.where]
    if daily.metric_type:
        where.append((c.METRIC_TYPE.name, daily.metric_type))
    if not daily.unit_label:
        where.append((c.UNIT.name, daily.unit))
    by = ", ".join(extremes_by(query, daily))
    return [
        (LOW, f"min by ({by}) ({moment.last(series_name(c.DAILY_MIN), where)})"),
        (HIGH, f"max by ({by}) ({moment.last(series_name(c.DAILY_MAX), where)})"),
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

    def last(self, name: str, where: Sequence[tuple[str, str]]) -> str:
        """Return the value of every series at the end, also of those that are not scraped any more."""
        if self._irregular is None:
            return f"last_over_time({selector(name, where)}[{self._reach}] {self._end})"
        present = f"{selector(name, where)} {self._end}"
        if not self._irregular.instances:
            return present
        past = selector(name, where, (self._irregular.matcher,))
        return f"({present} or last_over_time({past}[{self._reach}] {self._end}))"

    def latest(self, name: str, by: Sequence[str], where: Sequence[tuple[str, str]]) -> str:
        """Return the highest value at the end, grouped; ended processes tell only of groups that no living one has."""
        groups = f"max by ({', '.join(by)})"
        present = f"{groups} ({selector(name, where)} {self._end})"
        if self._irregular is not None and not self._irregular.instances:
            return present
        matchers = (self._irregular.matcher,) if self._irregular else ()
        past = f"last_over_time({selector(name, where, matchers)}[{self._reach}] {self._end})"
        return f"({present} or {groups} ({past}))"

    def increase(self, name: str, by: Sequence[str], where: Sequence[tuple[str, str]]) -> str:
        """Return what was added in the period, grouped."""
        groups = f"sum by ({', '.join(by)})"
        if self._irregular is None:
            return f"{groups} ({self._searched(selector(name, where))})"
        if not self._irregular.instances:
            return f"({self._subtracted(groups, selector(name, where))})"
        regular = self._subtracted(groups, selector(name, where, (self._irregular.others,)))
        searched = f"{groups} ({self._searched(selector(name, where, (self._irregular.matcher,)))})"
        both = f'label_replace({regular}, "{PART}", "regular", "", "") or label_replace({searched}, "{PART}", "searched", "", "")'
        return f"{groups} ({both})"

    def _subtracted(self, groups: str, series: str) -> str:
        last = f"{groups} ({series} {self._end})"
        return f"{last} - ({groups} ({series} {self._start}) or {last} * 0)"

    def _searched(self, series: str) -> str:
        last = f"last_over_time({series}[{self._reach}] {self._end})"
        return f"{last} - (last_over_time({series}[{self._before}] {self._start}) or {last} * 0)"
