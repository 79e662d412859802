"""The local source: answers from what this process itself recorded, or all that share a directory with it.

Exactly, while the values are few enough to be kept.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from heapq import nlargest
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Protocol

from otel_metrics import catalogue as c
from otel_metrics.catalogue import DayKey, Kind
from otel_metrics.errors import ConfigurationError
from otel_metrics.querying.source import Answer, AnswerRow, DayTable, DistributionQuery, Period, TotalQuery
from otel_metrics.querying.statistics import RecordedValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import date

    from otel_metrics.catalogue import Metric
    from otel_metrics.querying.source import Inquiry, Query
    from otel_metrics.results import SourceName
    from otel_metrics.sketch import Part

_LAST: Final = sys.float_info.max
"""After every time: a gauge's last value is all that is kept of it, so it counts even if it was set while we were asked."""


class LocalValues(Protocol):
    """What is kept of what was recorded. Times are unix seconds; all methods leave out series without data."""

    def covered(self, metrics: Iterable[Metric], start: float, end: float) -> tuple[float, float]:
        """Return the part of a period that values of ``metrics`` are kept of in whole."""

    def values(self, metric: Metric, start: float, end: float) -> Iterator[tuple[Mapping[str, str], list[Part]]]:
        """Yield labels and values of every series of a histogram."""

    def counts(self, metric: Metric, start: float, end: float) -> Iterator[tuple[Mapping[str, str], float]]:
        """Yield labels and increment of every series of a counter."""

    def latest(self, metric: Metric, end: float) -> Iterator[tuple[Mapping[str, str], float, float]]:
        """Yield labels, value and time of every series of a gauge."""


class Local(NamedTuple):
    """What a question is answered from."""

    values: LocalValues
    scope: Mapping[str, str] = MappingProxyType({})
    """The instance that all processes are together; nothing: this process alone."""
    warnings: tuple[str, ...] = ()


class LocalSource:
    """Reads the local store, into which whoever asks has folded what is pending.

    Args:
        local: returns what the next question is answered from.
    """

    name: SourceName = "local"

    def __init__(self, local: Callable[[], Local]) -> None:
        self._local = local

    def fetch(self, plan: Mapping[str, Query], period: Period) -> Answer:
        """Answer every query of ``plan``; the answer says which period it covers, see :meth:`LocalValues.covered`."""
        store, scope, warnings = self._local()
        covered = Period(*store.covered({query.metric for query in plan.values()}, period.start, period.end))
        rows = {name: _rows(store, query, covered) for name, query in plan.items()}
        return Answer(rows, self.name, covered, warnings, scope)

    def day(self, day: date) -> DayTable:
        """Return the daily table's rows of a day; partial unless it is known in whole and over."""
        store, scope, warnings = self._local()
        period = Period.of_day(day)
        metrics = [metric for metric in c.CATALOGUE if metric.daily]
        covered = Period(*store.covered(metrics, period.start, period.end))
        found: defaultdict[DayKey, list[Part]] = defaultdict(list)
        for metric in metrics:
            if metric.daily:
                for labels, parts in store.values(metric, covered.start, covered.end):
                    found[DayKey.of(metric.daily, labels)] += parts
        rows = {key: RecordedValues(tuple(parts)).statistics() for key, parts in found.items() if parts}
        units = [labels for labels, _, _ in store.latest(c.PERFORMANCE_UNIT, _LAST)]
        partial = covered != period or bool(warnings)
        return DayTable(day, rows, units, self.name, partial, warnings, scope=scope)

    def ask(self, inquiry: Inquiry) -> NoReturn:
        """Reject a question: it is one to a server.

        Raises:
            ConfigurationError: always.
        """
        del inquiry
        raise ConfigurationError("query() asks a Prometheus server: set prometheus_url (OTM_PROMETHEUS_URL)")


def _rows(store: LocalValues, query: Query, period: Period) -> list[AnswerRow]:
    groups: defaultdict[tuple[str, ...], list[Any]] = defaultdict(list)
    for labels, value in _series(store, query.metric, period):
        if all(labels.get(name, "") == wanted for name, wanted in query.where):
            groups[tuple(labels.get(name, "") for name in query.by)].append(value)
    together: Callable[[list[Any]], Any] = max
    if isinstance(query, DistributionQuery):
        together = RecordedValues.of
    elif isinstance(query, TotalQuery):
        together = sum
    rows = [AnswerRow(dict(zip(query.by, key, strict=True)), together(values)) for key, values in groups.items()]
    if query.limit and len(rows) > query.limit:
        rows = nlargest(query.limit, rows, key=_count)
    return rows


def _series(store: LocalValues, metric: Metric, period: Period) -> Iterator[tuple[Mapping[str, str], Any]]:
    if metric.kind is Kind.HISTOGRAM:
        yield from store.values(metric, period.start, period.end)
    elif metric.kind is Kind.COUNTER:
        yield from store.counts(metric, period.start, period.end)
    else:
        for labels, value, _ in store.latest(metric, _LAST):
            yield labels, value


def _count(row: AnswerRow) -> int:
    count: int = row.value.count
    return count
