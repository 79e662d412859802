"""What a record call costs, against making the same updates by other means; folding and hand-over included.

    python -m benchmarks.bench_record [--quick] [--json FILE] [--markdown FILE]

Contenders take turns in one process, so take the ratios: machines differ and are noisy. Figures are microseconds per call;
``mean`` is the time of a whole run, the hand-over to the instruments at its end included, divided by its calls; the
percentiles are of single calls, with the clock's own 0.05 µs in them.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import statistics
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import opentelemetry.sdk.version

from benchmarks.memory import bytes_per_series
from benchmarks.record_calls import (
    BOUND,
    CALLS,
    CLASSIC,
    CONTENDERS,
    LABELS,
    LOCAL,
    NAIVE,
    OUR_OWN,
    OURS,
    SQLITE,
    prepare,
)

if TYPE_CHECKING:
    from benchmarks.record_calls import Call, Prepared

Work = list[tuple[str, float, float, tuple[Any, ...]]]
Row = dict[str, Any]

# (series, threads, readers): everything once, the rest for the three commonest calls
SETTINGS = ((1, 1, 1), (500, 1, 1), (500, 1, 2), (10_000, 1, 1), (1, 4, 1), (500, 4, 1))
COMMON = ("record_performance_metric", "record_feature_usage", "record_error")
CALLS_PER_RUN = {
    OURS: 100_000,
    CLASSIC: 100_000,
    LOCAL: 100_000,
    NAIVE: 10_000,
    LABELS: 30_000,
    BOUND: 50_000,
    SQLITE: 200,
}
REPEATS = 7

LOOPS = """
def run(work):
    for s, v, q, b in work:
        {statement}

def timed(work, clock, note):
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
    for contender, prepared in ready.items():
        names = dict(prepared.names)
        exec(LOOPS.format(statement=call.statement(contender)), names)
        loops[contender] = names
        calls = max(int(CALLS_PER_RUN[contender] * scale), 100)
        if contender in OUR_OWN:
            calls = max(calls, 20 * series)  # a collection every 15 s finds about that many in a busy series
        work[contender] = [_work(prepared, series, calls // threads, seed) for seed in range(threads)]
        names["run"](work[contender][0])  # make the series, warm up
        prepared.finish()
    means: dict[str, list[float]] = {contender: [] for contender in contenders}
    for _ in range(REPEATS):
        for contender in contenders:
            means[contender].append(_mean(loops[contender]["run"], work[contender], ready[contender]))
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
        rows.append(row | _percentiles(loops[contender]["timed"], work[contender]))
        ready[contender].close()
    return rows


def _work(prepared: Prepared, series: int, calls: int, seed: int) -> Work:
    chance = random.Random(seed)
    names = [f"series_{i}" for i in range(series)]
    children = {name: prepared.children(name) for name in names}
    order = [names[i % series] for i in range(calls)]
    chance.shuffle(order)
    return [(name, chance.lognormvariate(3.0, 0.5), chance.random(), children[name]) for name in order]


def _mean(run: Any, work: list[Work], prepared: Prepared) -> float:
    gc.collect()
    start = time.perf_counter()
    if len(work) == 1:
        run(work[0])
    else:
        _in_threads(run, work)
    prepared.finish()
    return (time.perf_counter() - start) / sum(map(len, work)) * 1e6


def _percentiles(timed: Any, work: list[Work]) -> Row:
    gc.collect()
    taken: list[list[int]] = [[] for _ in work]
    if len(work) == 1:
        timed(work[0], time.perf_counter_ns, taken[0].append)
    else:
        _in_threads(
            lambda part: timed(part[0], time.perf_counter_ns, part[1].append), list(zip(work, taken, strict=True))
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


def ratios(rows: list[Row]) -> list[Row]:
    """Return ours in parts of each other contender, per call and setting."""
    found = []
    for call, series, threads, readers in dict.fromkeys(
        (r["call"], r["series"], r["threads"], r["readers"]) for r in rows
    ):
        here = {
            r["contender"]: r
            for r in rows
            if (r["call"], r["series"], r["threads"], r["readers"]) == (call, series, threads, readers)
        }
        ours, classic = here[OURS], here[CLASSIC]
        found.append(
            {
                "call": call,
                "series": series,
                "threads": threads,
                "readers": readers,
                "pre-bound": ours["mean"] / here[BOUND]["mean"],
                "pre-bound, classic": classic["mean"] / here[BOUND]["mean"],
                "labels()": ours["mean"] / here[LABELS]["mean"],
                "naive": ours["mean"] / here[NAIVE]["mean"],
                "naive p99.9": ours["p99.9"] / here[NAIVE]["p99.9"],
                **({"SQLite": ours["mean"] / here[SQLITE]["mean"]} if SQLITE in here else {}),
            }
        )
    return found


def markdown(rows: list[Row], memory: list[Row]) -> str:
    """Return the tables for people."""
    about = (
        f"Python {platform.python_version()}, opentelemetry-sdk {opentelemetry.sdk.version.__version__}, {os.cpu_count()} cores. "
        "Microseconds per call, folding and hand-over to the instruments included; in brackets what ours is in parts of it."
    )
    lines = [
        about,
        "",
    ]
    for series, threads, readers in dict.fromkeys((r["series"], r["threads"], r["readers"]) for r in rows):
        here = [r for r in rows if (r["series"], r["threads"], r["readers"]) == (series, threads, readers)]
        contenders = [contender for contender in CONTENDERS if any(r["contender"] == contender for r in here)]
        lines += [
            f"### {series:,} series, {threads} {'thread' if threads == 1 else 'threads'}, {readers} {'reader' if readers == 1 else 'readers'}",
            "",
            "| call | " + " | ".join(contenders) + " | p50 | p99 | p99.9 | naive p99.9 |",
            "|---" * (len(contenders) + 5) + "|",
        ]
        for call in dict.fromkeys(r["call"] for r in here):
            cells = {r["contender"]: r for r in here if r["call"] == call}
            ours = cells[OURS]
            means = [
                f"{cells[name]['mean']:.2f}"
                + (f" ({_part(ours['mean'] / cells[name]['mean'])})" if name not in OUR_OWN else "")
                for name in contenders
            ]
            tail = [f"{ours[name]:.2f}" for name in PERCENTILES] + [f"{cells[NAIVE]['p99.9']:.0f}"]
            lines.append(f"| `{call}` | " + " | ".join([*means, *tail]) + " |")
        lines.append("")
    lines += [
        "### Memory per series: one histogram and one counter, 2,000 of each",
        "",
        "| | bytes | of the plain SDK |",
        "|---|---|---|",
    ]
    lines += [f"| {row['contender']} | {row['bytes']:,.0f} | {row['ratio']:.2f} |" for row in memory]
    return "\n".join(lines) + "\n"


def _part(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls, less exact")
    parser.add_argument("--only", help="calls whose name contains this")
    parser.add_argument("--json", type=Path, default=Path(".cache/benchmarks/record.json"))
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    rows: list[Row] = []
    for setting in SETTINGS:
        for call in CALLS:
            if arguments.only and arguments.only not in call.name:
                continue
            if setting in {(1, 1, 1), (500, 1, 2)} or call.name in COMMON:
                found = measure(call, *setting, 0.1 if arguments.quick else 1.0)
                rows += found
                means = {row["contender"]: row["mean"] for row in found}
                print(
                    f"{setting!s:16} {call.name:36}",
                    *(f"{name} {mean:.2f}" for name, mean in means.items()),
                    sep="  ",
                    flush=True,
                )
    memory = bytes_per_series()
    report = markdown(rows, memory)
    print(report)
    worst = {key: max(row[key] for row in ratios(rows)) for key in ("pre-bound", "pre-bound, classic", "naive")}
    print("worst ratios:", {key: round(value, 3) for key, value in worst.items()})
    print("median ratios:", {key: round(statistics.median(row[key] for row in ratios(rows)), 3) for key in worst})
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(
        json.dumps({"calls": rows, "ratios": ratios(rows), "memory": memory}, indent=1), encoding="utf-8"
    )
    if arguments.markdown:
        arguments.markdown.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
