"""The command ``otel-metrics``. Each subcommand is one module with ``add(commands)``, which sets the parser's ``run``; :func:`parser` lists them."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import logging
import os
import sys
from typing import TYPE_CHECKING, Final

from otel_metrics.errors import ConfigurationError, MetricsError
from otel_metrics.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

OK: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 130
_PIPE_CLOSED: Final = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status: 0 all is well, 1 it failed, 2 wrong use, 130 interrupted."""
    if importlib.util.find_spec("rich") is None or importlib.util.find_spec("yaml") is None:
        print("The command line needs its extra: pip install 'otel-metrics-bridge[cli]'", file=sys.stderr)
        return WRONG_USE
    from otel_metrics.cli import terminal

    terminal.prepare()
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", handlers=[terminal.log_handler()]
    )
    arguments = parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()  # here, where it can still be told that there was no room, or nobody to read it
    except ConfigurationError as error:
        terminal.fail(error)
        return WRONG_USE
    except (MetricsError, OSError) as error:
        if not isinstance(error, BrokenPipeError):  # else whoever read our output has seen enough (| head)
            terminal.fail(error)
        _forget_unwritten()
        return _PIPE_CLOSED if isinstance(error, BrokenPipeError) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def parser() -> argparse.ArgumentParser:
    """Return the parser with every subcommand."""
    from otel_metrics.cli import compare, config, daily, dashboard, demo, doctor, import_, query, render, serve, stack

    top = argparse.ArgumentParser(
        prog="otel-metrics",
        description="Metrics of the documented tracker, on OpenTelemetry and Prometheus.",
        formatter_class=functools.partial(argparse.HelpFormatter, max_help_position=30),
    )
    top.add_argument("-V", "--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (demo, dashboard, daily, query, import_, compare, serve, stack, render, config, doctor):
        command.add(commands)
    for name, described in commands.choices.items():
        # Most describe themselves as their module does, which is marked up.
        words = str(described.description).removeprefix(f"``otel-metrics {name}``: ").replace("`", "")
        described.description = words[:1].upper() + words[1:]
    return top


def _forget_unwritten() -> None:
    """Drop output that nobody takes: Python would complain once more, and change the status, when it flushes at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
