"""The command ``otel-metrics import`` with real promtool and real Prometheus: what is lost, what is doubled, what comes back."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from otel_metrics.cli import main
from otel_metrics.errors import ImportFailedError
from otel_metrics.importing.data_directory import DataDirectory
from tests.command import COMMAND, Running, environment, otel_metrics
from tests.importing import old
from tests.processes import program
from tests.servers import wait_until

if TYPE_CHECKING:
    from tests.servers import Prometheus, Servers

FOREVER = "--storage.tsdb.retention.time=100y"
MIDNIGHT = datetime(2024, 2, 29, tzinfo=timezone.utc).timestamp()
DAY = 86_400


def blocks(data: Path) -> dict[str, int]:
    """Name of every block in place -> its samples."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))["stats"]["numSamples"]
        for path in data.glob("*/meta.json")
    }


def percentile(values: list[float], q: float) -> float:
    """SQL's percentile_cont, written once more."""
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    above = math.ceil(position)
    return ordered[below] * (above - position if above > below else 1) + ordered[above] * (position - below)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An old database of three days, and the data directory that it was imported into."""
    folder = tmp_path_factory.mktemp("imported")
    path = old.filled(folder / "old.db", 3000, 3)
    old.imported(path, folder / "data")
    return path, folder / "data"


@pytest.fixture(scope="module")
def server(imported: tuple[Path, Path], session_servers: Servers) -> Prometheus:
    return old.server_on(session_servers, imported[1])


def test_the_daily_table_of_an_imported_day_is_what_sql_says(imported: tuple[Path, Path], server: Prometheus) -> None:
    """All eight statistics, computed here by hand from the old rows in the old unit."""
    where = "FROM system_performance WHERE feature = 'feature-1' AND metric_name = 'step_2' AND timestamp LIKE '2024-02-29%'"
    values = [value / 1000 for (value,) in old.sql(imported[0], f"SELECT value {where}")]
    assert len(values) >= 50
    expected = {
        "count1d": len(values),
        "avg1d": statistics.fmean(values),
        "min1d": min(values),
        "max1d": max(values),
        "stddev1d": statistics.stdev(values),
        "p50_1d": percentile(values, 0.50),
        "p95_1d": percentile(values, 0.95),
        "p99_1d": percentile(values, 0.99),
    }
    labels = 'feature="feature-1",metric_type="response_time",metric_name="step_2",unit="seconds"'
    for column, value in expected.items():
        name = f"feature_type_name:value:{column}{{{labels}}}"
        assert server.value(f"last_over_time({name}[23h])", MIDNIGHT + DAY + 23.5 * 3600) == pytest.approx(
            value, rel=1e-12
        ), column


def test_counters_and_histograms_have_exact_differences(imported: tuple[Path, Path], server: Prometheus) -> None:
    """Over the day, and over an hour of it: the same expressions as for the live system."""
    rows, total = old.sql(
        imported[0],
        "SELECT count(*), sum(value) / 1e3 FROM system_performance WHERE unit = 'milliseconds' AND timestamp LIKE '2024-02-29%'",
    )[0]

    def added(name: str, start: float, end: float) -> float | None:
        last = f"last_over_time({name}[{end - start:.0f}s] @ {end})"
        return server.value(f"sum({last} - (last_over_time({name}[1h] @ {start}) or {last} * 0))", end)

    name = "feature_performance_duration_seconds"
    assert added(f"{name}_count", MIDNIGHT, MIDNIGHT + DAY) == rows
    assert added(f'{name}_bucket{{le="+Inf"}}', MIDNIGHT, MIDNIGHT + DAY) == rows
    assert added(f"{name}_sum", MIDNIGHT, MIDNIGHT + DAY) == pytest.approx(total, rel=1e-12)
    (failed,) = old.sql(
        imported[0],
        "SELECT count(*) FROM feature_usage WHERE success = 0 AND timestamp >= '2024-02-29T10' AND timestamp < '2024-02-29T11'",
    )[0]
    assert failed > 0
    ten = MIDNIGHT + 10 * 3600
    assert added('feature_usage_total{outcome="failure"}', ten, ten + 3600) == failed


def test_graphs_of_the_last_hour_have_what_rules_would_have_recorded(
    imported: tuple[Path, Path], server: Prometheus
) -> None:
    """One value for each hour; of a feature that was used, and had no errors, that it had none."""
    eleven = MIDNIGHT + 11 * 3600
    (average,) = old.sql(
        imported[0],
        "SELECT avg(value) / 1e3 FROM system_performance WHERE feature = 'feature-1' AND metric_category = 'response_time'"
        " AND timestamp >= '2024-02-29T10' AND timestamp < '2024-02-29T11'",
    )[0]
    times = 'feature_metric_category:feature_performance_duration_seconds:avg1h{feature="feature-1",metric_category="response_time"}'
    assert server.value(f"last_over_time({times}[1h])", eleven) == pytest.approx(average, rel=1e-12)
    assert server.value('last_over_time(feature:feature_errors:increase1h{feature="feature-1"}[1h])', eleven) == 0


def test_the_read_api_gives_an_imported_day_back(imported: tuple[Path, Path], server: Prometheus) -> None:
    done = otel_metrics("daily", "--date", "2024-02-29", "--format", "json", "--prometheus", server.url)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    (row,) = [row for row in rows if (row["feature"], row["metric_name"]) == ("feature-1", "step_2")]
    (expected,) = old.sql(
        imported[0],
        "SELECT count(*), avg(value), min(value), max(value) FROM system_performance"
        " WHERE feature = 'feature-1' AND metric_name = 'step_2' AND timestamp LIKE '2024-02-29%'",
    )
    assert (row["unit"], row["count"]) == ("milliseconds", expected[0])
    assert [row["avg_value"], row["min_value"], row["max_value"]] == pytest.approx(expected[1:], rel=1e-12)
    assert row["partial"] is False
    assert (row["instances"], row["complete"], row["reason"]) == (1, True, "")


def test_every_table_comes_back(servers: Servers, tmp_path: Path) -> None:
    """All documented tables, values below zero, a metric in two units, a day that only its aggregates are left of."""
    path, noon = old.create(tmp_path / "old.db"), "2024-02-29T12:00:00"
    drift = {"timestamp": noon, "feature": "a", "metric_category": "accuracy", "metric_name": "drift", "unit": "points"}
    old.insert(path, "system_performance", [{**drift, "value": value} for value in (-5.0, -0.5, 0.0, 3.0, 40.0)])
    old.insert(path, "system_performance", [{**drift, "value": 2.0, "unit": "MB", "metric_category": 'say "hi"\\\n'}])
    learnt = {"timestamp": noon, "feature": "a", "learning_type": "t", "accuracy": 0.9, "improvement_rate": -0.25}
    old.insert(path, "learning_effectiveness", [{**learnt, "sample_size": 70}, {**learnt, "accuracy": 0.8}])
    better = {"timestamp": noon, "feature": "a", "optimization_id": "o", "impact_category": "c"}
    old.insert(path, "optimization_impact", [{**better, "before_value": 40.0, "after_value": 30.0}])
    cache = {"timestamp": noon, "resource_type": "memory", "resource_name": "cache", "unit": "MB"}
    old.insert(path, "resource_utilization", [{**cache, "utilization_percent": 65.5, "allocated": 1024, "used": 670}])
    error = {"timestamp": noon, "feature": "a", "error_type": "E", "error_severity": "warning"}
    old.insert(path, "error_metrics", [error] * 3 + [{**error, "error_severity": "critical"}] * 2)
    aggregate = {"date": "2023-12-24", "feature": "a", "metric_type": "usage", "metric_name": "open", "count": 12}
    numbers = {"min_value": 100.0, "avg_value": 101.0, "max_value": 102.0, "stddev": 0.5}
    percentiles = {"percentile_50": 101.0, "percentile_95": 101.9, "percentile_99": 102.0}
    old.insert(path, "daily_aggregates", [{**aggregate, **numbers, **percentiles}])
    data = tmp_path / "data"
    done = old.imported(path, data)
    assert "2 days written, 0 not" in done.stdout
    server = old.server_on(servers, data)
    done = old.imported(path, data, "--verify", "--prometheus", server.url)
    assert "Verified 2 days: 48 statistics computed by SQL, 0 different" in done.stdout, done.stdout + done.stderr

    def at_end(expression: str) -> float | None:
        return server.value(expression, MIDNIGHT + DAY - 0.001)

    assert at_end("sum(feature_errors_total)") == 5
    assert at_end("sum(feature_learning_samples_total)") == 70
    assert at_end("resource_utilization_ratio") == 0.655
    assert at_end("resource_used_bytes") == 670e6
    assert at_end("feature_optimization_after") == 30
    # What rules would have recorded for panels: of recoveries that succeeded there are none, instead of no answer.
    assert at_end("last_over_time(job:feature_optimization_after:max[1d])") == 30
    accuracy = at_end("last_over_time(feature_learning_type:feature_learning_accuracy:avg1h[1d])")
    assert accuracy == pytest.approx(0.85, rel=1e-12)
    assert at_end("sum(sum_over_time(job:feature_errors:increase15m[1d]))") == 5
    # Warnings are no errors where errors are judged.
    assert at_end("last_over_time(feature:feature_errors:increase1h[1d])") == 2
    assert at_end('sum(sum_over_time(job:feature_errors:increase15m{recovery="succeeded"}[1d]))') == 0
    assert at_end('feature_performance_value_count{sign="negative"}') == 2
    assert at_end('feature_performance_value_sum{sign="negative"}') == 5.5
    assert at_end('feature_performance_value_count{sign="positive"}') == 3
    (row,) = server.query("last_over_time(feature_performance_size_bytes_sum[1d])", MIDNIGHT + DAY - 0.001)
    assert row["value"][1] == "2000000"
    assert row["metric"]["metric_category"] == 'say "hi"\\\ufffd'
    usage = 'last_over_time(feature_type_name:value:max1d{metric_type="usage"}[23h])'
    assert server.value(usage, MIDNIGHT - 67 * DAY + DAY + 23.5 * 3600) == 0.102


def test_the_history_of_an_application_is_told_apart_by_its_job(servers: Servers, tmp_path: Path) -> None:
    """Two databases of applications that have the same features, in one server."""
    data, databases = tmp_path / "data", {}
    for job, rows in (("shop", 300), ("warehouse", 500)):
        databases[job] = old.filled(tmp_path / f"{job}.db", rows, 2)
        old.imported(databases[job], data, "--name", job, "--job", job)
    server = old.server_on(servers, data)
    for job, path in databases.items():
        old.imported(path, data, "--name", job, "--job", job, "--verify", "--prometheus", server.url)
        columns = (("system_performance", "value"), ("user_satisfaction", "score"), ("feature_usage", "duration_ms"))
        expected = sum(
            old.sql(path, f"SELECT count({column}) FROM {table} WHERE timestamp LIKE '2024-02-29%'")[0][0]
            for table, column in columns
        )
        recorded = f'sum(last_over_time(feature_type_name:value:count1d{{job="{job}"}}[23h]))'
        assert server.value(recorded, MIDNIGHT + DAY + 23.5 * 3600) == expected
        daily = otel_metrics(
            "daily", "--date", "2024-02-29", "--job", job, "--format", "csv", "--prometheus", server.url
        )
        assert sum(int(row["count"]) for row in csv.DictReader(daily.stdout.splitlines())) == expected


def test_a_second_run_imports_nothing_doubles_nothing_and_verifies(
    imported: tuple[Path, Path], server: Prometheus
) -> None:
    before = blocks(imported[1])
    done = old.imported(imported[0], imported[1], "--verify", "--prometheus", server.url)
    assert "0 days written, 3 not" in done.stdout
    assert "imported before" in done.stdout
    assert "Verified 3 days" in done.stdout
    assert " 0 different" in done.stdout
    assert blocks(imported[1]) == before


def test_verification_finds_a_row_that_is_not_there(
    imported: tuple[Path, Path], server: Prometheus, tmp_path: Path
) -> None:
    """A verification that cannot fail proves nothing: the same days, with one more old row."""
    other = tmp_path / "other.db"
    other.write_bytes(imported[0].read_bytes())
    data = tmp_path / "data"
    old.imported(other, data)
    first = "SELECT min(id) FROM system_performance WHERE timestamp LIKE '2024-02-29%'"
    old.sql(other, f"UPDATE system_performance SET value = value * 1000 WHERE id = ({first})")
    other_data = tmp_path / "other-data"
    done = old.imported(other, other_data, "--verify", "--prometheus", server.url, status=1)
    assert "Different" in done.stdout
    assert "max_value" in done.stdout


LOSSY = """
import sys
from otel_metrics.cli import main
from otel_metrics.importing.day_files import DayFiles
add = DayFiles.add
DayFiles.add = lambda self, day, buffer, column, times, values: add(
    self, day, buffer, column, times[:-1], None if values is None else values[:-1])
sys.exit(main(sys.argv[1:]))
"""


def test_verification_finds_what_got_lost_before_it_was_computed(servers: Servers, tmp_path: Path) -> None:
    """Here a score and a use. The account balances, and what was computed of the rest is right."""
    path, data = old.create(tmp_path / "old.db"), tmp_path / "data"
    noon = {"timestamp": "2024-02-29T12:00:00", "feature": "a"}
    old.insert(path, "feature_usage", [{**noon, "action": "open"}] * 3)
    old.insert(path, "user_satisfaction", [{**noon, "satisfaction_type": "t", "score": score} for score in (0.5, 0.25)])
    server = old.server_on(servers, data)

    def lossy(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", LOSSY, "import", str(path), "--data", str(data), *more]
        return subprocess.run(command, env=environment(COLUMNS="200"), capture_output=True, text=True, check=False)

    assert lossy().returncode == 0
    server.stop()  # it would look for new blocks once a minute
    server.start()
    done = lossy("--verify", "--prometheus", server.url)
    assert done.returncode == 1, done.stderr
    assert " 0 different" in done.stdout
    assert "Asked the old tables again: 5 counts, averages and extremes, 4 not the same" in done.stdout
    shown = [line.split() for line in done.stdout.splitlines() if line.strip().startswith("2024-02-29 ")]
    assert [row[-3:] for row in shown] == [
        ["count", "2", "1"], ["avg_value", "0.375000000", "0.500000000"], ["min_value", "0.250000000", "0.500000000"],
        ["uses", "3", "2"],
    ]  # fmt: skip


def test_verification_understands_what_was_rejected_mended_or_put_together(servers: Servers, tmp_path: Path) -> None:
    """An old system lives in Berlin, and has everything that rows can be."""
    path, data = old.create(tmp_path / "old.db"), tmp_path / "data"
    times = [f"2024-02-{day}T{hour}:30:00" for day in (27, 28) for hour in ("00", "12", "23")]
    key = {"feature": "a", "metric_category": "response_time", "metric_name": "query"}
    values = (
        (1.5, "ms"),
        (2, "ms"),
        (3, "seconds"),
        (-4, "points"),
        (4, "points"),
        (7, None),
        ("fast", "ms"),
        (-1, "ms"),
    )
    old.insert(
        path,
        "system_performance",
        [{"timestamp": t, **key, "value": v, "unit": u} for t in times for v, u in values]
        + [
            {"timestamp": t, **key, "feature": f"user-{i}\n", "value": i, "unit": "MB"}
            for t in times
            for i in range(110)
        ]
        + [{"timestamp": t, **key, "value": 1, "unit": "ms"} for t in ("yesterday", 1709120000, "2024-02-27")],
    )
    old.insert(
        path,
        "user_satisfaction",
        [
            {"timestamp": t, "feature": "a", "satisfaction_type": kind, "score": score}
            for t in times
            for kind, scores in (("both", (0.5, 1, 4, 1, 9, None)), ("five", (1, 1, 5, 2)), ("one", (1, 0, 0.25)))
            for score in scores
            if score is not None
        ],
    )
    uses = ((10.5, 1), (None, 0), (None, None), (-3, 1), ("long", 1), (0, "maybe"))
    old.insert(
        path,
        "feature_usage",
        [
            {"timestamp": t, "feature": "a", "action": "open", "duration_ms": d, "success": s, "user_context": "c" * n}
            for t in times
            for (d, s) in uses
            for n in (3, 300)
        ],
    )
    day = {"date": "2024-02-27", "feature": "a", "metric_type": "usage", "metric_name": "open"}
    old.insert(path, "daily_aggregates", [{**day, "count": 50, "avg_value": 9}])
    old.sql(path, "UPDATE system_performance SET feature = CAST(x'ff41' AS TEXT) WHERE id = 3")
    old.imported(path, data, "--timezone", "Europe/Berlin")
    server = old.server_on(servers, data)
    again = ("--timezone", "Europe/Berlin", "--verify", "--prometheus", server.url)
    done = old.imported(path, data, *again, COLUMNS="200")
    assert "averages and extremes, 0 not the same" in done.stdout


def test_a_changed_day_is_left_alone_and_said(imported: tuple[Path, Path], tmp_path: Path) -> None:
    path, data = tmp_path / "old.db", tmp_path / "data"
    path.write_bytes(imported[0].read_bytes())
    old.imported(path, data)
    before = blocks(data)
    row = {"timestamp": "2024-02-29T12:00:00", "feature": "new", "action": "x", "duration_ms": 1.0, "success": 1}
    old.insert(path, "feature_usage", [row])
    done = old.imported(path, data)
    assert "imported before with other content" in " ".join(done.stdout.split())
    assert blocks(data) == before
    assert f"No server uses {data} now" in " ".join(done.stdout.split()), "blocks alone, as of a snapshot"


def test_only_days_before_the_live_systems_first(imported: tuple[Path, Path], tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = old.imported(imported[0], data, "--before", "2024-02-29")
    assert "1 day written, 2 not" in done.stdout
    assert list(old.state(data)) == ["import-2024-02-28"]
    assert f"No server uses {data} now" in done.stdout


def test_nothing_is_written_without_a_data_directory(imported: tuple[Path, Path], tmp_path: Path) -> None:
    done = otel_metrics("import", str(imported[0]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 days with data, 2024-02-28 to 2024-03-01" in done.stdout
    assert "Nothing was written" in done.stdout
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------- beside a server


def test_the_last_hours_of_a_running_server_are_not_touched(servers: Servers, tmp_path: Path) -> None:
    """Yesterday's last sample would stand at one o'clock today; days are written only once that is three hours ago."""
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    path = old.filled(tmp_path / "old.db", 400, 4, start=datetime(now.year, now.month, now.day) - timedelta(days=3))  # noqa: DTZ001
    data = tmp_path / "data"
    old.server_on(servers, data)
    done = old.imported(path, data)
    assert "A server lives in this directory" in " ".join(done.stdout.split())
    midnight = datetime(now.year, now.month, now.day, tzinfo=timezone.utc)
    writable = [
        f"import-{(midnight - timedelta(days=ago)).date()}"
        for ago in (3, 2, 1)
        if midnight - timedelta(days=ago - 1) + timedelta(hours=1) <= datetime.now(timezone.utc) - timedelta(hours=3)
    ]
    assert list(old.state(data)) == writable
    newest = max(json.loads(path.read_text(encoding="utf-8"))["maxTime"] for path in data.glob("*/meta.json"))
    assert newest / 1000 <= time.time() - 3 * 3600 + 60
    assert "the day was not over" in " ".join(done.stdout.split())


def test_a_server_keeps_what_it_scraped_and_shows_the_import(servers: Servers, tmp_path: Path) -> None:
    """A block that is too new would make it drop what it has in its head, at its next look for blocks or at a restart."""
    path = old.filled(tmp_path / "old.db", 300, 2)
    data = tmp_path / "data"
    server = servers.prometheus(data=data, flags=[FOREVER], rules=[_ticking(tmp_path)])
    server.wait_for("count_over_time(ticking[1m]) > 3")
    first = server.query("ticking[10m]")[0]["values"][0]
    old.imported(path, data)
    server.stop()  # it would look for new blocks once a minute
    server.start()
    done = old.imported(path, data, "--verify", "--prometheus", server.url)
    assert " 0 different" in done.stdout
    assert server.query("ticking[10m]")[0]["values"][0] == first


def _ticking(folder: Path) -> Path:
    rules = folder / "ticking.yml"
    rules.write_text(
        "groups: [{name: t, interval: 250ms, rules: [{record: ticking, expr: time()}]}]\n", encoding="utf-8"
    )
    return rules


def test_two_imports_at_once_are_rejected(imported: tuple[Path, Path], tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path, tmp_path / "promtool")
    with directory.claimed():
        done = old.imported(imported[0], tmp_path, status=1)
    assert "another import" in done.stderr


# -------------------------------------------------------------------------------------------------- when things break


def test_interrupted_midway_nothing_is_lost_or_doubled(servers: Servers, tmp_path: Path) -> None:
    path = old.filled(tmp_path / "old.db", 6000, 20)
    data = tmp_path / "data"
    with Running("import", str(path), "--data", str(data)) as running:
        running.until(lambda: len(_days(data)) >= 3)
        running.signal(signal.SIGINT)
        assert running.wait() == 130, running.output
        assert "The same command goes on from here" in running.output
    some = _days(data)
    assert 3 <= len(some) < 20
    kept = blocks(data)
    old.imported(path, data)
    assert len(_days(data)) == 20
    assert kept.items() <= blocks(data).items()
    _is_complete(servers, path, data)


def promtool_that(folder: Path, before: str = "", after: str = "") -> str:
    """A PATH on which the real promtool does something before or after its work; "$*" are its arguments."""
    folder.mkdir()
    script = folder / "promtool"
    script.write_text(
        f'#!/bin/sh\n{before}\n{program("promtool")} "$@"\nstatus=$?\n{after}\nexit $status\n', encoding="utf-8"
    )
    script.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_ctrl_c_while_promtool_is_at_work_loses_none_of_the_days_that_are_remembered(tmp_path: Path) -> None:
    """It comes while the first day is awaited, and the second one is done before that."""
    path = old.filled(tmp_path / "old.db", 900, 4)
    data, go = tmp_path / "data", tmp_path / "go"
    slow = promtool_that(
        tmp_path / "bin", after=f"case $* in *2024-02-28*) while [ ! -e {go} ]; do sleep 0.01; done;; esac"
    )
    third = data / "otel-metrics-import" / "2024-03-01.om"
    with Running("import", str(path), "--data", str(data), PATH=slow) as running:
        running.until(lambda: third.exists() and third.read_text(encoding="utf-8").endswith("# EOF\n"))
        for _ in range(10_000):  # impatient
            running.signal(signal.SIGINT)
        running.until(lambda: _days(data) == ["import-2024-02-29"])
        go.touch()
        assert running.wait() == 130, running.output
        assert "Stopped: 2 of 4 days are in place" in running.output
    state = old.state(data)
    assert set(state) == {"import-2024-02-28", "import-2024-02-29"}
    assert {name for day in state.values() for name in day["blocks"]} == set(blocks(data))
    assert sorted(path.name for path in (data / "otel-metrics-import").iterdir()) == [
        "lock",
        "rejected.csv",
        "state.json",
    ]


def test_a_server_that_would_delete_the_days_soon_is_told_of(imported: tuple[Path, Path], tmp_path: Path) -> None:
    """It does so with its next block, hours after --verify has found everything in place."""
    arguments = ("import", str(imported[0]), "--data", str(tmp_path / "data"))
    first, second = (otel_metrics(*arguments, COLUMNS="400") for _ in range(2))
    age = (datetime.now(timezone.utc).date() - old.START.date()).days
    said = re.search(r"The oldest of them is (\d+) days old.*--storage\.tsdb\.retention\.time", first.stdout)
    assert said
    assert int(said[1]) in {age - 1, age}  # midnight may have passed
    assert "days old" not in second.stdout


def test_a_day_whose_block_was_damaged_is_imported_again(imported: tuple[Path, Path], tmp_path: Path) -> None:
    """As after a power failure: Prometheus passes over a block whose meta data are empty, so its day is not there."""
    data = tmp_path / "data"
    shutil.copytree(imported[1], data)
    damaged = min(blocks(data).items(), key=lambda block: block[1])[0]
    (data / damaged / "meta.json").write_bytes(b"")
    done = old.imported(imported[0], data)
    assert "1 day written, 2 not" in done.stdout
    (data / damaged / "meta.json").unlink()
    again = old.imported(imported[0], data)
    assert "0 days written, 3 not" in again.stdout


def test_a_block_without_its_meta_data_is_not_in_place(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path, tmp_path / "promtool")
    (tmp_path / "01HQ000000000000000000000").mkdir()
    assert not directory.publish(["01HQ000000000000000000000"])


def test_after_a_kill_the_next_run_does_not_meet_the_promtool_of_the_one_before(tmp_path: Path) -> None:
    """It goes on on its own, and into the folder that it was given."""
    path = old.filled(tmp_path / "old.db", 900, 1)
    data, first, second, done = (tmp_path / name for name in ("data", "first", "second", "done"))
    slow = promtool_that(
        tmp_path / "bin",
        before=f"if mkdir {first} 2>/dev/null; then awaited={second}; else touch {second}; awaited={done}; fi\n"
        "while [ ! -e $awaited ]; do sleep 0.01; done",
        after=f"touch {done}",
    )
    with Running("import", str(path), "--data", str(data), PATH=slow) as running:
        running.until(first.exists)
        running.signal(signal.SIGKILL)
        running.wait()
    old.imported(path, data, PATH=slow)
    assert _days(data) == ["import-2024-02-28"]
    assert not (data / "otel-metrics-import" / "blocks").exists()


def test_what_retention_has_deleted_is_imported_again(servers: Servers, tmp_path: Path) -> None:
    path = old.filled(tmp_path / "old.db", 900, 3)
    data = tmp_path / "data"
    old.imported(path, data)
    for name in old.state(data)["import-2024-02-29"]["blocks"]:
        shutil.rmtree(data / name)
    done = old.imported(path, data)
    assert "1 day written, 2 not" in done.stdout
    _is_complete(servers, path, data)


def test_days_that_the_server_has_compacted_are_not_imported_again(tmp_path: Path) -> None:
    """As a server leaves it: a larger block that names those that it was made from."""
    path = old.filled(tmp_path / "old.db", 900, 3)
    data = tmp_path / "data"
    old.imported(path, data)
    names = list(blocks(data))
    first = data / names[0] / "meta.json"
    meta = json.loads(first.read_text(encoding="utf-8"))
    meta["compaction"] = {"level": 2, "sources": names}
    first.write_text(json.dumps(meta), encoding="utf-8")
    for name in names[1:]:
        shutil.rmtree(data / name)
    done = old.imported(path, data)
    assert "0 days written, 3 not" in done.stdout
    assert list(blocks(data)) == names[:1]


def test_killed_midway_nothing_is_lost_or_doubled(servers: Servers, tmp_path: Path) -> None:
    """Without any chance to clean up, several times over."""
    path = old.filled(tmp_path / "old.db", 6000, 20)
    data = tmp_path / "data"
    for wanted in (2, 7, 12):
        with Running("import", str(path), "--data", str(data)) as running:
            running.until(lambda wanted=wanted: len(_days(data)) >= wanted)  # type: ignore[misc]
            running.signal(signal.SIGKILL)
            running.wait()
    old.imported(path, data)
    _is_complete(servers, path, data)


def test_killed_between_two_blocks_of_a_day(servers: Servers, tmp_path: Path) -> None:
    """The state of the disk right then, made by hand: the day is remembered as under way, one of its blocks is in place."""
    path = old.filled(tmp_path / "old.db", 600, 2)
    data = tmp_path / "data"
    old.imported(path, data)
    file = data / "otel-metrics-import" / "state.json"
    state = json.loads(file.read_text(encoding="utf-8"))
    day = state["days"]["import-2024-02-28"]
    assert len(day["blocks"]) > 1
    day["done"] = False
    file.write_text(json.dumps(state), encoding="utf-8")
    staged = data / "otel-metrics-import" / "blocks" / "2024-02-28"
    staged.mkdir(parents=True)
    (data / day["blocks"][0]).rename(staged / day["blocks"][0])
    old.imported(path, data)
    assert set(day["blocks"]) <= set(blocks(data))
    # And if the block that is not in place is gone, the day is made anew.
    state["days"]["import-2024-02-28"]["done"] = False
    file.write_text(json.dumps(state), encoding="utf-8")
    subprocess.run(["rm", "-r", data / day["blocks"][0]], check=True)
    done = old.imported(path, data)
    assert "1 day written, 1 not" in done.stdout
    assert not set(day["blocks"]) & set(blocks(data))
    _is_complete(servers, path, data)


@pytest.mark.parametrize("limit", [20_000, 2_000_000])
def test_full_disk(servers: Servers, tmp_path: Path, limit: int) -> None:
    """No file may grow past the limit: the smaller one stops our own writing, the larger one promtool's."""
    path = old.filled(tmp_path / "old.db", 60_000 if limit > 100_000 else 3000, 3)
    data = tmp_path / "data"
    done = subprocess.run(
        [COMMAND, "import", str(path), "--data", str(data)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1, done.stdout
    assert "File too large" in done.stderr or "promtool" in done.stderr
    assert blocks(data) == {}
    old.imported(path, data)
    _is_complete(servers, path, data)


@pytest.mark.parametrize(("mebibytes", "status"), [(575, 1), (576, 0), (1100, 0)])
def test_space_that_promtool_needs_is_looked_for_before(
    imported: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mebibytes: int,
    status: int,
) -> None:
    """It reserves half a gigabyte for every day that it is at work on. With room for one there is one at a time."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=mebibytes * 2**20))
    assert main(["import", str(imported[0]), "--data", str(tmp_path / "data")]) == status
    assert len(_days(tmp_path / "data")) == (0 if status else 3)
    said = " ".join(capsys.readouterr().err.split())
    assert ("575 MiB are free, and 576 MiB are needed" in said) is bool(status)


def test_damaged_database(tmp_path: Path) -> None:
    """Damage is found before anything is written, and said; a mended copy is then imported."""
    path = old.filled(tmp_path / "old.db", 3000, 2)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(bytes(content))
    data = tmp_path / "data"
    done = old.imported(damaged, data, status=1)
    assert "damaged, nothing was imported" in done.stderr
    assert blocks(data) == {}
    truncated = tmp_path / "truncated.db"
    truncated.write_bytes(path.read_bytes()[: len(content) // 2])
    old.imported(truncated, data, status=1)
    assert blocks(data) == {}
    old.imported(path, data)
    assert len(_days(data)) == 2


def test_the_old_system_can_write_meanwhile(tmp_path: Path) -> None:
    path = old.filled(tmp_path / "old.db", 20_000, 5)
    row = {"timestamp": "2024-02-29T12:00:00", "feature": "new", "action": "x", "duration_ms": 1.0, "success": 1}
    with Running("import", str(path), "--data", str(tmp_path / "data")) as running:
        running.until((tmp_path / "data" / "otel-metrics-import" / "rows").exists)
        old.insert(path, "feature_usage", [row])
        assert running.wait() == 0, running.output


def test_promtool_that_drops_a_sample_is_found_out(tmp_path: Path) -> None:
    """It does so silently for samples that go back in time; then nothing of the file is kept."""
    file = tmp_path / "day.om"
    file.write_text(
        "# TYPE a gauge\na 1 1709208000.000\na 2 1709208060.000\na 3 1709208030.000\n# EOF\n", encoding="utf-8"
    )
    directory = DataDirectory(tmp_path / "data", Path(program("promtool")))
    with pytest.raises(ImportFailedError, match="2 of 3 samples"):
        directory.stage(file, 3)
    assert blocks(tmp_path / "data") == {}


def _days(data: Path) -> list[str]:
    return [name for name, day in old.state(data).items() if day["done"]]


def _is_complete(servers: Servers, path: Path, data: Path) -> None:
    """Every row is there once: SQL's counts, and all eight statistics by the command's own verification."""
    server = old.server_on(servers, data)
    expected = sum(
        old.sql(path, f"SELECT count({column}) FROM {table}")[0][0]
        for table, column in (
            ("system_performance", "value"),
            ("user_satisfaction", "score"),
            ("feature_usage", "duration_ms"),
        )
    )
    wait_until(
        lambda: server.query("count(last_over_time(feature_daily_values[60d]))", MIDNIGHT + 30 * DAY), what="blocks"
    )
    assert server.value("sum(sum_over_time(feature_daily_values[60d]))", MIDNIGHT + 30 * DAY) == expected
    assert server.value("sum(sum_over_time(feature_type_name:value:count1d[60d]))", MIDNIGHT + 30 * DAY) == expected
    done = old.imported(path, data, "--verify", "--prometheus", server.url)
    assert " 0 different" in done.stdout
    assert not [name for name in (data / "otel-metrics-import").iterdir() if name.suffix == ".om"]
