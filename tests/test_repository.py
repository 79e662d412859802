"""Rules about the repository itself that no other tool checks."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# The paths of somebody's own machine: home folders, and roots that no system has.
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(?:root|work|Users/\w+|home/\w+)/")


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    """None for files that are no text, such as pictures."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def test_constraints_are_exact_pins_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []
    names = [re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines]
    assert len(names) == len(set(names))


def test_every_dependency_is_pinned() -> None:
    """A name in pyproject.toml without a pin would install whatever is newest on the day."""
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    }
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = re.findall(r"(?ms)^(?:dependencies|cli|otlp|pandas|dev|requires) = \[(.*?)\]", project)
    assert len(lists) == 6
    required = {
        re.sub(r"[-_.]+", "-", re.split(r"[<>=!~;\[ ]", name)[0]).lower()
        for text in lists
        for name in re.findall(r'"([^"]+)"', text)
    }
    assert required - pinned == set()


def test_no_paths_of_a_machine_in_tracked_files() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked_files()
        for number, line in enumerate((text_of(path) or "").splitlines(), 1)
        if MACHINE_PATH.search(line) or (str(ROOT) in line and len(ROOT.parts) > 2)
    ]
    assert found == []


def test_changelog_mentions_the_version() -> None:
    found = re.search(r'(?m)^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert found is not None
    assert re.search(rf"(?m)^## \[?{re.escape(found[1])}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def test_package_is_marked_as_typed() -> None:
    assert (ROOT / "otel_metrics" / "py.typed").is_file()


@pytest.mark.parametrize(
    "target",
    [
        "demo",
        "test",
        "test-pythons",
        "scale",
        "check",
        "audit",
        "bench",
        "servers",
        "servers-current",
        "fuzz",
        "soak",
        "up",
    ],
)
def test_makefile_has_the_target_and_explains_it(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=True)
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"(?m)^  {target} +\w", shown)


def test_every_promise_of_the_threat_model_names_tests_that_exist() -> None:
    rows = re.findall(r"(?m)^\| [A-Z].* \| (.*`tests/.*) \|$", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(rows) > 10
    for shown in rows:
        sources = [(ROOT / name).read_text(encoding="utf-8") for name in re.findall(r"`(tests/[\w/]+\.py)`", shown)]
        for name in re.findall(r"`(test_\w+)`", shown):
            assert any(f"def {name}(" in source for source in sources), name


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", ".pre-commit-config.yaml"])
def test_instructions_name_what_exists(name: str) -> None:
    named = re.findall(r"[\w./-]+", (ROOT / name).read_text(encoding="utf-8"))
    paths = {
        each
        for each in named
        if re.match(r"(?:\.venv/bin|otel_metrics|tests|scripts|docs|prometheus|grafana)/\w", each)
    }
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    assert paths != set()


@pytest.mark.parametrize("name", [".ci/run", "scripts/servers.py", "scripts/up.sh"])
def test_is_executable(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)


def test_the_page_of_benchmarks_says_where_the_figures_of_each_are() -> None:
    listed = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").partition("\n## Other benchmarks\n")[2]
    names = {path.stem for path in (ROOT / "benchmarks").glob("bench_*.py")}
    assert set(re.findall(r"`(bench_\w+)`", listed)) == names


def test_continuous_integration_checks_and_tests() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    made = {word for line in text.splitlines() if " make " in f" {line}" for word in line.split()}
    assert {"check", "release", "test", "test-oldest-servers", "test-pythons", "test-thanos", "visual"} <= made
