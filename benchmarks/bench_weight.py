"""What the package weighs beside a record call: text, a first call, memory, an import, many threads.

    python -m benchmarks.bench_weight

Each figure comes from a process of its own, in which the peers take turns; take the ratios. ``bench_record`` has record calls.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import subprocess
import sys
import threading
import time
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from timeit import repeat
from typing import TYPE_CHECKING, Any

from benchmarks.asked import Row, show
from benchmarks.memory import taken_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_metrics import AdvancedMetrics

KEYS = 500
THREADS = 8
CALLS = 50_000
OFFICIAL = "from opentelemetry.sdk.metrics import MeterProvider; from opentelemetry.exporter.prometheus import PrometheusMetricReader"
READER = "from opentelemetry.sdk.metrics import MeterProvider; from otel_metrics.exporter import PrometheusReader"


def _advanced(**settings: Any) -> AdvancedMetrics:
    import otel_metrics

    caps = dict.fromkeys(("metric_name", "error_type", "action"), 10**6)
    otel_metrics.configure(series_limit=10**6, label_caps=caps, **settings)
    return otel_metrics.get_advanced_metrics()


def _each(call: Callable[[], object], calls: int) -> float:
    """Return the least microseconds of processor time that a call takes, of many short runs."""
    return min(repeat(call, number=calls, repeat=200, timer=time.process_time)) / calls * 1e6


def text() -> Iterator[Row]:
    """The documented text, with events off and sent to OpenTelemetry."""
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, ConsoleLogRecordExporter

    logging.basicConfig(level=logging.INFO, filename=os.devnull)
    advanced = _advanced()
    message = "Low confidence pattern detected"
    bare = _each(lambda: advanced.record_error("search", "Timeout"), 1000)
    off = _each(lambda: advanced.record_error("search", "Timeout", error_message=message), 1000)
    yield Row("`record_error` with `error_message`, events off, of one without", "1.2", f"{off / bare:.2f}")
    provider = LoggerProvider()
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        provider.add_log_record_processor(BatchLogRecordProcessor(ConsoleLogRecordExporter(out=nowhere)))
        advanced = _advanced(events="otel", logger_provider=provider)
        sent = _each(lambda: advanced.record_error("search", "Timeout", error_message=message), 50)
        logger = provider.get_logger("benchmark")
        attributes = {"feature": "search", "error_type": "Timeout", "error_message": message}
        itself = _each(lambda: logger.emit(event_name="feature.error.recorded", attributes=attributes), 50)
        provider.shutdown()
    yield Row(
        "the same, events to a batch processor; OpenTelemetry: `Logger.emit()` alone",
        "3 µs",
        f"{sent:.1f} µs",
        f"{itself:.1f} µs",
    )


def first() -> Iterator[Row]:
    """A new label set: what the caller waits for. Its counters appear at zero afterwards, by another thread."""
    import prometheus_client as client

    from otel_metrics.catalogue import PERFORMANCE_DURATION

    names = [f"name_{i}" for i in range(500)]
    taken: dict[str, list[tuple[float, float]]] = {}

    def timed(call: Callable[[str], object]) -> float:
        gc.collect()
        start = time.thread_time()
        for name in names:
            call(name)
        return (time.thread_time() - start) / len(names) * 1e6

    def both(call: str, ours: Callable[[str], object], theirs: Callable[[str], object]) -> None:
        taken.setdefault(call, []).append((timed(ours), timed(theirs)))

    def every(advanced: AdvancedMetrics, duration: client.Histogram, counter: client.Counter) -> None:
        both(
            "record_performance_metric",
            lambda name: advanced.record_performance_metric("f", "c", name, 1.0, "ms"),
            lambda name: duration.labels("f", "c", name, ""),
        )
        both(
            "record_feature_usage",
            lambda name: advanced.record_feature_usage("f", name, 1.0),
            lambda name: (duration.labels("f", name, "", ""), counter.labels("f", name, "", "", "")),
        )
        both(
            "record_error",
            lambda name: advanced.record_error("f", name),
            lambda name: counter.labels("f", name, "error", "", ""),
        )

    for _ in range(10):
        buckets = PERFORMANCE_DURATION.buckets
        duration = client.Histogram("h", "h", list("abcd"), buckets=buckets, registry=None)
        every(_advanced(), duration, client.Counter("c", "c", list("abcde"), registry=None))
    for call, times in taken.items():
        ours, theirs = map(min, zip(*times, strict=True))
        what = f"`{call}` with a new label set, of prometheus_client's `labels()` on new children"
        yield Row(what, "2", f"{ours / theirs:.1f} ({ours:.0f} µs)", client=f"{theirs:.0f} µs")


def memory() -> Iterator[Row]:
    """One key of ``record_performance_metric``: recorded to, and scraped once."""
    import otel_metrics

    advanced = _advanced()
    app: Any = otel_metrics.wsgi_app()

    def fill(start: int, end: int) -> None:
        for i in range(start, end):
            for value in (20.0, 30.0, 50.0):
                advanced.record_performance_metric("search", "latency", f"metric_{i}", value, "milliseconds")
        sum(map(len, app({"PATH_INFO": "/metrics", "SERVER_NAME": "localhost", "SERVER_PORT": "1"}, lambda *_: None)))

    found = taken_by(fill, KEYS)
    yield Row("memory of one key of `record_performance_metric`, everything in", "9 kB", f"{found / 1000:.1f} kB")


def imports() -> Iterator[Row]:
    """Processor time of importing what is compiled, as pip installs it; that of a bare interpreter taken off."""
    least: dict[str, float] = {}
    codes = "pass", "import otel_metrics", "from otel_metrics import get_advanced_metrics", READER, OFFICIAL
    with TemporaryDirectory() as compiled:  # in the first round; the environment may say that nothing is kept
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
        for _ in range(10):
            for code in codes:
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run([sys.executable, "-c", code], check=True, env=environment)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                least[code] = min(spent, least.get(code, spent))
    taken = {code: seconds - least["pass"] for code, seconds in least.items()}
    for code in codes[1:3]:
        yield Row(f"`{code}`", "0.15 s", f"{taken[code]:.2f} s")
    what = "import of the SDK and the reader alone, of the SDK with the official exporter"
    found = f"{taken[READER] / taken[OFFICIAL]:.2f} ({taken[READER]:.2f} s)"
    yield Row(what, "1.2", found, f"{taken[OFFICIAL]:.2f} s")


def throughput() -> Iterator[Row]:
    """Calls of many threads per second of processor time, which other work on the machine does not change as much as the clock."""
    import prometheus_client as client

    from otel_metrics.catalogue import PERFORMANCE_DURATION

    advanced = _advanced()
    child = client.Histogram("h", "h", ["a"], buckets=PERFORMANCE_DURATION.buckets, registry=None).labels("search")

    def ours_of_one() -> None:
        for _ in range(CALLS):
            advanced.record_performance_metric("search", "latency", "s", 25.0, "ms")

    def theirs_of_one() -> None:
        for _ in range(CALLS):
            child.observe(0.025)

    def rate(work: Callable[[], object]) -> float:
        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        start = time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return THREADS * CALLS / (time.process_time() - start)

    ours = theirs = 0.0
    for _ in range(3):
        ours = max(ours, rate(ours_of_one))
        theirs = max(theirs, rate(theirs_of_one))
    lock = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else "out"
    what = f"calls of {THREADS} threads with{lock} the GIL in a second of processor time, of prometheus_client's kept child"
    found = f"{ours / theirs:.1f} ({ours / 1e6:.1f} million)"
    yield Row(what, "1 or more", found, client=f"{theirs / 1e6:.1f} million")


def _rows(of: Callable[[], Iterator[Row]]) -> list[Row]:
    logging.getLogger("otel_metrics").setLevel(logging.ERROR)  # that it is configured again and again
    return list(of())


def asked() -> Iterator[Row]:
    """Yield what was asked, and what was found."""
    with get_context("spawn").Pool(1, maxtasksperchild=1) as processes:
        for of in (text, first, memory, imports, throughput):
            yield from processes.apply(_rows, (of,))


if __name__ == "__main__":
    show(asked())
