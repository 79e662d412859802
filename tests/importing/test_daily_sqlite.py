"""``otel-metrics daily --format sqlite``: the old table for those who read it today; and there and back again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.cli import sqlite_export
from tests.command import called, otel_metrics
from tests.importing import old

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers


def rows_of(path: Path) -> list[tuple[Any, ...]]:
    return old.sql(
        path,
        "SELECT date, feature, metric_type, metric_name, avg_value, min_value, max_value, stddev, count, percentile_50,"
        " percentile_95, percentile_99 FROM daily_aggregates ORDER BY 1, 2, 3, 4",
    )


def row(**more: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(
        ("avg_value", "min_value", "max_value", "percentile_50", "percentile_95", "percentile_99"), 2.0
    )
    return {
        "date": "2024-02-29", "feature": "a", "metric_type": "usage", "metric_name": "open", "stddev": float("nan"),
        "count": 1, "unit": "milliseconds", **numbers, **more,
    }  # fmt: skip


def test_the_old_schema_takes_the_rows(tmp_path: Path) -> None:
    path = old.create(tmp_path / "old.db")
    assert sqlite_export.write(path, [row()]) == []
    assert rows_of(path) == [("2024-02-29", "a", "usage", "open", 2.0, 2.0, 2.0, None, 1, 2.0, 2.0, 2.0)]


def test_the_same_day_again_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    sqlite_export.write(path, [row()])
    sqlite_export.write(path, [row(count=5, stddev=0.5)])
    assert [(found[7], found[8]) for found in rows_of(path)] == [(0.5, 5)]


def test_a_table_without_a_unique_key_takes_them_too(tmp_path: Path) -> None:
    schema = old.SCHEMA.replace(",\n    UNIQUE(date, feature, metric_type, metric_name)", "")
    path = old.create(tmp_path / "old.db", schema)
    assert "UNIQUE" not in schema
    sqlite_export.write(path, [row(), row(metric_name="other")])
    sqlite_export.write(path, [row(count=5)])
    assert [(found[3], found[8]) for found in rows_of(path)] == [("open", 5), ("other", 1)]


def test_a_metric_in_two_units_is_said(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    left_out = sqlite_export.write(path, [row(), row(unit="MB", count=7), row(unit="%", count=2)])
    assert [found["unit"] for found in left_out] == ["milliseconds", "%"]
    assert [found[8] for found in rows_of(path)] == [7]


def test_days_of_a_server_become_the_old_table(tmp_path: Path, servers: Servers) -> None:
    """Imported from the old tables and written out again: what the old rows say, in the unit that they said it in."""
    path = old.filled(tmp_path / "old.db", 600, 2)
    data = tmp_path / "data"
    old.imported(path, data)
    server = old.server_on(servers, data)
    out = tmp_path / "out.db"
    done = otel_metrics(
        "daily", "--from", "2024-02-28", "--to", "2024-02-29", "--format", "sqlite", "--output", str(out), "--prometheus", server.url
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = old.sql(
        path,
        "SELECT substr(timestamp, 1, 10), feature, 'usage', action, avg(duration_ms), count(duration_ms) FROM feature_usage"
        " GROUP BY 1, 2, 4 ORDER BY 1, 2, 3, 4",
    )
    found = [(*line[:4], round(line[4], 9), line[8]) for line in rows_of(out) if line[2] == "usage"]
    assert found == [(*line[:4], round(line[4], 9), line[5]) for line in expected]


def aggregate(metric_type: str, name: str, *numbers: float) -> dict[str, Any]:
    columns = ("avg_value", "min_value", "max_value", "stddev", "count", *(f"percentile_{q}" for q in (50, 95, 99)))
    key = {"date": "2024-02-28", "feature": "a", "metric_type": metric_type, "metric_name": name}
    return key | dict(zip(columns, numbers, strict=True))


def test_old_aggregates_there_and_back_again_are_the_same(tmp_path: Path, servers: Servers) -> None:
    """In the old units, on the old scales; and scores of raw rows, too."""
    path, out = old.create(tmp_path / "old.db"), tmp_path / "out.db"
    numbers = (4.0, 2.0, 5.0, 1.0, 7, 4.0, 5.0, 5.0)
    named = [
        ("response_time", "render_s"), ("response_time", "render_ms"), ("memory", "cache_mb"), ("cpu", "load_percent"),
        ("general", "things"), ("learning", "drift"), ("usage", "open"), ("satisfaction", "overall"),
    ]  # fmt: skip
    rows = [aggregate(*key, *numbers) for key in named]
    rows.append(aggregate("learning_improvement", "t", 0.125, -0.25, 0.5, 0.25, 3, 0.125, 0.4625, 0.4925))
    old.insert(
        path, "daily_aggregates", [*rows, aggregate("satisfaction", "ones", 1.0, 1.0, 1.0, 0.0, 2, 1.0, 1.0, 1.0)]
    )
    scored = {"timestamp": "2024-02-29T12:00:00", "feature": "a"}
    scores = [{**scored, "satisfaction_type": "overall", "score": score} for score in (5, 1, 3)]
    old.insert(path, "user_satisfaction", [*scores, {**scored, "satisfaction_type": "ones", "score": 2}])
    data = tmp_path / "data"
    done = old.imported(path, data, COLUMNS="200")
    assert "Satisfaction type overall: scores from 1 to 5" in done.stdout
    server = old.server_on(servers, data)
    written = ("--from", "2024-02-28", "--to", "2024-02-29", "--format", "sqlite", "--output", str(out))
    arguments = ("daily", *written, "--prometheus", server.url)
    assert "Scores are from 0 to 1, those of ones, overall, too" in " ".join(otel_metrics(*arguments).stderr.split())
    done = otel_metrics(*arguments, "--scale", "overall=1-5", "--scale", "ones=1-5")
    assert done.returncode == 0, done.stderr
    assert "Scores are from" not in done.stderr
    found = rows_of(out)
    first = [line for line in found if line[0] == "2024-02-28"]
    for line, expected in zip(first, rows_of(path), strict=True):
        assert line[:4] == expected[:4]
        assert line[4:] == pytest.approx(expected[4:], rel=1e-12), line[:4]
    assert [line[3:8] for line in found if line[0] == "2024-02-29"] == [
        ("ones", 2.0, 2.0, 2.0, 0.0), ("overall", 3.0, 1.0, 5.0, 2.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        *(
            (("--format", "sqlite", "--output", "x.db", "--scale", scale), "scales: 0-1, 1-5")
            for scale in ("overall", "=1-5", "overall=1-10")
        ),
        (("--scale", "overall=1-5"), "elsewhere scores are from 0 to 1"),
        (("--format", "sqlite"), "belong together"),
        (("--output", "x.db"), "belong together"),
    ],
)
def test_what_does_not_fit_the_old_table_is_said(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called("daily", *arguments) == 2
    assert told in " ".join(capsys.readouterr().err.split())
