"""The history that an old database holds: what of its rows fits, by UTC day."""

from __future__ import annotations

import shutil
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timezone
from hashlib import blake2b
from typing import TYPE_CHECKING

from otel_metrics.catalogue import DAILY_SQL, SECONDS_PER_DAY
from otel_metrics.importing import old_aggregates
from otel_metrics.importing.day_builder import DayBuilder, content_hash, fill, step
from otel_metrics.importing.day_files import DayFiles
from otel_metrics.importing.report import ImportReport
from otel_metrics.importing.row_reader import RowReader
from otel_metrics.importing.source_db import OldDatabase
from otel_metrics.importing.timestamps import Timestamps
from otel_metrics.querying.statistics import RecordedValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import tzinfo
    from pathlib import Path

    from otel_metrics.catalogue import DayKey
    from otel_metrics.importing.day_builder import NumberSeries
    from otel_metrics.importing.source_db import FoundTable
    from otel_metrics.querying.statistics import Statistics
    from otel_metrics.settings import Scale, Settings


@contextmanager
def opened(path: Path, folder: Path, settings: Settings, zone: tzinfo = timezone.utc) -> Iterator[OldHistory]:
    """Open an old database, to be read. The list of rejections stays in ``folder``; the rows there are gone at the end.

    ``zone``: of timestamps without an offset.

    Raises:
        ImportFailedError: it is no SQLite database, a damaged one, or one without any documented table.
    """
    work = folder / "rows"
    with closing(OldDatabase(path)) as database, closing(ImportReport(folder / "rejected.csv")) as report:
        shutil.rmtree(work, ignore_errors=True)
        try:
            yield OldHistory(database, report, settings, zone, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)


class OldHistory:
    """Everything that fits of an old database, by day. Reading it changes nothing but the report and the work folder."""

    def __init__(
        self, database: OldDatabase, report: ImportReport, settings: Settings, zone: tzinfo, work: Path
    ) -> None:
        self.database = database
        self.report = report
        # The whole history tells the scale, not the first scores: a score of 1 is the best on one and the worst on the other.
        scales = {**database.scales(), **settings.satisfaction_scales}
        self.builder = DayBuilder(replace(settings, satisfaction_scales=scales))
        self.day_files = DayFiles(work)
        self.reader = RowReader(self.builder, self.day_files, report, Timestamps(zone))
        self.aggregates: old_aggregates.AggregatedRows = {}
        self._infos: Mapping[DayKey, NumberSeries] = {}
        self._first: dict[DayKey, int] = {}
        self._shifted: set[tuple[DayKey, int]] = set()

    def read(self, tick: Callable[[int], object]) -> None:
        """Read all tables; ``tick`` is called with numbers of rows."""
        for found in self.database.found:
            if found.unreadable:
                self._reject_all(found)
            elif found in self.database.tables:
                self.reader.read(self.database, found, tick)
        table = self.database.aggregates
        if table and not table.unreadable:  # last, as the others tell its units
            reader = old_aggregates.AggregatesReader(self.builder, self.report, self.reader.scales)
            self.aggregates, self._infos = reader.read(self.database, table), reader.infos
            tick(self.report.read[DAILY_SQL])
            self._first, self._shifted = self._days_of_rows()
        self.report.flush()

    def _reject_all(self, found: FoundTable) -> None:
        """Account for a table that cannot be read."""
        name = found.table.name
        rows = self.database.count_view(name) if found.view else self.database.count(name)
        self.report.read[name] += 1 if rows is None else rows
        if rows is None:
            self.report.reject(name, "all", f"{found.unreadable}; how many there are could not be counted")
        elif rows:
            self.report.reject(name, "all", str(found.unreadable), rows)

    def _days_of_rows(self) -> tuple[dict[DayKey, int], set[tuple[DayKey, int]]]:
        """Return the first day of every key that has rows, and the (key, day) that rows are written for in another zone."""
        keys = [buffer.day_keys() for buffer in self.builder.buffers]
        first: dict[DayKey, int] = {}
        for index, day in self.reader.first.items():
            for key in keys[index]:
                first[key] = min(day, first.get(key, day))
        return first, {(key, day) for index, day in self.reader.shifted for key in keys[index]}

    def days(self) -> list[int]:
        """Return the days that have rows of any kind, in order."""
        return sorted({*self.day_files.days(), *self.aggregates})

    def load(self, day: int) -> tuple[str, int]:
        """Put a day's raw rows into the builder; return its content hash and the seconds between samples."""
        self.builder.clear()
        parts = self.day_files.read(day)
        seconds = step(self.builder, parts)
        fill(self.builder, day, parts, seconds)
        whole = blake2b(content_hash(self.builder, parts).encode(), digest_size=16)
        _, used = self.statistics(day) if day in self.aggregates else ({}, set())
        # Of what is written only: the old system's nightly job may go on, and change nothing.
        filling = {key: row for key, row in self.aggregates.get(day, {}).items() if row[0] in used}
        for key in filling:
            if key in self._infos:
                self._infos[key].slots.setdefault(SECONDS_PER_DAY // seconds - 1, 1.0)
        for text in old_aggregates.text(filling):
            whole.update(text.encode())
        return whole.hexdigest(), seconds

    def statistics(self, day: int) -> tuple[dict[DayKey, Statistics], set[int]]:
        """Return the loaded day's table, and the row ids of old aggregates in it: where raw rows are gone."""
        table = {
            key: RecordedValues((values.values,)).statistics()
            for key, values in self.builder.days.items()
            if values.values
        }
        used = set()
        for key, (rowid, known) in self.aggregates.get(day, {}).items():
            if self._fills(day, key, known, table.get(key)):
                table[key] = known
                used.add(rowid)
        return table, used

    def _fills(self, day: int, key: DayKey, known: Statistics, own: Statistics | None) -> bool:
        """Return whether an old aggregate tells of rows that are gone, and no row that is there says otherwise.

        Old systems delete from the beginning, so that a metric's first day alone can be there in part. Where rows are written
        in a local time, an old day is no day of UTC, and takes the place of none that has rows.
        """
        if (key, day) in self._shifted:
            return False
        if own is None:
            return True
        return day == self._first[key] and old_aggregates.contains(known, own)

    def scales(self) -> dict[str, Scale]:
        """Return the scale of every satisfaction type that was on one only."""
        return {kind: next(iter(seen)) for kind, seen in sorted(self.reader.scales.items()) if len(seen) == 1}

    def of_unknown_scale(self) -> list[str]:
        """Return the satisfaction types of which nothing tells the scale: all their scores are 1."""
        return sorted(self.reader.doubtful - self.reader.scales.keys())
