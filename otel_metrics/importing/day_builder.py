"""What a day's values are collected in until its file is written: the same series as in a live process, by time slots.

:class:`DayBuilder` takes the recorder's place, so that :class:`~otel_metrics.facade.binding.Binding` (units, labels, scales,
thresholds) is used as it is. :func:`fill` puts one day of the day files into it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from functools import partial
from hashlib import blake2b
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from otel_metrics import catalogue as c
from otel_metrics.catalogue import DayKey, Kind
from otel_metrics.importing.day_files import ROWS
from otel_metrics.importing.timestamps import MS_PER_DAY
from otel_metrics.recording.arguments import ArgumentSpec
from otel_metrics.recording.labels import Labels
from otel_metrics.recording.recorder import LARGEST
from otel_metrics.recording.rejections import Rejections
from otel_metrics.recording.sinks import Batch, SignSplit, Sink
from otel_metrics.sdk.bucket_counts import count_into

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_metrics.catalogue import Metric
    from otel_metrics.importing.day_files import TimedValues
    from otel_metrics.recording.recorder import Converter
    from otel_metrics.settings import Settings


STEPS: Final = (300, 900, 1800, 3600)
"""Seconds between two samples of a cumulative series: at most the hour that is looked back from the start of a window."""

_SAMPLES_PER_ROW: Final = 5
"""promtool takes 2 µs a sample, so that samples are what an import costs."""

_FEW: Final = 20_000

FORMAT: Final = "2"
"""Part of a day's content hash; another one for files that hold the same values in another way."""


class Counted:
    """What one slot added to a histogram."""

    __slots__ = ("buckets", "total")

    def __init__(self, width: int) -> None:
        self.buckets = [0] * width
        self.total = 0.0


class HistogramSeries(Sink):
    """One series of a histogram: per slot, how many values fell into which bucket."""

    __slots__ = ("labels", "metric", "slots")

    def __init__(self, metric: Metric, labels: Mapping[str, str]) -> None:
        self.metric = metric
        self.labels = labels
        self.slots: dict[int, Counted] = {}

    def fold(self, batch: Batch, slot: float, /) -> None:
        """Add a batch of a slot."""
        counted = self.slots.get(int(slot))
        if counted is None:
            counted = self.slots[int(slot)] = Counted(len(self.metric.buckets) + 1)
        count_into(counted.buckets, self.metric.buckets, batch.values)
        counted.total += batch.total


class NumberSeries(Sink):
    """One series of a counter (rows, or with ``total`` their sum; added up per slot) or of a gauge (the last of the slot)."""

    __slots__ = ("_total", "labels", "metric", "slots")

    def __init__(self, metric: Metric, labels: Mapping[str, str], *, total: bool = False) -> None:
        self.metric = metric
        self.labels = labels
        self.slots: dict[int, float] = {}
        self._total = total

    def fold(self, batch: Batch, slot: float, /) -> None:
        """Add a batch of a slot."""
        if self.metric.kind is Kind.GAUGE:
            self.slots[int(slot)] = batch.last
        else:
            added = batch.total if self._total else batch.n
            self.slots[int(slot)] = self.slots.get(int(slot), 0) + added


Series = HistogramSeries | NumberSeries


class DayValues(Sink):
    """Every value of the day of one row of the daily table."""

    __slots__ = ("key", "values")

    def __init__(self, key: DayKey) -> None:
        self.key = key
        self.values = array("d")

    def fold(self, batch: Batch, _slot: float, /) -> None:
        """Add a batch."""
        self.values.extend(batch.values)


class ImportBuffer:
    """What one combination of arguments is bound to, in place of a live series' buffer or call counter: one column per argument."""

    __slots__ = ("columns", "index", "rows", "seeds", "sinks")

    def __init__(
        self, index: int, columns: Sequence[ArgumentSpec], sinks: Sequence[Sequence[Sink]], rows: Sequence[Sink]
    ) -> None:
        self.index = index
        self.columns = tuple(columns)
        self.sinks = tuple(map(tuple, sinks))
        self.rows = tuple(rows)
        self.seeds: tuple[NumberSeries, ...] = ()

    def day_keys(self) -> set[DayKey]:
        """Return the rows of the daily table that the values go to."""
        return {sink.key for sinks in self.sinks for sink in sinks if isinstance(sink, DayValues)}


class CollectedRejections(Rejections):
    """Keeps what was rejected since it was last asked: (argument, reason)."""

    def __init__(self) -> None:
        super().__init__(strict=False)
        self._heard: list[tuple[str, str]] = []

    def reject(
        self, call: str, argument: str, value: object, reason: str, allowed: str, *, later: bool = False
    ) -> None:
        """Note a rejection."""
        del call, value, allowed, later
        self._heard.append((argument, reason))

    def take(self) -> list[tuple[str, str]]:
        """Return what was rejected, and forget it."""
        heard, self._heard = self._heard, []
        return heard


class DayBuilder:
    """All series of an import; filled with one day at a time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rejections = CollectedRejections()
        self.labels = Labels(settings.label_caps, settings.series_limit, self.rejections)
        self.buffers: list[ImportBuffer] = []
        self.series: dict[tuple[str, ...], Series] = {}
        self.days: dict[DayKey, DayValues] = {}
        self._seeded: list[NumberSeries] = []

    # ------------------------------------------------------------------------------------ as the recorder and its flusher

    def argument(
        self,
        call: str,
        argument: str,
        metric: Metric,
        convert: Converter | None = None,
        spelling: str = "",
        *,
        required: bool = False,
    ) -> ArgumentSpec:
        """Return how an argument becomes values of ``metric``."""
        del call, spelling, required  # a row without any value is rejected as a whole
        return ArgumentSpec(
            convert, max(metric.low, -LARGEST), min(metric.high, LARGEST), partial(self._reject, argument)
        )

    def _reject(self, argument: str, value: object, reason: str) -> None:
        self.rejections.reject("", argument, value, reason, "")

    def histogram(self, metric: Metric, attributes: Mapping[str, str]) -> tuple[Sink, ...]:
        """Return what collects one series of a histogram."""
        days: list[Sink] = []
        if metric.daily:
            key = DayKey.of(metric.daily, attributes)
            days.append(self.days.setdefault(key, DayValues(key)))
        if c.SIGN in metric.labels:
            signs = (self._histogram(metric, {**attributes, c.SIGN.name: sign}) for sign in c.SIGN.values)
            return (SignSplit(*signs), *days)
        return (self._histogram(metric, attributes), *days)

    def counter(self, metric: Metric, attributes: Mapping[str, str], *, total: bool = False) -> tuple[Sink, ...]:
        """Return what collects one series of a counter."""
        return (self._number(metric, attributes, total=total),)

    def gauge(self, metric: Metric, attributes: Mapping[str, str]) -> tuple[Sink, ...]:
        """Return what collects one series of a gauge."""
        return (self._number(metric, attributes),)

    def seed(self, metric: Metric, attributes: Mapping[str, str]) -> None:
        """Have a counter appear at zero on the days of the buffer that is being bound."""
        self._seeded.append(self._number(metric, attributes))

    info = seed

    def buffer(
        self,
        arguments: Sequence[ArgumentSpec],
        sinks: Sequence[Sequence[Sink]],
        calls: Sequence[Sink] = (),
        same_gauges: tuple[str, ...] | None = None,
    ) -> ImportBuffer:
        """Make a buffer with a column per argument."""
        del same_gauges  # rows are written in their order
        buffer = ImportBuffer(len(self.buffers), arguments, sinks, calls)
        buffer.seeds, self._seeded = tuple(self._seeded), []
        self.buffers.append(buffer)
        return buffer

    def call_counter(self, calls: Sequence[Sink]) -> ImportBuffer:
        """Make a buffer that only counts."""
        return self.buffer((), (), calls)

    # ------------------------------------------------------------------------------------------------------------ days

    def filled(self) -> Iterator[Series]:
        """Yield the series that hold anything."""
        return (series for series in self.series.values() if series.slots)

    def cardinality(self) -> dict[str, int]:
        """Return how many distinct values each label has, of those that have more than one."""
        values: dict[str, set[str]] = {}
        for series in self.series.values():
            for name in series.metric.label_names:
                values.setdefault(name, set()).add(series.labels.get(name, ""))
        return {name: len(found) for name, found in sorted(values.items()) if len(found) > 1}

    def clear(self) -> None:
        """Empty everything for the next day."""
        for series in self.series.values():
            series.slots.clear()
        for day in self.days.values():
            day.values = array("d")

    def _histogram(self, metric: Metric, attributes: Mapping[str, str]) -> HistogramSeries:
        made: Any = self.series.setdefault(_key(metric, attributes), HistogramSeries(metric, dict(attributes)))
        return made  # type: ignore[no-any-return]

    def _number(self, metric: Metric, attributes: Mapping[str, str], *, total: bool = False) -> NumberSeries:
        made: Any = self.series.setdefault(
            _key(metric, attributes), NumberSeries(metric, dict(attributes), total=total)
        )
        return made  # type: ignore[no-any-return]


def _key(metric: Metric, attributes: Mapping[str, str]) -> tuple[str, ...]:
    return (metric.name, *(str(attributes.get(name, "")) for name in metric.label_names))


def ordered(part: TimedValues) -> TimedValues:
    """Return the same values by time; equal times in the order of the rows."""
    times, values = part
    if all(map(int.__le__, times[:-1], times[1:])):
        return part
    places = sorted(range(len(times)), key=times.__getitem__)
    picked = itemgetter(*places)
    return type(times)("q", picked(times)), type(values)("d", picked(values) if values else ())


def content_hash(builder: DayBuilder, parts: Mapping[tuple[int, int], TimedValues]) -> str:
    """Return a hash of what a day holds, whatever else is in the database and in which order it was read."""
    hashes = []
    for (index, column), (times, values) in parts.items():
        one = blake2b(digest_size=16)
        one.update(repr((_name(builder.buffers[index]), column)).encode())
        one.update(times.tobytes())
        one.update(values.tobytes())
        hashes.append(one.digest())
    whole = blake2b(FORMAT.encode(), digest_size=16)
    for one_hash in sorted(hashes):
        whole.update(one_hash)
    whole.update(repr(builder.settings.satisfaction_threshold).encode())
    return whole.hexdigest()


def step(builder: DayBuilder, parts: Mapping[tuple[int, int], TimedValues]) -> int:
    """Return the finest step (seconds) at which a day's series have at most about five samples a row."""
    rows = sum(len(times) for (_, column), (times, _) in parts.items() if column in {0, ROWS})
    series = sum(_weight(builder.buffers[index]) for index in {index for index, _ in parts})
    most = max(_SAMPLES_PER_ROW * rows, _FEW)
    return next((seconds for seconds in STEPS if series * c.SECONDS_PER_DAY // seconds <= most), STEPS[-1])


def fill(builder: DayBuilder, day: int, parts: Mapping[tuple[int, int], TimedValues], seconds: int) -> None:
    """Put a day into the empty builder, in slots of ``seconds`` that are counted from its start."""
    start = day * MS_PER_DAY
    for (index, column), part in sorted(parts.items(), key=lambda item: item[0]):
        buffer = builder.buffers[index]
        for seed in buffer.seeds:
            gauge = seed.metric.kind is Kind.GAUGE
            seed.slots.setdefault(0, 1.0 if gauge else 0.0)
        sinks = buffer.rows if column == ROWS else buffer.sinks[column]
        for slot, batch in _batches(ordered(part), start, seconds * 1000):
            for sink in sinks:
                sink.fold(batch, slot)


def _batches(part: TimedValues, start: int, length: int) -> Iterator[tuple[int, Batch]]:
    times, values = part
    at, n = 0, len(times)
    while at < n:
        slot = (times[at] - start) // length
        end = bisect_left(times, start + (slot + 1) * length, at)
        inside = values[at:end]
        yield slot, Batch(sorted(inside), end - at, inside[-1] if inside else 0.0)
        at = end


def _weight(buffer: ImportBuffer) -> int:
    """Return about how many exposed series a buffer has."""
    sinks: Sequence[Sink] = [sink for column in (*buffer.sinks, buffer.rows) for sink in column]
    return sum(len(sink.metric.buckets) + 2 if isinstance(sink, HistogramSeries) else 1 for sink in sinks)


def _name(buffer: ImportBuffer) -> list[tuple[str, ...]]:
    """Return what tells a buffer apart: the series that it feeds."""
    names: list[tuple[str, ...]] = []
    for sink in (sink for column in (*buffer.sinks, buffer.rows) for sink in column):
        if isinstance(sink, (HistogramSeries, NumberSeries)):
            names.append((sink.metric.name, *map(str, sorted(sink.labels.items()))))
        else:
            names.append((type(sink).__name__, *(sink.key if isinstance(sink, DayValues) else ())))
    return names
