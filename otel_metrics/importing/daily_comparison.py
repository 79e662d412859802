"""Two systems at work at once: the old one's daily statistics beside ours, for the days that both saw."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from otel_metrics import catalogue as c
from otel_metrics.importing.old_history import date_of
from otel_metrics.querying.caller_units import CallersUnits, daily_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from otel_metrics.catalogue import DayKey
    from otel_metrics.importing.old_history import OldHistory
    from otel_metrics.querying.source import DayTable, Source
    from otel_metrics.querying.statistics import Statistics
    from otel_metrics.settings import Scale


@dataclass(frozen=True, slots=True)
class ComparedStatistic:
    """One statistic of one row of the daily table, in the caller's unit. ``None``: that side has no such row."""

    day: date
    key: DayKey
    unit: str
    column: str
    old: float | None
    ours: float | None
    estimated: bool
    complete: bool | None
    """Whether everything that was recorded on the day is in our value; None if that is not known."""
    reason: str
    """What may be missing."""

    @property
    def difference(self) -> float | None:
        """Our value's distance from the old one, as a share of the old one; of zero: in the unit itself."""
        if self.old is None or self.ours is None:
            return None
        return (self.ours - self.old) / abs(self.old) if self.old else self.ours - self.old


def compare_days(history: OldHistory, source: Source, days: list[int]) -> Iterator[ComparedStatistic]:
    """Yield every statistic of the days that both systems have rows of.

    Raises:
        QueryError: the source cannot answer.
    """
    labels = (c.FEATURE.name, c.METRIC_CATEGORY.name, c.METRIC_NAME.name)
    seen = (series.labels for series in history.builder.series.values() if series.metric is c.PERFORMANCE_UNIT)
    units, scales = CallersUnits(seen, labels), history.scales()
    for day in days:
        ours = source.day(date_of(day))
        if not ours.rows:
            continue
        history.load(day)
        old, _ = history.statistics(day)
        for key in sorted({*old, *ours.rows}):
            yield from _row(key, old.get(key), ours, units, scales)


def _row(
    key: DayKey, old: Statistics | None, table: DayTable, units: CallersUnits, scales: Mapping[str, Scale]
) -> Iterator[ComparedStatistic]:
    ours, whole = table.rows.get(key), table.known_of(key)
    shown = [daily_row(key, known, units, scales) if known is not None else None for known in (old, ours)]
    unit = next((row[1] for row in shown if row is not None), "")
    values = [asdict(row[0]) if row is not None else {} for row in shown]
    for name, column in c.DAILY_TABLE.items():
        theirs, mine = (known.get(column.field) for known in values)
        estimated = ours is not None and column.field in ours.estimated
        yield ComparedStatistic(
            table.day, key, unit, name, theirs, mine, estimated, whole.complete, "; ".join(whole.reasons)
        )
