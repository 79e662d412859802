"""The pages of the documentation, and the snippets on them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples" / "README.md",
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
]

_SNIPPET = re.compile(r"(?ms)^(?:<!-- not run: (?P<why>.*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$")


@dataclass(frozen=True, slots=True)
class Snippet:
    """What stands in a fence. ``not_run`` is the page's reason why nothing can run it, if it has one."""

    page: str
    line: int
    language: str
    text: str
    not_run: str


def snippets(page: Path | str) -> list[Snippet]:
    """Return the snippets of a page, given by its path or by its name below the top."""
    path = ROOT / page
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    return [
        Snippet(name, text.count("\n", 0, each.start("text")), each["language"], each["text"], each["why"] or "")
        for each in _SNIPPET.finditer(text)
    ]
