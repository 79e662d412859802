"""Scrapes of what record calls make: n keys of ``record_performance_metric``, and n of ``record_error`` beside them.

The peers have the same histograms and counters with the same labels, in classic buckets; they have no day totals, no native
buckets and no protobuf. Every side is measured in a process of its own, in processor time, so that ratios hold on a busy machine.

    python -m benchmarks.bench_scrape_facade [KEYS [MORE_KEYS...]]
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.asked import Row, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Scrape = Callable[[], int]

SIZE = 10_000
LARGE = (50_000, 100_000)
MOST = 10 * max(LARGE)
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
TEXT, BOTH, NATIVE = "text", "protobuf", "protobuf with `native_only`"
OFFICIAL, CLIENT = "official exporter, generate_latest", "prometheus_client"
SIDES = (TEXT, BOTH, NATIVE, OFFICIAL, CLIENT)
Figures = dict[str, dict[str, float]]


def asked(size: int = SIZE, large: Sequence[int] = LARGE) -> Iterator[Row]:
    """Yield what was asked of ``size`` keys of performance and of errors, of performance alone, and of ``large`` numbers of keys."""
    both = {side: _measured(side, size, size) for side in SIDES}
    alone = {side: _measured(side, size, 0) for side in SIDES}

    def row(what: str, most: str, side: str, figure: Callable[[dict[str, float]], str], found: Figures) -> Row:
        return Row(what, most, *(figure(found[each]) for each in (side, OFFICIAL, CLIENT)))

    for side, milliseconds, megabytes in ((TEXT, "150 ms", "60 MB"), (BOTH, "–", "–"), (NATIVE, "100 ms", "8 MB")):
        what = f"scrape of {size:,} performance and {size:,} error keys, {side}"
        yield row(what, milliseconds, side, _time, both)
        yield row("the same, the first one", "–", side, _first, both)
        yield row("the same, size", megabytes, side, lambda each: f"{each['output'] / 1e6:.0f} MB", both)
    for side, kilobytes in ((TEXT, "5 kB"), (BOTH, "–"), (NATIVE, "1.2 kB")):
        what = f"one performance key, {side}"
        yield row(what, kilobytes, side, lambda each: f"{each['output'] / size / 1e3:.1f} kB", alone)
    what = f"resident memory of one performance key, of {size:,}"
    yield row(what, "9 kB", TEXT, lambda each: f"{each['memory'] / size / 1e3:.1f} kB", alone)
    for keys in (size, *large):
        found = alone[NATIVE] if keys == size else _measured(NATIVE, keys, 0)
        limits = ("10 s", "10 s", "120 MB", "1000 MB") if keys == max(size, *large) else ("–",) * 4
        figures = _first(found), _time(found), f"{found['output'] / 1e6:.0f} MB", f"{found['resident'] / 1e6:.0f} MB"
        names = "first scrape", "later ones", "size", "resident memory"
        for name, most, figure in zip(names, limits, figures, strict=True):
            yield Row(f"{keys:,} performance keys, {NATIVE}: {name}", most, figure)


def _first(found: dict[str, float]) -> str:
    return _seconds(found["first"])


def _time(found: dict[str, float]) -> str:
    return _seconds(found["scrape"])


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"


def _measured(side: str, keys: int, errors: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.bench_scrape_facade", "--measure", side, str(keys), str(errors)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900).stdout
    return dict(json.loads(output))


def measure(side: str, keys: int, errors: int) -> dict[str, float]:
    """Record, and scrape, in this process; seconds and bytes."""
    gc.collect()
    record, scrape = {OFFICIAL: _official, CLIENT: _client}.get(side, lambda: _ours(side))()
    before = _resident()
    record(keys, errors)
    first = _timed(scrape)
    output = scrape()
    gc.collect()
    resident = _resident()
    return {
        "first": first,
        "scrape": min(_timed(scrape) for _ in range(3)),
        "output": output,
        "memory": resident - before,
        "resident": resident,
    }


def _timed(scrape: Scrape) -> float:
    started = time.process_time()
    scrape()
    return time.process_time() - started


def _labels(index: int) -> tuple[str, str]:
    return f"feature_{index % 100:03d}", f"name_{index // 100:04d}"


def _ours(side: str) -> tuple[Callable[[int, int], None], Scrape]:
    from otel_metrics.exporter.endpoint import Endpoint
    from otel_metrics.runtime import Runtime
    from otel_metrics.settings import Settings

    caps = dict.fromkeys(("feature", "metric_name", "error_type"), MOST)
    runtime = Runtime(
        Settings(
            label_caps=caps,
            series_limit=MOST,
            prometheus_url="http://localhost:9090",
            prometheus_unavailable="raise",
            native_only=side == NATIVE,
        )
    )

    def record(keys: int, errors: int) -> None:
        for index in range(keys):
            feature, name = _labels(index)
            runtime.advanced.record_performance_metric(feature, "api", name, 125.5, "ms")
        for index in range(errors):
            runtime.advanced.record_error(*_labels(index))

    endpoint = Endpoint(runtime.reader._scrape)
    headers = {"accept": "text/plain" if side == TEXT else PROTOBUF, "accept-encoding": ""}
    return record, lambda: sum(map(len, endpoint.respond("GET", "/metrics", headers).body))


def _official() -> tuple[Callable[[int, int], None], Scrape]:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
    from prometheus_client import CollectorRegistry, generate_latest

    from otel_metrics.catalogue import PERFORMANCE_DURATION

    registry = CollectorRegistry()
    limits: Any = {Counter: 10**6, Histogram: 10**6}
    reader = PrometheusMetricReader(scope_info_enabled=False, registry=registry, cardinality_limits=limits)
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("benchmark")
    bounds = PERFORMANCE_DURATION.buckets
    duration = meter.create_histogram("duration", "s", "d", explicit_bucket_boundaries_advisory=bounds)
    failed = meter.create_counter("errors", "", "d")

    def record(keys: int, errors: int) -> None:
        for index in range(keys):
            feature, name = _labels(index)
            duration.record(0.1255, {"feature": feature, "metric_category": "api", "metric_name": name})
        for index in range(errors):
            feature, name = _labels(index)
            failed.add(1, {"feature": feature, "error_type": name})

    return record, lambda: len(generate_latest(registry))


def _client() -> tuple[Callable[[int, int], None], Scrape]:
    from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

    from otel_metrics.catalogue import PERFORMANCE_DURATION

    registry = CollectorRegistry()
    names = ["feature", "metric_category", "metric_name"]
    duration = Histogram("duration_seconds", "d", names, buckets=PERFORMANCE_DURATION.buckets, registry=registry)
    failed = Counter("errors", "d", ["feature", "error_type"], registry=registry)

    def record(keys: int, errors: int) -> None:
        for index in range(keys):
            feature, name = _labels(index)
            duration.labels(feature, "api", name).observe(0.1255)
        for index in range(errors):
            failed.labels(*_labels(index)).inc()

    return record, lambda: len(generate_latest(registry))


def _resident() -> int:
    """Return the resident memory of this process, in bytes."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


if __name__ == "__main__":
    if "--measure" in sys.argv:
        print(json.dumps(measure(sys.argv[-3], int(sys.argv[-2]), int(sys.argv[-1]))))
    else:
        sizes = list(map(int, sys.argv[1:])) or [SIZE, *LARGE]
        show(asked(sizes[0], sizes[1:]))
