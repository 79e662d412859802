"""The old system's timestamps: ISO 8601 text, with a UTC offset or without. The same text means the same on every Python.

Days are counted from 1970, in UTC.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import SECONDS_PER_DAY

if TYPE_CHECKING:
    from datetime import tzinfo

MS_PER_DAY: Final = SECONDS_PER_DAY * 1000

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # naive on purpose: subtracted from naive timestamps that mean UTC
_EPOCH_UTC: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
_NOT_ISO: Final = "not an ISO 8601 date and time"
_AFTER: Final = "after the year 9999"
_LAST: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""

_USUAL: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?([+-]\d\d:\d\d)?",
    re.ASCII,
)
"""What every Python's own function reads, several times as fast as we do."""

_ISO: Final = re.compile(
    r"(?P<year>\d{4})(?P<dash>-?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)"
    r"[Tt ](?P<hour>\d\d)(?:(?P<colon>:?)(?P<minute>\d\d)(?:(?P=colon)(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?"
    r" ?(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d)(?::?(?P<seconds>\d\d))?)?)?",
    re.ASCII,
)


def day_of(when: date) -> int:
    """Return the day of a date, or the day that a time is written as."""
    return when.toordinal() - _FIRST_DAY


def date_of(day: int) -> date:
    """Return the date of a day."""
    return date.fromordinal(day + _FIRST_DAY)


class Timestamps:
    """Reads timestamps; those without an offset are in ``zone``."""

    def __init__(self, zone: tzinfo = timezone.utc) -> None:
        self._zone = None if zone is timezone.utc else zone

    def read(self, text: object) -> tuple[int, int]:
        """Return unix milliseconds, rounded down, and the day as it is written: in its own offset, days since 1970.

        Raises:
            ValueError: ``text`` is no ISO 8601 date and time from 1970 to 9999, in UTC.
        """
        try:
            moment = datetime.fromisoformat(text) if _USUAL.fullmatch(text) else _read(text)  # type: ignore[arg-type, call-overload]
        except (TypeError, ValueError, OverflowError):
            raise ValueError(_unlike(text)) from None
        if moment.tzinfo is None and self._zone is not None:
            moment = moment.replace(tzinfo=self._zone)
        try:
            since: timedelta = moment - (_EPOCH if moment.tzinfo is None else _EPOCH_UTC)
        except OverflowError:  # a zone's offset cannot be added
            raise ValueError(_AFTER) from None
        found = (since.days * SECONDS_PER_DAY + since.seconds) * 1000 + since.microseconds // 1000
        if found < 0:
            raise ValueError("before 1970")
        if found > _LAST:
            raise ValueError(_AFTER)
        return found, day_of(moment)


def _read(text: str) -> datetime:
    """Return what other systems write: with the comma, the basic form, any number of digits, short offsets.

    Raises:
        ValueError: it is nothing of these.
    """
    found = _ISO.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = (
        int(found[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")
    )
    zone = timezone.utc if found["utc"] else None
    if found["sign"]:
        hours, minutes, seconds = (int(found[name] or 0) for name in ("hours", "minutes", "seconds"))
        offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        zone = timezone(-offset if found["sign"] == "-" else offset)
    microsecond = int(f"{found['fraction'] or '':0<6}"[:6])
    return datetime(year, month, day, hour, minute, second, microsecond, zone)


def _unlike(value: object) -> str:
    """Return what a value is that is no timestamp."""
    if isinstance(value, (int, float)) or (isinstance(value, str) and value.isdecimal()):
        return f"a number, {_NOT_ISO}"
    if value is None:
        return f"missing, {_NOT_ISO}"
    if re.fullmatch(r"\d{4}-\d\d-\d\d", str(value), re.ASCII):
        return f"a date only, {_NOT_ISO}"
    return _NOT_ISO
