"""Imported days as a server gives them back, beside what SQL makes of the values: the eight statistics of every row.

SQL sees the values right after they were read, knows nothing of slots, buckets, files, blocks or PromQL, and computes the
statistics by itself. What got lost before that it cannot see: ``witness`` asks the old tables themselves.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from math import isclose, sqrt
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.catalogue import DAILY_TABLE
from otel_metrics.importing.rows import date_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from otel_metrics.catalogue import DayKey
    from otel_metrics.importing.rows import Rows
    from otel_metrics.querying.source import Source

TOLERANCE: Final = 1e-9
"""Relative difference that computing in another order can explain."""

_SLACK: Final = {"stddev": TOLERANCE, "avg_value": 1e-14}
"""Shares of the largest value: the deviation of almost equal values is as exact as these are, and an average next to zero, too."""

_PERCENTILES: Final = {name: column.quantile for name, column in DAILY_TABLE.items() if column.quantile is not None}
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


def by_sql(rows: Rows, day: int) -> dict[DayKey, Numbers]:
    """Return the daily table of a day, computed by SQLite."""
    rows.load(day)
    keys = [(key, values.values) for key, values in rows.keepers.days.items() if values.values]
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE recorded (key INTEGER, value REAL)")
        connection.executemany(
            "INSERT INTO recorded VALUES (?, ?)",
            ((number, v) for number, (_, values) in enumerate(keys) for v in values),
        )
        table = {keys[row[0]][0]: _numbers(row) for row in connection.execute(_SQL)}
    connection.close()
    for key, (_, known) in rows.aggregates.get(day, {}).items():
        if key not in table or table[key]["count"] < known.count:
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
