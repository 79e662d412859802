"""``otel-metrics daily`` and ``compare`` of a day of which not everything is known, in every format."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.command import otel_metrics
from tests.importing import old
from tests.querying.history import DAY, MIDNIGHT, scrapes, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers

LOST = "1 of 1 processes not seen after midnight"


@pytest.fixture(scope="module")
def server(session_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One process lives through the day, another is not there at its end. Of the day after there is one formula of a row."""
    lines = defaultdict[str, list[str]](list)
    for column, value in {"count1d": 3, "avg1d": -2.5}.items():
        name = f"feature_type_name:value:{column}"
        key = 'feature="=1+1",metric_type="usage",metric_name="@ask",unit="-%"'
        lines[name].append(f"{name}{{{key}}} {value} {MIDNIGHT + 2 * DAY + 7200:.3f}\n")
    scrapes(lines, "one", "ask", MIDNIGHT, MIDNIGHT + DAY + 3600)
    scrapes(lines, "two", "leave", MIDNIGHT, MIDNIGHT + 9 * 3600)
    data = write(lines, tmp_path_factory.mktemp("lines"))
    return session_servers.prometheus(data=data, flags=["--storage.tsdb.retention.time=100y"]).url


def daily(server: str, *arguments: str, width: str = "160") -> tuple[str, str]:
    done = otel_metrics("daily", "--date", "2025-12-14", "--prometheus", server, *arguments, COLUMNS=width)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_json_and_csv_tell_of_every_row_whether_it_is_complete(server: str) -> None:
    expected = [("ask", 1, True, ""), ("leave", 1, False, LOST)]
    rows = json.loads(daily(server, "--format", "json")[0])
    assert [(row["metric_name"], row["instances"], row["complete"], row["reason"]) for row in rows] == expected
    lines = csv.DictReader(io.StringIO(daily(server, "--format", "csv")[0]))
    found = [(row["metric_name"], row["instances"], row["complete"], row["reason"]) for row in lines]
    assert found == [tuple(map(str, row)) for row in expected]


def test_csv_has_the_same_columns_on_a_day_without_rows(server: str) -> None:
    """Whoever appends one day's file to another reads them by the first one's header."""
    some, none = daily(server, "--format", "csv")[0], daily(server, "--date", "2025-06-01", "--format", "csv")[0]
    assert some.splitlines()[0] == none.strip()


@pytest.mark.parametrize("width", ["80", "160"])
def test_the_table_marks_rows_that_are_not(server: str, width: str) -> None:
    shown, said = daily(server, width=width)
    by_name = {line.split()[2]: line.split()[-1] for line in shown.splitlines() if "chat usage" in line}
    assert by_name == {"ask": "yes", "leave": "no"}
    assert f"Not complete, 2025-12-14: {LOST}: chat usage leave" in said


def test_the_old_table_has_no_column_for_it_so_it_is_said(server: str, tmp_path: Path) -> None:
    _, said = daily(server, "--format", "sqlite", "--output", str(tmp_path / "out.db"))
    assert f"Not complete, 2025-12-14: {LOST}: chat usage leave" in said
    assert "ask" not in said


def test_spreadsheets_get_text_and_not_formulas(server: str, tmp_path: Path) -> None:
    done = otel_metrics("daily", "--date", "2025-12-15", "--prometheus", server, "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert [row[name] for name in ("feature", "metric_name", "unit", "avg_value")] == ["'=1+1", "'@ask", "'-%", "-2.5"]
    path = old.create(tmp_path / "old.db")
    use = {"timestamp": "2025-12-15T12:00:00", "feature": "+1", "action": "x", "duration_ms": 1.0, "success": 1}
    old.insert(path, "feature_usage", [use])
    done = otel_metrics("compare", str(path), "--prometheus", server, "--format", "csv")
    assert {row["feature"] for row in csv.DictReader(io.StringIO(done.stdout))} == {"'+1", "'=1+1"}


def test_a_percentile_that_is_not_there_is_no_estimate(server: str) -> None:
    shown = otel_metrics("daily", "--date", "2025-12-15", "--prometheus", server, COLUMNS="160").stdout
    (line,) = (line for line in shown.splitlines() if "=1+1" in line)
    assert "≈–" not in line
    assert line.split()[-8:-2] == ["–", "–", "–", "–", "–", "–"]


def test_compare_tells_it_too(server: str, tmp_path: Path) -> None:
    path = old.create(tmp_path / "old.db")
    row = {
        "timestamp": "2025-12-14T12:00:00",
        "feature": "chat",
        "action": "leave",
        "duration_ms": 1000.0,
        "success": 1,
    }
    old.insert(path, "feature_usage", [row])
    done = otel_metrics("compare", str(path), "--prometheus", server, "--format", "json")
    assert done.returncode == 0, done.stderr
    found = {(row["metric_name"], row["complete"], row["reason"]) for row in json.loads(done.stdout)}
    assert found == {("ask", True, ""), ("leave", False, LOST)}
    shown = otel_metrics("compare", str(path), "--prometheus", server, COLUMNS="200").stdout
    assert f"Our rows of 2025-12-14 may lack values: {LOST}." in shown
