"""Where the shipped files are: rules, dashboards, configuration, the example."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from otel_metrics.assets.places import PLACES
from otel_metrics.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--root``."""
    parser.add_argument("--root", type=Path, help="folder with prometheus/ and grafana/ (default: the shipped one)")


def root(given: Path | None = None) -> Path:
    """Return the folder that holds ``prometheus/`` and ``grafana/``.

    Raises:
        ConfigurationError: there is none; the message says where it was looked for.
    """
    places = (given.resolve(),) if given else PLACES
    for place in places:
        if (place / "prometheus").is_dir():
            return place
    looked = ", ".join(map(str, places))
    raise ConfigurationError(f"no folder prometheus/ in {looked}; run in a checkout or name one with --root")


def make_example_importable() -> None:
    """Put the folder that holds ``examples/`` on the path for imports.

    Raises:
        ConfigurationError: the example is not shipped with this installation.
    """
    for place in PLACES:
        if (place / "examples" / "learning_engine").is_dir():
            if str(place) not in sys.path:
                sys.path.insert(0, str(place))
            return
    raise ConfigurationError("the example application is not part of this installation; run in a checkout")
