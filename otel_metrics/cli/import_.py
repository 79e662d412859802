"""``otel-metrics import``: the old SQLite database as history of a Prometheus server."""

from __future__ import annotations

import argparse
import datetime as dt
import time
import zoneinfo
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from otel_metrics.cli import checked, daily_aggregates, history, processes, reading, shipped, terminal, view
from otel_metrics.errors import ConfigurationError
from otel_metrics.importing.blocks import DataDirectory
from otel_metrics.importing.job import Import, Wanted
from otel_metrics.importing.ledger import Ledger
from otel_metrics.importing.rows import Rows, date_of
from otel_metrics.importing.tables import OldDatabase
from otel_metrics.querying.restore import FIVE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_metrics.importing.ledger import Reason

_KEPT: Final = 15
"""Days that Prometheus keeps unless it is told otherwise."""

_REASONS: Final = 20
_IDS: Final = 5


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "import",
        help="write the old database's history into a Prometheus data directory",
        description="Says what the old database holds and what of it does not fit, then writes it into a Prometheus data directory, "
        "day by day, under the names that the live system uses. Running it again goes on where it stopped, and doubles nothing. "
        "The server must keep data that long: --storage.tsdb.retention.time.",
    )
    add_database(command)
    command.add_argument(
        "--data", type=Path, metavar="DIR", help="the server's --storage.tsdb.path; without it nothing is written"
    )
    command.add_argument(
        "--before",
        type=checked.day,
        metavar="YYYY-MM-DD",
        help="first day that is not imported: the live system's first",
    )
    command.add_argument(
        "--name",
        default="import",
        help="begin of the series' service_instance_id; another one for another application's database",
    )
    command.add_argument(
        "--verify", action="store_true", help="then read the imported days back from the server and compare"
    )
    reading.add_options(command)
    command.set_defaults(run=run)


def add_database(command: argparse.ArgumentParser) -> None:
    """Add the arguments that say which old database to read, and how."""
    command.add_argument("database", type=Path, metavar="OLD.db")
    command.add_argument(
        "--timezone",
        type=_zone,
        default=dt.timezone.utc,
        metavar="NAME",
        help="of timestamps without an offset (default: UTC)",
    )
    daily_aggregates.add_scales(command)


def run(arguments: argparse.Namespace) -> int:
    """Inspect, import, account, verify."""
    if arguments.data is None:
        if arguments.verify:
            raise ConfigurationError("--verify is not allowed without --data")
        with history.read(arguments) as rows:
            _say_what_was_found(rows)
        terminal.say("Nothing was written: name the server's data directory with --data.", style="yellow")
        return 0
    promtool = processes.find("promtool", shipped.root())
    if promtool is None:
        raise ConfigurationError("promtool is not on PATH; it comes with Prometheus (make servers)")
    directory = DataDirectory(arguments.data, promtool)
    with directory.claimed():
        database = OldDatabase(arguments.database)
        ledger = Ledger(directory.work / "rejected.csv")
        work = directory.work / "rows"
        rows = Rows(database, ledger, history.settings(arguments), arguments.timezone, work)
        try:
            history.progress_of(rows)
            _say_what_was_found(rows)
            job = Import(rows, directory, Wanted(arguments.name, arguments.before), time.time())
            _write(job)
            return history.verify(job, arguments.prometheus) if arguments.verify else 0
        finally:
            rows.close(work)
            ledger.close()
            database.close()


def _zone(name: str) -> dt.tzinfo:
    """Return a time zone by its name."""
    if name.upper() == "UTC":
        return dt.timezone.utc
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise argparse.ArgumentTypeError(f"no time zone called {name!r}") from None


def _write(job: Import) -> None:
    job.recover()
    if job.head is not None:
        moment = dt.datetime.fromtimestamp(job.head, dt.timezone.utc)
        terminal.say(
            f"A server lives in this directory. What it has recorded since {moment:%Y-%m-%d %H:%M} UTC may not be in blocks yet: "
            "days that reach there have to wait. New blocks are loaded within a minute.",
            style="yellow",
        )
    days = job.open_days()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=terminal.errors, transient=True) as bar:
            task = bar.add_task("Writing days", total=len(days))
            job.write(days, lambda _day: bar.advance(task))
    except BaseException:
        terminal.say(
            f"Stopped: {len(job.written)} of {len(days)} days are in place. The same command goes on from here.",
            style="yellow",
        )
        raise
    _say_account(job)


def _say_what_was_found(rows: Rows) -> None:
    ledger, database = rows.ledger, rows.database
    tables = [
        (
            found.table.name,
            "; ".join(
                [
                    *([found.unreadable] if found.unreadable else ()),
                    *(f"{name} is not documented, not read" for name in found.unknown),
                ]
            ),
            f"{ledger.read[found.table.name]:,}",
            f"{rows.reader.cardinality[found.table.name]:,}" if found in database.tables else "",
        )
        for found in database.found
    ]
    tables += [(name, "not documented, not read", "", "") for name in database.unknown]
    terminal.console.print(view.table("Found", ("table", "remarks", "rows", "label combinations"), tables, words=2))
    days = rows.days()
    if days:
        terminal.say(f"{len(days)} days with data, {date_of(days[0])} to {date_of(days[-1])} (UTC).")
    cardinality = rows.keepers.cardinality()
    terminal.say(
        f"{len(rows.keepers.series):,} series a day at most; values per label:",
        ", ".join(f"{name} {number:,}" for name, number in cardinality.items()) or "one each",
    )
    for kind, scales in sorted(rows.reader.scales.items()):
        if len(scales) > 1:
            terminal.say(f"Satisfaction type {kind}: scores on both scales; --scale says which.", style="yellow")
        elif rows.scales()[kind] == FIVE:
            terminal.say(
                f"Satisfaction type {kind}: scores from 1 to 5. They are kept from 0 to 1, as live ones; "
                f"daily --format sqlite --scale {kind}={FIVE} writes them back."
            )
    _say_reasons("Rows that do not fit", ledger.rejected)
    _say_reasons("Values and labels that do not fit, in rows that do", ledger.left_out)
    for label, bindings in rows.keepers.labels.overflow().items():
        terminal.say(f"Label {label}: past its cap, {bindings} label combinations became 'other'.", style="yellow")


def _say_reasons(title: str, reasons: Iterable[Reason]) -> None:
    found = list(reasons)
    if found:
        shown = [(r.table, r.what, f"{r.rows:,}", _ids(r)) for r in found[:_REASONS]]
        terminal.console.print(view.table(title, ("table", "what", "rows", "row ids"), shown, words=2))
        if len(found) > _REASONS:
            terminal.say(f"… and {len(found) - _REASONS} other reasons", style="dim")


def _ids(reason: Reason) -> str:
    return ", ".join(reason.first[:_IDS]) + (", …" if len(reason.first) > _IDS else "")


def _say_account(job: Import) -> None:
    ledger = job.rows.ledger
    ledger.flush()
    rows = [
        (name, f"{ledger.read[name]:,}", f"{ledger.imported[name]:,}", f"{ledger.rejected_rows(name):,}")
        for name in (found.table.name for found in job.rows.database.found)
    ]
    terminal.console.print(view.table("Account", ("table", "read", "imported", "rejected"), rows, words=1))
    _say_reasons("Rejected", ledger.rejected)
    if not ledger.balanced():
        raise AssertionError("read is not imported + rejected: please report this")
    terminal.say(f"{len(job.written)} days written, {len(job.skipped)} not. Every rejection: {ledger.path}")
    # It may do so with its next block only, so that --verify finds everything in place before.
    age = job.age_of_oldest()
    if age > _KEPT:
        terminal.say(
            f"The oldest of them is {age} days old. A server that is not told to keep data that long "
            f"(--storage.tsdb.retention.time, {_KEPT} days without) deletes it within hours.",
            style="yellow",
        )
