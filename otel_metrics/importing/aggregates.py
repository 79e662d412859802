"""Rows of the old ``daily_aggregates`` table: days whose own rows are gone, straight to the daily table."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from otel_metrics import catalogue as c
from otel_metrics.facade.scales import from_one_to_five
from otel_metrics.importing.tables import AGGREGATE_COLUMNS, AGGREGATES
from otel_metrics.querying.source import DayKey
from otel_metrics.querying.statistics import COLUMNS, Statistics
from otel_metrics.recording.labels import RefusedCallError
from otel_metrics.units import MILLISECONDS, unit_of, unit_of_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_metrics.catalogue import Metric
    from otel_metrics.importing.keepers import Keepers
    from otel_metrics.importing.ledger import Ledger
    from otel_metrics.importing.tables import OldDatabase
    from otel_metrics.units import Unit

_EPOCH: Final = date(1970, 1, 1)
_QUERY: Final = f'SELECT rowid, {", ".join(AGGREGATE_COLUMNS)} FROM "{AGGREGATES}" WHERE rowid > ? ORDER BY rowid'  # noqa: S608
_LITERAL: Final[dict[str, Metric]] = {m.daily.metric_type: m for m in c.CATALOGUE if m.daily and m.daily.metric_type}

Rows = dict[int, dict[DayKey, tuple[int, Statistics]]]
"""Day -> key -> (row id, statistics in base units)."""


class Aggregates:
    """Reads the table. Its values have no unit: that is taken from the raw rows of the same metric, else from the metric's name."""

    def __init__(self, keepers: Keepers, ledger: Ledger) -> None:
        self._keepers = keepers
        self._ledger = ledger
        self._units: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for series in keepers.series.values():
            if series.metric is c.PERFORMANCE_UNIT:
                *key, unit = (series.labels.get(name, "") for name in c.PERFORMANCE_UNIT.label_names)
                self._units[tuple(key)].add(unit)

    def read(self, database: OldDatabase) -> Rows:
        """Return what fits, and account for the rest; read the other tables before."""
        found: defaultdict[int, dict[DayKey, tuple[int, Statistics]]] = defaultdict(dict)
        for rowid, *columns in database.rows(_QUERY):
            self._ledger.read[AGGREGATES] += 1
            try:
                day, key, known = self._row(dict(zip(AGGREGATE_COLUMNS, columns, strict=True)))
                if key in found[day]:
                    raise ValueError("the same day and metric as a row before")
            except ValueError as error:
                self._ledger.refuse(AGGREGATES, rowid, str(error))
            except RefusedCallError:
                why = "; ".join(f"{argument}: {reason}" for argument, reason in self._keepers.refusals.take())
                self._ledger.refuse(AGGREGATES, rowid, why)
            else:
                found[day][key] = rowid, known
                for argument, reason in self._keepers.refusals.take():
                    self._ledger.leave_out(AGGREGATES, rowid, argument, reason)
        return {day: rows for day, rows in found.items() if rows}

    def _row(self, row: dict[str, Any]) -> tuple[int, DayKey, Statistics]:
        try:
            day = (date.fromisoformat(row["date"]) - _EPOCH).days
        except (TypeError, ValueError):
            raise ValueError("date: not YYYY-MM-DD") from None
        required = self._keepers.labels.required
        feature, metric_type, name = (
            required("", label, row[label.name]) for label in (c.FEATURE, c.METRIC_TYPE, c.METRIC_NAME)
        )
        fields: dict[str, Any] = {field: _number(column, row[column]) for column, field in COLUMNS.items()}
        count, avg = fields.pop("count"), fields["avg"]
        if count is None or count < 1 or count != int(count):
            raise ValueError("count: not a number of values above 0")
        known = Statistics(int(count), (avg or 0.0) * count, **fields)
        unit, rising = self._unit(feature, metric_type, name, fields["max"])
        return day, DayKey(feature, metric_type, name, unit), known.map(rising) if rising else known

    def _unit(
        self, feature: str, metric_type: str, name: str, highest: float | None
    ) -> tuple[str, Callable[[float], float] | None]:
        """Return the unit of the row's key, and what turns the row's values into it."""
        metric = _LITERAL.get(metric_type)
        if metric is not None and metric.daily is not None:
            return metric.daily.unit, self._conversion(metric, name, highest)
        names = self._units.get((feature, metric_type, name))
        units = {unit_of(spelling) for spelling in names} if names else {unit_of_name(name)}
        first = units.pop()
        if any(
            (unit.metric, unit.factor, unit.divisor) != (first.metric, first.factor, first.divisor) for unit in units
        ):
            raise ValueError("unit: the metric's rows have several, and this table has none")
        daily = first.metric.daily
        return (first.name if daily is None or daily.unit_label else daily.unit), _by(first)

    def _conversion(self, metric: Metric, name: str, highest: float | None) -> Callable[[float], float] | None:
        if metric is c.USAGE_DURATION:
            return _by(MILLISECONDS)
        if metric is c.LEARNING_IMPROVEMENT:
            return lambda rate: 1 + rate
        if metric is c.SATISFACTION_SCORE:
            scale = self._keepers.settings.satisfaction_scales.get(name)
            if scale == "1-5" or (scale is None and highest is not None and highest > 1):
                return lambda score: from_one_to_five([score])[0]
        return None


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
