"""The files that the processes of one application share: which rows there are, and what they hold.

``…keys`` says what there is: a header, then a line per shape and per row, each with a checksum, only ever appended to.
``…totals`` holds the rows. Both are changed under ``flock`` only, which the kernel frees when its holder dies.

A row has two halves, each with a generation and a checksum. A writer overwrites the older half, so one that is killed
half-way leaves the newer one as it was. A reader takes no lock: it accepts a row whose newer half is whole and follows
directly on the older one. Any other it reads again, until nobody is writing it.

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
from itertools import repeat
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar
from uuid import UUID
from zlib import crc32

from otel_metrics.multiprocess.values import layout_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from otel_metrics.multiprocess.values import Buffer, Layout

V = TypeVar("V")

Key = tuple[str, ...]
"""What tells a row from others of its kind; its first part is the name of the metric."""

FORMAT: Final = 1
"""Raised whenever files are laid out differently; files of another format are left alone."""

PATIENCE: Final = 0.1
"""Seconds to wait for the lock on the rows. A process that is stopped while it holds it must not stop the others."""

_MAGIC: Final = b"OTMtotal"
_HEAD: Final = Struct("<8sQ16s")
_GENERATION: Final = Struct("<Q")
_HALF: Final = Struct("<Qq")
"""Generation, and when the row was begun (nanoseconds since 1970); the value and a checksum follow."""

_GAP: Final = 4096
"""Bytes between two rows that are written along rather than left out, as a second system call costs more."""

_TRIES: Final = 1000

_LONGEST_LINE: Final = 1 << 20

_LONGEST_HEADER: Final = 4096


class Entry(Generic[V]):
    """Where a row is. ``seed`` binds its checksums to its key, so no row can be taken for another's."""

    __slots__ = ("before", "half", "key", "layout", "offset", "seed")

    def __init__(self, key: Key, layout: Layout[V], offset: int, seed: int, before: Entry[V] | None) -> None:
        self.key = key
        self.layout = layout
        self.offset = offset
        self.seed = seed
        self.half = half_size(layout)
        self.before = before
        """Where the row was before it needed more room."""


class Busy(OSError):  # noqa: N818 (it is no failure)
    """The lock is not to be had."""


class Header(NamedTuple):
    """The first line of the file of keys."""

    application: str
    instance_id: str


def half_size(layout: Layout[Any]) -> int:
    """Return the bytes of half a row."""
    return _HALF.size + layout.size + _GENERATION.size


def newest_half(data: Buffer, at: int, half: int, seed: int) -> tuple[int, bool]:
    """Return where in ``data`` the newest whole half of the row at ``at`` is (-1: nowhere), and whether that is certain."""
    (a,), (b,) = _GENERATION.unpack_from(data, at), _GENERATION.unpack_from(data, at + half)
    if not a and not b:
        return -1, True
    first, second = (at, at + half) if a > b else (at + half, at)
    if _whole(data, first, half, seed):
        return first, a - b in {1, -1}
    if _whole(data, second, half, seed):
        return second, False
    return -1, a + b == 1  # or else it had a value once: whoever wrote the first one was killed


def _whole(data: Buffer, at: int, half: int, seed: int) -> bool:
    end = at + half - 8
    return bool(crc32(data[at:end], seed) == _GENERATION.unpack_from(data, end)[0])


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
        self._shapes: dict[tuple[Any, ...], int] = {}
        self._layouts: dict[int, Layout[Any]] = {}
        self._read = 0  # bytes of the file of keys
        self._lines = 0
        self.end = _HEAD.size
        """Bytes that all rows together take."""
        self.slots = 0
        """How many gauges a process may have."""
        self.entries: dict[tuple[str, Key], Entry[Any]] = {}
        """By kind and key."""
        self.metrics: dict[str, list[tuple[str, Key]]] = {}
        """By the metric's name."""
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
        if self.header is None or os.fstat(self._totals).st_size < self.end:
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
        """Hold the lock, and know all rows.

        Raises:
            Busy: it is not to be had.
        """
        try:
            lock(self._totals, PATIENCE)
            self.catch_up()
            yield
        finally:
            fcntl.flock(self._totals, fcntl.LOCK_UN)

    # ------------------------------------------------------------------------------------------------- which rows
    def catch_up(self) -> None:
        """Learn of the rows that others have made."""
        if os.fstat(self._keys).st_size > self._read:
            self._take_in(self._next_lines())

    def add_rows(self, wanted: Sequence[tuple[Key, Layout[Any]]]) -> None:
        """Make rows for keys that have none, or whose row lacks room. Those that go beyond the bound are not made."""
        lines: list[bytes] = []
        number, size, end, slots = self._lines, self._read, self.end, self.slots
        shapes: dict[tuple[Any, ...], int] = {}
        for key, layout in wanted:
            following = end + 2 * half_size(layout) if layout.size else end
            if following > self._most or size > self._most:
                self._problems["no_room"] += 1
                continue
            shape = self._shapes.get(layout.shape, shapes.get(layout.shape))
            if shape is None:
                shape = shapes[layout.shape] = number
                lines.append(_line(list(layout.shape)))
                number += 1
            lines.append(_line([shape, end if layout.size else slots, *key]))
            number, size, end, slots = number + 1, size + len(lines[-1]), following, slots + (not layout.size)
        if not lines:
            return
        data = b"".join(lines)
        # What a killed writer has left of a line is cut off, or the next line would be a part of it.
        if os.fstat(self._keys).st_size != self._read:
            os.ftruncate(self._keys, self._read)
        # Rows first, so that a file of rows that is too short for its keys has been cut off.
        if end > os.fstat(self._totals).st_size:
            os.ftruncate(self._totals, end)
        if os.pwrite(self._keys, data, self._read) != len(data):
            # A reader may have taken in the whole lines among it already; the torn one is cut off the next time.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
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
            case [int(shape), int(offset), str(), *_] if shape in self._layouts and all(
                type(part) is str for part in content[2:]
            ):
                layout = self._layouts[shape]
                # What is read is as large as the rows that are known, so these must not be anywhere.
                if not 0 <= offset <= (self._most - 2 * half_size(layout) if layout.size else number):
                    raise ValueError(f"a row at {offset}")
                key = tuple(content[2:])
                before = self.entries.get((layout.kind, key))
                if before is None:
                    self.metrics.setdefault(key[0], []).append((layout.kind, key))
                elif not before.layout.agrees(layout):
                    raise ValueError("a row that changes its shape")
                entry = self.entries[layout.kind, key] = Entry(key, layout, offset, seed, before)
                if layout.size:
                    self.end = max(self.end, offset + 2 * entry.half)
                else:
                    self.slots = max(self.slots, offset + 1)
            case [str(), *_]:
                layout = self._layouts[number] = layout_of(content)
                self._shapes[layout.shape] = number
            case _:
                raise ValueError("neither a shape nor a row")

    # ------------------------------------------------------------------------------------------- what they hold
    def addition(self, news: Sequence[tuple[Entry[Any], Any]], now: int) -> Addition:
        """Prepare adding values to rows, each to another row. The lock is held until that is done."""
        return Addition(self._totals, self._spans(news, now))

    def _spans(self, news: Sequence[tuple[Entry[Any], Any]], now: int) -> list[_Span]:
        spans: list[_Span] = []
        end = -_GAP
        for entry, value in sorted(news, key=_offset):
            if entry.offset >= end + _GAP:
                spans.append(_Span(entry.offset))
            end = entry.offset + 2 * entry.half
            spans[-1].news.append((entry, value))
            spans[-1].size = end - spans[-1].start
        for span in spans:
            held = os.pread(self._totals, span.size, span.start)
            span.data = bytearray(held.ljust(span.size, b"\0"))
            for entry, value in span.news:
                self._put(span, entry, value, now)
        return spans

    def _put(self, span: _Span, entry: Entry[V], news: V, now: int) -> None:
        at, half, data = entry.offset - span.start, entry.half, span.data
        place, certain = newest_half(data, at, half, entry.seed)
        if place < 0:
            if not certain:
                self._problems["corrupt_row"] += 1
            stored = self._moved(entry) if certain else None
            generation, place = 0, at + half
        else:
            generation, born = _HALF.unpack_from(data, place)
            stored = entry.layout.unpack(data, place + _HALF.size), born
        value = news if stored is None else entry.layout.plus(stored[0], news)
        if entry.layout.fitting(value) is not entry.layout:
            span.cramped.append((entry, value))
            return
        try:
            packed = _HALF.pack(generation + 1, now if stored is None else stored[1]) + entry.layout.pack(value)
        except (OverflowError, StructError):
            packed = b""
        if len(packed) != half - _GENERATION.size:  # a number that is too large, a list of another length
            self._problems["not_storable"] += 1
            span.ends[entry] = 0  # dropped, so that it does not come again
            return
        start = at if place != at else at + half
        data[start : start + half] = packed + _GENERATION.pack(crc32(packed, entry.seed))
        span.ends[entry] = start + half

    def snapshot(self) -> bytes:
        """Return all rows as they are now; :meth:`value` finds the value of one in there."""
        return os.pread(self._totals, self.end, 0)

    def value(self, snapshot: bytes, entry: Entry[V], start: int = 0) -> tuple[V, int] | None:
        """Return what a row held, and since when (nanoseconds since 1970).

        None if it holds nothing, or nothing that can be read. ``snapshot`` begins at ``start``.
        """
        at = entry.offset - start
        place, certain = -1, False
        if at + 2 * entry.half <= len(snapshot):  # or else it has been made since
            place, certain = newest_half(snapshot, at, entry.half, entry.seed)
        if not certain:
            snapshot, place, certain = self._standing_still(entry)
        if place >= 0:
            return entry.layout.unpack(snapshot, place + _HALF.size), _HALF.unpack_from(snapshot, place)[1]
        if not certain:
            self._problems["corrupt_row"] += 1
            return None
        return self._moved(entry)  # whoever wanted to move it was killed before, or is about to do so

    def _moved(self, entry: Entry[V]) -> tuple[V, int] | None:
        """Return what a row held where it was before it needed more room."""
        before = entry.before
        return None if before is None else self.value(self._read_row(before), before, before.offset)

    def _read_row(self, entry: Entry[Any]) -> bytes:
        return os.pread(self._totals, 2 * entry.half, entry.offset)

    def _standing_still(self, entry: Entry[Any]) -> tuple[bytes, int, bool]:
        """Read a row until nobody is writing it; return it, where its newest half is, and whether that is certain."""
        before = b""
        for _ in range(_TRIES):
            now = self._read_row(entry)
            if len(now) < 2 * entry.half:
                break
            place, certain = newest_half(now, 0, entry.half, entry.seed)
            if certain or now == before:
                return now, place, certain
            before = now
        return b"", -1, False


class _Span:
    """Rows so near to each other that they are read and written at once."""

    __slots__ = ("cramped", "data", "ends", "news", "size", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.size = 0
        self.news: list[tuple[Entry[Any], Any]] = []
        self.data = bytearray()
        self.ends: dict[Entry[Any], int] = {}
        """How many bytes must have been written for a row to have its new value."""
        self.cramped: list[tuple[Entry[Any], Any]] = []


class Addition:
    """Values on their way into rows: what has arrived is known however it ends."""

    def __init__(self, totals: int, spans: list[_Span]) -> None:
        self._totals = totals
        self._spans = spans
        self._written: list[int] = []

    @property
    def cramped(self) -> Iterator[tuple[Entry[Any], Layout[Any]]]:
        """Rows that lack room for what they would hold, which is not written, and the layout that they need."""
        for span in self._spans:
            for entry, value in span.cramped:
                yield entry, entry.layout.fitting(value)

    def write(self) -> None:
        """Write all values.

        Raises:
            OSError: the disk is full, or worse.
        """
        # In one call: a signal handler that raises may do so before or after it, but what was written is known.
        self._written += map(
            os.pwrite, repeat(self._totals), [s.data for s in self._spans], [s.start for s in self._spans]
        )
        if any(written < span.size for written, span in zip(self._written, self._spans, strict=True)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def arrived(self) -> Iterator[Entry[Any]]:
        """Yield the rows that have their new value."""
        for written, span in zip(self._written, self._spans, strict=False):
            yield from (entry for entry, end in span.ends.items() if end <= written)


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


def lock(descriptor: int, patience: float) -> None:
    """Lock a file, or a directory, for whoever opened it.

    Raises:
        Busy: not to be had within ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    pause = 0.0001
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy(errno.EBUSY, "another process holds the lock") from None
            time.sleep(pause)
            pause = min(2 * pause, 0.005)
        else:
            return
