"""``otel-metrics serve``: run a function of yours in this process and serve its metrics meanwhile."""

from __future__ import annotations

import argparse
import asyncio
import errno
import importlib
import inspect
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import otel_metrics
from otel_metrics.cli import argument_types, terminal
from otel_metrics.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

_HIGHEST_STATUS: Final = 255


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "serve",
        help="run MODULE:FUNCTION and serve its metrics",
        description="Run MODULE:FUNCTION in this process and serve its metrics meanwhile; ends when the function returns. "
        "Without a function: serve this process's own metrics until Ctrl-C, enough to try a scrape configuration.",
    )
    command.add_argument(
        "function", nargs="?", metavar="MODULE:FUNCTION", help="what to run; a coroutine function runs in an event loop"
    )
    command.add_argument("arguments", nargs=argparse.REMAINDER, help="sys.argv[1:] of the function")
    command.add_argument("--host", help="address to listen on (default: OTEL_EXPORTER_PROMETHEUS_HOST or localhost)")
    command.add_argument(
        "--port",
        type=argument_types.port_or_any,
        help="port, 0 for any free one (default: OTEL_EXPORTER_PROMETHEUS_PORT or 9464)",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve, and run the function."""
    function = _load(arguments.function) if arguments.function else _wait
    given = {name: value for name in ("host", "port") if (value := getattr(arguments, name)) is not None}
    otel_metrics.configure(**given)
    # SIGTERM, as containers and service managers send it, ends like Ctrl-C: the server is closed on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.argv = [arguments.function or "otel-metrics", *arguments.arguments]
    try:
        with otel_metrics.serve() as server:
            if not server.listening:
                raise OSError(errno.EADDRINUSE, f"{server.url}: address already in use")
            terminal.say("Metrics:", server.url)
            result = _called(function)
    finally:
        otel_metrics.shutdown()
    if isinstance(result, bool) or not isinstance(result, int):
        return 0
    return result if 0 <= result <= _HIGHEST_STATUS else 1  # the system would take 256 for 0


def _called(function: Callable[[], Any]) -> Any:
    try:
        result = function()
        # Not by what the function is: a decorated one, or an object, returns a coroutine as well.
        return asyncio.run(result) if inspect.iscoroutine(result) else result
    except Exception:
        # An error of the application's, whatever it is: one line of ours would not tell where.
        traceback.print_exc()
        return 1


def _load(name: str) -> Callable[[], Any]:
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise ConfigurationError(f"{name!r} is not allowed; allowed: MODULE:FUNCTION")
    # As `python -m` does; a console script would not find modules of the current folder.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{name} cannot be loaded: {error}") from error
    if not callable(found):
        raise ConfigurationError(f"{name} is a {type(found).__name__}; allowed: something that can be called")
    return found  # type: ignore[no-any-return]


def _wait() -> int:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        terminal.say("Stopped.")
    return 0
