"""A signal handler that raises (Ctrl-C, a time limit) may end a record call anywhere: nothing hangs, nothing is lost or doubled."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics import runtime, testing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="CPython 3.10 runs signal handlers between any two instructions"
)


class TimeLimitError(Exception):
    """What a task queue raises out of its signal handler when a task has run for too long."""


@pytest.fixture
def limit() -> Iterator[Callable[[float], object]]:
    """A function that raises from a signal handler of this thread, once, in so many seconds."""

    def handler(_signal: int, _frame: Any) -> None:
        raise TimeLimitError

    before = signal.signal(signal.SIGVTALRM, handler)
    gc.disable()  # an exception out of a callback of the collector reaches nobody
    try:
        yield partial(signal.setitimer, signal.ITIMER_VIRTUAL)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        gc.enable()


def test_a_time_limit_that_ends_record_calls_loses_and_doubles_nothing(limit: Callable[[float], object]) -> None:
    """The window between a call's begin and its append is the caller's own: so many calls may or may not have been made."""
    with testing.recording(strict=False) as metrics:
        made, limits = 2, 0  # bound: what makes a series may swallow a time limit, as it runs foreign code
        metrics.advanced.record_feature_usage("shop", "order", 1.0, success=True)
        metrics.advanced.record_satisfaction("shop", "speed", 0.0)
        while limits < 1000:
            try:
                limit(0.0002 + limits % 100 * 1e-6)
                for i in range(100_000):
                    made += 1
                    metrics.advanced.record_feature_usage("shop", "order", float(i % 50), success=True)
                    made += 1
                    metrics.advanced.record_satisfaction("shop", "speed", (i % 4) / 3)
            except TimeLimitError:
                limits += 1
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
    assert uses == durations == in_buckets == of_the_day == in_the_window
    assert scores == answers
    assert made - limits <= uses + scores <= made


def test_a_time_limit_that_ends_a_hand_over_to_other_processes_loses_and_doubles_nothing(
    limit: Callable[[float], object], tmp_path: Path
) -> None:
    with testing.recording(strict=False, multiprocess_directory=tmp_path) as metrics:
        flusher = runtime.current().recorder.flusher
        rounds, made = 200, 0
        for _ in range(rounds):
            try:
                limit(0.0002)
                for i in range(40):  # bound: who hands over may swallow a time limit, as it runs foreign code
                    made += 1
                    metrics.advanced.record_feature_usage("shop", "order", float(i), success=True)
                    flusher.flush()
            except TimeLimitError:
                pass
        limit(0.0)
        order = {"action": "order", "outcome": "success"}
        uses = metrics.value("feature_usage_total", **order) or 0.0
        durations = metrics.value("feature_usage_duration_seconds_count", **order)
        of_the_day = metrics.value("feature_daily_values", metric_type="usage", day="current")
    assert uses == durations == of_the_day
    assert made - rounds <= uses <= made
