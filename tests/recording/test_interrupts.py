"""A signal handler that raises (Ctrl-C, a time limit) may end a record call anywhere: nothing hangs, nothing is lost or doubled."""

from __future__ import annotations

import gc
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from otel_metrics import runtime, testing
from tests.multiprocess.interrupting import interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="CPython 3.10 runs signal handlers between any two instructions"
)


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """An exception out of a callback of the collector reaches nobody."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.timeout(method="thread")
def test_a_time_limit_that_ends_record_calls_loses_and_doubles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window between a call's begin and its append is the caller's own: so many calls may or may not have been made."""
    monkeypatch.setattr("otel_metrics.recording.flusher._LONGEST", 240.0)  # a lock that was left taken is waited for
    with testing.recording(strict=False) as metrics:
        made = 2
        metrics.advanced.record_feature_usage("shop", "order", 1.0, success=True)
        metrics.advanced.record_satisfaction("shop", "speed", 0.0)

        def calls() -> None:
            nonlocal made
            for i in range(1000):  # longer than the limit: foreign code, which may run here, may swallow a limit
                made += 1
                metrics.advanced.record_feature_usage("shop", "order", float(i % 50), success=True)
                made += 1
                metrics.advanced.record_satisfaction("shop", "speed", (i % 4) / 3)

        # Scraped now and then: 131,072 values that wait one by one are lost if their hand-over is interrupted.
        limits = 0
        for _ in range(20):
            limits += interrupted(500, lambda: None, calls, longest=0.0003)
            metrics.samples()
        assert limits > 1000
        done = threading.Event()

        def scrape() -> None:
            metrics.samples()
            done.set()

        threading.Thread(target=scrape, daemon=True).start()
        assert done.wait(120), "a scrape hangs"

        def value(name: str, **labels: str) -> float:
            return metrics.value(name, **labels) or 0.0

        order = {"action": "order", "outcome": "success"}
        uses = value("feature_usage_total", **order)
        durations = value("feature_usage_duration_seconds_count", **order)
        in_buckets = value("feature_usage_duration_seconds_bucket", **order, le="+Inf")
        scores = value("feature_satisfaction_score_count", satisfaction_type="speed")
        answers = value("feature_satisfaction_responses_total", satisfaction_type="speed")
        of_the_day = value("feature_daily_values", metric_type="usage", day="current")
        in_the_window = metrics.advanced.get_feature_usage_stats("shop")["total_usage"]
        scores_in_the_window = metrics.advanced.get_satisfaction_metrics("shop")["total_responses"]
    assert uses == durations == in_buckets == of_the_day == in_the_window
    assert scores == answers == scores_in_the_window
    assert made - limits <= uses + scores <= made


@pytest.mark.timeout(method="thread")
def test_a_time_limit_that_ends_a_hand_over_to_other_processes_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    with testing.recording(strict=False, multiprocess_directory=tmp_path) as metrics:
        flusher = runtime.current().recorder.flusher
        made = 1
        metrics.advanced.record_feature_usage("shop", "order", 0.0, success=True)

        def calls() -> None:
            nonlocal made
            for i in range(40):
                made += 1
                metrics.advanced.record_feature_usage("shop", "order", float(i), success=True)
                flusher.flush()

        limits = interrupted(400, flusher.flush, calls)  # which begins the thread anew that answers others
        assert limits > 10
        order = {"action": "order", "outcome": "success"}
        uses = metrics.value("feature_usage_total", **order) or 0.0
        durations = metrics.value("feature_usage_duration_seconds_count", **order)
        of_the_day = metrics.value("feature_daily_values", metric_type="usage", day="current")
    assert uses == durations == of_the_day
    assert made - limits <= uses <= made
