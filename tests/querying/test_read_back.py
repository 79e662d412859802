"""Every getter, right after the first call that it reads, by the real clock: what was recorded is there."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from otel_metrics import testing

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_metrics.testing import Recording


class Color(Enum):
    RED = "red"


def record(metrics: Recording) -> None:
    metrics.basic.record_performance_metric("chat", "startup_ms", 10.0)
    metrics.advanced.record_performance_metric("chat", "memory_usage", "heap", 3.0, "GB")
    metrics.advanced.record_satisfaction("chat", "speed", 0.9)
    metrics.advanced.record_feature_usage("chat", "ask", 10.0)
    metrics.advanced.record_error("chat", "Timeout")
    metrics.advanced.record_learning_effectiveness("chat", "prediction", 0.9)
    metrics.advanced.record_optimization_impact("chat", "opt-1", "time", 40.0, 30.0)
    metrics.advanced.record_resource_utilization("memory", "c", 65.5)


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda m: m.basic.get_metric_statistics("chat", "startup_ms")["avg"], 10.0),
        (
            lambda m: {row["metric_name"]: row["avg"] for row in m.advanced.get_performance_metrics("chat")},
            {"heap": 3.0, "startup_ms": 10.0},
        ),
        (lambda m: m.advanced.get_satisfaction_metrics()["avg_score"], 0.9),
        (lambda m: m.advanced.get_feature_usage_stats()["total_usage"], 1),
        (lambda m: m.advanced.get_error_stats()["total_errors"], 1),
        (lambda m: m.advanced.get_learning_metrics()["avg_accuracy"], 0.9),
        (
            lambda m: [
                (row["optimization_id"], row["before_value"], row["after_value"])
                for row in m.advanced.get_optimization_metrics()["optimizations"]
            ],
            [("opt-1", 40.0, 30.0)],
        ),
        (
            lambda m: [
                (row["resource_name"], row["utilization_percent"])
                for row in m.advanced.get_resource_metrics()["resources"]
            ],
            [("c", 65.5)],
        ),
        (lambda m: m.advanced.get_comprehensive_dashboard()["resources"]["has_data"], True),
        (
            lambda m: [row["count"] for row in m.advanced.aggregate_daily_metrics() if row["metric_name"] == "ask"],
            [1],
        ),
    ],
)
def test_what_was_just_recorded_is_read(read: Callable[[Recording], Any], expected: Any) -> None:
    with testing.recording(strict=False) as metrics:
        record(metrics)

        assert read(metrics) == expected


def test_a_gauge_that_is_set_all_the_time_is_always_there() -> None:
    with testing.recording(strict=False) as metrics:
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                metrics.advanced.record_resource_utilization("memory", "c", 65.5)

        worker = threading.Thread(target=work)
        metrics.advanced.record_resource_utilization("memory", "c", 65.5)
        worker.start()
        try:
            seen = [len(metrics.advanced.get_resource_metrics()["resources"]) for _ in range(300)]
        finally:
            stop.set()
            worker.join()

    assert seen == [1] * 300


def test_of_many_resources_the_dashboard_shows_the_fullest_ones_whole() -> None:
    with testing.recording() as metrics:
        for number in range(150):
            metrics.advanced.record_resource_utilization(
                "cache", f"c{number}", number / 2, allocated=1000.0 - number, used=1.0, unit="MB"
            )
        shown = metrics.advanced.get_comprehensive_dashboard()["resources"]["resources"]
        every = metrics.advanced.get_resource_metrics()["resources"]

    assert [row["resource_name"] for row in shown] == [f"c{number}" for number in range(149, 49, -1)]
    assert shown == every[:100]


def test_values_of_another_kind_under_the_same_name_are_told() -> None:
    with testing.recording() as metrics:
        for value in (0.5, 0.7):
            metrics.basic.record_learning_metric("chat", "accuracy", value)
        alone = metrics.basic.get_metric_statistics("chat", "accuracy")
        metrics.basic.record_performance_metric("chat", "accuracy", 3.0)
        both = metrics.basic.get_metric_statistics("chat", "accuracy")

    assert (alone["count"], "warnings" in alone) == (2, False)
    assert (both["count"], both["avg"]) == (1, 3.0)
    assert both["warnings"] == [
        "not counted: 2 under this name, of another kind (performance, learning, optimization) or unit"
    ]


@pytest.mark.parametrize("hours", [Fraction(24), Fraction(1, 2)])
@pytest.mark.parametrize("feature", [UUID(int=5), Decimal("1.5"), Color.RED])
def test_what_was_asked_for_is_repeated_as_json_can_say_it(hours: Any, feature: Any) -> None:
    with testing.recording() as metrics:
        metrics.advanced.record_error(feature, "Timeout")
        board = metrics.advanced.get_comprehensive_dashboard(feature, hours)

    read = json.loads(json.dumps(board))
    assert (read["feature"], read["hours"]) == (str(getattr(feature, "value", feature)), float(hours))
    assert read["errors"]["total_errors"] == 1


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime.fromisoformat("2025-12-14"), "2025-12-14"),
        (datetime.fromisoformat("2025-12-14T23:59"), "2025-12-14"),
        (datetime(2025, 12, 14, 23, 59, tzinfo=timezone(timedelta(hours=-5))), "2025-12-15"),
        (datetime(2025, 12, 14, tzinfo=timezone(timedelta(hours=9))), "2025-12-13"),
    ],
)
def test_the_day_of_a_moment_does_not_depend_on_where_the_process_runs(
    monkeypatch: pytest.MonkeyPatch, zone: str, moment: datetime, day: str
) -> None:
    def noon() -> float:
        return datetime.fromisoformat(f"{day}T12:00+00:00").timestamp()

    try:
        with monkeypatch.context() as patched:
            patched.setenv("TZ", zone)
            time.tzset()
            with testing.recording(clock=noon) as metrics:
                metrics.advanced.record_feature_usage("chat", "ask", 5.0)
                rows = metrics.advanced.aggregate_daily_metrics(moment)
    finally:
        time.tzset()

    assert [(row["date"], row["count"]) for row in rows] == [(day, 1)]
