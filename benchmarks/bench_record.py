"""What a record call costs, against making the same updates by other means; folding and hand-over included.

    python -m benchmarks.bench_record [--quick] [--only CALL]

Contenders take turns in one process, so take the ratios: machines differ and are noisy. Every call and setting has a
process of its own, as memory that others have used up and scattered slows down. Figures are microseconds per call;
``mean`` is the processor time of a whole run, the hand-over to the instruments at its end included, divided by its calls,
best of several runs; the percentiles are of single calls by the wall clock, whose own 0.05 µs is in them. The garbage
collector is on, but does not see what was there before a run: the other contenders and the arguments of the calls.
"""

from __future__ import annotations

import argparse
import gc
import random
import threading
import time
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from benchmarks.memory import bytes_per_series
from benchmarks.record_calls import (
    BOUND,
    CALLS,
    CLASSIC,
    CONTENDERS,
    LABELS,
    NAIVE,
    OUR_OWN,
    OURS,
    REMOTE,
    SQLITE,
    prepare,
)
from benchmarks.record_report import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.record_calls import Call, Prepared

Work = list[tuple[str, float, float, tuple[Any, ...]]]
Row = dict[str, Any]

# (series, threads, readers): every call once, the rest for the three commonest
SETTINGS = ((1, 1, 1), (500, 1, 1), (500, 1, 2), (10_000, 1, 1), (500, 4, 1), (10_000, 4, 2))
COMMON = ("record_performance_metric", "record_feature_usage", "record_error")
CALLS_PER_RUN = {
    OURS: 100_000,
    CLASSIC: 100_000,
    REMOTE: 100_000,
    NAIVE: 10_000,
    LABELS: 20_000,
    BOUND: 50_000,
    SQLITE: 30,
}
BUSY = {500: 100_000, 10_000: 200_000}
"""Calls between two collections: 200 and 20 in each series. A series that has news costs about 20 µs per collection."""
ROUND = 10_000
"""Calls with arguments of their own, made again and again: more would measure the memory that the arguments lie in."""
TIMED = 100_000
"""Calls of which percentiles are taken, at least: threads take turns every 5 ms, and must do so many times."""
REPEATS = 3

LOOPS = """
def run(work, rounds):
    for _ in range(rounds):
        for s, v, q, b in work:
            {statement}

def timed(work, rounds, clock, note):
    for _ in range(rounds):
        for s, v, q, b in work:
            start = clock()
            {statement}
            note(clock() - start)
"""


def measure(call: Call, series: int, threads: int, readers: int, scale: float) -> list[Row]:
    """Measure every contender in one setting."""
    contenders = [
        contender for contender in CONTENDERS if contender != SQLITE or (series, threads, readers) == (1, 1, 1)
    ]
    ready = {contender: prepare(contender, call, series, readers) for contender in contenders}
    loops: dict[str, dict[str, Any]] = {}
    work: dict[str, list[Work]] = {}
    rounds: dict[str, int] = {}
    for contender, prepared in ready.items():
        names = dict(prepared.names)
        exec(LOOPS.format(statement=call.statement(contender)), names)
        loops[contender] = names
        calls = max(int(CALLS_PER_RUN[contender] * scale), 30)
        if contender in OUR_OWN:
            calls = max(calls, BUSY.get(series, 0))
        rounds[contender] = max(calls // max(ROUND, series), 1)
        size = calls // rounds[contender] // threads
        work[contender] = [_work(prepared, series, size, seed) for seed in range(threads)]
        names["run"](work[contender][0], 1)  # make the series, warm up
        prepared.finish()
    means: dict[str, list[float]] = {contender: [] for contender in contenders}
    for _ in range(REPEATS):
        for contender in contenders:
            clock = time.perf_counter if contender == SQLITE else time.process_time  # SQLite waits for the disk
            means[contender].append(
                _mean(
                    partial(loops[contender]["run"], rounds=rounds[contender]), work[contender], ready[contender], clock
                )
                / rounds[contender]
            )
    rows = []
    for contender in contenders:
        row: Row = {
            "call": call.name,
            "contender": contender,
            "series": series,
            "threads": threads,
            "readers": readers,
            "mean": min(means[contender]),
        }
        again = (
            1 if contender == SQLITE else -(-int(TIMED * scale) // (rounds[contender] * sum(map(len, work[contender]))))
        )
        rows.append(row | _percentiles(loops[contender]["timed"], work[contender], rounds[contender] * again))
        ready[contender].close()
    return rows


def _work(prepared: Prepared, series: int, calls: int, seed: int) -> Work:
    chance = random.Random(seed)
    names = [f"series_{i}" for i in range(series)]
    children = {name: prepared.children(name) for name in names}
    order = [names[i % series] for i in range(calls)]
    chance.shuffle(order)
    return [(name, chance.lognormvariate(3.0, 0.5), chance.random(), children[name]) for name in order]


def _mean(run: Any, work: list[Work], prepared: Prepared, clock: Callable[[], float]) -> float:
    _tidy()
    start = clock()
    if len(work) == 1:
        run(work[0])
    else:
        _in_threads(run, work)
    prepared.finish()
    return (clock() - start) / sum(map(len, work)) * 1e6


def _tidy() -> None:
    """Keep the garbage of one contender, and the sight of what all of them hold, out of the time of the next."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _percentiles(timed: Any, work: list[Work], rounds: int) -> Row:
    _tidy()
    taken: list[list[int]] = [[] for _ in work]
    if len(work) == 1:
        timed(work[0], rounds, time.perf_counter_ns, taken[0].append)
    else:
        _in_threads(
            lambda part: timed(part[0], rounds, time.perf_counter_ns, part[1].append),
            list(zip(work, taken, strict=True)),
        )
    nanoseconds = sorted(value for part in taken for value in part)
    at = {name: nanoseconds[int(share * (len(nanoseconds) - 1))] / 1000 for name, share in PERCENTILES.items()}
    return {**at, "timed": len(nanoseconds)}


PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def _in_threads(target: Any, parts: list[Any]) -> None:
    threads = [threading.Thread(target=target, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(only: str = "", *, quick: bool = False) -> list[Row]:
    """Measure all settings, or the calls whose name contains ``only``; ``quick`` with a tenth of the calls."""
    rows: list[Row] = []
    with get_context("spawn").Pool(1, maxtasksperchild=1) as processes:
        for setting in SETTINGS:
            for call in CALLS:
                if only in call.name and (setting == (1, 1, 1) or call.name in COMMON):
                    found = processes.apply(measure, (call, *setting, 0.1 if quick else 1.0))
                    rows += found
                    means = (f"{row['contender']} {row['mean']:.2f}" for row in found)
                    print(f"{setting!s:16} {call.name:36}", *means, sep="  ", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls, less exact")
    parser.add_argument("--only", default="", help="calls whose name contains this")
    arguments = parser.parse_args()
    print(tables(run(arguments.only, quick=arguments.quick), bytes_per_series()))


if __name__ == "__main__":
    main()
