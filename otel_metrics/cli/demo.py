"""``otel-metrics demo``: the example application at work, its dashboard, and the same dashboard through Prometheus."""

from __future__ import annotations

import importlib
import signal
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import otel_metrics
from otel_metrics.cli import (
    agreement,
    checked,
    daily,
    dashboard,
    live,
    processes,
    reading,
    shipped,
    stack,
    terminal,
    view,
)

if TYPE_CHECKING:
    import argparse

    from otel_metrics.exporter import ServerHandle

_SETTLE: Final = 15.0
"""Seconds that Prometheus gets to scrape the last values."""

_HOURS: Final = 1.0
_ROWS: Final = 20


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "demo", help="run the example application and show its dashboard", description=__doc__
    )
    shipped.add_option(command)
    command.add_argument(
        "--seconds", type=checked.seconds, default=15.0, help="begin new rounds of work for so long (default: 15)"
    )
    command.add_argument("--generations", type=checked.count, help="do a fixed number of rounds instead")
    command.add_argument(
        "--port",
        type=checked.port_or_any,
        help="port of /metrics, 0 for any free one (default: 9464, or any if that is taken)",
    )
    command.add_argument("--no-prometheus", action="store_true", help="do not start Prometheus even if it is at hand")
    command.add_argument("--svg", type=Path, metavar="FILE", help="write the final dashboard as a picture too")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if what Prometheus says is what happened."""
    # SIGTERM ends like Ctrl-C: what was started is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    root = shipped.root(arguments.root)
    shipped.make_example_importable()
    corpus = importlib.import_module("examples.learning_engine.corpus")
    engine = importlib.import_module("examples.learning_engine.engine").LearningEngine(corpus.sources())
    otel_metrics.configure(prometheus_url=None, strict=False)
    with ExitStack() as stack_of_things:
        stack_of_things.callback(otel_metrics.shutdown)
        server = stack_of_things.enter_context(_serve(arguments.port))
        terminal.say("Metrics:   ", server.url)
        prometheus = None if arguments.no_prometheus else _prometheus(root, server, stack_of_things)
        if prometheus:
            terminal.say("Prometheus:", prometheus.url)
        _work(engine, arguments)
        return _report(prometheus, arguments.svg)


def _serve(port: int | None) -> ServerHandle:
    try:
        return otel_metrics.serve() if port is None else otel_metrics.serve(port=port)
    except OSError:
        if port is not None:
            raise
        return otel_metrics.serve(port=0)


def _prometheus(root: Path, server: ServerHandle, cleanup: ExitStack) -> processes.Server | None:
    program = processes.find("prometheus", root)
    if program is None:
        terminal.say(
            "Prometheus: none on PATH, in OTM_SERVERS or in .cache/servers (`make servers` fetches it); going on without.",
            style="yellow",
        )
        return None
    folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="otel-metrics-")))
    started = stack.prometheus(
        program, root, folder, application=f"{processes.HOST}:{server.port}", port=processes.free_port(), interval="1s"
    )
    try:
        return cleanup.enter_context(started)
    except processes.ServerError as error:
        terminal.say(f"Prometheus: {error}; going on without.", style="yellow")
        return None


def _work(engine: Any, arguments: argparse.Namespace) -> None:
    """Run the engine in a thread of its own, so that this one can draw, and take Ctrl-C."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            engine.run(generations=arguments.generations, seconds=None if arguments.generations else arguments.seconds)
        except BaseException as error:  # to be raised where it can be seen
            failed.append(error)

    worker = threading.Thread(target=work, name="engine")
    worker.start()
    try:
        live.show(worker, engine.progress)
    finally:
        engine.stop()
        worker.join()
    if failed:
        raise failed[0]


def _report(prometheus: processes.Server | None, svg: Path | None) -> int:
    metrics, console = otel_metrics.get_advanced_metrics(), terminal.console
    shown, origin = metrics.get_comprehensive_dashboard(hours=_HOURS), ""
    console.print(view.dashboard(shown, width=console.width))
    today = metrics.aggregate_daily_metrics()
    most = sorted(today, key=lambda row: -row["count"])[:_ROWS]
    title = f"Today's daily table, the {len(most)} rows of {len(today)} with the most values"
    console.print(daily.table(most, console.width, title))
    rows: list[agreement.Row] = []
    if prometheus:
        shown, rows = _read_back(prometheus.url)
        origin = prometheus.url
        console.print(live.side_by_side(rows))
        console.print(live.verdict(rows))
    if svg:
        dashboard.save(shown, origin, svg)
    return 0 if all(row.agrees for row in rows) else 1


def _read_back(url: str) -> tuple[dict[str, Any], list[agreement.Row]]:
    """Return the dashboard through PromQL and how it compares, once Prometheus has seen everything or had time enough."""
    deadline = time.monotonic() + _SETTLE
    with reading.reader(url) as (there, _):
        while True:
            local = otel_metrics.get_advanced_metrics().get_comprehensive_dashboard(hours=_HOURS)
            remote = there.get_comprehensive_dashboard(hours=_HOURS)
            rows = agreement.rows(local, remote)
            if all(row.agrees for row in rows) or time.monotonic() > deadline:
                return remote, rows
            time.sleep(0.3)
