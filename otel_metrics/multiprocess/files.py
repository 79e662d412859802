"""The files that the processes of one application share: which rows there are, and what they hold.

``…keys`` says what there is: a header, then a line per shape and per row, each with a checksum, only ever appended to.
``…totals`` holds a journal and the rows. Both are changed under ``flock`` only, which the kernel frees when its holder dies.

A writer writes the rows that it changes into the journal first, then where they belong. If it is killed half-way through the
journal, that has a wrong checksum, and nothing has happened. If it is killed later, the next writer repeats what the journal
says before anything else. A reader takes no lock: it accepts a row with the right checksum. Any other it reads again, until
nobody is writing it, and then takes it from the journal.

Files are read and written by system calls, not mapped into memory: a full disk is an error then, and a file that somebody
cuts off is a short read. Mapped, both would end the process by a signal.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from contextlib import contextmanager, suppress
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar
from uuid import UUID
from zlib import crc32

from otel_metrics.multiprocess.values import EXEMPLARS, UNSTORABLE, layout_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from otel_metrics.multiprocess.values import Buffer, Layout

V = TypeVar("V")

Key = tuple[str, ...]
"""What tells a row from others of its kind; its first part is the name of the metric."""

RowId = tuple[str, Key]
"""The kind of a row, and its key."""

FORMAT: Final = 2
"""Raised whenever files are laid out differently; files of another format are left alone."""

PATIENCE: Final = 1.0
"""Seconds to wait for the lock on the rows, which others hold for some milliseconds, or longer where the machine is busy."""

_STOPPED: Final = 0.1
"""Seconds to wait after that was in vain: a process that is stopped while it holds the lock must not stop the others."""

_MAGIC: Final = b"OTMtotal"
_HEAD: Final = Struct("<8sQ16s")
_JOURNAL: Final = Struct("<II")
"""How many bytes of images follow (none: all is done), and their checksum."""
_IMAGE: Final = Struct("<QI")
"""Where a row is, and its size; the row follows."""
_ROW: Final = Struct("<Iq")
"""Checksum, and when the row was begun (nanoseconds since 1970); the value follows. All zero in a row never written to."""

ROWS: Final = 1 << 16
"""Where in the file of rows they begin; the journal is in front."""

_MOST_IMAGES: Final = ROWS - _HEAD.size - _JOURNAL.size

_LARGEST: Final = _MOST_IMAGES - _IMAGE.size
"""Bytes of a row that the journal has room for."""

_GAP: Final = 4096
"""Bytes between two rows that are written along rather than left out, as a second system call costs more."""

_TRIES: Final = 1000

_LONGEST_LINE: Final = 1 << 20

_LONGEST_HEADER: Final = 4096


class Entry(Generic[V]):
    """Where a row is. ``seed`` binds its checksums to its key, so no row can be taken for another's."""

    __slots__ = ("before", "key", "layout", "offset", "seed", "size")

    def __init__(self, key: Key, layout: Layout[V], offset: int, seed: int, before: Entry[V] | None) -> None:
        self.key = key
        self.layout = layout
        self.offset = offset
        """Of a gauge: its number."""
        self.seed = seed
        self.size = row_size(layout)
        self.before = before
        """Where the row was before it needed more room."""

    def whole(self, row: Buffer) -> bool:
        """Whether ``row`` is this one, and nothing of it is missing or changed."""
        return len(row) == self.size and bool(crc32(row[4:], self.seed) == int.from_bytes(row[:4], "little"))


class Busy(OSError):  # noqa: N818 (it is no failure)
    """The lock is not to be had."""


class Header(NamedTuple):
    """The first line of the file of keys."""

    application: str
    instance_id: str


def fit_the_journal(entries: Iterable[Entry[Any]]) -> bool:
    """Whether all these rows can be written at once."""
    return sum(_IMAGE.size + entry.size for entry in entries) <= _MOST_IMAGES


def row_size(layout: Layout[Any]) -> int:
    """Return the bytes of a row in the file of rows; 0 for gauges, which are not there."""
    return _ROW.size + layout.size if layout.size else 0


class Files:
    """The two files, opened by one process.

    Methods that change something are called with the lock held (:meth:`locked`).

    Args:
        keys: descriptor of the file of keys; closed with this object, as is ``totals``.
        totals: descriptor of the file of rows.
        most: bytes that the file of rows may take.
        problems: what is left out is counted here, by reason.
    """

    def __init__(self, keys: int, totals: int, most: int, problems: Counter[str]) -> None:
        self._keys = keys
        self._totals = totals
        self._most = most
        self._problems = problems
        self._patience = PATIENCE
        self._shapes: dict[tuple[str, Layout[Any]], int] = {}
        self._layouts: dict[int, tuple[str, Layout[Any]]] = {}
        self._read = 0  # bytes of the file of keys
        self._lines = 0
        self.end = 0
        """Bytes that all rows together take."""
        self.slots = 0
        """How many gauges a process may have."""
        self.metrics: dict[str, dict[RowId, Entry[Any]]] = {}
        """The rows of every metric."""
        self.exemplars: dict[str, dict[RowId, Entry[Any]]] = {}
        """Those of their exemplars."""
        header = self._next_lines()
        self.header = _header(header[0][1]) if header else None
        """None if this is no file of keys, or one of another format."""
        self._take_in(header[1:])

    def __del__(self) -> None:
        # Whoever still reads a snapshot keeps this object, and so the files, open.
        os.close(self._keys)
        os.close(self._totals)

    @property
    def instance_id(self) -> str:
        """The identity of all processes that share these files."""
        return self.header.instance_id if self.header else ""

    @property
    def whole(self) -> bool:
        """Whether the rows belong to the keys, and none has been cut off."""
        if self.header is None or os.fstat(self._totals).st_size < ROWS + self.end:
            return False
        return os.pread(self._totals, _HEAD.size, 0) == totals_head(self.header.instance_id)

    def are_at(self, keys: Path) -> bool:
        """Whether the file of keys is still this one, and the rows are whole."""
        try:
            return os.path.samestat(keys.stat(), os.fstat(self._keys)) and self.whole
        except (FileNotFoundError, NotADirectoryError):
            return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, know all rows, and have them as the last writer wanted them.

        Raises:
            Busy: it is not to be had.
        """
        until = time.monotonic() + self._patience
        self._patience = _STOPPED
        try:
            # A lock in front: who has it is the next. Else one that writes a lot would always find the rows free before the others.
            lock(self._keys, until)
            lock(self._totals, until)
            fcntl.flock(self._keys, fcntl.LOCK_UN)
            self._patience = PATIENCE
            self.catch_up()
            self._repeat()
            yield
        finally:
            fcntl.flock(self._keys, fcntl.LOCK_UN)
            fcntl.flock(self._totals, fcntl.LOCK_UN)

    # ------------------------------------------------------------------------------------------------- which rows
    def catch_up(self) -> None:
        """Learn of the rows that others have made."""
        if os.fstat(self._keys).st_size > self._read:
            self._take_in(self._next_lines())

    def entry(self, row: RowId) -> Entry[Any] | None:
        """Return where a row is."""
        kind, key = row
        return (self.exemplars if kind == EXEMPLARS.kind else self.metrics).get(key[0], {}).get(row)

    def add_rows(self, wanted: Sequence[tuple[Key, Layout[Any]]]) -> None:
        """Make rows for keys that have none, or whose row lacks room. Those that go beyond the bound are not made."""
        lines: list[bytes] = []
        number, size, end, slots = self._lines, self._read, self.end, self.slots
        shapes: dict[tuple[str, Layout[Any]], int] = {}
        for key, layout in wanted:
            following = end + row_size(layout)
            if following > self._most or size > self._most or row_size(layout) > _LARGEST:
                self._problems["no_room"] += 1
                continue
            metric, *labels = key
            shape = self._shapes.get((metric, layout), shapes.get((metric, layout)))
            if shape is None:
                shape = shapes[metric, layout] = number
                lines.append(_line([metric, *layout.shape]))
                number += 1
            lines.append(_line([shape, end if layout.size else slots, *labels]))
            number, size, end, slots = number + 1, size + len(lines[-1]), following, slots + (not layout.size)
        if not lines:
            return
        data = b"".join(lines)
        # What a killed writer has left of a line is cut off, or the next line would be a part of it.
        if os.fstat(self._keys).st_size != self._read:
            os.ftruncate(self._keys, self._read)
        # Rows first, so that a file of rows that is too short for its keys has been cut off. Written, so that the disk has room.
        present = os.fstat(self._totals).st_size
        _write(self._totals, bytes(max(ROWS + end - present, 0)), present)
        # If that fails, a reader may have taken in whole lines among it already; a torn one is cut off the next time.
        _write(self._keys, data, self._read)
        self.catch_up()

    def _next_lines(self) -> list[tuple[int, Any]]:
        """Return (checksum, content) of the whole lines that have not been read yet."""
        size = min(os.fstat(self._keys).st_size, self._most + _LONGEST_LINE)  # whatever somebody has made of the file
        data = os.pread(self._keys, max(size - self._read, 0), self._read)
        self._read += data.rfind(b"\n") + 1
        return _lines(data)

    def _take_in(self, lines: Iterable[tuple[int, Any]]) -> None:
        for seed, content in lines:
            number, self._lines = self._lines, self._lines + 1
            try:
                self._take_in_line(number, seed, content)
            except (ValueError, TypeError, OverflowError):
                self._problems["corrupt_key"] += 1

    def _take_in_line(self, number: int, seed: int, content: Any) -> None:
        match content:
            case [int(shape), int(offset), *labels] if shape in self._layouts and all(
                type(part) is str for part in labels
            ):
                metric, layout = self._layouts[shape]
                # What is read is as large as the rows that are known, so these must not be anywhere.
                if not 0 <= offset <= (self._most - row_size(layout) if layout.size else number):
                    raise ValueError(f"a row at {offset}")
                rows = (self.exemplars if layout is EXEMPLARS else self.metrics).setdefault(metric, {})
                key = (metric, *labels)
                before = rows.get((layout.kind, key))
                if before is not None:
                    if not before.layout.agrees(layout):
                        raise ValueError("a row that changes its shape")
                    key = before.key
                rows[layout.kind, key] = Entry(key, layout, offset, seed, before)
                if layout.size:
                    self.end = max(self.end, offset + row_size(layout))
                else:
                    self.slots = max(self.slots, offset + 1)
            case [str(metric), str(), *_]:
                layout = layout_of(content[1:])
                if row_size(layout) > _LARGEST:
                    raise ValueError("a row that could not be written")
                self._layouts[number] = metric, layout
                self._shapes[metric, layout] = number
            case _:
                raise ValueError("neither a shape nor a row")

    # ------------------------------------------------------------------------------------------- what they hold
    def addition(self, news: Sequence[tuple[Entry[Any], Any]], now: int) -> Addition:
        """Prepare adding values to rows, each to another row. The lock is held until that is done."""
        spans: list[_Span] = []
        end = -_GAP
        for entry, value in sorted(news, key=_offset):
            if entry.offset >= end + _GAP:
                spans.append(_Span(entry.offset))
            end = entry.offset + entry.size
            spans[-1].news.append((entry, value))
            spans[-1].size = end - spans[-1].start
        addition = Addition(self._totals)
        for span in spans:
            data = bytearray(os.pread(self._totals, span.size, ROWS + span.start).ljust(span.size, b"\0"))
            for entry, value in span.news:
                row = self._sum(data, span.start, entry, value, now, addition)
                if row is not None:
                    at = entry.offset - span.start
                    data[at : at + entry.size] = row
                    addition.put(entry, row)
            addition.spans.append((data, ROWS + span.start))
        return addition

    def _sum(self, data: bytearray, start: int, entry: Entry[V], news: V, now: int, addition: Addition) -> bytes | None:
        """Return a row with ``news`` added; None if it cannot be, which is said in ``addition``."""
        at = entry.offset - start
        row = data[at : at + entry.size]
        if entry.whole(row):
            stored: tuple[V, int] | None = entry.layout.unpack(row, _ROW.size), _ROW.unpack_from(row)[1]
        elif any(row):
            self._problems["corrupt_row"] += 1
            stored = None
        else:
            stored = self._moved(entry)
        value = news if stored is None else entry.layout.plus(stored[0], news)
        try:
            packed = entry.layout.pack(value)
        except UNSTORABLE:
            self._problems["not_storable"] += 1
            addition.entries.append(entry)  # dropped, so that it does not come again
            return None
        if len(packed) > entry.layout.size:
            addition.cramped[entry] = entry.layout.fitting(value)
            return None
        unsigned = _ROW.pack(0, now if stored is None else stored[1])[4:] + packed.ljust(entry.layout.size, b"\0")
        return crc32(unsigned, entry.seed).to_bytes(4, "little") + unsigned

    def _repeat(self) -> None:
        """Finish what a writer that was killed has begun."""
        images = self._journal()
        for offset, row in images:
            if offset + len(row) <= self.end:
                _write(self._totals, row, ROWS + offset)
        if images:
            _write(self._totals, _DONE, _HEAD.size)

    def _journal(self) -> list[tuple[int, bytes]]:
        """Return where rows are, and what a writer wanted them to be that has not said that it is done."""
        size, checksum = _JOURNAL.unpack(os.pread(self._totals, _JOURNAL.size, _HEAD.size).ljust(_JOURNAL.size, b"\0"))
        if not 0 < size <= _MOST_IMAGES:
            return []
        data = os.pread(self._totals, size, _HEAD.size + _JOURNAL.size)
        if crc32(data) != checksum:
            return []
        images: list[tuple[int, bytes]] = []
        at = 0
        while at + _IMAGE.size <= size:
            offset, length = _IMAGE.unpack_from(data, at)
            at += _IMAGE.size + length
            images.append((offset, data[at - length : at]))
        return images

    def snapshot(self) -> bytes:
        """Return all rows as they are now; :meth:`values` finds what they hold in there."""
        return os.pread(self._totals, self.end, ROWS)

    def values(self, snapshot: bytes, entries: Iterable[Entry[V]]) -> Iterator[tuple[V, int] | None]:
        """Yield what rows held, and since when (nanoseconds since 1970).

        None for a row that holds nothing, or nothing that can be read.
        """
        size, head, unpack_head = len(snapshot), _ROW.size, _ROW.unpack_from
        for entry in entries:
            at = entry.offset
            end = at + entry.size
            if end <= size:  # or else it has been made since
                checksum, born = unpack_head(snapshot, at)
                if born and crc32(snapshot[at + 4 : end], entry.seed) == checksum:
                    yield entry.layout.unpack(snapshot, at + head), born
                    continue
            yield self._now(entry)

    def _now(self, entry: Entry[V]) -> tuple[V, int] | None:
        row = self._standing_still(entry)
        if row is None:
            self._problems["corrupt_row"] += 1
            return None
        if row:
            return entry.layout.unpack(row, _ROW.size), _ROW.unpack_from(row)[1]
        return self._moved(entry)  # whoever wanted to move it was killed before, or is about to do so

    def _moved(self, entry: Entry[V]) -> tuple[V, int] | None:
        """Return what a row held where it was before it needed more room."""
        return None if entry.before is None else self._now(entry.before)

    def _standing_still(self, entry: Entry[Any]) -> bytes | None:
        """Read a row until nobody is writing it; return it, empty if nobody has ever written to it, None if it is damaged."""
        before = b""
        missing = False
        for _ in range(_TRIES):
            row = os.pread(self._totals, entry.size, ROWS + entry.offset)
            if not any(row):
                return b""
            if entry.whole(row):
                return row
            if row == before:
                found = [image for offset, image in self._journal() if offset == entry.offset and entry.whole(image)]
                if found or missing:
                    return found[0] if found else None
                missing = True  # or another writer has repeated the journal since, and the row is whole now
            before = row
        return None


class _Span:
    """Rows so near to each other that they are read and written at once."""

    __slots__ = ("news", "size", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.size = 0
        self.news: list[tuple[Entry[Any], Any]] = []


class Addition:
    """Values on their way into rows. They have arrived when the journal is written, whatever becomes of the writer."""

    def __init__(self, totals: int) -> None:
        self._totals = totals
        self._images: list[bytes] = []
        self._written: list[int] = []
        self.entries: list[Entry[Any]] = []
        """The rows that need nothing more, once this is written."""
        self.cramped: dict[Entry[Any], Layout[Any]] = {}
        """Rows that lack room for what they would hold, which is not written, and the layout that they need."""
        self.spans: list[tuple[bytearray, int]] = []

    def put(self, entry: Entry[Any], row: bytes) -> None:
        """Have a row written."""
        self._images.append(_IMAGE.pack(entry.offset, len(row)) + row)
        self.entries.append(entry)

    def write(self) -> None:
        """Write all values.

        Raises:
            OSError: the disk is full, or worse.
        """
        images = b"".join(self._images)
        journal = _JOURNAL.pack(len(images), crc32(images)) + images
        # Written and remembered in one call: a signal handler that raises may do so before or after it.
        self._written += map(os.pwrite, (self._totals,), (journal,), (_HEAD.size,))
        if not self.arrived:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for data, start in self.spans:
            _write(self._totals, data, start)
        _write(self._totals, _DONE, _HEAD.size)

    @property
    def arrived(self) -> bool:
        """Whether the rows have their new values, or will have before anybody else writes."""
        return self._written == [_JOURNAL.size + sum(map(len, self._images))]


_DONE: Final = bytes(_JOURNAL.size)


def _write(descriptor: int, data: Buffer, at: int) -> None:
    """Write all of ``data``.

    Raises:
        OSError: the disk is full, or worse.
    """
    if os.pwrite(descriptor, data, at) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _offset(item: tuple[Entry[Any], Any]) -> int:
    return item[0].offset


def _line(content: Any) -> bytes:
    text = json.dumps(content, separators=(",", ":")).encode()
    return b"%08x %s\n" % (crc32(text), text)


def keys_head(header: Header) -> bytes:
    """Return what a file of keys begins with."""
    return _line({"otel_metrics": FORMAT, **header._asdict()})


def totals_head(instance_id: str) -> bytes:
    """Return what a file of rows begins with."""
    return _HEAD.pack(_MAGIC, FORMAT, UUID(instance_id).bytes)


def read_header(path: Path) -> Header | None:
    """Return the first line of a file of keys, None if that is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return None  # a link
    try:
        lines = _lines(os.read(descriptor, _LONGEST_HEADER)) if stat.S_ISREG(os.fstat(descriptor).st_mode) else []
    finally:
        os.close(descriptor)
    return _header(lines[0][1]) if lines else None


def _lines(data: bytes) -> list[tuple[int, Any]]:
    """Return (checksum, content) of every line; content is None where the checksum is wrong."""
    found: list[tuple[int, Any]] = []
    for line in data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]:
        try:
            checksum, content = int(line[:8], 16), line[9:]
            found.append((checksum, json.loads(content) if crc32(content) == checksum else None))
        except (ValueError, RecursionError):
            found.append((0, None))
    return found


def _header(content: Any) -> Header | None:
    match content:
        case {"otel_metrics": int(number), "application": str(application), "instance_id": str(instance_id)}:
            with suppress(ValueError):
                return Header(application, str(UUID(instance_id))) if number == FORMAT else None
    return None


def lock(descriptor: int, until: float) -> None:
    """Lock a file, or a directory, for whoever opened it.

    Raises:
        Busy: not to be had before the monotonic clock says ``until``.
    """
    pause = 0.0001
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise Busy(errno.EBUSY, "another process holds the lock") from None
            time.sleep(pause)
            pause = min(2 * pause, 0.002)
        else:
            return
