"""A real VictoriaMetrics with sixteen days of fixed samples, and what a real vmalert records of them: no clock has a say."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from otel_metrics.assets.service_levels import Kind, Level, ServiceLevels
from otel_metrics.promql import VICTORIAMETRICS
from tests.assets.history import DAY, HOUR, MINUTE
from tests.dialects import groups, in_turns
from tests.servers import ROOT, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import Servers, VictoriaMetrics

NOW = datetime(2025, 11, 19, 15, 15, tzinfo=timezone.utc).timestamp()
RECENT = NOW - 2 * HOUR - 5 * MINUTE
"""From then on there is a scrape a minute, and rules have their own intervals; before, everything is once an hour."""
BEGIN = RECENT - 16 * DAY

LEVELS = ServiceLevels(
    (
        Level("search-succeeds", "search", Kind.SUCCESS, 99),
        Level("search-is-fast", "search", Kind.LATENCY, 95, "470ms"),
        Level("search-is-liked", "search", Kind.SATISFACTION, 80),
        Level("search-is-recent", "search", Kind.FRESHNESS, 99, "15m"),
    )
)
EXPOSED = ROOT / "tests/scenario/recorded/day2.text.txt"
MORE = """
# TYPE up gauge
up 1
# TYPE scrape_duration_seconds gauge
scrape_duration_seconds 0.01
# TYPE scrape_samples_scraped gauge
scrape_samples_scraped 2270
# TYPE alertmanager_notifications_total counter
alertmanager_notifications_total{integration="webhook"} 3
# TYPE alertmanager_notifications_failed_total counter
alertmanager_notifications_failed_total{integration="webhook"} 1
# TYPE feature_performance_duration_seconds histogram
feature_performance_duration_seconds_count{feature="slow",metric_category="response_time",metric_name="report"} 4
feature_performance_duration_seconds_sum{feature="slow",metric_category="response_time",metric_name="report"} 12
# TYPE feature_optimization_change histogram
feature_optimization_change_count{feature="slow",impact_category="resource_usage"} 1
feature_optimization_change_sum{feature="slow",impact_category="resource_usage"} 2
"""
"""What is exposed beside the scenario's metrics: by servers, and by a feature that is slow and got worse."""
UNUSED = "bulk"
"""A feature of the scenario that is not used any more in the last two hours."""


def replayed(servers: Servers, folder: Path) -> VictoriaMetrics:
    """Start it; whatever a rule reads is there before the rule is evaluated."""
    # Its cache is emptied by the clock, some seconds after old samples have arrived.
    server = servers.victoria_metrics(flags=["-search.disableCache"])
    server.import_series(_series())
    found = groups(VICTORIAMETRICS, LEVELS)
    hourly = [
        {**group, "interval": "1h", "rules": [rule for rule in group["rules"] if "record" in rule]} for group in found
    ]
    for begin, end, evaluated in ((BEGIN, RECENT, hourly), (RECENT, NOW, found)):
        for turn in in_turns(evaluated):
            rules = folder / "rules.yml"
            rules.write_text(json.dumps({"groups": turn}), encoding="utf-8")
            _replay(server, rules, begin, end)
    return server


def _series() -> Iterator[dict[str, Any]]:
    """What the recorded scenario exposes; counters grow by it every minute."""
    times = [*range(int(BEGIN), int(RECENT), HOUR), *range(int(RECENT), int(NOW) + 1, MINUTE)]
    timestamps = [when * 1000 for when in times]
    for family in text_string_to_metric_families(EXPOSED.read_text(encoding="utf-8") + MORE):
        for sample in family.samples:
            factors = [1.0] * len(times)
            if family.type in {"counter", "histogram"}:
                last = RECENT if sample.labels.get("feature") == UNUSED else NOW
                factors = [(min(when, last) - BEGIN) / MINUTE for when in times]
            yield {
                "metric": {"job": "shop", "instance": "shop:9464", **sample.labels, "__name__": sample.name},
                "values": [sample.value * factor for factor in factors],
                "timestamps": timestamps,
            }


def _replay(server: VictoriaMetrics, rules: Path, begin: float, end: float) -> None:
    command = [
        program("vmalert"),
        f"-rule={rules}",
        f"-datasource.url={server.url}",
        f"-remoteWrite.url={server.url}",
        f"-replay.timeFrom={datetime.fromtimestamp(begin, timezone.utc).isoformat()}",
        f"-replay.timeTo={datetime.fromtimestamp(end, timezone.utc).isoformat()}",
        "-replay.rulesDelay=0s",
        "-replay.disableProgressBar",
        "-httpListenAddr=127.0.0.1:0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    server.flush()
