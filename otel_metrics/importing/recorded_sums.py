"""What the recording rules would have made of a day: the sums that panels add up to periods, and those of hours.

Rules do not run over the past, so the import writes them beside the series that they come from. Histograms are written as classic
buckets, as those series are.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from otel_metrics import catalogue as c
from otel_metrics.assets import recording as rules
from otel_metrics.importing.day_builder import HistogramSeries
from otel_metrics.promql import JOB, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from otel_metrics.catalogue import Metric
    from otel_metrics.importing.day_builder import NumberSeries, Series

    Labels = tuple[tuple[str, str], ...]
    Sample = tuple[str, Labels, int, float]
    """Name, labels, slot at whose end it stands, value."""


_SHARES: Final = {
    c.USAGE: ((c.OUTCOME, "success"), (c.OUTCOME, "failure")),
    c.SATISFACTION_RESPONSES: ((c.SATISFIED, "true"),),
    c.ERRORS: ((c.RECOVERY, "succeeded"),),
}
"""Values of labels that panels ask the share of."""

_OF_HOURS: Final = {
    c.PERFORMANCE_DURATION: (rules.DURATION_1H, rules.DURATIONS_1H, rules.BY_CATEGORY),
    c.SATISFACTION_SCORE: (rules.SATISFACTION_1H, rules.RESPONSES_1H, rules.BY_FEATURE),
    c.LEARNING_ACCURACY: (rules.ACCURACY_1H, rules.LEARNINGS_1H, rules.BY_LEARNING_TYPE),
}
"""Averages that panels draw, and rank, by the hour; the counts beside them, and their labels."""


class _Windows:
    """Values that are added up by labels and window."""

    def __init__(self, job: str, slot: int, window: float) -> None:
        self._job = job
        self._slots = max(int(window // slot), 1)
        self._found: defaultdict[tuple[str, Labels, int], float] = defaultdict(float)

    def add(self, name: str, labels: Sequence[str], series: Series, slot: int, value: float, **more: str) -> None:
        """Add what a slot of a series holds to the series ``name`` of its ``labels``."""
        known = {JOB: self._job, **{label: series.labels.get(label, "") for label in labels}, **more}
        last = (slot // self._slots + 1) * self._slots - 1
        self._found[name, tuple(known.items()), last] += value

    def __iter__(self) -> Iterator[Sample]:
        for (name, labels, slot), value in self._found.items():
            yield name, labels, slot, value


def samples(days_series: Iterable[Series], slot: int, job: str) -> list[Sample]:
    """Return what rules would have recorded of a day's series, whose slots have so many seconds; each series' samples by time."""
    quarters, hours, latest = (
        _Windows(job, slot, window) for window in (seconds(rules.QUARTER), seconds(rules.HOUR), slot)
    )
    for series in days_series:
        if isinstance(series, HistogramSeries):
            if series.metric in rules.SUMS:
                _add_histogram(series, quarters, hours)
        elif series.metric in rules.SUMS:
            _add_counter(series, quarters, hours)
        elif series.metric in rules.LATEST:
            for at, value in series.slots.items():
                latest.add(rules.LATEST[series.metric], series.metric.label_names, series, at, value)
    counts = {average: count for average, count, _ in _OF_HOURS.values()}
    added = {(name, labels, last): value for name, labels, last, value in hours}
    found = [*quarters, *latest]
    for (name, labels, last), value in added.items():
        # An average is recorded of what was added up so far.
        count = added[counts[name], labels, last] if name in counts else 1
        found.append((name, labels, last, value / count))
    return sorted(found)


def _add_counter(series: NumberSeries, quarters: _Windows, hours: _Windows) -> None:
    sums = rules.SUMS[series.metric]
    for slot, value in series.slots.items():
        quarters.add(sums.name(), sums.labels, series, slot, value)
        # Rules record 0 of these, as they do not appear without each other: a share of nothing is 0, and not unknown.
        for label, known in _SHARES.get(series.metric, ()):
            quarters.add(sums.name(), sums.labels, series, slot, 0, **{label.name: known})
        if series.metric is c.USAGE:
            hours.add(rules.USES_1H, rules.BY_FEATURE, series, slot, value)
            hours.add(rules.OUTCOMES_1H, rules.BY_OUTCOME, series, slot, value)
            # A feature that is used has 0 errors until it has some.
            hours.add(rules.ERRORS_1H, rules.BY_FEATURE, series, slot, 0)
            for label, known in _SHARES[c.USAGE]:
                hours.add(rules.OUTCOMES_1H, rules.BY_OUTCOME, series, slot, 0, **{label.name: known})
        elif series.metric is c.ERRORS and series.labels[c.SEVERITY.name] in rules.SEVERITIES:
            hours.add(rules.ERRORS_1H, rules.BY_FEATURE, series, slot, value)


def _add_histogram(series: HistogramSeries, quarters: _Windows, hours: _Windows) -> None:
    metric = series.metric
    sums, sign = rules.SUMS[metric], -1 if series.labels.get(c.SIGN.name) == c.SIGN.values[1] else 1
    for slot, counted in series.slots.items():
        number = sum(counted.buckets)
        quarters.add(sums.name("count"), sums.labels, series, slot, number)
        quarters.add(sums.name("sum"), sums.labels, series, slot, sign * counted.total)
        if metric in _OF_HOURS:
            average, count, labels = _OF_HOURS[metric]
            hours.add(count, labels, series, slot, number)
            hours.add(average, labels, series, slot, counted.total)
        for known, windows in ((rules.DISTRIBUTIONS, hours), (rules.SPREADS, quarters)):
            # Where one serves both, it is recorded once.
            if metric in known and not (windows is quarters and rules.SPREADS[metric] is rules.DISTRIBUTIONS[metric]):
                for bound, below in zip(_bounds(metric), accumulate(counted.buckets), strict=True):
                    each = known[metric]
                    windows.add(each.name(suffix="_bucket"), each.labels, series, slot, below, le=bound)


def _bounds(metric: Metric) -> list[str]:
    return [*map(repr, metric.buckets), "+Inf"]
