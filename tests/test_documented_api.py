"""Every snippet of the old tracker's documentation runs, changed in its import line alone, against both sources."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import schedule

import otel_metrics
from otel_metrics import testing
from tests.servers import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import Servers

DOCUMENT = Path(__file__).parent / "spec" / "metrics-tracking-system.md"
SNIPPETS = [
    code.replace("from shared.metrics import", "from otel_metrics import")
    for code in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
]
(BASIC, RECORD, GET, DASHBOARD, DAILY, LEARNING, OPTIMIZATION, MONITOR) = SNIPPETS


class Session:
    """Runs snippets in one namespace, as a reader would type them; gives them what the document takes for granted."""

    def __init__(self, visible: Callable[[str], None]) -> None:
        self.visible = visible
        self.alerts: list[str] = []
        self.names: dict[str, Any] = {
            "json": json,
            "time": time,
            "data": ["a", "b", "c"],
            "recognize_pattern": lambda data: SimpleNamespace(accuracy=0.9, confidence=0.8, found=len(data)),
            "opt_id": "opt_002",
            "measure_task_time": iter((45.2, 38.7)).__next__,
            "apply_optimization": lambda _: None,
            "calculate_user_impact": lambda: 0.85,
            "send_alert": self.alerts.append,
        }

    def run(self, snippet: str) -> dict[str, Any]:
        exec(compile(snippet, DOCUMENT.name, "exec"), self.names)
        return self.names


@pytest.fixture(params=["local", "prometheus"])
def session(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Session]:
    """A session on one of the two sources; ``visible(key)`` waits until the source knows what was recorded."""
    if request.param == "local":
        with testing.recording():
            yield Session(lambda _: None)
        return
    port = free_port()
    prometheus = servers.prometheus(targets=[f"127.0.0.1:{port}"])
    with testing.recording(prometheus_url=prometheus.url, host="127.0.0.1", port=port):
        otel_metrics.serve()

        def visible(expression: str) -> None:
            wait_until(lambda: prometheus.query(expression), what=expression)

        yield Session(visible)
    schedule.clear()


def test_the_document_has_the_snippets_that_are_run_here() -> None:
    assert "def monitor_system" in MONITOR
    assert "aggregate_daily_metrics" in DAILY


def test_the_snippets_run_and_print_what_was_recorded(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.run(BASIC)
    session.run(RECORD)
    session.visible("feature_errors_total > 0")

    stats = session.run(BASIC)["stats"]
    assert stats["count"] >= 1  # the value just recorded may not have been scraped yet
    assert stats["avg"] == pytest.approx(0.92)

    session.run(GET)
    printed = capsys.readouterr().out
    assert "Average satisfaction: 0.92" in printed
    assert "Satisfaction rate: 100.00%" in printed
    assert "Total usage: 1" in printed
    assert "Success rate: 100.00%" in printed
    assert "Avg duration: 125.50ms" in printed
    assert "Total errors: 1" in printed
    assert "Recovery rate: 100.00%" in printed
    (row,) = session.names["perf_metrics"]
    assert (row["metric_name"], row["unit"], row["context"]) == ("pattern_recognition_ms", "milliseconds", "production")
    assert row["avg"] == pytest.approx(125.5)

    dashboard = session.run(DASHBOARD)["dashboard"]
    assert dashboard["performance"]["categories"]["response_time"]["avg"] == pytest.approx(125.5)
    assert json.loads(capsys.readouterr().out)["usage"]["total_usage"] == 1


def test_the_daily_table_has_the_documented_columns(session: Session) -> None:
    session.run(RECORD)
    session.visible('feature_daily_values{metric_type="usage"}')

    today = {
        (row["metric_type"], row["metric_name"]): row for row in session.names["advanced"].aggregate_daily_metrics()
    }
    row = today["response_time", "pattern_recognition_ms"]
    assert row["count"] == 1
    for column in ("avg_value", "min_value", "max_value"):
        assert row[column] == pytest.approx(125.5), column
    assert row["stddev"] == pytest.approx(0)
    for column in ("percentile_50", "percentile_95", "percentile_99"):
        assert row[column] == pytest.approx(125.5, rel=0.5), column
    assert row["partial"] is True
    assert session.run("day = advanced.aggregate_daily_metrics(date='2025-12-14')")["day"] == []
    session.run(DAILY)


def test_the_integration_examples_record(session: Session) -> None:
    session.run(LEARNING)
    session.run(OPTIMIZATION)
    session.visible("feature_optimization_change_count")

    metrics = session.names["metrics"]
    assert metrics.get_learning_metrics("learning-engine")["avg_accuracy"] == pytest.approx(0.9)
    impact = metrics.get_optimization_metrics("process-optimization")
    assert impact["avg_change"] == pytest.approx(38.7 / 45.2)


def test_the_monitor_alerts_on_trouble_and_stays_silent_without_data(session: Session) -> None:
    advanced = session.names["advanced"] = otel_metrics.get_advanced_metrics()
    session.run(MONITOR)
    schedule.run_all()
    assert session.alerts == [], "no data is not trouble"

    for _ in range(11):
        advanced.record_error("learning-engine", "Timeout")
        advanced.record_satisfaction("learning-engine", "overall", 0.3)
        advanced.record_performance_metric("learning-engine", "response_time", "lookup", 2000, "ms")
    session.visible("feature_errors_total >= 11")

    schedule.run_all()
    assert session.alerts == ["High error rate detected", "Low user satisfaction", "High response times"]


@pytest.mark.usefixtures("session")
def test_no_data_is_not_zero() -> None:
    advanced = otel_metrics.get_advanced_metrics()

    assert math.isnan(advanced.get_satisfaction_metrics("nothing")["avg_score"])
    assert advanced.get_satisfaction_metrics("nothing")["has_data"] is False
    assert advanced.get_error_stats("nothing")["total_errors"] == 0
    assert advanced.get_performance_metrics("nothing") == []
