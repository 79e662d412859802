"""The old system's timestamps: ISO 8601 text, with a UTC offset or without."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import timedelta, tzinfo

MS_PER_DAY: Final = 86_400_000

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # naive on purpose: subtracted from naive timestamps that mean UTC
_EPOCH_UTC: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NOT_ISO: Final = "not an ISO 8601 date and time"
_AFTER: Final = "after the year 9999"
_LAST: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""

_DATE_ONLY: Final = len("2025-12-14")


class Timestamps:
    """Reads timestamps; those without an offset are in ``zone``."""

    def __init__(self, zone: tzinfo = timezone.utc) -> None:
        self._zone = None if zone is timezone.utc else zone

    def milliseconds(self, text: object) -> int:
        """Return unix milliseconds, rounded down.

        Raises:
            ValueError: ``text`` is no ISO 8601 date and time from 1970 to 9999, in UTC.
        """
        if not isinstance(text, str) or len(text) <= _DATE_ONLY:
            raise ValueError(_unlike(text))
        if text.endswith("Z"):
            text = text[:-1] + "+00:00"  # Python 3.10 does not know Z
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(_unlike(text)) from None
        if moment.tzinfo is None and self._zone is not None:
            moment = moment.replace(tzinfo=self._zone)
        try:
            since: timedelta = moment - (_EPOCH if moment.tzinfo is None else _EPOCH_UTC)
        except OverflowError:  # a zone's offset cannot be added
            raise ValueError(_AFTER) from None
        found = (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
        if found < 0:
            raise ValueError("before 1970")
        if found > _LAST:
            raise ValueError(_AFTER)
        return found


def _unlike(value: object) -> str:
    """Return what a value is that is no timestamp."""
    if isinstance(value, (int, float)) or (isinstance(value, str) and value.isdecimal()):
        return f"a number, {_NOT_ISO}"
    if value is None:
        return f"missing, {_NOT_ISO}"
    try:
        date.fromisoformat(str(value))
    except ValueError:
        return _NOT_ISO
    return f"a date only, {_NOT_ISO}"
