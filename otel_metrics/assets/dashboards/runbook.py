"""The runbook where the links in alerts lead: the text of docs/runbook.md, a panel for each alert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.model import COLUMNS, Dashboard, Panel, Section, variables
from otel_metrics.assets.data_files import PLACES

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.queries import Values

_FILE: Final = "docs/runbook.md"
_HEADING: Final = "\n## "
_FRAME: Final = 3
"""Height of a text panel without its text, in units of the grid; a line takes about one."""


def dashboard(_values: Values) -> Dashboard:
    """Return the dashboard."""
    file = next((place / _FILE for place in PLACES if (place / _FILE).is_file()), PLACES[0] / _FILE)
    _, *sections = file.read_text(encoding="utf-8").split(_HEADING)
    return Dashboard(
        uids.RUNBOOK,
        "otel_metrics / Runbook",
        "What to do when an alert fires.",
        variables(hide_feature=True),
        (Section("", tuple(map(_panel, sections))),),
        refresh="",
    )


def _panel(section: str) -> Panel:
    alert, _, text = section.partition("\n")
    content = text.strip()
    options = {"mode": "markdown", "content": content}
    height = _FRAME + len(content.splitlines())
    return Panel("text", alert, f"What to do about {alert}.", (), COLUMNS, height, {}, options)
