"""Runs the installed command ``otel-metrics`` for tests: to its end, or beside the test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from otel_metrics.cli import main
from tests.processes import DEADLINE, ROOT, wait_until

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

T = TypeVar("T")

COMMAND = Path(sys.executable).with_name("otel-metrics")


def environment(**variables: str) -> dict[str, str]:
    """Our environment without the variables that the command itself would heed, and with ``variables``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTM_PROMETHEUS", "OTEL_"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **variables}


def otel_metrics(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def called(*arguments: str) -> int:
    """Run the command in this process, where nothing tells the two apart; return its exit status."""
    try:
        return main(arguments)
    except SystemExit as end:  # of the parser
        return int(end.code or 0)


class Running:
    """The command, or another ``program``, beside the test. Killed at the end of the ``with`` block if it is still there."""

    def __init__(
        self, *arguments: str, program: Sequence[str | Path] = (COMMAND,), cwd: Path = ROOT, **variables: str
    ) -> None:
        self._child = subprocess.Popen(
            [*program, *arguments],
            cwd=cwd,
            env=environment(**variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """What it has printed so far, on both streams."""
        return "".join(self._lines)

    def wait_for(self, pattern: str) -> str:
        """Wait until the output matches and return the pattern's first group."""
        found = self.until(lambda: re.search(pattern, self.output))
        assert found is not None
        return str(found[1]) if found.re.groups else found[0]

    def until(self, condition: Callable[[], T]) -> T:
        """Wait until ``condition`` is true; its end is a failure that shows what it said."""

        def met() -> T:
            result = condition()
            if not result and self._child.poll() is not None:
                self._reader.join(DEADLINE)
                if not condition():
                    raise AssertionError(f"ended with status {self._child.returncode}:\n{self.output}")
            return result

        return wait_until(met, what=f"output so far:\n{self.output}")

    def say(self, text: str) -> None:
        """Write to its standard input."""
        assert self._child.stdin is not None
        self._child.stdin.write(text)
        self._child.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._child.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return the exit status."""
        status = self._child.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self._reader.join(DEADLINE)
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.append(line)
