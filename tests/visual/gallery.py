"""What was reviewed, what differs from it, and a page that shows all pictures."""

from __future__ import annotations

import difflib
import html
from typing import TYPE_CHECKING

from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.visual.drawing import Drawn

REVIEWED = ROOT / "tests/visual/reviewed"
"""A text file for every picture that somebody has looked at: what its panels say. Curves are not compared."""

STYLE = """<!doctype html><meta charset=utf-8><title>Dashboards</title>
<style>body{background:#111217;color:#ccccdc;font:14px Inter,sans-serif}img{max-width:100%}</style>"""


def compare(results: Sequence[Drawn], out: Path, *, accept: bool) -> dict[str, str]:
    """Return how pictures differ from the reviewed ones, by name; ``accept`` makes them the reviewed ones instead."""
    differing = {}
    for result in results:
        (out / f"{result.name}.txt").write_text(result.text, encoding="utf-8")
        reviewed = REVIEWED / f"{result.name}.txt"
        if accept:
            REVIEWED.mkdir(exist_ok=True)
            reviewed.write_text(result.text, encoding="utf-8")
        elif reviewed.is_file() and (before := reviewed.read_text(encoding="utf-8")) != result.text:
            lines = difflib.unified_diff(
                before.splitlines(), result.text.splitlines(), "reviewed", "now", "", "", 0, ""
            )
            differing[result.name] = "\n".join(lines)
    return differing


def write(results: Sequence[Drawn], differing: dict[str, str], out: Path) -> Path:
    """Write the page that shows the pictures, those with problems first."""
    parts = [STYLE]
    for result in sorted(results, key=lambda one: (not one.trouble, one.name not in differing)):
        problems = "".join(f"<li>{html.escape(problem)}" for problem in result.trouble)
        difference = html.escape(differing.get(result.name, ""))
        parts.append(
            f"<h2>{result.name}</h2><p>{result.queries} queries, the slowest {result.slowest} ms<ul>{problems}</ul>"
            f"<pre>{difference}</pre><img loading=lazy src={result.name}.png>"
        )
    index = out / "index.html"
    index.write_text("\n".join(parts), encoding="utf-8")
    return index
