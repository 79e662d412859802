"""Rows of the old ``daily_aggregates`` table: days whose own rows are gone; they go straight to the daily table."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_metrics import catalogue as c
from otel_metrics.catalogue import DayKey
from otel_metrics.facade.scales import from_one_to_five
from otel_metrics.importing.timestamps import day_of
from otel_metrics.querying.statistics import Statistics
from otel_metrics.recording.labels import RejectedCallError
from otel_metrics.recording.recorder import LARGEST
from otel_metrics.units import MILLISECONDS, unit_of, unit_of_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_metrics.catalogue import Metric
    from otel_metrics.importing.day_builder import DayBuilder
    from otel_metrics.importing.report import ImportReport
    from otel_metrics.importing.source_db import FoundTable, OldDatabase
    from otel_metrics.settings import Scale
    from otel_metrics.units import Unit

_LITERAL: Final[dict[str, Metric]] = {m.daily.metric_type: m for m in c.CATALOGUE if m.daily and m.daily.metric_type}

_ROUNDING: Final = 1e-9
"""Relative: what adding up in another order can explain."""

AggregatedRows = dict[int, dict[DayKey, tuple[int, Statistics]]]
"""Day -> key -> (row id, statistics in base units)."""


class _Meaning(NamedTuple):
    """What the values of a row are."""

    metric: Metric
    unit: str
    """The base unit."""
    rising: Callable[[float], float] | None
    """Turns values into it."""
    spelling: str = ""
    """The caller's unit, of performance metrics."""


class AggregatesReader:
    """Reads the table. Its values have no unit: that is taken from the raw rows of the same metric, else from the metric's name."""

    def __init__(self, builder: DayBuilder, report: ImportReport, scales: defaultdict[str, set[Scale]]) -> None:
        self._builder = builder
        self._scales = scales
        self.infos: dict[DayKey, Any] = {}
        """What tells the unit of a row, as record calls would: without it the row would come back in another one."""
        self._report = report
        self._units: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for series in builder.series.values():
            if series.metric is c.PERFORMANCE_UNIT:
                *key, unit = (series.labels.get(name, "") for name in c.PERFORMANCE_UNIT.label_names)
                self._units[tuple(key)].add(unit)

    def read(self, database: OldDatabase, table: FoundTable) -> AggregatedRows:
        """Return what fits, and account for the rest; read the other tables before."""
        found: defaultdict[int, dict[DayKey, tuple[int, Statistics]]] = defaultdict(dict)
        for rowid, *columns in database.rows(table):
            self._report.read[c.DAILY_SQL] += 1
            try:
                day, key, known = self._row(dict(zip((*c.DAILY_SQL_KEY, *c.DAILY_TABLE), columns, strict=True)))
                if key in found[day]:
                    raise ValueError("the same day and metric as a row before")
            except ValueError as error:
                self._report.reject(c.DAILY_SQL, rowid, str(error))
            except RejectedCallError:
                why = "; ".join(f"{argument}: {reason}" for argument, reason in self._builder.rejections.take())
                self._report.reject(c.DAILY_SQL, rowid, why)
            else:
                found[day][key] = rowid, known
                for argument, reason in self._builder.rejections.take():
                    self._report.leave_out(c.DAILY_SQL, rowid, argument, reason)
        database.check(c.DAILY_SQL, self._report.read[c.DAILY_SQL])
        return {day: rows for day, rows in found.items() if rows}

    def _row(self, row: dict[str, Any]) -> tuple[int, DayKey, Statistics]:
        try:
            day = day_of(date.fromisoformat(row["date"]))
        except (TypeError, ValueError):
            raise ValueError("date: not YYYY-MM-DD") from None
        if day < 0:
            raise ValueError("date: before 1970")
        required = self._builder.labels.required
        feature, metric_type, name = (
            required("", label, row[label.name]) for label in (c.FEATURE, c.METRIC_TYPE, c.METRIC_NAME)
        )
        fields: dict[str, Any] = {column.field: _number(name, row[name]) for name, column in c.DAILY_TABLE.items()}
        count, avg = fields.pop("count"), fields["avg"]
        if count is None or count < 1 or count != int(count):
            raise ValueError("count: not a number of values above 0")
        known = Statistics(int(count), (avg or 0.0) * count, **fields)
        meant = self._meant(feature, metric_type, name, known)
        known = known.map(meant.rising) if meant.rising else known
        _check(known, meant.metric)
        key = DayKey(feature, metric_type, name, meant.unit)
        if meant.spelling and key not in self.infos:
            labels = dict(zip(c.PERFORMANCE_UNIT.label_names, (*key[:3], meant.spelling), strict=True))
            (self.infos[key],) = self._builder.gauge(c.PERFORMANCE_UNIT, labels)
        return day, key, known

    def _meant(self, feature: str, metric_type: str, name: str, known: Statistics) -> _Meaning:
        """Return the unit of the row's key, and what turns the row's values into it."""
        metric = _LITERAL.get(metric_type)
        if metric is not None and metric.daily is not None:
            return _Meaning(metric, metric.daily.unit, self._conversion(metric, name, known))
        names = self._units.get((feature, metric_type, name))
        units = {unit_of(spelling) for spelling in names} if names else {unit_of_name(name)}
        first = units.pop()
        if any(
            (unit.metric, unit.factor, unit.divisor) != (first.metric, first.factor, first.divisor) for unit in units
        ):
            raise ValueError("unit: the metric's rows have several, and this table has none")
        daily = first.metric.daily
        if daily is None or daily.unit_label:
            return _Meaning(first.metric, first.name, None)
        return _Meaning(first.metric, daily.unit, _by(first), first.name)

    def _conversion(self, metric: Metric, name: str, known: Statistics) -> Callable[[float], float] | None:
        if metric is c.USAGE_DURATION:
            return _by(MILLISECONDS)
        if metric is c.LEARNING_IMPROVEMENT:
            return lambda rate: 1 + rate
        if metric is c.SATISFACTION_SCORE and self._scale(name, known) == "1-5":
            return lambda score: from_one_to_five([score])[0]
        return None

    def _scale(self, kind: str, known: Statistics) -> Scale:
        """Return the scale of a row; a day of nothing but ones is on the one that the type has elsewhere, else on 1 to 5."""
        scale = self._builder.settings.satisfaction_scales.get(kind)
        if scale is None:
            ones = known.min == known.max == 1 and self._scales[kind] != {"0-1"}
            scale = "1-5" if ones or (known.max is not None and known.max > 1) else "0-1"
        self._scales[kind].add(scale)
        return scale


def _check(known: Statistics, metric: Metric) -> None:
    """Reject statistics that no values of ``metric`` can have.

    Raises:
        ValueError: with the reason.
    """
    low, high = max(metric.low, -LARGEST), min(metric.high, LARGEST)
    slack = _ROUNDING * max(abs(known.min or 0.0), abs(known.max or 0.0))
    within = {column: value for column, value in known.columns().items() if column not in {"count", "stddev"}}
    for column, value in within.items():
        if not low - slack <= value <= high + slack:
            raise ValueError(f"{column}: range")
        if known.min is not None and value < known.min - slack:
            raise ValueError(f"{column}: below min_value")
        if known.max is not None and value > known.max + slack:
            raise ValueError(f"{column}: above max_value")
    if known.stddev is not None:
        if known.stddev < 0:
            raise ValueError("stddev: negative")
        if known.stddev > LARGEST:
            raise ValueError("stddev: range")
        if known.min is not None and known.max is not None and known.stddev > known.max - known.min + slack:
            raise ValueError("stddev: larger than max_value - min_value")
    rising = [within[name] for name, column in c.DAILY_TABLE.items() if column.quantile and name in within]
    if any(above < below - slack for below, above in pairwise(rising)):
        raise ValueError("percentiles: not ascending")


def contains(known: Statistics, part: Statistics) -> bool:
    """Return whether ``part`` can be the statistics of some of the values of ``known``, and not of all."""
    gone = known.count - part.count
    if gone <= 0:
        return False
    low, high = known.min, known.max
    if low is None or high is None or part.min is None or part.max is None:
        return True
    slack = _ROUNDING * max(abs(low), abs(high), abs(known.total))
    rest = known.total - part.total
    within = low - slack <= part.min and part.max <= high + slack
    return within and gone * low - slack <= rest <= gone * high + slack


def _by(unit: Unit) -> Callable[[float], float] | None:
    converter = unit.converter
    return None if converter is None else lambda value: converter([value])[0]


def _number(column: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise ValueError(f"{column}: not a finite number")
    return float(value)


def text(rows: dict[DayKey, tuple[int, Statistics]]) -> Iterator[str]:
    """Yield what a day's rows hold, for its content hash."""
    return (repr((key, known)) for key, (_, known) in sorted(rows.items()))
