"""The runbook where the links in alerts lead: the text of docs/runbook.md, a panel for each alert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import runbook, uids
from otel_metrics.assets.dashboards.model import COLUMNS, HIDDEN_FEATURES, Dashboard, Panel, Section

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.queries import Values

_SECTIONS: Final = {
    "Feature": "Features: what the application does",
    "Resource": "Features: what the application does",
    "Telemetry": "Telemetry: whether it is seen",
    "": "Servers: whether anybody is told",
}
"""Headings, by how the names of their alerts begin."""

_WIDTH: Final = COLUMNS // 2
_LETTERS: Final = 95
"""How many fit into a line of a panel."""


def dashboard(_values: Values) -> Dashboard:
    """Return the dashboard: panels in the order of the text, so that their numbers are those that links say."""
    sections: dict[str, list[Panel]] = {heading: [] for heading in _SECTIONS.values()}
    for alert, text in runbook.texts().items():
        start = next(start for start in _SECTIONS if alert.startswith(start))
        sections[_SECTIONS[start]].append(_panel(alert, text))
    return Dashboard(
        uids.RUNBOOK,
        "otel_metrics / Runbook",
        "What to do when an alert fires. Every alert links to its own panel here.",
        (HIDDEN_FEATURES,),
        tuple(Section(heading, tuple(panels), folded=True) for heading, panels in sections.items()),
        refresh="",
    )


def _panel(alert: str, text: str) -> Panel:
    options = {"mode": "markdown", "content": text}
    rows = sum(1 + len(line) // _LETTERS for line in text.splitlines())
    return Panel("text", alert, f"What to do about {alert}.", (), _WIDTH, 2 + (rows * 11 + 19) // 20, {}, options)
