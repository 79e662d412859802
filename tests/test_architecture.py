"""The floors of the package and what may be imported where; each rule is broken on purpose to see that it bites."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


def checkout(folder: Path, name: str, line: str) -> Path:
    """Return a copy of what the contracts are about, with ``line`` appended to a module."""
    shutil.copytree(ROOT / "otel_metrics", folder / "otel_metrics", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    with (folder / "otel_metrics" / name).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    return folder


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("units.py", "import otel_metrics.facade.basic", "otel_metrics.units -> otel_metrics.facade.basic"),
        ("recording/arguments.py", "import otel_metrics.exporter.names", "otel_metrics.recording.arguments -> otel_metrics.exporter.names"),
        ("facade/scales.py", "import otel_metrics.cli.terminal", "otel_metrics.facade.scales -> otel_metrics.cli.terminal"),
        ("novelty.py", "import json", "otel_metrics.novelty"),
        ("exporter/names.py", "import otel_metrics.exporter.text", "No cycles are allowed in otel_metrics.exporter."),
        ("catalogue/labels.py", "import otel_metrics.naming", "No cycles are allowed in otel_metrics."),
        ("exporter/text.py", "import urllib3", "otel_metrics.exporter is not allowed to import urllib3"),
        ("exporter/text.py", "import otel_metrics.facade.basic", "otel_metrics.exporter is not allowed to import otel_metrics.facade"),
    ],
)  # fmt: skip
def test_a_broken_contract_fails_and_says_what_broke_it(tmp_path: Path, name: str, line: str, said: str) -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=checkout(tmp_path, name, line), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stdout


# ---------------------------------------------------------------- private names of OpenTelemetry, in sdk/ only


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def names_in(tree: ast.AST) -> Iterator[str]:
    """Yield every name that is defined, assigned, or read as an attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name


@cache
def private_in_opentelemetry() -> frozenset[str]:
    spec = find_spec("opentelemetry.sdk.metrics")
    assert spec is not None
    assert spec.origin is not None
    sources = (path.read_text("utf-8") for path in Path(spec.origin).parent.rglob("*.py"))
    return frozenset(name for source in sources for name in names_in(ast.parse(source)) if is_private(name))


def own_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}:
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


def private_uses(package: Path) -> list[str]:
    """Return where a module outside sdk/ imports, or reaches for, a private name of OpenTelemetry."""
    trees = {
        path.relative_to(package): ast.parse(path.read_text("utf-8"))
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).parts[0] != "sdk"
    }
    foreign = private_in_opentelemetry() - {name for tree in trees.values() for name in own_names(tree)}
    found = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            used: list[str] = []
            if isinstance(node, ast.Import):
                used = [alias.name for alias in node.names if "opentelemetry" in alias.name]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("opentelemetry"):
                # The API of logs: documented, stable in the specification, and still called so in Python.
                module = (node.module or "").replace("opentelemetry._logs", "opentelemetry.logs")
                used = [f"{module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Attribute) and node.attr in foreign:
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                used = [] if owner in sys.stdlib_module_names else [node.attr]
            elif isinstance(node, ast.Constant) and node.value in foreign:
                used = [str(node.value)]
            found += [f"{path}: {name}" for name in used if any(map(is_private, name.split(".")))]
    return found


def test_private_names_of_opentelemetry_stay_in_sdk() -> None:
    assert private_uses(ROOT / "otel_metrics") == []


@pytest.mark.parametrize(
    "line",
    [
        "from opentelemetry.sdk.metrics._internal.aggregation import Aggregation",
        "from opentelemetry.sdk.metrics import _internal",
        "import opentelemetry.sdk.metrics._internal",
        "reader._reader_storages",
        "getattr(reader, '_reader_storages')",
    ],
)
def test_a_private_name_of_opentelemetry_is_found_outside_sdk(tmp_path: Path, line: str) -> None:
    for name in ("sdk", "exporter"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text(line, "utf-8")
    assert [use.partition(":")[0] for use in private_uses(tmp_path)] == [str(Path("exporter", "module.py"))]


# ---------------------------------------------------------------- what importing the reader loads

READER_ALONE = [
    "otel_metrics",
    "otel_metrics.allowed",
    "otel_metrics.catalogue",
    "otel_metrics.catalogue.buckets",
    "otel_metrics.catalogue.daily",
    "otel_metrics.catalogue.derived",
    "otel_metrics.catalogue.features",
    "otel_metrics.catalogue.labels",
    "otel_metrics.catalogue.schema",
    "otel_metrics.errors",
    "otel_metrics.exporter",
    "otel_metrics.exporter.configured",
    "otel_metrics.exporter.endpoint",
    "otel_metrics.exporter.exemplars",
    "otel_metrics.exporter.exponential",
    "otel_metrics.exporter.exposition",
    "otel_metrics.exporter.families",
    "otel_metrics.exporter.names",
    "otel_metrics.exporter.negotiation",
    "otel_metrics.exporter.neighbours",
    "otel_metrics.exporter.other_collectors",
    "otel_metrics.exporter.protobuf",
    "otel_metrics.exporter.reader",
    "otel_metrics.exporter.registry",
    "otel_metrics.exporter.series",
    "otel_metrics.exporter.text",
    "otel_metrics.exporter.turns",
    "otel_metrics.forks",
    "otel_metrics.log",
    "otel_metrics.naming",
    "otel_metrics.sdk",
    "otel_metrics.sdk.acknowledged",
    "otel_metrics.sdk.bucket_counts",
    "otel_metrics.sdk.bulk",
    "otel_metrics.sdk.lazy_points",
    "otel_metrics.sdk.observed",
]


def loaded_by(code: str) -> set[str]:
    code += "\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_reader_alone_loads_what_it_needs() -> None:
    """A module more is a cost for every application that wants the reader and nothing else: judge, then add it here."""
    official = loaded_by(
        "from opentelemetry.exporter.prometheus import PrometheusMetricReader\nimport opentelemetry.sdk.metrics"
    )
    ours = loaded_by("from otel_metrics.exporter import PrometheusReader\nimport opentelemetry.sdk.metrics")
    assert sorted(name for name in ours if name.partition(".")[0] == "otel_metrics") == READER_ALONE
    others = {name.partition(".")[0] for name in ours - official} - {"otel_metrics"} - sys.stdlib_module_names
    assert others == set()
    assert "asyncio" not in ours - official


def test_the_facade_loads_what_record_calls_and_getters_of_this_process_need() -> None:
    """What asks a server, and what only asyncio's applications need, is loaded by who uses it."""
    loaded = loaded_by("from otel_metrics import get_advanced_metrics")
    assert {name for name in loaded if name == "asyncio" or name.startswith("otel_metrics.promql")} == set()


def test_importing_the_package_loads_nothing_else() -> None:
    assert [name for name in loaded_by("import otel_metrics") if name.startswith("otel_metrics.")] == []
