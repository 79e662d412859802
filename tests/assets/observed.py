"""A real Prometheus that scrapes the real example, with a past of two weeks that the real rules have made of its metrics."""

from __future__ import annotations

import itertools
import math
import re
import sys
import time
from typing import TYPE_CHECKING

from otel_metrics.catalogue import (
    CATALOGUE,
    INVALID_FILES,
    PROCESSES,
    SATISFACTION_DOUBTFUL,
    SHARED_ERRORS,
    UNMERGED,
    Kind,
)
from otel_metrics.naming import series_name
from tests.assets.history import DAY, HOUR, MINUTE, History, expositions, impatient_rules
from tests.dialects import CLASSIC, START_TIMES, groups
from tests.servers import ROOT, Process, Prometheus, fetch, free_port, routing_to, scraping, wait_until
from tests.visual.past import written

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers

DAYS = 15
_UP = 'up{job="history",instance="past"}'
_SUCCESSES = 'service_level:successes:increase1m{job="learning-engine",feature="learning-engine",service_level="learning-is-recent"}'
_RETIRED = 'feature:feature_usage:increase1h{job="learning-engine",feature="retired"}'
_WITHOUT_REASON = {INVALID_FILES, PROCESSES, SATISFACTION_DOUBTFUL, SHARED_ERRORS, UNMERGED}
"""It says on which scale its scores are, serves without passwords and certificates, and is one process."""
RETENTION = "--storage.tsdb.retention.time=60d"


class Example(Process):
    """The example application, working until it is stopped, its incident at once: errors are data, too."""

    name = "learning-engine"
    ready_path = "/metrics"

    def command(self) -> list[str]:
        arguments = ["--serve", "--pause", "1", "--incident", "0", "--port", str(self.port)]
        return ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "examples.learning_engine", *arguments]

    def exposition(self) -> str:
        return fetch(f"{self.url}/metrics").decode()

    def wait_for_every_metric(self) -> str:
        """Wait until every metric is exposed that the example has a reason to expose, and return the exposition."""
        names = {
            series_name(metric) + ("_bucket" if metric.kind is Kind.HISTOGRAM else "")
            for metric in CATALOGUE
            if metric not in _WITHOUT_REASON
        }
        seen: set[str] = set()

        def complete() -> str:
            text = self.exposition()
            seen.update(re.findall(r"^([a-zA-Z_:][\w:]*)", text, re.MULTILINE))
            return text if names <= seen else ""

        try:
            return wait_until(complete, what="every metric")
        except TimeoutError as error:
            raise TimeoutError(f"not exposed: {sorted(names - seen)}") from error


def observe(servers: Servers, folder: Path) -> Prometheus:
    """Start everything; returns when every recorded series is there."""
    example = servers._started(Example(folder))
    exposition = expositions(example.wait_for_every_metric())
    data = folder / "data"
    rules = folder / "rules"
    rules.mkdir()
    now = time.time()
    last_day = (now - 30 * MINUTE) // DAY * DAY
    # The past ends before now, as what is not scraped any more does. While all this starts the next hour
    # may become the last one, and around half past midnight the next day.
    hour, end = (now - 5 * MINUTE) // HOUR * HOUR, now - 6 * MINUTE
    midnights = [midnight for midnight in (last_day, last_day + DAY) if midnight + 10 * MINUTE < end]
    noons = [midnight - DAY + 12 * HOUR for midnight in midnights]

    history = History()
    for noon, midnight in zip(noons, midnights, strict=True):
        _scrapes(history, exposition, "noon", noon + 10 * MINUTE, noon + HOUR)
        _days(history, exposition, noon, midnight, end)
        history.hold(_UP, 1, noon - 5 * MINUTE, noon + HOUR)
    _scrapes(history, exposition, "recent", hour - 40 * MINUTE, end)
    history.hold(_UP, 1, hour - HOUR - 5 * MINUTE, end)
    # A quarter of an hour has to be known before anything can be found stale.
    history.hold(_SUCCESSES, 1, end - HOUR, end)
    # A feature that is not used any more.
    history.hold(_RETIRED, 5, now - 3 * HOUR, now - 2 * HOUR)
    history.write(data)

    # The past hours' differences, by the shipped expressions.
    server = servers.prometheus(data=data, flags=[RETENTION])
    _remember_hours(server, [noon + HOUR + 10 * MINUTE for noon in noons]).write(data)
    server.stop()

    # The last day's rows, by the shipped rules; then as many days like it.
    server = servers.prometheus(rules=impatient_rules(rules, CLASSIC), data=data, flags=[RETENTION])
    rows = server.wait_for('{__name__=~"feature_type_name:value:p99_1d"}') and server.query(
        '{__name__=~"feature_type_name:value:(avg|min|max|stddev|count|p50_|p95_|p99_)1?d"}'
    )
    server.stop()
    older = History()
    for days, row, after in itertools.product(range(DAYS + 1), rows, (40 * MINUTE, 70 * MINUTE)):
        when = last_day - days * DAY + after
        if when < end:  # the last day's too: what is recorded now comes too late for it after half past eleven
            older.add(written(row["metric"]), [(when, float(row["value"][1]))])
    older.write(data)

    return _watched(servers, folder, example, data)


def _watched(servers: Servers, folder: Path, example: Example, data: Path) -> Prometheus:
    """Start Prometheus for good, with Alertmanager, and wait for what rules record."""
    webhook = servers.webhook()
    alertmanager = servers.alertmanager(routing_to(webhook.url))
    mine = folder / "prometheus"
    mine.mkdir()
    port = free_port()
    config = scraping(
        [example.address, alertmanager.address, f"127.0.0.1:{port}"],
        interval="1s",
        rules=sorted((folder / "rules").glob("*.yml")),
        alertmanagers=[alertmanager.address],
        job="learning-engine",
        # Start times come by protobuf, of which Prometheus 3.5 otherwise drops buckets that have a native histogram beside them.
        more={"always_scrape_classic_histograms": True},
    )
    flags = [RETENTION, "--rules.alert.resend-delay=1s", f"--enable-feature={START_TIMES}"]
    server = Prometheus(mine, config, flags=flags, data=data)
    server.port = port
    servers._started(server)
    server.wait_until_scraped()
    # Rates of a minute need some of it, and generations with all that they do.
    server.wait_for("min(count_over_time(up[5m])) >= 20")
    server.wait_for("ALERTS:since")
    return server


def _scrapes(history: History, exposition: list[tuple[str, float]], process: str, start: float, end: float) -> None:
    """Let a process expose what was exposed, unchanged, every ten minutes."""
    for series, value in exposition:
        if not math.isfinite(value) or series.startswith(("process_", "python_", "feature_daily_")):
            continue
        named = re.sub(r'service_instance_id="[^"]*"', f'service_instance_id="{process}"', series)
        both = [named]
        if 'sign="positive"' in named:
            # The example has values below zero in one of the families that may have them.
            both.append(named.replace('sign="positive"', 'sign="negative"'))
        for each in both:
            history.hold(each, value, start, end, step=10 * MINUTE)
            if re.match(r"\w+_(total|bucket|sum|count)\{", each):
                history.add(each, [(start - MINUTE, 0)])  # what a server makes of a start time


def _days(history: History, exposition: list[tuple[str, float]], noon: float, midnight: float, end: float) -> None:
    """Let a process expose its day, and after midnight, until the end, the same as the day before."""
    for series, value in exposition:
        if series.startswith("feature_daily_") and 'day="current"' in series:
            named = re.sub(r'service_instance_id="[^"]*"', 'service_instance_id="noon"', series)
            history.hold(named, value, noon + 10 * MINUTE, noon + HOUR, step=10 * MINUTE)
            later = named.replace('day="current"', 'day="previous"')
            history.hold(later, value, midnight + 10 * MINUTE, min(midnight + 30 * MINUTE, end), step=5 * MINUTE)


def _remember_hours(server: Prometheus, times: list[float]) -> History:
    """Return what the rules of the first tier would have recorded at some times."""
    history = History()
    [hours] = [group for group in groups(CLASSIC) if group["name"] == "otel_metrics_hours"]
    for rule, when in itertools.product(hours["rules"], times):
        for result in server.query(rule["expr"], when):
            labels = {**result["metric"], **rule.get("labels", {}), "__name__": rule["record"]}
            for after in (0, 10 * MINUTE):
                history.add(written(labels), [(when + after, float(result["value"][1]))])
    return history
