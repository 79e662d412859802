"""``otel-metrics compare``: two systems that saw the same days."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.command import otel_metrics
from tests.importing import old

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers


def test_what_differs_is_shown_with_its_difference(tmp_path: Path, servers: Servers) -> None:
    path = old.filled(tmp_path / "old.db", 600, 3)
    data = tmp_path / "data"
    old.imported(path, data, "--before", "2024-03-01")
    server = old.server_on(servers, data)
    where = "WHERE feature = 'feature-0' AND timestamp LIKE '2024-02-29%'"
    old.sql(path, f"UPDATE feature_usage SET duration_ms = duration_ms * 2 {where}")
    ((average,),) = old.sql(path, f"SELECT avg(duration_ms) FROM feature_usage {where}")
    done = otel_metrics("compare", str(path), "--prometheus", server.url, "--format", "json", "--differences")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {(row["date"], row["feature"], row["metric_type"]) for row in found} == {
        ("2024-02-29", "feature-0", "usage")
    }
    by_column = {row["column"]: row for row in found}
    assert set(by_column) == {
        "avg_value", "min_value", "max_value", "stddev", "percentile_50", "percentile_95", "percentile_99",
    }  # fmt: skip
    assert by_column["avg_value"]["old"] == pytest.approx(average)
    assert by_column["avg_value"]["unit"] == "ms"
    assert by_column["avg_value"]["difference"] == pytest.approx(-0.5)
    shown = otel_metrics("compare", str(path), "--prometheus", server.url, COLUMNS="200")
    assert "2 of 3 days seen by both" in shown.stdout
    assert "-50.000%" in shown.stdout
    assert "same" in shown.stdout


def test_scores_are_shown_on_the_scale_of_the_old_rows(tmp_path: Path, servers: Servers) -> None:
    path = old.create(tmp_path / "old.db")
    scored = {"timestamp": "2024-02-29T12:00:00", "feature": "a", "satisfaction_type": "overall"}
    old.insert(path, "user_satisfaction", [{**scored, "score": score} for score in (5, 2)])
    data = tmp_path / "data"
    old.imported(path, data)
    server = old.server_on(servers, data)
    old.insert(path, "user_satisfaction", [{**scored, "score": 5}])
    done = otel_metrics("compare", str(path), "--prometheus", server.url, "--format", "json")
    found = {row["column"]: (row["old"], row["ours"], row["unit"]) for row in json.loads(done.stdout)}
    assert found["count"] == (3, 2, "1-5")
    assert found["avg_value"] == (4.0, 3.5, "1-5")
    assert found["min_value"] == (2.0, 2.0, "1-5")


def test_what_neither_side_knows_is_no_difference_and_zero_has_no_share(tmp_path: Path, servers: Servers) -> None:
    """A row of old aggregates without percentiles comes back as it is."""
    path = old.create(tmp_path / "old.db")
    row = {"date": "2024-02-29", "feature": "a", "metric_type": "usage", "metric_name": "open", "count": 4}
    old.insert(path, "daily_aggregates", [{**row, "avg_value": 3.0, "min_value": 2.0, "max_value": 4.0}])
    data = tmp_path / "data"
    old.imported(path, data)
    server = old.server_on(servers, data)
    arguments = ("compare", str(path), "--prometheus", server.url)
    shown = otel_metrics(*arguments, COLUMNS="200").stdout
    assert "8 statistics, 0 not the same" in shown
    assert "≈" not in shown
    assert json.loads(otel_metrics(*arguments, "--differences", "--format", "json").stdout) == []
    old.sql(path, "UPDATE daily_aggregates SET min_value = 0")
    lines = otel_metrics(*arguments, "--differences", COLUMNS="200").stdout.splitlines()
    assert [line.split()[4:8] for line in lines if "2024-02-29" in line] == [["min_value", "0", "2", "+2"]]
