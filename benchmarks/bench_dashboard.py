"""The read API with 10,000 recorded series: requests and seconds per call, against every source.

    python benchmarks/bench_dashboard.py [series]

Prometheus and VictoriaMetrics are the real ones and hold what they scraped from this process.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from otel_metrics.querying.client import PrometheusClient
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.servers import Servers, scraping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otel_metrics.facade.advanced import AdvancedMetrics
    from tests.servers import QueryServer

REPEATS = 5
EVERYTHING = 'count({__name__=~".+"})'


def record(advanced: AdvancedMetrics, series: int) -> int:
    """Record into about ``series`` series of the usual mixture; return the number of performance values."""
    features = [f"feature-{n}" for n in range(100)]
    per_feature = series // 100
    values = 0
    for feature in features:
        for n in range(per_feature * 7 // 10):
            category = ("response_time", "latency", "throughput", "memory_usage", "cpu_usage")[n % 5]
            unit = {"throughput": "per_second", "memory_usage": "MB", "cpu_usage": "percent"}.get(category, "ms")
            for value in (1.0 + n, 2.0 + n, 40.0):
                advanced.record_performance_metric(feature, category, f"metric-{n}", value, unit)
                values += 1
        for n in range(per_feature * 2 // 10):
            advanced.record_feature_usage(feature, f"action-{n}", 12.5 + n, success=n % 7 > 0)
        for n in range(max(per_feature // 20, 1)):
            advanced.record_learning_effectiveness(feature, f"type-{n}", 0.9, 0.8, 100, 0.05)
            advanced.record_error(feature, f"Error{n}", "warning", recovery_attempted=True, recovery_successful=True)
            advanced.record_satisfaction(feature, f"type-{n}", 0.9)
    return values


@contextmanager
def counted() -> Iterator[list[str]]:
    """Note the path of every request that a client makes."""
    original = PrometheusClient._request
    paths: list[str] = []

    def post(client: PrometheusClient, path: str, *arguments: Any) -> Any:
        paths.append(path)
        return original(client, path, *arguments)

    PrometheusClient._request = post  # type: ignore[assignment,method-assign]
    try:
        yield paths
    finally:
        PrometheusClient._request = original  # type: ignore[method-assign]


def calls(advanced: AdvancedMetrics) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "dashboard, all features, 1 h", lambda: advanced.get_comprehensive_dashboard(hours=1)
    yield "dashboard, all features, 24 h", lambda: advanced.get_comprehensive_dashboard(hours=24)
    yield "dashboard, one feature, 24 h", lambda: advanced.get_comprehensive_dashboard("feature-7")
    yield "performance rows, limit 1000", lambda: advanced.get_performance_metrics(limit=1000)
    yield "error stats", advanced.get_error_stats
    yield "daily table, today", advanced.aggregate_daily_metrics


def recorded(board: Mapping[str, Any]) -> int:
    """Return how many performance values a dashboard knows of, in any unit."""
    categories = board["performance"]["categories"].values()
    return sum(entry["count"] for category in categories for entry in (category, *category.get("other_units", ())))


def measure(title: str, advanced: AdvancedMetrics, values: int) -> None:
    for name, call in calls(advanced):
        seconds = []
        with counted() as paths:
            for _ in range(REPEATS):
                before = time.perf_counter()
                result = call()
                seconds.append(time.perf_counter() - before)
        if name.startswith("dashboard, all"):
            assert recorded(result) == values
        requests = len(paths) // REPEATS
        print(f"{title:22}{name:34}{statistics.median(seconds) * 1000:8.0f} ms {requests:4} requests", flush=True)


def main() -> None:
    series = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with closing(Runtime(Settings(series_limit=series * 2))) as runtime:
        endpoint = runtime.serve(port=0)
        values = record(runtime.advanced, series)
        print(f"{runtime.recorder.labels.series():,} recorded series; medians of {REPEATS} calls")
        measure("local", runtime.advanced, values)
        target = [endpoint.url]
        starts: dict[str, Callable[[Servers], QueryServer]] = {
            "Prometheus, native": lambda s: s.prometheus(targets=target, interval="20s", native=True),
            "Prometheus, classic": lambda s: s.prometheus(targets=target, interval="20s"),
            "VictoriaMetrics": lambda s: s.victoria_metrics(
                config=scraping(target, interval="20s"),
                flags=["-promscrape.maxScrapeSize=256MB", "-memory.allowedBytes=2GB"],
            ),
        }
        for title, start in starts.items():
            with closing(Servers(Path(tempfile.mkdtemp()))) as servers:
                server = start(servers)
                with closing(Runtime(Settings(prometheus_url=server.url, prometheus_timeout=60))) as reading:
                    advanced = reading.advanced
                    while recorded(advanced.get_comprehensive_dashboard()) < values:
                        time.sleep(1)
                    print(f"{title}: {server.value(EVERYTHING):,.0f} stored series")
                    measure(title, advanced, values)


if __name__ == "__main__":
    main()
