"""Plays the recorded scenario in a process of its own, and writes what it shows into a folder.

What would differ from one run to the next is settled here and nowhere else: time stands still until the story moves it, no
ticker thread folds at moments of its own, random numbers start from one seed. Ids that are made per process, and versions of
OpenTelemetry, are written as ``#``.

    python -m tests.scenario.play FOLDER [--one-more]
"""

from __future__ import annotations

import random
import re
import sys
import threading
import time
from pathlib import Path

MADE = re.compile(r"(?<=shop-1)(?:-[0-9a-f]{8})+")
"""What the package adds to the given instance id: one suffix per process, a child's after its parent's."""
VERSION = re.compile(r'(telemetry_sdk_version(?:=|" value: )")[^"]*')


class Clock:
    """The only time there is: unix seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def nanoseconds(self) -> int:
        return int(self.now * 1_000_000_000)


def stand_still(clock: Clock) -> None:
    """Make ``clock`` the time of the whole process. Before OpenTelemetry is imported: it imports the function."""
    time.time_ns, time.time = clock.nanoseconds, clock
    time.perf_counter = float  # a scrape takes no time


def stay_alone() -> None:
    """Start no threads, but those of executors, which OpenTelemetry detects resources in."""
    start = threading.Thread.start

    def start_if_needed(thread: threading.Thread) -> None:
        if not thread.name.startswith("ThreadPoolExecutor"):
            raise RuntimeError("can't start new thread")  # what Python says when the system has none left
        start(thread)

    threading.Thread.start = start_if_needed  # type: ignore[method-assign,assignment]


def normalised(text: str, version: str) -> str:
    """Return ``text`` without what differs between processes, and between versions of OpenTelemetry and of the package."""
    text = MADE.sub(lambda found: "-#" * (len(found[0]) // 9), text)
    return VERSION.sub(r"\1#", text).replace(f'"{version}"', '"#"')


def main(folder: str, *options: str) -> None:
    """Play it; ``--one-more`` is for the test that a single call more is noticed."""
    clock = Clock()
    stand_still(clock)
    stay_alone()
    random.seed(8)

    from otel_metrics import __version__
    from tests.scenario.story import tell

    def write(name: str, text: str) -> None:
        with Path(folder, name).open("a", encoding="utf-8") as file:
            file.write(normalised(text, __version__))

    tell(clock, write, one_more="--one-more" in options)


if __name__ == "__main__":
    main(*sys.argv[1:])
