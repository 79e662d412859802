"""Push: the same data by OTLP over HTTP, to a collector or to a server that takes it. Needs the extra ``otlp``.

    MeterProvider(metric_readers=[otlp_reader("https://collector:4318/v1/metrics")])

The specification's ``OTEL_EXPORTER_OTLP_…`` variables fill in what is not said.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import (
    Counter,
    Exemplar,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    HistogramDataPoint,
    MetricExportResult,
    NumberDataPoint,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

from otel_metrics.allowed import is_positive, require
from otel_metrics.ends import Periodic
from otel_metrics.errors import ConfigurationError
from otel_metrics.sdk.lazy_points import is_registered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint, Metric, MetricsData

    from otel_metrics.multiprocess.totals import SharedTotals

_logger = logging.getLogger(__name__)

COARSE_SCALE: Final = 3
"""Eight buckets per doubling: a scale that 640 buckets never have to leave, whatever the values."""

_MAX_BUCKETS: Final = 640

_PATIENCE: Final = 1.0
"""Seconds that a process waits for another one that pushes."""

_LAST_PATIENCE: Final = 10.0
"""The same of a process that ends; its end may come before."""

_PUSH: Final = "push"
"""The turn of whoever pushes for all processes."""

_MONOTONIC: Final = (Counter, Histogram, ObservableCounter)
_OTHERS: Final = (UpDownCounter, ObservableUpDownCounter, ObservableGauge)


def otlp_reader(
    endpoint: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    certificate_file: str | None = None,
    client_certificate_file: str | None = None,
    client_key_file: str | None = None,
    temporality: Literal["cumulative", "delta"] | None = None,
    histograms: Literal["classic", "exponential"] = "classic",
    max_scale: int = COARSE_SCALE,
    interval: float | None = None,
    timeout: float | None = None,
) -> PeriodicExportingMetricReader:
    """Return a reader that pushes periodically, and before the process ends.

    A process that ends waits two seconds at most for a receiver that does not answer.

    Args:
        endpoint: full address of the receiver, such as ``http://collector:4318/v1/metrics``.
        headers: sent with every request, such as an authorization.
        certificate_file: authorities to trust instead of the system's.
        client_certificate_file: certificate to present, with ``client_key_file``.
        client_key_file: its private key.
        temporality: ``delta`` for receivers that add up themselves; None for what the environment says, or cumulative.
        histograms: which buckets to send where there are both kinds; with ``exponential``, histograms without a view of
            their own are exponential from the start.
        max_scale: finest resolution of exponential histograms. Receivers that turn them into buckets of their own
            (VictoriaMetrics) count wrong when the scale changes, so the default is one that holds any range of values.
        interval: seconds between exports (60, or ``OTEL_METRIC_EXPORT_INTERVAL``).
        timeout: seconds that one export may take (10).

    Raises:
        ValueError: a setting that cannot work.
        ImportError: the extra ``otlp`` is not installed.
    """
    require(temporality in (None, "cumulative", "delta"), "temporality", temporality, "cumulative or delta")
    require(histograms in ("classic", "exponential"), "histograms", histograms, "classic or exponential")
    require(max_scale in range(-10, 21), "max_scale", max_scale, "a whole number from -10 to 20")
    for name, value in (("interval", interval), ("timeout", timeout)):
        require(value is None or is_positive(value), name, value, "more than 0 seconds")
    max_scale = int(max_scale)  # 3.0 is 3
    exponential = histograms == "exponential"
    exporter = _Exporter(
        max_scale if exponential else None,
        deltas=temporality == "delta",
        endpoint=endpoint,
        headers=dict(headers) if headers else None,
        certificate_file=certificate_file,
        client_certificate_file=client_certificate_file,
        client_key_file=client_key_file,
        timeout=timeout,
        preferred_temporality=_preferred(temporality),
        preferred_aggregation=(
            {Histogram: ExponentialBucketHistogramAggregation(_MAX_BUCKETS, max_scale)} if exponential else None
        ),
    )
    return PushReader(exporter, _seconds("OTEL_METRIC_EXPORT_INTERVAL", 60.0) if interval is None else interval)


def _preferred(temporality: str | None) -> dict[type, AggregationTemporality] | None:
    if temporality is None:
        return None
    chosen = AggregationTemporality.DELTA if temporality == "delta" else AggregationTemporality.CUMULATIVE
    # What goes up and down is cumulative either way, as the specification has it.
    return {**dict.fromkeys(_MONOTONIC, chosen), **dict.fromkeys(_OTHERS, AggregationTemporality.CUMULATIVE)}


def _seconds(variable: str, default: float) -> float:
    """Return a time of the environment, which has milliseconds, in seconds."""
    text = os.environ.get(variable) or "nothing"
    try:
        value = float(text) / 1000
    except ValueError:
        value = 0.0
    if 0 < value < inf:
        return value
    if text != "nothing":
        _logger.warning("%s=%r is not allowed: milliseconds, more than 0; taking %d", variable, text, default * 1000)
    return default


class PushReader(PeriodicExportingMetricReader):
    """The SDK's reader with a thread of its own: it pushes at once when it is asked to, and not at all in a forked child.

    Args:
        exporter: gets what was collected.
        interval: seconds between pushes.
    """

    def __init__(self, exporter: OTLPMetricExporter, interval: float) -> None:
        # Without a thread: the SDK starts its thread again in forked children, and waits 30 s for it at the end.
        super().__init__(exporter, inf)
        self._timeout = _seconds("OTEL_METRIC_EXPORT_TIMEOUT", 30.0)
        self._interval = interval
        self._periodic = Periodic(self._push, self._until_due, name="OtelPeriodicExportingMetricReader")

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Push what there is, and end. Takes two seconds at most if the receiver does not answer."""
        self._periodic.close()
        super().shutdown(timeout_millis, **kwargs)

    def _push(self) -> None:
        if is_registered(self):  # a fork, or a signal, may come before
            self.collect(timeout_millis=self._timeout * 1000)

    def _until_due(self) -> float:
        """Return the seconds until the next push."""
        return self._interval


class SharedPushReader(PushReader):
    """Pushes what all processes have added to shared totals, as one instance. Belongs to no provider.

    Every process has one. When a push is due, whichever is there first does it for all, so nobody has to notice that another
    one has ended. A process that ends pushes, too, unless somebody has done so since it shared what it recorded last.

    Args:
        totals: what the processes share.
        share: adds what this process has recorded to the totals.
        collect: returns what all processes have added.
        interval: seconds between pushes, of all processes together.
    """

    def __init__(
        self,
        totals: SharedTotals,
        share: Callable[[], object],
        collect: Callable[[], MetricsData | None],
        interval: float | None = None,
    ) -> None:
        self._totals = totals
        self._share = share
        self._shared = collect
        self._sender = _Exporter(None, deltas=False, preferred_temporality=_preferred("cumulative"))
        super().__init__(self._sender, _seconds("OTEL_METRIC_EXPORT_INTERVAL", 60.0) if interval is None else interval)

    def _push(self) -> None:
        urgent = self._periodic.urgent
        if urgent:
            self._share()
        since = time.monotonic_ns() - (0 if urgent else int(self._interval * 1e9))
        try:
            with self._totals.turn(_PUSH) as turn:
                turn.take(_LAST_PATIENCE if urgent else _PATIENCE)
                if (turn.succeeded if urgent else turn.begun) > since:
                    return
                turn.begin()
                if self._send():
                    turn.succeed()
        except (OSError, ConfigurationError) as error:
            # Busy: another process pushes now. Whatever else it is, without the directory each is alone.
            if getattr(error, "errno", None) != errno.EBUSY:
                self._send()

    def _send(self) -> bool:
        data = self._shared()
        if data is None:
            return False
        self._sender.delivered = False
        now = time.time_ns()
        pushed = _of_metrics(data, lambda metric: [_with_points(metric, now)])
        self._receive_metrics(pushed, timeout_millis=self._timeout * 1000)
        return self._sender.delivered

    def _until_due(self) -> float:
        try:
            with self._totals.turn(_PUSH) as turn:
                due = turn.begun / 1e9 + self._interval - time.monotonic()
        except (OSError, ConfigurationError):
            return self._interval
        return due if 0 < due < self._interval else self._interval


def _with_points(metric: Metric, now: int) -> Metric:
    """Return ``metric`` with the SDK's data points instead of those that only renderers take."""
    data: Any = metric.data
    make = _histogram_point if isinstance(data, HistogramData) else _number_point
    points = [make(point, now) for point in data.data_points if point is not None]
    return replace(metric, data=replace(data, data_points=points))


def _number_point(point: Any, now: int) -> NumberDataPoint:
    return NumberDataPoint(
        attributes=point.attributes,
        start_time_unix_nano=point.start_time_unix_nano,
        time_unix_nano=now,
        value=point.value,
        exemplars=_exemplars(point.exemplars),
    )


def _histogram_point(point: Any, now: int) -> HistogramDataPoint:
    value = point.value
    return HistogramDataPoint(
        attributes=point.attributes,
        start_time_unix_nano=point.start_time_unix_nano,
        time_unix_nano=now,
        count=value.n,
        sum=value.total,
        bucket_counts=value.buckets,
        explicit_bounds=point.explicit_bounds,
        min=value.low,
        max=value.high,
        exemplars=_exemplars(point.exemplars),
    )


def _exemplars(found: Sequence[Any]) -> list[Exemplar]:
    made = []
    for each in found:
        labels = dict(each.filtered_attributes)
        trace, span = (labels.pop(name, None) for name in ("trace_id", "span_id"))
        ids = (int(span, 16), int(trace, 16)) if span and trace else (None, None)
        made.append(Exemplar(labels, each.value, each.time_unix_nano, *ids))
    return made


class _Exporter(OTLPMetricExporter):
    """Sends exponential histograms, at a fixed scale, where data points carry them along; sends nothing from a forked child."""

    def __init__(self, max_scale: int | None, *, deltas: bool, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._max_scale = max_scale
        self._explains = deltas
        self.delivered = False
        """Whether what was sent last has arrived."""
        self._process = os.getpid()

    def export(self, metrics_data: MetricsData, *arguments: Any, **options: Any) -> MetricExportResult:
        if os.getpid() != self._process:
            # A child that collects (``force_flush``) has an instance of its own: the totals that the parent had at the fork
            # would be there once more, as the child's.
            return MetricExportResult.SUCCESS
        if self._max_scale is not None:
            metrics_data = exponential_data(metrics_data, self._max_scale)
        result = super().export(metrics_data, *arguments, **options)
        self.delivered = result is MetricExportResult.SUCCESS
        if result is MetricExportResult.FAILURE and self._explains:
            self._explains = False
            _logger.warning(
                "deltas were not taken; Prometheus takes them with --enable-feature=otlp-deltatocumulative, "
                "other receivers through a collector with the processor deltatocumulative; cumulative data needs neither"
            )
        return result


def exponential_data(data: MetricsData, max_scale: int) -> MetricsData:
    """Return ``data`` with exponential histograms in place of classic ones wherever both are known, none finer than ``max_scale``."""
    return _of_metrics(data, lambda metric: _converted(metric, max_scale))


def _of_metrics(data: MetricsData, made: Callable[[Metric], Iterable[Metric]]) -> MetricsData:
    """Return ``data`` with what is made of each metric in its place."""
    return replace(
        data,
        resource_metrics=[
            replace(
                resource,
                scope_metrics=[
                    replace(scope, metrics=[each for metric in scope.metrics for each in made(metric)])
                    for scope in resource.scope_metrics
                ],
            )
            for resource in data.resource_metrics
        ],
    )


def _converted(metric: Metric, max_scale: int) -> Iterator[Metric]:
    data = metric.data
    if isinstance(data, ExponentialHistogram):
        points = [rescaled(point, max_scale) for point in data.data_points]
        yield replace(metric, data=replace(data, data_points=points))
        return
    if not isinstance(data, HistogramData):
        yield metric
        return
    carried = [getattr(point, "exponential", None) for point in data.data_points]
    if not any(carried):
        yield metric
        return
    classic = [point for point, other in zip(data.data_points, carried, strict=True) if other is None]
    if classic:
        yield replace(metric, data=replace(data, data_points=classic))
    points = [rescaled(point, max_scale) for point in carried if point is not None]
    yield replace(metric, data=ExponentialHistogram(points, data.aggregation_temporality))


def rescaled(point: ExponentialHistogramDataPoint, max_scale: int) -> ExponentialHistogramDataPoint:
    """Return the point with neighbouring buckets merged until its scale is at most ``max_scale``."""
    shift = point.scale - max_scale
    if shift <= 0:
        return point
    return replace(
        point, scale=max_scale, positive=_merged(point.positive, shift), negative=_merged(point.negative, shift)
    )


def _merged(buckets: Buckets, shift: int) -> Buckets:
    if not any(buckets.bucket_counts):
        return Buckets(0, [0])
    counts: Sequence[int] = buckets.bucket_counts
    first = buckets.offset >> shift
    merged = [0] * ((buckets.offset + len(counts) - 1 >> shift) - first + 1)
    for index, count in enumerate(counts, buckets.offset):
        merged[(index >> shift) - first] += count
    return Buckets(first, merged)
