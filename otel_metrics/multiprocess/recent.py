"""What the processes of one application recorded lately: a file of records that each appends to and any of them reads.

A record is what its writer makes of it. The head says where the last whole one ends, so what a killed writer has left of
another is written over. When the file has grown too long, one process writes what its records come to into a new one, which
takes its place. No process keeps the file open, so there is nothing to renew after a fork.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from otel_metrics.multiprocess.files import Busy, lock

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

MOST_BYTES: Final = 64 << 20
"""Bytes that the file may take; twice that for a moment while it is written anew."""

_LEAST_BYTES: Final = 4 << 20
"""Bytes up to which it is not written anew."""

_MAGIC: Final = b"OTMrecn2"
_HEAD: Final = Struct("<8s8sdQQ")
_CHECKSUM: Final = Struct("<I")
_START: Final = _HEAD.size + _CHECKSUM.size
_RECORD: Final = Struct("<II")
"""Size and checksum of a record, which follows."""

_TRIES: Final = 20

_PATIENCE: Final = 0.1
"""Seconds to wait for the lock: what is not written now waits for the next second."""


class _Head(NamedTuple):
    generation: bytes
    """Another one in every file."""
    born: float
    """The time from which on records are there."""
    end: int
    """Bytes of all whole records."""
    limit: int
    """Bytes from which on it should be written anew."""

    def packed(self) -> bytes:
        data = _HEAD.pack(_MAGIC, *self)
        return data + _CHECKSUM.pack(crc32(data))


class Position(NamedTuple):
    """How far a reader has come."""

    generation: bytes = b""
    offset: int = 0


class News(NamedTuple):
    """What has come since a position."""

    born: float
    """Unix time from which on everything is known."""
    anew: bool
    """Whether it is everything there is, so that what was read before must be forgotten."""
    records: Sequence[bytes]
    position: Position


class RecentFile:
    """The file.

    Args:
        path: where it is.
        opened: opens it, made with what it gets if it is not there.
        born: the time from which on a file that is made now will have records.
        problems: damage is counted here.
    """

    def __init__(
        self,
        path: Callable[[], Path],
        opened: Callable[[bytes], int],
        born: Callable[[], float],
        problems: Counter[str],
    ) -> None:
        self._path = path
        self._opened = opened
        self._born = born
        self._problems = problems

    def append(self, record: bytes, arrived: list[int], rewrite: Callable[[], object]) -> None:
        """Append a record.

        Args:
            record: the bytes.
            arrived: has something in it from the moment on in which the record is in the file, whatever is raised then.
            rewrite: called if the file should be written anew (:meth:`replace`).

        Raises:
            ConfigurationError: this process cannot join the others.
            OSError: the disk is full.
            Busy: the lock is not to be had, or the file is full until it has been written anew.
        """
        data = _RECORD.pack(len(record), crc32(record)) + record
        with self._locked() as (descriptor, head):
            end = head.end + len(data)
            fits = end <= MOST_BYTES
            if fits:
                _write(descriptor, data, _START + head.end)
                # Written and remembered in one call: a signal handler that raises may do so before or after it.
                arrived += map(os.pwrite, (descriptor,), (head._replace(end=end).packed(),), (0,))
        if end > head.limit:
            rewrite()
        if not fits:
            raise Busy(errno.EBUSY, "the file of recent values is full until it has been written anew")

    def read(self, position: Position) -> News:
        """Return the records since ``position``. Damaged ones are left out.

        Raises:
            ConfigurationError: this process cannot join the others.
            OSError: the file cannot be read.
        """
        descriptor = self._opened(self._fresh())
        try:
            head = self._head(descriptor)
            if head is None:
                raise OSError(errno.EIO, "the file of recent values is damaged")
            anew = head.generation != position.generation
            start = 0 if anew else position.offset
            data = os.pread(descriptor, head.end - start, _START + start)
        finally:
            os.close(descriptor)
        return News(head.born, anew, list(self._records(data)), Position(head.generation, head.end))

    def replace(self, records: Sequence[bytes], upto: Position, born: float) -> None:
        """Have ``records`` take the place of all up to a position, which they come to.

        Raises:
            ConfigurationError: this process cannot join the others.
            OSError: the disk is full.
        """
        data = b"".join(_RECORD.pack(len(record), crc32(record)) + record for record in records)
        path = self._path()
        unfinished = path.with_name(f"{path.name}.rewriting")
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, data, _START)
            with self._locked() as (current, head):
                if head.generation != upto.generation:
                    return
                tail = os.pread(current, head.end - upto.offset, _START + upto.offset)
                _write(descriptor, tail, _START + len(data))
                # Others append while it is written anew, and should find room.
                limit = min(max(_LEAST_BYTES, 2 * len(data)), MOST_BYTES * 3 // 4)
                _write(descriptor, _Head(os.urandom(8), born, len(data) + len(tail), limit).packed(), 0)
                there = os.fstat(current)
                if os.geteuid() == 0 != there.st_uid:
                    os.fchown(descriptor, there.st_uid, -1)
                if _is_at(unfinished, descriptor):  # or else another process is at it by now
                    unfinished.rename(path)
        finally:
            if _is_at(unfinished, descriptor):
                unfinished.unlink(missing_ok=True)
            os.close(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[tuple[int, _Head]]:
        """Yield the file that is at its place, locked, and its head. A damaged one is put aside."""
        for _ in range(_TRIES):
            descriptor = self._opened(self._fresh())
            try:
                lock(descriptor, time.monotonic() + _PATIENCE)
                path = self._path()
                if not _is_at(path, descriptor):
                    continue  # it has been replaced meanwhile
                head = self._head(descriptor)
                if head is None:
                    self._problems["corrupt_file"] += 1
                    path.rename(path.with_name(f"{path.name}.corrupt"))
                    continue
                yield descriptor, head
                return
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)
        raise Busy(errno.EBUSY, "the file is replaced again and again")

    def _fresh(self) -> bytes:
        return _Head(os.urandom(8), self._born(), 0, _LEAST_BYTES).packed()

    def _head(self, descriptor: int) -> _Head | None:
        """Return the head; None if there is none."""
        for _ in range(_TRIES):  # somebody may be writing it
            data = os.pread(descriptor, _START, 0)
            if len(data) == _START and crc32(data[: _HEAD.size]) == _CHECKSUM.unpack_from(data, _HEAD.size)[0]:
                magic, *fields = _HEAD.unpack_from(data)
                head = _Head(*fields)
                size = os.fstat(descriptor).st_size - _START
                return head if magic == _MAGIC and head.end <= min(size, MOST_BYTES) else None
        return None

    def _records(self, data: bytes) -> Iterator[bytes]:
        at = 0
        while at + _RECORD.size <= len(data):
            size, checksum = _RECORD.unpack_from(data, at)
            if not size:  # nobody writes that: a part of the file that the disk has lost
                self._problems["corrupt_row"] += 1
                return
            at += _RECORD.size + size
            record = data[at - size : at]
            if len(record) == size and crc32(record) == checksum:
                yield record
            else:  # if it is its size that is damaged, what follows cannot be found
                self._problems["corrupt_row"] += 1


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _write(descriptor: int, data: bytes, at: int) -> None:
    if os.pwrite(descriptor, data, at) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
