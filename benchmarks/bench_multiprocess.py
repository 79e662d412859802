"""Several processes, one answer: rows of shared totals against prometheus_client's multiprocess mode.

Four processes make n histograms (15 buckets) and n counters and add three values to each; a fifth reads what all have added
and formats it as text. *rows* are the bare rows, *endpoint* is what users have: record calls, and a scrape of the mounted
endpoint, with native buckets, the day's sums and counters at zero that the others lack. Every figure is the processor time of
one process, so that the ratios hold on a busy machine. Last, what a record call costs with a directory and without.

    python -m benchmarks.bench_multiprocess [SERIES...]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SIZES = (1_000, 10_000)
WORKERS = 4
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
SIDES = ("prometheus_client", "rows", "endpoint")
CALLS = (500, 200)
"""Series, and calls for each, that a record call is measured with."""
MOST_PER_CALL = 1.5
"""What a record call may cost with a directory, in parts of one without."""
LIMITS = {"scrape": 1 / 20, "new": 1.0, "disk": 1 / 10}
"""What is asked of ours, as a part of prometheus_client's."""


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Measure all sides at every size; times in seconds, sizes in bytes."""
    results = []
    for size in sizes:
        for side in SIDES:
            with tempfile.TemporaryDirectory() as directory:
                workers = [json.loads(_measure(side, "work", size, directory)) for _ in range(WORKERS)]
                scrape = json.loads(_measure(side, "scrape", size, directory))
                files = list(Path(directory).iterdir())
                results.append(
                    {
                        "benchmark": "multiprocess",
                        "side": side,
                        "series": size,
                        **{name: min(worker[name] for worker in workers) for name in workers[0]},
                        **scrape,
                        "files": len(files),
                        "disk": sum(path.stat().st_blocks * 512 for path in files),
                    }
                )
    return results


def report(results: list[dict[str, Any]]) -> str:
    """Return the results as a table, and whether ours met what was asked of it."""
    lines = [
        f"n histograms ({len(BOUNDS) + 1} buckets) and n counters in {WORKERS} processes; processor time",
        f"{'n':>8} {'':18} {'new series':>12} {'histogram':>12} {'counter':>12} {'scrape':>12} {'files':>6} {'disk':>10}",
    ]
    lines += (
        f"{row['series']:>8} {row['side']:18} {row['new'] * 1e6:9.1f} µs {row['histogram'] * 1e6:9.2f} µs"
        f" {row['counter'] * 1e6:9.2f} µs {row['scrape'] * 1e3:9.1f} ms {row['files']:>6} {row['disk'] / 1e6:7.1f} MB"
        for row in results
    )
    theirs = {row["series"]: row for row in results if row["side"] == SIDES[0]}
    for row in results:
        if row["side"] != SIDES[0]:
            ratios = {name: row[name] / theirs[row["series"]][name] for name in LIMITS}
            shown = ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items())
            missed = [name for name, ratio in ratios.items() if ratio > LIMITS[name]]
            verdict = f"missed: {', '.join(missed)}" if missed else "all limits met"
            lines.append(f"{row['series']:>8} {row['side']} as a part of theirs: {shown}; {verdict}")
    lines.append(
        "histogram and counter: theirs one value; ours one row with news, however many values that is, once a second"
    )
    shared, single = (min(_calls(directory) for _ in range(3)) for directory in (True, False))
    lines.append(
        f"record_performance_metric: {shared * 1e6:.2f} µs a call with a directory, {single * 1e6:.2f} without: "
        f"{shared / single:.2f}, at most {MOST_PER_CALL}"
    )
    return "\n".join(lines)


def _calls(shares: bool) -> float:
    """Return the seconds that a record call takes, what comes later included."""
    with tempfile.TemporaryDirectory() as directory:
        return float(json.loads(_measure("endpoint", "calls", CALLS[0], directory if shares else ""))["call"])


def _measure(side: str, what: str, size: int, directory: str) -> str:
    command = [sys.executable, "-m", "benchmarks.bench_multiprocess", "--measure", side, what, str(size), directory]
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": directory}
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900, env=environment)
    return done.stdout


def _timed(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _labels(index: int) -> tuple[str, str]:
    return f"feature_{index % 100:03d}", f"metric_name_{index // 100:04d}"


def _their_work(size: int, _: str) -> dict[str, float]:
    from prometheus_client import Counter, Histogram

    histogram = Histogram("work_seconds", "d", ["feature", "metric_name"], buckets=BOUNDS)
    counter = Counter("work", "d", ["feature", "metric_name"])
    histograms: list[Any] = []
    counters: list[Any] = []

    def make() -> None:
        histograms.extend(histogram.labels(*_labels(index)) for index in range(size))
        counters.extend(counter.labels(*_labels(index)) for index in range(size))

    def observe() -> None:
        for each in histograms:
            each.observe(0.2)

    def count() -> None:
        for each in counters:
            each.inc()

    new = _timed(make) / (2 * size)
    return {
        "new": new,
        "histogram": min(_timed(observe) for _ in range(3)) / size,
        "counter": min(_timed(count) for _ in range(3)) / size,
    }


def _their_scrape(_: int, __: str) -> dict[str, float]:
    from prometheus_client import CollectorRegistry, generate_latest, multiprocess

    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    text = generate_latest(registry)
    return {"scrape": min(_timed(lambda: generate_latest(registry)) for _ in range(2)), "output": len(text)}


def _our_work(size: int, directory: str) -> dict[str, float]:
    from otel_metrics.multiprocess.totals import SharedTotals
    from otel_metrics.multiprocess.values import HistogramValue

    totals = SharedTotals(directory, "benchmark")
    histograms: list[Any] = []
    counters: list[Any] = []
    one = HistogramValue(1, 0.2, 0.2, 0.2, [0] * 6 + [1] + [0] * 8)

    def make() -> None:
        histograms.extend(totals.histogram(("work_seconds", *_labels(index)), BOUNDS) for index in range(size))
        counters.extend(totals.counter(("work_total", *_labels(index))) for index in range(size))
        for each in histograms:
            each.add(one)
        for each in counters:
            each.add(1)
        totals.flush()

    def observe() -> None:
        for each in histograms:
            each.add(one)
        totals.flush()

    def count() -> None:
        for each in counters:
            each.add(1)
        totals.flush()

    new = _timed(make) / (2 * size)
    figures = {
        "new": new,
        "histogram": min(_timed(observe) for _ in range(3)) / size,
        "counter": min(_timed(count) for _ in range(3)) / size,
    }
    totals.close()
    return figures


def _our_scrape(size: int, directory: str) -> dict[str, float]:
    from otel_metrics.multiprocess.totals import SharedTotals

    totals = SharedTotals(directory, "benchmark")
    labels: dict[tuple[str, ...], str] = {}
    for feature, name in map(_labels, range(size)):
        labels[feature, name] = f'feature="{feature}",metric_name="{name}"'
    les = [*map(str, BOUNDS), "+Inf"]
    lines = "".join(f'work_seconds_bucket{{\0,le="{le}"}} %d\n' for le in les)
    template = lines + "work_seconds_count{\0} %d\nwork_seconds_sum{\0} %s\n"

    def scrape() -> bytes:
        snapshot = totals.read()
        out = []
        for sample in snapshot.rows("work_seconds"):
            value = sample.value
            text = template % (*accumulate(value.buckets), value.n, value.total)
            out.append(text.replace("\0", labels[sample.key[1:]]))
        out += (f"work_total{{{labels[sample.key[1:]]}}} {sample.value}\n" for sample in snapshot.rows("work_total"))
        return "".join(out).encode()

    text = scrape()
    assert text.count(b"\n") == size * (len(les) + 3)
    return {"scrape": min(_timed(scrape) for _ in range(5)), "output": len(text)}


def _endpoint(size: int, directory: str) -> Runtime:
    names = size // 100 + 1
    return Runtime(
        Settings(
            multiprocess_directory=directory or None,
            series_limit=2 * size,
            label_caps={"metric_name": names, "error_type": names},
            prometheus_url="http://127.0.0.1:9",  # answers getters, so that values are not kept here as well
            prometheus_unavailable="raise",
        )
    )


def _endpoint_work(size: int, directory: str) -> dict[str, float]:
    runtime = _endpoint(size, directory)
    series = [_labels(index) for index in range(size)]

    def observe() -> None:
        for feature, name in series:
            runtime.advanced.record_performance_metric(feature, "response_time", name, 0.2, "s")
        runtime.recorder.flusher.flush()

    def count() -> None:
        for feature, name in series:
            runtime.advanced.record_error(feature, name, "warning")
        runtime.recorder.flusher.flush()

    figures = {
        "new": (_timed(observe) + _timed(count)) / (2 * size),
        "histogram": min(_timed(observe) for _ in range(3)) / size,
        "counter": min(_timed(count) for _ in range(3)) / size,
    }
    runtime.close()
    return figures


def _endpoint_scrape(size: int, directory: str) -> dict[str, float]:
    application = _endpoint(size, directory).reader.wsgi_app()

    def blocks() -> Iterable[bytes]:
        return application({"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}, lambda *_: None)

    def scrape() -> int:
        return sum(map(len, blocks()))  # handed on block by block, as a server does

    assert b"".join(blocks()).count(b"feature_performance_duration_seconds_count{") == size
    return {"scrape": min(_timed(scrape) for _ in range(5)), "output": scrape()}


def _endpoint_calls(size: int, directory: str) -> dict[str, float]:
    runtime = _endpoint(size, directory)
    series = [_labels(index) for index in range(size)]

    def record() -> None:
        for _ in range(CALLS[1]):
            for feature, name in series:
                runtime.advanced.record_performance_metric(feature, "response_time", name, 0.2, "s")
        runtime.recorder.flusher.flush()

    record()
    figures = {"call": min(_timed(record) for _ in range(3)) / (size * CALLS[1])}
    runtime.close()
    return figures


_MEASURED: dict[tuple[str, str], Callable[[int, str], dict[str, float]]] = {
    ("prometheus_client", "work"): _their_work,
    ("prometheus_client", "scrape"): _their_scrape,
    ("rows", "work"): _our_work,
    ("rows", "scrape"): _our_scrape,
    ("endpoint", "work"): _endpoint_work,
    ("endpoint", "scrape"): _endpoint_scrape,
    ("endpoint", "calls"): _endpoint_calls,
}


if __name__ == "__main__":
    if "--measure" in sys.argv:
        side, what, size, directory = sys.argv[2:]
        print(json.dumps(_MEASURED[side, what](int(size), directory)))
    else:
        print(report(run(tuple(map(int, sys.argv[1:])) or SIZES)))
