"""``otel-metrics render``: write the rules and dashboards that the catalogue yields, or check that they are up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write, or check."""
    from otel_metrics.assets import render

    root = shipped.root(arguments.root)
    if not arguments.check:
        for path in render.write(root):
            terminal.say("wrote", path)
        return 0
    wrong = render.check(root)
    for line in wrong:
        terminal.say(line, style="red")
    return 1 if wrong else 0
