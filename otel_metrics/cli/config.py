"""``otel-metrics config``: every setting as an application in this folder and environment has it, and where its value comes from."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.cli import terminal, view
from otel_metrics.settings import ENVIRONMENT, Found, Settings, found

if TYPE_CHECKING:
    import argparse

_DEFAULT: Final = "default"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "config",
        help="show every setting and where its value comes from",
        description=f"{__doc__} Arguments of configure() win over these and are not known here.",
    )
    command.add_argument("--format", choices=("table", "json"), default="table")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the settings; those that cannot work are told instead, without secrets."""
    given = found()
    settings = Settings(**{name: value for name, (value, _) in given.items()})
    rows = {
        field.name: given.get(field.name, Found(getattr(settings, field.name), _DEFAULT))
        for field in fields(settings)
        if field.name in ENVIRONMENT
    }
    if arguments.format == "json":
        terminal.print_json({name: row._asdict() for name, row in rows.items()})
    else:
        shown = [(name, _text(row.value), _origin(row.origin)) for name, row in rows.items()]
        terminal.console.print(view.table("Settings", ("setting", "value", "from"), shown, words=3))
    return 0


def _text(value: Any) -> str:
    if value is None or value == {}:
        return terminal.ABSENT
    return ", ".join(f"{name}={each}" for name, each in value.items()) if isinstance(value, dict) else str(value)


def _origin(origin: str) -> Any:
    return terminal.plain(origin, "dim" if origin == _DEFAULT else "")
