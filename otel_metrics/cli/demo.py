"""``otel-metrics demo``: the example application at work, one incident, and its dashboard, also through Prometheus."""

from __future__ import annotations

import errno
import importlib
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import otel_metrics
from otel_metrics.assets import data_files
from otel_metrics.cli import (
    argument_types,
    daily,
    dashboard,
    demo_incident,
    demo_view,
    processes,
    server_option,
    stack,
    terminal,
    view,
)
from otel_metrics.errors import ConfigurationError, MetricsError

if TYPE_CHECKING:
    import argparse

    from otel_metrics.cli.demo_view import ComparedNumber
    from otel_metrics.exporter import ServerHandle
    from otel_metrics.results import Dashboard

_SETTLE: Final = 15.0
"""Seconds that Prometheus gets to scrape the last values."""

_HOUR: Final = 15.0
"""Seconds in which an hour passes to the alerts on features."""

_HOURS: Final = 1.0
_ROWS: Final = 20


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "demo", help="run the example application and show its dashboard", description=__doc__
    )
    argument_types.add_root(command)
    command.add_argument(
        "--seconds",
        type=argument_types.seconds,
        default=10.0,
        help="begin new rounds of work for so long before the incident (default: 10)",
    )
    command.add_argument(
        "--generations", type=argument_types.count, help="do a fixed number of rounds before it instead"
    )
    command.add_argument(
        "--port",
        type=argument_types.port_or_any,
        help="port of /metrics, 0 for any free one (default: 9464, or any if that is taken)",
    )
    command.add_argument("--no-prometheus", action="store_true", help="do not start Prometheus even if it is at hand")
    command.add_argument(
        "--svg", type=argument_types.file_to_write, metavar="FILE", help="write the final dashboard as a picture too"
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if what Prometheus says is what happened, alerts included."""
    # SIGTERM ends like Ctrl-C: what was started is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    root = data_files.root(arguments.root)
    _make_example_importable()
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
            terminal.say(f"To its alerts on features an hour passes in {_HOUR:g} seconds.", style="dim")
        as_announced = _work(engine, arguments, prometheus)
        return max(_report(prometheus, arguments.svg), 0 if as_announced else 1)


def _serve(port: int | None) -> ServerHandle:
    server = otel_metrics.serve(port=port)
    if server.listening:
        return server
    server.close()
    if port is not None:
        raise OSError(errno.EADDRINUSE, f"{server.url}: address already in use")
    return otel_metrics.serve(port=0)


def _prometheus(root: Path, server: ServerHandle, cleanup: ExitStack) -> processes.Server | None:
    folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="otel-metrics-")))
    application = f"{processes.HOST}:{server.port}"
    try:
        started = stack.prometheus(
            processes.required("prometheus", root),
            root,
            folder,
            applications=[application],
            port=processes.free_port(),
            interval="500ms",
            haste=3600 / _HOUR,
        )
        return cleanup.enter_context(started)
    except MetricsError as error:
        terminal.say(f"Prometheus: {error}; going on without.", style="yellow")
        return None


def _work(engine: Any, arguments: argparse.Namespace, prometheus: processes.Server | None) -> bool:
    """Run the engine in a thread of its own, so that this one can draw, and take Ctrl-C; say whether alerts did as announced.

    Without a Prometheus there are no alerts, and so no incident.
    """
    seconds = None if arguments.generations else arguments.seconds
    with ThreadPoolExecutor(2) as threads:
        if prometheus:
            working = threads.submit(engine.run)
            telling = threads.submit(
                demo_incident.tell, engine, prometheus.url, _HOUR, generations=arguments.generations, seconds=seconds
            )
        else:
            working = threads.submit(engine.run, generations=arguments.generations, seconds=seconds)
            telling = None
        try:
            demo_view.show(working, engine.progress)
        finally:
            engine.stop()
        working.result()
        return telling is None or telling.result()


def _report(prometheus: processes.Server | None, svg: Path | None) -> int:
    metrics, console = otel_metrics.get_advanced_metrics(), terminal.console
    shown, origin = metrics.get_comprehensive_dashboard(hours=_HOURS), ""
    console.print(view.dashboard(shown, width=console.width))
    today = metrics.aggregate_daily_metrics()
    most = sorted(today, key=lambda row: -row["count"])[:_ROWS]
    title = f"Today's daily table, the {len(most)} rows of {len(today)} with the most values"
    console.print(daily.table(most, console.width, title))
    rows: list[ComparedNumber] = []
    overview = None
    if prometheus:
        shown, overview, rows = _read_back(prometheus.url)
        origin = prometheus.url
        console.print(demo_view.side_by_side(rows))
        console.print(demo_view.verdict(rows))
    if svg:
        dashboard.save(shown, overview, origin, svg)
    return 0 if all(row.agrees for row in rows) else 1


def _read_back(url: str) -> tuple[Dashboard, view.Overview, list[ComparedNumber]]:
    """Return the dashboard through PromQL, its features, and how it compares, once Prometheus has seen everything or had time enough."""
    deadline = time.monotonic() + _SETTLE
    with server_option.connected(url) as runtime:
        while True:
            local = otel_metrics.get_advanced_metrics().get_comprehensive_dashboard(hours=_HOURS)
            remote = runtime.advanced.get_comprehensive_dashboard(hours=_HOURS)
            rows = demo_view.compared(local, remote)
            if all(row.agrees for row in rows) or time.monotonic() > deadline:
                return remote, dashboard.look(runtime, _HOURS), rows
            time.sleep(0.3)


def _make_example_importable() -> None:
    """Put the folder that holds ``examples/`` on the path for imports.

    Raises:
        ConfigurationError: the example is not shipped with this installation.
    """
    for place in data_files.PLACES:
        if (place / "examples" / "learning_engine").is_dir():
            if str(place) not in sys.path:
                sys.path.insert(0, str(place))
            return
    raise ConfigurationError("the example application is not part of this installation; run in a checkout")
