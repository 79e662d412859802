"""Old databases, as the home-made tracker wrote them, and what reads, imports and serves them."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from otel_metrics.importing.old_history import opened
from otel_metrics.settings import Settings
from tests.command import otel_metrics
from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import tzinfo
    from pathlib import Path
    from subprocess import CompletedProcess

    from otel_metrics.importing.old_history import OldHistory
    from tests.servers import Prometheus, Servers

SCHEMA = """
CREATE TABLE system_performance (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, feature TEXT NOT NULL, metric_category TEXT NOT NULL,
    metric_name TEXT NOT NULL, value REAL NOT NULL, unit TEXT, context TEXT, metadata TEXT,
    created_at TEXT DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE user_satisfaction (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, feature TEXT NOT NULL, satisfaction_type TEXT NOT NULL,
    score REAL NOT NULL, feedback TEXT, interaction_id TEXT, metadata TEXT, created_at TEXT DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE feature_usage (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, feature TEXT NOT NULL, action TEXT NOT NULL,
    duration_ms REAL, success BOOLEAN, error_type TEXT, user_context TEXT, metadata TEXT,
    created_at TEXT DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE daily_aggregates (
    id INTEGER PRIMARY KEY AUTOINCREMENT, date TEXT NOT NULL, feature TEXT NOT NULL, metric_type TEXT NOT NULL,
    metric_name TEXT NOT NULL, avg_value REAL, min_value REAL, max_value REAL, stddev REAL, count INTEGER,
    percentile_50 REAL, percentile_95 REAL, percentile_99 REAL, created_at TEXT DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(date, feature, metric_type, metric_name));
"""
SIBLINGS = """
CREATE TABLE learning_effectiveness (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, feature TEXT, learning_type TEXT, accuracy REAL,
    confidence REAL, sample_size INTEGER, improvement_rate REAL);
CREATE TABLE optimization_impact (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, feature TEXT, optimization_id TEXT, impact_category TEXT,
    before_value REAL, after_value REAL, user_impact_score REAL);
CREATE TABLE resource_utilization (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, resource_type TEXT, resource_name TEXT,
    utilization_percent REAL, allocated REAL, used REAL, unit TEXT);
CREATE TABLE error_metrics (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, feature TEXT, error_type TEXT, error_severity TEXT,
    error_message TEXT, recovery_attempted BOOLEAN, recovery_successful BOOLEAN, impact_level TEXT);
"""
START = datetime(2024, 2, 28)  # noqa: DTZ001  # the old system wrote naive times; the day after next is a leap day


def create(path: Path, schema: str = SCHEMA + SIBLINGS) -> Path:
    """An empty old database."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(schema)
    return path


def insert(path: Path, table: str, rows: Iterable[dict[str, Any]]) -> None:
    """Rows as dictionaries."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for row in rows:
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))


def filled(
    path: Path, rows: int, days: int, start: datetime = START, *, features: int = 3, shuffled: bool = False
) -> Path:
    """A database with ``rows`` rows, 60 % of them performance, 20 % satisfaction, 20 % usage, spread over ``days``."""
    create(path)
    chance = random.Random(7)

    def times(number: int) -> list[str]:
        found = [(start + timedelta(days=days) * (i / number)).isoformat() for i in range(number)]
        if shuffled:
            chance.shuffle(found)
        return found

    several = max(rows // 5, 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO system_performance (timestamp, feature, metric_category, metric_name, value, unit, context)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (time, f"feature-{i % features}", ("response_time", "memory_usage")[i % 2], f"step_{i % 4}",
                 chance.lognormvariate(4, 1), ("milliseconds", "MB")[i % 2], "production")
                for i, time in enumerate(times(3 * several))
            ),
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO user_satisfaction (timestamp, feature, satisfaction_type, score, feedback) VALUES (?, ?, ?, ?, ?)",
            (
                (time, f"feature-{i % features}", "overall", chance.random() * 0.99, "fine")
                for i, time in enumerate(times(several))
            ),
        )
        connection.executemany(
            "INSERT INTO feature_usage (timestamp, feature, action, duration_ms, success) VALUES (?, ?, ?, ?, ?)",
            (
                (time, f"feature-{i % features}", "open", chance.expovariate(0.01) if i % 5 else None, i % 10 != 0)
                for i, time in enumerate(times(several))
            ),
        )
    return path


def sql(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What a query finds, or changes."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(query).fetchall()


@contextmanager
def reading(path: Path, folder: Path, zone: tzinfo = timezone.utc, **settings: Any) -> Iterator[OldHistory]:
    """What an old database holds; the list of rejections is in the folder."""
    with opened(path, folder, Settings(**settings), zone) as history:
        history.read(lambda _: None)
        yield history


def imported(path: Path, data: Path, *more: str, status: int = 0, **variables: str) -> CompletedProcess[str]:
    """Import into a data directory."""
    done = otel_metrics("import", str(path), "--data", str(data), *more, cwd=ROOT, **variables)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def server_on(servers: Servers, data: Path) -> Prometheus:
    """A server that keeps what was imported."""
    return servers.prometheus("global: {}\n", data=data, flags=["--storage.tsdb.retention.time=100y"])


def state(data: Path) -> dict[str, dict[str, Any]]:
    """What the import remembers of the days in a data directory, by their names."""
    file = data / "otel-metrics-import" / "state.json"
    days: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["days"] if file.exists() else {}
    return days
