"""The Prometheus source: asks a server for what all processes recorded, in a few requests, however many series there are.

Metrics are read as the server stores them: native histograms where it has them, classic ones otherwise. Which dialect the server
understands is asked once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from math import isfinite, nan
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import SIGN, DayKey
from otel_metrics.errors import BadAnswerError, BadQueryError, QueryError, QueryTimeoutError, UnreachableError
from otel_metrics.promql import INSTANCE, PROMETHEUS_3_5, Histograms, of_server
from otel_metrics.querying import days, expressions
from otel_metrics.querying.buckets import Buckets
from otel_metrics.querying.expressions import Irregular, Moment
from otel_metrics.querying.questions import Questions
from otel_metrics.querying.scope import Scope
from otel_metrics.querying.source import Answer, AnswerRow, DayTable, DistributionQuery, LatestQuery, Period

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import date

    from otel_metrics.promql import Dialect, Expression
    from otel_metrics.querying.client import PrometheusClient, Sample
    from otel_metrics.querying.source import Inquiry, Query, QueryTable
    from otel_metrics.results import SourceName

    Parts = Mapping[str, Sequence[Sample]]

NAMED: Final = 720
"""Characters of the names of irregular processes (twenty instance ids) that still make queries which every engine takes, see
:data:`~otel_metrics.querying.expressions.LONGEST`. Of more of them, all processes are searched."""

_ATTEMPTS: Final = 3
"""How often it is asked again before all processes are searched, which holds whatever happens meanwhile."""

_NOT_THE_QUERY: Final = frozenset({"canceled", "internal", "unavailable"})
"""Kinds of errors that another query would not avoid."""

_NEGATIVE: Final = SIGN.values[1]

_TRANSLATE: Final = (
    "have OTLP names translated, with translation_strategy: UnderscoreEscapingWithSuffixes in Prometheus, "
    "-opentelemetry.usePrometheusNaming in VictoriaMetrics"
)
_SEVERAL_TIMES: Final = (
    "rows are recorded several times, for several jobs or from a part of the series each, and one of them is shown: choose a job "
    "with prometheus_matchers, or evaluate the rules in one place, over all series"
)


class PrometheusSource:
    """Asks a server with Prometheus' HTTP API.

    Args:
        client: for the server.
        clock: unix time in seconds.
        scope: whose series are asked for.
    """

    name: SourceName = "prometheus"

    def __init__(self, client: PrometheusClient, clock: Callable[[], float], scope: Scope | None = None) -> None:
        self._client = client
        self._clock = clock
        self._scope = scope or Scope()
        self._dialect: Dialect | None = None
        self._questions = Questions(client, self._scope, lambda: self.dialect)

    @property
    def dialect(self) -> Dialect:
        """What the server understands: it is asked what it is, once. One that does not say is taken for an older Prometheus.

        Raises:
            UnreachableError: nothing answered.
        """
        if self._dialect is None:
            try:
                self._dialect = of_server(self._client.build())
            except QueryError as error:
                if isinstance(error, UnreachableError) and not isinstance(error, QueryTimeoutError):
                    raise
                self._dialect = PROMETHEUS_3_5
        return self._dialect

    def fetch(self, plan: Mapping[str, Query], period: Period) -> Answer:
        """Answer every query of ``plan``: one request about the processes, one or two for everything else."""
        with self._client.within_one_timeout():
            remarks = self._scope.find(self._client, self._clock())
            answer = self._fetch(plan, period)
            return replace(answer, scope=self._scope.labels, warnings=(*remarks, *answer.warnings))

    def day(self, day: date) -> DayTable:
        """Return the daily table's rows: of a past day from the recorded table, if it has any, else computed."""
        with self._client.within_one_timeout():
            remarks = self._scope.find(self._client, self._clock())
            table = self._day(day)
            return replace(table, scope=self._scope.labels, warnings=(*remarks, *table.warnings))

    def ask(self, inquiry: Inquiry) -> QueryTable:
        """Answer a question of the cookbook in the server's dialect, or any query as it is."""
        with self._client.within_one_timeout():
            return self._questions.ask(inquiry)

    def _fetch(self, plan: Mapping[str, Query], period: Period) -> Answer:

        def asked(dialect: Dialect, irregular: Irregular | None) -> Mapping[str, Expression]:
            return expressions.parts(plan, Moment(period, irregular), dialect)

        dialect = self.dialect
        try:
            parts, warnings = self._settled(partial(asked, dialect), period, period.end)
        except BadQueryError as error:
            # Engines without native histograms may not know the functions for them.
            if not dialect.native or error.kind in _NOT_THE_QUERY:
                raise
            dialect = dialect.storing(Histograms.CLASSIC)
            parts, warnings = self._settled(partial(asked, dialect), period, period.end)
            self._dialect = dialect
        tables = {name: self._rows(query, name, parts) for name, query in plan.items()}
        odd = sum(
            not isinstance(row.value, Buckets) and not isfinite(row.value) for table in tables.values() for row in table
        )
        if odd:
            warnings = (*warnings, f"{odd} values that are not finite numbers were left out")
        # Gauges without a unit are called the same in every way.
        if not any(rows for name, rows in tables.items() if not isinstance(plan[name], LatestQuery)):
            warnings = (*warnings, *self._misnamed(period.end))
        return Answer(tables, self.name, period, warnings)

    def _day(self, day: date) -> DayTable:
        whole, now = Period.of_day(day), self._clock()
        if now <= whole.start:
            return DayTable(day, {}, (), self.name, partial=True)
        recorded = self._recorded(day, whole) if now >= whole.end + days.RECORDED_AFTER else None
        if recorded is None:
            return self._computed(day, whole, now)
        table, several = recorded
        # Rules cannot mirror native histograms: days with values below zero come without percentiles.
        lacking = several | {key for key, row in table.rows.items() if row.p50 is None}
        if not lacking:
            return table
        computed = self._computed(day, whole, now).rows
        table = replace(table, rows={**table.rows, **{key: computed[key] for key in lacking if key in computed}})
        if several - set(computed):
            table = replace(table, warnings=(*table.warnings, _SEVERAL_TIMES))
        return table

    def _recorded(self, day: date, whole: Period) -> tuple[DayTable, set[DayKey]] | None:
        """Read what the recording rules stored about a day; return the rows, and which of them are there more than once."""
        irregular = self._irregular(whole)
        units = expressions.parts({"unit": days.UNITS}, Moment(whole, irregular))
        columns = days.recorded(whole)
        known = days.completeness(whole, irregular, over=True, recorded=True)
        parts, warnings = self._parts({**columns, **units, **known}, whole.end)
        rows = days.from_recorded(_numbers(columns, parts))
        if not rows:
            return None
        completeness = days.completenesses(rows, _numbers(known, parts))
        table = DayTable(day, rows, self._units(parts), self.name, False, warnings, completeness)
        return table, days.several(parts.get("count", ()))

    def _computed(self, day: date, whole: Period, now: float) -> DayTable:
        """Compute the rows of a day, or of its part so far, from what the processes exposed."""
        so_far, over = Period(whole.start, min(whole.end, now)), now >= whole.end
        queries = days.distributions()

        def accumulated(irregular: Irregular | None) -> Mapping[str, Expression]:
            return days.accumulated(so_far, irregular, over=over)

        def completeness(irregular: Irregular | None) -> Mapping[str, Expression]:
            return days.completeness(so_far, irregular, over=over)

        def asked(irregular: Irregular | None) -> Mapping[str, Expression]:
            without = (expressions.LOW, expressions.HIGH)
            moment = Moment(so_far, irregular)
            others = expressions.parts({**queries, "unit": days.UNITS}, moment, self.dialect, without=without)
            return {**accumulated(irregular), **completeness(irregular), **others}

        parts, warnings = self._settled(asked, so_far, now)
        histograms: dict[DayKey, Buckets] = {}
        for name, query in queries.items():
            if query.metric.daily:
                for labels, buckets in self._rows(query, name, parts):
                    key = DayKey.of(query.metric.daily, labels)
                    histograms[key] = histograms[key].plus(buckets) if key in histograms else buckets
        table = days.from_accumulated(_numbers(accumulated(None), parts), histograms)
        known = days.completenesses(table, _numbers(completeness(None), parts))
        return DayTable(day, table, self._units(parts), self.name, not over, warnings, known)

    def _misnamed(self, when: float) -> tuple[str, ...]:
        """Return a warning where our metrics are stored under names that nobody reads."""
        found, _ = self._client.query(str(expressions.misnamed()), when)
        if not found:
            return ()
        names = ", ".join(sorted(sample.labels.get("__name__", "") for sample in found)[:3])
        return (f"{self._client.url} stores metrics under names that are not read ({names}): {_TRANSLATE}",)

    def _units(self, parts: Parts) -> list[Mapping[str, str]]:
        return [row.labels for row in self._rows(days.UNITS, "unit", parts)]

    def _irregular(self, period: Period) -> Irregular | None:
        """Ask which processes cannot be answered for by looking at both edges of a period; None for all."""
        parts, _ = self._parts(expressions.processes(period), period.end)
        return _irregular(parts)

    def _settled(
        self, asked: Callable[[Irregular | None], Mapping[str, Expression]], period: Period, when: float
    ) -> tuple[Parts, tuple[str, ...]]:
        """Ask what depends on which processes of a period are irregular; anew if these turn out to be others meanwhile.

        What a scrape finds has the time of its start. So a process that one request saw at the end of the period may not
        have been there for the next one, as a scrape has failed that began before it: nobody would count it.
        """
        irregular = self._irregular(period)
        for _ in range(_ATTEMPTS):
            # The last expressions of the last request, which sees everything at one time.
            parts, warnings = self._parts({**asked(irregular), **expressions.processes(period)}, when)
            after = _irregular(parts)
            if irregular is None or after == irregular:
                return parts, warnings
            irregular = after
        return self._parts(asked(None), when)

    def _parts(self, asked: Mapping[str, Expression], when: float) -> tuple[Parts, tuple[str, ...]]:
        """Ask several expressions, in as few requests as engines take; return samples by name, and the server's warnings."""
        parts: defaultdict[str, list[Sample]] = defaultdict(list)
        remarks: dict[str, None] = {}
        matchers = self._scope.matchers
        for batch in expressions.batches({name: each.narrowed(*matchers) for name, each in asked.items()}):
            samples, warnings = self._client.query(batch, when)
            remarks.update(dict.fromkeys(warnings))
            for sample in samples:
                parts[sample.labels.get(expressions.PART, "")].append(sample)
        return parts, tuple(remarks)

    def _rows(self, query: Query, name: str, parts: Parts) -> list[AnswerRow]:
        try:
            return rows(query, name, parts)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadAnswerError(f"{self._client.url}: a histogram that cannot be read: {error!r}") from error


def _irregular(parts: Parts) -> Irregular | None:
    found = [sample.labels.get(INSTANCE, "") for sample in parts.get(expressions.IRREGULAR, ())]
    if not parts.get(expressions.SEEN) or sum(map(len, found)) > NAMED:
        return None
    return Irregular(tuple(sorted(found)))


def rows(query: Query, name: str, parts: Parts) -> list[AnswerRow]:
    """Return the rows that answer one query."""
    if not isinstance(query, DistributionQuery):
        found = parts.get(f"{name}:{expressions.NUMBER}", ())
        return [AnswerRow(_picked(sample.labels, query.by), sample.value) for sample in found]
    histograms = _native(parts.get(f"{name}:{expressions.NATIVE}", ()))
    classic = _classic(
        query.metric.buckets,
        parts.get(f"{name}:{expressions.COUNT}", ()),
        parts.get(f"{name}:{expressions.SUM}", ()),
        parts.get(f"{name}:{expressions.BUCKETS}", ()),
    )
    histograms.update({labels: buckets for labels, buckets in classic.items() if labels not in histograms})
    histograms.update(_ranges(parts.get(f"{name}:{expressions.RANGES}", ()), histograms))
    groups: dict[tuple[str, ...], Buckets] = {}
    for labels, buckets in histograms.items():
        named = dict(labels)
        signed = buckets.mirrored() if named.get(SIGN.name) == _NEGATIVE else buckets
        group = tuple(named.get(label, "") for label in query.by)
        groups[group] = groups[group].plus(signed) if group in groups else signed
    found_rows = [AnswerRow(dict(zip(query.by, group, strict=True)), buckets) for group, buckets in groups.items()]
    return _bounded(
        query, found_rows, *(parts.get(f"{name}:{form}", ()) for form in (expressions.LOW, expressions.HIGH))
    )


def _bounded(query: Query, found: list[AnswerRow], lows: Iterable[Sample], highs: Iterable[Sample]) -> list[AnswerRow]:
    """Return the rows of a distribution, narrowed to the extremes of the days that it lies in, where these are known."""
    if query.metric.daily is None:
        return found
    shared = expressions.extremes_by(query, query.metric.daily)
    low, high = ({tuple(s.labels.get(there, "") for there in shared): s.value for s in side} for side in (lows, highs))
    bounded = []
    for labels, buckets in found:
        group = tuple(labels.get(here, "") for here in shared.values())
        known = group in low and group in high
        bounded.append(AnswerRow(labels, buckets.within(low[group], high[group]) if known else buckets))
    return bounded


def _numbers(names: Iterable[str], parts: Parts) -> dict[str, dict[DayKey, float]]:
    return {name: days.by_key(parts.get(name, ())) for name in names}


_LabelSet = tuple[tuple[str, str], ...]


def _native(samples: Iterable[Sample]) -> dict[_LabelSet, Buckets]:
    return {_identity(sample): Buckets.native(sample.histogram) for sample in samples if sample.histogram is not None}


def _classic(
    bounds: Sequence[float], counts: Iterable[Sample], sums: Iterable[Sample], samples: Iterable[Sample]
) -> dict[_LabelSet, Buckets]:
    cumulative: defaultdict[_LabelSet, dict[float, float]] = defaultdict(dict)
    for sample in samples:
        cumulative[_identity(sample)][float(sample.labels["le"])] = sample.value
    totals = {_identity(sample): sample.value for sample in sums}
    return {
        labels: Buckets.classic(cumulative.get(labels, {}), sample.value, totals.get(labels, nan), bounds)
        for labels, sample in ((_identity(sample), sample) for sample in counts)
    }


def _ranges(samples: Iterable[Sample], found: Mapping[_LabelSet, Buckets]) -> dict[_LabelSet, Buckets]:
    """Return the histograms that have buckets by range; ``found`` has their sums."""
    intervals: defaultdict[_LabelSet, list[tuple[float, float, float]]] = defaultdict(list)
    for sample in samples:
        lower, upper = map(float, sample.labels[expressions.RANGE].split("..."))
        intervals[_identity(sample)].append((lower, upper, sample.value))
    return {
        labels: Buckets.ranges(spans, found[labels].total) for labels, spans in intervals.items() if labels in found
    }


_OF_BUCKETS: Final = frozenset({expressions.PART, "le", expressions.RANGE})


def _identity(sample: Sample) -> _LabelSet:
    return tuple(sorted((name, value) for name, value in sample.labels.items() if name not in _OF_BUCKETS))


def _picked(labels: Mapping[str, str], by: Sequence[str]) -> dict[str, str]:
    return {name: labels.get(name, "") for name in by}
