"""Child processes of the tests: find the program, start it on a free loopback port, await it, end it."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 600.0  # seconds; only what hangs takes that long, even where the machine is slow and shared
HOST = "127.0.0.1"


def program(name: str) -> str:
    """Path of a server program.

    Raises:
        RuntimeError: it is not there; a missing server is a failed test, not a skipped one.
    """
    cache = Path(os.environ.get("OTM_SERVERS") or ROOT / ".cache" / "servers") / "bin"
    found = shutil.which(name, path=f"{cache}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise RuntimeError(f"{name} is missing, run: make servers")
    return found


@functools.cache
def version(name: str) -> tuple[int, ...]:
    """What a server program says its version is, such as (3, 16, 0)."""
    done = subprocess.run([program(name), "--version"], capture_output=True, text=True, timeout=DEADLINE, check=True)
    found = re.search(r"version (\d+(?:\.\d+)+)", done.stdout + done.stderr)
    assert found, f"{program(name)} does not tell its version"
    return tuple(map(int, found[1].split(".")))


def wait_until(condition: Callable[[], T], timeout: float = DEADLINE, *, what: str = "condition") -> T:
    """Poll until the condition's result is true, and return it.

    An `OSError` (connection rejected, HTTP status 4xx and 5xx) counts as not yet.

    Raises:
        TimeoutError: not within `timeout` seconds; names the last result or error.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            result = condition()
            if result:
                return result
            last = result
        except OSError as error:
            last = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s, last seen: {last!r}")
        time.sleep(0.05)


def free_port() -> int:
    """A loopback port that nobody listens on at the moment.

    Not one of those that systems give to outgoing connections: it may be given to one before a server has it.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)  # hypothesis begins the common one anew
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


def fetch(url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
    """Body of a GET, or of a POST when there is data. Raises `urllib.error.HTTPError` with the body as a note."""
    request = urllib.request.Request(url, data=data, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            body: bytes = response.read()
            return body
    except urllib.error.HTTPError as error:
        with error:
            error.msg = f"{error.msg}: {error.read().decode(errors='replace')}"
        raise


def promtool(*args: str | Path, cwd: Path = ROOT, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool; the caller looks at `returncode`, `stdout` and `stderr`."""
    return subprocess.run(
        [program("promtool"), *map(str, args)],
        cwd=cwd,
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        check=False,
    )


class Process:
    """A server that runs as a child process, with its own folder and log."""

    name: str
    ready_path: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self.port = 0
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base address, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def address(self) -> str:
        """Host and port, as scrape targets and Alertmanager lists want it."""
        return f"{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Program and arguments, for the port in `self.port`."""
        raise NotImplementedError

    def start(self) -> None:
        """Start and wait until it answers; on the same port as before when it was stopped.

        Raises:
            RuntimeError: it ended by itself; the log is part of the message.
        """
        for attempt in (1, 2, 3):
            self.port = self.port or free_port()
            status = self._launch()
            if status is None:
                return
            # Somebody else took the free port between our look and the server's bind.
            if attempt == 3 or "address already in use" not in self.log.read_text(errors="replace"):
                raise RuntimeError(f"{self.name} ended with status {status}:\n{self.tail()}")
            self.port = 0

    def _launch(self) -> int | None:
        """Start the child and wait until it answers; its exit status when it ends instead."""
        with self.log.open("ab") as log:
            self._child = child = subprocess.Popen(
                [*_dies_with_parent(), *self.command()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(lambda: child.poll() is not None or self.is_ready(), what=f"{self.name} ready")
        except TimeoutError as error:
            self.kill()
            raise RuntimeError(f"{error}\n{self.tail()}") from None
        status = child.poll()
        if status is not None:
            self._child = None
        return status

    def is_ready(self) -> bool:
        return bool(fetch(self.url + self.ready_path) is not None)

    def stop(self) -> None:
        """Ask it to end and wait; kill it when it does not. Safe to call twice."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it the hard way, as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(number)
        try:
            child.wait(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


def _dies_with_parent() -> list[str]:
    """A prefix so that a killed test run leaves no servers behind.

    Not `preexec_fn`: that would run the fork handlers under test in the child.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
