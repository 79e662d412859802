"""The documented tables of the old database, and how much of them a given file has."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.importing.errors import ImportFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMESTAMP: Final = "timestamp"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with one row per record call.

    ``call`` is the method of :class:`~otel_metrics.facade.binding.Binding` that its labels are arguments of, in the order of
    ``labels``; ``values`` are in the order of the bound cell's columns. ``required`` columns must be there, others may be.
    """

    name: str
    call: str
    labels: tuple[str, ...]
    values: tuple[str, ...]
    required: frozenset[str]


def _table(name: str, call: str, labels: str, values: str, optional: str = "") -> Table:
    columns = (*labels.split(), *values.split())
    return Table(
        name, call, tuple(labels.split()), tuple(values.split()), frozenset(columns) - frozenset(optional.split())
    )


TABLES: Final[tuple[Table, ...]] = (
    _table(
        "system_performance", "performance", "feature metric_category metric_name unit context", "value", "unit context"
    ),
    _table("user_satisfaction", "satisfaction", "feature satisfaction_type", "score"),
    _table(
        "feature_usage",
        "usage",
        "feature action success error_type user_context",
        "duration_ms",
        "success error_type user_context duration_ms",
    ),
    _table(
        "learning_effectiveness",
        "learning",
        "feature learning_type",
        "accuracy confidence improvement_rate sample_size",
        "accuracy confidence improvement_rate sample_size",
    ),
    _table(
        "optimization_impact",
        "optimization",
        "feature optimization_id impact_category",
        "before_value after_value user_impact_score",
        "user_impact_score",
    ),
    _table(
        "resource_utilization",
        "resource",
        "resource_type resource_name unit",
        "utilization_percent allocated used",
        "allocated used unit",
    ),
    _table(
        "error_metrics",
        "error",
        "feature error_type error_severity recovery_attempted recovery_successful impact_level",
        "",
        "recovery_attempted recovery_successful impact_level",
    ),
)

AGGREGATES: Final = "daily_aggregates"
AGGREGATE_COLUMNS: Final = (
    "date",
    "feature",
    "metric_type",
    "metric_name",
    "avg_value",
    "min_value",
    "max_value",
    "stddev",
    "count",
    "percentile_50",
    "percentile_95",
    "percentile_99",
)

_PORTION: Final = 50_000
"""Rows that are read at a time."""

_IGNORED: Final = frozenset({"id", "created_at", "metadata", "feedback", "interaction_id", "error_message"})
"""Columns that hold what is no number and no label: they stay in the old database."""


@dataclass(frozen=True, slots=True)
class Found:
    """One table of a file: what of it can be read, and what cannot be, and why."""

    table: Table
    present: frozenset[str]
    missing: tuple[str, ...]
    """Required columns that are not there: then the table cannot be read."""
    unknown: tuple[str, ...]
    """Columns that nobody documented."""

    def select(self) -> str:
        """Return the query for its rows: rowid, timestamp, labels, values; ``?`` is the rowid to go on after."""
        wanted = (TIMESTAMP, *self.table.labels, *self.table.values)
        columns = ", ".join(f'"{name}"' if name in self.present else "NULL" for name in wanted)
        return f'SELECT rowid, {columns} FROM "{self.table.name}" WHERE rowid > ? ORDER BY rowid'  # noqa: S608


class OldDatabase:
    """The old system's file, opened read-only; the old system may go on writing to it.

    Raises:
        ImportFailedError: it is no SQLite database, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ImportFailedError(f"{path}: no such file")
        try:
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            names = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        except sqlite3.DatabaseError as error:
            raise ImportFailedError(f"{path}: {error}") from error
        self._check()
        self.names = sorted(name for (name,) in names if not name.startswith("sqlite_"))
        known = {table.name: table for table in TABLES}
        self.tables = [self._inspected(known[name]) for name in self.names if name in known]
        self.aggregates = AGGREGATES in self.names and self._columns(AGGREGATES) >= set(AGGREGATE_COLUMNS)
        self.unknown = [name for name in self.names if name not in known and name != AGGREGATES]

    def _check(self) -> None:
        """Read every page: of a damaged file, rows could be missing unnoticed."""
        try:
            found = [text for (text,) in self._connection.execute("PRAGMA quick_check(3)")]
        except sqlite3.DatabaseError as error:
            found = [str(error)]
        if found != ["ok"]:
            raise ImportFailedError(
                f"{self.path} is damaged, nothing was imported: {'; '.join(found)}. "
                f"Mend a copy of it (sqlite3 {self.path.name} .recover | sqlite3 mended.db) and import that"
            )

    def rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query that ends in ``rowid > ? ORDER BY rowid``; text that is no UTF-8 is mended by U+FFFD.

        Raises:
            ImportFailedError: the file is damaged.
        """
        last = -(2**63)
        self._connection.text_factory = str
        while True:
            start = last
            try:
                # In portions, as the old system may still be at work: while a query runs it cannot write.
                for row in self._connection.execute(f"{query} LIMIT {_PORTION}", (last,)):
                    last = row[0]
                    yield row
            except sqlite3.OperationalError as error:
                # Only its text tells this error; what reads such text is slower, so it is not used from the start.
                if "Could not decode to UTF-8" not in str(error) or self._connection.text_factory is not str:
                    raise ImportFailedError(f"{self.path}: {error} (after row {last})") from error
                self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
                continue
            except sqlite3.DatabaseError as error:
                raise ImportFailedError(f"{self.path}: {error} (after row {last})") from error
            if last == start:
                return

    def count(self, name: str) -> int:
        """Return how many rows a table has."""
        count: int = self._connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608
        return count

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _columns(self, name: str) -> set[str]:
        return {row[1] for row in self._connection.execute(f'PRAGMA table_info("{name}")')}

    def _inspected(self, table: Table) -> Found:
        present = self._columns(table.name)
        wanted = {TIMESTAMP, *table.labels, *table.values}
        missing = ({TIMESTAMP} | table.required) - present
        return Found(
            table, frozenset(present & wanted), tuple(sorted(missing)), tuple(sorted(present - wanted - _IGNORED))
        )
