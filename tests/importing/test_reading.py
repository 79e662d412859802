"""What a row of the old database becomes, what is rejected and why, and that every row is accounted for."""

from __future__ import annotations

import csv
import math
import shutil
import sqlite3
import time
import tracemalloc
from contextlib import ExitStack, closing
from datetime import timezone
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from otel_metrics.errors import ImportFailedError
from otel_metrics.importing import source_db
from otel_metrics.importing.source_db import OldDatabase
from otel_metrics.importing.sql_check import TableCheck
from otel_metrics.querying.client import PrometheusClient
from otel_metrics.querying.prometheus_source import PrometheusSource
from tests.command import called, otel_metrics
from tests.importing import old
from tests.processes import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_metrics.importing.old_history import OldHistory

    Read = Callable[..., OldHistory]

DAY = 19782  # 2024-02-29
NOON = "2024-02-29T12:00:00"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return old.create(tmp_path / "old.db")


@pytest.fixture
def read(tmp_path: Path, database: Path) -> Iterator[Read]:
    """Read the database as it is then."""
    with ExitStack() as ends:
        yield lambda **settings: ends.enter_context(old.reading(database, tmp_path, **settings))


def day_of(rows: OldHistory, day: int = DAY) -> dict[tuple[str, ...], list[float]]:
    """The values of the daily table's rows."""
    rows.load(day)
    return {tuple(key): list(kept.values) for key, kept in rows.builder.days.items() if kept.values}


def counters(rows: OldHistory, day: int = DAY) -> dict[str, float]:
    """name{label values} -> sum over the day."""
    rows.load(day)
    return {
        f"{s.metric.name}{{{','.join(str(s.labels.get(n, '')) for n in s.metric.label_names)}}}": sum(s.slots.values())  # type: ignore[arg-type]
        for s in rows.builder.filled()
        if s.metric.kind.value == "counter"
    }


def rejected(rows: OldHistory) -> dict[str, list[str]]:
    return {f"{reason.table}: {reason.what}": reason.first for reason in rows.report.rejected}


def left_out(rows: OldHistory) -> dict[str, list[str]]:
    return {f"{reason.table}: {reason.what}": reason.first for reason in rows.report.left_out}


def row(**columns: Any) -> dict[str, Any]:
    """A row of any table, of noon."""
    return {"timestamp": NOON, **columns}


def performance(value: Any, **more: Any) -> dict[str, Any]:
    key = row(feature="search", metric_category="response_time", metric_name="query")
    return {**key, "value": value, "unit": "milliseconds", **more}


def without(columns: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in columns.items() if key != name}


def score(value: Any, kind: str = "speed", feature: str = "a") -> dict[str, Any]:
    return row(feature=feature, satisfaction_type=kind, score=value)


def test_units_become_base_units(database: Path, read: Read) -> None:
    units = ((125.5, "milliseconds"), (2.0, "MB"), (50, "percent"), (3.0, "widgets"))
    old.insert(database, "system_performance", [performance(value, unit=unit) for value, unit in units])
    assert day_of(read()) == {
        ("search", "response_time", "query", "seconds"): [0.1255],
        ("search", "response_time", "query", "bytes"): [2e6],
        ("search", "response_time", "query", "ratio"): [0.5],
        ("search", "response_time", "query", "widgets"): [3.0],
    }


def test_a_missing_unit_is_what_the_name_ends_in(database: Path, read: Read) -> None:
    old.insert(database, "system_performance", [performance(125.5, unit=None, metric_name="query_ms")])
    assert day_of(read()) == {("search", "response_time", "query_ms", "seconds"): [0.1255]}


def test_scores_are_mapped_in_the_order_of_the_rows(database: Path, read: Read) -> None:
    """A score of exactly 1 is on the scale that its type was last seen with, whichever feature that was for."""
    scores = [("a", 0.5), ("a", 1.0), ("b", 4.0), ("a", 1.0), ("a", 0.25), ("b", 1.0)]
    old.insert(database, "user_satisfaction", [score(s, "overall", f) for f, s in scores])
    assert {key[0]: sorted(values) for key, values in day_of(read()).items()} == {
        "a": [0.0, 0.25, 0.5, 1.0],
        "b": [0.75, 1.0],
    }


def test_the_whole_history_tells_the_scale_of_its_first_scores(database: Path, read: Read) -> None:
    scores = [("stars", 1), ("stars", 1.0), ("share", 1), ("stars", 3), ("share", 0.5), ("ones", 1), ("mixed", 1)]
    scores += [("mixed", 0.5), ("mixed", 4)]
    old.insert(database, "user_satisfaction", [score(s, kind) for kind, s in scores])
    rows = read()
    assert {key[2]: sorted(values) for key, values in day_of(rows).items()} == {
        "stars": [0.0, 0.0, 0.5],
        "share": [0.5, 1.0],
        "ones": [0.0],
        "mixed": [0.0, 0.5, 0.75],
    }
    assert rows.scales() == {"share": "0-1", "stars": "1-5"}
    assert rows.of_unknown_scale() == ["ones"]
    printed = " ".join(otel_metrics("import", str(database)).stdout.split())
    assert "OTM_SATISFACTION_SCALES=share=0-1,stars=1-5" in printed
    assert "Satisfaction type ones: all scores are 1" in printed
    assert "Satisfaction type mixed: scores on both scales" in printed


def test_the_scale_of_the_environment_is_stronger_than_the_scores(database: Path, read: Read) -> None:
    old.insert(database, "user_satisfaction", [score(1, "ones")])
    rows = read(satisfaction_scales={"ones": "0-1"})
    assert list(day_of(rows).values()) == [[1.0]]
    assert rows.of_unknown_scale() == []


def test_scores_of_a_mended_label_keep_their_scales(database: Path, read: Read) -> None:
    old.insert(database, "user_satisfaction", [score(s, feature="a\n") for s in (0.5, 5.0, 0.25)])
    found = read()
    assert {key[0]: sorted(values) for key, values in day_of(found).items()} == {"a\ufffd": [0.25, 0.5, 1.0]}
    assert left_out(found) == {"user_satisfaction: feature: characters": ["1", "3", "2"]}


def test_satisfied_responses_are_counted_by_the_threshold(database: Path, read: Read) -> None:
    old.insert(database, "user_satisfaction", [score(s) for s in (0.2, 0.8, 0.9)])
    found = counters(read(satisfaction_threshold=0.85))
    assert found["feature.satisfaction.responses{a,speed,true}"] == 1
    assert found["feature.satisfaction.responses{a,speed,false}"] == 2


def test_usage_without_a_duration_is_counted(database: Path, read: Read) -> None:
    uses = [(100.0, 1, None), (None, 0, "Timeout"), (None, None, None)]
    rows_of = [row(feature="a", action="x", duration_ms=d, success=s, error_type=e) for d, s, e in uses]
    old.insert(database, "feature_usage", rows_of)
    rows = read()
    found = counters(rows)
    assert found["feature.usage{a,x,success,,}"] == 1
    assert found["feature.usage{a,x,failure,Timeout,}"] == 1
    assert found["feature.usage{a,x,unknown,,}"] == 1
    assert day_of(rows) == {("a", "usage", "x", "seconds"): [0.1]}
    assert rows.report.rejected == []


def test_siblings(database: Path, read: Read) -> None:
    learnt = row(feature="a", learning_type="t", accuracy=0.9, confidence=None, sample_size=70, improvement_rate=-0.25)
    better = row(feature="a", optimization_id="o", impact_category="c", before_value=40.0, after_value=30.0)
    cache = row(resource_type="memory", resource_name="cache", utilization_percent=65.5, allocated=1024, used=670)
    error = row(feature="a", error_type="E", error_severity="warning", recovery_attempted=1, recovery_successful=1)
    old.insert(database, "learning_effectiveness", [learnt])
    old.insert(database, "optimization_impact", [{**better, "user_impact_score": 0.5}])
    old.insert(database, "resource_utilization", [{**cache, "unit": "MB"}])
    old.insert(database, "error_metrics", [{**error, "impact_level": None}])
    rows = read()
    assert day_of(rows) == {
        ("a", "learning_accuracy", "t", "ratio"): [0.9],
        ("a", "learning_improvement", "t", "ratio"): [0.75],
        ("a", "optimization_change", "c", "ratio"): [0.75],
        ("a", "optimization_user_impact", "c", "ratio"): [0.5],
    }
    found = counters(rows)
    assert found["feature.learning.samples{a,t}"] == 70
    assert found["feature.errors{a,E,warning,unknown,succeeded}"] == 1
    gauges = {s.metric.name: list(s.slots.values()) for s in rows.builder.filled() if s.metric.kind.value == "gauge"}
    assert gauges == {
        "feature.optimization.before": [40.0],
        "feature.optimization.after": [30.0],
        "resource.utilization.ratio": [0.655],
        "resource.allocated": [1024e6],
        "resource.used": [670e6],
    }
    assert rows.report.balanced() is False  # nothing was written yet
    assert dict(rows.report.read) == {
        "learning_effectiveness": 1, "optimization_impact": 1, "resource_utilization": 1, "error_metrics": 1,
        "system_performance": 0, "user_satisfaction": 0, "feature_usage": 0,
    }  # fmt: skip


def test_what_does_not_fit_is_listed_with_its_row_id(database: Path, read: Read, tmp_path: Path) -> None:
    bad: list[dict[str, Any]] = [
        performance(1.0),  # 1
        performance("fast"),  # 2
        performance(-1.0),  # 3
        performance(math.inf),  # 4
        performance(1.0, timestamp="yesterday"),  # 5
        performance(1.0, feature=""),  # 6
        performance(1.0, context="c" * 300),  # 7
        performance(b"\x00"),  # 8
        performance(1e200),  # 9
    ]
    old.insert(database, "system_performance", bad)
    rows = read()
    assert rejected(rows) == {
        "system_performance: value: type": ["2", "8"],
        "system_performance: value: negative": ["3"],
        "system_performance: value: infinite": ["4"],
        "system_performance: value: range": ["9"],
        "system_performance: timestamp: not an ISO 8601 date and time": ["5"],
        "system_performance: feature: empty": ["6"],
    }
    assert left_out(rows) == {"system_performance: context: length": ["7"]}
    assert day_of(rows) == {("search", "response_time", "query", "seconds"): [0.001, 0.001]}
    listed = list(csv.reader((tmp_path / "rejected.csv").read_text(encoding="utf-8").splitlines()))
    assert ["system_performance", "3", "row", "value: negative"] in listed
    assert ["system_performance", "7", "context", "length"] in listed


def test_the_rest_of_a_row_is_kept(database: Path, read: Read) -> None:
    learning = row(feature="a", learning_type="t")
    old.insert(
        database,
        "learning_effectiveness",
        [
            {**learning, "accuracy": 1.5, "confidence": 0.5, "sample_size": 3},  # 1: imported without its accuracy
            {**learning, "accuracy": 1.5},  # 2: nothing is left
            {**learning},  # 3: nothing was there
        ],
    )
    from_zero = row(feature="a", optimization_id="o", impact_category="c", before_value=0.0, after_value=3.0)
    old.insert(database, "optimization_impact", [from_zero])
    rows = read()
    assert left_out(rows) == {
        "learning_effectiveness: accuracy: range": ["1"],
        "optimization_impact: before_value: ratio": ["1"],
    }
    assert rejected(rows) == {
        "learning_effectiveness: accuracy: range": ["2"],
        "learning_effectiveness: no value at all": ["3"],
    }
    assert counters(rows)["feature.learning.samples{a,t}"] == 3


def test_rows_in_any_order_make_the_same_days(tmp_path: Path) -> None:
    found = []
    for shuffled in (False, True):
        path = old.filled(tmp_path / f"{shuffled}.db", 500, 3, shuffled=shuffled)
        with old.reading(path, tmp_path) as rows:
            found.append(
                {table: sum(span[table].rows for span in rows.reader.spans.values()) for table in rows.report.read}
            )
            assert len(rows.days()) == 3
    assert found[0] == found[1]
    assert found[0]["system_performance"] == 300


def test_text_that_is_no_utf8_is_mended_and_said(database: Path, read: Read) -> None:
    old.insert(database, "system_performance", [performance(1.0), performance(2.0, context="x"), performance(3.0)])
    old.sql(database, "UPDATE system_performance SET context = CAST(x'ff41' AS TEXT) WHERE id = 2")
    rows = read()
    assert day_of(rows) == {("search", "response_time", "query", "seconds"): [0.001, 0.003, 0.002]}
    assert {series.labels["context"] for series in rows.builder.filled() if "context" in series.labels} == {
        "",
        "\ufffdA",
    }


def test_a_table_without_a_needed_column_is_rejected_as_a_whole(tmp_path: Path) -> None:
    path = old.create(
        tmp_path / "odd.db",
        "CREATE TABLE user_satisfaction (id INTEGER PRIMARY KEY, timestamp TEXT, feature TEXT, mood REAL);"
        "CREATE TABLE notes (text TEXT);",
    )
    old.insert(path, "user_satisfaction", [row(feature="a", mood=1.0)] * 3)
    with old.reading(path, tmp_path) as rows:
        assert rows.database.unknown == ["notes"]
        assert rows.database.tables[0].unknown == ("mood",)
        assert rejected(rows) == {"user_satisfaction: the table has no column satisfaction_type, score": ["all"]}
        assert rows.report.read["user_satisfaction"] == rows.report.rejected_rows("user_satisfaction") == 3


def test_an_aggregates_table_without_a_needed_column_is_rejected_as_well(tmp_path: Path) -> None:
    path = old.create(tmp_path / "odd.db", old.SCHEMA.replace("percentile_99 REAL, created_at", "created_at"))
    rows_of = [aggregate(metric_name=name) for name in ("query", "other")]
    old.insert(path, "daily_aggregates", [without(each, "percentile_99") for each in rows_of])
    with old.reading(path, tmp_path) as rows:
        assert rejected(rows) == {"daily_aggregates: the table has no column percentile_99": ["all"]}
        assert rows.report.read["daily_aggregates"] == rows.report.rejected_rows("daily_aggregates") == 2
        assert rows.days() == []


def test_an_empty_aggregates_table_is_listed(database: Path) -> None:
    done = otel_metrics("import", str(database))
    assert [line.split() for line in done.stdout.splitlines() if "daily_aggregates" in line] == [
        ["daily_aggregates", "0"]
    ]


def test_names_in_capitals_are_the_same(tmp_path: Path) -> None:
    schema = old.SCHEMA.replace("system_performance", "System_Performance").replace("metric_name", "Metric_Name")
    path = old.create(tmp_path / "old.db", schema.replace("daily_aggregates", "DAILY_AGGREGATES"))
    old.insert(path, "system_performance", [performance(1.0)])
    old.insert(path, "daily_aggregates", [aggregate(date="2024-03-01")])
    with old.reading(path, tmp_path) as rows:
        assert rows.days() == [DAY, DAY + 1]
        assert rows.database.unknown == []


def test_a_column_called_rowid_is_not_the_rows_number(tmp_path: Path) -> None:
    path = old.create(tmp_path / "old.db", old.SCHEMA.replace("metadata TEXT", "metadata TEXT, rowid TEXT"))
    old.insert(
        path, "system_performance", [performance(n, rowid=name) for n, name in ((1.0, "b"), (2.0, "a"), (-1, "x"))]
    )
    with old.reading(path, tmp_path) as rows:
        assert day_of(rows) == {("search", "response_time", "query", "seconds"): [0.001, 0.002]}
        assert rejected(rows) == {"system_performance: value: negative": ["3"]}


def test_a_table_without_row_ids_is_rejected_as_a_whole(tmp_path: Path) -> None:
    columns = "timestamp TEXT PRIMARY KEY, feature TEXT, metric_category TEXT, metric_name TEXT, value REAL"
    path = old.create(tmp_path / "old.db", f"CREATE TABLE system_performance ({columns}) WITHOUT ROWID;")
    old.insert(path, "system_performance", [without(performance(1.0), "unit")])
    with old.reading(path, tmp_path) as rows:
        assert rejected(rows) == {"system_performance: the table has no row ids (WITHOUT ROWID)": ["all"]}
        assert rows.report.read["system_performance"] == 1


def test_a_view_in_place_of_a_table_is_rejected_as_a_whole(database: Path, read: Read) -> None:
    """As after a table was archived under another name: its rows are there, and must not be passed over in silence."""
    old.insert(database, "system_performance", [performance(1.0), performance(2.0)])
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE system_performance RENAME TO archive")
        connection.execute("CREATE VIEW system_performance AS SELECT * FROM archive")
        connection.execute("CREATE VIEW of_others AS SELECT 1")
    rows = read()
    assert rejected(rows) == {"system_performance: a view, and rows of views have no row ids": ["all"]}
    assert rows.report.read["system_performance"] == 2
    assert rows.database.unknown == ["archive"]


@pytest.mark.parametrize("query", ["SELECT * FROM n", "SELECT max(i) FROM n", "SELECT * FROM nowhere"])
def test_a_view_that_never_ends_stops_nothing(
    database: Path, read: Read, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_db, "_LONGEST_VIEW", 0.2)
    old.insert(database, "system_performance", [performance(1.0)])
    with closing(sqlite3.connect(database)) as connection:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        connection.execute("DROP TABLE error_metrics")
        connection.execute(f"CREATE VIEW error_metrics AS {endless} {query}")
        connection.execute(f"CREATE VIEW of_others AS {endless} SELECT * FROM n")
    began = time.monotonic()
    rows = read()
    assert time.monotonic() - began < DEADLINE, "what ended it was the time limit of the test"
    (reason,) = rejected(rows)
    assert reason.endswith("could not be counted")
    assert rows.report.read["system_performance"] == 1


def test_what_cannot_be_read_is_told_in_full_on_a_narrow_terminal(tmp_path: Path) -> None:
    path = old.create(
        tmp_path / "old.db", "CREATE TABLE system_performance (timestamp TEXT, feature TEXT, notes TEXT);"
    )
    old.insert(path, "system_performance", [row(feature="search")] * 7)
    done = otel_metrics("import", str(path), COLUMNS="80")
    assert done.returncode == 1, "none of the tables could be read"
    found, _, rejections = done.stdout.partition("Rows that do not fit")
    words = " ".join(found.split())
    assert "system_performance the table has no column" in words
    for told in ("metric_category", "metric_name", "value; notes is not documented, not read"):
        assert told in words
    assert "…" not in found + rejections


@pytest.mark.parametrize("kind", ["VIRTUAL", "STORED"])
def test_columns_that_sqlite_computes_are_read(tmp_path: Path, kind: str) -> None:
    columns = "timestamp TEXT, feature TEXT, metric_category TEXT, metric_name TEXT, unit TEXT, raw REAL"
    computed = f"value REAL GENERATED ALWAYS AS (raw * 2) {kind}"
    path = old.create(tmp_path / "old.db", f"CREATE TABLE system_performance ({columns}, {computed});")
    old.insert(path, "system_performance", [without(performance(None, raw=1.0), "value")])
    with old.reading(path, tmp_path) as rows:
        assert day_of(rows) == {("search", "response_time", "query", "seconds"): [0.002]}


def test_a_file_that_needs_the_old_systems_own_collation_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.create_collation("german", lambda one, other: (one > other) - (one < other))
        connection.execute("CREATE TABLE system_performance (timestamp TEXT, feature TEXT COLLATE german)")
        connection.execute("CREATE INDEX by_feature ON system_performance (feature)")
        connection.execute("INSERT INTO system_performance VALUES ('', 'search'), ('', 'chat')")
    with pytest.raises(ImportFailedError, match=r"old\.db: no such collation sequence: german$"):
        OldDatabase(path)


def test_a_file_that_its_writer_left_halfway_is_explained(database: Path) -> None:
    """The writer was killed in the middle: SQLite has to take that back, which it cannot when it may only read."""
    old.insert(database, "system_performance", [performance(float(n)) for n in range(2000)])
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE system_performance SET feature = 'find'")
        killed = database.with_name("killed.db")
        for ending in ("", "-journal"):
            Path(f"{killed}{ending}").write_bytes(Path(f"{database}{ending}").read_bytes())
    with pytest.raises(ImportFailedError, match=r"ended while it was writing.*copy both files.*sqlite3 killed\.db"):
        OldDatabase(killed)


def test_a_file_that_the_old_system_keeps_to_itself_is_one_message(database: Path) -> None:
    """Also when that begins after the file was opened."""
    opened = OldDatabase(database)
    opened.connection.execute("PRAGMA busy_timeout = 0")
    with closing(opened), closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ImportFailedError, match=r"old\.db: database is locked"):
            opened.count("system_performance")


def test_a_file_in_write_ahead_mode_that_cannot_be_opened_is_explained(database: Path) -> None:
    """As in a folder that may not be written to: SQLite needs files beside it, and cannot make them."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    database.with_name("old.db-wal").mkdir()
    with pytest.raises(ImportFailedError, match=r"write-ahead mode.* copy old\.db and old\.db-wal"):
        OldDatabase(database)


def test_a_row_that_gets_lost_on_the_way_ends_the_import(
    database: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account balances without it, too: only SQL's own count tells."""
    old.insert(database, "system_performance", [performance(float(n)) for n in range(30)])
    every = OldDatabase.rows
    monkeypatch.setattr(OldDatabase, "rows", lambda self, found: islice(every(self, found), 0, None, 2))
    with pytest.raises(ImportFailedError, match="15 rows of system_performance were read, and SQL counts 30"):
        read()


def test_too_many_values_of_a_label_become_other(database: Path, read: Read) -> None:
    old.insert(database, "system_performance", [performance(1.0, feature=f"user-{i}") for i in range(5)])
    rows = read(label_caps={"feature": 3})
    assert sorted(key[0] for key in day_of(rows)) == ["other", "user-0", "user-1", "user-2"]
    assert rows.builder.labels.overflow() == {"feature": 2}


def test_no_database(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(ImportFailedError, match="not a database"):
        OldDatabase(path)
    with pytest.raises(ImportFailedError, match="no such file"):
        OldDatabase(tmp_path / "other.db")
    with pytest.raises(ImportFailedError, match="not a file"):
        OldDatabase(tmp_path)


# ------------------------------------------------------------------------------------------------- daily_aggregates


def aggregate(*numbers: float, **more: Any) -> dict[str, Any]:
    key = {"date": "2024-02-29", "feature": "search", "metric_type": "response_time", "metric_name": "query"}
    columns = ("avg_value", "min_value", "max_value", "stddev", "percentile_50", "percentile_95", "percentile_99")
    known = numbers or (20.0, 10.0, 30.0, 5.0, 20.0, 29.0, 29.8)
    return {**key, "count": 4, **dict(zip(columns, known, strict=True)), **more}


def test_aggregates_take_their_unit_from_the_rows_of_the_metric(database: Path, read: Read) -> None:
    old.insert(database, "system_performance", [performance(1.0, timestamp="2024-03-05T00:00:00")])
    old.insert(database, "daily_aggregates", [aggregate()])
    rows = read()
    rows.load(DAY)
    table, used = rows.statistics(DAY)
    known = table[("search", "response_time", "query", "seconds")]  # type: ignore[index]
    assert used == {1}
    assert (known.count, known.avg, known.min, known.max) == (4, 0.02, 0.01, 0.03)
    assert known.stddev == pytest.approx(0.005)
    assert known.p99 == pytest.approx(0.0298)


def test_aggregates_of_other_kinds(database: Path, read: Read) -> None:
    old.insert(
        database,
        "daily_aggregates",
        [
            aggregate(4.0, 2.0, 5.0, 1.0, 4.0, 5.0, 5.0, metric_type="satisfaction", metric_name="overall"),
            aggregate(metric_type="usage", metric_name="open"),
            aggregate(0.1, -0.1, 0.2, 0.1, 0.1, 0.2, 0.2, metric_type="learning_improvement", metric_name="t"),
            aggregate(metric_name="query_bytes"),
            aggregate(metric_name="things", percentile_99=None),
        ],
    )
    rows = read()
    found = {tuple(key): known for key, (_, known) in rows.aggregates[DAY].items()}
    overall = found["search", "satisfaction", "overall", "ratio"]
    assert (overall.avg, overall.min, overall.max, overall.stddev) == (0.75, 0.25, 1.0, 0.25)
    assert found["search", "usage", "open", "seconds"].avg == 0.02
    assert found["search", "learning_improvement", "t", "ratio"].avg == pytest.approx(1.1)
    assert found["search", "response_time", "query_bytes", "bytes"].max == 30.0
    assert found["search", "response_time", "things", ""].p99 is None


def test_aggregates_that_do_not_fit(database: Path, read: Read) -> None:
    old.insert(
        database,
        "system_performance",
        [performance(1.0, metric_name="both", unit=unit) for unit in ("ms", "MB")],
    )
    old.insert(
        database,
        "daily_aggregates",
        [
            aggregate(date="29.02.2024"),
            aggregate(metric_name="a", count=0),
            aggregate(metric_name="b", avg_value="high"),
            aggregate(feature=""),
            aggregate(metric_name="both"),
        ],
    )
    assert rejected(read()) == {
        "daily_aggregates: date: not YYYY-MM-DD": ["1"],
        "daily_aggregates: count: not a number of values above 0": ["2"],
        "daily_aggregates: avg_value: not a finite number": ["3"],
        "daily_aggregates: feature: empty": ["4"],
        "daily_aggregates: unit: the metric's rows have several, and this table has none": ["5"],
    }


def test_aggregates_that_no_values_can_have(database: Path, read: Read) -> None:
    """Each would spoil a row of the daily table; none is guessed at."""
    bad: list[dict[str, Any]] = [
        {"date": "1969-12-31"},
        {"stddev": -3.0},
        {"stddev": 21.0},
        {"min_value": 21.0, "percentile_50": 22.0},
        {"avg_value": 31.0},
        {"percentile_50": 9.0},
        {"percentile_99": 30.5},
        {"percentile_50": 29.5},
        {"min_value": -1.0},
        {"max_value": 1e300},
        {"metric_type": "satisfaction", "avg_value": 87.0, "max_value": 87.0},
    ]
    old.insert(
        database, "daily_aggregates", [aggregate(**{"metric_name": f"{i}_ms", **row}) for i, row in enumerate(bad)]
    )
    rows = read()
    assert rejected(rows) == {
        "daily_aggregates: date: before 1970": ["1"],
        "daily_aggregates: stddev: negative": ["2"],
        "daily_aggregates: stddev: larger than max_value - min_value": ["3"],
        "daily_aggregates: avg_value: below min_value": ["4"],
        "daily_aggregates: avg_value: above max_value": ["5"],
        "daily_aggregates: percentile_50: below min_value": ["6"],
        "daily_aggregates: percentile_99: above max_value": ["7"],
        "daily_aggregates: percentiles: not ascending": ["8"],
        "daily_aggregates: min_value: range": ["9"],
        "daily_aggregates: max_value: range": ["10"],
        "daily_aggregates: avg_value: range": ["11"],
    }
    assert rows.days() == []


def test_aggregates_are_as_exact_as_adding_up_is(database: Path, read: Read) -> None:
    """The average of equal values is off by a bit sometimes; that is no reason to reject it."""
    old.insert(database, "daily_aggregates", [aggregate(0.1 + 0.2, 0.3, 0.3, 0.0, 0.3, 0.3, 0.3)])
    assert rejected(read()) == {}


def test_a_days_own_rows_are_worth_more_than_its_aggregate_unless_some_are_gone(database: Path, read: Read) -> None:
    old.insert(database, "system_performance", [performance(10.0), performance(30.0)])
    old.insert(database, "daily_aggregates", [aggregate(count=2)])
    rows = read()
    rows.load(DAY)
    assert rows.statistics(DAY)[1] == set()
    old.insert(database, "daily_aggregates", [aggregate(date="2024-02-28", count=3)])
    old.insert(database, "system_performance", [performance(10.0, timestamp="2024-02-28T21:00:00")])
    rows = read()
    rows.load(DAY - 1)
    table, used = rows.statistics(DAY - 1)
    assert used == {2}
    assert [known.count for known in table.values()] == [3]


@pytest.mark.parametrize(
    "more",
    [
        {"min_value": 11.0},
        {"max_value": 29.0},
        {"avg_value": 11.0},
        {"date": "2024-03-01", "count": 5},
    ],
    ids=["below its minimum", "above its maximum", "more than its sum leaves", "rows of an earlier day are there"],
)
def test_an_aggregate_that_rows_contradict_is_not_taken(database: Path, read: Read, more: dict[str, Any]) -> None:
    """Rows of the first day may be gone in part, and only if those that are left can be some of what was added up."""
    old.insert(database, "system_performance", [performance(10.0), performance(30.0)])
    old.insert(database, "system_performance", [performance(20.0, timestamp="2024-03-01T10:00:00")])
    old.insert(database, "daily_aggregates", [aggregate(**more)])
    rows = read()
    for day in (DAY, DAY + 1):
        rows.load(day)
        assert rows.statistics(day)[1] == set()


LOCAL = [
    # 2024-02-29 and 2024-03-01 in Kathmandu are 18:15 to 18:15 in UTC.
    ("2024-02-29T00:10:00+05:45", 1.0),
    ("2024-02-29T05:50:00+05:45", 2.0),
    ("2024-02-29T23:50:00+05:45", 4.0),
    ("2024-03-01T00:10:00+05:45", 8.0),
    ("2024-03-01T12:00:00+05:45", 16.0),
    ("2024-03-02T03:00:00+05:45", 32.0),
    ("2024-03-02T04:00:00+05:45", 64.0),
    ("2024-03-02T05:00:00+05:45", 128.0),
]


@pytest.mark.parametrize("written", ["with offsets", "without"])
def test_local_days_of_the_old_table_do_not_replace_days_of_utc(database: Path, tmp_path: Path, written: str) -> None:
    """Every row is there; the old nightly job added them up by the date in its own time zone."""
    stamps = [(text if written == "with offsets" else text.removesuffix("+05:45"), value) for text, value in LOCAL]
    old.insert(database, "system_performance", [performance(value, timestamp=text) for text, value in stamps])
    for date in ("2024-02-29", "2024-03-01", "2024-03-02"):
        values = [value for text, value in LOCAL if text.startswith(date)]
        numbers = (sum(values) / len(values), min(values), max(values), 0.0, values[0], values[-1], values[-1])
        old.insert(database, "daily_aggregates", [aggregate(*numbers, date=date, count=len(values))])
    zone = timezone.utc if written == "with offsets" else ZoneInfo("Asia/Kathmandu")
    with old.reading(database, tmp_path, zone) as rows:
        counts: dict[int, int] = {}
        for day in rows.days():
            rows.load(day)
            table, used = rows.statistics(day)
            assert used == set()
            counts.update((day, known.count) for known in table.values())
        assert counts == {DAY - 1: 1, DAY: 3, DAY + 1: 4}
        check = TableCheck(rows)
        assert {day: [n["count"] for n in check.expected(day).values()] for day in (DAY - 1, DAY, DAY + 1)} == {
            DAY - 1: [1], DAY: [3], DAY + 1: [4]
        }  # fmt: skip
        wrong = {key: {**numbers, "count": 99.0} for key, numbers in check.expected(DAY).items()}
        answers = PrometheusSource(PrometheusClient("http://127.0.0.1:9"), lambda: 0.0)  # not asked: there are no uses
        assert [d.column for d in check.differences(DAY, answers, wrong)] == ["count"]
        # 2024-03-02 has values of 2024-03-01 and 2024-03-02 as written, all of which are rows of 2024-03-01 in UTC.
        late = {key: {"count": 3.0} for key in check.expected(DAY)}
        assert [(d.column, d.sql) for d in check.differences(DAY + 2, answers, late)] == [("count", 0.0)]


def test_days_whose_rows_are_gone_are_filled_beside_local_ones(database: Path, read: Read) -> None:
    old.insert(database, "system_performance", [performance(value, timestamp=text) for text, value in LOCAL])
    old.insert(database, "daily_aggregates", [aggregate(date="2024-01-15")])
    rows = read()
    rows.load(DAY - 45)
    assert rows.statistics(DAY - 45)[1] == {1}


def test_aggregates_that_are_not_used_do_not_change_what_a_day_holds(database: Path, read: Read) -> None:
    old.insert(database, "system_performance", [performance(10.0), performance(30.0)])
    before = read().load(DAY)
    old.insert(database, "daily_aggregates", [aggregate(count=2)])
    assert read().load(DAY) == before
    old.insert(database, "daily_aggregates", [aggregate(metric_name="gone", count=9)])
    with_another = read().load(DAY)
    assert with_another != before, "a row whose values are gone is written"


def test_long_text_of_many_rows_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Each row has other text, twelve times as much as is allowed here; none of it becomes a label."""
    path = old.create(tmp_path / "old.db")
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO error_metrics (timestamp, feature, error_type, error_severity, impact_level) "
            "VALUES ('2024-02-29T12:00:00', 'search', 'Timeout', 'error', ?)",
            ((f"{n} " + "é" * 30_000,) for n in range(6_000)),
        )
    connection.close()
    tracemalloc.start()
    try:
        with old.reading(path, tmp_path) as rows:
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows.report.read["error_metrics"] == 6_000
    assert peak < 120 * 2**20


@pytest.mark.parametrize("schema", ["", "CREATE TABLE orders (id INTEGER);"])
@pytest.mark.parametrize("command", [["import"], ["import", "--openmetrics", "files"], ["compare"]])
def test_a_file_without_a_documented_table_is_the_wrong_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], schema: str, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    old.create(tmp_path / "shop.db", schema)
    assert called(*command, "shop.db") == 1
    words = " ".join(capsys.readouterr().err.split())
    assert "none of the documented tables" in words
    assert ("it has orders" if schema else "no tables at all") in words


@pytest.mark.parametrize("closed", [True, False])
def test_a_copy_that_may_lack_the_newest_rows_is_told(tmp_path: Path, closed: bool) -> None:
    path = old.create(tmp_path / "old.db")
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute(
        "INSERT INTO error_metrics (timestamp, feature, error_type, error_severity) VALUES (?, 'a', 'b', 'c')", (NOON,)
    )
    writer.commit()
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    if not closed:
        shutil.copy(f"{path}-wal", f"{copy}-wal")
    writer.close()
    done = otel_metrics("import", str(copy))
    assert done.returncode == 0, done.stderr
    assert ("no copy.db-wal is beside it" in " ".join(done.stdout.split())) is closed
