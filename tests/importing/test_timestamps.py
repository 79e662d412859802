"""Timestamps of the old system."""

from __future__ import annotations

from datetime import timezone
from zoneinfo import ZoneInfo

import pytest

from otel_metrics.importing.timestamps import Timestamps

UTC = Timestamps()


def milliseconds(text: object, timestamps: Timestamps = UTC) -> int:
    return timestamps.read(text)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00", 0),
        ("2025-12-14T10:20:30.123456", 1765707630123),
        ("2025-12-14 10:20:30", 1765707630000),
        ("2025-12-14T10:20:30Z", 1765707630000),
        ("2025-12-14T11:20:30+01:00", 1765707630000),
        ("2024-02-29T23:59:59.999999", 1709251199999),
        ("2024-02-29T12:00:00.7", 1709208000700),
        ("2024-02-29T12:00:00.25Z", 1709208000250),
        ("2024-02-29T12:00:00.0004", 1709208000000),
        ("2024-02-29T12:00:00.999999999", 1709208000999),
        ("2024-02-29T12:00:00.1234567890123456789", 1709208000123),
        ("2024-02-29 12:00:00,125", 1709208000125),
        ("2024-02-29T12:00:00z", 1709208000000),
        ("2024-02-29t12:00:00 +00:00", 1709208000000),
        ("2024-02-29T15:30:00+0330", 1709208000000),
        ("2024-02-29 04:00:00-08", 1709208000000),
        ("2024-02-29T12:00:30+00:00:30", 1709208000000),
        ("20240229T120000Z", 1709208000000),
        ("20240229T120000.5-0100", 1709211600500),
        ("2024-02-29T12:00", 1709208000000),
        ("2024-02-29T12", 1709208000000),
    ],
)
def test_what_languages_and_databases_write(text: str, expected: int) -> None:
    """Python 3.11 reads most of it by itself, 3.10 nearly nothing: the history must not depend on that."""
    assert milliseconds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2024-W09-4T12:00:00",
        "2024-060T12:00:00",
        "2024-0229T12:00:00",
        "2024-02-29x12:00:00",
        "2024-02-29T12:0000",
        "2024-02-30T12:00:00",
        "2024-02-29T24:00:00",
        "2024-02-29T12:00:60",
        "2024-02-29T12:00:00+25:00",
        "2024-02-29T12:00:00.",
        "٢٠٢٤-٠٢-٢٩T١٢:٠٠:٠٠",
    ],
)
def test_what_only_some_pythons_read_is_rejected_by_all(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not an ISO 8601"):
        milliseconds(text)


@pytest.mark.parametrize(
    ("text", "zone", "utc", "written"),
    [
        ("2024-03-01T00:30:00+01:00", "UTC", 19782, 19783),
        ("2024-02-29T23:30:00-05:00", "UTC", 19783, 19782),
        ("2024-03-01T00:30:00", "Europe/Berlin", 19782, 19783),
        ("2024-03-01T00:30:00", "UTC", 19783, 19783),
    ],
)
def test_the_day_as_it_is_written(text: str, zone: str, utc: int, written: int) -> None:
    moment, day = Timestamps(timezone.utc if zone == "UTC" else ZoneInfo(zone)).read(text)
    assert (moment // 86_400_000, day) == (utc, written)


def test_a_time_without_offset_is_in_the_zone_that_is_named() -> None:
    berlin = Timestamps(ZoneInfo("Europe/Berlin"))
    assert milliseconds("2025-12-14T11:20:30", berlin) == 1765707630000
    assert milliseconds("2025-07-14T12:20:30", berlin) == milliseconds("2025-07-14T10:20:30")
    assert milliseconds("2025-12-14T10:20:30+00:00", berlin) == 1765707630000


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
        ("", "not an ISO 8601"),
        ("2025-13-01T00:00:00", "not an ISO 8601"),
        ("1969-12-31T23:59:59", "before 1970"),
        ("9999-12-31T23:59:59-05:00", "after the year 9999"),
    ],
)
def test_the_reason_says_what_it_is_instead(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        milliseconds(value)


def test_the_last_hours_that_dates_can_tell() -> None:
    assert milliseconds("9999-12-31T23:59:59.999999") == 253402300799999
    west = Timestamps(ZoneInfo("America/New_York"))
    for late in ("9999-12-31T23:59:59", "9999-12-31T19:00:00"):
        with pytest.raises(ValueError, match="after the year 9999"):
            milliseconds(late, west)
