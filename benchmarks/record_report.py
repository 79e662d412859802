"""The tables of the record call benchmark, and what was asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks import memory as measured
from benchmarks.asked import Row, part
from benchmarks.record_calls import BOUND, CLASSIC, CONTENDERS, NAIVE, OUR_OWN, OURS, SQLITE

if TYPE_CHECKING:
    from collections.abc import Iterator

Figures = dict[str, Any]


def _by_setting(figures: list[Figures]) -> dict[tuple[int, int, int], dict[str, dict[str, Figures]]]:
    """Return the figures by (series, threads, readers), call and contender."""
    found: dict[tuple[int, int, int], dict[str, dict[str, Figures]]] = {}
    for each in figures:
        calls = found.setdefault((each["series"], each["threads"], each["readers"]), {})
        calls.setdefault(each["call"], {})[each["contender"]] = each
    return found


def asked(figures: list[Figures], memory: list[Figures]) -> Iterator[Row]:
    """Yield what was asked of record calls and of the memory of a series."""
    here = _by_setting(figures)
    for call, found in here[1, 1, 1].items():
        ours, naive, bound = (found[contender]["mean"] for contender in (OURS, NAIVE, BOUND))
        yield Row(
            f"`{call}`, of prometheus_client's kept child",
            "0.60" if call == "record_error" else "0.50",
            f"{ours / bound:.2f} ({ours:.2f} µs)",
            f"{naive:.2f} µs",
            f"{bound:.2f} µs",
        )

    def worst(
        what: str, most: float, setting: tuple[int, int, int], ours: str, other: str, figure: str = "mean"
    ) -> Row:
        ratios = {call: found[ours][figure] / found[other][figure] for call, found in here[setting].items()}
        call = max(ratios, key=lambda call: ratios[call])
        return Row(f"{what}, worst call: `{call}`", part(most), part(ratios[call]))

    yield worst("of prometheus_client's kept child, classic buckets only", 0.4, (1, 1, 1), CLASSIC, BOUND)
    yield worst("of OpenTelemetry's calls", 1 / 12, (1, 1, 1), OURS, NAIVE)
    yield worst("of OpenTelemetry's calls, 500 series, 2 readers", 1 / 16, (500, 1, 2), OURS, NAIVE)
    yield worst("of their p99.9, 500 series, 4 threads", 1 / 4, (500, 4, 1), OURS, NAIVE, "p99.9")
    busiest = here[1, 1, 1]["record_performance_metric"]
    tails = (f"{busiest[contender]['p99.9']:.0f} µs" for contender in (OURS, NAIVE, BOUND))
    yield Row("p99.9 of `record_performance_metric`, one thread, folding in it", "15 µs", *tails)
    bytes_of = {row["contender"]: row for row in memory}
    yield Row(
        "memory of a histogram and a counter, recording core, of the plain SDK",
        "1.35",
        f"{bytes_of[measured.BULK]['ratio']:.2f}",
        f"{bytes_of[measured.PLAIN]['bytes'] / 1000:.1f} kB",
        f"{bytes_of[measured.CLIENT]['bytes'] / 1000:.1f} kB",
    )


SUMMARY: Final = (
    "| call | ours | prometheus_client, child kept in a variable | bare OpenTelemetry | SQLite row, committed |"
)


def summary(figures: list[Figures]) -> str:
    """Return the table of the README, in Markdown."""
    lines = [SUMMARY, "|---" * 5 + "|"]
    here = _by_setting(figures)[1, 1, 1]
    for call in ("record_performance_metric", "record_satisfaction", "record_feature_usage", "record_error"):
        ours, bound, naive, row = (here[call][contender]["mean"] for contender in (OURS, BOUND, NAIVE, SQLITE))
        others = f"{bound:.2f} ({part(ours / bound)}) | {naive:.2f} ({part(ours / naive)}) | {row:.0f}"
        lines.append(f"| `{call}` | **{ours:.2f}** | {others} |")
    return "\n".join(lines)


def tables(figures: list[Figures], memory: list[Figures]) -> str:
    """Return every call in every setting, and the memory of a series, in Markdown."""
    lines: list[str] = []
    for (series, threads, readers), calls in _by_setting(figures).items():
        contenders = [name for name in CONTENDERS if any(name in found for found in calls.values())]
        lines += [
            f"### {_count(series, 'series', '')}, {_count(threads, 'thread')}, {_count(readers, 'reader')}",
            "",
            "| call | " + " | ".join(contenders) + " | p50 | p99 | p99.9 | naive p99.9 |",
            "|---" * (len(contenders) + 5) + "|",
        ]
        for call, found in calls.items():
            ours = found[OURS]
            means = [
                f"{found[name]['mean']:.2f}"
                + ("" if name in OUR_OWN else f" ({part(ours['mean'] / found[name]['mean'])})")
                for name in contenders
            ]
            tail = [f"{ours[name]:.2f}" for name in ("p50", "p99", "p99.9")] + [f"{found[NAIVE]['p99.9']:.0f}"]
            lines.append(f"| `{call}` | " + " | ".join([*means, *tail]) + " |")
        lines.append("")
    lines += [
        "### Memory per series",
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
