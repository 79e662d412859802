"""Imported days as a server gives them back, beside what SQL says.

Two checks. :func:`by_sql` computes the eight statistics of every row from the values as they were read: SQL knows nothing of
slots, buckets, files, blocks or PromQL. :class:`TableCheck` asks the old tables themselves, which nothing that reads, cuts or
computes has touched: counts, averages and extremes per day and key, and uses without a duration, of every row that the list
of rejections does not name. So a row that got lost on its way, and a rejection that was not listed, show as a difference.
"""

from __future__ import annotations

import csv
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from math import inf, isclose, sqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_metrics import catalogue as c
from otel_metrics.catalogue import DayKey
from otel_metrics.facade.scales import Scales, from_one_to_five
from otel_metrics.importing.old_aggregates import contains
from otel_metrics.importing.source_db import BEFORE_ALL, END_OF_PORTION, PORTION
from otel_metrics.importing.timestamps import MS_PER_DAY, date_of
from otel_metrics.querying.source import Period, TotalQuery
from otel_metrics.querying.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from otel_metrics.importing.day_builder import ImportBuffer
    from otel_metrics.importing.old_history import OldHistory
    from otel_metrics.importing.row_reader import BoundLabels
    from otel_metrics.importing.source_db import FoundTable
    from otel_metrics.querying.source import Source

TOLERANCE: Final = 1e-9
"""Relative difference that computing in another order can explain."""

_SLACK: Final = {"stddev": TOLERANCE, "avg_value": 1e-14}
"""Shares of the largest value: the deviation of almost equal values is as exact as these are, and an average next to zero, too."""

_PERCENTILES: Final = {name: column.quantile for name, column in c.DAILY_TABLE.items() if column.quantile is not None}
_PERCENTILE: Final = """
    max(CASE WHEN place = CAST({q} * (n - 1) AS INTEGER) THEN value END),
    max(CASE WHEN place = min(CAST({q} * (n - 1) AS INTEGER) + 1, n - 1) THEN value END)"""

_SQL: Final = f"""
WITH ranked AS (
    SELECT key, value,
        row_number() OVER (PARTITION BY key ORDER BY value) - 1 AS place,
        count(*) OVER (PARTITION BY key) AS n,
        avg(value) OVER (PARTITION BY key) AS mean
    FROM recorded)
SELECT key, n, mean, min(value), max(value), total((value - mean) * (value - mean)),
    {", ".join(_PERCENTILE.format(q=q) for q in _PERCENTILES.values())}
FROM ranked GROUP BY key
"""  # noqa: S608

_TABLES: Final = frozenset({"system_performance", "user_satisfaction", "feature_usage"})
_USES: Final = (c.FEATURE.name, c.ACTION.name)

_SUMS: Final = """
SELECT day, written, side, count(*), count(value), total(value), min(value), max(value), {labels} FROM (
    SELECT day_of("timestamp") AS day, written_day_of("timestamp") AS written, {labels}, CASE WHEN has_value({rowid}) THEN {value} END AS value,
        CASE WHEN {value} > 1 THEN 1 WHEN {value} < 1 THEN -1 ELSE 0 END AS side
    FROM "{table}" WHERE {rowid} > ? AND {rowid} <= ? AND is_kept({rowid}))
GROUP BY day, written, side, {groups}
"""


Numbers = dict[str, float]
"""Column of the daily table -> value."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One statistic that is not the same on both sides; ``None``: not there."""

    day: date
    key: DayKey
    column: str
    sql: float | None
    server: float | None


def by_sql(history: OldHistory, day: int) -> dict[DayKey, Numbers]:
    """Return the daily table of a day, computed by SQLite."""
    history.load(day)
    keys = [(key, values.values) for key, values in history.builder.days.items() if values.values]
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE recorded (key INTEGER, value REAL)")
        connection.executemany(
            "INSERT INTO recorded VALUES (?, ?)",
            ((number, v) for number, (_, values) in enumerate(keys) for v in values),
        )
        table = {keys[row[0]][0]: _numbers(row) for row in connection.execute(_SQL)}
    connection.close()
    _, used = history.statistics(day)
    for key, (rowid, known) in history.aggregates.get(day, {}).items():
        if rowid in used:
            table[key] = known.columns()
    return table


def by_server(source: Source, day: int) -> dict[DayKey, Numbers]:
    """Return the daily table of a day as a server answers it.

    Raises:
        QueryError: the server cannot answer.
    """
    return {key: known.columns() for key, known in source.day(date_of(day)).rows.items()}


def differences(day: int, sql: Mapping[DayKey, Numbers], server: Mapping[DayKey, Numbers]) -> Iterator[Difference]:
    """Yield every statistic of SQL's that the server has not, or not the same."""
    for key, expected in sql.items():
        found = server.get(key, {})
        scale = max(abs(expected.get("max_value", 0.0)), abs(expected.get("min_value", 0.0)))
        for column, value in expected.items():
            other = found.get(column)
            slack = _SLACK.get(column, 0.0) * scale
            if other is None or not isclose(value, other, rel_tol=TOLERANCE, abs_tol=slack):
                yield Difference(date_of(day), key, column, value, other)


def _numbers(row: tuple[Any, ...]) -> Numbers:
    _, n, mean, low, high, deviations, *places = row
    found = {
        "avg_value": mean,
        "min_value": low,
        "max_value": high,
        "stddev": sqrt(deviations / (n - 1)) if n > 1 else 0.0,
        "count": float(n),
    }
    for (name, q), below, above in zip(_PERCENTILES.items(), places[::2], places[1::2], strict=True):
        position = q * (n - 1)
        found[name] = below + (above - below) * (position - int(position))
    return found


class _Group(NamedTuple):
    """Rows of one day and one combination of labels, above one, below it, or exactly there."""

    side: int
    n: int
    total: float
    low: float
    high: float


class _Sums:
    """What is known of one key's day."""

    def __init__(self) -> None:
        self.n = 0
        self.total = 0.0
        self.low, self.high = inf, -inf
        self.told = True
        """Whether the values are known, not their number alone."""

    def add(self, n: int, total: float, low: float, high: float) -> None:
        """Add values in the base unit."""
        self.n += n
        self.total += total
        self.low, self.high = min(self.low, low), max(self.high, high)

    def numbers(self) -> Numbers:
        """Return them as columns of the daily table."""
        values = {"avg_value": self.total / self.n, "min_value": self.low, "max_value": self.high}
        return {"count": float(self.n), **(values if self.told else {})}


class TableCheck:
    """Asks the tables of an old database that was read, once for all days."""

    def __init__(self, history: OldHistory) -> None:
        self._history = history
        self._values: defaultdict[int, defaultdict[DayKey, _Sums]] = defaultdict(lambda: defaultdict(_Sums))
        self._uses: defaultdict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
        self._first: dict[DayKey, int] = {}
        self._shifted: set[tuple[DayKey, int]] = set()
        """Days of rows that are written as another day than that of UTC, and that other day."""
        history.report.flush()
        for found in history.database.tables:
            if found.table.name in _TABLES and not found.unreadable:
                self._ask(found)

    def days(self) -> set[int]:
        """Return the days that have rows."""
        return {*self._values, *self._uses}

    def expected(self, day: int) -> dict[DayKey, Numbers]:
        """Return what the server should have of a day.

        Left out are rows whose old aggregate tells of values that are gone, if what is there can be a part of them.
        """
        found = {key: sums for key, sums in self._values[day].items() if sums.n}
        return {key: sums.numbers() for key, sums in found.items() if not self._is_part(day, key, sums)}

    def _is_part(self, day: int, key: DayKey, sums: _Sums) -> bool:
        _, known = self._history.aggregates.get(day, {}).get(key, (0, None))
        whole_days = (key, day) not in self._shifted and day == self._first[key]
        part = Statistics(sums.n, sums.total, min=sums.low, max=sums.high)
        return known is not None and whole_days and contains(known, part)

    def differences(self, day: int, source: Source, server: Mapping[DayKey, Numbers]) -> Iterator[Difference]:
        """Yield what the server has not, or not the same.

        Raises:
            QueryError: the server cannot answer.
        """
        yield from differences(day, self.expected(day), server)
        for key, shifted in self._shifted:  # an old day's row, although its values are there as rows of other days
            if shifted == day and key in server and key not in self._values[day]:
                yield Difference(date_of(day), key, "count", 0.0, server[key]["count"])
        if self._uses[day]:
            answer = source.fetch({"uses": TotalQuery(c.USAGE, _USES)}, Period.of_day(date_of(day)))
            known = {tuple(labels[name] for name in _USES): value for labels, value in answer.numbers("uses")}
            for (feature, action), uses in sorted(self._uses[day].items()):
                if known.get((feature, action)) != uses:
                    key = DayKey(feature, "usage", action, "")
                    yield Difference(date_of(day), key, "uses", float(uses), known.get((feature, action)))

    def compared(self, day: int) -> int:
        """Return how many numbers of a day there are to compare."""
        return sum(map(len, self.expected(day).values())) + len(self._uses[day])

    def _ask(self, found: FoundTable) -> None:
        table, connection = found.table, self._history.database.connection
        rejected, without = self._rejections(found)
        connection.create_function("is_kept", 1, lambda rowid: rowid not in rejected)
        connection.create_function("has_value", 1, lambda rowid: rowid not in without)
        connection.create_function("day_of", 1, lambda text: self._days_of(text)[0])
        connection.create_function("written_day_of", 1, lambda text: self._days_of(text)[1])
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        (value,) = (f'"{name}"' if name in found.present else "NULL" for name in table.values)
        present = [name for name in table.labels if name in found.present]
        labels = ", ".join(f'"{name}"' for name in present)
        # A column may say that upper and lower case are the same; to labels they are not.
        groups = ", ".join(f'"{name}" COLLATE BINARY' for name in present)
        names = {"table": table.name, "rowid": found.rowid}
        query = _SUMS.format(labels=labels, groups=groups, value=value, **names)
        portion = END_OF_PORTION.format(portion=PORTION, **names)
        database = self._history.database
        start, last = BEFORE_ALL, database.last[table.name]
        while start < last:  # in portions, as the old system may still be at work
            ((end,),) = database.ask(portion, start)
            if end is None:
                break
            for day, written, side, rows, n, total, low, high, *texts in database.ask(query, start, min(end, last)):
                given = dict(zip(present, texts, strict=True))
                bound = self._history.reader.bind(table, tuple(map(given.get, table.labels)))
                self._count((day, written), bound, rows, _Group(side, n, total, low, high))
            start = end

    def _count(self, days: tuple[int, int], bound: BoundLabels, rows: int, group: _Group) -> None:
        day, written = days
        scaled = isinstance(bound.target, Scales)
        buffer = bound.target.one if scaled else bound.target
        if buffer.rows:
            self._uses[day][tuple(buffer.rows[0].labels[name] for name in _USES)] += rows
        if not group.n:
            return
        (key,) = buffer.day_keys()
        sums = self._values[day][key]
        self._first[key] = min(day, self._first.get(key, day))
        if written != day:
            self._shifted |= {(key, day), (key, written)}
        if scaled:
            self._add_scores(sums, bound.target, group)
        else:
            convert = buffer.columns[0].convert or list
            sums.add(group.n, *convert([group.total, group.low, group.high]))

    def _add_scores(self, sums: _Sums, scales: Scales[ImportBuffer], group: _Group) -> None:
        """Add scores; those of exactly one are on the scale that their type always has, if there is such a one."""
        scale = scales.fixed or {1: "1-5", -1: "0-1"}.get(group.side) or self._history.scales().get(scales.kind)
        sums.told = sums.told and scale is not None
        if scale == "1-5":
            low, high = from_one_to_five([group.low, group.high])
            sums.add(group.n, (group.total - group.n) / 4, low, high)
        else:
            sums.add(group.n, group.total, group.low, group.high)

    def _days_of(self, text: Any) -> tuple[int | None, int | None]:
        """Return the day of a timestamp, and the day that it is written as."""
        try:
            moment, written = self._history.reader.timestamps.read(text)
        except ValueError:
            return None, None
        return moment // MS_PER_DAY, written

    def _rejections(self, found: FoundTable) -> tuple[set[int], set[int]]:
        """Return the ids of rows that were rejected, and of rows that were imported without their value, from the list."""
        rejected, without = set[int](), set[int]()
        with self._history.report.path.open(newline="", encoding="utf-8") as file:
            for name, rowid, what, _ in csv.reader(file):
                if name == found.table.name and rowid.lstrip("-").isdecimal():  # else the span of a whole day
                    if what == "row":
                        rejected.add(int(rowid))
                    elif what in found.table.values:
                        without.add(int(rowid))
        return rejected, without
