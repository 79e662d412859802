"""The documented tables of the old database, and how much of them a given file has."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.catalogue import DAILY_SQL, DAILY_SQL_KEY, DAILY_TABLE
from otel_metrics.errors import ImportFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_metrics.settings import Scale


@dataclass(frozen=True, slots=True)
class Table:
    """A table with one row per record call.

    ``call`` is the method of :class:`~otel_metrics.facade.binding.Binding` that its labels are arguments of, in the order of
    ``labels``; ``values`` are in the order of the bound buffer's columns. ``required`` columns must be there, others may be.
    ``when`` is the column that tells the time.
    """

    name: str
    call: str
    labels: tuple[str, ...]
    values: tuple[str, ...]
    required: frozenset[str]
    when: str = "timestamp"


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

_AGGREGATES: Final = Table(
    DAILY_SQL,
    "",
    DAILY_SQL_KEY[1:],
    tuple(DAILY_TABLE),
    frozenset((*DAILY_SQL_KEY[1:], *DAILY_TABLE)),
    DAILY_SQL_KEY[0],
)

_DAMAGED: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
"""The second one is about SQLite's own message, which may quote what is damaged."""

_LONGEST_VIEW: Final = 5.0
"""Seconds that counting the rows of a view may take: it is any query, also one without an end."""

_STEPS: Final = 100_000
"""Of SQLite's machine, between two looks at the clock."""

BEFORE_ALL: Final = -inf
"""Below every row id."""

PORTION: Final = 50_000
"""Rows that are read at a time."""

END_OF_PORTION: Final = (
    'SELECT max(n) FROM (SELECT {rowid} AS n FROM "{table}" WHERE {rowid} > ? ORDER BY {rowid} LIMIT {portion})'
)
_SCORES: Final = """
SELECT satisfaction_type, min(score), max(score) FROM "{table}"
WHERE {rowid} > ? AND {rowid} <= ? AND typeof(score) IN ('integer', 'real') AND score BETWEEN 0 AND 5
GROUP BY satisfaction_type COLLATE BINARY
"""

_IGNORED: Final = frozenset({"id", "created_at", "metadata", "feedback", "interaction_id", "error_message"})
"""Columns that hold what is no number and no label: they stay in the old database."""


_WAL_AT: Final = 18
"""Place of the byte that tells the journal mode."""

_ROWID: Final = ("rowid", "_rowid_", "oid")
"""SQLite's names of a row's number; a column may be called like that, and mean something else."""


@dataclass(frozen=True, slots=True)
class FoundTable:
    """One table of a file: what of it can be read, and what cannot be, and why."""

    table: Table
    present: frozenset[str]
    missing: tuple[str, ...]
    """Required columns that are not there: then the table cannot be read."""
    unknown: tuple[str, ...]
    """Columns that nobody documented."""
    rowid: str | None
    """What the numbers of its rows are called; None: they have none."""
    view: bool = False
    """Whether it is none of the file's tables, but a query of others."""

    @property
    def unreadable(self) -> str | None:
        """Return why the table cannot be read, if so."""
        if self.view:
            return "a view, and rows of views have no row ids"
        if self.missing:
            return f"the table has no column {', '.join(self.missing)}"
        return None if self.rowid else "the table has no row ids (WITHOUT ROWID)"

    def select(self, portion: int) -> str:
        """Return the query for rows: rowid, time, labels, values; ``?`` is the rowid to go on after."""
        wanted = (self.table.when, *self.table.labels, *self.table.values)
        columns = ", ".join(f'"{name}"' if name in self.present else "NULL" for name in wanted)
        return f'SELECT {self.rowid}, {columns} FROM "{self.table.name}" WHERE {self.rowid} > ? ORDER BY {self.rowid} LIMIT {portion}'  # noqa: S608

    def count(self) -> str:
        """Return the query that counts the rows between two rowids."""
        return f'SELECT count(*) FROM "{self.table.name}" WHERE {self.rowid} > ? AND {self.rowid} <= ?'  # noqa: S608


class OldDatabase:
    """The old system's file, opened read-only; the old system may go on writing to it.

    Raises:
        ImportFailedError: it is no SQLite database, a damaged one, or one without any documented table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counted: Counter[str] = Counter()
        """Rows by table that SQL counts where :meth:`rows` has read."""
        self.last: dict[str, float] = {}
        """The last rowid that was read, by table."""
        self.lacks_log = False
        """Whether the file is in write-ahead mode, and its log is not beside it: what was not in the file yet is not there."""
        if not path.is_file():
            raise ImportFailedError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        log = path.with_name(f"{path.name}-wal")
        self.lacks_log = _in_write_ahead_mode(path) and not (log.is_file() and log.stat().st_size)
        try:
            self.connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            names = self.connection.execute(
                "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')"
            ).fetchall()
        except _DAMAGED as error:
            raise ImportFailedError(f"{path}: {error}{_advice(path, error)}") from error
        self._check()
        self._views = {name.lower() for name, kind in names if kind == "view"}
        self.names = sorted(name for name, _ in names if not name.startswith("sqlite_"))
        known = {table.name: table for table in (*TABLES, _AGGREGATES)}
        # To SQLite, names are the same in upper and lower case.
        self.found = [self._inspected(known[name.lower()]) for name in self.names if name.lower() in known]
        self.tables = [found for found in self.found if found.table is not _AGGREGATES]
        self.aggregates = next((found for found in self.found if found.table is _AGGREGATES), None)
        if not self.found:
            there = f"it has {', '.join(self.names)}" if self.names else "it has no tables at all"
            raise ImportFailedError(f"{path} has none of the documented tables ({', '.join(sorted(known))}): {there}")
        self.unknown = [name for name in self.names if name.lower() not in known.keys() | self._views]

    def _check(self) -> None:
        """Read every page: of a damaged file, rows could be missing unnoticed."""
        try:
            found = [text for (text,) in self.connection.execute("PRAGMA quick_check(3)")]
        except sqlite3.OperationalError as error:  # locked, or made with a collation or a module that we do not have
            raise ImportFailedError(f"{self.path}: {error}") from error
        except _DAMAGED as error:
            found = [str(error)]
        if found != ["ok"]:
            raise ImportFailedError(
                f"{self.path} is damaged, nothing was imported: {'; '.join(found)}. "
                f"Mend a copy of it (sqlite3 {self.path.name} .recover | sqlite3 mended.db) and import that"
            )

    def rows(self, found: FoundTable) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a table, by rowid; text that is no UTF-8 is mended by U+FFFD.

        Raises:
            ImportFailedError: the file is damaged.
        """
        last: float = BEFORE_ALL
        self.connection.text_factory = str
        while True:
            start = last
            try:
                # In portions, as the old system may still be at work: while a query runs it cannot write.
                self.connection.execute("BEGIN")
                for row in self.connection.execute(found.select(PORTION), (last,)):
                    last = row[0]
                    yield row
                self.counted[found.table.name] += self.connection.execute(found.count(), (start, last)).fetchone()[0]
            except sqlite3.OperationalError as error:
                # Only its text tells this error; what reads such text is slower, so it is not used from the start.
                if "Could not decode to UTF-8" not in str(error) or self.connection.text_factory is not str:
                    raise ImportFailedError(f"{self.path}: {error} (after row {last})") from error
                self.counted[found.table.name] += self.connection.execute(found.count(), (start, last)).fetchone()[0]
                self.connection.text_factory = partial(str, encoding="utf-8", errors="replace")
                continue
            except sqlite3.DatabaseError as error:
                raise ImportFailedError(f"{self.path}: {error} (after row {last})") from error
            finally:
                self.connection.rollback()
            self.last[found.table.name] = last
            if last == start:
                return

    def scales(self) -> dict[str, Scale]:
        """Return the scale of every satisfaction type whose scores all fit one scale, and not the other."""
        found = next((found for found in self.tables if found.table.call == "satisfaction"), None)
        if found is None or found.unreadable:
            return {}
        below, above = set[str](), set[str]()
        start: float | None = BEFORE_ALL
        while start is not None:  # in portions, as the old system may still be at work
            names = {"rowid": found.rowid, "table": found.table.name}
            ((end,),) = self.ask(END_OF_PORTION.format(portion=PORTION, **names), start)
            if end is not None:
                for kind, low, high in self.ask(_SCORES.format(**names), start, end):
                    if isinstance(kind, str):
                        below |= {kind} if low < 1 else set()
                        above |= {kind} if high > 1 else set()
            start = end
        return {**dict.fromkeys(below - above, "0-1"), **dict.fromkeys(above - below, "1-5")}

    def count(self, name: str) -> int:
        """Return how many rows a table has."""
        ((count,),) = self.ask(f'SELECT count(*) FROM "{name}"')  # noqa: S608
        return int(count)

    def count_view(self, name: str) -> int | None:
        """Return how many rows a view has; None: counting them fails, takes too long, or never ends."""
        deadline = time.monotonic() + _LONGEST_VIEW
        self.connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            return self.count(name)
        except ImportFailedError:
            return None
        finally:
            self.connection.set_progress_handler(None, 0)

    def ask(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return what a query finds.

        Raises:
            ImportFailedError: the file is damaged, or the old system keeps it to itself.
        """
        try:
            return self.connection.execute(query, parameters).fetchall()
        except _DAMAGED as error:
            raise ImportFailedError(f"{self.path}: {error}") from error

    def check(self, name: str, rows: int) -> None:
        """Make sure that no row of a table got lost after :meth:`rows`.

        Raises:
            ImportFailedError: SQL counts more rows, or fewer.
        """
        if rows != self.counted[name]:
            raise ImportFailedError(
                f"{self.path}: {rows} rows of {name} were read, and SQL counts {self.counted[name]}: please report this"
            )

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _inspected(self, table: Table) -> FoundTable:
        if table.name in self._views:  # which may be one of nothing that is there
            return FoundTable(table, frozenset(), (), (), None, view=True)
        # Also the columns that SQLite computes: table_info leaves them out.
        present = {row[1].lower() for row in self.ask(f'PRAGMA table_xinfo("{table.name}")')}
        wanted = {table.when, *table.labels, *table.values}
        missing = ({table.when} | table.required) - present
        unknown = present - wanted - _IGNORED
        return FoundTable(
            table,
            frozenset(present & wanted),
            tuple(sorted(missing)),
            tuple(sorted(unknown)),
            self._rowid(table.name, present),
        )

    def _rowid(self, name: str, columns: set[str]) -> str | None:
        """Return the first name of the rows' numbers that no column has."""
        for rowid in _ROWID:
            if rowid not in columns:
                try:
                    self.connection.execute(f'SELECT {rowid} FROM "{name}" LIMIT 0')  # noqa: S608
                except sqlite3.OperationalError:
                    return None
                return rowid
        return None


def _advice(path: Path, error: Exception) -> str:
    """Return what to do about a file that SQLite cannot open for reading alone."""
    if "readonly" in str(error):
        return (
            f". A program ended while it was writing; {path.name}-journal holds what was there before: copy both files to a "
            f"folder of yours, take back what was not finished (sqlite3 {path.name} .tables) and import that copy"
        )
    if not _in_write_ahead_mode(path):
        return ""
    return (
        f". The file is in write-ahead mode, which even readers need files beside it for, and permission to write them: "
        f"copy {path.name} and {path.name}-wal to a folder of yours and import from there"
    )


def _in_write_ahead_mode(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_WAL_AT + 1)[_WAL_AT:] == b"\2"
