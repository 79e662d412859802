"""One scrape, ours against OpenTelemetry's exporter with prometheus_client: time, memory, pauses of the application.

Every figure is taken in a process of its own, the two sides one after the other, so that the ratios hold on a noisy machine.

    python -m benchmarks.bench_scrape [SERIES...]
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.asked import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SIZES = (1_000, 10_000, 50_000)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 25.0)
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
SIDES = {
    "official, text": "",
    "ours, text": "text/plain",
    "ours, text, gzip": "text/plain",
    "ours, text, SDK's own points": "text/plain",
    "ours, both buckets, text": "text/plain",
    "ours, both buckets, protobuf": PROTOBUF,
    "ours, OpenMetrics": "application/openmetrics-text;version=1.0.0",
    "ours, protobuf": PROTOBUF,
}
OFFICIAL = "official, text"
PUBLIC = "ours, text, SDK's own points"
"""What is left where an SDK cannot be read directly (see `otel_metrics.sdk.lazy_points`)."""
MORE = (PUBLIC, "ours, both buckets, text", "ours, both buckets, protobuf")
"""Sides that are not measured at the largest size, to save time."""
LIMITS = {"seconds": 1 / 10, "megabytes": 1 / 10, "pause": 1 / 5}
"""What is asked of ours in text, as a part of the official exporter's."""
JUDGED = {"ours, text": "", "ours, protobuf": " (for information, the official exporter has no protobuf)"}


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Measure every side at every size; times in seconds, memory in megabytes (10^6 bytes), and ratios to the official one."""
    results = []
    for size in sizes:
        base: dict[str, Any] = {}
        for side in SIDES:
            if size > 10_000 and side in MORE:
                continue
            figures = _measured(side, size)
            base = base or figures
            ratios = {f"{key}_ratio": figures[key] / base[key] for key in LIMITS}
            results.append({"benchmark": "scrape", "side": side, "series": size, **figures, **ratios})
    return results


def asked() -> Iterator[Row]:
    """Yield scrapes of the reader alone: with classic buckets, with both kinds, and the pause that one is to others."""
    official = _measured(OFFICIAL, 10_000)
    peer = f"{official['seconds'] * 1e3:.0f} ms"
    what = "scrape of 10,000 histograms with 15 classic buckets and 10,000 counters, reader alone"
    for side in ("text", "text, gzip", "protobuf"):
        found = _measured(f"ours, {side}", 10_000)
        yield Row(f"{what}, {side}", "–", f"{found['seconds'] * 1e3:.0f} ms", "–" if "gzip" in side else peer)
        if side == "text":
            memory = (f"{each['megabytes']:.0f} MB" for each in (found, official))
            yield Row("the same, memory that it takes besides", "–", *memory)
    text, protobuf = (_measured(side, 10_000)["seconds"] for side in MORE[1:])
    what = "scrape of 10,000 histograms with both kinds of buckets and 10,000 counters, reader alone"
    yield Row(f"{what}, text", "60 ms", f"{text * 1e3:.0f} ms", peer)
    yield Row(f"{what}, protobuf", "80 ms", f"{protobuf * 1e3:.0f} ms", peer)
    pauses = (f"{_measured(side, 50_000)['pause'] * 1e3:.1f} ms" for side in ("ours, text", OFFICIAL))
    yield Row("longest pause of another thread in a scrape of 50,000, text", "5 ms", *pauses)


def _measured(side: str, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.bench_scrape", "--measure", side, str(size)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900).stdout
    return dict(json.loads(output))


def report(results: list[dict[str, Any]]) -> str:
    """Return the results as a table, and whether ours met what was asked of it."""
    lines = [
        "One scrape of n histograms (15 buckets) and n counters; ratios against the official exporter in brackets;",
        "the pause is the longest of a scrape, the median over several scrapes",
        f"{'':>8} {'':28} {'time':>16} {'extra memory':>18} {'longest pause':>18} {'output':>9}",
    ]
    lines += (
        f"{row['series']:>8} {row['side']:28}"
        f" {row['seconds'] * 1e3:7.0f} ms ({row['seconds_ratio']:.3f})"
        f" {row['megabytes']:7.1f} MB ({row['megabytes_ratio']:.3f})"
        f" {row['pause'] * 1e3:7.1f} ms ({row['pause_ratio']:.3f})"
        f" {row['output'] / 1e6:6.1f} MB"
        for row in results
    )
    for row in results:
        if row["side"] in JUDGED:
            missed = [key for key, limit in LIMITS.items() if row[f"{key}_ratio"] > limit]
            verdict = f"missed: {', '.join(missed)}" if missed else "all limits met"
            lines.append(f"{row['series']:>8} {row['side']}: {verdict}{JUDGED[row['side']]}")
    return "\n".join(lines)


def measure(side: str, size: int) -> dict[str, float]:
    """Set up one side in this process and measure it."""
    record, scrape = _official(size) if side == OFFICIAL else _ours(size, side)
    gc.collect()
    before = _peak()
    output = scrape()
    times = []
    for _ in range(3 if size > 20_000 else 9):
        started = time.process_time()
        scrape()
        times.append(time.process_time() - started)
    extra = _peak() - before
    pauses = [_longest_pause(record, scrape) for _ in range(5 if size > 5_000 else 21)]
    return {
        # Of processor time, to which other processes of the machine only ever add a little.
        "seconds": min(times),
        "megabytes": max(extra, 1) / 1e6,
        # The longest pause of one scrape is a matter of luck, too: the median of several is what a scrape does to a thread.
        "pause": median(pauses),
        "output": output,
    }


def _longest_pause(record: Callable[[], None], scrape: Callable[[], int]) -> float:
    """Return the longest time that one record call of another thread took during one scrape, in seconds."""
    longest = 0.0
    started, stop = threading.Event(), threading.Event()

    def application() -> None:
        nonlocal longest
        started.set()
        last = time.perf_counter()
        while not stop.is_set():
            record()
            now = time.perf_counter()
            longest = max(longest, now - last)
            last = now

    thread = threading.Thread(target=application)
    thread.start()
    started.wait()
    scrape()
    stop.set()
    thread.join()
    return longest


def _provider(reader: Any, size: int, views: Sequence[Any] = ()) -> Callable[[], None]:
    from opentelemetry.sdk.metrics import MeterProvider

    meter = MeterProvider(metric_readers=[reader], views=views, shutdown_on_exit=False).get_meter("benchmark")
    histogram = meter.create_histogram("work.duration", "s", "d", explicit_bucket_boundaries_advisory=BOUNDS)
    counter = meter.create_counter("work", "", "d")
    for index in range(size):
        attributes = {"feature": f"feature-{index % 100}", "metric_name": f"metric-{index // 100}"}
        for value in (0.002, 0.2, 3.0):
            histogram.record(value, attributes)
        counter.add(1, attributes)
    # What a real application has besides: a heap that a full collection takes its time over.
    global _heap
    _heap = [{"row": index, "tags": [index]} for index in range(200_000)]
    own = {"feature": "feature-0", "metric_name": "metric-0"}
    return lambda: counter.add(1, own)


_heap: list[Any] = []


def _limits() -> Any:
    from opentelemetry.sdk.metrics import Counter, Histogram

    return {Counter: 10**6, Histogram: 10**6}


def _official(size: int) -> tuple[Callable[[], None], Callable[[], int]]:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    reader = PrometheusMetricReader(scope_info_enabled=False, registry=registry, cardinality_limits=_limits())
    return _provider(reader, size), lambda: len(generate_latest(registry))


def _ours(size: int, side: str) -> tuple[Callable[[], None], Callable[[], int]]:
    from opentelemetry.sdk.metrics.view import View
    from prometheus_client import CollectorRegistry

    from otel_metrics.exporter import PrometheusReader
    from otel_metrics.exporter.endpoint import Endpoint
    from otel_metrics.sdk import lazy_points
    from otel_metrics.sdk.bulk import BulkHistogramAggregation

    if side == PUBLIC:
        lazy_points._works = lambda: False  # type: ignore[assignment]
    reader = PrometheusReader(registry=CollectorRegistry(), cardinality_limits=_limits())
    endpoint = Endpoint(reader._exposition.scrape)
    headers = {"accept": SIDES[side], "accept-encoding": "gzip" if side.endswith("gzip") else ""}
    views = [View(instrument_name="work.duration", aggregation=BulkHistogramAggregation(BOUNDS, exponential=True))]
    record = _provider(reader, size, views if "both buckets" in side else ())
    return record, lambda: sum(map(len, endpoint.respond("GET", "/metrics", headers).body))


def _peak() -> int:
    """Return the peak resident memory of this process so far, in bytes."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    if "--measure" in sys.argv:
        print(json.dumps(measure(sys.argv[-2], int(sys.argv[-1]))))
    else:
        print(report(run(tuple(map(int, sys.argv[1:])) or SIZES)))
