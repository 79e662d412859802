"""Files of service levels. What cannot be taken is rejected with the file, the line, the value and what is allowed.

::

    period: 30d
    service_levels:
      - name: pay-succeeds
        feature: checkout
        kind: success
        objective: 99.5
        where: {action: pay}

Files of Sloth and OpenSLO are recognized by the fields that they begin with.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import data_files
from otel_metrics.assets.service_levels import foreign
from otel_metrics.assets.service_levels.entry import documents
from otel_metrics.assets.service_levels.levels import (
    Kind,
    Level,
    ServiceLevels,
    narrowed,
    objective,
    period,
    threshold,
)
from otel_metrics.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from otel_metrics.assets.service_levels.entry import Entry

FILE: Final = "prometheus/service_levels.yml"
"""Where the levels of an installation are, below its root."""


def read(path: Path) -> ServiceLevels:
    """Return what a file says: one of ours, of Sloth (``prometheus/v1``) or of OpenSLO (``openslo/v1``).

    Raises:
        ConfigurationError: it says something that cannot be taken; the message names file, line, value and what is allowed.
    """
    found = documents(path)
    if not found:
        raise ConfigurationError(f"{path} is empty; a file without levels says `service_levels: []`")
    first = found[0].fields(optional=None)
    if "service_levels" in first:
        if len(found) > 1:
            raise found[1].complaint("a second document is not allowed; allowed: one with period and service_levels")
        levels = _own(found[0])
    elif "openslo" in _version(first):
        levels = foreign.openslo(found)
    elif "prometheus/v1" in _version(first) or "sloth" in _version(first):
        levels = foreign.sloth(found)
    else:
        raise found[0].complaint(
            "no service levels; allowed: a file with the field service_levels, one of Sloth (version: prometheus/v1), "
            "or one of OpenSLO (apiVersion: openslo/v1)"
        )
    names = Counter(one.name for one in levels.levels)
    for name, times in names.items():
        if times > 1:
            raise ConfigurationError(f"{path}: {times} service levels are called {name}; each needs a name of its own")
    return levels


def _version(fields: dict[str, Entry]) -> str:
    found = fields.get("apiVersion") or fields.get("version")
    return found.text() if found else ""


def below(root: Path) -> ServiceLevels:
    """Return the levels of an installation, or what is shipped where it has no file of its own.

    Raises:
        ConfigurationError: as :func:`read`.
    """
    path = root / FILE
    return read(path) if path.exists() else shipped()


@cache
def shipped() -> ServiceLevels:
    """Return the levels of the example application."""
    return read(data_files.root() / FILE)


def _own(document: Entry) -> ServiceLevels:
    fields = document.fields(("service_levels",), ("period",))
    levels = tuple(map(_level, fields["service_levels"].entries()))
    return ServiceLevels(levels, period(fields["period"])) if "period" in fields else ServiceLevels(levels)


def _level(entry: Entry) -> Level:
    entry.called = "a service level"
    required = ("name", "feature", "kind", "objective")
    fields = entry.fields(required, ("threshold", "where", "description"))
    try:
        kind = Kind(fields["kind"].text())
    except ValueError:
        raise fields["kind"].not_allowed(", ".join(each.value for each in Kind)) from None
    if kind.has_threshold and "threshold" not in fields:
        raise entry.complaint(f"a service level of kind {kind.value} needs the field threshold")
    if "threshold" in fields and not kind.has_threshold:
        raise fields["threshold"].complaint(f"a service level of kind {kind.value} has no threshold")
    return Level(
        name=fields["name"].name(),
        feature=fields["feature"].label_value(),
        kind=kind,
        objective=objective(fields["objective"]),
        threshold=threshold(fields["threshold"], kind) if kind.has_threshold else "",
        where=narrowed(fields["where"], kind) if "where" in fields else (),
        description=fields["description"].line() if "description" in fields else "",
    )
