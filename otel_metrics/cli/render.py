"""``otel-metrics render``: write the rules and dashboards that the catalogue yields, or check that they are up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.assets import render
from otel_metrics.assets.promql import Histograms
from otel_metrics.cli import shipped, terminal

if TYPE_CHECKING:
    import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("render", help="write rules and dashboards from the catalogue", description=__doc__)
    shipped.add_option(command)
    command.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a file is not what would be written"
    )
    command.add_argument(
        "--histograms",
        choices=[kind.value for kind in Histograms],
        default=Histograms.CLASSIC.value,
        help="what the Prometheus server stores (default: %(default)s, as shipped)",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write, or check."""
    root, histograms = shipped.root(arguments.root), Histograms(arguments.histograms)
    if not arguments.check:
        for path in render.write(root, histograms):
            terminal.say("wrote", path.relative_to(root))
        return 0
    drifted = render.check(root, histograms)
    for path in drifted:
        terminal.say("not what `otel-metrics render` writes:", path.relative_to(root), style="red")
    return 1 if drifted else 0
