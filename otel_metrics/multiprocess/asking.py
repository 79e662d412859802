"""A scrape asks the other living processes to share what they have recorded, which they would do within a second anyway.

Each process listens on a Unix socket in the directory. Who connects has asked; the process adds what it has recorded to the
files, and ends the connection: that is the answer. No byte is read or sent. All answers together are waited for a quarter of
a second. A process that is stopped, or busy, keeps its connection: it is neither asked nor waited for again before it has
ended that one.

Where there can be no socket (some file systems of containers have none), a scrape lacks up to a second of that process.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_log: Final = logging.getLogger("otel_metrics")

_PATIENCE: Final = 0.25
"""Seconds that a scrape waits for all answers. A process whose threads compute all the time needs about half of that."""

_MOST: Final = 256
"""Processes that are asked at a time: each takes a descriptor. What others have recorded comes within a second."""

_LONGEST: Final = 100
"""Bytes of a path that the system takes for that of a socket."""


class Answering:
    """Calls ``share`` when another process asks, in a thread of its own.

    Args:
        path: of the socket. In a directory that others may list, only ``owner`` and root may ask.
        owner: whom the directory belongs to.
        share: adds what this process has recorded to the files. What it raises is logged.

    Raises:
        OSError: there can be no socket at ``path``.
        RuntimeError: there can be no thread.
    """

    def __init__(self, path: Path, owner: int, share: Callable[[], object]) -> None:
        self._path = path
        self._share = share
        self._closed = False
        self._asked: socket.socket | None = None
        # Classes are looked up at their use: gevent and eventlet may have replaced them since this module was imported.
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(None)  # whatever the application has set for its sockets
        unfinished = path.with_suffix(".unfinished")  # at its own path whoever is not answered there is dead
        try:
            with _address(unfinished) as address:
                self._socket.bind(address)
            unfinished.chmod(0o600)
            if os.geteuid() == 0 != owner:
                os.chown(unfinished, owner, -1)
            self._socket.listen(_MOST)
            unfinished.rename(path)
            threading.Thread(target=self._run, name="otel_metrics.asked", daemon=True).start()
        except BaseException:
            self._socket.close()
            for made in (unfinished, path):
                made.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Answer no more. Who has asked and got no answer sees the end of the connection."""
        self._closed = True
        with suppress(OSError):
            self._path.unlink()
        with suppress(OSError):  # wakes the thread
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def forget(self) -> None:
        """In a forked child: let go of what is the parent's."""
        self._closed = True
        self._socket.close()
        if self._asked is not None:
            self._asked.close()

    def _run(self) -> None:
        while not self._closed:
            try:
                self._asked, _ = self._socket.accept()
            except OSError:
                if not self._closed:  # no more descriptors, for now
                    time.sleep(1.0)
                continue
            with self._asked as asked:
                try:
                    self._share()
                except Exception:
                    _log.exception("values could not be shared")
                # Not only closed: a child that was forked meanwhile has it, too. Who asked may have gone.
                with suppress(OSError):
                    asked.shutdown(socket.SHUT_RDWR)


class Asking:
    """Asks other processes."""

    def __init__(self) -> None:
        self._unanswered: dict[Path, socket.socket] = {}

    def ask(self, paths: Iterable[Path]) -> None:
        """Ask the processes that have their sockets there, and await their answers. Removes sockets of the dead."""
        until = time.monotonic() + _PATIENCE
        for path, connection in list(self._unanswered.items()):
            if _answered(connection, 0.0):
                self._unanswered.pop(path, None)  # a scrape of another thread may have done so
        asked: dict[Path, socket.socket] = {}
        for path in paths:
            if path not in self._unanswered and len(asked) + len(self._unanswered) < _MOST:
                connected = _connected(path)
                if connected is not None:
                    asked[path] = connected
        for path, connection in asked.items():
            if not _answered(connection, until - time.monotonic()):
                self._unanswered[path] = connection

    def close(self) -> None:
        """Wait for nobody any more; in a forked child, let go of what is the parent's."""
        for connection in self._unanswered.values():
            connection.close()
        self._unanswered = {}


def _connected(path: Path) -> socket.socket | None:
    """Return a connection to the process that listens there; None, and its socket is gone, if it is dead."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.setblocking(False)
        if stat.S_ISSOCK(path.lstat().st_mode):  # not through a link
            with _address(path) as address:
                connection.connect(address)
            return connection
    except ConnectionRefusedError:
        with suppress(OSError):
            path.unlink()
    except OSError:  # it has just gone, or is stopped, and others have asked it in vain
        pass
    connection.close()
    return None


def _answered(connection: socket.socket, seconds: float) -> bool:
    """Wait for an answer; close the connection if there is one."""
    try:
        connection.settimeout(max(seconds, 0.0))
        connection.recv(1)
    except (TimeoutError, BlockingIOError):
        return False
    except OSError:  # the process has ended
        pass
    connection.close()
    return True


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield an address for a path of any length."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield os.fspath(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
