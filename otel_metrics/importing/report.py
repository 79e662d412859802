"""The account of an import: every row that was read is imported or rejected, and every rejection has a reason and a row id."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

SHOWN: Final = 10
"""Row ids that are kept per reason; all of them are in the file."""


@dataclass(slots=True)
class Reason:
    """Why rows of one table were rejected, or values of them left out."""

    table: str
    what: str
    rows: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, rowid: object, rows: int = 1) -> None:
        """Add one row, or a span of them."""
        self.rows += rows
        if len(self.first) < SHOWN:
            self.first.append(str(rowid))


class ImportReport:
    """Counts rows by table. ``path``: a CSV file that lists every rejection: table, row ids, what was rejected, why."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read: Counter[str] = Counter()
        self.imported: Counter[str] = Counter()
        self._rejected: dict[tuple[str, str], Reason] = {}
        self._left_out: dict[tuple[str, str], Reason] = {}
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(("table", "rows", "rejected", "reason"))

    def reject(self, table: str, rowid: object, reason: str, rows: int = 1) -> None:
        """Account for a row (or ``rows``, described by ``rowid``) that cannot be imported."""
        self._rejected.setdefault((table, reason), Reason(table, reason)).add(rowid, rows)
        self._writer.writerow((table, rowid, "row", reason))

    def leave_out(self, table: str, rowid: object, argument: str, reason: str) -> None:
        """Note that one value or label of a row did not fit; the rest of the row is imported."""
        what = f"{argument}: {reason}"
        self._left_out.setdefault((table, what), Reason(table, what)).add(rowid)
        self._writer.writerow((table, rowid, argument, reason))

    @property
    def rejected(self) -> list[Reason]:
        """Return why rows were rejected, the most frequent reasons first."""
        return sorted(self._rejected.values(), key=lambda reason: -reason.rows)

    @property
    def left_out(self) -> list[Reason]:
        """Return what did not fit in rows that were imported otherwise."""
        return sorted(self._left_out.values(), key=lambda reason: -reason.rows)

    def rejected_rows(self, table: str) -> int:
        """Return how many rows of a table were rejected."""
        return sum(reason.rows for (name, _), reason in self._rejected.items() if name == table)

    def balanced(self) -> bool:
        """Return whether read = imported + rejected for every table."""
        return all(rows == self.imported[table] + self.rejected_rows(table) for table, rows in self.read.items())

    def flush(self) -> None:
        """Write out the file of rejections."""
        self._file.flush()

    def close(self) -> None:
        """Close the file of rejections."""
        self._file.close()
