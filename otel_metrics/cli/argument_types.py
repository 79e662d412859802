"""Types of command-line arguments, and what subcommands share of them: what cannot work is wrong use, told before anything is done."""

from __future__ import annotations

import argparse
import datetime as dt
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import scope
from otel_metrics.errors import ConfigurationError
from otel_metrics.querying.source import MOST_HOURS
from otel_metrics.settings import wrong_address

if TYPE_CHECKING:
    from otel_metrics.assets.scope import Labels

_FIRST_DAY: Final = dt.date(1970, 1, 1)
_LONGEST: Final = 1_000_000
_HIGHEST_PORT: Final = 65535
_DURATION: Final = re.compile(r"(?=[1-9])(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?", re.ASCII)
_TARGET: Final = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+\]):(\d{1,5})", re.ASCII)


def add_root(parser: argparse.ArgumentParser) -> None:
    """Add ``--root``, see :func:`otel_metrics.assets.data_files.root`."""
    parser.add_argument(
        "--root", type=folder, metavar="FOLDER", help="folder with prometheus/ and grafana/ (default: the shipped one)"
    )


def add_by(parser: argparse.ArgumentParser, about: str) -> None:
    """Add ``--by``, which :func:`by` reads."""
    parser.add_argument("--by", default="", metavar="LABEL,…", help=about)


def by(arguments: argparse.Namespace) -> Labels:
    """Return the labels that are kept apart.

    Raises:
        ConfigurationError: one of them cannot be.
    """
    return scope.with_labels(name.strip() for name in arguments.by.split(",") if name)


def seconds(text: str) -> float:
    """Return a time span."""
    value = _number(text)
    if not 0 < value <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: above 0, up to {_LONGEST}")
    return value


def day(text: str) -> dt.date:
    """Return a date by its ISO spelling."""
    try:
        found = dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not YYYY-MM-DD") from None
    if found < _FIRST_DAY:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a day from {_FIRST_DAY} on")
    return found


def days_in_order(first: dt.date | None, last: dt.date | None) -> None:
    """Reject a span of days that ends before it begins.

    Raises:
        ConfigurationError: it does.
    """
    if first is not None and last is not None and last < first:
        raise ConfigurationError(f"--to {last} is before --from {first}")


def hours(text: str) -> float:
    """Return how far to look back."""
    value = _number(text)
    if not 0 < value <= MOST_HOURS:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a number above 0, up to {MOST_HOURS}")
    return value


def count(text: str) -> int:
    """Return how often to do something."""
    return _whole(text, 1, math.inf)


def port(text: str) -> int:
    """Return a port that something listens on."""
    return _whole(text, 1, _HIGHEST_PORT)


def port_or_any(text: str) -> int:
    """Return a port to listen on, 0 for any free one."""
    return _whole(text, 0, _HIGHEST_PORT)


def file_to_write(text: str) -> Path:
    """Return a file that may not be there yet, but whose folder is."""
    try:
        fits = Path(text).parent.is_dir() and not Path(text).is_dir()
    except OSError:  # a name that is too long, or a folder that this user may not look into
        fits = False
    if not fits:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a file, in a folder that is there")
    return Path(text)


def folder(text: str) -> Path:
    """Return a folder, which may not be there yet."""
    path = Path(text)
    try:
        nearest = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
        fits = text != "" and nearest.is_dir()  # what a variable that is not set leaves would be this folder
    except OSError:  # a name that is too long, or a folder that this user may not look into
        fits = False
    if not fits:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a folder, or the name of a new one")
    return path


def duration(text: str) -> str:
    """Return a time as Prometheus spells it."""
    if not _DURATION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a time such as 90d or 5y")
    return text


def target(text: str) -> str:
    """Return the address of something to scrape."""
    found = _TARGET.fullmatch(text)
    if not found or not 0 < int(found[1]) <= _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: HOST:PORT")
    return text


def server(text: str) -> str:
    """Return the address of a server, whose credentials come from files."""
    return _address(wrong_address(text), text)


def link(text: str) -> str:
    """Return an address that links begin with."""
    return _address(wrong_address(text, "an http:// or https:// address, with a path at most"), text)


def _address(wrong: str, text: str) -> str:
    if wrong:
        raise argparse.ArgumentTypeError(wrong)
    return text.rstrip("/")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _whole(text: str, least: int, most: float) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        allowed = f"an integer from {least}" + (f" to {most}" if most < math.inf else "")
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: {allowed}")
    return value
