"""From the arguments of a documented call to its series, once per combination of arguments; after that it is a cache hit.

:class:`Binding` checks the labels and has the series made. :class:`Facade` is what both documented classes share: the caches of
what is bound, exemplars, and that no call ever breaks its caller.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from otel_metrics import catalogue as c
from otel_metrics.errors import ConfigurationError, InvalidArgumentError
from otel_metrics.facade.scales import Scales, from_one_to_five
from otel_metrics.label_text import printable
from otel_metrics.log import say
from otel_metrics.recording.arguments import as_number
from otel_metrics.recording.buffers import CallCounter, SeriesBuffer
from otel_metrics.recording.labels import RejectedCallError, given
from otel_metrics.recording.recorder import LARGEST
from otel_metrics.recording.sinks import ThresholdSplit
from otel_metrics.sdk.context import current_context, sampled
from otel_metrics.settings import SCALES
from otel_metrics.units import MILLISECONDS, UNITS, Unit, meant, unit_of, unit_of_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self, TypeVarTuple, Unpack

    from otel_metrics.catalogue import Label, Metric
    from otel_metrics.querying.source import Source
    from otel_metrics.recording.events import Events
    from otel_metrics.recording.flusher import Flusher
    from otel_metrics.recording.recorder import Converter, SeriesMaker
    from otel_metrics.recording.rejections import Rejections
    from otel_metrics.recording.sinks import Sink
    from otel_metrics.settings import Scale

    Arguments = TypeVarTuple("Arguments")

GENERAL: Final = "general"
"""The metric category of the basic collector, whose calls name none."""

_NUMBERS: Final = frozenset({float, int})

_ARGUMENTS: Final = {
    ("record_error", c.SEVERITY.name): "error_severity",
    ("record_feature_usage", c.CONTEXT.name): "user_context",
}
"""Arguments that are not called what their label is called."""

_REQUIRED: Final = frozenset({"value", "before_value", "after_value", "utilization_percent"})
"""Numbers that may not be ``None``."""

Labels = dict[str, str]

Buffer = TypeVar("Buffer")
Counter = TypeVar("Counter")
Bound = TypeVar("Bound")


class Binding(Generic[Buffer, Counter]):
    """Has the series made that record calls feed. Each method validates the labels of one call and is called on a cache miss.

    Raises:
        RejectedCallError: the call cannot be attributed to any series; it has been counted and logged.
        InvalidArgumentError: instead, in strict mode.
    """

    def __init__(self, maker: SeriesMaker[Buffer, Counter]) -> None:
        self._maker = maker
        self._buffers: dict[tuple[object, ...], Buffer] = {}
        self._counters: dict[tuple[object, ...], Counter] = {}
        self._scales: dict[tuple[object, ...], Scales[Buffer]] = {}
        self._scales_seen: dict[str, Scale | None] = {}
        self._unknown_units: set[str] = set()

    def performance(self, feature: object, category: object, name: object, unit: object, context: object) -> Buffer:
        """Bind ``record_performance_metric``; without a unit, the metric's name tells it."""
        call = "record_performance_metric"
        required = {c.FEATURE: feature, c.METRIC_CATEGORY: category, c.METRIC_NAME: name}
        measured = self._unit(call, unit) if given(unit) else unit_of_name(name if isinstance(name, str) else "")
        labels = self._labels(call, required, {c.CONTEXT: context}, {c.UNIT: measured.name})
        labels[c.METRIC_CATEGORY.name] = c.category_label(labels[c.METRIC_CATEGORY.name])
        measured = _within(labels, measured)
        key = (call, *labels.values())
        if key not in self._buffers:
            self._maker.info(c.PERFORMANCE_UNIT, _pick(c.PERFORMANCE_UNIT, labels))
        return self._buffer(key, labels, (("value", measured.metric, measured),))

    def general(self, feature: object, name: object) -> Buffer:
        """Bind the basic collector's ``record_performance_metric``."""
        return self.performance(feature, GENERAL, name, None, None)

    def learning_value(self, feature: object, name: object) -> Buffer:
        """Bind ``record_learning_metric``."""
        return self._value("record_learning_metric", c.LEARNING_VALUE, feature, name)

    def optimization_value(self, feature: object, name: object) -> Buffer:
        """Bind ``record_optimization_metric``."""
        return self._value("record_optimization_metric", c.OPTIMIZATION_VALUE, feature, name)

    def satisfaction(self, feature: object, kind: object, scale: object) -> Scales[Buffer]:
        """Bind ``record_satisfaction``."""
        call = "record_satisfaction"
        labels = self._labels(call, {c.FEATURE: feature, c.SATISFACTION_TYPE: kind})
        asked = next((known for known in SCALES if isinstance(scale, str) and known == scale), None)
        if scale is not None and asked is None:
            self._maker.rejections.reject(call, "scale", scale, "unknown", " or ".join(SCALES))
        satisfaction_type = labels[c.SATISFACTION_TYPE.name]
        # By the caller's name for it: past the label's cap it is called otherwise, and is on the same scale.
        name = str.__str__(kind) if isinstance(kind, str) else satisfaction_type
        fixed = asked or self._maker.settings.satisfaction_scales.get(name)
        key = (call, *labels.values(), fixed)
        if key not in self._scales:
            sinks = (*self._maker.histogram(c.SATISFACTION_SCORE, labels), self._satisfied(labels))
            scores = (
                self._maker.argument(call, "score", c.SATISFACTION_SCORE, None, "0-1", required=True),
                self._maker.argument(call, "score", c.SATISFACTION_SCORE, from_one_to_five, "1-5", required=True),
            )
            one, five = (self._maker.buffer((score,), (sinks,)) for score in scores)
            unknown = five
            if fixed is None:
                doubtful = self._maker.counter(c.SATISFACTION_DOUBTFUL, labels)
                unknown = self._maker.buffer((scores[1],), (sinks,), doubtful)
            self._scales[key] = Scales(one, five, unknown, fixed, satisfaction_type, self._scales_seen)
        return self._scales[key]

    def usage(self, feature: object, action: object, success: object, error_type: object, context: object) -> Buffer:
        """Bind ``record_feature_usage``."""
        call = "record_feature_usage"
        succeeded = self._flag(call, "success", success)
        outcome = "unknown" if succeeded is None else "success" if succeeded else "failure"
        required = {c.FEATURE: feature, c.ACTION: action, c.OUTCOME: outcome}
        labels = self._labels(call, required, {c.ERROR_TYPE: error_type, c.CONTEXT: context})
        key = (call, *labels.values())
        if key not in self._buffers:
            for seeded in ("success", "failure"):
                self._maker.seed(c.USAGE, {**labels, c.ERROR_TYPE.name: "", c.OUTCOME.name: seeded})
        uses = self._maker.counter(c.USAGE, labels)
        return self._buffer(key, labels, (("duration_ms", c.USAGE_DURATION, MILLISECONDS),), uses)

    def learning(self, feature: object, kind: object) -> Buffer:
        """Bind ``record_learning_effectiveness``: accuracy, confidence, improvement rate, sample size."""
        call = "record_learning_effectiveness"
        labels = self._labels(call, {c.FEATURE: feature, c.LEARNING_TYPE: kind})
        parts = (
            ("accuracy", c.LEARNING_ACCURACY, None),
            ("confidence", c.LEARNING_CONFIDENCE, None),
            ("improvement_rate", c.LEARNING_IMPROVEMENT, _one_plus),
            ("sample_size", c.LEARNING_SAMPLES, None),
        )
        return self._buffer((call, *labels.values()), labels, parts)

    def optimization(self, feature: object, identity: object, category: object) -> Buffer:
        """Bind ``record_optimization_impact``: before, after, change, user impact."""
        call = "record_optimization_impact"
        labels = self._labels(call, {c.FEATURE: feature, c.OPTIMIZATION_ID: identity, c.IMPACT_CATEGORY: category})
        parts = (
            ("before_value", c.OPTIMIZATION_BEFORE, None),
            ("after_value", c.OPTIMIZATION_AFTER, None),
            ("after_value", c.OPTIMIZATION_CHANGE, None),
            ("user_impact_score", c.OPTIMIZATION_USER_IMPACT, None),
        )
        return self._buffer((call, *labels.values()), labels, parts)

    def change(self, before: Any, after: Any) -> float | None:
        """Return after / before, or ``None`` where there is no ratio: from zero, or over a change of sign. That is rejected.

        There is none of values that are rejected themselves, either: 5 is no change to 0 from an infinite value.
        """
        try:
            if type(before) not in _NUMBERS or type(after) not in _NUMBERS:
                before, after = as_number(before), as_number(after)
                if before is None or after is None:
                    return None  # the two values themselves are rejected when they are folded
            if not (-LARGEST <= before <= LARGEST and -LARGEST <= after <= LARGEST):  # NaN is not
                return None  # as above
            change: float = after / before
        except ZeroDivisionError:
            change = -1.0
        if change < 0:
            allowed = "a value that is not zero, of the same sign as after_value"
            self._maker.rejections.reject("record_optimization_impact", "before_value", before, "ratio", allowed)
            return None
        return change

    def resource(self, kind: object, name: object, unit: object) -> Buffer:
        """Bind ``record_resource_utilization``: percent, allocated, used."""
        call = "record_resource_utilization"
        measured = self._unit(call, unit) if given(unit) else unit_of("")
        required = {c.RESOURCE_TYPE: kind, c.RESOURCE_NAME: name}
        labels = self._labels(call, required, None, {c.UNIT: measured.name})
        measured = _within(labels, measured)
        if measured.metric is c.PERFORMANCE_SIZE:
            sizes = (("allocated", c.RESOURCE_ALLOCATED, measured), ("used", c.RESOURCE_USED, measured))
        else:
            plain = Unit(measured.name, c.RESOURCE_USED_VALUE)
            sizes = (("allocated", c.RESOURCE_ALLOCATED_VALUE, plain), ("used", c.RESOURCE_USED_VALUE, plain))
        parts = (("utilization_percent", c.RESOURCE_UTILIZATION, UNITS["percent"]), *sizes)
        resource = labels[c.RESOURCE_TYPE.name], labels[c.RESOURCE_NAME.name]
        return self._buffer((call, *labels.values()), labels, parts, same_gauges=resource)

    def error(
        self,
        feature: object,
        error_type: object,
        severity: object,
        attempted: object,
        successful: object,
        impact: object,
    ) -> Counter:
        """Bind ``record_error``."""
        call = "record_error"
        required = {c.FEATURE: feature, c.ERROR_TYPE: error_type}
        known = self._maker.labels.kept(call, c.SEVERITY, severity, _ARGUMENTS[call, c.SEVERITY.name])
        recovery = self._recovery(call, attempted, successful)
        fixed = {c.SEVERITY: known, c.RECOVERY: recovery}
        labels = self._labels(call, required, {c.IMPACT_LEVEL: impact if given(impact) else "unknown"}, fixed)
        key = (call, *labels.values())
        if key not in self._counters:
            for seeded in c.RECOVERY.values:
                self._maker.seed(c.ERRORS, {**labels, c.RECOVERY.name: seeded})
            self._counters[key] = self._maker.call_counter(self._maker.counter(c.ERRORS, labels))
        return self._counters[key]

    # ------------------------------------------------------------------------------------------------- parts of these

    def _value(self, call: str, metric: Metric, feature: object, name: object) -> Buffer:
        labels = self._labels(call, {c.FEATURE: feature, c.METRIC_NAME: name})
        return self._buffer((call, *labels.values()), labels, (("value", metric, None),))

    def _labels(
        self,
        call: str,
        required: Mapping[Label, object],
        optional: Mapping[Label, object] | None = None,
        fixed: Mapping[Label, str] | None = None,
    ) -> Labels:
        """Return the label values of a series: safe, and few enough. ``fixed`` are safe already."""
        clean = self._maker.labels
        values = {
            label.name: clean.required(call, label, value, _ARGUMENTS.get((call, label.name)))
            for label, value in required.items()
        }
        for label, value in (optional or {}).items():
            values[label.name] = clean.optional(call, label, value, _ARGUMENTS.get((call, label.name)))
        values |= {label.name: value for label, value in (fixed or {}).items()}
        return clean.within(call, values)

    def _unit(self, call: str, unit: object) -> Unit:
        if isinstance(unit, str):
            known = unit_of(str.__str__(unit))
            if known.metric is not c.PERFORMANCE_VALUE:
                return known  # whatever the cap: there are few, and a time without its unit would be no time any more
        unit_label = self._maker.labels.kept(call, c.UNIT, unit)
        if unit_label not in self._unknown_units and (hint := meant(unit_label)):
            self._unknown_units.add(unit_label)
            say(logging.WARNING, "%s: unit=%r is not known; its values are kept as they are%s", call, unit_label, hint)
        return unit_of(unit_label)

    def _flag(self, call: str, argument: str, value: object) -> bool | None:
        # By equality, as 1 and True are the same key of a call cache; the old table held 0 and 1.
        if value is None:
            return None
        with suppress(Exception):  # whatever a foreign __eq__ raises, or returns that is neither true nor false
            for known in (True, False):
                if value == known:
                    return known
        self._maker.rejections.reject(call, argument, value, "type", "True, False or None")
        return None

    def _recovery(self, call: str, attempted: object, successful: object) -> str:
        tried = self._flag(call, "recovery_attempted", attempted)
        worked = self._flag(call, "recovery_successful", successful)
        if worked and not tried:
            allowed = "False unless recovery was attempted"
            self._maker.rejections.reject(call, "recovery_successful", successful, "unattempted", allowed)
        if not tried:
            return "none"
        return "succeeded" if worked else "failed"

    def _satisfied(self, labels: Labels) -> ThresholdSplit:
        yes, no = (
            self._maker.counter(c.SATISFACTION_RESPONSES, {**labels, c.SATISFIED.name: answer})
            for answer in c.SATISFIED.values
        )
        return ThresholdSplit(self._maker.settings.satisfaction_threshold, yes, no)

    def _buffer(
        self,
        key: tuple[object, ...],
        labels: Labels,
        arguments: tuple[tuple[str, Metric, Unit | Converter | None], ...],
        calls: tuple[Sink, ...] = (),
        same_gauges: tuple[str, ...] | None = None,
    ) -> Buffer:
        """Return the buffer of ``key``. ``arguments``: (name, metric, unit or conversion) of each; ``calls`` count the calls."""
        if key not in self._buffers:
            specs, sinks = [], []
            for name, metric, conversion in arguments:
                convert: Converter | None
                if isinstance(conversion, Unit):
                    convert, spelling = conversion.converter, conversion.name
                else:
                    convert, spelling = conversion, ""
                required = name in _REQUIRED and metric is not c.OPTIMIZATION_CHANGE  # which may not be there
                specs.append(self._maker.argument(str(key[0]), name, metric, convert, spelling, required=required))
                sinks.append(self._sinks(metric, _pick(metric, labels)))
            self._buffers[key] = self._maker.buffer(tuple(specs), tuple(sinks), calls, same_gauges)
        return self._buffers[key]

    def _sinks(self, metric: Metric, labels: Labels) -> tuple[Sink, ...]:
        if metric.kind is c.Kind.HISTOGRAM:
            return self._maker.histogram(metric, labels)
        if metric.kind is c.Kind.COUNTER:
            return self._maker.counter(metric, labels, total=True)
        return self._maker.gauge(metric, labels)


def _pick(metric: Metric, labels: Labels) -> Labels:
    return {name: labels[name] for name in metric.label_names if name in labels}


def _within(labels: Labels, measured: Unit) -> Unit:
    """Return the unit that ``labels`` are left with: of those past the limit only the unknown ones become ``other``."""
    if measured.metric is c.PERFORMANCE_VALUE:
        return unit_of(labels[c.UNIT.name])
    labels[c.UNIT.name] = measured.name
    return measured


def _one_plus(rates: list[float]) -> list[float]:
    return [1 + rate for rate in rates]


# --------------------------------------------------------------------------- what both documented classes have in common
CACHE_LIMIT: Final = 16_384
"""Argument combinations that one call remembers; beyond it the cache starts anew, the series stay."""

EXEMPLAR_LIMIT: Final = 50
"""Characters of an interaction id on an exemplar: OpenMetrics allows 128 for all its labels, the trace takes 61."""

LiveBinding = Binding[SeriesBuffer, CallCounter]


class Backend(NamedTuple):
    """What the documented objects record into and read from: the parts of one configuration."""

    binding: LiveBinding
    flusher: Flusher
    rejections: Rejections
    events: Events | None
    source: Source
    clock: Callable[[], float]
    timer: Callable[[], float]


class _RejectedBuffer(SeriesBuffer):
    """Swallows what is recorded."""

    __slots__ = ()

    def append(self, value: object, /) -> None:
        """Swallow a value."""

    def __iadd__(self, row: object) -> Self:  # type: ignore[misc]
        return self


REJECTED: Final[SeriesBuffer] = _RejectedBuffer((), ())
"""Takes the place of a buffer for a call that was rejected (and counted), or whose process cannot be configured."""

REJECTED_COUNT: Final = CallCounter(())
"""The same for a call that is only counted: one that nobody reads."""

REJECTED_SCORE: Final = Scales(REJECTED, REJECTED, REJECTED, "0-1", "", {})
"""The same for a score."""


class Process:
    """The process's configuration as seen from here; :mod:`otel_metrics.runtime`, which makes it, says how to get at it."""

    def __init__(self) -> None:
        self.attach: Callable[[Facade], Backend] = _no_process
        self.blank: Callable[[type[Facade]], Facade] | None = None
        """Makes what becomes a copy. It is in the module of the process's configuration, so that unpickling loads that module, too."""
        self._said = False

    def detached(self) -> None:
        """Say again if the next configuration fails."""
        self._said = False

    def failed(self, call: str, error: Exception) -> None:
        """Log why nothing is recorded, once."""
        if not self._said:
            self._said = True
            say(logging.ERROR, "%s: nothing is recorded; further calls are not logged", call, error=error)


def _no_process(_facade: Facade) -> Backend:
    raise ConfigurationError("import otel_metrics first: it says what the process's configuration is")


PROCESS: Final = Process()

_ATTACHED: Final = frozenset({"_backend", "_events", "_change", "_fold"})
"""What an object has of its backend."""


class Facade:
    """A documented class on top of a :class:`Backend`: the process's, unless another one is attached.

    The process's is made from the environment at the first use, if it has not been configured. Objects outlive
    :func:`otel_metrics.configure` and a fork: they are attached anew and forget what they had bound. A copy, also one that was
    pickled for another process, uses the process's configuration of where it is.
    """

    def __init__(self) -> None:
        self._caches: list[dict[Any, Any]] = []
        self.detach()

    def attach(self, backend: Backend) -> None:
        """Record into and read from ``backend`` from now on."""
        self._backend: Backend | None = backend
        self._events: Events | None = backend.events
        self._change: Callable[[Any, Any], float | None] = backend.binding.change
        self._fold: Callable[[SeriesBuffer], None] = backend.flusher.fold
        for cache in self._caches:
            cache.clear()

    def detach(self) -> None:
        """Use the process's configuration from the next call on."""
        self._backend = None
        self._events = None
        self._change = _no_change
        for cache in self._caches:
            cache.clear()

    def _cache(self) -> dict[tuple[object, ...], Bound]:
        """Return a new call cache, emptied whenever another backend is attached."""
        cache: dict[tuple[object, ...], Bound] = {}
        self._caches.append(cache)
        return cache

    def __reduce__(self) -> tuple[object, ...]:
        anew: dict[int, dict[Any, Any]] = {id(cache): {} for cache in self._caches}
        own = {name: anew.get(id(value), value) for name, value in vars(self).items() if name not in _ATTACHED}
        return PROCESS.blank, (type(self),), {**own, "_caches": list(anew.values())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.detach()

    def _ready(self) -> Backend:
        """Return the backend.

        Raises:
            ConfigurationError: it would be the process's, and the environment is wrong.
        """
        return self._backend or PROCESS.attach(self)

    @property
    def timer(self) -> Callable[[], float]:
        """What durations are measured with: seconds since any moment."""
        if self._backend is not None:
            return self._backend.timer
        try:
            return self._ready().timer
        except Exception:  # the environment is wrong, which the call that records will tell
            return time.perf_counter

    @property
    def _flusher(self) -> Flusher:
        return self._ready().flusher

    @property
    def _source(self) -> Source:
        return self._ready().source

    def _clock(self) -> float:
        return self._ready().clock()

    def _bind(
        self,
        cache: dict[tuple[object, ...], Bound],
        key: tuple[Unpack[Arguments]],
        make: Callable[[LiveBinding, Unpack[Arguments]], Bound],
        rejected: Bound,
    ) -> Bound:
        """Return what a method of the binding makes of ``key``, and remember it unless something of it was rejected.

        Never raises, except in strict mode; ``key`` may hold anything, also what cannot be hashed. Returns ``rejected``
        instead of a series where there is none.
        """
        try:
            backend = self._ready()
        except Exception as error:  # the environment is wrong
            PROCESS.failed(make.__name__, error)
            return rejected
        rejections, bound = backend.rejections, rejected
        before = rejections.total
        try:
            bound = make(backend.binding, *key)
            if rejections.total == before:
                if len(cache) >= CACHE_LIMIT:
                    cache.clear()
                cache[key] = bound
            if backend is not self._backend:  # configured anew meanwhile: what was bound belongs to the past
                cache.pop(key, None)
                return self._bind(cache, key, make, rejected)
        except InvalidArgumentError:
            raise
        except RejectedCallError:
            pass  # it has been counted and logged
        except Exception:
            rejections.failed(make.__name__)
        return bound

    def _offered(self, buffer: SeriesBuffer, row: tuple[Any, ...], interaction_id: str | None = None) -> bool:
        """Record ``row`` at once if it belongs to a sampled span or an interaction: as an exemplar it keeps that id.

        Once a second and series: a scrape has no use for more, and recording at once costs what naive calls cost.
        """
        backend = self._backend
        if buffer is REJECTED or backend is None:
            return True
        flusher = backend.flusher
        if buffer.offered == flusher.epoch:
            return False
        context = sampled()
        if context is None and interaction_id is None:
            return False
        buffer.admit(row)
        extra = None
        if isinstance(interaction_id, str):
            extra = {"interaction_id": printable(interaction_id[:EXEMPLAR_LIMIT])}
        flusher.record(buffer, row, context or current_context(), extra)
        return True

    def _offered_hit(self, call_counter: CallCounter) -> bool:
        """Count a call at once if it belongs to a sampled span, as :meth:`_offered` does."""
        backend = self._backend
        if call_counter is REJECTED_COUNT or backend is None:
            return True
        if call_counter.offered == backend.flusher.epoch or (context := sampled()) is None:
            return False
        backend.flusher.hit(call_counter, context)
        return True


def _no_change(_before: object, _after: object) -> None:
    """Return no ratio: nothing is recorded."""
