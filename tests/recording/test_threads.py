"""Threads, signal handlers, finalizers and log handlers record while others fold and collect: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from otel_metrics import testing
from otel_metrics.recording.arguments import ArgumentSpec
from otel_metrics.recording.buffers import LIMIT
from otel_metrics.recording.flusher import Flusher
from otel_metrics.recording.sinks import CounterSink, HistogramSink, Sink
from otel_metrics.recording.ticker import Ticker
from otel_metrics.sdk.views import Way, best_way, views
from tests.processes import wait_until
from tests.recording.streams import BOUNDS, collect, cumulative, delta

if TYPE_CHECKING:
    from otel_metrics.recording.buffers import SeriesBuffer
    from otel_metrics.recording.sinks import Batch


class Rig:
    """A provider, a flusher and a record call, as the facade makes them."""

    def __init__(self, way: Way | None = None, tick: float | None = 0.001) -> None:
        self.readers = [cumulative(), delta()]
        self.provider = MeterProvider(self.readers, shutdown_on_exit=False, views=views({"h": BOUNDS}, way=way))
        self.meter = self.provider.get_meter("test")
        self.flusher = Flusher(self.meter, tick=tick)
        self.histogram, self.counter = self.meter.create_histogram("h"), self.meter.create_counter("c")
        self.rejected: list[object] = []
        self.column = ArgumentSpec(reject=lambda value, _reason: self.rejected.append(value))
        self.buffers: dict[str, SeriesBuffer] = {}
        self.call_counter = self.flusher.call_counter((CounterSink(self.counter, {}),))

    def record(self, name: str, value: Any) -> None:
        try:
            buffer = self.buffers[name]
        except KeyError:
            sinks = ((HistogramSink(self.histogram, {"name": name}),),)
            buffer = self.buffers.setdefault(name, self.flusher.buffer((self.column,), sinks))
        buffer.append(value)
        if len(buffer) >= LIMIT:
            self.flusher.fold(buffer)
        self.call_counter.hit()

    def close(self) -> None:
        self.flusher.close()
        self.provider.shutdown()

    def total(self) -> tuple[int, float, int]:
        """Return (count, sum, calls) over all series, as the cumulative reader sees them."""
        seen = collect(self.readers[0])
        points = list(seen.get("h", {}).values())
        calls = sum(point["value"].expected for point in seen["c"].values())
        return sum(point["count"] for point in points), sum(point["sum"].expected for point in points), calls


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Any:
    made = Rig(getattr(request, "param", None))
    yield made
    made.close()


@pytest.mark.parametrize("rig", [Way.MERGE, Way.REPEAT], indirect=True)
def test_eight_threads_and_two_readers(rig: Rig) -> None:
    calls, names = 20_000, [f"n{i}" for i in range(40)]
    deltas: list[int] = []
    done = threading.Event()

    def work(seed: int) -> None:
        for i in range(calls):
            rig.record(names[(i * 7 + seed) % 40], float(i % 16))

    def read() -> None:
        while not done.is_set():
            deltas.append(sum(point["count"] for point in collect(rig.readers[1]).get("h", {}).values()))
            collect(rig.readers[0])

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    reader = threading.Thread(target=read)
    for thread in (reader, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    reader.join()
    deltas.append(sum(point["count"] for point in collect(rig.readers[1]).get("h", {}).values()))
    assert rig.total() == (8 * calls, 8 * sum(float(i % 16) for i in range(calls)), 8 * calls)
    assert sum(deltas) == 8 * calls
    assert not rig.rejected


def test_what_was_recorded_before_a_drain_is_in_the_sinks(rig: Rig) -> None:
    folded: list[float] = []

    class Slow(Sink):
        def fold(self, batch: Any, _now: float, /) -> None:
            entered.set()
            proceed.wait(120)
            folded.extend(batch.values)

    entered, proceed = threading.Event(), threading.Event()
    buffer = rig.flusher.buffer((rig.column,), ((Slow(),),))
    buffer.append(1.0)
    folder = threading.Thread(target=rig.flusher.fold, args=(buffer,))
    folder.start()
    entered.wait(120)
    drainer = threading.Thread(target=rig.flusher.drain)
    drainer.start()
    drainer.join(0.05)
    assert drainer.is_alive()
    proceed.set()
    drainer.join(120)
    assert folded == [1.0]
    folder.join()


def test_signal_handler_records_and_reads(rig: Rig) -> None:
    handled = 0

    def handle(_signal: int, _frame: object) -> None:
        nonlocal handled
        handled += 1
        for _ in range(LIMIT + 1):
            rig.record("signal", 2.0)
        rig.record(f"new{handled % 100}", 2.0)
        rig.flusher.drain()

    calls = 0
    before = signal.signal(signal.SIGVTALRM, handle)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0005, 0.0005)
    try:
        while handled < 200:
            for i in range(1000):
                rig.record("main", float(i % 4))
            calls += 1000
            collect(rig.readers[1])
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    count, total, hits = rig.total()
    assert count == hits == calls + handled * (LIMIT + 2)
    assert total == calls * 1.5 + handled * (LIMIT + 2) * 2.0


def test_finalizers_record_while_their_thread_folds_or_collects(rig: Rig) -> None:
    finalized = 0

    class Recording:
        def __init__(self) -> None:
            self.itself = self  # only the garbage collector, at any allocation, gets rid of it

        def __del__(self) -> None:
            nonlocal finalized
            finalized += 1
            rig.record("finalizer", 1.0)
            rig.flusher.drain()

    before = gc.get_threshold()
    gc.set_threshold(7)
    try:
        for i in range(20_000):
            Recording()
            rig.record("main", 1.0)
            if i % 500 == 0:
                collect(rig.readers[i % 2])
    finally:
        gc.set_threshold(*before)

    def all_finalized() -> bool:
        gc.collect()  # does nothing while another thread collects, whose finalizers wait for this one
        return finalized == 20_000

    wait_until(all_finalized)
    assert rig.total() == (40_000, 40_000.0, 40_000)


def test_values_and_log_handlers_that_record_while_they_are_folded(rig: Rig) -> None:
    class Handler(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            rig.record("handler", 1.0)
            rig.flusher.drain()
            rig.flusher.flush()

    class Number:
        def __float__(self) -> float:
            rig.record("number", 1.0)
            rig.flusher.drain()
            return 1.0

    logger = logging.getLogger("test.rejections")
    logger.propagate = False
    logger.addHandler(Handler())
    rig.column.reject = lambda value, reason: logger.warning("%r: %s", value, reason)
    for _ in range(500):
        rig.record("main", Number())
        rig.record("main", "not a number")
    rig.flusher.drain()
    count, _, calls = rig.total()
    assert calls == 500 * 4
    assert count == 500 * 3  # main, number and handler; what is no number is rejected


def test_asyncio_tasks(rig: Rig) -> None:
    async def work() -> None:
        for i in range(500):
            rig.record("task", 1.0)
            if i % 50 == 0:
                await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(20)))

    asyncio.run(main())
    assert rig.total() == (10_000, 10_000.0, 10_000)


def test_the_ticker_folds_without_being_asked(rig: Rig) -> None:
    seen = threading.Event()

    class Kept(Sink):
        def fold(self, _chunk: Any, _now: float, /) -> None:
            seen.set()

    rig.flusher.buffer((rig.column,), ((Kept(),),)).append(1.0)
    assert seen.wait(120)


def test_the_ticker_does_not_wait_for_its_interval_where_midnight_is_nearer() -> None:
    rig = Rig(tick=None)
    folded = threading.Event()

    class Kept(Sink):
        def fold(self, _chunk: Any, _now: float, /) -> None:
            folded.set()

    # A clock that is stopped a moment before midnight: no machine is so slow that it comes meanwhile.
    flusher = Flusher(rig.meter, clock=lambda: 86_400 - 0.2, tick=3600.0)
    try:
        buffer = flusher.buffer((rig.column,), ((Kept(),),))
        # The ticker has done its first round; the next one is at midnight.
        wait_until(lambda: flusher.ticker is not None and flusher.ticker.due > 0.0)
        buffer.append(1.0)
        assert folded.wait(120), "the ticker waits for an hour"
    finally:
        flusher.close()
        rig.close()


def test_a_ticker_that_cannot_start_at_first_starts_later(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tick=None)
    start = threading.Thread.start

    def reject(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    flusher = Flusher(rig.meter, tick=0.001)
    try:
        monkeypatch.setattr(threading.Thread, "start", reject)
        first = flusher.buffer((rig.column,), ((HistogramSink(rig.histogram, {"name": "first"}),),))
        first.append(1.0)
        monkeypatch.setattr(threading.Thread, "start", start)
        flusher.buffer((rig.column,), ((HistogramSink(rig.histogram, {"name": "second"}),),))
        deadline = time.monotonic() + 120
        while first and time.monotonic() < deadline:
            time.sleep(0.001)
        assert not first, "nobody folded it"
    finally:
        flusher.close()
        rig.close()


def test_a_signal_handler_that_reads_does_not_wait_for_what_waits_for_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It interrupted this thread while that held a lock of the SDK's, which the thread that folds wants."""
    monkeypatch.setattr("otel_metrics.recording.flusher._LONGEST", 0.1)
    sdk_lock, folds, folded = threading.Lock(), threading.Event(), []

    class Wanting(Sink):
        def fold(self, batch: Any, _now: float, /) -> None:
            folds.set()
            with sdk_lock:
                folded.extend(batch.values)

    buffers = [rig.flusher.buffer((rig.column,), ((Wanting(),),)) for _ in range(100)]
    for buffer in buffers:
        buffer.append(1.0)
    with sdk_lock:
        other = threading.Thread(target=rig.flusher.fold, args=(buffers[0],))
        other.start()
        assert folds.wait(120)
        rig.flusher.flush()  # out of the signal handler
    other.join()
    rig.flusher.drain()
    # However many wait to be folded and handed over, it waits once. (The ticker's thread waits, too, and says so itself.)
    said = [record.getMessage() for record in caplog.records if record.thread == threading.get_ident()]
    assert len(said) == 1
    assert said[0].startswith("another thread has been folding for 0.1 s")
    assert folded == [1.0] * 100


class TimeLimitError(Exception):
    """What a signal handler raises."""


@pytest.mark.parametrize("where", ["before the thread starts", "after it has started"])
def test_a_time_limit_while_the_ticker_starts_leaves_exactly_one(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if where == "after it has started":
            start(thread)
        raise TimeLimitError

    ticks = Ticks()
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(TimeLimitError):
        ticks.ticker.start()
    monkeypatch.setattr(threading.Thread, "start", start)
    ticks.ticker.start()
    assert len(ticks.threads()) == 1


def test_a_signal_handler_that_interrupts_the_start_of_the_ticker_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """``threading`` holds a lock of its own there, for which a second start in the same thread would wait for ever."""
    ticks = Ticks()
    start, starts = threading.Thread.start, []

    def interrupted(thread: threading.Thread) -> None:
        starts.append(thread)
        ticks.ticker.start()  # out of a signal handler
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    ticks.ticker.start()
    assert len(ticks.threads()) == len(starts) == 1


def test_threads_that_record_first_at_the_same_time_start_one_ticker(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks()
    made: list[threading.Thread] = []

    class Slow(threading.Thread):
        """While one is made, another thread records and starts the ticker, too."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)
            if len(made) == 1:
                ticks.ticker.start()

    monkeypatch.setattr(threading, "Thread", Slow)
    ticks.ticker.start()
    assert len(made) == 2, "or this test shows nothing"
    assert len(ticks.threads()) == 1


class Ticks:
    """A ticker, and who ticked."""

    def __init__(self) -> None:
        self.ticker = Ticker(0.0001, time.time, self._tick)
        self._by: list[int] = []
        self._enough = threading.Event()

    def threads(self) -> set[int]:
        """Return the threads that took part in many ticks, then stop."""
        assert self._enough.wait(120)
        self.ticker.stop()
        return set(self._by)

    def _tick(self, _now: float) -> None:
        self._by.append(threading.get_ident())
        if len(self._by) >= 500:
            self._enough.set()


def test_what_an_instrument_did_not_take_is_handed_over_at_the_next_collection(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one", "two"):
        rig.record(name, 1.0)
    rig.flusher.flush()

    def fail(*_: Any) -> None:
        raise OSError("for a moment")

    for name in ("one", "two"):
        rig.record(name, 2.0)
    with monkeypatch.context() as patched:
        patched.setattr(rig.histogram, "record", fail)
        patched.setattr(rig.counter, "add", fail)
        rig.flusher.flush()
    assert "for a moment" in caplog.text
    rig.flusher.flush()
    assert rig.total() == (4, 6.0, 4)


class Slow(Sink):
    """Takes all the time that a collection has."""

    def __init__(self) -> None:
        self.handed_over = 0

    def fold(self, batch: Batch, _now: float, /) -> None:
        batch.taken += 1

    def flush(self) -> None:
        self.handed_over += 1


def test_what_a_collection_had_no_time_for_is_handed_over_by_the_next(rig: Rig) -> None:
    sinks = [Slow() for _ in range(100)]
    for sink in sinks:
        rig.flusher.buffer((ArgumentSpec(),), ((sink,),)).append(1.0)
    rig.flusher.flush(patience=0.0)
    assert sum(sink.handed_over for sink in sinks) <= 16
    rig.flusher.flush()
    assert [sink.handed_over for sink in sinks] == [1] * 100


def test_calls_do_not_ask_again_and_again_while_another_thread_folds() -> None:
    with testing.recording() as metrics:
        advanced, flusher = metrics.advanced, metrics.advanced._flusher
        advanced.record_performance_metric("search", "latency", "query", 1.0, "ms")
        flusher.drain()
        asked: list[int] = []
        fold = advanced._fold

        def ask(buffer: SeriesBuffer) -> None:
            asked.append(len(buffer))
            fold(buffer)

        advanced._fold = ask
        begun, done = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            done.wait()

        holder = threading.Thread(target=flusher._alone, args=(hold,))
        holder.start()
        begun.wait()
        for _ in range(400):
            advanced.record_performance_metric("search", "latency", "query", 1.0, "ms")
        assert asked == [128, 256, 384]
        done.set()
        holder.join()
        assert advanced.get_performance_metrics("search")[0]["count"] == 401


def test_values_that_nobody_takes_in_bulk_do_not_pile_up() -> None:
    rig = Rig(Way.PUBLIC, tick=None)  # as if the ticker never came
    most = 0
    try:
        for _ in range(150_000):
            rig.record("main", 1.0)
            (sink,) = rig.buffers["main"].sinks[0]
            assert isinstance(sink, HistogramSink)
            most = max(most, len(sink._values or ()))
        assert most <= 65_536
        assert rig.total()[0] == 150_000
    finally:
        rig.close()


def test_the_ticker_hands_over_what_nobody_takes_in_bulk() -> None:
    rig = Rig(Way.PUBLIC)
    try:
        for _ in range(10_000):
            rig.record("main", 1.0)
        (sink,) = rig.buffers["main"].sinks[0]
        wait_until(lambda: not sink.crowded and not rig.buffers["main"], what="no collection is near")
        assert rig.total()[0] == 10_000
    finally:
        rig.close()


def test_best_way_is_the_best() -> None:
    assert best_way() is Way.MERGE


@pytest.mark.parametrize("gone", ["_create_aggregation", "_sample_exemplar", "_collect_exemplars"])
def test_an_sdk_whose_inside_has_changed_gets_values_one_by_one(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same fields that ``bulk`` relies on, gone: nothing raises, everything is recorded."""
    from opentelemetry.sdk.metrics._internal.aggregation import _Aggregation
    from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation

    owner = ExplicitBucketHistogramAggregation if gone == "_create_aggregation" else _Aggregation
    moved = getattr(owner, gone)
    best_way.cache_clear()
    try:
        with monkeypatch.context() as patched:
            patched.delattr(owner, gone)
            patched.setattr(owner, gone + "_v2", moved, raising=False)
            assert best_way() is Way.PUBLIC
    finally:
        best_way.cache_clear()


SHUTDOWN = """
    import atexit, sys, threading, time
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
    from otel_metrics.recording.flusher import Flusher
    from otel_metrics.recording.sinks import CounterSink

    def value(data):
        (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
        return f"total {point.value}\\n"

    reader = PeriodicExportingMetricReader(ConsoleMetricExporter(formatter=value), export_interval_millis=3_600_000)
    meter = MeterProvider([reader]).get_meter("test")
    flusher = Flusher(meter, tick=0.001)
    call_counter = flusher.call_counter((CounterSink(meter.create_counter("c"), {}),))
    for _ in range(1000):
        call_counter.hit()

    class Last:
        def __del__(self):
            call_counter.hit()
            flusher.call_counter((CounterSink(meter.create_counter("d"), {}),)).hit()
            flusher.drain()
            flusher.flush()

    keep = Last()
    sys.keep = Last()
    atexit.register(call_counter.hit)

    def forever():
        while True:
            flusher.call_counter(()).hit()
            flusher.drain()

    threading.Thread(target=forever, daemon=True).start()
"""


def test_interpreter_shutdown_loses_nothing_and_hangs_nowhere() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SHUTDOWN)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert ran.returncode == 0, ran.stderr
    assert "total 1001" in ran.stdout, ran.stdout + ran.stderr


def test_a_log_handler_that_records_in_another_thread_cannot_deadlock_with_a_refusal() -> None:
    """One thread rejects a value and logs it; another holds the log handler's lock and records with an exemplar."""
    holds, logs = threading.Event(), threading.Event()

    class Recording(logging.Handler):
        def filter(self, record: logging.LogRecord) -> bool:  # called before the handler's lock is taken
            if record.name == "otel_metrics":
                logs.set()
            return True

        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "application":
                holds.set()
                assert logs.wait(120)
                metrics.advanced.record_satisfaction("f", "speed", 0.5, interaction_id="i-1")

    handler = Recording()
    logging.getLogger().addHandler(handler)
    try:
        with testing.recording(strict=False) as metrics:
            application = threading.Thread(target=logging.getLogger("application").warning, args=("x",), daemon=True)
            application.start()
            assert holds.wait(120)
            metrics.advanced.record_performance_metric("f", "c", "n", float("nan"))
            reader = threading.Thread(target=metrics.advanced.get_performance_metrics, daemon=True)
            reader.start()
            for thread in (application, reader):
                thread.join(120)
                assert not thread.is_alive()
            assert metrics.value("feature_satisfaction_score_count") == 1
    finally:
        logging.getLogger().removeHandler(handler)
