"""From base units and non-negative wire values back to what callers recorded."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from otel_metrics import catalogue as c
from otel_metrics.units import MILLISECONDS, UNITS, Unit, unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_metrics.catalogue import DayKey, Metric
    from otel_metrics.querying.statistics import Statistics
    from otel_metrics.settings import Scale

BASE: Final[dict[Metric, Unit]] = {
    # Times are reported in milliseconds unless something else was recorded.
    c.PERFORMANCE_DURATION: MILLISECONDS,
    c.PERFORMANCE_SIZE: UNITS["bytes"],
    c.PERFORMANCE_RATIO: UNITS["ratio"],
    c.PERFORMANCE_RATE: UNITS["per_second"],
}
"""What a performance metric is reported in when its callers' unit is not known, or they do not agree."""

DAILY: Final[dict[str, Metric]] = {m.daily.unit: m for m in BASE if m.daily}
"""Unit of a daily row -> the performance metric that it may come from."""

FIVE: Final[Scale] = "1-5"
SATISFACTION: Final = c.SATISFACTION_SCORE.daily.metric_type if c.SATISFACTION_SCORE.daily else ""
_IMPROVEMENT: Final = c.LEARNING_IMPROVEMENT.daily.metric_type if c.LEARNING_IMPROVEMENT.daily else ""


class CallersUnits:
    """The units that values were recorded with, from the rows of the info metric.

    Args:
        rows: labels of the info metric.
        by: the labels, besides the unit, that tell what a unit belongs to.
    """

    def __init__(self, rows: Iterable[Mapping[str, str]], by: tuple[str, ...]) -> None:
        self._by = by
        self._names: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for labels in rows:
            self._names[self._key(labels)].add(labels.get(c.UNIT.name, ""))

    def unit(self, metric: Metric, labels: Mapping[str, str]) -> Unit:
        """Return the unit to report a row of ``metric`` in."""
        base = BASE.get(metric)
        if base is None:
            return Unit(labels.get(c.UNIT.name, ""), metric)
        units = [unit for name in sorted(self._names[self._key(labels)]) if (unit := unit_of(name)).metric is metric]
        if units and all((unit.factor, unit.divisor) == (units[0].factor, units[0].divisor) for unit in units):
            return units[0]
        return base

    def _key(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(labels.get(name, "") for name in self._by)


def minus_one(value: float) -> float:
    """Return the improvement rate for one plus the rate."""
    return value - 1


def to_one_to_five(score: float) -> float:
    """Return a score from 0 to 1 on the scale from 1 to 5."""
    return 1 + 4 * score


def daily_row(
    key: DayKey, known: Statistics, units: CallersUnits, scales: Mapping[str, Scale] | None = None
) -> tuple[Statistics, str]:
    """Return a daily row's statistics, as they were recorded, and the name of their unit.

    Scores are on 0 to 1, unless ``scales`` says of their satisfaction type that it is on 1 to 5.
    """
    if scales and key.metric_type == SATISFACTION and scales.get(key.metric_name) == FIVE:
        return known.map(to_one_to_five), FIVE
    if key.metric_type == _IMPROVEMENT:
        return known.map(minus_one), key.unit
    metric = DAILY.get(key.unit)
    if metric is None:
        return known, key.unit
    labels = {c.FEATURE.name: key.feature, c.METRIC_CATEGORY.name: key.metric_type, c.METRIC_NAME.name: key.metric_name}
    unit = units.unit(metric, labels)
    return known.map(unit.from_base), unit.name
