"""The old system's table ``daily_aggregates``, written so that what reads it today keeps working."""

from __future__ import annotations

import argparse
import math
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.catalogue import DAILY_SQL, DAILY_SQL_KEY, DAILY_TABLE
from otel_metrics.errors import MetricsError
from otel_metrics.querying.caller_units import FIVE, SATISFACTION, to_one_to_five
from otel_metrics.settings import SCALES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


_CREATE: Final = f"""
CREATE TABLE IF NOT EXISTS {DAILY_SQL} (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    {", ".join(f"{name} TEXT NOT NULL" for name in DAILY_SQL_KEY)},
    {", ".join(f"{name} {column.sql}" for name, column in DAILY_TABLE.items())},
    created_at TEXT DEFAULT CURRENT_TIMESTAMP,
    UNIQUE({", ".join(DAILY_SQL_KEY)})
)"""
_UPDATE: Final = f"""
UPDATE {DAILY_SQL} SET {", ".join(f"{name} = :{name}" for name in DAILY_TABLE)}
WHERE {" AND ".join(f"{name} = :{name}" for name in DAILY_SQL_KEY)}"""  # noqa: S608
_COLUMNS: Final = (*DAILY_SQL_KEY, *DAILY_TABLE)
_INSERT: Final = f"""
INSERT INTO {DAILY_SQL} ({", ".join(_COLUMNS)}) VALUES ({", ".join(f":{name}" for name in _COLUMNS)})"""  # noqa: S608


def add_scales(command: argparse.ArgumentParser) -> None:
    """Add the option that says which scale a satisfaction type is on in the old system."""
    command.add_argument(
        "--scale",
        type=_scale,
        action="append",
        default=[],
        metavar="TYPE=SCALE",
        dest="scales",
        help=f"scale of a satisfaction type in the old system, {' or '.join(SCALES)}; may be given several times",
    )


def _scale(text: str) -> tuple[str, str]:
    kind, _, scale = text.rpartition("=")
    if not kind or scale not in SCALES:
        raise argparse.ArgumentTypeError(f"{text!r} is not TYPE=SCALE; scales: {', '.join(SCALES)}")
    return kind, scale


def write(
    path: Path, rows: Iterable[Mapping[str, Any]], scales: Mapping[str, str] | None = None
) -> list[Mapping[str, Any]]:
    """Write ``rows`` of ``aggregate_daily_metrics``; those of the same day and metric are replaced. All or none are written.

    ``scales``: of satisfaction types; scores are from 0 to 1 without. The table has no unit. Of rows that differ in nothing else the one with the most values is written, the others are returned.

    Raises:
        MetricsError: the file cannot be written, or its table is another one.
    """
    best: dict[tuple[str, ...], Mapping[str, Any]] = {}
    left_out: list[Mapping[str, Any]] = []
    for row in (_on_its_scale(row, scales or {}) for row in rows):
        key = tuple(str(row[name]) for name in DAILY_SQL_KEY)
        known = best.get(key)
        if known is not None:
            row, less = (row, known) if row["count"] > known["count"] else (known, row)  # noqa: PLW2901
            left_out.append(less)
        best[key] = row
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(_CREATE)
            for key, row in best.items():
                written = {
                    **dict(zip(DAILY_SQL_KEY, key, strict=True)),
                    **{name: _number(row.get(name)) for name in DAILY_TABLE},
                }
                # Not by ON CONFLICT: a table that others made may have no unique key.
                if not connection.execute(_UPDATE, written).rowcount:
                    connection.execute(_INSERT, written)
    except sqlite3.Error as error:
        raise MetricsError(f"{path}: {error}") from error
    return left_out


def _on_its_scale(row: Mapping[str, Any], scales: Mapping[str, str]) -> Mapping[str, Any]:
    if row["metric_type"] != SATISFACTION or scales.get(row["metric_name"]) != FIVE:
        return row
    scores = {name: to_one_to_five(row[name]) for name in DAILY_TABLE if name not in {"count", "stddev"}}
    return {**row, **scores, "stddev": row["stddev"] * (to_one_to_five(1) - to_one_to_five(0))}


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
