"""The table of what was asked of the package and what was found, the peers beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Row(NamedTuple):
    """One line; ``asked`` is the most that ours may be, where nothing else is said."""

    what: str
    asked: str
    ours: str
    opentelemetry: str = "–"
    client: str = "–"


HEAD = "| | asked | ours | OpenTelemetry | prometheus_client |\n|---|---|---|---|---|"


def line(row: Row) -> str:
    """Return a row of the table in Markdown."""
    return f"| {' | '.join(row)} |"


def show(rows: Iterable[Row]) -> list[Row]:
    """Print rows as they come, and return them."""
    print(HEAD)
    shown = []
    for row in rows:
        print(line(row), flush=True)
        shown.append(row)
    return shown


def part(ratio: float) -> str:
    """Return a ratio as it is read most easily."""
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.0f}" if ratio else "–"
