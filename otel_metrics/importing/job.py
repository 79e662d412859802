"""An import from beginning to end: read and inspect everything, then write day after day."""

from __future__ import annotations

import shutil
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING, Final

from otel_metrics.importing import aggregates, exposition
from otel_metrics.importing.day import content_hash, fill, step
from otel_metrics.importing.errors import ImportFailedError
from otel_metrics.importing.exposition import RECORDED_AT, Grid
from otel_metrics.importing.keepers import Keepers
from otel_metrics.importing.reading import Reader
from otel_metrics.importing.spool import Spool
from otel_metrics.importing.state import DayState, State
from otel_metrics.importing.tables import AGGREGATES
from otel_metrics.importing.timestamps import Timestamps
from otel_metrics.querying.statistics import Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from datetime import tzinfo
    from pathlib import Path

    from otel_metrics.importing.blocks import DataDirectory
    from otel_metrics.importing.ledger import Ledger
    from otel_metrics.importing.tables import OldDatabase
    from otel_metrics.querying.source import DayKey
    from otel_metrics.querying.statistics import Statistics
    from otel_metrics.settings import Settings

_EPOCH: Final = date(1970, 1, 1)
_DAY: Final = 86_400

_AT_ONCE: Final = 2
"""Days that promtool works on at once: it waits for the disk as long as it computes."""


def date_of(day: int) -> date:
    """Return the date of a day since 1970."""
    return _EPOCH + timedelta(days=day)


class Rows:
    """Everything that fits of an old database, by day. Reading it changes nothing but the ledger and the work folder."""

    def __init__(self, database: OldDatabase, ledger: Ledger, settings: Settings, zone: tzinfo, work: Path) -> None:
        shutil.rmtree(work, ignore_errors=True)
        self.database = database
        self.ledger = ledger
        self.keepers = Keepers(settings)
        self.spool = Spool(work)
        self.reader = Reader(self.keepers, self.spool, ledger, Timestamps(zone))
        self.aggregates: aggregates.Rows = {}

    def read(self, tick: Callable[[int], object]) -> None:
        """Read all tables; ``tick`` is called with numbers of rows."""
        for found in self.database.tables:
            self.reader.read(self.database, found, tick)
        if self.database.aggregates:
            self.aggregates = aggregates.Aggregates(self.keepers, self.ledger).read(self.database)
            tick(self.ledger.read[AGGREGATES])
        self.ledger.flush()

    def days(self) -> list[int]:
        """Return the days that have rows of any kind, in order."""
        return sorted({*self.spool.days(), *self.aggregates})

    def load(self, day: int) -> tuple[str, int]:
        """Put a day's raw rows into the keepers; return its content hash and the seconds between samples."""
        self.keepers.clear()
        parts = self.spool.read(day)
        seconds = step(self.keepers, parts)
        fill(self.keepers, day, parts, seconds)
        whole = blake2b(content_hash(self.keepers, parts).encode(), digest_size=16)
        for text in aggregates.text(self.aggregates.get(day, {})):
            whole.update(text.encode())
        return whole.hexdigest(), seconds

    def statistics(self, day: int) -> tuple[dict[DayKey, Statistics], set[int]]:
        """Return the loaded day's table, and the row ids of old aggregates in it: where raw rows are missing."""
        table = {
            key: Values((values.values,)).statistics() for key, values in self.keepers.days.items() if values.values
        }
        used = set()
        for key, (rowid, known) in self.aggregates.get(day, {}).items():
            if key not in table or table[key].count < known.count:
                table[key] = known
                used.add(rowid)
        return table, used

    def close(self, work: Path) -> None:
        """Remove the work folder."""
        shutil.rmtree(work, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the old database shall be imported."""

    name: str = "import"
    """Begin of the instance ids: another name for another application's database."""
    before: date | None = None
    """The first day that is not imported, such as the first of the live system."""


class Import:
    """Writes days into a data directory."""

    def __init__(self, rows: Rows, directory: DataDirectory, wanted: Wanted, now: float) -> None:
        self.rows = rows
        self._directory = directory
        self._wanted = wanted
        self._state = State(directory.work / "state.json")
        self._now = now
        self.head = directory.head_start(now)
        self.skipped: dict[int, str] = {}
        self.written: list[int] = []

    def instance(self, day: int) -> str:
        """Return the ``service_instance_id`` of an imported day."""
        return f"{self._wanted.name}-{date_of(day)}"

    def imported(self) -> list[int]:
        """Return the days of the old database that are in place, now or since an earlier run."""
        return [day for day in self.rows.days() if (known := self._state.get(self.instance(day))) and known.done]

    def recover(self) -> None:
        """Finish or take back the day that an interrupted import was about to publish."""
        for name, day in self._state.unfinished().items():
            if self._directory.publish(day.blocks):
                self._state.put(name, DayState(day.content, day.rows, day.blocks, done=True))
            else:
                self._directory.withdraw(day.blocks)
                self._state.drop(name)

    def open_days(self) -> list[int]:
        """Return the days that may be written now, and account for the rows of the others."""
        found = []
        for day in self.rows.days():
            why = self._postponed(day)
            if why:
                self._skip(day, why)
            else:
                found.append(day)
        return found

    def write(self, days: list[int], tick: Callable[[int], object]) -> None:
        """Write ``days``; ``tick`` is called with every day that is done. While promtool works on one day, the next is made.

        Raises:
            ImportFailedError: a day could not be written; those before are in place.
            KeyboardInterrupt: once the day at hand is in place.
        """
        pending: deque[Future[tuple[int, set[int]]]] = deque()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for day in days:
                    made = self._make(day)
                    if len(pending) == _AT_ONCE:
                        tick(self._written(*pending.popleft().result()))
                    if made is None:
                        tick(day)
                    else:
                        pending.append(pool.submit(self._publish, *made))
            finally:
                # Also after an error or Ctrl-C: what promtool is at work on is brought to its end, and accounted for.
                while pending:
                    tick(self._written(*pending.popleft().result()))
                self._directory.clean()

    def _postponed(self, day: int) -> str | None:
        """Return why a day cannot be written now, if so."""
        over = (day + 1) * _DAY + RECORDED_AT
        if self._wanted.before is not None and date_of(day) >= self._wanted.before:
            return f"not before {self._wanted.before}"
        if over > self._now:
            return "the day was not over for an hour"
        if self.head is not None and over > self.head:
            return "too near to what the server has not written to blocks yet; run this again three hours later"
        return None

    def _make(self, day: int) -> tuple[int, Path, int, str, set[int]] | None:
        """Write a day's OpenMetrics file, unless the day is imported already."""
        content, seconds = self.rows.load(day)
        known = self._state.get(self.instance(day))
        if known is not None:
            changed = (
                "imported before with other content: remove its series from the server, and its entry in the state file"
            )
            self._skip(day, "imported before" if known.content == content else changed)
            return None
        table, used = self.rows.statistics(day)
        for rowid, _ in self.rows.aggregates.get(day, {}).values():
            if rowid not in used:
                self.rows.ledger.refuse(AGGREGATES, rowid, "computed from the day's own rows instead")
        file = self._directory.work / f"{date_of(day)}.om"
        samples = 0
        try:
            with file.open("w", encoding="utf-8", buffering=2**20) as out:
                for line in self._lines(day, seconds, table, used):
                    out.write(line)
                    samples += line[0] != "#"
        except BaseException as error:
            with suppress(OSError):
                file.unlink()
            if isinstance(error, OSError):
                raise ImportFailedError(f"{file}: {error.strerror}") from error
            raise
        return day, file, samples, content, used

    def _lines(self, day: int, seconds: int, table: dict[DayKey, Statistics], used: set[int]) -> Iterator[str]:
        grid, instance, days = Grid(day, seconds), self.instance(day), self.rows.keepers.days
        old = {key for key, (rowid, _) in self.rows.aggregates.get(day, {}).items() if rowid in used}
        accumulated = (
            (key, known, sum(value * value for value in days[key].values))
            for key, known in table.items()
            if key not in old
        )
        return chain(
            exposition.lines(grid, self.rows.keepers.filled(), instance),
            exposition.accumulators(grid, accumulated, instance),
            exposition.recorded(grid, table),
            [exposition.END],
        )

    def _publish(self, day: int, file: Path, samples: int, content: str, used: set[int]) -> tuple[int, set[int]]:
        try:
            blocks = self._directory.stage(file, samples)
        finally:
            file.unlink(missing_ok=True)
        rows = sum(span.rows for span in self.rows.reader.spans[day].values()) + len(used)
        # Written before the first block moves: an interruption between two of them is recognised and mended.
        self._state.put(self.instance(day), DayState(content, rows, blocks, done=False))
        if not self._directory.publish(blocks):
            raise ImportFailedError(f"blocks of {date_of(day)} could not be moved into place")
        self._state.put(self.instance(day), DayState(content, rows, blocks, done=True))
        return day, used

    def _written(self, day: int, used: set[int]) -> int:
        for table, span in self.rows.reader.spans[day].items():
            self.rows.ledger.imported[table] += span.rows
        self.rows.ledger.imported[AGGREGATES] += len(used)
        self.written.append(day)
        return day

    def _skip(self, day: int, why: str) -> None:
        self.skipped[day] = why
        for table, span in self.rows.reader.spans[day].items():
            if span.rows:
                self.rows.ledger.refuse(table, f"{span.first}-{span.last}", why, span.rows)
        for rowid, _ in self.rows.aggregates.get(day, {}).values():
            self.rows.ledger.refuse(AGGREGATES, rowid, why)
