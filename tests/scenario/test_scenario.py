"""A recorded scenario: what three days of every documented call show, in every format and to every getter, byte for byte.

Code that is only moved must leave every recorded file as it is. Whoever changes what users see records it anew, and reads the
difference before committing it::

    python -m tests.scenario.test_scenario
"""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
ROOT = HERE.parent.parent


def play(folder: Path, *options: str) -> dict[str, str]:
    """Play the scenario in an environment of its own; return what it wrote by name."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OTM_"))}
    # Not PYTHONPATH alone: the package is the one that this process tests.
    environ["PYTHONPATH"] = os.pathsep.join([*filter(None, sys.path), str(ROOT)])
    ran = subprocess.run(
        [sys.executable, "-m", "tests.scenario.play", str(folder), *options],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env=environ,
        cwd=folder,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr, ran.stderr
    return read(folder)


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}


def differences(recorded: dict[str, str], played: dict[str, str]) -> dict[str, str]:
    """Return by name how files differ, the first lines of it."""
    found = {}
    for name in sorted(recorded.keys() | played.keys()):
        before, after = recorded.get(name, "").splitlines(), played.get(name, "").splitlines()
        if before != after:
            lines = difflib.unified_diff(before, after, "recorded", "played", n=0, lineterm="")
            found[name] = "\n".join(line[:500] for _, line in zip(range(20), lines, strict=False))
    return found


def test_every_exposition_and_every_answer_is_what_was_recorded(tmp_path: Path) -> None:
    found = differences(read(RECORDED), play(tmp_path))
    if found:
        pytest.fail("\n\n".join(f"{name}\n{difference}" for name, difference in found.items()))


def test_a_single_call_more_shows_in_every_kind_of_file(tmp_path: Path) -> None:
    found = differences(read(RECORDED), play(tmp_path, "--one-more"))
    assert found.keys() == {
        "day2.getters.txt",
        "day2.text.txt",
        "day3.getters.txt",
        "day3.text.txt",
        "events.txt",
        "own.getters.txt",
        "own.openmetrics.txt",
        "own.protobuf.txt",
        "own.registry.txt",
        "own.text.txt",
        "unprepared.getters.txt",
        "unprepared.protobuf.txt",
        "unprepared.text.txt",
        "unprepared.utf8.openmetrics.txt",
    }


if __name__ == "__main__":
    RECORDED.mkdir(exist_ok=True)
    for old in RECORDED.glob("*.txt"):
        old.unlink()
    print(f"{len(play(RECORDED))} files recorded in {RECORDED}")
