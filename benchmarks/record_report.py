"""The tables of the record call benchmark, and what was promised of it."""

from __future__ import annotations

import os
import platform
from typing import Any

import opentelemetry.sdk.version

from benchmarks import memory as measured
from benchmarks.record_calls import BOUND, CLASSIC, CONTENDERS, NAIVE, OUR_OWN, OURS

Row = dict[str, Any]

INTRODUCTION = """# What a record call costs

`make bench` measures it again; the figures here are of one run on a machine with other work, so take the ratios. Contenders
take turns in one process and make the same updates: the OpenTelemetry instruments called as the SDK's documentation shows,
prometheus_client with `labels()` in every call and with children kept in variables, and a committed SQLite row, as the
old system wrote it.

Microseconds of processor time per call, best of several runs, what comes later included: folding, and the hand-over of all
series to the instruments at the end of a run. *ours* has the default settings: classic and native buckets, the
day's totals, and values for the getters of this process. With `prometheus_unavailable="raise"` those *values are not kept*. In
brackets: ours in parts of the other. With 500 series a
run has 200 calls in each, with 10,000 it has 20: a series of one histogram that has news costs about 20 µs per collection
(16 with classic buckets only) and 7 more for a second reader. Percentiles are of single calls by the wall clock, whose own
0.05 µs is in them; one call in 128 folds.
"""


def _by_setting(rows: list[Row]) -> dict[tuple[int, int, int], dict[str, dict[str, Row]]]:
    """Return the rows by (series, threads, readers), call and contender."""
    found: dict[tuple[int, int, int], dict[str, dict[str, Row]]] = {}
    for row in rows:
        calls = found.setdefault((row["series"], row["threads"], row["readers"]), {})
        calls.setdefault(row["call"], {})[row["contender"]] = row
    return found


def promises(rows: list[Row], memory: list[Row]) -> list[Row]:
    """Return the worst call for everything that is promised: what was asked, what was found."""
    here = _by_setting(rows)

    def worst(what: str, asked: float, setting: tuple[int, int, int], ours: str, other: str, figure: str) -> Row:
        ratios = {call: found[ours][figure] / found[other][figure] for call, found in here.get(setting, {}).items()}
        call = max(ratios, key=lambda name: ratios[name], default="")
        missed = sorted(name for name, ratio in ratios.items() if ratio > asked)
        return {"what": what, "asked": asked, "found": ratios.get(call, 0.0), "worst": call, "missed": missed}

    core = next((row for row in memory if row["contender"] == measured.BULK), None)
    return [
        worst("of prometheus_client, child kept in a variable", 0.6, (1, 1, 1), OURS, BOUND, "mean"),
        worst("of the same, classic buckets only", 0.4, (1, 1, 1), CLASSIC, BOUND, "mean"),
        worst("of naive OpenTelemetry calls", 1 / 12, (1, 1, 1), OURS, NAIVE, "mean"),
        worst("of naive OpenTelemetry calls, 500 series, 2 readers", 1 / 16, (500, 1, 2), OURS, NAIVE, "mean"),
        worst("of their p99.9, 4 threads", 1 / 4, (500, 4, 1), OURS, NAIVE, "p99.9"),
        {
            "what": "of the plain SDK's memory per series (recording core)",
            "asked": 1.35,
            "found": core["ratio"] if core else 0.0,
            "worst": "",
            "missed": [measured.BULK] if core and core["ratio"] > 1.35 else [],
        },
    ]


def markdown(rows: list[Row], memory: list[Row]) -> str:
    """Return the tables for people."""
    version = opentelemetry.sdk.version.__version__
    about = f"Python {platform.python_version()}, opentelemetry-sdk {version}, {os.cpu_count()} cores."
    lines = [
        INTRODUCTION,
        about,
        "",
        "| ours, at most … | asked | found | worst call | calls that miss it |",
        "|---" * 5 + "|",
    ]
    for promise in promises(rows, memory):
        missed = ", ".join(f"`{name}`" for name in promise["missed"]) or "none"
        worst = f"`{promise['worst']}`" if promise["worst"] else ""
        lines.append(
            f"| {promise['what']} | {_part(promise['asked'])} | {_part(promise['found'])} | {worst} | {missed} |"
        )
    lines.append("")
    for (series, threads, readers), calls in _by_setting(rows).items():
        contenders = [name for name in CONTENDERS if any(name in found for found in calls.values())]
        lines += [
            f"## {_count(series, 'series', '')}, {_count(threads, 'thread')}, {_count(readers, 'reader')}",
            "",
            "| call | " + " | ".join(contenders) + " | p50 | p99 | p99.9 | naive p99.9 |",
            "|---" * (len(contenders) + 5) + "|",
        ]
        for call, found in calls.items():
            ours = found[OURS]
            means = [
                f"{found[name]['mean']:.2f}"
                + ("" if name in OUR_OWN else f" ({_part(ours['mean'] / found[name]['mean'])})")
                for name in contenders
            ]
            tail = [f"{ours[name]:.2f}" for name in ("p50", "p99", "p99.9")] + [f"{found[NAIVE]['p99.9']:.0f}"]
            lines.append(f"| `{call}` | " + " | ".join([*means, *tail]) + " |")
        lines.append("")
    lines += [
        "## Memory per series",
        "",
        f"One histogram and one counter, recorded to and collected; {measured.SERIES:,} of each.",
        "",
        "| | bytes | of the plain SDK |",
        "|---|---|---|",
    ]
    lines += [f"| {row['contender']} | {row['bytes']:,.0f} | {row['ratio']:.2f} |" for row in memory]
    return "\n".join(lines) + "\n"


def _count(n: int, noun: str, plural: str = "s") -> str:
    return f"{n:,} {noun}{plural if n != 1 else ''}"


def _part(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.0f}" if ratio else "–"
