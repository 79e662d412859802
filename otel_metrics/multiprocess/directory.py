"""One directory per application: its epochs, and the processes that live in it.

An epoch is a pair of files (see :mod:`~otel_metrics.multiprocess.files`) and one identity, ``instance_id``, that all processes
share. It outlives them, so a restart continues its totals. A new one begins where the files are gone or cannot be read, or
when nobody has lived in the directory for longer than the daily table looks back.

Every process has a file ``….process`` and holds a lock on it for as long as it lives. It holds the values of those gauges that
mean nothing once the process is gone. Whoever can take the lock removes the file, and the socket ``….socket`` beside it, at which
the process is asked (see :mod:`~otel_metrics.multiprocess.asking`). Process ids are not used: the system gives them out again,
and each container counts its own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4
from zlib import crc32

from otel_metrics.errors import ConfigurationError
from otel_metrics.multiprocess.asking import Answering
from otel_metrics.multiprocess.files import FORMAT, ROWS, Busy, Files, Header, keys_head, lock, read_header, totals_head

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

PREFIX: Final = "otel_metrics-"

ABANDONED: Final = 49 * 3600
"""Seconds after which an epoch that no process lives in is over: yesterday's totals are of no use by then."""

_PATIENCE: Final = 1.0
"""Seconds to wait for others that join at the same time."""

_NOT_OURS: Final = PermissionError, NotADirectoryError, FileExistsError
_LASTING: Final = frozenset({errno.EROFS, errno.ENAMETOOLONG})
"""What does not pass by itself: another directory has to be named."""

_STOPPED: Final = 60.0
"""Seconds after which whoever still has a turn is taken for stopped."""

_TURN: Final = Struct("<qq")
"""When it was last begun, and when last begun with success: nanoseconds of the system's clock that is never set."""

_GAUGES_HEAD: Final = Struct("<8s16s")
_GAUGE: Final = Struct("<qd")
"""1 if the gauge has been set, and its value."""

# Not through a link, and without waiting for whoever has put a pipe there.
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Process:
    """What shows others that this process lives, and its gauges."""

    def __init__(self, path: Path, instance_id: str, owner: int) -> None:
        self._path = path
        unlocked = path.with_suffix(".new")  # not to be taken for that of a dead process
        self._descriptor = _create(unlocked, owner)
        lock(self._descriptor, time.monotonic() + _PATIENCE)
        os.pwrite(self._descriptor, _gauges_head(instance_id), 0)
        unlocked.rename(path)

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be made
            os.close(self._descriptor)

    def set(self, slot: int, value: float) -> None:
        """Set one of the gauges."""
        os.pwrite(self._descriptor, _GAUGE.pack(1, value), _GAUGES_HEAD.size + slot * _GAUGE.size)

    def leave(self) -> None:
        """Remove the file: this process shows nothing any more."""
        with suppress(OSError):  # the directory may be gone
            self._path.unlink()


class Turn:
    """What one process at a time does for all: whoever has it says when it was done last, so that others need not.

    It is held for as long as that takes, not for life, and ends with its holder. A holder that is stopped is not waited for:
    what is done for all must do no harm if it is done twice.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._open = True
        self._began = 0

    @property
    def begun(self) -> int:
        """When somebody began last (``time.monotonic_ns()``, which is that of all processes); 0 if nobody has."""
        return self._read()[0]

    @property
    def succeeded(self) -> int:
        """When whoever had success last began."""
        return self._read()[1]

    def take(self, patience: float) -> None:
        """Have it, until this is closed.

        Raises:
            Busy: another process has it, and has begun within the last minute.
        """
        try:
            lock(self._descriptor, time.monotonic() + patience)
        except Busy:
            if time.monotonic_ns() - self.begun < _STOPPED * 1e9:
                raise

    def begin(self) -> None:
        """Say that it is being done."""
        self._began = time.monotonic_ns()
        os.pwrite(self._descriptor, _TURN.pack(self._began, self.succeeded), 0)

    def succeed(self) -> None:
        """Say that what was begun is done."""
        os.pwrite(self._descriptor, _TURN.pack(self.begun, max(self._began, self.succeeded)), 0)

    def close(self) -> None:
        """Leave it to others."""
        if self._open:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # a child that is being forked may keep the descriptor
            self.forget()

    def forget(self) -> None:
        """In a forked child: let go of what is the parent's, which keeps its turn."""
        if self._open:
            self._open = False
            os.close(self._descriptor)

    def _read(self) -> tuple[int, int]:
        begun, succeeded = _TURN.unpack(os.pread(self._descriptor, _TURN.size, 0).ljust(_TURN.size, b"\0"))
        now = time.monotonic_ns()
        # Later than now: before the machine was started.
        return begun if begun <= now else 0, succeeded if succeeded <= now else 0


class Directory:
    """Where the processes of one application meet.

    Args:
        path: made if it is not there, for its owner only. Must be on a file system of this machine: locks do not hold
            elsewhere (NFS).
        application: its name; that of another application is not let in.
        schema: processes that differ in it share nothing, such as two versions of the application during a roll-out.
        most: bytes that the rows may take.
        problems: what is left out is counted here, by reason.
    """

    def __init__(self, path: str, application: str, schema: str, most: int, problems: Counter[str]) -> None:
        self._path = Path(path)
        self._application = application
        self._name = f"{PREFIX}{crc32(f'{FORMAT} {schema}'.encode()):08x}"
        self._keys = self._path / f"{self._name}.keys"
        self._totals = self._path / f"{self._name}.totals"
        self.recent = self._path / f"{self._name}.recent"
        """The file of recent values."""
        self._most = most
        self._problems = problems

    def join(self, process: str) -> tuple[Files, Process]:
        """Open the files of the present epoch, or begin one; ``process`` is a name that no other has, nor has had.

        Raises:
            ConfigurationError: the directory belongs to another application or user, cannot be written to, or is none.
            OSError: the disk is full, and whatever else may pass.
        """
        try:
            with self._locked() as owner:
                self._look_around()
                files = self._present(owner) or self._begin(owner)
                path = self._path / f"{self._name}-{process}.process"
                return files, Process(path, files.instance_id, owner)
        except OSError as error:
            if not isinstance(error, _NOT_OURS) and error.errno not in _LASTING:
                raise
            reason = _explained(error, self._path)
            raise ConfigurationError(f"multiprocess_directory={str(self._path)!r} cannot be used: {reason}") from error

    def answering(self, process: str, share: Callable[[], object]) -> Answering:
        """Have ``share`` called when another process asks this one."""
        return Answering(self._path / f"{self._name}-{process}.socket", self._path.stat().st_uid, share)

    def others(self, process: str) -> list[Path]:
        """Return where the processes that answer can be asked, but for ``process``."""
        own = f"{self._name}-{process}.socket"
        return [path for path in self._path.glob(f"{self._name}-*.socket") if path.name != own]

    def holds(self, files: Files) -> bool:
        """Whether ``files`` are still those of this directory."""
        return files.are_at(self._keys)

    def gauges(self, files: Files) -> list[dict[int, float]]:
        """Return the gauges (by slot) of every living process of an epoch; remove what the dead have left."""
        found = []
        for path in self._path.glob(f"{self._name}-*.process"):
            data = _alive(path, _GAUGES_HEAD.size + files.slots * _GAUGE.size)
            if data is not None and data.startswith(_gauges_head(files.instance_id)):
                rest = data[_GAUGES_HEAD.size :]
                slots = enumerate(_GAUGE.iter_unpack(rest[: len(rest) - len(rest) % _GAUGE.size]))
                found.append({slot: value for slot, (is_set, value) in slots if is_set})
        return found

    def turn(self, name: str) -> Turn:
        """Return whose turn it is to do for all what is called ``name``.

        Raises:
            OSError: the directory cannot be used.
        """
        path = self._path / f"{self._name}.{name}"
        with self._locked() as owner:
            try:
                return Turn(_owned(path, owner))
            except FileNotFoundError:
                return Turn(_create(path, owner))

    def open_recent(self, content: bytes) -> int:
        """Return a descriptor of the file of recent values, which begins with ``content`` if there is none yet."""
        with suppress(FileNotFoundError):
            return _owned(self.recent, self._path.stat().st_uid)
        with self._locked() as owner:
            if not self.recent.exists():
                _make(self.recent, owner, content)
            return _owned(self.recent, owner)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Keep others from joining; yield whom the directory belongs to."""
        self._path.mkdir(0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            lock(descriptor, time.monotonic() + _PATIENCE)
            yield os.fstat(descriptor).st_uid
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was forked meanwhile has the descriptor, too
            os.close(descriptor)

    def _look_around(self) -> None:
        """Remove epochs that are over, and what others have begun and not finished.

        Raises:
            ConfigurationError: another application lives here.
        """
        for unfinished in self._path.glob(f"{PREFIX}*.new"):
            unfinished.unlink()
        for keys in self._path.glob(f"{PREFIX}*.keys"):
            name = keys.name.removesuffix(".keys")
            living = [path for path in self._path.glob(f"{name}-*.process") if _alive(path) is not None]
            totals = keys.with_suffix(".totals")
            if not living and time.time() - max(_changed(keys), _changed(totals)) > ABANDONED:
                keys.unlink()
                totals.unlink(missing_ok=True)
                for suffix in (".push", ".recent", ".recent.rewriting", ".rewrite"):
                    keys.with_suffix(suffix).unlink(missing_ok=True)
                continue
            header = read_header(keys)
            if header is not None and header.application != self._application:
                raise ConfigurationError(
                    f"the multiprocess directory {self._path} belongs to the application {header.application!r}, "
                    f"not to {self._application!r}: give every application a directory of its own"
                )

    def _present(self, owner: int) -> Files | None:
        """Open the files that are there; those that cannot be read are put aside."""
        if not self._keys.exists():
            return None
        keys = _owned(self._keys, owner)
        try:
            totals = _owned(self._totals, owner)
        except FileNotFoundError:
            totals = os.open(os.devnull, _READ)
        except BaseException:
            os.close(keys)
            raise
        files = Files(keys, totals, self._most, self._problems)
        if files.whole:
            return files
        self._problems["corrupt_file"] += 1
        for path in (self._keys, self._totals):
            with suppress(FileNotFoundError):
                path.rename(path.with_name(f"{path.name}.corrupt"))  # for whoever wants to know; at most one
        return None

    def _begin(self, owner: int) -> Files:
        header = Header(self._application, str(uuid4()))
        contents = {self._totals: totals_head(header.instance_id).ljust(ROWS, b"\0"), self._keys: keys_head(header)}
        for path, content in contents.items():  # the keys last: with them the epoch begins
            _make(path, owner, content)
        return Files(_owned(self._keys, owner), _owned(self._totals, owner), self._most, self._problems)


def _explained(error: OSError, directory: Path) -> str:
    for path in (directory, *directory.parents):
        if os.path.lexists(path) and not os.path.isdir(path):  # noqa: PTH112 (pathlib's raises where one may not look)
            return f"{path} is not a directory; name one, or a path where there is nothing yet: it will be made"
    return f"{error.strerror}: {error.filename}" if error.strerror else str(error)


def _create(path: Path, owner: int) -> int:
    """Make a file that only ``owner`` may read and write: whom the directory belongs to, even if root comes first."""
    descriptor = os.open(path, _WRITE | os.O_CREAT | os.O_EXCL, 0o600)
    if os.geteuid() == 0 != owner:
        os.fchown(descriptor, owner, -1)
    return descriptor


def _make(path: Path, owner: int, content: bytes) -> None:
    """Make a file that is there in whole or not at all. The directory is locked."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)  # of one that was killed, or found the disk full
    descriptor = _create(unfinished, owner)
    try:
        if os.pwrite(descriptor, content, 0) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    unfinished.rename(path)


def _owned(path: Path, owner: int) -> int:
    """Open a file that nobody else can have put there."""
    descriptor = os.open(path, _WRITE)
    if os.fstat(descriptor).st_uid not in {owner, os.geteuid()}:
        os.close(descriptor)
        raise PermissionError(f"{path} belongs to another user")
    return descriptor


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _gauges_head(instance_id: str) -> bytes:
    return _GAUGES_HEAD.pack(b"OTMgauge", UUID(instance_id).bytes)


def _alive(path: Path, size: int = 0) -> bytes | None:
    """Return what a living process has written, up to ``size`` bytes; None, and its file is gone, if it is dead."""
    try:
        descriptor = os.open(path, _READ)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, size, 0)
    else:
        for suffix in (".process", ".socket", ".unfinished"):
            path.with_suffix(suffix).unlink(missing_ok=True)
        return None
    finally:
        os.close(descriptor)
