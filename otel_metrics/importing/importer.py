"""An import: write day after day of what was read and inspected."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from otel_metrics.catalogue import DAILY_SQL, SECONDS_PER_DAY
from otel_metrics.errors import ImportFailedError
from otel_metrics.importing import openmetrics_file
from otel_metrics.importing.data_directory import DayState, State
from otel_metrics.importing.old_history import date_of
from otel_metrics.importing.openmetrics_file import RECORDED_AT, Own, SampleTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from datetime import date
    from pathlib import Path

    from otel_metrics.catalogue import DayKey
    from otel_metrics.importing.data_directory import DataDirectory
    from otel_metrics.importing.old_history import OldHistory
    from otel_metrics.querying.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the old database shall be imported."""

    name: str = "import"
    """Begin of the instance ids: another name for another application's database."""
    before: date | None = None
    """The first day that is not imported, such as the first of the live system."""
    job: str = ""
    """What Prometheus calls the application; without it the history is everybody's."""


class Importer:
    """Writes days into a data directory."""

    def __init__(self, history: OldHistory, directory: DataDirectory, wanted: Wanted, now: float) -> None:
        self.history = history
        self._directory = directory
        self._wanted = wanted
        self._state = State(directory.work / "state.json")
        self._now = now
        self._held = directory.held()
        self.head = directory.head_start(now)
        self.skipped: dict[int, str] = {}
        self.written: list[int] = []

    def instance(self, day: int) -> str:
        """Return the ``service_instance_id`` of an imported day."""
        return f"{self._wanted.name}-{date_of(day)}"

    def imported(self) -> list[int]:
        """Return the days of the old database that are in place, now or since an earlier run."""
        held = self._directory.held()
        return [
            day for day in self.history.days() if (known := self._state.get(self.instance(day))) and known.holds(held)
        ]

    def age_of_oldest(self) -> int:
        """Return the age in days of the oldest day that was written, 0 if none was."""
        return int(self._now // SECONDS_PER_DAY) - min(self.written) if self.written else 0

    def recover(self) -> None:
        """Finish or take back the days that an interrupted import was about to publish, and clear away what else it left."""
        for name, day in self._state.unfinished().items():
            if self._directory.publish(day.blocks) or self._held.issuperset(day.blocks):
                self._state.put(name, DayState(day.content, day.rows, day.blocks, done=True))
            else:
                self._directory.withdraw(day.blocks)
                self._state.drop(name)
        self._directory.clean()
        self._held = self._directory.held()

    def open_days(self) -> list[int]:
        """Return the days that may be written now, and account for the rows of the others."""
        found = []
        for day in self.history.days():
            why = self._postponed(day)
            if why:
                self._skip(day, why)
            else:
                found.append(day)
        return found

    def write(self, days: list[int], tick: Callable[[int], object]) -> None:
        """Write ``days``; ``tick`` is called with every day that is done. While promtool works on one day, the next is made.

        Raises:
            ImportFailedError: a day could not be written, those before are in place; or there is no room for one.
            KeyboardInterrupt: once the day at hand is in place.
        """
        pending: deque[Future[tuple[int, set[int]]]] = deque()

        def settle(most: int) -> None:
            while len(pending) > most:
                wait((pending[0],))  # Ctrl-C mostly comes here: then the day is still pending
                tick(self._written(*pending.popleft().result()))

        at_once = self._directory.at_once()
        pool = ThreadPoolExecutor(at_once)
        try:
            for day in days:
                made = self._make(day)
                settle(at_once - 1)
                if made is None:
                    tick(day)
                else:
                    pending.append(pool.submit(self._publish, *made))
            settle(0)
        finally:
            # Also after an error or Ctrl-C: what promtool is at work on is brought to its end, and accounted for.
            _finish(pool)
            for future in pending:
                if future.exception() is None:
                    tick(self._written(*future.result()))
            self._directory.clean()

    def _postponed(self, day: int) -> str | None:
        """Return why a day cannot be written now, if so."""
        over = (day + 1) * SECONDS_PER_DAY + RECORDED_AT
        if self._wanted.before is not None and date_of(day) >= self._wanted.before:
            return f"not before {self._wanted.before}"
        if over > self._now:
            return "the day was not over for an hour"
        if self.head is not None and over > self.head:
            return "too near to what the server has not written to blocks yet; run this again three hours later"
        return None

    def _make(self, day: int) -> tuple[int, Path, int, str, set[int]] | None:
        """Write a day's OpenMetrics file, unless the day is imported already."""
        content, seconds = self.history.load(day)
        content += self._wanted.job and f" {self._wanted.job}"
        known = self._state.get(self.instance(day))
        # What retention has deleted is imported again. Samples that are still there as well are the same, and count once.
        if known is not None and not (
            known.gone(self._held) or (known.content == content and not known.holds(self._held))
        ):
            changed = (
                "imported before with other content: remove its series from the server, and its entry in the state file"
            )
            self._skip(day, "imported before" if known.content == content else changed)
            return None
        table, used = self.history.statistics(day)
        for rowid, _ in self.history.aggregates.get(day, {}).values():
            if rowid not in used:
                self.history.report.reject(DAILY_SQL, rowid, "computed from the day's own rows instead")
        file = self._directory.file(str(date_of(day)))
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
        grid, days = SampleTimes(day, seconds), self.history.builder.days
        own = Own(self.instance(day), self._wanted.job)
        old = {key for key, (rowid, _) in self.history.aggregates.get(day, {}).items() if rowid in used}
        accumulated = (
            (key, known, sum(value * value for value in days[key].values))
            for key, known in table.items()
            if key not in old
        )
        return chain(
            openmetrics_file.lines(grid, self.history.builder.filled(), own),
            openmetrics_file.accumulators(grid, accumulated, own),
            openmetrics_file.recorded(grid, table, own),
            [openmetrics_file.END],
        )

    def _publish(self, day: int, file: Path, samples: int, content: str, used: set[int]) -> tuple[int, set[int]]:
        try:
            blocks = self._directory.stage(file, samples)
        finally:
            file.unlink(missing_ok=True)
        rows = sum(span.rows for span in self.history.reader.spans[day].values()) + len(used)
        # Written before the first block moves: an interruption between two of them is recognised and mended.
        self._state.put(self.instance(day), DayState(content, rows, blocks, done=False))
        if not self._directory.publish(blocks):
            raise ImportFailedError(f"blocks of {date_of(day)} could not be moved into place")
        self._state.put(self.instance(day), DayState(content, rows, blocks, done=True))
        return day, used

    def _written(self, day: int, used: set[int]) -> int:
        for table, span in self.history.reader.spans[day].items():
            self.history.report.imported[table] += span.rows
        self.history.report.imported[DAILY_SQL] += len(used)
        self.written.append(day)
        return day

    def _skip(self, day: int, why: str) -> None:
        self.skipped[day] = why
        for table, span in self.history.reader.spans[day].items():
            if span.rows:
                self.history.report.reject(table, f"{span.first}-{span.last}", why, span.rows)
        for rowid, _ in self.history.aggregates.get(day, {}).values():
            self.history.report.reject(DAILY_SQL, rowid, why)


def _finish(pool: ThreadPoolExecutor) -> None:
    """Wait until a pool's work is done, however often Ctrl-C is pressed: a folder that it works in must not be removed."""
    while True:
        try:
            pool.shutdown()
        except KeyboardInterrupt:
            continue
        return
