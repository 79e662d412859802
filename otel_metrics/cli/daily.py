"""``otel-metrics daily``: the daily table of one UTC day or several, as a table, CSV, JSON or the old SQLite table."""

from __future__ import annotations

import datetime as dt
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from rich.progress import track

from otel_metrics.catalogue import DAILY_SQL, DAILY_SQL_KEY, DAILY_TABLE
from otel_metrics.cli import argument_types, server_option, sqlite_export, terminal, view
from otel_metrics.errors import ConfigurationError
from otel_metrics.querying.caller_units import SATISFACTION

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.table import Table
    from rich.text import Text

    Row = Mapping[str, Any]

SQLITE: Final = "sqlite"

_NUMBERS: Final = sorted(DAILY_TABLE, key=lambda name: name != "count")
_COLUMNS: Final = (
    *DAILY_SQL_KEY,
    *DAILY_TABLE,
    "unit",
    "partial",
    "instances",
    "complete",
    "reason",
    "source",
    "estimated",
)
_FEW_NUMBERS: Final = ("count", "avg_value", "percentile_95", "max_value")
_WIDE: Final = 120
_COMPLETE: Final = {True: "yes", False: "no", None: terminal.ABSENT}
_FEW_DAYS: Final = 3
_FEW_ROWS: Final = 10


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("daily", help="show the daily table", description=__doc__)
    server_option.add_options(command)
    command.add_argument("--date", type=argument_types.day, metavar="YYYY-MM-DD", help="one UTC day (default: today)")
    command.add_argument(
        "--from", type=argument_types.day, metavar="YYYY-MM-DD", dest="first", help="first of several days"
    )
    command.add_argument(
        "--to", type=argument_types.day, metavar="YYYY-MM-DD", dest="last", help="last of several days (default: today)"
    )
    command.add_argument(
        "--format", choices=sorted((*FORMATS, SQLITE)), default="table", help="sqlite: the old daily_aggregates table"
    )
    command.add_argument(
        "--output",
        type=argument_types.file_to_write,
        metavar="FILE",
        help="database to write, made if it is not there (sqlite)",
    )
    sqlite_export.add_scales(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read and show the rows."""
    if (arguments.format == SQLITE) != (arguments.output is not None):
        raise ConfigurationError(f"--output and --format {SQLITE} belong together")
    if arguments.scales and arguments.format != SQLITE:
        raise ConfigurationError(f"--scale is for --format {SQLITE}; elsewhere scores are from 0 to 1")
    days = list(_days(arguments))
    with server_option.connected(arguments.prometheus, arguments.job) as runtime:
        url = str(runtime.settings.prometheus_url)
        watched = track(days, "Reading days", console=terminal.errors, transient=True, disable=len(days) <= _FEW_DAYS)
        rows = [row for day in watched for row in runtime.advanced.aggregate_daily_metrics(date=day)]
    if arguments.output is not None:
        return _as_sqlite(rows, arguments.output, dict(arguments.scales))
    FORMATS[arguments.format](rows, url)
    return 0


def table(rows: Sequence[Row], width: int, title: str = "") -> Table:
    """Return rows as a table of the terminal; a narrow one shows fewer columns."""
    keys = _NUMBERS if width >= _WIDE else _FEW_NUMBERS
    days = len({row["date"] for row in rows}) > 1
    shown: list[tuple[str | Text, ...]] = []
    for row in rows:
        guessed = row.get("estimated") or ()
        numbers = [_number(row[key], key in guessed) for key in keys]
        name = f"{row['feature']} {row['metric_type']} {row['metric_name']}"
        shown.append(
            (
                *([str(row["date"])] if days else []),
                name,
                *numbers,
                terminal.plain(row.get("unit") or "", "dim"),
                _COMPLETE[row["complete"]],
            )
        )
    words = ("date", "metric") if days else ("metric",)
    return view.table(
        title or "Daily table",
        (*words, *(DAILY_TABLE[key].field for key in keys), "unit", "complete"),
        shown,
        words=len(words),
    )


def _number(value: object, estimated: bool) -> str:
    shown = terminal.number(value)
    return f"{view.ESTIMATE}{shown}" if estimated and shown != terminal.ABSENT else shown


def _as_table(rows: Sequence[Row], url: str) -> None:
    if not rows:
        terminal.say("No data: nothing was recorded on these days, or the server has not seen it.", style="yellow")
        return
    width = terminal.console.width
    days = sorted({str(row["date"]) for row in rows})
    terminal.console.print(
        table(rows, width, f"Daily table of {' to '.join(dict.fromkeys((days[0], days[-1])))} (UTC)")
    )
    partial = sorted({str(row["date"]) for row in rows if row.get("partial")})
    terminal.say(
        f"Source: {url}"
        + (f"; {view.ESTIMATE} estimated" if any(row.get("estimated") for row in rows) else "")
        + (f"; partial, more may come: {', '.join(partial)}" if partial else "")
        + ("" if width >= _WIDE else "; a wider terminal shows more columns, --format csv all"),
        style="dim",
    )
    _say_what_is_missing(rows)


def _say_what_is_missing(rows: Sequence[Row]) -> None:
    """Name the rows of past days that are not complete, by reason, on standard error; and what the server said."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["complete"] is False and not row["partial"]:
            name = f"{row['feature']} {row['metric_type']} {row['metric_name']}"
            by_reason.setdefault((str(row["date"]), str(row["reason"])), []).append(name)
    for (date, reason), names in by_reason.items():
        more = f" and {len(names) - _FEW_ROWS} more" if len(names) > _FEW_ROWS else ""
        terminal.warn(f"Not complete, {date}: {reason}: {', '.join(names[:_FEW_ROWS])}{more}")
    for warning in dict.fromkeys(str(warning) for row in rows for warning in row.get("warnings") or ()):
        terminal.warn(f"The server warns: {warning}")


def _as_csv(rows: Sequence[Row], _url: str) -> None:
    columns = list(dict.fromkeys(chain(_COLUMNS, *rows)))  # the same ones on days without rows
    terminal.print_csv(columns, (map(row.get, columns) for row in rows))


def _as_json(rows: Sequence[Row], _url: str) -> None:
    terminal.print_json(list(rows))


def _as_sqlite(rows: Sequence[Row], path: Path, scales: Mapping[str, str]) -> int:
    """Write the old table; return the exit status."""
    partial = sorted({str(row["date"]) for row in rows if row.get("partial")})
    left_out = sqlite_export.write(path, rows, scales)
    terminal.say(f"{len(rows) - len(left_out)} rows in {path}, table {DAILY_SQL}.")
    if partial:
        terminal.warn(f"Not over or not known in full: {', '.join(partial)}. Write them again later.")
    _say_what_is_missing(rows)
    unsaid = sorted(
        {
            str(row["metric_name"])
            for row in rows
            if row["metric_type"] == SATISFACTION and row["metric_name"] not in scales
        }
    )
    if unsaid:
        terminal.warn(
            f"Scores are from 0 to 1, those of {', '.join(unsaid)}, too: --scale TYPE=1-5 writes them from 1 to 5."
        )
    for row in left_out:
        terminal.say(
            f"Left out, as the table has no unit and its metric is there in another one: {row['date']} {row['feature']} "
            f"{row['metric_type']} {row['metric_name']} in {row['unit']}",
            style="yellow",
        )
    return 0


FORMATS: Final[dict[str, Callable[[Sequence[Row], str], None]]] = {"table": _as_table, "csv": _as_csv, "json": _as_json}


def _days(arguments: argparse.Namespace) -> Iterator[dt.date]:
    today = dt.datetime.now(dt.timezone.utc).date()
    if arguments.first is None:
        if arguments.last is not None:
            raise ConfigurationError("--to is not allowed without --from")
        yield arguments.date or today
        return
    if arguments.date is not None:
        raise ConfigurationError("--date and --from are not allowed together")
    last = arguments.last or today
    argument_types.days_in_order(arguments.first, last)
    for offset in range((last - arguments.first).days + 1):
        yield arguments.first + dt.timedelta(days=offset)
