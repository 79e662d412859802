"""The pytest plugin, in test runs of its own; with freezegun and time-machine as their users know them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_metrics import testing

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the text of a test file, with the plugin found by its entry point."""
    (folder / "test_shop.py").write_text(tests, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_failure_shows_what_was_recorded(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
import otel_metrics, pytest

def order(success=True):
    with otel_metrics.get_advanced_metrics().track("shop", "order") as use:
        use.success = success

def test_it_records(recorded_metrics):
    order()
    recorded_metrics.assert_value("feature_usage_total", 1, action="order", outcome="success")
    recorded_metrics.assert_value("feature_usage_total", None, action="pay")

def test_it_begins_with_nothing(recorded_metrics):
    recorded_metrics.assert_value("feature_usage_total", None)
    with pytest.raises(otel_metrics.InvalidArgumentError):
        otel_metrics.get_advanced_metrics().record_error("", "Timeout")

def test_it_is_told_otherwise(recorded_metrics):
    order(success=False)
    recorded_metrics.assert_value("feature_usage_total", 1, action="order", outcome="success")

def test_something_else_is_wrong(recorded_metrics):
    order()
    assert recorded_metrics.value("feature_errors_total") == 1

def test_nothing_is_recorded(recorded_metrics):
    assert not recorded_metrics
""",
    )
    assert "3 failed, 2 passed" in done.stdout
    first, second, third = done.stdout.split("recorded metrics")[1:]
    assert 'feature_usage_total{action="order",outcome="success"} is 0, not 1; recorded:' in done.stdout
    assert '  feature_usage_total{action="order",feature="shop",outcome="failure"} 1\n' in first
    assert '  feature_usage_total{action="order",feature="shop",outcome="success"} 1\n' in second
    assert "  feature_usage_duration_seconds_count{" in second
    assert "feature_daily" not in done.stdout
    assert "\n  nothing\n" in third
    assert "otel_metrics/testing.py:" not in done.stdout  # the report ends in the test's own line


CLOCKS = """
import time
import otel_metrics, pytest, time_machine
from freezegun import freeze_time

advanced = otel_metrics.AdvancedMetrics()

def order(pause):
    with advanced.track("shop", "order") as use:
        pause()
    return use.duration_ms

def stays(recorded_metrics, day):
    recorded_metrics.assert_value("feature_usage_total", 1, outcome="success")
    time.sleep(1.2)  # in which our own thread folds
    advanced.record_error("shop", "Timeout")
    assert advanced.get_feature_usage_stats("shop", hours=1)["total_usage"] == 1
    assert advanced.get_error_stats("shop", hours=1)["total_errors"] == 1
    assert [(row["date"], row["count"]) for row in advanced.aggregate_daily_metrics()] == [(day, 1)]
    assert [(row["date"], row["count"]) for row in advanced.aggregate_daily_metrics(day)] == [(day, 1)]

@freeze_time("2025-12-14 12:00")
def test_freezegun_as_a_decorator(recorded_metrics):
    with freeze_time("2025-12-15 12:00") as frozen:
        assert order(lambda: frozen.tick(5)) == 5000
        stays(recorded_metrics, "2025-12-15")

@time_machine.travel("2025-12-14 12:00+00:00", tick=False)
def test_time_machine_as_a_decorator(recorded_metrics):
    order(lambda: None)
    stays(recorded_metrics, "2025-12-14")

@pytest.mark.time_machine("2031-01-01 12:00+00:00", tick=False)
def test_time_machine_as_a_fixture(time_machine, recorded_metrics):
    order(lambda: time_machine.move_to("2031-01-02 12:00+00:00", tick=False))
    stays(recorded_metrics, "2031-01-02")

def test_the_time_is_real_again(recorded_metrics):
    began = time.perf_counter()
    took = order(lambda: time.sleep(0.01))
    assert 0 < took <= 1000 * (time.perf_counter() - began)
"""


def test_a_test_may_have_a_time_of_its_own(tmp_path: Path) -> None:
    done = run(tmp_path, CLOCKS)
    assert "4 passed" in done.stdout, done.stdout


def test_it_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    tests = """
def test_nothing_is_loaded():
    import sys
    assert {name for name in sys.modules if name.startswith(("otel_metrics", "opentelemetry", "prometheus_client"))} == {
        "otel_metrics", "otel_metrics.integrations", "otel_metrics.integrations.pytest_plugin",
    }
"""
    done = run(tmp_path, tests)
    assert "1 passed" in done.stdout, done.stdout


def test_a_value_is_compared_as_by_value() -> None:
    with testing.recording() as metrics:
        metrics.advanced.record_feature_usage("shop", "order", 250)
        metrics.advanced.record_feature_usage("shop", "pay", 250)
        metrics.assert_value("feature_usage_total", 2)
        metrics.assert_value("feature_usage_duration_seconds_sum", pytest.approx(0.25), action="pay")
        with pytest.raises(AssertionError) as raised:
            metrics.assert_value("feature_usages_total", 1)
    assert str(raised.value).startswith(
        "feature_usages_total{} is not there, not 1; recorded:\n  feature_usage_duration_seconds_count{"
    )
