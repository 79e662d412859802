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
def test_anything_else_is_rejected(value: object) -> None:
    with pytest.raises(ValueError, match=r"ISO 8601|1970"):
        Timestamps(timezone.utc).milliseconds(value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1765707630, "a number"),
        (1765707630.5, "a number"),
        ("1765707630", "a number"),
        ("1765707630123", "a number"),
        ("2025-12-14", "a date only"),
        (None, "missing"),
        ("yesterday", "not an ISO 8601"),
        ("9999-12-31T23:59:59-05:00", "after the year 9999"),
    ],
)
def test_the_reason_says_what_it_is_instead(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        Timestamps(timezone.utc).milliseconds(value)


def test_the_last_hours_that_dates_can_tell() -> None:
    assert Timestamps().milliseconds("9999-12-31T23:59:59.999999") == 253402300799999
    west = Timestamps(ZoneInfo("America/New_York"))
    for late in ("9999-12-31T23:59:59", "9999-12-31T19:00:00"):
        with pytest.raises(ValueError, match="after the year 9999"):
            west.milliseconds(late)
