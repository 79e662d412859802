"""What the demo shows: where the engine is, the dashboard while it changes, and whether two sources agree on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

import otel_metrics
from otel_metrics.cli import terminal, view

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from rich.console import RenderableType


_MAIN: Final = frozenset(
    {
        "count", "avg", "p95", "total_responses", "satisfaction_rate", "avg_score", "total_usage", "success_rate",
        "avg_duration_ms", "p95_duration_ms", "total_errors", "recovery_rate", "total_samples", "avg_accuracy",
        "avg_confidence", "total_optimizations", "avg_change", "utilization_percent",
    }
)  # fmt: skip
_TOLERANCE: Final = 1e-6
"""Relative difference that summing in another order can explain."""

_NOTHING: Final = 1e-12
_NOT_MEASURED: Final = frozenset(
    {"hours", "window", "generated_at", "source", "exact", "estimated", "has_data", "feature"}
)
_REFRESH: Final = 0.5
_ROOM_FOR_ALL: Final = 75
_SHORT: Final = ("performance", "errors")
_MIDDLE: Final = ("performance", "satisfaction", "errors", "learning")


@dataclass(frozen=True, slots=True)
class ComparedNumber:
    """One number as two sources see it; ``None`` is no data."""

    name: str
    local: float | None
    remote: float | None
    estimated: bool

    @property
    def difference(self) -> float | None:
        """The relative difference, as a share of the local number; ``None`` if either is missing."""
        if self.local is None or self.remote is None:
            return None
        if abs(self.local - self.remote) < _NOTHING:
            return 0.0
        return (self.remote - self.local) / abs(self.local) if self.local else math.inf

    @property
    def agrees(self) -> bool:
        """Whether both are the same number. An estimate agrees if there is one: how close it is, is for the reader to see."""
        if self.local is None or self.remote is None:
            return self.local is self.remote
        return self.estimated or abs(self.difference or 0.0) <= _TOLERANCE


def show(work: Future[Any], progress: Any) -> None:
    """Draw the progress and the dashboard until ``work`` is done; without a terminal, a line per round."""
    if not terminal.console.is_terminal:
        _lines(work, progress)
        return
    with Live(console=terminal.console, auto_refresh=False, transient=True) as live:
        while not work.done():
            live.update(_screen(progress), refresh=True)
            wait([work], _REFRESH)


def compared(local: Mapping[str, Any], remote: Mapping[str, Any]) -> list[ComparedNumber]:
    """Return every number of both dashboards, side by side, in the order of the local one."""
    ours, theirs = dict(_numbers(local)), dict(_numbers(remote))
    guessed = {*local.get("estimated", ()), *remote.get("estimated", ())}
    names = [*ours, *(name for name in theirs if name not in ours)]
    return [ComparedNumber(name, ours.get(name), theirs.get(name), _short(name) in guessed) for name in names]


def _short(name: str) -> str:
    """Return (section).(key), as dashboards list their estimates: a key is an estimate in all parts of its section."""
    first, _, rest = name.partition(".")
    return f"{first}.{rest.rpartition('.')[2]}"


def _numbers(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float | None]]:
    for key in node:  # items() of a result would leave out what it has no data for
        value, name = node[key], f"{path}{key}"
        if key in _NOT_MEASURED:
            continue
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{name}.")
        elif isinstance(value, list):
            # Resources, and values of other units: told apart by what names them, not by their place.
            for entry in value:
                words = " ".join(str(word) for word in entry.values() if isinstance(word, str))
                yield from _numbers(entry, f"{name}.{words}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, None if math.isnan(value) else value


def side_by_side(rows: Sequence[ComparedNumber]) -> Table:
    """Return the main numbers of both sources, and every number in which they differ."""
    shown = []
    for row in rows:
        if row.agrees and (row.name.rpartition(".")[2] not in _MAIN or ".by_" in row.name):
            continue
        same = row.difference is not None and abs(row.difference) <= _TOLERANCE
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


def _lines(work: Future[Any], progress: Any) -> None:
    shown = None
    while not work.done():
        wait([work], _REFRESH)
        now = (progress.generation, progress.phase)
        if now != shown:
            terminal.say(f"{progress.phase}:", _facts(progress))
            shown = now
