"""Writers that are killed with SIGKILL at any moment, while somebody reads. Prints what was found, as JSON.

    python tests/multiprocess/killing.py DIRECTORY KILLS

Every writer adds one value to each of many rows, flushes, and says so in memory that it shares with this process.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import struct
import sys
import time
from array import array
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from otel_metrics.multiprocess.totals import SharedTotals
from otel_metrics.multiprocess.values import Day, HistogramValue, Native

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 100
BOUNDS = (0.5, 2.0, 8.0)
WRITERS = 4


def write(directory: str, done: Callable[[int], None]) -> None:
    totals = SharedTotals(directory, "killed")
    random.seed()
    rounds = 0
    histograms = [totals.histogram(("duration", str(i)), BOUNDS) for i in range(ROWS)]
    counters = [totals.counter(("calls", str(i))) for i in range(ROWS)]
    days = [totals.days(("day", str(i))) for i in range(ROWS)]
    gauge = totals.gauge(("living",), "sum")
    while True:
        for i in range(ROWS):
            native = Native(3, random.randrange(-200, 200), array("q", [1]))  # rows need more and more room
            histograms[i].add(HistogramValue(1, 1.0, 1.0, 1.0, [0, 1, 0, 0], 0, native))
            counters[i].add(1)
            days[i].add((Day(20_000, 1, 1.0, 1.0, 1.0, 1.0),))
        gauge.set(1.0)
        if totals.flush():
            rounds += 1
            done(rounds)
        time.sleep(random.random() * 0.002)


def main(directory: str, kills: int) -> dict[str, object]:
    acknowledged = mmap.mmap(-1, 8 * (kills + WRITERS))
    living: list[int] = []
    started = killed = reads = torn = backwards = 0
    problems: set[str] = set()
    totals = SharedTotals(directory, "killed")
    last: dict[tuple[str, ...], float] = {}
    last_look = 0.0
    while killed < kills:
        while len(living) < WRITERS:
            number = started
            started += 1
            child = os.fork()
            if child == 0:
                try:
                    write(directory, partial(struct.pack_into, "q", acknowledged, 8 * number))
                finally:
                    os._exit(1)
            living.append(child)
        time.sleep(random.random() * 0.004)
        victim = living.pop(random.randrange(len(living)))
        os.kill(victim, signal.SIGKILL)
        _, status = os.waitpid(victim, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            problems.add("a writer ended by itself")
        killed += 1
        if time.monotonic() - last_look < 0.02:
            continue
        snapshot = totals.read()
        last_look = time.monotonic()
        for metric in snapshot.metrics:
            for sample in snapshot.rows(metric):
                value = sample.value
                if sample.kind == "histogram":
                    n = value.n
                    torn += not n == value.total == sum(value.buckets) == sum(value.native.counts)
                elif sample.kind == "days":
                    (day,) = value
                    n = day.n
                    torn += not n == day.total == day.squares
                elif sample.kind == "counter":
                    n = value
                else:
                    continue
                reads += 1
                backwards += n < last.get(sample.key, 0)
                last[sample.key] = n
    for child in living:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        killed += 1
    rounds = sum(struct.unpack(f"{started}q", acknowledged[: 8 * started]))
    snapshot = totals.read()
    final = [
        sample.value.n if sample.kind == "histogram" else sample.value[0].n if sample.kind == "days" else sample.value
        for metric in ("duration", "calls", "day")
        for sample in snapshot.rows(metric)
    ]
    return {
        "killed": killed,
        "reads": reads,
        "torn": torn,
        "backwards": backwards,
        "acknowledged": rounds,
        "rows": len(final),
        "least": min(final),
        "most": max(final),
        "processes": snapshot.processes,
        "living": [sample.value for sample in snapshot.rows("living")],
        "files": len(list(Path(directory).iterdir())),
        "problems": sorted({*problems, *totals.problems}),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
