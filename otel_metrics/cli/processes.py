"""Prometheus and Alertmanager as child processes: find the program, start it, await it, end it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import urllib3

from otel_metrics.assets import files
from otel_metrics.errors import ConfigurationError, MetricsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self

HOST: Final = "127.0.0.1"
_START: Final = 20.0
_END: Final = 10.0
_OTHER_NAMES: Final = {"alertmanager": ("prometheus-alertmanager",)}

OLDEST: Final = {"prometheus": (3, 5), "alertmanager": (0, 27)}
"""From these versions on they understand what they are given."""


class ServerError(MetricsError):
    """A server did not start; the message carries the end of its log."""


def find(name: str, root: Path) -> Path | None:
    """Return the program ``name`` from PATH, from the folder in ``OTM_SERVERS``, or from the project's cache."""
    caches = [Path(given)] if (given := os.environ.get("OTM_SERVERS")) else []
    folders = [str(cache / "bin") for cache in (*caches, root / ".cache" / "servers")]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
    for candidate in (name, *_OTHER_NAMES.get(name, ())):
        if found := shutil.which(candidate, path=path):
            return Path(found)
    return None


def required(name: str, root: Path) -> Path:
    """Return the program ``name``, see :func:`find`.

    Raises:
        ConfigurationError: it is nowhere.
    """
    found = find(name, root)
    if found is None:
        raise ConfigurationError(
            f"{name} is not on PATH, in OTM_SERVERS or in .cache/servers; in a checkout `make servers` fetches it"
        )
    return found


def version(program: Path) -> tuple[int, ...]:
    """Return the version that a server tells, such as (3, 16, 0).

    Raises:
        ServerError: it tells none.
    """
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_START, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"{program} does not run: {error}") from error
    found = re.search(r"version (\d+(?:\.\d+)+)", done.stdout + done.stderr)
    if not found:
        raise ServerError(f"{program} does not tell its version")
    return tuple(map(int, found[1].split(".")))


def supported(name: str, program: Path) -> tuple[int, ...]:
    """Return the version of the server ``name``.

    Raises:
        ServerError: it tells none, or is too old.
    """
    found = version(program)
    if found < OLDEST[name]:
        told, needed = (".".join(map(str, numbers)) for numbers in (found, OLDEST[name]))
        raise ServerError(
            f"{program} is version {told}; {needed} or later is needed, see https://prometheus.io/download"
        )
    return found


def free_port() -> int:
    """Return a loopback port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _taken(port: int) -> bool:
    """Return whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        # As servers do: connections that have just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return True
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep ``folder`` to ourselves inside the block; it ends with us, whatever ends us.

    Raises:
        ConfigurationError: it, or the lock in it, is a symbolic link.
        ServerError: another process has it.
    """
    import fcntl  # not on every system, and the other commands do without

    files.make_folder(folder, below=folder.parent, mode=0o700)
    with files.open_own(folder / "lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(f"{folder} is in use by another `otel-metrics stack`; give this one its own") from None
        yield


def _ends_with_us() -> list[str]:
    """Return what to put in front of a command so that it ends even if we are killed, where there is such a thing."""
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "TERM", "--"] if program else []


class Server:
    """A child process that answers ``/-/ready`` once it is up. Ends with the ``with`` block."""

    def __init__(self, program: Path, arguments: Sequence[str], *, port: int, folder: Path) -> None:
        self.name = program.name
        self.url = f"http://{HOST}:{port}"
        self._port = port
        self.log = folder / f"{self.name}.log"
        self._command = [str(program), f"--web.listen-address={HOST}:{port}", *arguments]
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            ServerError: another program listens at its address, it ended, or it was not ready in time.
        """
        if _taken(self._port):
            raise ServerError(f"{self.name} cannot listen on {HOST}:{self._port}: address already in use")
        files.make_folder(self._folder, below=self._folder.parent, mode=0o700)
        with files.open_own(self.log) as log:
            log.truncate()
            # A session of its own: Ctrl-C reaches us alone, and we end our children in order.
            self._child = subprocess.Popen(
                [*_ends_with_us(), *self._command],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START
        # Both: whoever came in between could answer in its place.
        while not (self._ready() and self.running):
            if not self.running or time.monotonic() > deadline:
                self.stop()
                raise ServerError(f"{self.name} did not start: {self._last_words()}")
            time.sleep(0.05)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and self._child.poll() is None

    def stop(self) -> None:
        """Ask the process to end, wait, and insist if need be. Stopping twice is fine."""
        child, self._child = self._child, None
        if child is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(_END)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ready(self) -> bool:
        try:
            answer = urllib3.request("GET", f"{self.url}/-/ready", retries=False, timeout=1.0)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"
