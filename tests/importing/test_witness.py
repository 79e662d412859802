"""What SQL says of the old tables, without a server: it must be what was imported, whatever the old columns are like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_metrics.importing import sql_check
from otel_metrics.importing.sql_check import by_sql
from tests.importing import old

if TYPE_CHECKING:
    from pathlib import Path

DAY = 19782  # 2024-02-29


@pytest.mark.parametrize("portion", [1, 2, 1000])
def test_it_counts_what_was_read_in_any_portions_and_tells_capitals_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    """Rows are far apart, and the old column says that upper and lower case are the same."""
    monkeypatch.setattr(sql_check, "PORTION", portion)
    path = old.create(
        tmp_path / "old.db", old.SCHEMA.replace("feature TEXT NOT NULL", "feature TEXT NOT NULL COLLATE NOCASE")
    )
    features = {-(2**63): "Search", 1: "search", 2: "search", 9_000_000_000: "Search", 9_000_000_001: "chat"}
    row = {"timestamp": "2024-02-29T12:00:00", "action": "open", "success": 1}
    old.insert(
        path, "feature_usage", [{**row, "id": n, "feature": name, "duration_ms": 5.0} for n, name in features.items()]
    )
    with old.reading(path, tmp_path) as history:
        found = sql_check.TableCheck(history).expected(DAY)
        counts = {key.feature: numbers["count"] for key, numbers in found.items()}
        assert counts == {"Search": 2, "search": 2, "chat": 1}
        assert found.keys() == by_sql(history, DAY).keys()
