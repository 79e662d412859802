"""Getters answer for all processes that share a directory, with the numbers that one process would give."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.catalogue import USAGE
from otel_metrics.multiprocess import directory, recent, totals
from otel_metrics.multiprocess.totals import SharedTotals
from otel_metrics.recording import shared_store
from otel_metrics.recording.local_store import LocalStore
from otel_metrics.recording.shared_store import SharedStore
from otel_metrics.recording.sinks import Batch
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.multiprocess.interrupting import interrupted
from tests.multiprocess.test_asking import child
from tests.multiprocess.test_endpoint import instance, process, value
from tests.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 3600
MIDNIGHT = 20_000 * 86_400.0
"""Begin of 2024-10-04 UTC."""


class Clock:
    now = MIDNIGHT - 3 * HOUR

    def __call__(self) -> float:
        return self.now


@contextmanager
def by_hand(directory: Path | None, clock: Clock) -> Iterator[Runtime]:
    """A process that shares when it is told to: one that ticks may have looked at the clock before that was turned."""
    with process(directory, clock=clock) as made:
        assert made.recorder.flusher.ticker is not None
        made.recorder.flusher.ticker.stop()
        yield made


def record(runtime: Runtime, i: int) -> None:
    """One step of what happens; values whose sums are exact in any order."""
    advanced = runtime.advanced
    advanced.record_performance_metric("shop", "response_time", "order", 0.25 * (i % 97 + 1), "s")
    advanced.record_performance_metric("shop", "load", "balance", float(i % 31 - 15), "points")
    advanced.record_feature_usage("shop", f"action{i % 5}", 1024.0 * (i % 13), i % 3 > 0)
    advanced.record_satisfaction("shop", "speed", i % 5 / 4)
    advanced.record_error("shop", f"error{i % 3}", "warning", impact_level="low")
    advanced.record_learning_effectiveness("shop", "ranking", 0.5 + i % 4 / 8, 0.25, 16, 0.125)
    advanced.record_optimization_impact("shop", f"o{i % 4}", "speed", 4.0, 2.0 + i % 2, 0.5)
    runtime.basic.record_learning_metric("shop", "lessons", i % 7)


def asked(runtime: Runtime) -> dict[str, Any]:
    """What all getters say of several periods; not whose it is."""
    advanced = runtime.advanced
    found: dict[str, Any] = {
        "statistics": runtime.basic.get_metric_statistics("shop", "lessons", hours=40),
        "day": advanced.aggregate_daily_metrics(date(2024, 10, 4)),
    }
    for hours in (0.5, 30):
        found |= {
            f"performance {hours}": advanced.get_performance_metrics(hours=hours),
            f"satisfaction {hours}": advanced.get_satisfaction_metrics(hours=hours),
            f"usage {hours}": advanced.get_feature_usage_stats("shop", hours=hours),
            f"errors {hours}": advanced.get_error_stats(hours=hours),
            f"learning {hours}": advanced.get_learning_metrics(hours=hours),
            f"optimization {hours}": advanced.get_optimization_metrics(hours=hours),
            f"resources {hours}": advanced.get_resource_metrics(),
            f"dashboard {hours}": advanced.get_comprehensive_dashboard(hours=hours),
        }
    return {name: _of_nobody(each) for name, each in found.items()}


def _of_nobody(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _of_nobody(each) for key, each in found.items() if key not in {"scope", "generated_at"}}
    if isinstance(found, list):
        return sorted(map(_of_nobody, found), key=repr)  # those that are alike come in any order
    # Squares are added up in another order.
    return f"{found:.12g}" if isinstance(found, float) else found


def play(clock: Clock, steps: int, *turns: list[Runtime]) -> None:
    """Have processes record in turn, half an hour apart; ``turns`` are two shifts."""
    for i in range(steps):
        clock.now += 1800
        shift = turns[i * len(turns) // steps]
        for k in range(4):
            record(shift[(i + k) % len(shift)], 4 * i + k)
        for runtime in shift:
            runtime.recorder.share({})


def test_getters_say_of_many_processes_what_they_would_say_of_one(tmp_path: Path) -> None:
    clock = Clock()
    with by_hand(None, clock) as alone:
        play(clock, 80, [alone])
        alone.advanced.record_resource_utilization("memory", "heap", 50.0, 2.0, 1.0, "MB")
        expected = asked(alone)
    clock.now = MIDNIGHT - 3 * HOUR
    with ExitStack() as stack:
        first = [stack.enter_context(by_hand(tmp_path, clock)) for _ in range(3)]
        second = [stack.enter_context(by_hand(tmp_path, clock)) for _ in range(2)]
        play(clock, 80, first, second)
        for runtime in first:
            runtime.close()
        second[0].advanced.record_resource_utilization("memory", "heap", 50.0, 2.0, 1.0, "MB")
        second[0].recorder.share({})
        for reading in (*second, stack.enter_context(by_hand(tmp_path, clock))):
            answers = asked(reading)
            for name, answer in expected.items():
                assert answers[name] == answer, name
            usage = reading.advanced.get_feature_usage_stats("shop", hours=1)
            assert usage["source"] == "local"
            assert usage["scope"] == {"service_instance_id": instance(second[1])}
            assert "warnings" not in usage


def test_times_are_kept_apart_and_a_day_is_whole(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = MIDNIGHT - 60
    with by_hand(tmp_path, clock) as first, by_hand(tmp_path, clock) as second:
        second.advanced.record_performance_metric("shop", "response_time", "order", 4.0, "s")
        second.recorder.share({})
        clock.now = MIDNIGHT + HOUR
        first.advanced.record_performance_metric("shop", "response_time", "order", 2.0, "s")
        (row,) = first.advanced.get_performance_metrics(hours=0.5)
        assert (row["count"], row["avg"]) == (1, 2.0)
        clock.now = MIDNIGHT + 25 * HOUR
        (day,) = first.advanced.aggregate_daily_metrics(date(2024, 10, 4))
        assert (day["count"], day["partial"]) == (1, False)


def test_what_a_killed_process_had_shared_is_kept(tmp_path: Path) -> None:
    code = """
import time, otel_metrics
from otel_metrics import runtime
metrics = otel_metrics.get_advanced_metrics()
for i in range(100):
    metrics.record_error("shop", "timeout", "warning", error_message="credit card 4111")
ticker = runtime.current().recorder.flusher.ticker
for _ in range(2):  # from the next tick to the one after it: that one is done
    due = ticker.due
    while ticker.due == due:
        time.sleep(0.01)
print("ready", flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "OTM_MULTIPROCESS_DIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGKILL)
    settings = Settings.from_env({"OTM_MULTIPROCESS_DIR": str(tmp_path)})
    application = Runtime(settings)
    try:
        assert application.advanced.get_error_stats("shop", hours=1)["total_errors"] == 100
    finally:
        application.close()
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
        assert b"credit card" not in file.read_bytes()


def test_the_file_is_written_anew_before_it_grows_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_LEAST_BYTES", 5_000)
    clock = Clock()
    with (
        by_hand(None, clock) as alone,
        by_hand(tmp_path, clock) as first,
        by_hand(tmp_path, clock) as second,
    ):
        (file,) = _shared(first, tmp_path)
        before = file.read_bytes()[:16]
        for i in range(300):
            clock.now += 7
            for runtime in (alone, first if i % 2 else second):
                record(runtime, i)
            (first if i % 2 else second).recorder.share({})
            if i % 50 == 0:
                first.advanced.get_error_stats("shop", hours=1)
        wait_until(lambda: file.read_bytes()[:16] != before and not list(tmp_path.glob("*.rewriting")))
        expected = alone.advanced.get_performance_metrics(hours=2)
        for reading in (first, second):
            assert _of_nobody(reading.advanced.get_performance_metrics(hours=2)) == _of_nobody(expected)
            assert reading.advanced.get_error_stats("shop", hours=2)["total_errors"] == 300


def test_a_file_that_is_full_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((recent, "_LEAST_BYTES"), (recent, "MOST_BYTES"), (shared_store, "MOST_BYTES")):
        monkeypatch.setattr(module, name, 5_000)
    with by_hand(tmp_path, Clock()) as first:
        for _ in range(100):
            first.advanced.record_error("shop", "timeout", "warning")
            first.recorder.share({})
        assert first.recorder.shared_store is not None
        wait_until(first.recorder.shared_store.hand_over)
        assert first.advanced.get_error_stats("shop", hours=2)["total_errors"] == 100
        (file,) = tmp_path.glob("*.recent")
        assert file.stat().st_size < 5_100


def test_whoever_is_killed_while_it_writes_the_file_anew_keeps_nobody_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the file is full, which is no full disk, and values wait."""
    for name in ("_LEAST_BYTES", "MOST_BYTES"):
        monkeypatch.setattr(recent, name, 1_000)
    monkeypatch.setattr(directory, "_STOPPED", 3600.0)  # its end is what counts
    clock = Clock()

    def new_store() -> SharedStore:
        return SharedStore(SharedTotals(tmp_path, "shop"), LocalStore(clock, emptied=True))

    def use(store: SharedStore) -> bool:
        store._own.counter(USAGE, {"feature": "shop"}).fold(Batch([], 1, 0.0), clock.now)
        return store.hand_over()

    store = new_store()

    def work() -> None:
        begun, another = threading.Event(), new_store()

        def take_long() -> None:
            begun.set()
            threading.Event().wait()

        another._replace = take_long  # type: ignore[method-assign]
        while use(another):
            pass
        begun.wait()

    def uses() -> float:
        found = store.values()
        assert found is not None
        return sum(amount for _, amount in found.counts(USAGE, 0.0, clock.now + HOUR))

    with child(work):
        before = uses()
        assert not use(store)
        assert not use(store)
        assert set(store._totals.problems) == {"busy"}
    wait_until(store.hand_over)
    assert uses() == before + 2
    store._totals.close()


def test_a_file_that_cannot_be_written_anew_is_not_tried_every_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read all of it takes time."""
    monkeypatch.setattr(recent, "_LEAST_BYTES", 10)
    monkeypatch.setattr(shared_store, "_REST", 3600.0)
    with by_hand(tmp_path, Clock()) as first:
        assert first.totals is not None
        (keys,) = tmp_path.glob("*.keys")
        (keys.with_suffix(".recent.rewriting") / "in the way").mkdir(parents=True)
        for _ in range(10):
            first.advanced.record_error("shop", "timeout", "warning")
            first.recorder.share({})
            wait_until(lambda: all(each.name != "otel_metrics.rewrite" for each in threading.enumerate()))
        assert first.totals.problems == {"io_error": 1}


def test_a_file_that_another_process_could_not_finish_keeps_nobody_from_making_it(tmp_path: Path) -> None:
    with by_hand(tmp_path, Clock()) as first:
        (keys,) = tmp_path.glob("*.keys")
        keys.with_suffix(".recent.new").touch()
        first.advanced.record_error("shop", "timeout", "warning")
        found = first.advanced.get_error_stats("shop", hours=2)
        assert found["total_errors"] == 1
        assert "warnings" not in found


def test_a_process_that_cannot_begin_a_thread_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_LEAST_BYTES", 10)

    def fail(_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with by_hand(tmp_path, Clock()) as first:
        record(first, 0)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            first.recorder.share({})
        assert first.advanced.get_error_stats("shop", hours=2)["total_errors"] == 1


def test_what_is_known_begins_when_the_file_was_lost(tmp_path: Path) -> None:
    clock = Clock()
    with by_hand(tmp_path, clock) as first, by_hand(tmp_path, clock) as second:
        first.advanced.get_error_stats("shop", hours=2)
        clock.now += HOUR
        second.advanced.record_error("shop", "timeout", "warning")
        second.recorder.share({})
        first.recorder.share({})
        clock.now += 60
        for file in tmp_path.glob("*.recent"):
            file.unlink()
        found = first.advanced.get_error_stats("shop", hours=24)
        assert found["total_errors"] == 0
        assert found["window"]["start"] >= "2024-10-03T22:00:00"


def test_a_hole_in_the_file_is_one_problem(tmp_path: Path) -> None:
    with by_hand(tmp_path, Clock()) as first:
        (file,) = _shared(first, tmp_path)
        first.advanced.record_error("shop", "timeout", "warning")
        first.recorder.share({})
        with file.open("r+b") as opened:
            opened.seek(44)
            opened.write(bytes(file.stat().st_size - 44))
        assert first.advanced.get_error_stats("shop", hours=2)["total_errors"] == 0
        assert first.recorder.shared_store._totals.problems == {"corrupt_row": 1}  # type: ignore[union-attr]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="CPython 3.10 runs signal handlers between any two instructions")
# Of what of the standard library was interrupted.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(method="thread")
def test_sharing_that_is_interrupted_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    clock = Clock()
    shared = SharedTotals(tmp_path, "shop")
    own = LocalStore(clock, emptied=True)
    store = SharedStore(shared, own)
    uses = [own.counter(USAGE, {"feature": str(i)}) for i in range(20)]

    def record() -> None:
        for each in uses:
            each.fold(Batch([], 1, 0.0), clock.now)

    assert interrupted(400, record, store.hand_over) > 10
    assert store.hand_over(), shared.problems
    found = store.values()
    assert found is not None
    assert {amount for _, amount in found.counts(USAGE, 0.0, clock.now + HOUR)} == {400.0}
    shared.close()


def _shared(runtime: Runtime, directory: Path) -> list[Path]:
    runtime.advanced.record_error("other", "timeout", "warning")
    runtime.recorder.share({})
    return list(directory.glob("*.recent"))


@pytest.mark.parametrize("damage", ["head", "middle", "cut", "empty", "gone", "everything gone"])
def test_damage_costs_what_was_damaged(tmp_path: Path, damage: str) -> None:
    with process(tmp_path) as first, process(tmp_path) as second:
        for runtime in (first, second):
            runtime.advanced.record_error("shop", "timeout", "warning")
            runtime.recorder.share({})
        (file,) = tmp_path.glob("*.recent")
        content = file.read_bytes()
        if damage == "everything gone":
            shutil.rmtree(tmp_path)
        elif damage == "gone":
            file.unlink()
        elif damage == "cut":
            os.truncate(file, len(content) - 3)
        elif damage == "empty":
            os.truncate(file, 0)
        else:
            at = 20 if damage == "head" else 70
            file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        for times in (1, 2):
            first.advanced.record_error("shop", "timeout", "warning")
            second.advanced.record_error("shop", "timeout", "warning")
            second.recorder.share({})
            found = first.advanced.get_error_stats("shop", hours=1)
            assert 2 * times <= found["total_errors"] <= 2 * times + 2
            assert "warnings" not in found
        with process(tmp_path) as third:  # which has read nothing yet
            assert third.advanced.get_error_stats("shop", hours=1)["total_errors"] == 4 + (damage == "middle")


def test_a_process_that_cannot_join_says_so_and_loses_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "shared"
    clock = Clock()
    with by_hand(directory, clock) as first:
        first.advanced.record_error("shop", "timeout", "warning")
        first.recorder.share({})
        directory.rename(tmp_path / "elsewhere")
        directory.write_text("in the way")
        clock.now += 60
        first.advanced.record_error("shop", "timeout", "warning")
        found = first.advanced.get_error_stats("shop", hours=1)
        assert found["total_errors"] == 1
        assert found["window"]["start"].startswith("2024-10-03T21:00:00")
        assert found["scope"] == {}
        assert found["warnings"] == [
            "answered from this process alone, which is one of several: ask a Prometheus server for all of them"
        ]
        directory.unlink()
        (tmp_path / "elsewhere").rename(directory)
        assert first.advanced.get_error_stats("shop", hours=1)["total_errors"] == 2
        assert value(first, "otel_metrics_shared_errors_total")


def test_a_full_disk_delays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with process(tmp_path) as first:
        first.advanced.record_error("shop", "timeout", "warning")
        first.recorder.share({})
        with monkeypatch.context() as full:
            full.setattr(recent, "_write", _on_a_full_disk)
            first.advanced.record_error("shop", "timeout", "warning")
            first.recorder.share({})
        assert first.advanced.get_error_stats("shop", hours=1)["total_errors"] == 2
        assert value(first, "otel_metrics_shared_errors_total", 'reason="disk_full"') == 1


def _on_a_full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "full")


def test_a_process_that_ends_waits_for_another_one_that_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "_PATIENCE", 30.0)
    clock = Clock()
    with by_hand(tmp_path, clock) as first:
        (file,) = _shared(first, tmp_path)
        with file.open() as other, by_hand(tmp_path, clock) as second:
            assert second.totals is not None
            problems = second.totals.problems
            second.advanced.record_error("shop", "timeout", "warning")
            fcntl.flock(other, fcntl.LOCK_EX)

            def unlock() -> None:
                wait_until(lambda: problems["busy"])
                fcntl.flock(other, fcntl.LOCK_UN)

            threading.Thread(target=unlock).start()
        assert first.advanced.get_error_stats("shop", hours=1)["total_errors"] == 1


def test_what_another_process_recorded_a_moment_ago_is_there(tmp_path: Path) -> None:
    with process(tmp_path) as first, process(tmp_path) as second:
        for times in range(1, 6):
            second.advanced.record_error("shop", "timeout", "warning")
            assert first.advanced.get_error_stats("shop", hours=1)["total_errors"] == times
