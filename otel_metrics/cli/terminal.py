"""What commands print. On a terminal, text from metrics and servers is data: no markup, no control characters, no endless lines.

:func:`print_json` and :func:`print_csv` are for programs.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import re
import sys
import unicodedata
from itertools import chain
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from otel_metrics.results import json_safe

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST: Final = 200
_WIDTH_OF_FILES: Final = 140
ABSENT: Final = "–"
_FORMULA: Final = re.compile(r"(^|[;,|\t\r\n])(?=[\s\"']*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r])")
"""Where a spreadsheet would find a formula: at the beginning, and where some split a line; with signs of either width."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Rich would end the program here, with the status of a failure.
        raise BrokenPipeError


console: Final = _Console(highlight=False)
errors: Final = _Console(stderr=True, highlight=False)

# Control, format (among them those that change the direction of writing), surrogates, line and paragraph separators.
_UNFIT: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def prepare() -> None:
    """Make the standard streams take any character, replaced where they have no way to show it; files have room enough."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDTH_OF_FILES


def clean(value: object, longest: int = LONGEST) -> str:
    """Return ``value`` as text that cannot steer a terminal, cut to ``longest`` characters."""
    text = str(value)
    cut = text[:longest] + "…" if len(text) > longest else text
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in _UNFIT else character for character in cut
    )


def plain(value: object, style: str = "", longest: int = LONGEST) -> Text:
    """Return :func:`clean` text that is never read as markup."""
    return Text(clean(value, longest), style)


def say(*parts: object, style: str = "") -> None:
    """Print ``parts``, cleaned, each a word of one line that the terminal may wrap."""
    console.print(
        Text(" ").join(part if isinstance(part, Text) else plain(part, style, 1000) for part in parts), soft_wrap=True
    )


def fail(error: object) -> None:
    """Print an error to standard error; that of a file begins with its path."""
    if isinstance(error, OSError) and error.filename is not None:
        error = f"{error.filename}: {error.strerror}"
    errors.print(Text("otel-metrics: ", "bold red") + plain(error, longest=2000), soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning to standard error."""
    errors.print(plain(text, "yellow", 1000), soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value for a program, with null for what is not a number."""
    print(json.dumps(json_safe(value), indent=2, allow_nan=False, default=str))


def print_csv(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> None:
    """Print a table for a program, or a spreadsheet, which finds no formula in it."""
    writer = csv.writer(sys.stdout)
    for row in chain([columns], rows):
        writer.writerow([cell(json_safe(value)) for value in row])


def cell(value: object) -> object:
    """Return ``value`` for a CSV file: what a spreadsheet would take for a formula has an apostrophe before it."""
    if isinstance(value, list):
        value = " ".join(map(str, value))
    elif isinstance(value, dict):
        value = json.dumps(value)
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else value


def number(value: object, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits, thousands apart; what is no number, or none at all, is absent."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return ABSENT
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4 or magnitude > 12:
        return f"{value:.{digits - 2}e}"
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


def counted(amount: int, noun: str) -> str:
    """Return how many there are of something."""
    return f"{amount:,} {noun}{'s' * (amount != 1)}"


def percent(share: object) -> str:
    """Return a share of one as a percentage."""
    shown = number(share if isinstance(share, bool) or not isinstance(share, (int, float)) else share * 100, 3)
    return shown if shown == ABSENT else f"{shown} %"


class _Handler(logging.Handler):
    """Shows log records as lines of the terminal, also while something live is being drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            style = "red" if record.levelno >= logging.ERROR else "yellow"
            # On a terminal that shows both, what is drawn live makes room only for what its own console prints.
            shared = console.is_terminal and errors.is_terminal
            (console if shared else errors).print(
                Text(f"{record.levelname.lower()}: ", style) + plain(record.getMessage(), longest=1000), soft_wrap=True
            )
        except Exception:
            self.handleError(record)


def log_handler() -> logging.Handler:
    """Return a handler that prints log records, cleaned, to standard error."""
    return _Handler()
