"""The daily rules in a real Prometheus: seconds per evaluation of each group, by number of rows in the daily table.

python -m benchmarks.bench_rules [rows...]

Every row of the daily table (feature, metric type, metric name, unit) has one histogram and five accumulators. Samples stand
a minute apart in the two hours that the hourly group reads (5 minutes from 10,000 rows on), half an hour apart in the rest of
the day, which only the daily group reads; the recorded hours, which it reads as well, are all there.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_metrics.assets import daily
from otel_metrics.assets.promql import Histograms
from otel_metrics.assets.rulefile import Recording
from otel_metrics.catalogue import SECONDS
from tests.daily.simulation import DAY, HOUR, MINUTE, delimited, gauge, serving
from tests.exporter.prometheus_proto import MetricFamily
from tests.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.servers import Prometheus

START = datetime(2024, 2, 29, tzinfo=timezone.utc).timestamp()
END = START + DAY
BUCKETS = 60
LARGEST_CLASSIC = 1_000
"""Rows beyond which classic histograms are left out: 40 series each take this benchmark's scrapes minutes to write."""
HISTOGRAM = "feature_performance_duration_seconds"


def families(rows: int, histograms: Histograms) -> dict[str, Any]:
    """The families of one process, without values."""
    made: dict[str, Any] = {}

    def add(name: str, kind: int, **labels: str) -> Any:
        family = made.setdefault(name, MetricFamily(name=name, type=kind))
        metric = family.metric.add()
        for label, value in {**labels, "service_instance_id": "one"}.items():
            metric.label.add(name=label, value=value)
        return metric

    for row in range(rows):
        feature, name = f"feature-{row % 100}", f"metric-{row // 100}"
        key = {"feature": feature, "metric_type": "response_time", "metric_name": name, "unit": "seconds"}
        for part in ("count", "sum", "sumsq", "min", "max"):
            add(f"feature_daily_{part}", 1, **key, day="current").gauge.value = row
        histogram = add(HISTOGRAM, 4, feature=feature, metric_category="response_time", metric_name=name).histogram
        shape(histogram, 1, histograms)
        if histograms is Histograms.NATIVE:
            shape(add(daily.NATIVE_1H, 4, **key, histogram=HISTOGRAM).histogram, 1, histograms)
        else:
            for bound in (*map(repr, SECONDS), "+Inf"):
                add(daily.BUCKETS_1H, 1, **key, histogram=HISTOGRAM, le=bound).gauge.value = 100
    return made


def shape(histogram: Any, n: int, histograms: Histograms) -> None:
    """Give a histogram ``n`` values per bucket."""
    histogram.sample_count, histogram.sample_sum = n * BUCKETS, float(n)
    if histograms is Histograms.NATIVE:
        histogram.schema, histogram.zero_threshold = 3, 2.0**-128
        del histogram.positive_span[:], histogram.positive_delta[:]
        histogram.positive_span.add(offset=-20, length=BUCKETS)
        histogram.positive_delta.extend([n, *[0] * (BUCKETS - 1)])
        return
    del histogram.bucket[:]
    for place, bound in enumerate(SECONDS):
        histogram.bucket.add(cumulative_count=n * min(place, BUCKETS), upper_bound=bound)
    histogram.bucket.add(cumulative_count=n * BUCKETS, upper_bound=float("inf"))


def exposition(rows: int, histograms: Histograms, times: Iterable[float], hours: bool) -> Iterator[bytes]:
    """Every sample at ``times``: of what a process exposes, or (``hours``) of what the hourly group recorded."""
    recorded = {daily.NATIVE_1H, daily.BUCKETS_1H}
    made = {name: family for name, family in families(rows, histograms).items() if (name in recorded) == hours}
    for n, when in enumerate(times, 1):
        for name, family in made.items():
            for metric in family.metric:
                metric.timestamp_ms = round(when * 1000)
                if name == HISTOGRAM:
                    shape(metric.histogram, n, histograms)
            yield delimited(family)


def filled(servers: Servers, rows: int, histograms: Histograms) -> Prometheus:
    """A server with a day of data."""
    dense = MINUTE if rows < 10_000 else 5 * MINUTE
    times = [*range(0, DAY - 2 * HOUR, 30 * MINUTE), *range(DAY - 2 * HOUR, DAY + 1, dense)]
    parts = {
        "day": exposition(rows, histograms, (START + when for when in times), hours=False),
        "hours": exposition(rows, histograms, (START + n * HOUR + 15 * MINUTE for n in range(1, 25)), hours=True),
        "up": iter([gauge("up", {"job": "shop"}, ((START + n * MINUTE, 1) for n in range(25 * 60)))]),
    }
    bodies = {f"{name}-{n}": body for name, part in parts.items() for n, body in enumerate(_bodies(part))}
    jobs = "".join(
        f"- {{job_name: {name}, metrics_path: /{name}, scrape_interval: 30s, scrape_timeout: 30s, honor_labels: true,"
        f" static_configs: [{{targets: ['ADDRESS']}}]}}\n"
        for name in bodies
    )
    storage = "storage: {tsdb: {out_of_order_time_window: 10000d}}\n"
    with serving(bodies) as address:
        server = servers.prometheus(
            storage + "scrape_configs:\n" + jobs.replace("ADDRESS", address),
            features=["native-histograms"] if histograms is Histograms.NATIVE else [],
            flags=["--storage.tsdb.retention.time=100y", "--query.timeout=10m"],
        )
        deadline = time.monotonic() + 300
        while sum(target["health"] == "up" for target in server.api("targets")["activeTargets"]) < len(bodies):
            if time.monotonic() > deadline:
                raise SystemExit(f"not scraped: {server.tail()}")
            time.sleep(0.5)
    server.stop()
    server.config.write_text(storage, encoding="utf-8")
    server.start()
    return server


def _bodies(pieces: Iterable[bytes], size: int = 100_000_000) -> Iterator[bytes]:
    """Pieces put together to bodies of about ``size`` bytes."""
    waiting: list[bytes] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(map(len, waiting)) >= size:
            yield b"".join(waiting)
            waiting.clear()
    yield b"".join(waiting)


def main() -> None:
    for rows in [int(argument) for argument in sys.argv[1:]] or [1_000, 10_000]:
        for histograms in Histograms:
            if histograms is Histograms.CLASSIC and rows > LARGEST_CLASSIC:
                continue
            with tempfile.TemporaryDirectory() as folder, closing(Servers(Path(folder))) as servers:
                server = filled(servers, rows, histograms)
                for group in daily.groups(histograms):
                    report(server, rows, histograms, group.name, group.rules, END + 31 * MINUTE)


def report(server: Prometheus, rows: int, histograms: Histograms, name: str, rules: Iterable[Any], when: float) -> None:
    """Evaluate every rule of a group, as the server itself would, and say how long that takes."""
    spent, results, slowest = 0.0, 0, (0.0, "")
    for rule in rules:
        if isinstance(rule, Recording):
            started = time.perf_counter()
            results += len(server.query(f"count({rule.expr})", when))
            seconds = time.perf_counter() - started
            spent += seconds
            slowest = max(slowest, (seconds, rule.record))
    print(
        f"{rows:>6,} rows, {histograms.value:7} {name:20} {spent:7.2f} s an evaluation,"
        f" {results} rules with results; slowest {slowest[0]:.2f} s: {slowest[1]}",
        flush=True,
    )


if __name__ == "__main__":
    main()
