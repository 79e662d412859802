"""What a day's rows are kept in until its file is written: the same sinks' places as in a live process, by time slots.

:class:`Keepers` stands in for the live recorder, so that :class:`~otel_metrics.facade.binding.Binding` (units, labels, scales,
thresholds) is used as it is.
"""

from __future__ import annotations

from array import array
from functools import partial
from typing import TYPE_CHECKING, Any

from otel_metrics import catalogue as c
from otel_metrics.catalogue import DayKey, Kind
from otel_metrics.recording.arguments import ArgumentSpec
from otel_metrics.recording.labels import Labels
from otel_metrics.recording.recorder import LARGEST
from otel_metrics.recording.rejections import Rejections
from otel_metrics.recording.sinks import SignSplit, Sink
from otel_metrics.sdk.bucket_counts import count_into

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_metrics.catalogue import Metric
    from otel_metrics.recording.sinks import Batch
    from otel_metrics.settings import Settings

    Converter = Callable[[list[float]], list[float]]


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


class DayValues(Sink):
    """Every value of the day of one row of the daily table."""

    __slots__ = ("key", "values")

    def __init__(self, key: DayKey) -> None:
        self.key = key
        self.values = array("d")

    def fold(self, batch: Batch, _slot: float, /) -> None:
        """Add a batch."""
        self.values.extend(batch.values)


class Bundle:
    """What one combination of arguments is bound to; in place of a buffer or a call_counter."""

    __slots__ = ("columns", "index", "rows", "seeds", "sinks", "turns")

    def __init__(
        self, index: int, columns: Sequence[ArgumentSpec], sinks: Sequence[Sequence[Sink]], rows: Sequence[Sink]
    ) -> None:
        self.index = index
        self.columns = tuple(columns)
        self.sinks = tuple(map(tuple, sinks))
        self.rows = tuple(rows)
        self.seeds: tuple[NumberSeries, ...] = ()


class Heard(Rejections):
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


class Keepers:
    """All series of an import; filled with one day at a time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rejections = Heard()
        self.labels = Labels(settings.label_caps, settings.series_limit, self.rejections)
        self.flusher = self
        self.bundles: list[Bundle] = []
        self.series: dict[tuple[str, ...], HistogramSeries | NumberSeries] = {}
        self.days: dict[DayKey, DayValues] = {}
        self._seeded: list[NumberSeries] = []

    # ------------------------------------------------------------------------------------ as the recorder and its flusher

    def column(
        self, call: str, argument: str, metric: Metric, convert: Converter | None = None, spelling: str = ""
    ) -> ArgumentSpec:
        """Return how an argument becomes values of ``metric``."""
        del call, spelling
        return ArgumentSpec(
            convert, max(metric.low, -LARGEST), min(metric.high, LARGEST), partial(self._reject, argument)
        )

    def _reject(self, argument: str, value: object, reason: str) -> None:
        self.rejections.reject("", argument, value, reason, "")

    def histogram(self, metric: Metric, attributes: Mapping[str, str]) -> tuple[Sink, ...]:
        """Return the keepers of one series of a histogram."""
        days: list[Sink] = []
        if metric.daily:
            key = DayKey.of(metric.daily, attributes)
            days.append(self.days.setdefault(key, DayValues(key)))
        if c.SIGN in metric.labels:
            signs = (self._histogram(metric, {**attributes, c.SIGN.name: sign}) for sign in c.SIGN.values)
            return (SignSplit(*signs), *days)
        return (self._histogram(metric, attributes), *days)

    def counter(self, metric: Metric, attributes: Mapping[str, str], *, total: bool = False) -> tuple[Sink, ...]:
        """Return the keeper of one series of a counter."""
        return (self._number(metric, attributes, total=total),)

    def gauge(self, metric: Metric, attributes: Mapping[str, str]) -> tuple[Sink, ...]:
        """Return the keeper of one series of a gauge."""
        return (self._number(metric, attributes),)

    def seed(self, metric: Metric, attributes: Mapping[str, str]) -> None:
        """Have a counter appear at zero on the days of the bundle that is being bound."""
        self._seeded.append(self._number(metric, attributes))

    info = seed

    def buffer(
        self, columns: Sequence[ArgumentSpec], sinks: Sequence[Sequence[Sink]], rows: Sequence[Sink] = ()
    ) -> Bundle:
        """Make a bundle of columns."""
        bundle = Bundle(len(self.bundles), columns, sinks, rows)
        bundle.seeds, self._seeded = tuple(self._seeded), []
        self.bundles.append(bundle)
        return bundle

    def call_counter(self, rows: Sequence[Sink]) -> Bundle:
        """Make a bundle that only counts."""
        return self.buffer((), (), rows)

    # ------------------------------------------------------------------------------------------------------------ days

    def forget_seeds(self) -> None:
        """Forget seeds that no bundle was made for: the one that had them exists already."""
        self._seeded.clear()

    def filled(self) -> Iterator[HistogramSeries | NumberSeries]:
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
