"""``otel-metrics import``: the old SQLite database as history of a Prometheus server or VictoriaMetrics."""

from __future__ import annotations

import argparse
import datetime as dt
import signal
import tempfile
import time
import zoneinfo
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track

from otel_metrics.assets import data_files
from otel_metrics.cli import (
    argument_types,
    processes,
    server_option,
    sqlite_export,
    terminal,
    view,
)
from otel_metrics.errors import ConfigurationError, ImportFailedError
from otel_metrics.importing import sql_check
from otel_metrics.importing.data_directory import DataDirectory
from otel_metrics.importing.importer import Importer, Wanted
from otel_metrics.importing.old_history import opened
from otel_metrics.importing.openmetrics_folder import OpenMetricsFolder
from otel_metrics.importing.sql_check import TableCheck
from otel_metrics.importing.timestamps import date_of
from otel_metrics.importing.victoria_metrics import VictoriaMetrics
from otel_metrics.querying.caller_units import FIVE
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_metrics.importing.old_history import OldHistory
    from otel_metrics.importing.report import Reason
    from otel_metrics.importing.target import Target
    from otel_metrics.querying.source import Source

_ROWS: Final = 20
_IDS: Final = 5
_PATIENCE: Final = 150.0
"""Seconds that a server gets to load new blocks; Prometheus looks for them once a minute."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "import",
        help="write the old database's history into Prometheus, VictoriaMetrics or OpenMetrics files",
        description="Says what the old database holds and what of it does not fit, then writes it day by day, under the names that "
        "the live system uses: into a Prometheus data directory, into OpenMetrics files for promtool, or into VictoriaMetrics. "
        "Running it again goes on where it stopped, and doubles nothing. The server must keep data that long: "
        "--storage.tsdb.retention.time, or -retentionPeriod of VictoriaMetrics.",
    )
    add_database(command)
    into = command.add_argument_group("where to write; without one of these nothing is written")
    into = into.add_mutually_exclusive_group()
    into.add_argument(
        "--data",
        type=argument_types.folder,
        metavar="DIR",
        help="the data directory of Prometheus: its --storage.tsdb.path",
    )
    into.add_argument(
        "--openmetrics",
        type=argument_types.folder,
        metavar="FOLDER",
        help="files that promtool tsdb create-blocks-from openmetrics takes one by one",
    )
    into.add_argument(
        "--victoria-metrics",
        type=argument_types.server,
        metavar="URL",
        help="the server's address; credentials as for --prometheus",
    )
    command.add_argument(
        "--before",
        type=argument_types.day,
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
    server_option.add_options(
        command,
        job="label of the series: what Prometheus calls the application, so that its getters and dashboards see them "
        "(default: none, which is everybody's)",
    )
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
    sqlite_export.add_scales(command)


def run(arguments: argparse.Namespace) -> int:
    """Inspect, import, account, verify."""
    target = _target(arguments)
    if target is None:
        if arguments.verify:
            raise ConfigurationError("--verify is not allowed without a place to write to")
        with read_database(arguments) as history:
            _say_what_was_found(history)
        terminal.say(
            "Nothing was written: name a place with --data, --openmetrics or --victoria-metrics.", style="yellow"
        )
        return 0
    with target.claimed(), read_database(arguments, target.work) as history:
        _say_what_was_found(history)
        job = Importer(history, target, Wanted(arguments.name, arguments.before, arguments.job or ""), time.time())
        _write(job, target)
        url = arguments.prometheus or arguments.victoria_metrics
        return _verify(job, url, arguments.job or "") if arguments.verify else 0


def _target(arguments: argparse.Namespace) -> Target | None:
    """Return the place that was named."""
    if arguments.victoria_metrics is not None:
        url = arguments.victoria_metrics
        # What is there is asked where it is written, whatever server getters read from.
        settings = replace(Settings.from_env(), prometheus_url=arguments.prometheus or url)
        return VictoriaMetrics(url, settings, Path())
    if arguments.openmetrics is not None:
        return OpenMetricsFolder(arguments.openmetrics)
    if arguments.data is None:
        return None
    return DataDirectory(arguments.data, processes.required("promtool", data_files.root()))


def _zone(name: str) -> dt.tzinfo:
    """Return a time zone by its name."""
    if name.upper() == "UTC":
        return dt.timezone.utc
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise argparse.ArgumentTypeError(f"no time zone called {name!r}") from None


def _write(job: Importer, target: Target) -> None:
    target.recover()
    if job.head is not None and isinstance(target, DataDirectory):
        moment = dt.datetime.fromtimestamp(job.head, dt.timezone.utc)
        terminal.say(
            f"A server lives in this directory. What it has recorded since {moment:%Y-%m-%d %H:%M} UTC may not be in blocks yet: "
            "days that reach there have to wait. New blocks are loaded within a minute.",
            style="yellow",
        )
    elif isinstance(target, DataDirectory):
        terminal.say(f"No server uses {target.path} now: one that is to show it has --storage.tsdb.path={target.path}.")
    days = job.open_days()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _interrupted_once():
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
    _say_account(job, target)


@contextmanager
def _interrupted_once() -> Iterator[None]:
    """Let the first Ctrl-C interrupt, and no other: what it began would be left half done, the day at hand and the account of it."""

    def once(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, lambda _number, _frame: None)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, as in the background of a script
        yield
        return
    signal.signal(signal.SIGINT, once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _say_what_was_found(history: OldHistory) -> None:
    report, database = history.report, history.database
    tables = [
        (
            found.table.name,
            "; ".join(
                [
                    *([found.unreadable] if found.unreadable else ()),
                    *(f"{name} is not documented, not read" for name in found.unknown),
                ]
            ),
            f"{report.read[found.table.name]:,}",
            f"{history.reader.cardinality[found.table.name]:,}" if found in database.tables else "",
        )
        for found in database.found
    ]
    tables += [(name, "not documented, not read", "", "") for name in database.unknown]
    terminal.console.print(view.table("Found", ("table", "remarks", "rows", "label combinations"), tables, words=2))
    if database.lacks_log:
        terminal.say(
            f"{database.path.name} is in write-ahead mode, and no {database.path.name}-wal is beside it. That is normal when no "
            "program uses it. A copy made while it was in use lacks the newest rows: copy both files.",
            style="yellow",
        )
    days = history.days()
    if days:
        terminal.say(
            f"{terminal.counted(len(days), 'day')} with data, {date_of(days[0])} to {date_of(days[-1])} (UTC)."
        )
    cardinality = history.builder.cardinality()
    terminal.say(
        f"{len(history.builder.series):,} series a day at most; values per label:",
        ", ".join(f"{name} {number:,}" for name, number in cardinality.items()) or "one each",
    )
    _say_scales(history)
    _say_reasons("Rows that do not fit", report.rejected)
    _say_reasons("Values and labels that do not fit, in rows that do", report.left_out)
    for label, bindings in history.builder.labels.overflow().items():
        terminal.say(f"Label {label}: past its cap, {bindings} label combinations became 'other'.", style="yellow")
    if all(found.unreadable for found in database.found):
        raise ImportFailedError(f"{database.path}: none of its documented tables can be read")


def _say_scales(history: OldHistory) -> None:
    """Say on which scales scores are, and what the live system has to be told so that it sees them as the same."""
    for kind, scales in sorted(history.reader.scales.items()):
        if len(scales) > 1:
            terminal.say(f"Satisfaction type {kind}: scores on both scales; --scale says which.", style="yellow")
        elif history.scales()[kind] == FIVE:
            terminal.say(
                f"Satisfaction type {kind}: scores from 1 to 5. They are kept from 0 to 1, as live ones; "
                f"daily --format sqlite --scale {kind}={FIVE} writes them back."
            )
    for kind in history.of_unknown_scale():
        terminal.say(
            f"Satisfaction type {kind}: all scores are 1, the best from 0 to 1 and the worst from 1 to 5. They count as the "
            f"worst; --scale {kind}=0-1 says otherwise.",
            style="yellow",
        )
    if known := history.scales():
        line = ",".join(f"{kind}={scale}" for kind, scale in known.items())
        terminal.say(f"Tell the live system, as its first scores may not: OTM_SATISFACTION_SCALES={line}")


def _say_reasons(title: str, reasons: Iterable[Reason]) -> None:
    found = list(reasons)
    if found:
        shown = [(r.table, r.what, f"{r.rows:,}", _ids(r)) for r in found[:_ROWS]]
        terminal.console.print(view.table(title, ("table", "what", "rows", "row ids"), shown, words=2))
        if len(found) > _ROWS:
            terminal.say(f"… and {len(found) - _ROWS} other reasons", style="dim")


def _ids(reason: Reason) -> str:
    return ", ".join(reason.first[:_IDS]) + (", …" if len(reason.first) > _IDS else "")


def _say_account(job: Importer, target: Target) -> None:
    report = job.history.report
    report.flush()
    rows = [
        (name, f"{report.read[name]:,}", f"{report.imported[name]:,}", f"{report.rejected_rows(name):,}")
        for name in (found.table.name for found in job.history.database.found)
    ]
    terminal.console.print(view.table("Account", ("table", "read", "imported", "rejected"), rows, words=1))
    _say_reasons("Rejected", report.rejected)
    if not report.balanced():
        raise AssertionError("read is not imported + rejected: please report this")
    terminal.say(
        f"{terminal.counted(len(job.written), 'day')} written, {len(job.skipped)} not. Every rejection: {report.path}"
    )
    # It may do so with its next block only, so that --verify finds everything in place before.
    age = job.age_of_oldest()
    if age > target.kept_days:
        terminal.say(
            f"The oldest of them is {age} days old. A server that is not told to keep data that long "
            f"({target.retention}, {target.kept_days} days without) {target.forgets}.",
            style="yellow",
        )


@contextmanager
def read_database(arguments: argparse.Namespace, folder: Path | None = None) -> Iterator[OldHistory]:
    """Return what an old database holds; without a ``folder`` everything that this writes is gone at the end."""
    with ExitStack() as ends:
        folder = folder or Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="otel-metrics-")))
        settings = Settings.from_env(satisfaction_scales=dict(arguments.scales))
        history = ends.enter_context(opened(arguments.database, folder, settings, arguments.timezone))
        _read_with_progress(history)
        yield history


def _read_with_progress(history: OldHistory) -> None:
    """Read the old database, with a progress bar."""
    names = [found.table.name for found in history.database.found if not found.view]
    with Progress(console=terminal.errors, transient=True) as bar:
        task = bar.add_task("Reading rows", total=sum(map(history.database.count, names)))
        history.read(lambda number: bar.advance(task, number))


def _verify(job: Importer, url: str | None, application: str) -> int:
    """Compare the imported days of an application in a server with SQL; return the exit status."""
    days = job.imported()
    if not days:
        terminal.say("Nothing to verify: no day is imported.", style="yellow")
        return 0
    found: list[sql_check.Difference] = []
    lost: list[sql_check.Difference] = []
    compared = counted = 0
    with server_option.connected(url, application) as server:
        _await(server.source, days[-1])
        with terminal.errors.status("Counting old rows"):
            check = TableCheck(job.history)
        days = sorted({*days, *check.days().difference(job.history.days())})
        for day in track(days, "Verifying days", console=terminal.errors, transient=True):
            sql, known = sql_check.by_sql(job.history, day), sql_check.by_server(server.source, day)
            found += sql_check.differences(day, sql, known)
            lost += check.differences(day, server.source, known)
            compared += sum(map(len, sql.values()))
            counted += check.compared(day)
    terminal.say(
        f"Verified {terminal.counted(len(days), 'day')}: {compared:,} statistics computed by SQL, {len(found)} different in {server.settings.prometheus_url}.",
        style="red" if found else "green",
    )
    terminal.say(
        f"Asked the old tables again: {counted:,} counts, averages and extremes, {len(lost)} not the same.",
        style="red" if lost else "green",
    )
    if different := found + lost:
        shown = [
            (str(d.day), *map(str, d.key), d.column, terminal.number(d.sql, 9), terminal.number(d.server, 9))
            for d in different[:_ROWS]
        ]
        heads = ("date", "feature", "type", "name", "unit", "column", "SQL", "server")
        terminal.console.print(view.table("Different", heads, shown, words=6))
    return 1 if found or lost else 0


def _await(source: Source, day: int) -> None:
    """Wait until the server has loaded the last day's blocks, for as long as it may take."""
    deadline = time.monotonic() + _PATIENCE
    with terminal.errors.status(f"Waiting for the server to load {date_of(day)}"):
        while not sql_check.by_server(source, day) and time.monotonic() < deadline:
            time.sleep(1)
