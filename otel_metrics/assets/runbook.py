"""The runbook: what docs/runbook.md says about each alert, and where that is read in Grafana."""

from __future__ import annotations

from functools import cache
from typing import Final

from otel_metrics.assets.data_files import PLACES

_FILE: Final = "docs/runbook.md"
_HEADING: Final = "\n## "


@cache
def texts() -> dict[str, str]:
    """Return the text for each alert, in the order of the file."""
    file = next((place / _FILE for place in PLACES if (place / _FILE).is_file()), PLACES[0] / _FILE)
    _, *sections = file.read_text(encoding="utf-8").split(_HEADING)
    return {name: text.strip() for name, _, text in (section.partition("\n") for section in sections)}


def numbers() -> dict[str, int]:
    """Return the number of each alert's panel on the dashboard Runbook."""
    return {alert: number for number, alert in enumerate(texts(), 1)}
