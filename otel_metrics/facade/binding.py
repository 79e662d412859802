"""From the arguments of a documented call to its series, once per combination of arguments; after that it is a cache hit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from otel_metrics import catalogue as c
from otel_metrics.facade.scales import Scales, from_one_to_five
from otel_metrics.recording.arguments import as_number
from otel_metrics.recording.recorder import LARGEST
from otel_metrics.recording.sinks import ThresholdSplit
from otel_metrics.settings import SCALES
from otel_metrics.units import MILLISECONDS, UNITS, Unit, unit_of, unit_of_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_metrics.catalogue import Label, Metric
    from otel_metrics.recording.buffers import CallCounter, SeriesBuffer
    from otel_metrics.recording.recorder import Recorder
    from otel_metrics.recording.sinks import Sink
    from otel_metrics.settings import Scale

GENERAL: Final = "general"
"""The metric category of the basic collector, whose calls name none."""

_NUMBERS: Final = frozenset({float, int})

_ARGUMENTS: Final = {
    ("record_error", c.SEVERITY.name): "error_severity",
    ("record_feature_usage", c.CONTEXT.name): "user_context",
}
"""Arguments that are not called what their label is called."""

Labels = dict[str, str]


class Binding:
    """Makes the buffers that record calls append to. Each method validates the labels of one call and is called on a cache miss.

    Raises:
        RejectedCallError: the call cannot be attributed to any series; it has been counted and logged.
        InvalidArgumentError: instead, in strict mode.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._buffers: dict[tuple[object, ...], Any] = {}
        self._scales_seen: dict[str, Scale] = {}
        self._turns: dict[tuple[str, ...], list[SeriesBuffer]] = {}

    def performance(
        self, feature: object, category: object, name: object, unit: object, context: object
    ) -> SeriesBuffer:
        """Bind ``record_performance_metric``; without a unit, the metric's name tells it."""
        call = "record_performance_metric"
        required = {c.FEATURE: feature, c.METRIC_CATEGORY: category, c.METRIC_NAME: name}
        measured = self._unit(call, unit) if unit else unit_of_name(name if isinstance(name, str) else "")
        labels = self._labels(call, required, {c.CONTEXT: context}, {c.UNIT: measured.name})
        labels[c.METRIC_CATEGORY.name] = c.category_label(labels[c.METRIC_CATEGORY.name])
        measured = _within(labels, measured)
        key = (call, *labels.values())
        if key not in self._buffers:
            self._recorder.info(c.PERFORMANCE_UNIT, _pick(c.PERFORMANCE_UNIT, labels))
        return self._buffer(key, labels, (("value", measured.metric, measured),))

    def general(self, feature: object, name: object) -> SeriesBuffer:
        """Bind the basic collector's ``record_performance_metric``."""
        return self.performance(feature, GENERAL, name, None, None)

    def learning_value(self, feature: object, name: object) -> SeriesBuffer:
        """Bind ``record_learning_metric``."""
        return self._value("record_learning_metric", c.LEARNING_VALUE, feature, name)

    def optimization_value(self, feature: object, name: object) -> SeriesBuffer:
        """Bind ``record_optimization_metric``."""
        return self._value("record_optimization_metric", c.OPTIMIZATION_VALUE, feature, name)

    def satisfaction(self, feature: object, kind: object, scale: object) -> Scales:
        """Bind ``record_satisfaction``."""
        call = "record_satisfaction"
        labels = self._labels(call, {c.FEATURE: feature, c.SATISFACTION_TYPE: kind})
        if scale is not None and scale not in SCALES:
            self._recorder.rejections.reject(call, "scale", scale, "unknown", " or ".join(SCALES))
            scale = None
        satisfaction_type = labels[c.SATISFACTION_TYPE.name]
        # By the caller's name for it: past the label's cap it is called otherwise, and is on the same scale.
        fixed = scale or self._recorder.settings.satisfaction_scales.get(str.__str__(cast("str", kind)))
        key = (call, *labels.values(), fixed)
        if key not in self._buffers:
            sinks = (*self._recorder.histogram(c.SATISFACTION_SCORE, labels), self._satisfied(labels))
            columns = (
                self._recorder.column(call, "score", c.SATISFACTION_SCORE, None, "0-1"),
                self._recorder.column(call, "score", c.SATISFACTION_SCORE, from_one_to_five, "1-5"),
            )
            one, five = (self._recorder.flusher.buffer((column,), (sinks,)) for column in columns)
            self._buffers[key] = Scales(one, five, fixed, satisfaction_type, self._scales_seen)
        return cast("Scales", self._buffers[key])

    def usage(
        self, feature: object, action: object, success: object, error_type: object, context: object
    ) -> SeriesBuffer:
        """Bind ``record_feature_usage``."""
        call = "record_feature_usage"
        succeeded = self._flag(call, "success", success)
        outcome = "unknown" if succeeded is None else "success" if succeeded else "failure"
        required = {c.FEATURE: feature, c.ACTION: action, c.OUTCOME: outcome}
        labels = self._labels(call, required, {c.ERROR_TYPE: error_type, c.CONTEXT: context})
        for seeded in ("success", "failure"):
            self._recorder.seed(c.USAGE, {**labels, c.ERROR_TYPE.name: "", c.OUTCOME.name: seeded})
        rows = self._recorder.counter(c.USAGE, labels)
        return self._buffer((call, *labels.values()), labels, (("duration_ms", c.USAGE_DURATION, MILLISECONDS),), rows)

    def learning(self, feature: object, kind: object) -> SeriesBuffer:
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

    def optimization(self, feature: object, identity: object, category: object) -> SeriesBuffer:
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
                    return None  # the columns of the two values reject what is wrong
            if not (-LARGEST <= before <= LARGEST and -LARGEST <= after <= LARGEST):  # NaN is not
                return None  # as above
            change: float = after / before
        except ZeroDivisionError:
            change = -1.0
        if change < 0:
            allowed = "a value that is not zero, of the same sign as after_value"
            self._recorder.rejections.reject("record_optimization_impact", "before_value", before, "ratio", allowed)
            return None
        return change

    def resource(self, kind: object, name: object, unit: object) -> SeriesBuffer:
        """Bind ``record_resource_utilization``: percent, allocated, used."""
        call = "record_resource_utilization"
        measured = self._unit(call, unit) if unit else unit_of("")
        required = {c.RESOURCE_TYPE: kind, c.RESOURCE_NAME: name}
        labels = self._labels(call, required, None, {c.UNIT: measured.name})
        measured = _within(labels, measured)
        if measured.metric is c.PERFORMANCE_SIZE:
            sizes = (("allocated", c.RESOURCE_ALLOCATED, measured), ("used", c.RESOURCE_USED, measured))
        else:
            plain = Unit(measured.name, c.RESOURCE_USED_VALUE)
            sizes = (("allocated", c.RESOURCE_ALLOCATED_VALUE, plain), ("used", c.RESOURCE_USED_VALUE, plain))
        parts = (("utilization_percent", c.RESOURCE_UTILIZATION, UNITS["percent"]), *sizes)
        buffer = self._buffer((call, *labels.values()), labels, parts)
        return self._taking_turns(buffer, (labels[c.RESOURCE_TYPE.name], labels[c.RESOURCE_NAME.name]))

    def error(
        self,
        feature: object,
        error_type: object,
        severity: object,
        attempted: object,
        successful: object,
        impact: object,
    ) -> CallCounter:
        """Bind ``record_error``."""
        call = "record_error"
        required = {c.FEATURE: feature, c.ERROR_TYPE: error_type}
        known = self._recorder.labels.kept(call, c.SEVERITY, severity, _ARGUMENTS[call, c.SEVERITY.name])
        recovery = self._recovery(call, attempted, successful)
        fixed = {c.SEVERITY: known, c.RECOVERY: recovery}
        labels = self._labels(call, required, {c.IMPACT_LEVEL: impact or "unknown"}, fixed)
        key = (call, *labels.values())
        if key not in self._buffers:
            for seeded in c.RECOVERY.values:
                self._recorder.seed(c.ERRORS, {**labels, c.RECOVERY.name: seeded})
            self._buffers[key] = self._recorder.flusher.call_counter(self._recorder.counter(c.ERRORS, labels))
        return cast("CallCounter", self._buffers[key])

    # ------------------------------------------------------------------------------------------------- parts of these

    def _value(self, call: str, metric: Metric, feature: object, name: object) -> SeriesBuffer:
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
        clean = self._recorder.labels
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
        return unit_of(self._recorder.labels.required(call, c.UNIT, unit))

    def _flag(self, call: str, argument: str, value: object) -> bool | None:
        # By equality, as 1 and True are the same key of a call cache; the old table held 0 and 1.
        for known in (None, True, False):
            if value is known or value == known:
                return known
        self._recorder.rejections.reject(call, argument, value, "type", "True, False or None")
        return None

    def _recovery(self, call: str, attempted: object, successful: object) -> str:
        tried = self._flag(call, "recovery_attempted", attempted)
        worked = self._flag(call, "recovery_successful", successful)
        if worked and not tried:
            allowed = "False unless recovery was attempted"
            self._recorder.rejections.reject(call, "recovery_successful", successful, "unattempted", allowed)
        if not tried:
            return "none"
        return "succeeded" if worked else "failed"

    def _satisfied(self, labels: Labels) -> ThresholdSplit:
        yes, no = (
            self._recorder.counter(c.SATISFACTION_RESPONSES, {**labels, c.SATISFIED.name: answer})
            for answer in c.SATISFIED.values
        )
        return ThresholdSplit(self._recorder.settings.satisfaction_threshold, yes, no)

    def _buffer(
        self,
        key: tuple[object, ...],
        labels: Labels,
        parts: tuple[tuple[str, Metric, Any], ...],
        rows: tuple[Sink, ...] = (),
    ) -> SeriesBuffer:
        """Return the buffer of ``key``, one column per part: (argument, metric, unit or conversion)."""
        if key not in self._buffers:
            columns, sinks = [], []
            for argument, metric, conversion in parts:
                measured = isinstance(conversion, Unit)
                convert, spelling = (conversion.converter, conversion.name) if measured else (conversion, "")
                columns.append(self._recorder.column(str(key[0]), argument, metric, convert, spelling))
                sinks.append(self._keepers(metric, _pick(metric, labels)))
            self._buffers[key] = self._recorder.flusher.buffer(tuple(columns), tuple(sinks), rows)
        return cast("SeriesBuffer", self._buffers[key])

    def _taking_turns(self, buffer: SeriesBuffer, resource: tuple[str, ...]) -> SeriesBuffer:
        """Have the buffers of one resource, one per unit, know which of them was recorded to last: they set the same gauge."""
        buffer.turns = self._turns.setdefault(resource, [buffer])
        if all(known is not buffer for known in buffer.turns[1:]):  # buffers are lists, equal ones are not the same
            buffer.turns.append(buffer)
        return buffer

    def _keepers(self, metric: Metric, labels: Labels) -> tuple[Sink, ...]:
        if metric.kind is c.Kind.HISTOGRAM:
            return self._recorder.histogram(metric, labels)
        if metric.kind is c.Kind.COUNTER:
            return self._recorder.counter(metric, labels, total=True)
        return self._recorder.gauge(metric, labels)


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
