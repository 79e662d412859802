"""The daily rules in a real Prometheus that evaluates them itself: seconds that it says each group took, by rows of the daily table.

python -m benchmarks.bench_rules [rows...]

The server gets a past that ends now, and the rule file; the figures are those of its ``/api/v1/rules`` (the same as in
``prometheus_rule_group_last_duration_seconds``), writing the results included, over several evaluations. The groups' intervals are
shortened, so that nobody waits for half an hour; what an evaluation reads does not depend on them.

Every row of the daily table (feature, metric type, metric name, unit) has one histogram and five accumulators. What the hourly
group reads, two hours, has samples a minute apart (5 minutes from 10,000 rows on); the accumulators of the day that ended last,
which the daily group reads, half an hour apart, and a minute (5 minutes) apart in the hour after; the hours that it reads are all there.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_metrics import catalogue as c
from otel_metrics.assets import daily, rulefile
from otel_metrics.naming import series_name
from otel_metrics.promql import Histograms
from tests.daily.simulation import DAY, HOUR, MINUTE, delimited, gauge, serving
from tests.dialects import AT_HAND
from tests.exporter.prometheus_proto import MetricFamily
from tests.servers import Servers, fetch, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.servers import Prometheus

BUCKETS = 60
EVALUATIONS = 3
PATIENCE = 1200.0
"""Seconds that reading the past, or some evaluations, may take."""

HISTOGRAM = "feature_performance_duration_seconds"


class Now:
    """What rules look at that are evaluated in the next minutes: the last full hour, and the day that ended last."""

    def __init__(self) -> None:
        now = time.time()
        left = HOUR - (now - 5 * MINUTE) % HOUR
        if left < PATIENCE:  # the hour that is looked at would change meanwhile
            print(f"Waiting {left:.0f} s for the next hour's turn", flush=True)
            time.sleep(left)
            now = time.time()
        self.hour = (now - 5 * MINUTE) // HOUR * HOUR
        self.midnight = (now - 30 * MINUTE) // DAY * DAY


def families(rows: int, histograms: Histograms, part: str) -> dict[str, Any]:
    """The families of one process, without values: the ``part`` of them that stands at the same times."""
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
        if part in c.DAY.values:
            for metric in (c.DAILY_COUNT, c.DAILY_SUM, c.DAILY_SUMSQ, c.DAILY_MIN, c.DAILY_MAX):
                add(series_name(metric), 1, **key, day=part).gauge.value = row
        elif part == "histograms":
            histogram = add(HISTOGRAM, 4, feature=feature, metric_category="response_time", metric_name=name).histogram
            shape(histogram, 1, histograms)
        elif histograms is Histograms.NATIVE:
            shape(add(daily.NATIVE_1H, 4, **key, histogram=HISTOGRAM).histogram, 1, histograms)
        else:
            for bound in (*map(repr, c.SECONDS), "+Inf"):
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
    for place, bound in enumerate(c.SECONDS):
        histogram.bucket.add(cumulative_count=n * min(place, BUCKETS), upper_bound=bound)
    histogram.bucket.add(cumulative_count=n * BUCKETS, upper_bound=float("inf"))


def exposition(rows: int, histograms: Histograms, part: str, times: Iterable[float]) -> Iterator[bytes]:
    """Every sample at ``times`` of a part of what a process exposes, or of what the hourly group recorded."""
    made = families(rows, histograms, part)
    for n, when in enumerate(times, 1):
        for name, family in made.items():
            for metric in family.metric:
                metric.timestamp_ms = round(when * 1000)
                if name == HISTOGRAM:
                    shape(metric.histogram, n, histograms)
            yield delimited(family)


def filled(servers: Servers, rows: int, histograms: Histograms, now: Now) -> Prometheus:
    """A server with a past, and with the rules."""
    dense = MINUTE if rows < 10_000 else 5 * MINUTE
    start, hour = now.midnight - DAY, now.hour
    times: dict[str, list[float]] = {
        "current": [start + when for when in range(0, DAY, 30 * MINUTE)],
        "previous": [now.midnight + when for when in range(dense, HOUR, dense) if now.midnight + when < time.time()],
        "histograms": [hour - when for when in range(2 * HOUR, -1, -dense)],
        "hours": [start + n * HOUR + 15 * MINUTE for n in range(1, 25)],
    }
    parts = {name: exposition(rows, histograms, name, at) for name, at in times.items()}
    minutes = [hour - n * MINUTE for n in range(26 * 60, -1, -1)]
    parts["up"] = iter([gauge("up", {"job": "shop"}, ((when, 1) for when in minutes))])
    parts["series"] = iter(
        [gauge(series_name(c.SERIES), {"service_instance_id": "one"}, ((when, 1) for when in minutes))]
    )
    bodies = {f"{name}-{n}": body for name, part in parts.items() for n, body in enumerate(_bodies(part))}
    jobs = "".join(
        f"- {{job_name: {name}, metrics_path: /{name}, scrape_interval: 45s, scrape_timeout: 45s, honor_labels: true,"
        f" static_configs: [{{targets: ['ADDRESS']}}]}}\n"
        for name in bodies
    )
    storage = "storage: {tsdb: {out_of_order_time_window: 10000d}}\n"
    with serving(bodies) as address:
        server = servers.prometheus(
            storage + "scrape_configs:\n" + jobs.replace("ADDRESS", address),
            native=histograms is Histograms.NATIVE,
            flags=["--storage.tsdb.retention.time=100y", "--query.timeout=10m"],
        )

        def read() -> bool:
            return [target["health"] for target in server.api("targets")["activeTargets"]] == ["up"] * len(bodies)

        wait_until(read, PATIENCE, what="all of the past read")
    server.stop()
    rules = server.config.with_name("daily.yml")
    groups = (replace(group, interval="15s") for group in daily.groups(AT_HAND.storing(histograms)))
    rules.write_text(rulefile.text(*groups), encoding="utf-8")
    server.config.write_text(f"{storage}rule_files: [{rules}]\n", encoding="utf-8")
    server.start()
    return server


def _bodies(pieces: Iterable[bytes], size: int = 50_000_000) -> Iterator[bytes]:
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
            with tempfile.TemporaryDirectory() as folder, closing(Servers(Path(folder))) as servers:
                report(filled(servers, rows, histograms, Now()), rows, histograms)


def report(server: Prometheus, rows: int, histograms: Histograms) -> None:
    """Say how long the server took for some evaluations of each group, and how many samples the last one wrote."""
    seconds: dict[str, dict[str, float]] = {}
    groups: list[dict[str, Any]] = []

    def evaluated() -> bool:
        groups[:] = server.api("rules")["groups"]
        for group in groups:
            if not group["lastEvaluation"].startswith("0001"):
                seconds.setdefault(group["name"], {})[group["lastEvaluation"]] = group["evaluationTime"]
        return len(seconds) == len(groups) > 0 and all(len(times) >= EVALUATIONS for times in seconds.values())

    wait_until(evaluated, PATIENCE, what="evaluations")
    exposed = fetch(f"{server.url}/metrics").decode()
    for group in groups:
        name, times = group["name"], seconds[group["name"]].values()
        found = re.search(rf'prometheus_rule_group_last_evaluation_samples{{rule_group=".*;{name}"}} (\S+)', exposed)
        slowest = max(group["rules"], key=lambda rule: float(rule["evaluationTime"]))
        failed = {rule["lastError"] for rule in group["rules"] if rule["health"] != "ok"}
        print(
            f"{rows:>6,} rows, {histograms.value:7} {name:20} {min(times):6.2f} to {max(times):.2f} s an evaluation of {len(times)},"
            f" {float(found[1]) if found else 0:,.0f} samples; slowest {slowest['evaluationTime']:.2f} s: {slowest['name']}"
            + "".join(f"\n  FAILED: {error}" for error in failed),
            flush=True,
        )


if __name__ == "__main__":
    main()
