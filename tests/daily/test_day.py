"""A simulated leap day: three processes, a crash, a late birth, midnights at both ends; through real Prometheus and without.

What is simulated is the time of the processes, nothing else: record calls, accumulators and renderers are the real ones, and so
is the server, which scrapes what they exposed, native and classic histograms alike, with the simulated timestamps.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.assets import daily, rulefile
from otel_metrics.catalogue import SECONDS
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.daily import notation, rules
from tests.daily.simulation import DAY, DISTRIBUTIONS, HOUR, MINUTE, Clock, Simulation, exactly, gauge, serving
from tests.dialects import AT_HAND, CLASSIC, START_TIMES
from tests.dialects import rules as rule_files
from tests.servers import fetch, promtool, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from otel_metrics.results import DailyRow
    from tests.servers import Prometheus, Servers

START = datetime(2024, 2, 29, tzinfo=timezone.utc).timestamp()
END = START + DAY
DATE = "2024-02-29"
EXACT = ("count", "avg_value", "min_value", "max_value", "stddev")
PERCENTILES = {"percentile_50": 0.50, "percentile_95": 0.95, "percentile_99": 0.99}

CONFIG = """
scrape_configs:
- job_name: shop
  scrape_interval: 8s
  scrape_timeout: 8s
  honor_labels: true
  always_scrape_classic_histograms: true
  static_configs: [{{targets: ['{address}']}}]
"""


class Days:
    """Simulated days by their number of values, and a real server for each that has scraped its processes in no time."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._days: dict[int, Simulation] = {}
        self._scraped: dict[int, Prometheus] = {}

    def day(self, values: int) -> Simulation:
        if values not in self._days:
            self._days[values] = Simulation(START, values)
            self._days[values].run()
        return self._days[values]

    def server(self, values: int) -> Prometheus:
        if values not in self._scraped:
            self._scraped[values] = scraped(self.day(values), self._servers)
        return self._scraped[values]

    def close(self) -> None:
        for day in self._days.values():
            day.close()


@pytest.fixture(scope="module")
def days(session_servers: Servers) -> Iterator[Days]:
    with contextlib.closing(Days(session_servers)) as made:
        yield made


FEW, MANY = 10_000, 1_000_000
both = pytest.mark.parametrize("values", [FEW, MANY])


def scraped(day: Simulation, servers: Servers) -> Prometheus:
    """A server that took all samples in one scrape: between two, the older ones of the second would be out of order."""
    up = gauge("up", {"job": "shop"}, ((START - 2 * HOUR + n * MINUTE, 1) for n in range(29 * 60)))
    with serving({"metrics": up + day.served()}) as address:
        server = servers.prometheus(
            CONFIG.format(address=address),
            native=True,
            features=[START_TIMES],
            flags=["--storage.tsdb.retention.time=100y"],
        )
        server.wait_for("scrape_samples_scraped > 0")  # written with the samples; the target is "up" before they are
        snapshot = json.loads(fetch(f"{server.url}/api/v1/admin/tsdb/snapshot", b""))["data"]["name"]
    # From here on it only answers, from blocks: of what is in its log it would drop all that is older than a block brought to it.
    server.stop()
    server.data = server.data / "snapshots" / snapshot
    server.config.write_text("", encoding="utf-8")
    server.start()
    wait_until(lambda: server.value("count(max_over_time(feature_daily_values[2d]))", END + HOUR), what="data")
    return server


def rows_at(when: float, url: str | None = None) -> dict[str, DailyRow]:
    """The documented daily rows of the day, by metric name, as a process asks for them at ``when``."""
    runtime = Runtime(Settings(prometheus_url=url, clock=Clock(when)))
    try:
        return {row["metric_name"]: row for row in runtime.advanced.aggregate_daily_metrics(date=DATE)}
    finally:
        runtime.close()


def is_exact(found: dict[str, float], expected: dict[str, float]) -> None:
    for column in EXACT:
        assert found[column] == pytest.approx(expected[column], rel=1e-9), column


def is_close(found: dict[str, float], values: Any) -> None:
    """Within 1 %, or, where recorded values are further apart than that, within 1 % of the gap beside the percentile."""
    ordered = sorted(values)
    for column, q in PERCENTILES.items():
        low, high = _near(ordered, q)
        assert low <= found[column] <= high, column


def _near(ordered: list[float], q: float) -> tuple[float, float]:
    position = q * (len(ordered) - 1)
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    slack = 0.01 * (high - low)
    return low * 0.99 - slack, high * 1.01 + slack


def in_seconds(row: Mapping[str, Any]) -> dict[str, float]:
    assert row["unit"] == "milliseconds"
    return {column: row[column] if column == "count" else row[column] / 1000 for column in (*EXACT, *PERCENTILES)}


@both
def test_the_day_through_the_server(days: Days, values: int) -> None:
    """No rules yet: computed from accumulators and native histograms as the server stored them."""
    day, server = days.day(values), days.server(values)
    rows = rows_at(END + 2 * HOUR, server.url)
    assert set(rows) == {f"{name}_ms" for name in DISTRIBUTIONS}
    for name, row in rows.items():
        assert row["partial"] is False
        is_exact(in_seconds(row), exactly(day.exposed(name)))
        is_close(in_seconds(row), day.exposed(name))


def test_the_day_while_it_lasts_is_marked_partial(days: Days) -> None:
    day, server = days.day(FEW), days.server(FEW)
    noon = rows_at(START + 12 * HOUR, server.url)
    assert {row["partial"] for row in noon.values()} == {True}
    for name, row in noon.items():
        assert 0.4 < row["count"] / len(day.exposed(name)) < 0.6


@both
def test_the_day_from_the_process_itself(days: Days, values: int) -> None:
    """The local source of the process that saw all of it: what that process recorded, whoever scraped it or not."""
    day = days.day(values)
    steady = day.processes[0]
    rows = {row["metric_name"]: row for row in steady.runtime.advanced.aggregate_daily_metrics(date=DATE)}
    assert set(rows) == {f"{name}_ms" for name in DISTRIBUTIONS}
    for name, row in rows.items():
        assert row["partial"] is False
        is_exact(in_seconds(row), exactly(steady.recorded[name]))
        is_close(in_seconds(row), steady.recorded[name])


def test_the_day_through_the_shipped_rules(days: Days, tmp_path: Path) -> None:
    """Classic histograms: percentiles are off by the width of a bucket at most, everything else is exact."""
    day, server = days.day(MANY), days.server(MANY)
    file = tmp_path / "classic" / "daily.yml"
    file.parent.mkdir()
    file.write_text(rule_files(CLASSIC)["daily.yml"], encoding="utf-8")
    rules.backfill(server, file, START, END + 2 * HOUR, tmp_path)
    for name in DISTRIBUTIONS:
        labels = f'{{feature="shop",metric_type="response_time",metric_name="{name}_ms",unit="seconds"}}'
        found = {}
        for column, recorded in RECORDED.items():
            value = server.value(f"last_over_time({recorded}{labels}[23h])", END + 23.5 * HOUR)
            assert value is not None, (name, column)
            found[column] = value
        expected = exactly(day.exposed(f"{name}_ms"))
        is_exact(found, expected)
        for column in PERCENTILES:
            low, high = _bucket(expected[column])
            assert low <= found[column] <= high, (name, column)
    # And the documented call reads what was recorded.
    rows = rows_at(END + 20 * HOUR, server.url)
    for name, row in rows.items():
        is_exact(in_seconds(row), exactly(day.exposed(name)))


def test_the_rows_do_not_depend_on_when_the_server_evaluates(days: Days, tmp_path: Path) -> None:
    """The offset of a group hangs on the path of its file. Rules at two offsets, some hours long: the same rows."""
    server = days.server(FEW)
    for name in ("daily.yml", "elsewhere.yml"):
        file = tmp_path / name
        file.write_text(rule_files(CLASSIC)["daily.yml"], encoding="utf-8")
        (tmp_path / "work").mkdir(exist_ok=True)
        rules.backfill(server, file, START, END + 3 * HOUR, tmp_path / "work")
        for out in (tmp_path / "work").iterdir():
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    for recorded in RECORDED.values():
        samples = server.value(f"min(count_over_time({recorded}[150m]))", END + 3 * HOUR)
        assert samples is not None
        assert samples >= 8  # two every half hour
        spread = f"max(max_over_time({recorded}[150m]) - min_over_time({recorded}[150m]))"
        assert server.value(spread, END + 3 * HOUR) == 0, recorded


@both
def test_native_percentiles_through_the_rules_expressions(days: Days, values: int) -> None:
    """In a real server, at the time at which the rules run; the hours' expression in the place of what it records."""
    day, server = days.day(values), days.server(values)
    found = {(rule.record, rule.labels.get(daily.HISTOGRAM)): str(rule.expr) for rule in native_rules()}
    hour = found[daily.NATIVE_1H, "feature_performance_duration_seconds"]
    inner = hour.removeprefix("last_over_time(").removesuffix("[1h:1h] offset 5m)")
    whole = found[daily.NATIVE, None].replace(f"last_over_time({daily.NATIVE_1H}[24m] offset -29m)", f"({inner})")
    assert len(inner) < len(hour)
    assert daily.NATIVE_1H not in whole
    for column, q in PERCENTILES.items():
        rows = server.query(f"histogram_quantile({q}, {whole})", END + 2 * HOUR)
        by_name = {row["metric"]["metric_name"]: float(row["value"][1]) for row in rows}
        for name in DISTRIBUTIONS:
            low, high = _near(sorted(day.exposed(f"{name}_ms")), q)
            assert low <= by_name[f"{name}_ms"] <= high, (name, column)


def native_rules() -> list[rulefile.Recording]:
    return [rule for group in daily.groups(AT_HAND) for rule in group.rules if isinstance(rule, rulefile.Recording)]


def test_the_day_through_the_native_rules(days: Days, tmp_path: Path) -> None:
    """All of it by promtool's test of rules; promtool cannot backfill native histograms, and tests may not load many."""
    day, folder = days.day(FEW), tmp_path
    file = folder / "daily.yml"
    file.write_text(rulefile.text(*daily.groups(AT_HAND)), encoding="utf-8")
    tests = []
    for name in DISTRIBUTIONS:
        labels = f'{{feature="shop",metric_type="response_time",metric_name="{name}_ms",unit="seconds"}}'
        ordered = sorted(day.exposed(f"{name}_ms"))
        statistics = exactly(day.exposed(f"{name}_ms"))
        expected: list[tuple[str, float]] = []
        for column, recorded in RECORDED.items():
            value = f"last_over_time({recorded}{labels}[23h])"
            low, high = (statistics[column] * (1 - 1e-9), statistics[column] * (1 + 1e-9))
            if column in PERCENTILES:
                low, high = _near(ordered, PERCENTILES[column])
            expected.append((f"sum(({value} >= bool {low!r}) * ({value} <= bool {high!r}))", 1))
        tests.append(notation.test_of(notation.input_series(day, 3, f"{name}_ms"), expected, 2 * DAY + 2 * HOUR))
    notation.write(folder / "native.test.yml", file, tests)
    done = promtool("test", "rules", folder / "native.test.yml")
    assert done.returncode == 0, (done.stdout + done.stderr)[:5000]


RECORDED = {
    "count": "feature_type_name:value:count1d",
    "avg_value": "feature_type_name:value:avg1d",
    "min_value": "feature_type_name:value:min1d",
    "max_value": "feature_type_name:value:max1d",
    "stddev": "feature_type_name:value:stddev1d",
    "percentile_50": "feature_type_name:value:p50_1d",
    "percentile_95": "feature_type_name:value:p95_1d",
    "percentile_99": "feature_type_name:value:p99_1d",
}


def _bucket(value: float) -> tuple[float, float]:
    """The classic bucket that holds a value."""
    upper = next(i for i, bound in enumerate(SECONDS) if value <= bound)
    return (SECONDS[upper - 1] if upper else 0.0), SECONDS[upper]
