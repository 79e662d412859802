"""Write the generated files, or tell which of them are not what would be written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import (
    cookbook_page,
    daily,
    dashboards,
    feature_alerts,
    recording,
    reference,
    results_page,
    rulefile,
    service_levels,
    settings_page,
    telemetry_alerts,
)
from otel_metrics.assets.files import write as write_file
from otel_metrics.assets.links import SHIPPED
from otel_metrics.assets.scope import SCOPE
from otel_metrics.promql import PROMETHEUS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from otel_metrics.assets.links import Links
    from otel_metrics.assets.scope import Labels
    from otel_metrics.assets.service_levels import ServiceLevels
    from otel_metrics.promql import Dialect

RULES: Final = "prometheus/rules"
DASHBOARDS: Final = "grafana/dashboards"
_LEVELS: Final = f"{RULES}/service_levels.yml"
_LEVELS_SOURCE: Final = f"change {service_levels.FILE} instead."
REFERENCE: Final = "docs/metrics.md"
RESULTS: Final = "docs/results.md"
SETTINGS: Final = "docs/settings.md"
COOKBOOK: Final = "docs/cookbook.md"

__all__ = ["check", "files", "rules", "write"]


def rules(dialect: Dialect = PROMETHEUS, scope: Labels = SCOPE) -> dict[str, tuple[rulefile.Group, ...]]:
    """Return the groups of rules by the name of their file, but for those of service levels."""
    return {
        "recording.yml": recording.groups(dialect, scope),
        "daily.yml": daily.groups(dialect, scope),
        "feature_alerts.yml": (feature_alerts.group(dialect, scope),),
        "telemetry_alerts.yml": telemetry_alerts.groups(dialect, scope),
    }


def files(
    dialect: Dialect = PROMETHEUS,
    links: Links = SHIPPED,
    scope: Labels = SCOPE,
    levels: ServiceLevels | None = None,
) -> dict[str, str]:
    """Return every generated file: its path below the root, with ``/``, and its text. Without ``levels`` those shipped are taken.

    Raises:
        ConfigurationError: a service level cannot be told with what the server stores.
    """
    levels = levels or service_levels.shipped()
    own = service_levels.groups(levels, dialect, scope)
    text = partial(rulefile.text, dialect=dialect, links=links)
    return {
        **{f"{RULES}/{name}": text(*groups) for name, groups in rules(dialect, scope).items()},
        **({_LEVELS: text(*own, source=_LEVELS_SOURCE)} if own else {}),
        **{f"{DASHBOARDS}/{name}.json": text for name, text in dashboards.texts(dialect, scope, levels).items()},
        REFERENCE: reference.text(),
        RESULTS: results_page.text(),
        SETTINGS: settings_page.text(),
        COOKBOOK: cookbook_page.text(dialect),
    }


def write(root: Path, expected: Mapping[str, str]) -> list[Path]:
    """Write those ``files`` that are not up to date below ``root``; return their paths. Generated ones without a source are deleted."""
    changed = check(root, expected)
    for path in changed:
        text = expected.get(path.relative_to(root).as_posix())
        if text is None:
            path.unlink()
            continue
        write_file(path, text, below=root)
    return changed


def check(root: Path, expected: Mapping[str, str]) -> list[Path]:
    """Return the paths below ``root`` that ``write`` would change, sorted.

    A file that somebody else put beside them is left alone.
    """
    drifted = {root / path for path, text in expected.items() if _read(root / path) != text}
    for folder, pattern in ((RULES, "*.yml"), (DASHBOARDS, "*.json")):
        for path in (root / folder).glob(pattern):
            if path.relative_to(root).as_posix() not in expected and _is_generated(_read(path)):
                drifted.add(path)
    return sorted(drifted)


def _read(path: Path) -> str:
    try:
        # Bytes, as reading as text would hide a drift of line ends.
        return path.read_bytes().decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _is_generated(text: str) -> bool:
    return text.startswith(rulefile.GENERATED) or f'"{dashboards.GENERATED}"' in text
