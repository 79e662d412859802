"""``otel-metrics compare``: the old system's daily statistics beside ours, while both are running."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich.progress import track

from otel_metrics.cli import argument_types, daily, import_, server_option, terminal, view
from otel_metrics.importing.daily_comparison import compare_days
from otel_metrics.importing.old_history import date_of
from otel_metrics.results import json_safe

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from otel_metrics.importing.daily_comparison import ComparedStatistic

_SAME: Final = 1e-9


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "compare",
        help="put the old database's daily statistics beside those of the live system",
        description="For every day that both saw: the eight statistics of the daily table as the old rows give them, as the server has "
        "them, and the difference. Percentiles of the live system are estimates from histograms.",
    )
    import_.add_database(command)
    server_option.add_options(command)
    command.add_argument(
        "--from", type=argument_types.day, metavar="YYYY-MM-DD", dest="first", help="first day to compare"
    )
    command.add_argument("--to", type=argument_types.day, metavar="YYYY-MM-DD", dest="last", help="last day to compare")
    command.add_argument("--differences", action="store_true", help="show only what is not the same")
    command.add_argument("--format", choices=("table", "csv", "json"), default="table")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare and show."""
    argument_types.days_in_order(arguments.first, arguments.last)
    with (
        import_.read_database(arguments) as history,
        server_option.connected(arguments.prometheus, arguments.job) as server,
    ):
        first, last = arguments.first, arguments.last
        days = [
            day
            for day in history.days()
            if (first is None or date_of(day) >= first) and (last is None or date_of(day) <= last)
        ]
        watched = track(days, "Comparing days", console=terminal.errors, transient=True)
        found = [row for day in watched for row in compare_days(history, server.source, [day])]
    shown = [row for row in found if not arguments.differences or not _same(row)]
    _FORMATS[arguments.format](shown)
    if arguments.format == "table":
        different = sum(not _same(row) for row in found)
        compared = len({row.day for row in found})
        terminal.say(
            f"{compared} of {len(days)} days seen by both, {len(found):,} statistics, {different:,} not the same."
        )
    return 0


def _same(row: ComparedStatistic) -> bool:
    if row.old is None and row.ours is None:
        return True
    return row.difference is not None and abs(row.difference) <= _SAME


def _as_table(rows: Sequence[ComparedStatistic]) -> None:
    heads = ("date", "feature", "type", "name", "column", "old", "ours", "difference", "unit")
    shown = [
        (
            str(row.day),
            *row.key[:3],
            row.column,
            terminal.number(row.old, 6),
            f"{view.ESTIMATE} " * (row.estimated and row.ours is not None) + terminal.number(row.ours, 6),
            _difference(row),
            terminal.plain(row.unit, "dim"),
        )
        for row in rows
    ]
    if shown:
        terminal.console.print(view.table("Old system and ours", heads, shown, words=5))
    reasons = {(row.day, row.reason): None for row in rows if row.complete is False}
    for day, reason in reasons:
        terminal.say(f"Our rows of {day} may lack values: {reason}.", style="yellow")


def _difference(row: ComparedStatistic) -> str:
    if row.difference is None:
        return terminal.ABSENT
    if _same(row):
        return "same"
    # There is no share of zero.
    return f"{row.difference:+.3%}" if row.old else f"{row.difference:+.6g}"


def _flat(row: ComparedStatistic) -> dict[str, Any]:
    flat = asdict(row)
    key = flat.pop("key")
    names = dict(zip(("feature", "metric_type", "metric_name"), key, strict=False))
    return {"date": str(flat.pop("day")), **names, **flat, "difference": row.difference}


def _as_csv(rows: Sequence[ComparedStatistic]) -> None:
    writer = csv.DictWriter(
        sys.stdout,
        (
            "date",
            "feature",
            "metric_type",
            "metric_name",
            "unit",
            "column",
            "old",
            "ours",
            "estimated",
            "difference",
            "complete",
            "reason",
        ),
    )
    writer.writeheader()
    writer.writerows({name: daily.cell(value) for name, value in _flat(row).items()} for row in rows)


def _as_json(rows: Sequence[ComparedStatistic]) -> None:
    print(json.dumps([json_safe(_flat(row)) for row in rows], indent=2, allow_nan=False))


_FORMATS: Final = {"table": _as_table, "csv": _as_csv, "json": _as_json}
