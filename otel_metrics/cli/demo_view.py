"""What the demo shows: where the engine is, the dashboard while it changes, and two sources side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

import otel_metrics
from otel_metrics.cli import comparison, terminal, view

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from rich.console import RenderableType

    from otel_metrics.cli.comparison import ComparedNumber

_MAIN: Final = frozenset(
    {
        "count",
        "avg",
        "p95",
        "total_responses",
        "satisfaction_rate",
        "avg_score",
        "total_usage",
        "success_rate",
        "avg_duration_ms",
        "p95_duration_ms",
        "total_errors",
        "recovery_rate",
        "total_samples",
        "avg_accuracy",
        "avg_confidence",
        "total_optimizations",
        "avg_change",
        "utilization_percent",
    }
)
_REFRESH: Final = 0.5
_ROOM_FOR_ALL: Final = 75
_SHORT: Final = ("performance", "errors")
_MIDDLE: Final = ("performance", "satisfaction", "errors", "learning")


def show(worker: threading.Thread, progress: Any) -> None:
    """Draw the progress and the dashboard until ``worker`` ends; without a terminal, a line per round."""
    if not terminal.console.is_terminal:
        _lines(worker, progress)
        return
    with Live(console=terminal.console, auto_refresh=False, transient=True) as live:
        while worker.is_alive():
            live.update(_screen(progress), refresh=True)
            worker.join(_REFRESH)


def side_by_side(rows: Sequence[ComparedNumber]) -> Table:
    """Return the main numbers of both sources, and every number in which they differ."""
    shown = []
    for row in rows:
        if row.agrees and (row.name.rpartition(".")[2] not in _MAIN or ".by_" in row.name):
            continue
        same = row.difference is not None and abs(row.difference) <= comparison.TOLERANCE
        difference = "same" if same else "" if row.difference is None else f"{row.difference:+.2%}"
        mark = f"{view.ESTIMATE} " if row.estimated and not same else ""
        name = row.name.replace(".categories.", ".").removeprefix("resources.")
        cells = (name, terminal.number(row.local, 6), f"{mark}{terminal.number(row.remote, 6)}", difference)
        shown.append(tuple(terminal.plain(cell, "" if row.agrees else "bold red") for cell in cells))
    return view.table(
        "The same dashboard, read back through PromQL", ("number", "local", "PromQL", "difference"), shown
    )


def verdict(rows: Sequence[ComparedNumber]) -> Text:
    """Return one line on whether two sources agree."""
    if wrong := [row.name for row in rows if not row.agrees]:
        return terminal.plain(f"{len(wrong)} of {len(rows)} numbers differ: {', '.join(wrong[:5])}", "bold red")
    known = [row for row in rows if row.local is not None]
    guessed = sorted(abs(row.difference or 0.0) for row in known if row.estimated)
    text = Text(f"All {len(known)} numbers agree", "bold green")
    if guessed:
        middle = guessed[len(guessed) // 2]
        text.append(f"; {len(guessed)} of them are estimates from histograms, half of these within {middle:.2%}")
    return text


def _screen(progress: Any) -> RenderableType:
    height, width = terminal.console.height, terminal.console.width
    data = otel_metrics.get_advanced_metrics().get_comprehensive_dashboard(hours=1)
    only = () if height > _ROOM_FOR_ALL else _MIDDLE if height > 45 else _SHORT
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        Text(progress.phase, "bold"),
        ProgressBar(max(progress.total, 1), progress.done, width=40),
        f"{progress.done}/{progress.total}",
    )
    return Group(bar, _facts(progress), Text(), view.dashboard(data, only=only, width=width))


def _facts(progress: Any) -> Text:
    accuracy = "" if math.isnan(progress.accuracy) else f", {progress.accuracy:.1%} of the last round's answers right"
    return Text(
        f"round {progress.generation}: {progress.documents:,} documents read, {progress.questions:,} questions answered{accuracy}"
    )


def _lines(worker: threading.Thread, progress: Any) -> None:
    shown = None
    while worker.is_alive():
        worker.join(_REFRESH)
        now = (progress.generation, progress.phase)
        if now != shown:
            terminal.say(f"{progress.phase}:", _facts(progress))
            shown = now
