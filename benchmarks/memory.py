"""Memory per series, each contender in a process of its own.

python -m benchmarks.memory
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SERIES = 2_000
PLAIN = "plain SDK, explicit buckets"
PLAIN_BOTH = "plain SDK, explicit and exponential buckets (two instruments)"
BULK = "recording core, explicit buckets"
BULK_BOTH = "recording core, explicit and exponential buckets"
FACADE = "whole facade: buckets of both kinds, day totals, counters from zero on, values for getters"
REMOTE = "whole facade, values not kept"
CLIENT = "prometheus_client"
CONTENDERS = (PLAIN, BULK, PLAIN_BOTH, BULK_BOTH, FACADE, REMOTE, CLIENT)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


def bytes_per_series() -> list[dict[str, Any]]:
    """Return one row per contender, with its ratio to the plain SDK."""
    rows: list[dict[str, Any]] = []
    for contender in CONTENDERS:
        command = [sys.executable, "-m", "benchmarks.memory", contender]
        found = float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)
        rows.append({"contender": contender, "bytes": found, "ratio": found / (rows[0]["bytes"] if rows else found)})
    return rows


def measure(contender: str) -> float:
    """Return the bytes that a series of a histogram and one of a counter take, recorded to and collected."""
    fill = _sdk(contender) if contender != CLIENT else _client()
    return taken_by(fill, SERIES)


def taken_by(fill: Callable[[int, int], None], number: int) -> float:
    """Return the bytes that one of a ``number`` takes; ``fill`` makes those from a start to an end."""
    fill(0, 10)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    fill(10, number + 10)
    gc.collect()
    return (tracemalloc.get_traced_memory()[0] - before) / number


def _client() -> Any:
    from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

    registry = CollectorRegistry()
    names = ["feature", "action", "outcome"]
    duration = Histogram("h", "h", names, buckets=BOUNDS, registry=registry)
    usage = Counter("c", "c", names, registry=registry)

    def fill(start: int, end: int) -> None:
        for i in range(start, end):
            for value in (0.02, 0.03, 0.05):
                duration.labels("search", f"action_{i}", "success").observe(value)
                usage.labels("search", f"action_{i}", "success").inc()
        generate_latest(registry)

    return fill


def _sdk(contender: str) -> Any:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

    from otel_metrics.recording.arguments import ArgumentSpec
    from otel_metrics.recording.flusher import Flusher
    from otel_metrics.recording.sinks import CounterSink, HistogramSink
    from otel_metrics.runtime import Runtime
    from otel_metrics.sdk.provider import views as shipped
    from otel_metrics.sdk.views import Buckets, views
    from otel_metrics.settings import Settings

    limit: dict[str, Any] = {"aggregation_cardinality_limit": 10**6}
    both = Buckets.BOTH if contender == BULK_BOTH else Buckets.EXPLICIT
    seen = {
        BULK: views({"h": BOUNDS}, both, **limit),
        BULK_BOTH: views({"h": BOUNDS}, both, **limit),
        FACADE: list(shipped()),
        REMOTE: list(shipped()),
    }.get(contender, [])
    exponential = View(instrument_name="e", aggregation=ExponentialBucketHistogramAggregation(640, 8), **limit)
    others = [] if contender in {FACADE, REMOTE} else [View(instrument_name="h", **limit)] if not seen else []
    reader = InMemoryMetricReader()
    provider = MeterProvider(
        [reader], shutdown_on_exit=False, views=[*seen, *others, exponential, View(instrument_name="c", **limit)]
    )
    meter = provider.get_meter("memory")
    duration = meter.create_histogram("h", explicit_bucket_boundaries_advisory=BOUNDS)
    second, usage = meter.create_histogram("e"), meter.create_counter("c")

    def plain(labels: dict[str, str], value: float) -> None:
        duration.record(value, labels)
        if contender == PLAIN_BOTH:
            second.record(value, labels)
        usage.add(1, labels)

    flusher, column, buffers = Flusher(meter, tick=None), ArgumentSpec(), {}

    def folded(labels: dict[str, str], value: float) -> None:
        key = tuple(labels.values())
        if key not in buffers:
            buffers[key] = flusher.buffer(
                (column,), ((HistogramSink(duration, labels),),), (CounterSink(usage, labels),)
            )
        buffers[key].append(value)

    caps = dict.fromkeys(("action",), 4 * SERIES)
    settings = Settings(meter_provider=provider, series_limit=4 * SERIES, label_caps=caps)
    if contender == REMOTE:
        settings = replace(settings, prometheus_url="http://localhost:9090", prometheus_unavailable="raise")
    runtime = Runtime(settings)

    def facade(labels: dict[str, str], value: float) -> None:
        runtime.advanced.record_feature_usage("search", labels["action"], value * 1000, True)

    record = {BULK: folded, BULK_BOTH: folded, FACADE: facade, REMOTE: facade}.get(contender, plain)

    def fill(start: int, end: int) -> None:
        for i in range(start, end):
            for value in (0.02, 0.03, 0.05):
                record({"feature": "search", "action": f"action_{i}", "outcome": "success"}, value)
        reader.collect()
        reader.get_metrics_data()

    return fill


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(sys.argv[1]))
    else:
        for row in bytes_per_series():
            print(f"{row['contender']:70} {row['bytes']:8.0f} {row['ratio']:6.2f}")
