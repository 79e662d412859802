"""What the viewer of dashboards is made of: pinned, from no particular registry, under licences that let anybody use it."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.processes import ROOT

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
