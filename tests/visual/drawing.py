"""Drawing dashboards: Grafana's own components, in a headless browser, asking a real Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.servers import ROOT
from tests.visual.company import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CACHE = ROOT / ".cache/visual"
MEANINGS = {
    "query": "a query fails",
    "warning": "a query is answered with a warning",
    "error": "the panel fails",
    "cut": "text is cut off",
    "sideways": "text is out of sight to the side",
    "below": "text is out of sight below",
    "small": "text is smaller than 10 px",
    "faint": "text has too little contrast",
    "empty": "the panel is empty",
}


@dataclass(frozen=True)
class Picture:
    """What to draw."""

    name: str
    prometheus: str
    dashboard: dict[str, Any]
    width: int
    scrape: float = 60
    """Seconds between scrapes, as the data source is told."""

    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the page's ``window.draw()``: from, to, variables, open."""


@dataclass(frozen=True)
class Drawn:
    """What was drawn."""

    name: str
    trouble: list[str]
    kinds: list[tuple[str, str]]
    """(panel's title, kind of trouble), kinds as in ``MEANINGS``."""
    text: str
    """What can be read in the panels, a line each, and below it a grid of its colours (``look.js``)."""
    queries: int
    slowest: int
    """Milliseconds."""


def draw(pictures: Sequence[Picture], folder: Path) -> Iterator[Drawn]:
    """Draw into PNG files of a folder, two at a time, and yield each when it is done."""
    jobs = [
        {
            "name": one.name,
            "prometheus": one.prometheus,
            "now": NOW,
            "picture": str((folder / f"{one.name}.png").resolve()),
            "dashboard": one.dashboard,
            "width": one.width,
            "scrape": one.scrape,
            **one.options,
        }
        for one in pictures
    ]
    chromium = (CACHE / "chromium").resolve()
    with subprocess.Popen(
        ["node", "draw.mjs", chromium], cwd=CACHE / "viewer", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(jobs))
        child.stdin.close()
        for line in child.stdout:
            yield _drawn(json.loads(line))
    assert child.returncode == 0, f"the browser's driver ended with status {child.returncode}"


def _drawn(answer: dict[str, Any]) -> Drawn:
    seen = Counter((one["panel"], one["kind"], one["what"]) for one in answer["trouble"])
    queries = [query["ms"] for panel in answer["panels"] for query in panel["queries"] or ()]
    return Drawn(
        answer["name"],
        [f"{panel or 'page'}: {MEANINGS[kind]}: {what}" for panel, kind, what in seen],
        [(panel, kind) for panel, kind, _ in seen],
        "".join(_told(panel) for panel in answer["panels"]),
        len(queries),
        max(queries, default=0),
    )


def _told(panel: dict[str, Any]) -> str:
    # A process's name ends in what is drawn by lot.
    words = re.sub(r"-[0-9a-f]{8}\b", "-…", " · ".join(panel["words"]))
    colours = f"    {panel['colours']}\n" if panel["colours"] else ""
    return f"{panel['title']} | {words}\n{colours}"
