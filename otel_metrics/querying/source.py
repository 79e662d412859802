"""What a source of recorded data is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timezone
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from otel_metrics.catalogue import SECONDS_PER_DAY
from otel_metrics.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_metrics.catalogue import DayKey, Metric
    from otel_metrics.querying.cookbook import Question
    from otel_metrics.querying.statistics import Statistics, ValueSummary
    from otel_metrics.results import SourceName

MOST_HOURS: Final = 36_525 * 24
"""A century."""

_EPOCH: Final = date(1970, 1, 1)  # not every server knows times before it


@dataclass(frozen=True, slots=True)
class Period:
    """The time from ``start`` up to, not including, ``end``, in unix seconds."""

    start: float
    end: float

    @classmethod
    def last(cls, hours: Any, now: float, call: str = "get_*") -> Period:
        """Return the last ``hours``, of which there must be more than none.

        Raises:
            InvalidArgumentError: ``hours`` is not a positive number, or more than a century.
        """
        if isinstance(hours, bool) or not isinstance(hours, Real) or not 0 < hours <= MOST_HOURS:  # type: ignore[operator]
            raise InvalidArgumentError(call, "hours", hours, "range", f"a number above 0, up to {MOST_HOURS}")
        return cls(max(now - float(hours) * 3600, 0.0), now)

    @classmethod
    def of_day(cls, day: date) -> Period:
        """Return a UTC day."""
        start = datetime.combine(day, time(), timezone.utc).timestamp()
        return cls(start, start + SECONDS_PER_DAY)

    @property
    def seconds(self) -> float:
        """Return how long it is."""
        return self.end - self.start


def parse_day(value: str | date | None, now: float, call: str = "aggregate_daily_metrics") -> date:
    """Return the UTC day that ``value`` means: ``2025-12-14``, a date, or ``None`` for today.

    A moment with a time zone means the UTC day that it lies in, one without the day that it shows.

    Raises:
        InvalidArgumentError: it is none of these.
    """
    if value is None:
        return datetime.fromtimestamp(now, timezone.utc).date()
    try:
        if isinstance(value, datetime):
            day = (value.astimezone(timezone.utc) if value.tzinfo else value).date()
        elif isinstance(value, date):
            day = value
        else:
            day = datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=timezone.utc).date()
    except (TypeError, ValueError, OverflowError):  # the last two also for a time zone that leads out of the calendar
        raise InvalidArgumentError(call, "date", value, "format", "YYYY-MM-DD") from None
    if day < _EPOCH:
        raise InvalidArgumentError(call, "date", value, "range", f"a day from {_EPOCH} on")
    return day


@dataclass(frozen=True, slots=True)
class Query:
    """What to ask of one metric.

    ``by``: labels to group by, all others are added up. ``where``: labels that must have these values. ``limit``: return this
    many groups of a distribution at most, those with the most values; 0 for all.
    """

    metric: Metric
    by: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    limit: int = 0


class DistributionQuery(Query):
    """Asks for the values recorded in a histogram: rows of :class:`~otel_metrics.querying.statistics.ValueSummary`."""

    __slots__ = ()


class TotalQuery(Query):
    """Asks for the increments of a counter: rows of numbers."""

    __slots__ = ()


class LatestQuery(Query):
    """Asks for the value that a gauge has at the end, the highest of several processes': rows of numbers."""

    __slots__ = ()


class AnswerRow(NamedTuple):
    """One group of an answer."""

    labels: Mapping[str, str]
    value: Any
    """A summary, or a number."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source knows. A query without any data has no rows, which is not the same as rows that hold zero."""

    tables: Mapping[str, Sequence[AnswerRow]]
    source: SourceName
    period: Period
    """What is really covered."""
    warnings: tuple[str, ...] = ()
    scope: Mapping[str, str] = field(default_factory=dict)
    """Labels that all series have that were asked for; none of them: everything that the source knows."""

    def distributions(self, name: str) -> list[tuple[Mapping[str, str], ValueSummary]]:
        """Return the rows of a :class:`DistributionQuery` that hold any values."""
        return [(row.labels, row.value) for row in self.tables.get(name, ()) if row.value.count]

    def numbers(self, name: str) -> list[tuple[Mapping[str, str], float]]:
        """Return the rows of a :class:`TotalQuery` or :class:`LatestQuery`."""
        return [(row.labels, row.value) for row in self.tables.get(name, ()) if isfinite(row.value)]


_PARTIAL: Final = "the day is not over, or not known in full"


class Completeness(NamedTuple):
    """How much of a row's day is known."""

    instances: int | None
    """Processes that recorded values of the row; None if that is not known."""
    reasons: tuple[str, ...] = ()
    """Why values may be missing; none if the row is complete."""

    @property
    def complete(self) -> bool | None:
        """Return whether everything that was recorded on the day is in; None if that is not known."""
        return None if self.instances is None and not self.reasons else not self.reasons


@dataclass(frozen=True, slots=True)
class DayTable:
    """The values recorded in one UTC day, in base units."""

    day: date
    rows: Mapping[DayKey, Statistics]
    units: Sequence[Mapping[str, str]]
    """Labels of the info metric that tells the units that callers recorded with."""
    source: SourceName
    partial: bool
    """More may come, or part of the day is not known to this source."""
    warnings: tuple[str, ...] = ()
    completeness: Mapping[DayKey, Completeness] = field(default_factory=dict)
    """Of every row, unless this process alone answers for all."""
    scope: Mapping[str, str] = field(default_factory=dict)
    """Labels that all series have that were asked for."""

    def known_of(self, key: DayKey) -> Completeness:
        """Return how much of a row is known."""
        known = self.completeness.get(key, Completeness(1))
        return known._replace(reasons=(_PARTIAL, *known.reasons)) if self.partial else known


class QueryRow(NamedTuple):
    """One number of an answer."""

    time: float
    """In unix seconds: the end of what it covers."""
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class QueryTable:
    """The answer to a question, or to any query."""

    question: str
    """In words; empty for a query of the caller's own."""
    value: str
    """What the numbers are."""
    promql: str
    period: Period
    step: float
    """Seconds between the points of a curve; 0 where there is one number of each series."""
    labels: tuple[str, ...]
    """The names of the labels that any row has."""
    rows: Sequence[QueryRow]
    warnings: tuple[str, ...] = ()
    scope: Mapping[str, str] = field(default_factory=dict)
    """Labels that all series have that were asked for."""

    @property
    def headings(self) -> dict[str, str]:
        """Return the labels' headings beside ``time`` and ``value``."""
        return {name: f"label_{name}" if name in {"time", "value"} else name for name in self.labels}


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What to ask, of which time."""

    asked: Question | str
    period: Period
    step: float = 0.0
    feature: str | None = None

    @property
    def seconds(self) -> float:
        """Return how many seconds one number of the answer covers."""
        return self.step or self.period.seconds


class Source(Protocol):
    """Answers what was recorded.

    Raises:
        QueryError: any method, when the answer cannot be had.
    """

    name: SourceName

    def fetch(self, plan: Mapping[str, Query], period: Period) -> Answer:
        """Answer every query of ``plan`` for the same period."""

    def day(self, day: date) -> DayTable:
        """Return the daily table's rows of a day."""

    def ask(self, inquiry: Inquiry) -> QueryTable:
        """Answer a question of the cookbook, or any query."""
