"""What was reviewed, what differs from it, and a page that shows all pictures."""

from __future__ import annotations

import difflib
import html
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.visual.drawing import Drawn

REVIEWED = ROOT / "tests/visual/reviewed"
"""A text file for every picture that somebody has looked at: what its panels say, and where they have which colours."""

DOCS = ROOT / "docs/images"
IN_DOCS = {"busy-overview-1600": "overview.png", "busy-feature-1600": "feature.png"}
"""Pictures that the documentation shows: the reviewed ones, copied when they are accepted."""

SPECKS = 4
"""How many cells of a panel may have other colours: another machine draws edges a little differently."""

STYLE = """<!doctype html><meta charset=utf-8><title>Dashboards</title>
<style>body{background:#111217;color:#ccccdc;font:14px Inter,sans-serif}img{max-width:100%}</style>"""


@dataclass(frozen=True)
class Difference:
    """What a picture has that the reviewed one has not, and the other way round."""

    lines: tuple[str, ...]
    fails: bool
    """Whether words differ, which are the same on every machine. Colours depend on the browser that draws: they are shown only."""


def compare(results: Sequence[Drawn], out: Path) -> dict[str, Difference]:
    """Return how pictures differ from the reviewed ones, by name."""
    differing = {}
    for result in results:
        (out / f"{result.name}.txt").write_text(result.text, encoding="utf-8")
        reviewed = REVIEWED / f"{result.name}.txt"
        before = reviewed.read_text(encoding="utf-8") if reviewed.is_file() else ""
        if found := difference(before, result.text):
            differing[result.name] = found
    return differing


def difference(reviewed: str, now: str) -> Difference | None:
    """Return how the text of a picture differs from the reviewed one: '' where nobody has looked at it yet."""
    if not reviewed:
        return Difference(("nobody has reviewed it yet",), fails=True)
    before, after = reviewed.splitlines(), now.splitlines()
    lines = tuple(difflib.unified_diff(before, after, "reviewed", "now", n=0, lineterm=""))
    if [one for one in before if not _is_grid(one)] != [one for one in after if not _is_grid(one)]:
        return Difference(lines, fails=True)
    grids = [[one for one in text if _is_grid(one)] for text in (before, after)]
    alike = len(grids[0]) == len(grids[1]) and all(
        _specks(one, other) <= SPECKS for one, other in zip(*grids, strict=True)
    )
    return None if alike else Difference(lines, fails=False)


def accept(results: Sequence[Drawn], out: Path, *, every: bool) -> None:
    """Make pictures the reviewed ones; if that is ``every`` picture, forget others. The documentation shows some of them."""
    if every:
        shutil.rmtree(REVIEWED, ignore_errors=True)
    REVIEWED.mkdir(exist_ok=True)
    for result in results:
        (REVIEWED / f"{result.name}.txt").write_text(result.text, encoding="utf-8")
        if result.name in IN_DOCS:
            shutil.copyfile(out / f"{result.name}.png", DOCS / IN_DOCS[result.name])


def _is_grid(line: str) -> bool:
    return line.startswith("    ")


def _specks(one: str, other: str) -> int:
    """How many cells differ by more than one step of how much is coloured, or in the hue of what is clearly seen."""
    cells = zip(*(re.findall(r"\S\S", grid) for grid in (one, other)), strict=True)
    return sum(_apart(before, after) for before, after in cells)


def _apart(before: str, after: str) -> bool:
    low, high = sorted(int(cell[0].replace(".", "0")) for cell in (before, after))
    return high - low > 1 or (low > 1 and before[1] != after[1])


def write(results: Sequence[Drawn], differing: dict[str, Difference], out: Path) -> Path:
    """Write the page that shows the pictures, those with problems first."""
    parts = [STYLE]
    for result in sorted(results, key=lambda one: (not one.trouble, one.name not in differing)):
        problems = "".join(f"<li>{html.escape(problem)}" for problem in result.trouble)
        changed = differing.get(result.name)
        shown = html.escape("\n".join(changed.lines)) if changed else ""
        parts.append(
            f"<h2>{result.name}</h2><p>{result.queries} queries, the slowest {result.slowest} ms<ul>{problems}</ul>"
            f"<pre>{shown}</pre><img loading=lazy src={result.name}.png>"
        )
    index = out / "index.html"
    index.write_text("\n".join(parts), encoding="utf-8")
    return index
