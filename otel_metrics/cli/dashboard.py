"""``otel-metrics dashboard``: what a Prometheus server knows of one feature, or of all, on the terminal or as JSON."""

from __future__ import annotations

import io
import re
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from otel_metrics import catalogue as c
from otel_metrics.assets.telemetry_alerts import HEARTBEAT_SEVERITY
from otel_metrics.cli import argument_types, server_option, terminal, view
from otel_metrics.errors import ConfigurationError, QueryError
from otel_metrics.promql import Series, equal, unequal
from otel_metrics.querying.questions import inquiry_of
from otel_metrics.querying.source import DistributionQuery, Period, TotalQuery

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from rich.console import ConsoleOptions, RenderableType, RenderResult

    from otel_metrics.results import Dashboard
    from otel_metrics.runtime import Runtime


_PICTURE_WIDTH: Final = 110
_SHORTEST_PAUSE: Final = 0.2
FIRING: Final = Series("ALERTS", (equal("alertstate", "firing"), unequal("severity", HEARTBEAT_SEVERITY)))


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("dashboard", help="show the dashboard of one feature, or of all", description=__doc__)
    server_option.add_options(command)
    command.add_argument("--feature", help="one feature (default: all)")
    command.add_argument("--hours", type=argument_types.hours, default=24.0, help="how far to look back (default: 24)")
    command.add_argument("--json", action="store_true", help="print JSON; what is not known is null")
    command.add_argument(
        "--watch",
        type=argument_types.seconds,
        metavar="SECONDS",
        help="show it again and again until Ctrl-C; not with --json or --svg",
    )
    command.add_argument("--svg", type=argument_types.file_to_write, metavar="FILE", help="write it as a picture too")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read and show the dashboard."""
    if arguments.watch is not None and (arguments.json or arguments.svg):
        raise ConfigurationError("--watch shows the dashboard to people; --json and --svg are not allowed with it")
    with server_option.connected(arguments.prometheus, arguments.job) as runtime:
        if arguments.watch is not None:
            _watch(runtime, arguments)
            return 0
        url = str(runtime.settings.prometheus_url)
        data = runtime.advanced.get_comprehensive_dashboard(feature=arguments.feature, hours=arguments.hours)
        overview = None if arguments.json else look(runtime, arguments.hours, arguments.feature)
    if arguments.json:
        terminal.print_json(data)
    else:
        terminal.console.print(view.dashboard(data, overview=overview, origin=url, width=terminal.console.width))
    if arguments.svg:
        save(data, overview, url, arguments.svg)
    return 0


def look(runtime: Runtime, hours: float, feature: str | None = None) -> view.Overview:
    """Return the features side by side, and the alerts that fire on them, as the server of ``runtime`` knows them."""
    now = time.time()
    where = () if feature is None else ((c.FEATURE.name, feature),)
    by = (c.FEATURE.name,)
    features = runtime.source.fetch(
        {
            "uses": TotalQuery(c.USAGE, (*by, c.OUTCOME.name), where),
            "errors": TotalQuery(c.ERRORS, by, where),
            "scores": DistributionQuery(c.SATISFACTION_SCORE, by, where),
            "durations": DistributionQuery(c.PERFORMANCE_DURATION, by, where),
        },
        Period.last(hours, now),
    )
    uses = runtime.source.ask(inquiry_of("use-trend", hours, now, feature=feature))
    alerts = runtime.source.ask(inquiry_of(str(FIRING), hours, now))
    wanted = {**uses.scope, **dict(where)}
    # An alert that keeps no label, such as the job, may be about it.
    firing = [
        alert.labels
        for alert in alerts.rows
        if all(alert.labels.get(name, value) == value for name, value in wanted.items())
    ]
    return view.Overview(features, uses, firing)


def save(data: Dashboard, overview: view.Overview | None, url: str, file: Path) -> None:
    """Write the dashboard to ``file`` as SVG."""
    recorder = Console(record=True, width=_PICTURE_WIDTH, file=io.StringIO(), force_terminal=True)
    recorder.print(view.dashboard(data, overview=overview, origin=url, width=_PICTURE_WIDTH))
    # Without the fonts that Rich would have the reader's browser load from somewhere else.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", recorder.export_svg(title="otel-metrics dashboard"), flags=re.DOTALL)
    file.write_text(picture, encoding="utf-8")


class _Screen:
    """As much as a terminal has lines for. The last line is kept for what else there is to say, so that no row ever moves for it."""

    def __init__(self, shown: RenderableType, note: Text | None) -> None:
        self._shown = shown
        self._note = note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._shown, options.reset_height(), pad=False)
        room = console.height - 1
        for line in lines[:room]:
            yield from line
            yield Segment.line()
        if self._note is not None:
            yield from ([Segment.line()] * (room - len(lines)))
            yield self._note
        elif len(lines) > room:
            yield Text(f"{len(lines) - room} more lines, on a higher terminal", "dim")


def _watch(runtime: Runtime, arguments: argparse.Namespace) -> None:
    pause, console = max(_SHORTEST_PAUSE, arguments.watch), terminal.console
    url = str(runtime.settings.prometheus_url)
    shown: RenderableType = Text()
    with Live(console=console, auto_refresh=False, screen=True) if console.is_terminal else nullcontext() as screen:
        while True:
            note = None
            try:
                data = runtime.advanced.get_comprehensive_dashboard(feature=arguments.feature, hours=arguments.hours)
                overview = look(runtime, arguments.hours, arguments.feature)
                shown = view.dashboard(data, overview=overview, origin=url, width=console.width)
            except QueryError as error:
                # Someone who watches wants to see it come back, too, and the last answer until then.
                note = terminal.plain(error, "bold red", 2000)
                note.truncate(console.width, overflow="ellipsis")
            if screen:
                screen.update(_Screen(shown, note), refresh=True)
            else:
                console.print(note or shown)
            time.sleep(pause)
