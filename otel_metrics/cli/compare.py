"""``otel-metrics compare``: the old system's daily statistics beside ours, while both are running."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.progress import track

from otel_metrics import catalogue as c
from otel_metrics.cli import argument_types, import_, server_option, terminal, view
from otel_metrics.importing.timestamps import date_of
from otel_metrics.querying.caller_units import CallersUnits, daily_row

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from otel_metrics.catalogue import DayKey
    from otel_metrics.importing.old_history import OldHistory
    from otel_metrics.querying.source import DayTable, Source
    from otel_metrics.querying.statistics import Statistics
    from otel_metrics.settings import Scale

_SAME: Final = 1e-9
"""Relative difference that adding up in another order can explain."""


@dataclass(frozen=True, slots=True)
class ComparedStatistic:
    """One statistic of one row of the daily table, in the caller's unit. ``None``: that side has no such row."""

    day: date
    key: DayKey
    unit: str
    column: str
    old: float | None
    ours: float | None
    estimated: bool
    complete: bool | None
    """Whether everything that was recorded on the day is in our value; None if that is not known."""
    reason: str
    """What may be missing."""

    @property
    def difference(self) -> float | None:
        """Our value's distance from the old one, as a share of the old one; of zero: in the unit itself."""
        if self.old is None or self.ours is None:
            return None
        return (self.ours - self.old) / abs(self.old) if self.old else self.ours - self.old


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
        found = [row for day in watched for row in _compared(history, server.source, day)]
    shown = [row for row in found if not arguments.differences or not _same(row)]
    _FORMATS[arguments.format](shown)
    if arguments.format == "table":
        different = sum(not _same(row) for row in found)
        compared = len({row.day for row in found})
        terminal.say(
            f"{compared} of {len(days)} days seen by both, {len(found):,} statistics, {different:,} not the same."
        )
    return 0


def _compared(history: OldHistory, source: Source, day: int) -> Iterator[ComparedStatistic]:
    """Yield every statistic of a day that both systems have rows of.

    Raises:
        QueryError: the source cannot answer.
    """
    labels = (c.FEATURE.name, c.METRIC_CATEGORY.name, c.METRIC_NAME.name)
    seen = (series.labels for series in history.builder.series.values() if series.metric is c.PERFORMANCE_UNIT)
    units, scales = CallersUnits(seen, labels), history.scales()
    ours = source.day(date_of(day))
    if ours.rows:
        history.load(day)
        old, _ = history.statistics(day)
        for key in sorted({*old, *ours.rows}):
            yield from _row(key, old.get(key), ours, units, scales)


def _row(
    key: DayKey, old: Statistics | None, table: DayTable, units: CallersUnits, scales: Mapping[str, Scale]
) -> Iterator[ComparedStatistic]:
    ours, whole = table.rows.get(key), table.known_of(key)
    shown = [daily_row(key, known, units, scales) if known is not None else None for known in (old, ours)]
    unit = next((row[1] for row in shown if row is not None), "")
    values = [asdict(row[0]) if row is not None else {} for row in shown]
    for name, column in c.DAILY_TABLE.items():
        theirs, mine = (known.get(column.field) for known in values)
        estimated = ours is not None and column.field in ours.estimated
        yield ComparedStatistic(
            table.day, key, unit, name, theirs, mine, estimated, whole.complete, "; ".join(whole.reasons)
        )


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
    columns = (
        *("date", "feature", "metric_type", "metric_name", "unit", "column"),
        *("old", "ours", "estimated", "difference", "complete", "reason"),
    )
    terminal.print_csv(columns, (map(_flat(row).get, columns) for row in rows))


def _as_json(rows: Sequence[ComparedStatistic]) -> None:
    terminal.print_json(list(map(_flat, rows)))


_FORMATS: Final = {"table": _as_table, "csv": _as_csv, "json": _as_json}
