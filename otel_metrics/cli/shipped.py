"""Where the shipped files are: rules, dashboards, configuration, the example."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_metrics.assets.places import INSTALLED, PLACES
from otel_metrics.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

_BY_HAND: Final = (
    "prometheus/prometheus.yml",
    "prometheus/alertmanager.yml",
    "grafana/provisioning/dashboards/otel_metrics.yml",
    "grafana/provisioning/datasources/prometheus.yml",
)
"""Configuration that is meant to be changed: it is copied once."""


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--root``."""
    parser.add_argument(
        "--root", type=Path, metavar="FOLDER", help="folder with prometheus/ and grafana/ (default: the shipped one)"
    )


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


def folder_to_write(given: Path | None) -> Path:
    """Return the folder that files are written to; one that is given need not exist yet.

    Raises:
        ConfigurationError: none is given, and what is shipped belongs to an installed package.
    """
    if given:
        return given.resolve()
    place = root()
    if place == INSTALLED:
        raise ConfigurationError(f"{place} belongs to the installation and is not written; name a folder with --root")
    return place


def copy_missing(target: Path) -> list[Path]:
    """Copy what is shipped and not generated to ``target``, unless it is there already; return what was written."""
    source, written = root(), []
    for name in _BY_HAND:
        if not (target / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)
            written.append(target / name)
    return written


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
