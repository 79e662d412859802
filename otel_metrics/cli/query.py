"""``otel-metrics query``: one of the cookbook's questions, or PromQL, asked of a Prometheus server: as a table, a plot, CSV or JSON."""

from __future__ import annotations

import datetime as dt
import math
import time
from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from otel_metrics.cli import argument_types, server_option, terminal, view
from otel_metrics.errors import ConfigurationError, InvalidArgumentError
from otel_metrics.querying.cookbook import COOKBOOK
from otel_metrics.querying.questions import inquiry_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from otel_metrics.querying.source import QueryRow, QueryTable

_MOST_LINES: Final = 50
"""Of a table or a plot: the rest is for files."""

_LONGEST_BAR: Final = 24
_SHORTEST: Final = 8
_NUMBER: Final = 10
"""Characters of a column of numbers, most of the time."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("query", help="ask one of the cookbook's questions, or PromQL", description=__doc__)
    server_option.add_options(command)
    command.add_argument("question", nargs="?", help="a name that --list shows, or PromQL, which is sent as it is")
    command.add_argument("--list", action="store_true", help="list the questions of the cookbook")
    command.add_argument("--feature", help="one feature (default: all); with a question of the cookbook")
    command.add_argument("--hours", type=argument_types.hours, default=24.0, help="how far to look back (default: 24)")
    command.add_argument(
        "--step",
        type=argument_types.seconds,
        metavar="SECONDS",
        help="between the points of a curve (default: 24 points of a question about a trend; else none)",
    )
    command.add_argument(
        "--format", choices=sorted(FORMATS), help="default: plot for a curve, else table; csv and json have every row"
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and show the answer."""
    if arguments.list:
        _list()
        return 0
    if arguments.question is None:
        raise ConfigurationError("a question is needed: one that --list shows, or PromQL")
    try:
        inquiry = inquiry_of(
            arguments.question, arguments.hours, time.time(), feature=arguments.feature, step=arguments.step
        )
    except InvalidArgumentError as error:
        raise ConfigurationError(str(error)) from None
    with server_option.connected(arguments.prometheus) as runtime:
        table = runtime.source.ask(inquiry)
    FORMATS[arguments.format or ("plot" if table.step else "table")](table)
    for warning in table.warnings:
        terminal.warn(f"Warning: {warning}")
    return 0


def _list() -> None:
    for family, questions in groupby(COOKBOOK.values(), lambda question: question.family):
        terminal.console.print(Text(family.value.capitalize(), "bold cyan"))
        listed = Table.grid(padding=(0, 2))
        listed.add_column(no_wrap=True, style="bold")
        listed.add_column(overflow="fold")
        for question in questions:
            listed.add_row(question.name, question.question)
        terminal.console.print(listed)


def _as_table(table: QueryTable) -> None:
    if not table.rows:
        _say_no_data()
        return
    timed = _times(table) != []
    words = (*(["time (UTC)"] if timed else []), _heading(table))
    lines = (
        (*([_moment(row.time)] if timed else []), _words(table, row), terminal.number(row.value))
        for row in table.rows[:_MOST_LINES]
    )
    _say_title(table)
    terminal.console.print(view.table("", (*words, "value"), lines, words=len(words)))
    _say_more(table, len(table.rows))


def _as_plot(table: QueryTable) -> None:
    """Draw one line per series: a curve with its extremes and its last value, or a bar."""
    if not table.rows:
        _say_no_data()
        return
    lines: dict[str, list[QueryRow]] = {}
    for row in table.rows:
        lines.setdefault(_words(table, row), []).append(row)
    times = _times(table)
    numbers = ("least", "most", "last") if times else ("value",)
    wide = terminal.console.width
    words = min(max(map(cell_len, (_heading(table), *lines))), wide // 3)
    room = max(min(wide - words - _NUMBER * len(numbers) - 4, len(times) or _LONGEST_BAR), _SHORTEST)
    drawn = Table(box=None, pad_edge=False, padding=(0, 1))
    drawn.add_column(_heading(table), overflow="fold", min_width=_SHORTEST)
    drawn.add_column("", no_wrap=True, width=room)
    for heading in numbers:
        drawn.add_column(heading, justify="right", no_wrap=True, overflow="ellipsis")
    most = max((abs(row.value) for row in table.rows if math.isfinite(row.value)), default=0.0)
    for name, rows in list(lines.items())[:_MOST_LINES]:
        if times:
            values = [row.value for row in rows if math.isfinite(row.value)]
            picture = view.curve({row.time: row.value for row in rows}, times, room)
            shown = [min(values, default=math.nan), max(values, default=math.nan), rows[-1].value]
        else:
            picture, shown = _bar(rows[0].value, most, room), [rows[0].value]
        drawn.add_row(terminal.plain(name), Text(picture, "cyan"), *map(terminal.number, shown))
    _say_title(table)
    terminal.console.print(drawn)
    _say_more(table, len(lines))


def _as_csv(table: QueryTable) -> None:
    rows = ([_iso(row.time), *(row.labels.get(name, "") for name in table.labels), row.value] for row in table.rows)
    terminal.print_csv(["time", *table.headings.values(), "value"], rows)


def _as_json(table: QueryTable) -> None:
    rows = [{"time": _iso(row.time), "labels": dict(row.labels), "value": row.value} for row in table.rows]
    told = {
        "question": table.question,
        "value": table.value,
        "promql": table.promql,
        "scope": dict(table.scope),
        "window": {"start": _iso(table.period.start), "end": _iso(table.period.end)},
        "step": table.step,
        "warnings": list(table.warnings),
        "rows": rows,
    }
    terminal.print_json(told)


FORMATS: Final[dict[str, Callable[[QueryTable], None]]] = {
    "table": _as_table,
    "plot": _as_plot,
    "csv": _as_csv,
    "json": _as_json,
}


def _say_no_data() -> None:
    terminal.say("No data: nothing like this was recorded, or the server has not seen it.", style="yellow")


def _say_title(table: QueryTable) -> None:
    title = f"{table.question} ({table.value})" if table.question else table.promql
    terminal.console.print(terminal.plain(title, "bold cyan"))


def _say_more(table: QueryTable, found: int) -> None:
    start, end = _moment(table.period.start), _moment(table.period.end)
    covered = f"{start} to {end} UTC" if table.question or table.step else f"{end} UTC"
    scope = ", ".join(f"{name}={value}" for name, value in table.scope.items())
    more = f"; {found - _MOST_LINES} more: --format csv" if found > _MOST_LINES else ""
    terminal.say(f"{covered}{f'; {scope}' if scope else ''}{more}", style="dim")


def _times(table: QueryTable) -> list[float]:
    """Return the times of an answer over time."""
    times = sorted({row.time for row in table.rows})
    return times if table.step or len(times) > 1 else []


def _heading(table: QueryTable) -> str:
    return ", ".join(name for name in table.labels if name != "__name__") or "series"


def _words(table: QueryTable, row: QueryRow) -> str:
    """Return the labels of a row in one line, in the order of the heading."""
    name = row.labels.get("__name__", "")
    words = ", ".join(row.labels.get(label) or terminal.ABSENT for label in table.labels if label != "__name__")
    return " ".join(filter(None, (name, words))) or terminal.ABSENT


def _bar(value: float, most: float, width: int) -> str:
    if not math.isfinite(value) or not most:
        return ""
    return "█" * max(round(abs(value) / most * width), 1)


def _iso(when: float) -> str:
    return dt.datetime.fromtimestamp(when, dt.timezone.utc).isoformat(timespec="milliseconds")


def _moment(when: float) -> str:
    return dt.datetime.fromtimestamp(when, dt.timezone.utc).strftime("%m-%d %H:%M")
