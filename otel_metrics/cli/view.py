"""A dashboard on the terminal: aligned numbers with their units, estimates marked, no data told as no data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from otel_metrics.cli.terminal import ABSENT, clean, number, percent, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Column

    Section = Mapping[str, Any]

ESTIMATE: Final = "≈"
_NARROW: Final = 100
_LEAST_WORDS: Final = 10
_BESIDE: Final = 3
"""Characters between two columns."""
_STATISTICS: Final = ("avg", "p50", "p95", "p99", "min", "max")
_BYTES: Final = frozenset({"bytes", "byte", "B", "By"})
_SEVERE: Final = {"critical": "bold red", "error": "red", "warning": "yellow"}


def dashboard(data: Section, *, origin: str = "", only: Sequence[str] = (), width: int = 120) -> Group:
    """Return the dashboard of ``get_comprehensive_dashboard``; ``origin`` says where it was read, ``only`` names sections."""
    feature = f"feature {clean(data['feature'])}" if data.get("feature") else "all features"
    parts: list[RenderableType] = [Text(f"Dashboard of {feature}, last {number(data['hours'])} h", "bold")]
    if data.get("has_data"):
        for name, render in _SECTIONS.items():
            if not only or name in only:
                parts.append(render(data[name], width))
    else:
        parts.append(Text("No data: nothing was recorded in this time, or the source has not seen it.", "yellow"))
    return Group(*parts, footer(data, origin))


def footer(data: Section, origin: str = "") -> Text:
    """Return where the numbers come from, which time they cover and how to read them."""
    window = data.get("window") or {}
    covered = " → ".join(clean(window.get(edge, "?")).replace("T", " ")[:19] for edge in ("start", "end"))
    text = Text(
        f"Source: {clean(data.get('source', '?'))}{' ' + clean(origin) if origin else ''}, {covered} UTC", "dim"
    )
    if data.get("estimated"):
        text.append(f"; {ESTIMATE} estimated")
    if data.get("has_data"):
        text.append(f"; {ABSENT} no data")
    for warning in data.get("warnings") or ():
        text.append("\nWarning: ", "yellow").append(clean(warning), "yellow")
    return text


class _Table(Table):
    """A table that has no more columns of numbers than fit beside those of text: numbers without a name would be of no use."""

    words = 1
    """Columns of text, the first ones."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        every = self.columns
        while len(self.columns) > self.words and self._least_width() > options.max_width:
            self.columns = self.columns[:-1]
        try:
            yield from super().__rich_console__(console, options)
        finally:
            self.columns = every

    def _least_width(self) -> int:
        """Return the width at which every number is whole."""
        words = [column.min_width or 0 for column in self.columns[: self.words]]
        return sum(words) + sum(map(_natural, self.columns[self.words :])) + _BESIDE * len(self.columns)


def _natural(column: Column) -> int:
    """Return the width of the widest cell."""
    return max(cell_len(str(cell)) for cell in (column.header, *column.cells))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, words: int = 1) -> Table:
    """Return a table whose first ``words`` columns are text and whose others are numbers."""
    drawn = _Table(
        title=title, title_justify="left", title_style="bold cyan", box=box.SIMPLE_HEAD, pad_edge=False, expand=False
    )
    drawn.words = words
    for column in columns[:words]:
        drawn.add_column(column, overflow="fold")
    for column in columns[words:]:
        # A number that lost digits would be another number: where there is no room, an ellipsis says so.
        drawn.add_column(column, justify="right", no_wrap=True, overflow="ellipsis")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    for named in drawn.columns[:words]:
        named.min_width = min(_LEAST_WORDS, _natural(named))
    return drawn


def _cell(values: Section, key: str, estimated: Iterable[str], show: Callable[[object], str] = number) -> str:
    shown = show(values.get(key))
    return f"{ESTIMATE} {shown}" if key in estimated and shown != ABSENT else shown


def _without_data(name: str) -> Text:
    return Text.assemble((name, "bold cyan"), ("  no data", "yellow"))


def _performance(section: Section, width: int) -> RenderableType:
    if not section["has_data"]:
        return _without_data("Performance")
    statistics = _STATISTICS if width >= _NARROW else _STATISTICS[:4]
    rows = []
    for category, values in section["categories"].items():
        for entry in (values, *values.get("other_units", ())):
            cells = [_cell(entry, key, section["estimated"]) for key in statistics]
            rows.append((category, number(entry["count"]), *cells, plain(entry["unit"], "dim")))
    return table("Performance", ("category", "count", *statistics, "unit"), rows)


def _satisfaction(section: Section, width: int) -> RenderableType:
    if not section["has_data"]:
        return _without_data("Satisfaction")
    keys = ("avg_score", "p50_score", "min_score") if width >= _NARROW else ("avg_score",)
    total = {**section, "": None}
    rows = [
        (
            kind,
            number(values["total_responses"]),
            percent(values["satisfaction_rate"]),
            *(_cell(values, k, section["estimated"]) for k in keys),
        )
        for kind, values in [*section["by_type"].items(), ("all", total)]
    ]
    return table(
        "Satisfaction (scores 0 to 1)", ("type", "responses", "satisfied", *(k.replace("_", " ") for k in keys)), rows
    )


def _usage(section: Section, width: int) -> RenderableType:
    if not section["has_data"]:
        return _without_data("Usage")
    keys = (
        ("avg_duration_ms", "p95_duration_ms", "max_duration_ms")
        if width >= _NARROW
        else ("avg_duration_ms", "p95_duration_ms")
    )
    rows = [
        (
            action,
            number(values["total_usage"]),
            number(values["failed"]),
            percent(values["success_rate"]),
            *(_cell(values, key, section["estimated"]) for key in keys),
        )
        for action, values in [*section["by_action"].items(), ("all", section)]
    ]
    return table("Usage", ("action", "uses", "failed", "success", *(f"{key[:3]} ms" for key in keys)), rows)


def _errors(section: Section, _width: int) -> RenderableType:
    if not section["has_data"]:
        return _without_data("Errors")
    text = Text.assemble(("Errors  ", "bold cyan"), (number(section["total_errors"]), "bold"))
    for severity, count in section["by_severity"].items():
        text.append(f"  {clean(severity)} {number(count)}", _SEVERE.get(severity, ""))
    if section["recovery_attempts"]:
        text.append(f"  recovered {number(section['recovered'])} of {number(section['recovery_attempts'])} attempts")
        text.append(f" ({percent(section['recovery_rate'])})")
    types = ", ".join(f"{clean(kind, 60)} {number(count)}" for kind, count in section["by_type"].items())
    return text.append(f"\n        {types}", "dim") if types else text


def _learning(section: Section, _width: int) -> RenderableType:
    if not section["has_data"]:
        return _without_data("Learning")
    keys = ("avg_accuracy", "p50_accuracy", "avg_confidence", "avg_improvement_rate")
    rows = [
        (kind, number(values["total_samples"]), *(_cell(values, key, section["estimated"], percent) for key in keys))
        for kind, values in section["by_type"].items()
    ]
    return table("Learning", ("type", "samples", "accuracy", "p50", "confidence", "improvement"), rows)


def _optimization(section: Section, _width: int) -> RenderableType:
    if not section["has_data"]:
        return _without_data("Optimization")
    rows = [
        (
            category,
            number(values["total_optimizations"]),
            *(_cell(values, key, section["estimated"], _factor) for key in ("avg_change", "min_change", "max_change")),
            _cell(values, "avg_user_impact", section["estimated"]),
        )
        for category, values in section["by_category"].items()
    ]
    return table("Optimization (after ÷ before)", ("category", "count", "avg", "min", "max", "user impact"), rows)


def _resources(section: Section, _width: int) -> RenderableType:
    if not section["has_data"]:
        return _without_data("Resources")
    rows = [
        (
            row["resource_type"],
            row["resource_name"],
            _amount(row["used"], row["unit"]),
            _amount(row["allocated"], row["unit"]),
            percent(row["utilization_percent"] / 100),
        )
        for row in section["resources"]
    ]
    return table("Resources (last known)", ("type", "name", "used", "allocated", "in use"), rows, words=2)


def _amount(value: float, unit: str) -> str:
    if math.isnan(value):
        return ABSENT
    if unit in _BYTES:
        power = min(4, int(math.log(max(1.0, abs(value)), 1000)))
        value, unit = value / 1000**power, ("B", "kB", "MB", "GB", "TB")[power]
    return f"{number(value)} {clean(unit, 20)}".rstrip()


def _factor(change: object) -> str:
    shown = number(change, 3)
    return shown if shown == ABSENT else f"× {shown}"


_SECTIONS: Final[dict[str, Callable[[Section, int], RenderableType]]] = {
    "performance": _performance,
    "satisfaction": _satisfaction,
    "usage": _usage,
    "errors": _errors,
    "learning": _learning,
    "optimization": _optimization,
    "resources": _resources,
}
