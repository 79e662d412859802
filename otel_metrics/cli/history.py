"""What ``import`` and ``compare`` share: reading the old database with a progress bar, and reading days back from the server."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.progress import Progress, track

from otel_metrics.cli import reading, terminal, view
from otel_metrics.importing import verify as verification
from otel_metrics.importing.ledger import Ledger
from otel_metrics.importing.rows import Rows, date_of
from otel_metrics.importing.tables import OldDatabase
from otel_metrics.importing.witness import Witness
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from otel_metrics.importing.job import Import
    from otel_metrics.querying.source import Source

__all__ = ["date_of", "progress_of", "read", "settings", "verify"]

_SHOWN: Final = 20
_PATIENCE: Final = 150.0
"""Seconds that a server gets to load new blocks; Prometheus looks for them once a minute."""


@contextmanager
def read(arguments: argparse.Namespace) -> Iterator[Rows]:
    """Return what an old database holds; everything that this writes is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="otel-metrics-") as folder:
        database = OldDatabase(arguments.database)
        ledger = Ledger(Path(folder) / "rejected.csv")
        try:
            rows = Rows(database, ledger, settings(arguments), arguments.timezone, Path(folder) / "rows")
            progress_of(rows)
            yield rows
        finally:
            ledger.close()
            database.close()


def settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings from the environment, with the scales that were named."""
    return Settings.from_env(satisfaction_scales=dict(arguments.scales))


def progress_of(rows: Rows) -> None:
    """Read the old database, with a progress bar."""
    names = [found.table.name for found in rows.database.found]
    with Progress(console=terminal.errors, transient=True) as bar:
        task = bar.add_task("Reading rows", total=sum(map(rows.database.count, names)))
        rows.read(lambda number: bar.advance(task, number))


def verify(job: Import, url: str | None) -> int:
    """Compare imported days in a server with SQL; return the exit status."""
    days = job.imported()
    if not days:
        terminal.say("Nothing to verify: no day is imported.", style="yellow")
        return 0
    found: list[verification.Difference] = []
    lost: list[verification.Difference] = []
    compared = counted = 0
    with reading.connected(url) as server:
        _await(server.source, days[-1])
        with terminal.errors.status("Counting old rows"):
            witness = Witness(job.rows)
        days = sorted({*days, *witness.days().difference(job.rows.days())})
        for day in track(days, "Verifying days", console=terminal.errors, transient=True):
            sql, known = verification.by_sql(job.rows, day), verification.by_server(server.source, day)
            found += verification.differences(day, sql, known)
            lost += witness.differences(day, server.source, known)
            compared += sum(map(len, sql.values()))
            counted += witness.compared(day)
    terminal.say(
        f"Verified {len(days)} days: {compared:,} statistics computed by SQL, {len(found)} different in {server.settings.prometheus_url}.",
        style="red" if found else "green",
    )
    terminal.say(
        f"Asked the old tables again: {counted:,} counts, averages and extremes, {len(lost)} not the same.",
        style="red" if lost else "green",
    )
    if different := found + lost:
        shown = [
            (str(d.day), *map(str, d.key), d.column, terminal.number(d.sql, 9), terminal.number(d.server, 9))
            for d in different[:_SHOWN]
        ]
        heads = ("date", "feature", "type", "name", "unit", "column", "SQL", "server")
        terminal.console.print(view.table("Different", heads, shown, words=6))
    return 1 if found or lost else 0


def _await(source: Source, day: int) -> None:
    """Wait until the server has loaded the last day's blocks, for as long as it may take."""
    deadline = time.monotonic() + _PATIENCE
    with terminal.errors.status(f"Waiting for the server to load {date_of(day)}"):
        while not verification.by_server(source, day) and time.monotonic() < deadline:
            time.sleep(1)
