"""What this process adds to the totals of all processes, and what all of them have added up to."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from threading import Lock, RLock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar, cast
from uuid import uuid4
from weakref import WeakSet

from otel_metrics.errors import ConfigurationError
from otel_metrics.forks import Part, renew_after_fork
from otel_metrics.multiprocess.directory import Directory
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
    from collections.abc import Iterator, Mapping, Sequence

    from otel_metrics.multiprocess.directory import Process
    from otel_metrics.multiprocess.files import Addition, Entry, Files, Key
    from otel_metrics.multiprocess.values import Days, Exemplars, HistogramValue, Latest, Layout

V = TypeVar("V")

AT_ONCE: Final = 64
"""Rows that are written before other processes get a chance at the lock."""

MOST_BYTES: Final = 256 << 20
"""Bytes that the rows may take, unless told otherwise."""


RowId = tuple[str, "Key"]
"""The kind of a row, and its key."""


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
        self._alone = {row.id: (row.layout.shape, value) for row, value in alone.items()}
        self._ids: dict[str, list[RowId]] = {}
        for row in alone:
            self._ids.setdefault(row.key[0], []).append(row.id)
        if files is not None:
            self._ids = files.metrics

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics that have rows."""
        return list(self._ids)

    def ids(self, metric: str) -> list[RowId]:
        """Return what :meth:`sample` takes for each row of a metric."""
        return [each for each in self._ids.get(metric, ()) if each[0] != EXEMPLARS.kind]

    def rows(self, metric: str) -> Iterator[Sample]:
        """Yield the rows of a metric, those without a value left out."""
        return filter(None, map(self.sample, self.ids(metric)))

    def sample(self, row: RowId) -> Sample | None:
        """Return a row; None if it has no value."""
        files, (kind, key) = self._files, row
        if files is None:
            return Sample(key, *self._alone[row], 0, ())
        entry = files.entries[row]
        if kind == "gauge":
            values = [gauges[entry.offset] for gauges in self._gauges if entry.offset in gauges]
            return (
                Sample(key, entry.layout.shape, GAUGE_MODES[entry.layout.shape[1]](values), 0, ()) if values else None
            )
        stored = files.value(self._data, entry)
        return None if stored is None else Sample(key, entry.layout.shape, *stored, self._exemplars(files, key))

    def _exemplars(self, files: Files, key: Key) -> Exemplars:
        entry = files.entries.get((EXEMPLARS.kind, key))
        stored: tuple[Exemplars, int] | None = None if entry is None else files.value(self._data, entry)
        return () if stored is None else stored[0]


class SharedTotals:
    """The totals of all processes of one application on this machine, living and dead.

    A process adds to rows in memory. ``flush`` adds all of that to the files; who calls it once a second loses one second if
    it is killed, and nothing else is ever lost or counted twice. What cannot be written waits. ``read`` returns what all
    processes have added.

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

    def __init__(
        self, directory: str | os.PathLike[str], application: str, *, schema: str = "", most_bytes: int = MOST_BYTES
    ) -> None:
        self.problems: Counter[str] = Counter()
        """What was left out, or has to wait, in this process, by reason."""
        self._directory = Directory(os.fspath(directory), application, schema, most_bytes, self.problems)
        self._rows: dict[tuple[str, Key], Row[Any]] = {}
        self._renewals: dict[int, Lock] = {}
        self._begin()
        _all.add(self)
        try:
            self._join()
        except OSError as error:
            self._count(error)

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
            try:
                files, process = self._join()
                self._set_gauges(files, process)
                self._add_to(files)
                return True
            except (OSError, ConfigurationError) as error:
                self._count(error)
                return False
            except BaseException:
                self._joined = None  # a signal handler has raised: what is known of the files may be incomplete
                raise

    def read(self) -> Snapshot:
        """Return what all processes have added, without waiting for any lock that another process may hold.

        If this process cannot join the others, that is what it has added itself, and ``problems`` has the reason.
        """
        self._renew_in_child()
        with self._files_lock:
            try:
                files, _ = self._join()
                files.catch_up()
                return Snapshot(files.instance_id, files, files.snapshot(), self._directory.gauges(files))
            except (OSError, ConfigurationError) as error:
                self._count(error)
                self._recover()
                with self._lock:
                    return Snapshot(self._own_id, None, b"", ({},), {**self._pending, **self._gauges})
            except BaseException:
                self._joined = None
                raise

    def close(self) -> None:
        """Add what is pending, and leave: the gauges of this process are gone. Waits a second for others that end meanwhile."""
        deadline = time.monotonic() + 1.0
        while not self.flush() and time.monotonic() < deadline:
            time.sleep(0.01)
        with self._files_lock:
            if self._joined is not None:
                self._joined[1].leave()
            self._joined = None

    def after_fork_in_child(self) -> None:
        """Begin anew: what is pending is the parent's, as is its lock for life.

        A child does so at its first use anyway. Until then it keeps its parent's gauges alive, so a hook should call this.
        """
        self._begin()

    def _begin(self) -> None:
        self._lock = RLock()
        self._files_lock = RLock()
        self._pending: dict[Row[Any], Any] = {}
        self._left: dict[Row[Any], Any] = {}
        self._addition: Addition | None = None
        self._gauges: dict[Row[float], float] = {}
        self._changed: set[Row[float]] = set()
        self._joined = None
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

    def _count(self, error: Exception) -> None:
        reason = _REASONS.get(error.errno or 0, "io_error") if isinstance(error, OSError) else "not_ours"
        self.problems[reason] += 1

    def _join(self) -> tuple[Files, Process]:
        """Return the files of the present epoch, which may have begun while this process ran."""
        if self._joined is not None:
            if self._directory.holds(self._joined[0]):
                return self._joined
            self.problems["replaced"] += 1
            self._joined = None
        self._joined = self._directory.join()
        self._changed.update(self._gauges)
        return self._joined

    def _set_gauges(self, files: Files, process: Process) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        try:
            new = [row for row in changed if row.id not in files.entries]
            if new:
                with files.locked():
                    files.add_rows([(row.key, row.layout) for row in new if row.id not in files.entries])
            for row in list(changed):
                entry = files.entries.get(row.id)
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
        rows = sorted(self._left, key=lambda row: entry.offset if (entry := files.entries.get(row.id)) else files.end)
        for start in range(0, len(rows), AT_ONCE):
            with files.locked():
                self._add_some(files, rows[start : start + AT_ONCE], since)
        self._since = now

    def _recover(self) -> None:
        """Have what an earlier flush left wait with what came since."""
        self._settle()
        with self._lock:
            waiting = dict(self._left)
            for row, value in self._pending.items():
                waiting[row] = row.layout.plus(waiting[row], value) if row in waiting else value
            self._pending, self._left = waiting, {}

    def _settle(self) -> None:
        if self._addition is not None:
            for entry in self._addition.arrived():
                self._left.pop(self._rows[entry.layout.kind, entry.key], None)
            self._addition = None

    def _add_some(self, files: Files, rows: Sequence[Row[Any]], since: int) -> None:
        """Add to some rows, the lock held; new ones begin at ``since``. Those that have been added to, or never can be, are taken out of ``_left``."""
        left = self._left
        files.add_rows([(row.key, row.layout.fitting(left[row])) for row in rows if row.id not in files.entries])
        news: list[tuple[Entry[Any], Any]] = []
        for row in rows:
            entry = files.entries.get(row.id)
            if entry is None:  # there is no room for it, which has been counted
                del left[row]
            elif not row.layout.agrees(entry.layout):
                self.problems["other_buckets"] += 1
                del left[row]
            else:
                news.append((entry, left[row]))
        addition = self._addition = files.addition(news, since)
        addition.write()
        self._settle()
        cramped = dict(addition.cramped)
        if cramped:
            files.add_rows([(entry.key, layout) for entry, layout in cramped.items()])
            moved: list[Row[Any]] = []
            for entry in cramped:
                row = self._rows[entry.layout.kind, entry.key]
                if files.entries[row.id] is entry:  # there is no room for a larger one
                    del left[row]
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
