"""The files that are shipped beside the code: where rules, dashboards, configuration and the example are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from otel_metrics.assets import files
from otel_metrics.errors import ConfigurationError

_PACKAGE: Final = Path(__file__).resolve().parents[1]

INSTALLED: Final = _PACKAGE / "_shipped"
"""Inside an installed package."""

PLACES: Final = (INSTALLED, _PACKAGE.parent)
"""Where to look, one after the other: inside an installed package, at the top of a checkout."""

_PROMETHEUS: Final = "prometheus/prometheus.yml"
_BY_HAND: Final = (
    _PROMETHEUS,
    "prometheus/alertmanager.yml",
    "prometheus/service_levels.yml",
    "grafana/provisioning/dashboards/otel_metrics.yml",
    "grafana/provisioning/datasources/prometheus.yml",
)
"""Configuration that is meant to be changed: it is copied once."""


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


def copy_missing(target: Path, dialect: str) -> list[Path]:
    """Copy what is shipped and not generated to ``target``, unless it is there already; return what was written.

    Of ``prometheus.yml`` that of the ``dialect`` is taken.
    """
    source, written = root(), []
    for name in _BY_HAND:
        if not (target / name).exists():
            own = source / f"prometheus/{dialect}.yml" if name == _PROMETHEUS else source / name
            files.write(target / name, own.read_text(encoding="utf-8"), below=target)
            written.append(target / name)
    return written
