"""``otel-metrics dashboard``: ``get_comprehensive_dashboard`` from a Prometheus server, on the terminal or as JSON."""

from __future__ import annotations

import io
import json
import re
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live

from otel_metrics.cli import argument_types, server_option, terminal, view
from otel_metrics.errors import ConfigurationError, QueryError
from otel_metrics.results import json_safe

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

    from otel_metrics.facade.advanced import AdvancedMetrics
    from otel_metrics.results import Dashboard


_PICTURE_WIDTH: Final = 110
_SHORTEST_PAUSE: Final = 0.2


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
    command.add_argument("--svg", type=Path, metavar="FILE", help="write it as a picture too")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read and show the dashboard."""
    if arguments.watch is not None and (arguments.json or arguments.svg):
        raise ConfigurationError("--watch shows the dashboard to people; --json and --svg are not allowed with it")
    with server_option.reader(arguments.prometheus, arguments.job) as (metrics, url):
        if arguments.watch is not None:
            _watch(metrics, url, arguments)
            return 0
        data = metrics.get_comprehensive_dashboard(feature=arguments.feature, hours=arguments.hours)
    if arguments.json:
        print(json.dumps(json_safe(data), indent=2, allow_nan=False, default=str))
    else:
        terminal.console.print(view.dashboard(data, origin=url, width=terminal.console.width))
    if arguments.svg:
        save(data, url, arguments.svg)
    return 0


def save(data: Dashboard, url: str, file: Path) -> None:
    """Write the dashboard to ``file`` as SVG."""
    recorder = Console(record=True, width=_PICTURE_WIDTH, file=io.StringIO(), force_terminal=True)
    recorder.print(view.dashboard(data, origin=url, width=_PICTURE_WIDTH))
    # Without the fonts that Rich would have the reader's browser load from somewhere else.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", recorder.export_svg(title="otel-metrics dashboard"), flags=re.DOTALL)
    file.write_text(picture, encoding="utf-8")


def _watch(metrics: AdvancedMetrics, url: str, arguments: argparse.Namespace) -> None:
    pause, console = max(_SHORTEST_PAUSE, arguments.watch), terminal.console
    with Live(console=console, auto_refresh=False, screen=True) if console.is_terminal else nullcontext() as screen:
        while True:
            shown: RenderableType
            try:
                data = metrics.get_comprehensive_dashboard(feature=arguments.feature, hours=arguments.hours)
                shown = view.dashboard(data, origin=url, width=console.width)
            except QueryError as error:
                # Someone who watches wants to see it come back, too.
                shown = terminal.plain(error, "bold red", 2000)
            if screen:
                screen.update(shown, refresh=True)
            else:
                console.print(shown)
            time.sleep(pause)
