"""One day as OpenMetrics text with timestamps, as promtool reads it.

The day is that of a process of its own: its cumulative series begin at zero with the day, have a sample at the end of every
slot, and carry the instance id of the import and the day. So exact differences are exact here as well, days do not depend on
each other, and nothing of a live process is touched.
"""

from __future__ import annotations

from itertools import accumulate, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_metrics import catalogue as c
from otel_metrics.catalogue import Kind
from otel_metrics.exporter.text import escape_value
from otel_metrics.importing.day_builder import HistogramSeries
from otel_metrics.importing.timestamps import MS_PER_DAY
from otel_metrics.naming import series_name
from otel_metrics.promql import JOB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from otel_metrics.catalogue import DayKey, Metric
    from otel_metrics.importing.day_builder import Series
    from otel_metrics.importing.recorded_sums import Sample
    from otel_metrics.querying.statistics import Statistics

RECORDED_AT: Final = 3600
"""Seconds after the end of a day at which its row of the daily table stands: while the live rules record that day's."""

_MS: Final = 1000


class Own(NamedTuple):
    """The labels that a server would add to what it scrapes of a process; an empty one is left out."""

    service_instance_id: str
    job: str = ""


class SampleTimes:
    """The sample times of one day, as text: its start, then the last millisecond of every slot."""

    def __init__(self, day: int, seconds: int) -> None:
        start = day * MS_PER_DAY
        ends = range(start + seconds * _MS, start + MS_PER_DAY + 1, seconds * _MS)
        self.slots = len(ends)
        self.times = [_time(start), *(_time(end - 1) for end in ends)]
        self.recorded = _time(start + MS_PER_DAY + RECORDED_AT * _MS)


def lines(grid: SampleTimes, series: Iterable[Series], own: Own) -> Iterator[str]:
    """Yield the lines of the live metrics' series, each family after the other."""
    by_family = sorted(series, key=lambda row: row.metric.name)
    bound = 0
    for _, rows in groupby(by_family, key=lambda row: row.metric.name):
        group = list(rows)
        metric = group[0].metric
        yield f"# TYPE {series_name(metric).removesuffix('_total')} {metric.kind.value}\n"
        for row in group:
            bound += 1
            labels = _labels(row.labels, metric, own)
            if isinstance(row, HistogramSeries):
                yield from _histogram(grid, row, series_name(metric), labels)
            elif metric.kind is Kind.GAUGE:
                yield from _samples(f"{series_name(metric)}{{{labels}}}", *_carried(row.slots, grid))
            else:
                yield from _samples(f"{series_name(metric)}{{{labels}}}", _summed(row.slots, grid.slots), grid.times)
    if bound:
        name = series_name(c.SERIES)
        yield f"# TYPE {name} gauge\n"
        yield from _samples(f"{name}{{{_labels({}, c.SERIES, own)}}}", [bound] * len(grid.times), grid.times)


def accumulators(grid: SampleTimes, days: Iterable[tuple[DayKey, Statistics, float]], own: Own) -> Iterator[str]:
    """Yield the day totals (count, sum, sum of squares, extremes) as they stood at the end of the day."""
    found = [
        (key, {"count": known.count, "total": known.total, "squares": squares, "low": known.min, "high": known.max})
        for key, known, squares in days
    ]
    for each in c.DAILY_ACCUMULATORS:
        name = series_name(each.metric)
        yield f"# TYPE {name} gauge\n"
        for key, totals in found:
            labels = _labels({**key._asdict(), c.DAY.name: c.DAY.values[0]}, each.metric, own)
            yield f"{name}{{{labels}}} {totals[each.field] or 0.0!r} {grid.times[-1]}\n"


def recorded(grid: SampleTimes, days: Mapping[DayKey, Statistics], own: Own) -> Iterator[str]:
    """Yield the day's rows of the daily table, under the names that the recording rules give them."""
    rows = [(_text((*key._asdict().items(), (JOB, own.job))), known.columns()) for key, known in days.items()]
    for name, column in c.DAILY_TABLE.items():
        yield f"# TYPE {column.series} gauge\n"
        for labels, columns in rows:
            if name in columns:
                yield f"{column.series}{{{labels}}} {columns[name]!r} {grid.recorded}\n"


def sums(grid: SampleTimes, samples: Iterable[Sample]) -> Iterator[str]:
    """Yield what the recording rules would have made of the day's series."""
    for name, group in groupby(samples, key=itemgetter(0)):
        yield f"# TYPE {name} gauge\n"
        for labels, of_series in groupby(group, key=itemgetter(1)):
            head = f"{name}{{{_text(labels)}}}"
            yield from (f"{head} {value!r} {grid.times[slot + 1]}\n" for _, _, slot, value in of_series)


END: Final = "# EOF\n"


def _histogram(grid: SampleTimes, row: HistogramSeries, name: str, labels: str) -> Iterator[str]:
    bounds = row.metric.buckets
    slots = grid.slots
    totals = _summed({slot: counted.total for slot, counted in row.slots.items()}, slots)
    per_bucket = [[0] * (slots + 1) for _ in range(len(bounds) + 1)]
    for slot, counted in row.slots.items():
        for bucket, number in enumerate(accumulate(counted.buckets)):
            per_bucket[bucket][slot + 1] = number
    # Buckets below the smallest value stay at zero, which absent series are as well; the last of them marks where it begins.
    first = next((i for i, numbers in enumerate(per_bucket) if any(numbers)), 0)
    separator = "," if labels else ""
    for bucket in range(max(first - 1, 0), len(per_bucket)):
        bound = "+Inf" if bucket == len(bounds) else repr(bounds[bucket])
        head = f'{name}_bucket{{{labels}{separator}le="{bound}"}}'
        yield from _samples(head, accumulate(per_bucket[bucket]), grid.times)
    yield from _samples(f"{name}_count{{{labels}}}", accumulate(per_bucket[-1]), grid.times)
    yield from _samples(f"{name}_sum{{{labels}}}", totals, grid.times)


def _summed(slots: Mapping[int, float], number: int) -> list[float]:
    """Return the cumulative values: zero at the start of the day, then at the end of every slot."""
    return list(accumulate((slots.get(slot, 0) for slot in range(number)), initial=0))


def _carried(slots: Mapping[int, float], grid: SampleTimes) -> tuple[list[float], Sequence[str]]:
    """Return the values of a gauge, which keeps its value until it is set again, from its first one on."""
    first = min(slots)
    values = list(accumulate(range(first, grid.slots), lambda last, slot: slots.get(slot, last), initial=slots[first]))
    return values[1:], grid.times[first + 1 :]


def _samples(head: str, values: Iterable[float], times: Sequence[str]) -> Iterator[str]:
    return (f"{head} {value!r} {time}\n" for value, time in zip(values, times, strict=True))


def _labels(labels: Mapping[str, str], metric: Metric, own: Own) -> str:
    known = ((name, labels.get(name, "")) for name in metric.label_names)
    return _text((*known, *own._asdict().items()))


def _text(labels: Iterable[tuple[str, str]]) -> str:
    # An empty label value is an absent label.
    return ",".join(f'{name}="{escape_value(value)}"' for name, value in labels if value)


def _time(milliseconds: int) -> str:
    return f"{milliseconds // _MS}.{milliseconds % _MS:03d}"
