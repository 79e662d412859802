"""The table of what is used of OpenTelemetry without a promise: complete, true of the SDK that is installed, up to date."""

from __future__ import annotations

import ast
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from otel_metrics import sdk
from otel_metrics.sdk.private_names import NEWEST, OLDEST, PRIVATE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def sources(*modules: str) -> Iterator[str]:
    for module in modules:
        spec = find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        for path in Path(spec.origin).parent.rglob("*.py"):
            yield path.read_text("utf-8")


def test_every_private_name_that_sdk_uses_is_in_the_table_and_no_other() -> None:
    used: dict[str, set[str]] = {}
    for path in Path(sdk.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        own = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        names = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not (
                isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            ):
                names.add(node.attr)
            elif isinstance(node, ast.Attribute) and node.attr in {"_sample_exemplar", "_collect_exemplars"}:
                names.add(node.attr)  # of the SDK's class that is derived from
            elif isinstance(node, ast.FunctionDef) and node.name == "_create_aggregation":
                names.add(node.name)  # a hook of the SDK's that is overridden
            elif isinstance(node, ast.ImportFrom):
                names |= set((node.module or "").split("."))
            elif (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "getattr"
                and isinstance(node.args[1], ast.Constant)
            ):
                names.add(str(node.args[1].value))
        for name in filter(private, names - own - {"_all"}):
            used.setdefault(name, set()).add(path.stem)
    assert used == {name: set(entry.used_by.split(", ")) for name, entry in PRIVATE_NAMES.items()}


def test_the_sdk_that_is_installed_has_every_name_of_the_table() -> None:
    text = "\n".join(sources("opentelemetry.sdk.metrics", "opentelemetry.context"))
    assert [name for name in PRIVATE_NAMES if not re.search(rf"\b{name}\b", text) and name != "_internal"] == []
    assert find_spec("opentelemetry.sdk.metrics._internal.aggregation")


def test_the_sdk_that_is_installed_is_one_that_the_table_speaks_of() -> None:
    minor = tuple(map(int, version("opentelemetry-sdk").split(".")[:2]))
    assert tuple(map(int, OLDEST.split("."))) <= minor <= tuple(map(int, NEWEST.split(".")))


def test_oldest_and_newest_are_what_the_project_says() -> None:
    assert f'"opentelemetry-sdk>={OLDEST}' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert re.search(rf"(?m)^opentelemetry-sdk=={re.escape(NEWEST)}\.", (ROOT / "constraints.txt").read_text("utf-8"))
