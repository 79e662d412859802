"""Where the links in alerts lead, which are read far from Grafana: in a chat, in a mail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_metrics.assets import runbook, uids


@dataclass(frozen=True, slots=True)
class Links:
    """Base addresses, without a slash at the end.

    ``runbook`` is a page with a heading for each alert; by default the dashboard that has the text of docs/runbook.md.
    """

    grafana: str = "http://localhost:3000"
    runbook: str | None = None

    def dashboard(self, uid: str) -> str:
        """Return the address of a dashboard."""
        return f"{self.grafana}/d/{uid}"

    def runbook_of(self, alert: str) -> str:
        """Return the address of what to do about an alert: its heading on the page, or its panel alone."""
        if self.runbook:
            return f"{self.runbook}#{alert.lower()}"
        return f"{self.dashboard(uids.RUNBOOK)}?viewPanel=panel-{runbook.numbers()[alert]}"


SHIPPED: Final = Links()
"""What the committed files say, which fits docker-compose.yml."""
