"""An import: write day after day of what was read and inspected."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from otel_metrics.catalogue import DAILY_SQL, SECONDS_PER_DAY
from otel_metrics.errors import ImportFailedError
from otel_metrics.importing import openmetrics_file, recorded_sums
from otel_metrics.importing.openmetrics_file import RECORDED_AT, Own, SampleTimes
from otel_metrics.importing.target import Day
from otel_metrics.importing.timestamps import date_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from datetime import date

    from otel_metrics.catalogue import DayKey
    from otel_metrics.importing.old_history import OldHistory
    from otel_metrics.importing.target import Target
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


class _Made(NamedTuple):
    """A day on its way to the target, with the old aggregates that it was made of."""

    number: int
    day: Day
    used: set[int]


class Importer:
    """Writes days to a target."""

    def __init__(self, history: OldHistory, target: Target, wanted: Wanted, now: float) -> None:
        self.history = history
        self._target = target
        self._wanted = wanted
        self._now = now
        self.head = target.head_start(now)
        self.skipped: dict[int, str] = {}
        self.written: list[int] = []
        self._known: list[int] = []

    def instance(self, day: int) -> str:
        """Return the ``service_instance_id`` of an imported day."""
        return f"{self._wanted.name}-{date_of(day)}"

    def imported(self) -> list[int]:
        """Return the days of this import that are in place, now or since an earlier run."""
        return sorted((*self.written, *self._known))

    def age_of_oldest(self) -> int:
        """Return the age in days of the oldest day that was written, 0 if none was."""
        return int(self._now // SECONDS_PER_DAY) - min(self.written) if self.written else 0

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
        """Write ``days``; ``tick`` is called with every day that is done. While one day is stored, the next is made.

        Raises:
            ImportFailedError: a day could not be written, those before are in place; or there is no room for one.
            KeyboardInterrupt: once the day at hand is in place.
        """
        pending: deque[Future[tuple[_Made, bool]]] = deque()

        def settle(most: int) -> None:
            while len(pending) > most:
                wait((pending[0],))  # Ctrl-C mostly comes here: then the day is still pending
                tick(self._stored(*pending.popleft().result()))

        at_once = self._target.at_once()
        pool = ThreadPoolExecutor(at_once)
        try:
            for day in days:
                made = self._make(day)
                settle(at_once - 1)
                if made is None:
                    tick(day)
                else:
                    pending.append(pool.submit(self._store, made))
            settle(0)
            self._target.show()
        finally:
            # Also after an error or Ctrl-C: what is being stored is brought to its end, and accounted for.
            _finish(pool)
            for future in pending:
                if future.exception() is None:
                    tick(self._stored(*future.result()))
            self._target.clean()

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

    def _make(self, number: int) -> _Made | None:
        """Write a day's OpenMetrics file, unless the day is known to be there."""
        content, seconds = self.history.load(number)
        content += self._wanted.job and f" {self._wanted.job}"
        name = self.instance(number)
        if why := self._target.known(name, content):
            self._leave(number, why)
            return None
        table, used = self.history.statistics(number)
        file = self._target.file(str(date_of(number)))
        samples = 0
        try:
            with file.open("w", encoding="utf-8", buffering=2**20) as out:
                for line in self._lines(number, seconds, table, used):
                    out.write(line)
                    samples += line[0] != "#"
        except BaseException as error:
            with suppress(OSError):
                file.unlink()
            if isinstance(error, OSError):
                raise ImportFailedError(f"{file}: {error.strerror}") from error
            raise
        rows = sum(span.rows for span in self.history.reader.spans[number].values()) + len(used)
        return _Made(number, Day(name, content, rows, samples, file), used)

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
            openmetrics_file.recorded(grid, table, own),
            openmetrics_file.accumulators(grid, accumulated, own),
            openmetrics_file.sums(grid, recorded_sums.samples(self.history.builder.filled(), seconds, own.job)),
            # Last, as only these tell that it is ours, also where a live system has recorded the same day's rows.
            openmetrics_file.lines(grid, self.history.builder.filled(), own),
            [openmetrics_file.END],
        )

    def _store(self, made: _Made) -> tuple[_Made, bool]:
        try:
            return made, self._target.store(made.day)
        finally:
            made.day.file.unlink(missing_ok=True)

    def _stored(self, made: _Made, new: bool) -> int:
        number, _, used = made
        if not new:
            self._leave(number, "imported before")
            return number
        for rowid, _ in self.history.aggregates.get(number, {}).values():
            if rowid not in used:
                self.history.report.reject(DAILY_SQL, rowid, "computed from the day's own rows instead")
        for table, span in self.history.reader.spans[number].items():
            self.history.report.imported[table] += span.rows
        self.history.report.imported[DAILY_SQL] += len(used)
        self.written.append(number)
        return number

    def _leave(self, day: int, why: str) -> None:
        """Leave a day as it is in place."""
        self._known.append(day)
        self._skip(day, why)

    def _skip(self, day: int, why: str) -> None:
        self.skipped[day] = why
        for table, span in self.history.reader.spans[day].items():
            if span.rows:
                self.history.report.reject(table, f"{span.first}-{span.last}", why, span.rows)
        for rowid, _ in self.history.aggregates.get(day, {}).values():
            self.history.report.reject(DAILY_SQL, rowid, why)


def _finish(pool: ThreadPoolExecutor) -> None:
    """Wait until a pool's work is done, also if Ctrl-C comes meanwhile: a folder that it works in must not be removed."""
    while True:
        try:
            pool.shutdown()
        except KeyboardInterrupt:
            continue
        return
