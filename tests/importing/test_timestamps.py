"""Timestamps of the old system."""

from __future__ import annotations

from datetime import timezone
from zoneinfo import ZoneInfo

import pytest

from otel_metrics.importing.timestamps import Timestamps


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00", 0),
        ("2025-12-14T10:20:30.123456", 1765707630123),
        ("2025-12-14 10:20:30", 1765707630000),
        ("2025-12-14T10:20:30Z", 1765707630000),
        ("2025-12-14T11:20:30+01:00", 1765707630000),
        ("2024-02-29T23:59:59.999999", 1709251199999),
    ],
)
def test_iso_forms(text: str, milliseconds: int) -> None:
    assert Timestamps().milliseconds(text) == milliseconds


def test_a_time_without_offset_is_in_the_zone_that_is_named() -> None:
    berlin = Timestamps(ZoneInfo("Europe/Berlin"))
    assert berlin.milliseconds("2025-12-14T11:20:30") == 1765707630000
    assert berlin.milliseconds("2025-07-14T12:20:30") == Timestamps().milliseconds("2025-07-14T10:20:30")
    assert berlin.milliseconds("2025-12-14T10:20:30+00:00") == 1765707630000


@pytest.mark.parametrize(
    "value", [None, 1765707630, "", "yesterday", "2025-12-14", "2025-13-01T00:00:00", "1969-12-31T23:59:59"]
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"ISO 8601|1970"):
        Timestamps(timezone.utc).milliseconds(value)
