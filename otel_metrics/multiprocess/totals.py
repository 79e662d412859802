"""What this process adds to the totals of all processes, and what all of them have added up to."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import Counter
from contextlib import contextmanager
from itertools import repeat
from operator import attrgetter
from threading import Lock, RLock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar, Union, cast
from uuid import uuid4
from weakref import WeakSet

from otel_metrics.errors import ConfigurationError
from otel_metrics.forks import Part, renew_after_fork
from otel_metrics.log import say
from otel_metrics.multiprocess.asking import Asking
from otel_metrics.multiprocess.directory import Directory
from otel_metrics.multiprocess.files import fit_the_journal
from otel_metrics.multiprocess.recent import RecentFile
from otel_metrics.multiprocess.values import (
    COUNTER,
    DAYS,
    EXEMPLARS,
    GAUGE_MODES,
    LATEST,
    gauge_layout,
    histogram_layout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_metrics.multiprocess.asking import Answering
    from otel_metrics.multiprocess.directory import Process, Turn
    from otel_metrics.multiprocess.files import Addition, Entry, Files, Key, RowId
    from otel_metrics.multiprocess.values import Days, Exemplars, HistogramValue, Latest, Layout

V = TypeVar("V")

AT_ONCE: Final = 64
"""Rows that are written before other processes get a chance at the lock."""

MOST_BYTES: Final = 256 << 20
"""Bytes that the rows may take, unless told otherwise."""

_PATIENCE: Final = 1.0
"""Seconds that a process which ends tries to write what is pending."""


class Holder(Protocol[V]):
    """Whoever adds up values before it hands them over to a row."""

    pending: V | None


class Row(Generic[V]):
    """One row, as this process adds to it. Made without touching a file."""

    __slots__ = ("_totals", "id", "key", "layout")

    def __init__(self, totals: SharedTotals, key: Key, layout: Layout[V]) -> None:
        self._totals = totals
        self.id = layout.kind, key
        self.key = key
        self.layout = layout

    def add(self, value: V) -> None:
        """Add a value, now in memory, and with the next :meth:`SharedTotals.flush` for all processes."""
        self._totals._add(self, value)  # noqa: SLF001 (they are one)

    def take(self, holder: Holder[V]) -> None:
        """Add what ``holder`` has pending, which is None then; if a signal handler raises, both happens or neither."""
        if holder.pending is not None:
            self._totals._add(self, holder.pending, holder)  # noqa: SLF001


Place = Union["Entry[Any]", Row[Any]]
"""A row to read: one in the files, or one of this process while it is alone."""


class GaugeRow(Row[float]):
    """One gauge of this process."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """Set the gauge, for all processes to see with the next flush."""
        self._totals._set(self, value)  # noqa: SLF001


class Sample(NamedTuple):
    """One row, as all processes have added to it. What ``value`` is depends on ``kind``, the first part of its ``shape``."""

    key: Key
    shape: tuple[Any, ...]
    value: Any
    born: int
    """Nanoseconds since 1970 at which the row was begun; 0 for gauges."""
    exemplars: Exemplars

    @property
    def kind(self) -> str:
        """Such as ``counter``."""
        return str(self.shape[0])


class Snapshot:
    """All totals as they were at one moment; rows are unpacked when their metric is asked for.

    Attributes:
        instance_id: the identity that all processes share; that of this process alone while it could not join the others.
        processes: how many are alive.
    """

    def __init__(
        self,
        instance_id: str,
        files: Files | None,
        data: bytes,
        gauges: Sequence[Mapping[int, float]],
        alone: Mapping[Row[Any], Any] = MappingProxyType({}),
    ) -> None:
        self.instance_id = instance_id
        self.processes = len(gauges)
        self._files = files
        self._data = data
        self._gauges = gauges
        self._alone: Mapping[Any, Any] = alone
        self._metrics: Mapping[str, Mapping[RowId, Place]]
        if files is not None:
            self._metrics = files.metrics
        else:
            own: dict[str, dict[RowId, Place]] = {}
            for row in alone:
                if row.layout is not EXEMPLARS:
                    own.setdefault(row.key[0], {})[row.id] = row
            self._metrics = own

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics that have rows."""
        return list(self._metrics)

    def places(self, metric: str) -> list[Place]:
        """Return what the other methods take for each row of a metric."""
        return list(self._metrics.get(metric, {}).values())

    def rows(self, metric: str) -> Iterator[Sample]:
        """Yield the rows of a metric, those without a value left out."""
        return filter(None, self.samples(self.places(metric)))

    def samples(self, places: Sequence[Place]) -> Iterator[Sample | None]:
        """Yield rows of one metric, None for one without a value."""
        exemplars = self.exemplars(places) or repeat(())
        for place, stored, told in zip(places, self.values(places), exemplars, strict=False):
            if stored is None:
                yield None
            else:
                value, born = stored
                yield Sample(place.key, place.layout.shape, value, born, told)

    def values(self, places: Sequence[Place]) -> Iterator[tuple[Any, int] | None]:
        """Yield what rows hold, and when they were begun, see :class:`Sample`; None for one without a value."""
        files = self._files
        if files is None:
            return ((self._alone[place], 0) for place in places)
        entries = cast("Sequence[Entry[Any]]", places)
        if all(map(_size, entries)):
            return files.values(self._data, entries)
        return (next(files.values(self._data, (each,))) if each.size else self._gauge(each) for each in entries)

    def _gauge(self, entry: Entry[float]) -> tuple[float, int] | None:
        values = [gauges[entry.offset] for gauges in self._gauges if entry.offset in gauges]
        return (GAUGE_MODES[entry.layout.shape[1]](values), 0) if values else None

    def exemplars(self, places: Sequence[Place]) -> Sequence[Exemplars]:
        """Return the exemplars of rows of one metric; nothing at all if it has none."""
        files = self._files
        if not places or files is None or places[0].key[0] not in files.exemplars:
            return ()
        entries = (files.entry((EXEMPLARS.kind, place.key)) for place in places)
        found = ((None,) if entry is None else files.values(self._data, (entry,)) for entry in entries)
        return [stored[0] if stored else () for (stored,) in found]


_size: Final = attrgetter("size")


class SharedTotals:
    """The totals of all processes of one application on this machine, living and dead.

    A process adds to rows in memory. ``flush`` adds all of that to the files; who calls it once a second loses one second if
    it is killed, and nothing else is ever lost or counted twice. What cannot be written waits. ``read`` returns what all
    processes have added; ``ask`` has them do so before.

    Methods may be called from any thread. In a forked child everything begins anew by itself, however the fork was made.

    Args:
        directory: where the processes meet, one directory per application, on a file system of this machine.
        application: its name.
        schema: processes that differ in it share nothing: whatever decides what rows look like.
        most_bytes: bytes that the rows may take; series that go beyond are left out and counted.

    Raises:
        ConfigurationError: the directory belongs to another application or user, or is none.
    """

    _joined: tuple[Files, Process] | None
    _share: Callable[[], object] | None
    _at_work: bool
    """With the files. Their lock lets a signal handler in that interrupts this."""
    _answering: Answering | None = None

    def __init__(
        self, directory: str | os.PathLike[str], application: str, *, schema: str = "", most_bytes: int = MOST_BYTES
    ) -> None:
        self.problems: Counter[str] = Counter()
        """What was left out, or has to wait, in this process, by reason."""
        self._directory = Directory(os.fspath(directory), application, schema, most_bytes, self.problems)
        self._rows: dict[tuple[str, Key], Row[Any]] = {}
        self._renewals: dict[int, Lock] = {}
        self._asking = Asking()
        self._turns: set[Turn] = set()
        self._begin()
        _all.add(self)
        try:
            self._join()
        except OSError as error:
            if not self.passes(error):
                raise

    # ------------------------------------------------------------------------------------------------------ rows
    def counter(self, key: Key) -> Row[float]:
        """Return the row of a counter."""
        return self._row(key, COUNTER)

    def histogram(self, key: Key, bounds: Sequence[float]) -> Row[HistogramValue]:
        """Return the row of a histogram with these upper bounds, without infinity."""
        return self._row(key, histogram_layout(tuple(map(float, bounds))))

    def days(self, key: Key) -> Row[Days]:
        """Return the row of day totals."""
        return self._row(key, DAYS)

    def latest(self, key: Key) -> Row[Latest]:
        """Return the row of a gauge that outlives the process: the newest value of all processes counts."""
        return self._row(key, LATEST)

    def exemplars(self, key: Key) -> Row[Exemplars]:
        """Return the row of the exemplars of the counter or histogram that has the same key."""
        return self._row(key, EXEMPLARS)

    def gauge(self, key: Key, mode: str) -> GaugeRow:
        """Return a gauge that every living process has a value of.

        ``mode`` says how they become one: ``sum``, ``max``, ``min`` or ``mean``.
        """
        layout = gauge_layout(mode)
        return cast("GaugeRow", self._rows.setdefault((layout.kind, key), GaugeRow(self, key, layout)))

    def _row(self, key: Key, layout: Layout[V]) -> Row[V]:
        self._answer()
        return self._rows.setdefault((layout.kind, key), Row(self, key, layout))

    def _add(self, row: Row[V], value: V, holder: Holder[V] | None = None) -> None:
        self._renew_in_child()
        with self._lock:
            before = self._pending.get(row)
            after = value if before is None else row.layout.plus(before, value)
            # From here on without a call, see otel_metrics.recording.buffers.
            self._pending[row] = after
            if holder is not None:
                holder.pending = None

    def _set(self, row: Row[float], value: float) -> None:
        self._renew_in_child()
        with self._lock:
            self._gauges[row] = value
            self._changed.add(row)

    # ----------------------------------------------------------------------------------------------------- files
    def flush(self) -> bool:
        """Add everything that this process has added to the files; return whether that was possible.

        What could not be written waits for the next time, and ``problems`` has the reason.
        """
        self._renew_in_child()
        with self._files_lock:
            if self._at_work:  # a signal handler has interrupted a flush: what it adds goes with the next
                return False
            try:
                self._at_work = True
                files, process = self._join()
                self._set_gauges(files, process)
                self._add_to(files)
                return True
            except BaseException as error:
                if not self.passes(error):
                    self._joined = None  # a signal handler has raised: what is known of the files may be incomplete
                    raise
                return False
            finally:
                self._at_work = False

    def answer(self, share: Callable[[], object]) -> None:
        """Have ``share`` called when another process asks this one: to add what it knows, and :meth:`flush`.

        From the first row on, and in a thread of its own. Not in a forked child, before it calls this itself.
        """
        self._renew_in_child()
        self._share = share
        if self._joined is not None:
            self._answer()

    def ask(self) -> None:
        """Have the other living processes that answer add what they have recorded so far to the files.

        Waits for a quarter of a second at most, and only once for a process that does not answer. No lock may be held that
        another thread needs for its answer: two processes may ask each other.
        """
        self._renew_in_child()
        self._asking.ask(self._directory.others(self._process))

    def read(self) -> Snapshot:
        """Return what all processes have added, without waiting for any lock that another process may hold.

        If this process cannot join the others, that is what it has added itself, and ``problems`` has the reason.
        """
        self._renew_in_child()
        with self._files_lock:
            if self._at_work:  # a signal handler has interrupted this: what is known already has to do
                return self._alone() if self._joined is None else self._together(self._joined[0])
            try:
                self._at_work = True
                files, _ = self._join()
                files.catch_up()
                return self._together(files)
            except BaseException as error:
                if not self.passes(error):
                    self._joined = None
                    raise
                self._recover()
                return self._alone()
            finally:
                self._at_work = False

    def _together(self, files: Files) -> Snapshot:
        return Snapshot(files.instance_id, files, files.snapshot(), self._directory.gauges(files))

    def _alone(self) -> Snapshot:
        with self._lock:
            return Snapshot(self._own_id, None, b"", ({},), {**self._pending, **self._gauges})

    @contextmanager
    def turn(self, name: str) -> Iterator[Turn]:
        """Yield whose turn it is to do for all processes what is called ``name``.

        Raises:
            ConfigurationError: this process cannot join the others.
            OSError: the same, for the time being.
        """
        self._renew_in_child()
        with self._files_lock:
            self._join()
        turn = self._directory.turn(name)
        self._turns.add(turn)
        try:
            yield turn
        finally:
            turn.close()
            self._turns.discard(turn)

    def recent(self, born: Callable[[], float]) -> RecentFile:
        """Return the file of what all processes recorded lately; ``born`` tells since when, if it is made."""

        def opened(content: bytes) -> int:
            self._renew_in_child()
            with self._files_lock:
                self._join()
            return self._directory.open_recent(content)

        return RecentFile(lambda: self._directory.recent, opened, born, self.problems)

    def close(self, *others: Callable[[], bool]) -> None:
        """Add what is pending, and leave: the gauges of this process are gone. Waits a second for others that end meanwhile.

        ``others`` write what else is pending, and return whether that was possible.
        """
        deadline = time.monotonic() + _PATIENCE
        left: Sequence[Callable[[], bool]] = self.flush, *others
        while (left := [write for write in left if not write()]) and time.monotonic() < deadline:
            time.sleep(0.01)
        with self._files_lock:
            self._closed = True
            if self._joined is not None:
                self._joined[1].leave()
            self._joined = None
            self._share = None
            self._answer_no_more()
        self._asking.close()

    def after_fork_in_child(self) -> None:
        """Begin anew: what is pending is the parent's, as is its lock for life.

        A child does so at its first use anyway. Until then it keeps its parent's gauges alive, so a hook should call this.
        """
        self._begin()

    def _begin(self) -> None:
        for turn in self._turns:
            turn.forget()
        self._turns.clear()
        self._lock = RLock()
        self._files_lock = RLock()
        self._at_work = False
        self._pending: dict[Row[Any], Any] = {}
        self._left: dict[Row[Any], Any] = {}
        self._addition: Addition | None = None
        self._gauges: dict[Row[float], float] = {}
        self._changed: set[Row[float]] = set()
        self._joined = None
        self._asking.close()
        self._share = None
        if self._answering is not None:
            self._answering.forget()
            self._answering = None
        self._tried = False
        self._closed = False
        self._process = uuid4().hex
        self._process_joined = False
        self._own_id = str(uuid4())
        self._since = time.time_ns()  # before anything that is pending was recorded
        self.problems.clear()
        self._pid = os.getpid()

    def _renew_in_child(self) -> None:
        pid = os.getpid()
        if self._pid != pid:
            with self._renewals.setdefault(pid, Lock()):  # a lock that is the child's own: one of its threads does it
                if self._pid != pid:
                    self._begin()

    def passes(self, error: BaseException) -> bool:
        """Return whether something only has to wait because of that, and note under ``problems`` why.

        A time limit that a signal handler raises is not of that kind, even if it is a ``TimeoutError``, and so an OSError: it is
        for whoever set it, and may have interrupted anything.
        """
        if isinstance(error, OSError) and error.errno is not None:
            self.problems[_REASONS.get(error.errno, "io_error")] += 1
            return True
        if isinstance(error, ConfigurationError):
            self.problems["not_ours"] += 1
            return True
        return False

    def _join(self) -> tuple[Files, Process]:
        """Return the files of the present epoch, which may have begun while this process ran."""
        if self._joined is not None:
            if self._directory.holds(self._joined[0]):
                return self._joined
            self.problems["replaced"] += 1
            self._joined = None
        if self._process_joined:  # whoever removes the files of the one that it was must not remove the new ones
            self._answer_no_more()
            self._process = uuid4().hex
        self._joined = self._directory.join(self._process)
        if self._closed:
            self._joined[1].leave()
        self._process_joined = True
        self._changed.update(self._gauges)
        self._answer()
        return self._joined

    def _answer(self) -> None:
        """Begin to answer, unless that was tried before."""
        if self._share is None or self._tried:
            return
        self._tried = True
        try:
            self._answering = self._directory.answering(self._process, self._share)
        except (OSError, RuntimeError) as error:
            say(logging.DEBUG, "what this process recorded last comes within a second: it cannot be asked", error=error)

    def _answer_no_more(self) -> None:
        if self._answering is not None:
            self._answering.close()
            self._answering = None
        self._tried = False

    def _set_gauges(self, files: Files, process: Process) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        try:
            new = [row for row in changed if files.entry(row.id) is None]
            if new:
                with files.locked():
                    files.add_rows([(row.key, row.layout) for row in new if files.entry(row.id) is None])
            for row in list(changed):
                entry = files.entry(row.id)
                if entry is not None:  # or else there is no room for it, which has been counted
                    process.set(entry.offset, self._gauges[row])
                changed.discard(row)
        finally:
            self._changed |= changed

    # What is on its way into the files is in ``_left`` until it is known to have arrived. A signal handler may raise anywhere
    # in here: the next flush goes on from what these attributes say, so nothing is lost, and nothing added twice.
    def _add_to(self, files: Files) -> None:
        self._recover()
        since = self._since
        with self._lock:
            now = time.time_ns()
            self._left, self._pending = self._pending, {}
        rows = sorted(self._left, key=lambda row: entry.offset if (entry := files.entry(row.id)) else files.end)
        for start in range(0, len(rows), AT_ONCE):
            with files.locked():
                self._add_some(files, rows[start : start + AT_ONCE], since)
        self._since = now

    def _recover(self) -> None:
        """Have what an earlier flush left wait with what came since."""
        self._settle()
        with self._lock:
            for row, value in list(self._left.items()):
                while row in self._left:
                    before = self._pending.get(row)
                    after = value if before is None else row.layout.plus(value, before)
                    # From here on without a call: a signal handler may have added something meanwhile.
                    if (self._pending[row] if row in self._pending else None) is before:  # noqa: SIM401 (a call)
                        self._pending[row] = after
                        del self._left[row]

    def _settle(self) -> None:
        if self._addition is not None and self._addition.arrived:
            for entry in self._addition.entries:
                self._left.pop(self._rows[entry.layout.kind, entry.key], None)
        self._addition = None

    def _add_some(self, files: Files, rows: Sequence[Row[Any]], since: int) -> None:
        """Add to some rows, the lock held; new ones begin at ``since``. Those that have been added to, or never can be, are taken out of ``_left``."""
        left = self._left
        files.add_rows([(row.key, row.layout.fitting(left[row])) for row in rows if files.entry(row.id) is None])
        news: list[tuple[Entry[Any], Any]] = []
        for row in rows:
            entry = files.entry(row.id)
            if entry is None:  # there is no room for it, which has been counted
                del left[row]
            elif not row.layout.agrees(entry.layout):
                self.problems["other_buckets"] += 1
                del left[row]
            else:
                news.append((entry, left[row]))
        self._add_news(files, news, since)

    def _add_news(self, files: Files, news: Sequence[tuple[Entry[Any], Any]], since: int) -> None:
        """Add values to rows that are there, and make room for those that lack it."""
        if not fit_the_journal(entry for entry, _ in news):
            middle = len(news) // 2
            self._add_news(files, news[:middle], since)
            self._add_news(files, news[middle:], since)
            return
        addition = files.addition(news, since)
        self._addition = addition
        addition.write()
        self._settle()
        if addition.cramped:
            files.add_rows([(entry.key, layout) for entry, layout in addition.cramped.items()])
            moved: list[Row[Any]] = []
            for entry in addition.cramped:
                row = self._rows[entry.layout.kind, entry.key]
                if files.entry(row.id) is entry:  # there is no room for a larger one
                    del self._left[row]
                else:
                    moved.append(row)
            self._add_some(files, moved, since)


_all: Final[WeakSet[SharedTotals]] = WeakSet()


def _after_fork_in_child() -> None:
    for totals in list(_all):
        totals.after_fork_in_child()


renew_after_fork(Part.SHARED_TOTALS, _after_fork_in_child)

_REASONS: Final = {
    errno.EBUSY: "busy",
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EFBIG: "disk_full",
    errno.ENOENT: "vanished",
}
"""What ``problems`` calls an error of the system; ``io_error`` if it is none of these."""
