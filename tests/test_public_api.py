"""What the package promises: every public name and its signature, as it stands in ``public_api.txt``."""

from __future__ import annotations

import subprocess
import sys

import pytest

import otel_metrics
from otel_metrics import exporter
from tests.processes import ROOT


def test_nothing_public_changes_unnoticed() -> None:
    """A change on purpose: run `.venv/bin/python scripts/public_api.py > tests/public_api.txt`, and tell users in CHANGELOG.md."""
    command = [sys.executable, str(ROOT / "scripts" / "public_api.py")]
    now = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert now.splitlines() == (ROOT / "tests" / "public_api.txt").read_text("utf-8").splitlines()


def test_public_names_are_there_and_listed() -> None:
    assert set(otel_metrics.__all__) <= set(dir(otel_metrics))
    for name in otel_metrics.__all__:
        assert getattr(otel_metrics, name) is not None


@pytest.mark.parametrize("module", [otel_metrics, exporter])
def test_a_name_that_is_not_there_is_an_attribute_error(module: object) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'get_advanced_metric'"):
        module.get_advanced_metric  # type: ignore[attr-defined]  # noqa: B018


def test_names_fetched_twice_are_the_same_object() -> None:
    assert otel_metrics.Settings is otel_metrics.Settings
    assert otel_metrics.testing.recording is sys.modules["otel_metrics.testing"].recording
