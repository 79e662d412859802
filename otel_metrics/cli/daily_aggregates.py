"""The old system's table ``daily_aggregates``, written so that what reads it today keeps working."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.errors import MetricsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

TABLE: Final = "daily_aggregates"

_CREATE: Final = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    date TEXT NOT NULL,
    feature TEXT NOT NULL,
    metric_type TEXT NOT NULL,
    metric_name TEXT NOT NULL,
    avg_value REAL,
    min_value REAL,
    max_value REAL,
    stddev REAL,
    count INTEGER,
    percentile_50 REAL,
    percentile_95 REAL,
    percentile_99 REAL,
    created_at TEXT DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(date, feature, metric_type, metric_name)
)"""
_KEY: Final = ("date", "feature", "metric_type", "metric_name")
_NUMBERS: Final = (
    "avg_value",
    "min_value",
    "max_value",
    "stddev",
    "count",
    "percentile_50",
    "percentile_95",
    "percentile_99",
)
_WRITE: Final = f"""
INSERT INTO {TABLE} ({", ".join((*_KEY, *_NUMBERS))}) VALUES ({", ".join("?" * len((*_KEY, *_NUMBERS)))})
ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _NUMBERS)}"""  # noqa: S608


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Write ``rows`` of ``aggregate_daily_metrics``; those of the same day and metric are replaced. All or none are written.

    The table has no unit. Of rows that differ in nothing else the one with the most values is written, the others are returned.

    Raises:
        MetricsError: the file cannot be written, or its table is another one.
    """
    best: dict[tuple[str, ...], Mapping[str, Any]] = {}
    left_out: list[Mapping[str, Any]] = []
    for row in rows:
        key = tuple(str(row[name]) for name in _KEY)
        known = best.get(key)
        if known is not None:
            row, less = (row, known) if row["count"] > known["count"] else (known, row)  # noqa: PLW2901
            left_out.append(less)
        best[key] = row
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(_CREATE)
            connection.executemany(_WRITE, ((*key, *map(_number, map(row.get, _NUMBERS))) for key, row in best.items()))
    except sqlite3.Error as error:
        raise MetricsError(f"{path}: {error}") from error
    return left_out


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
