"""The runbook where the links in alerts lead: what fires now, and the text of docs/runbook.md, a panel for each alert."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import runbook, uids
from otel_metrics.assets.dashboards.alerts import alert_table
from otel_metrics.assets.dashboards.model import COLUMNS, HIDDEN_FEATURES, Dashboard, Panel, Section, onward

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.assets.scope import Labels

_SECTIONS: Final = {
    "Feature": "Features: what the application does",
    "Resource": "Features: what the application does",
    "Telemetry": "Telemetry: whether it is seen",
    "": "Servers: whether anybody is told",
}
"""Headings, by how the names of their alerts begin."""

_NAMED: Final = {
    "Errors": uids.ERRORS,
    "Usage": uids.USAGE,
    "Performance": uids.PERFORMANCE,
    "Satisfaction": uids.SATISFACTION,
    "Learning": uids.LEARNING,
    "Optimization": uids.OPTIMIZATION,
    "Resources": uids.RESOURCES,
    "Feature": uids.FEATURE,
    "Service levels": uids.SERVICE_LEVELS,
    "Telemetry health": uids.TELEMETRY,
}
"""Dashboards, by what the text calls them."""

_WIDTH: Final = COLUMNS // 2
_LETTERS: Final = 95
"""How many fit into a line of a panel."""
_FIRES_NOW: Final = 500
"""The number of the panel that is no alert's."""


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard: panels in the order of the text, so that their numbers are those that links say."""
    sections: dict[str, list[Panel]] = {heading: [] for heading in _SECTIONS.values()}
    for alert, text in runbook.texts().items():
        start = next(start for start in _SECTIONS if alert.startswith(start))
        sections[_SECTIONS[start]].append(_panel(alert, text, values.scope))
    now = replace(alert_table(values.scope, width=COLUMNS, height=8, name=300), number=_FIRES_NOW)
    return Dashboard(
        uids.RUNBOOK,
        "otel_metrics / Runbook",
        "What fires now, and what to do about it. Every alert links to its own panel here.",
        (HIDDEN_FEATURES,),
        (
            Section("", (now,)),
            *(Section(heading, tuple(panels), folded=True) for heading, panels in sections.items()),
        ),
        refresh="1m",
    )


def _panel(alert: str, text: str, scope: Labels) -> Panel:
    options = {"mode": "markdown", "content": _linked(text, scope)}
    rows = sum(1 + len(line) // _LETTERS for line in text.splitlines())
    return Panel("text", alert, f"What to do about {alert}.", (), _WIDTH, 2 + (rows * 11 + 19) // 20, {}, options)


def _linked(text: str, scope: Labels) -> str:
    """Return the text with links to the dashboards and to the other alerts that it names; pages of docs are not in Grafana."""
    text = re.sub(r"\[([^]]*)\]\(([\w-]+\.md)[^)]*\)", r"\1 (docs/\2)", text)
    for title, uid in _NAMED.items():
        text = text.replace(f"*{title}*", f"[{title}]({onward(uid, scope)})")
    numbers = runbook.numbers()

    def alone(found: re.Match[str]) -> str:
        name = found[0]
        return f"[{name}]({onward(uids.RUNBOOK, scope)}&viewPanel=panel-{numbers[name]})" if name in numbers else name

    return re.sub(r"(?<![\w`])[A-Z]\w+(?![\w`])", alone, text)
