"""Binds a catalogue row and its label values to everything that keeps the row's values: one series, three sinks.

An :class:`Outlet` (what is exported: OpenTelemetry's instruments, or the totals that all processes share), the day totals
(the daily table), the local store (``get_*``; not where only a server answers them). A series is bound once; after that a
record call touches nothing of this module.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from functools import partial
from threading import RLock
from time import time
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Observation

from otel_metrics import catalogue
from otel_metrics.catalogue import DayKey, Kind
from otel_metrics.forks import Part, renew_after_fork
from otel_metrics.naming import METER_NAME
from otel_metrics.recording.arguments import ArgumentSpec
from otel_metrics.recording.day_totals import FIELDS, Days
from otel_metrics.recording.flusher import Flusher
from otel_metrics.recording.labels import Labels
from otel_metrics.recording.local_store import LocalStore
from otel_metrics.recording.rejections import Counts, Rejections
from otel_metrics.recording.shared_store import SharedStore
from otel_metrics.recording.sinks import CounterSink, GaugeSink, HistogramSink, SignSplit
from otel_metrics.sdk import observed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider

    from otel_metrics.catalogue import Metric
    from otel_metrics.recording.buffers import CallCounter, SeriesBuffer
    from otel_metrics.recording.day_totals import Totals
    from otel_metrics.recording.shared import SharedSinks
    from otel_metrics.recording.sinks import Sink
    from otel_metrics.settings import Settings


LARGEST: Final = 1e100
"""Larger values are rejected: their squares, or the sum of a few, would be infinite for ever after."""

Attributes = dict[str, str]

if TYPE_CHECKING:
    Converter = Callable[[list[float]], list[float]]

Buffer_co = TypeVar("Buffer_co", covariant=True)
Counter_co = TypeVar("Counter_co", covariant=True)


class SeriesMaker(Protocol[Buffer_co, Counter_co]):
    """Makes series for the record calls: the :class:`Recorder` in a live process, the builder of a day in an import."""

    @property
    def settings(self) -> Settings:
        """The configuration."""

    @property
    def rejections(self) -> Rejections:
        """What is told about input that is not taken."""

    @property
    def labels(self) -> Labels:
        """What cleans label values and bounds how many there are."""

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
        """Return how ``argument`` of ``call`` becomes values of ``metric``; ``spelling`` tells units apart."""

    def histogram(self, metric: Metric, attributes: Attributes) -> tuple[Sink, ...]:
        """Return the sinks of one series of a histogram."""

    def counter(self, metric: Metric, attributes: Attributes, *, total: bool = False) -> tuple[Sink, ...]:
        """Return the sinks of one series of a counter: of calls, or (``total``) of the sum of values."""

    def gauge(self, metric: Metric, attributes: Attributes) -> tuple[Sink, ...]:
        """Return the sinks of one series of a gauge."""

    def seed(self, metric: Metric, attributes: Attributes) -> None:
        """Have one series of a counter appear at zero, so that its first increment is seen as one."""

    def info(self, metric: Metric, attributes: Attributes) -> None:
        """Set one series of an info metric, a gauge that is always 1 and carries its meaning in its labels."""

    def buffer(
        self,
        arguments: tuple[ArgumentSpec, ...],
        sinks: Sequence[Sequence[Sink]],
        calls: Sequence[Sink] = (),
        same_gauges: tuple[str, ...] | None = None,
    ) -> Buffer_co:
        """Make the buffer of a series: per argument its sinks, and sinks that count the calls.

        Buffers with equal ``same_gauges`` set the same gauges.
        """

    def call_counter(self, calls: Sequence[Sink]) -> Counter_co:
        """Make what only counts calls."""


class Outlet(Protocol):
    """Makes the sinks through which the values of a series leave the process."""

    def histogram(self, metric: Metric, attributes: Attributes) -> Sink:
        """Return the sink of one series of a histogram."""

    def counter(self, metric: Metric, attributes: Attributes, *, total: bool = False) -> Sink:
        """Return the sink of one series of a counter: of rows, or (``total``) of the sum of values."""

    def gauge(self, metric: Metric, attributes: Attributes) -> Sink:
        """Return the sink of one series of a gauge."""

    def day(self, key: DayKey) -> Sink:
        """Return the sink of one row of the daily table."""

    def info(self, metric: Metric, attributes: Attributes, now: float) -> None:
        """Set one series of an info metric."""


class Instruments:
    """OpenTelemetry's instruments, whose readers see this process alone: an :class:`Outlet`."""

    def __init__(self, meter: Meter, state: _MeterState) -> None:
        self._meter = meter
        self._lock = RLock()
        self._made: dict[str, Any] = {}
        self._state = state
        self.day = state.days.sink

    def histogram(self, metric: Metric, attributes: Attributes) -> Sink:
        """Return the sink of one series of a histogram."""
        return HistogramSink(self._instrument(metric), attributes)

    def counter(self, metric: Metric, attributes: Attributes, *, total: bool = False) -> Sink:
        """Return the sink of one series of a counter."""
        return CounterSink(self._instrument(metric), attributes, total=total)

    def gauge(self, metric: Metric, attributes: Attributes) -> Sink:
        """Return the sink of one series of a gauge."""
        return GaugeSink(self._instrument(metric), attributes)

    def info(self, metric: Metric, attributes: Attributes, _: float) -> None:
        """Set one series of an info metric."""
        self._state.infos[metric].setdefault(tuple(attributes.values()), attributes)

    def _instrument(self, metric: Metric) -> Any:
        with self._lock:
            found = self._made.get(metric.name)
            if found is None:
                found = self._made[metric.name] = self._create(metric)
            return found

    def _create(self, metric: Metric) -> Any:
        if metric.kind is Kind.COUNTER:
            return self._meter.create_counter(metric.name, metric.unit, metric.description)
        if metric.kind is Kind.GAUGE:
            return self._meter.create_gauge(metric.name, metric.unit, metric.description)
        return self._meter.create_histogram(
            metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.buckets
        )


class Recorder:
    """All series of one process and one meter provider: a :class:`SeriesMaker`.

    Args:
        provider: whose instruments are recorded into.
        settings: the configuration.
        version: of this package.
        shared: what goes to the totals that all processes share. Instruments are only fed then where OTLP pushes them.
    """

    def __init__(
        self, provider: MeterProvider, settings: Settings, version: str, shared: SharedSinks | None = None
    ) -> None:
        self.settings = settings
        self._meter = provider.get_meter(METER_NAME, version)
        self._shared = _states.get(self._meter) or _MeterState()
        self.rejections = Rejections(strict=settings.strict, counts=self._shared.rejected)
        self.labels = Labels(settings.label_caps, settings.series_limit, self.rejections, self._shared.overflowed)
        self.local_store = LocalStore(settings.clock, emptied=shared is not None)
        # Where a server answers, values are not kept here as well: that would be a third of a call and half of a series.
        self._local = settings.keeps_values
        share = None if shared is None else self._share
        self.flusher = Flusher(self._meter, settings.clock, 1.0, self.rejections, share)
        self._lock = RLock()
        self._arguments: dict[tuple[object, ...], ArgumentSpec] = {}
        self._same_gauges: dict[tuple[str, ...], list[SeriesBuffer]] = {}
        self._shared_sinks = shared
        self.shared_store = None if shared is None else SharedStore(shared.totals, self.local_store)
        self._outlets: list[Outlet] = [] if shared is None else [shared]
        if shared is None or (settings.otlp is not None and not settings.pushes_for_all):
            self._outlets.append(Instruments(self._meter, self._shared))
        self._gauges: dict[tuple[str, ...], list[Sink]] = {}
        if self._meter not in _states:
            _states[self._meter] = self._shared
            # Made, and so asked, after the flusher's hook, which hands over. A provider of the application's own may have views.
            _observe(self._meter, self._shared, viewed=settings.meter_provider is not None)
        self._shared.recorders.append(self)

    def close(self) -> None:
        """Hand over what is pending. On a provider of the application's own, the last one is observed on and on."""
        self.flusher.close()
        recorders = self._shared.recorders
        if self in recorders and (len(recorders) > 1 or self.settings.meter_provider is None):
            recorders.remove(self)

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
        """Return how ``argument`` of ``call`` becomes values of ``metric``; shared by all series (``spelling`` tells units apart)."""
        key = (call, argument, metric.name, spelling)
        with self._lock:
            found = self._arguments.get(key)
            if found is None:
                bounds = max(metric.low, -LARGEST), min(metric.high, LARGEST)
                reject = partial(self._reject, call, argument, _allowed(*bounds, convert))
                found = self._arguments[key] = ArgumentSpec(
                    convert, *bounds, reject, latest=metric.kind is Kind.GAUGE, required=required
                )
            return found

    def histogram(self, metric: Metric, attributes: Attributes) -> tuple[Sink, ...]:
        """Return the sinks of one series of a histogram."""
        sinks: list[Sink] = []
        for outlet in self._outlets:
            if catalogue.SIGN in metric.labels:
                signs = (
                    outlet.histogram(metric, {**attributes, catalogue.SIGN.name: s}) for s in catalogue.SIGN.values
                )
                sinks.append(SignSplit(*signs))
            else:
                sinks.append(outlet.histogram(metric, attributes))
        if self._local:
            sinks.append(self.local_store.histogram(metric, attributes))
        if metric.daily:
            key = DayKey.of(metric.daily, attributes)
            sinks += [outlet.day(key) for outlet in self._outlets]
        return tuple(sinks)

    def counter(self, metric: Metric, attributes: Attributes, *, total: bool = False) -> tuple[Sink, ...]:
        """Return the sinks of one series of a counter: of rows, or (``total``) of the sum of values."""
        sinks: list[Sink] = [outlet.counter(metric, attributes, total=total) for outlet in self._outlets]
        if self._local:
            sinks.append(self.local_store.counter(metric, attributes, total=total))
        return tuple(sinks)

    def gauge(self, metric: Metric, attributes: Attributes) -> tuple[Sink, ...]:
        """Return the sinks of one series of a gauge: the same for all buffers that set it, or an older value could win."""
        key = (metric.name, *attributes.values())
        with self._lock:
            sinks = self._gauges.setdefault(key, [outlet.gauge(metric, attributes) for outlet in self._outlets])
        return (*sinks, self.local_store.gauge(metric, attributes)) if self._local else tuple(sinks)

    def buffer(
        self,
        arguments: tuple[ArgumentSpec, ...],
        sinks: Sequence[Sequence[Sink]],
        calls: Sequence[Sink] = (),
        same_gauges: tuple[str, ...] | None = None,
    ) -> SeriesBuffer:
        """Make the buffer of a series; those that set the same gauges know which of them was recorded to last."""
        buffer = self.flusher.buffer(arguments, sinks, calls)
        _seed(buffer)
        if same_gauges is not None:
            buffer.same_gauges = self._same_gauges.setdefault(same_gauges, [buffer])
            buffer.same_gauges.append(buffer)
        return buffer

    def call_counter(self, calls: Sequence[Sink]) -> CallCounter:
        """Make what only counts calls."""
        counter = self.flusher.call_counter(calls)
        _seed(counter)
        return counter

    def seed(self, metric: Metric, attributes: Attributes) -> None:
        """Have one series of a counter appear at zero with the next collection, so that its first increment is seen as one."""
        self.flusher.hand_over([outlet.counter(metric, attributes) for outlet in self._outlets])

    def info(self, metric: Metric, attributes: Attributes) -> None:
        """Set one series of an info metric, a gauge that is always 1 and carries its meaning in its labels."""
        now = self.settings.clock()
        for outlet in self._outlets:
            outlet.info(metric, attributes, now)
        if self._local:
            self.local_store.gauge(metric, attributes).set(1.0, now)

    def _reject(self, call: str, argument: str, allowed: str, value: object, reason: str) -> None:
        self.rejections.reject(call, argument, value, reason, allowed, later=True)  # the flusher's lock is held

    def share(self, figures: Mapping[Metric, float]) -> None:
        """Have all processes see what this one has recorded, and ``figures``: what it has counted so far, and its gauges."""
        if self._shared_sinks is not None:
            for metric, value in figures.items():
                self._shared_sinks.observed(metric, {}, value, self.settings.clock())
        self.flusher.flush()

    def _share(self, now: float) -> None:
        """Have all processes see what was recorded, and what a reader would observe."""
        if self._shared_sinks is not None:
            for metric, observe in _COUNTED.items():
                for each in observe(self):
                    self._shared_sinks.observed(metric, cast("Attributes", each.attributes), each.value, now)
            self._shared_sinks.share(now)
        if self.shared_store is not None:
            self.shared_store.hand_over()

    def rejected(self) -> Iterable[Observation]:
        """Yield how many arguments were rejected."""
        names = catalogue.REJECTED.label_names
        for values, count in self.rejections.counts().items():
            yield Observation(count, dict(zip(names, values, strict=True)))

    def overflowed(self) -> Iterable[Observation]:
        """Yield how often a label was past its cap."""
        for label, count in self.labels.overflow().items():
            yield Observation(count, {catalogue.LABEL.name: label})

    def series_count(self) -> Iterable[Observation]:
        """Yield how many series record calls are bound to."""
        yield Observation(self.labels.series())


# --------------------------------------------------- observed when a reader collects, per meter, as it makes each name once
class _MeterState:
    """All recorders of one meter, and what they add up together.

    For a provider of the application's own that goes on when we are configured anew: counters only go up, the day is not over.
    """

    def __init__(self) -> None:
        self.recorders: list[Recorder] = []
        self.begin()

    def begin(self) -> None:
        """Keep nothing yet, as in a forked child: its parent's totals are not its own, and the parent's locks may be held."""
        self.recorders.clear()
        self.days = Days(self._now)
        self.infos: dict[Metric, dict[tuple[str, ...], Attributes]] = {metric: {} for metric in _INFOS}
        self.rejected: Counts[tuple[str, str]] = Counts()
        self.overflowed: Counts[str] = Counts()

    def day_series(self) -> observed.ObservedSeries[Totals]:
        """Return the days that are exposed."""
        exposed: list[Mapping[str, str]] = []
        found: list[Totals] = []
        # No list of pairs: so many would bring on the garbage collector.
        for attributes, totals in self.days.observations():
            exposed.append(attributes)
            found.append(totals)
        return observed.ObservedSeries(exposed, found)

    def info_series(self, metric: Metric) -> observed.ObservedSeries[Attributes]:
        """Return the series of an info metric."""
        found = list(self.infos[metric].values())
        return observed.ObservedSeries(found, found)

    def _now(self) -> float:
        last = self.recorders[-1:]  # it may be closed meanwhile
        return last[0].settings.clock() if last else time()


_states: Final[WeakKeyDictionary[Meter, _MeterState]] = WeakKeyDictionary()

_SDK: Final = "opentelemetry.sdk.metrics"
"""Whose modules hold its locks."""

_INFOS: Final = (catalogue.PERFORMANCE_UNIT,)

_DAILY: Final = {each.metric: FIELDS[each.field] for each in catalogue.DAILY_ACCUMULATORS}

_COUNTED: Final[dict[Metric, Callable[[Recorder], Iterable[Observation]]]] = {
    catalogue.REJECTED: lambda recorder: recorder.rejected(),
    catalogue.LABEL_OVERFLOW: lambda recorder: recorder.overflowed(),
    catalogue.SERIES: lambda recorder: recorder.series_count(),
}


def _observe(meter: Meter, state: _MeterState, *, viewed: bool) -> None:
    observed.observe(meter, _DAILY, state.day_series, viewed=viewed)
    for metric in _INFOS:
        observed.observe(meter, {metric: lambda _: 1.0}, partial(state.info_series, metric), viewed=viewed)
    for metric, observe in _COUNTED.items():
        counts = metric.kind is Kind.COUNTER
        create = meter.create_observable_counter if counts else meter.create_observable_gauge
        create(metric.name, [partial(_observations, state.recorders, observe)], metric.unit, metric.description)


def _observations(
    recorders: list[Recorder], observe: Callable[[Recorder], Iterable[Observation]], _options: CallbackOptions
) -> Iterable[Observation]:
    return observe(recorders[-1]) if recorders else ()


def _seed(buffer: SeriesBuffer | CallCounter) -> None:
    """Make the counters of a series begin now.

    One that begins in a scrape has begun after the scrape's time, and servers do not count what it counted before. Another thread
    would hold the SDK's locks when the process forks right after its first call.

    Not in what the SDK has called, or has been interrupted by: it would wait for ever for a lock that its own thread holds. The next
    collection makes them begin then.
    """
    if _is_within_sdk():
        return
    for sink in buffer.all_sinks():
        with suppress(Exception):  # of the application's exemplar filter; the next collection tries again
            sink.seed()


def _is_within_sdk() -> bool:
    """Return whether this thread is at work in the SDK: below a signal handler, a log handler, a ``__del__`` or foreign code."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_SDK):
            return True
        frame = frame.f_back
    return False


def _after_fork_in_child() -> None:
    for state in _states.values():
        state.begin()


renew_after_fork(Part.TOTALS, _after_fork_in_child)


def _allowed(low: float, high: float, convert: Converter | None) -> str:
    """Return what is admissible in words, in the caller's unit: as it is before ``convert``, which is linear."""
    form = "a number from {:g} to {:g}" if high < LARGEST else "a finite number of at least {:g}, at most {:g}"
    if convert is not None:
        zero, one = convert([0.0, 1.0])
        low, high = ((bound - zero) / (one - zero) for bound in (low, high))
    return form.format(low, high)
