"""What the viewer of dashboards is made of: pinned, from no particular registry, under licences that let anybody use it; and
what is done with its pictures.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.processes import ROOT
from tests.visual import gallery
from tests.visual.__main__ import EVERY

VIEWER = ROOT / "tests/visual/viewer"
LOCKED: dict[str, dict[str, Any]] = json.loads((VIEWER / "package-lock.json").read_text(encoding="utf-8"))["packages"]

PERMISSIVE = re.compile(
    r"\(?(MIT|MIT-0|Apache-2\.0|ISC|0BSD|BSD-[23]-Clause|BlueOak-1\.0\.0|CC0-1\.0|Unlicense|OFL-1\.1"
    r"|MIT AND (Zlib|BSD-3-Clause)|MPL-2\.0 OR Apache-2\.0)\)?"
)
# The first and the last say it in a file only (Unlicense), the second nowhere. Grafana's library names all three.
UNSAID = {"fast-shallow-equal", "get-document", "react-universal-interface"}


def test_every_package_may_be_used_by_anybody() -> None:
    licences = {path.rpartition("node_modules/")[2]: package.get("license", "") for path, package in LOCKED.items()}
    assert {name: said for name, said in licences.items() if said and not PERMISSIVE.fullmatch(said)} == {}
    assert {name for name, said in licences.items() if not said} == UNSAID


def test_nothing_of_grafana_is_under_the_agpl() -> None:
    grafana = {
        path: package["license"] for path, package in LOCKED.items() if path.startswith("node_modules/@grafana/")
    }
    assert set(grafana.values()) == {"Apache-2.0", "MIT"}  # MIT: a fork of a table of others
    assert "node_modules/@grafana/prometheus" not in grafana


def test_versions_are_pinned_and_come_from_any_registry() -> None:
    wanted = json.loads((VIEWER / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert {name: version for name, version in wanted.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)} == {}
    packages = {path: package for path, package in LOCKED.items() if path}
    assert [path for path, package in packages.items() if "resolved" in package or "integrity" not in package] == []


WORDS = "Errors | 42\n    ..1a 2b3c\nUses | 7\n"


@pytest.mark.parametrize(
    ("now", "fails"),
    [
        pytest.param(WORDS, None, id="the same"),
        pytest.param(WORDS.replace("..1a", "1a.."), None, id="a few specks"),
        pytest.param("Errors | 43\n    ..1a 2b3c\nUses | 7\n", True, id="a number"),
        pytest.param("Errors | 42\n    ..1a 2b3c\n", True, id="a panel less"),
        pytest.param("Errors | 42\nUses | 7\n", False, id="nothing coloured any more"),
    ],
)
def test_words_that_differ_from_the_reviewed_ones_fail_and_colours_are_shown(now: str, fails: bool | None) -> None:
    found = gallery.difference(WORDS, now)
    assert (found.fails if found else None) is fails


def test_colours_that_differ_by_more_than_specks_are_shown() -> None:
    red, green = (f"Errors | 42\n    {cell * 12}\n" for cell in ("5a", "5e"))
    found = gallery.difference(red, green)
    assert found
    assert not found.fails
    assert "+    5e5e5e5e5e5e5e5e5e5e5e5e" in found.lines


def test_a_picture_that_nobody_has_reviewed_fails() -> None:
    found = gallery.difference("", WORDS)
    assert found
    assert found.fails


def test_pictures_of_the_documentation_are_reviewed_ones_and_say_what_they_are() -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
    shown = {path.name for path in (ROOT / "docs/images").glob("*.png")}
    assert shown == set(gallery.IN_DOCS.values())
    for picture, name in gallery.IN_DOCS.items():
        assert (gallery.REVIEWED / f"{picture}.txt").is_file()
        image = (ROOT / "docs/images" / name).read_bytes()
        assert (image[:8], int.from_bytes(image[16:20], "big")) == (b"\x89PNG\r\n\x1a\n", 1600)
        showing = [path.name for path, text in pages.items() if f"images/{name}" in text]
        assert showing
        assert all("`make visual`" in text for path, text in pages.items() if path.name in showing)


def test_pictures_of_the_terminal_show_no_number_that_stands_for_zero() -> None:
    """A picture that is older than the code has minima of 7.17e-43, which the code writes as 0."""
    drawn = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs/images").glob("*.svg")}
    assert "dashboard.svg" in drawn
    assert {name: found for name, text in drawn.items() if (found := re.findall(r"[\d.]+e-[34]\d", text))} == {}


def test_every_dashboard_is_reviewed_in_every_state() -> None:
    reviewed = {path.stem for path in gallery.REVIEWED.glob("*.txt")}
    names = {path.stem for path in (ROOT / "grafana/dashboards").glob("*.json")}
    assert reviewed == {f"{state}-{name}-{width}" for state, width in EVERY for name in names}
