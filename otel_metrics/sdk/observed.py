"""Observable gauges whose series a reader of ours takes as they are.

The SDK keeps a series for every observation, a kilobyte each, and cleans, hashes and stores it anew at every collection: 25 µs. A
reader of ours collects inside :func:`taking`. The callback, which the SDK calls in the same thread, then passes the series on and
observes nothing. Every other reader gets observations, as always.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics.export import Gauge, Metric

from otel_metrics.sdk.lazy_points import NumberPoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.metrics import CallbackOptions, Meter

    from otel_metrics import catalogue

T = TypeVar("T")


class ObservedSeries(Generic[T]):
    """The series of several gauges: attributes, always the same objects for a series, and what their values are read from."""

    def __init__(self, attributes: Sequence[Mapping[str, str]], sources: Sequence[T]) -> None:
        self.attributes = attributes
        self.sources = sources


class _Taken:
    """What a reader of ours takes of one collection."""

    def __init__(self) -> None:
        self.metrics: list[Metric] = []
        self.series: dict[object, ObservedSeries[Any]] = {}


class _ThisThread(threading.local):
    taken: _Taken | None = None


_this_thread = _ThisThread()


@contextmanager
def taking() -> Iterator[list[Metric]]:
    """Return the list that gets the metrics of all observables of ours while this thread collects."""
    before, _this_thread.taken = _this_thread.taken, _Taken()
    try:
        yield _this_thread.taken.metrics
    finally:
        _this_thread.taken = before


def observe(
    meter: Meter,
    metrics: Mapping[catalogue.Metric, Callable[[T], float]],
    series: Callable[[], ObservedSeries[T]],
    *,
    viewed: bool = False,
) -> None:
    """Have readers see gauges that have their series in common.

    Args:
        meter: where they are made.
        metrics: how each is read.
        series: returns the series as they are now; asked once per collection by a reader of ours.
        viewed: the application may have views of its own, which only the SDK knows: every reader gets observations.
    """
    for metric, read in metrics.items():
        callback = _callback(metric, read, series, viewed=viewed)
        meter.create_observable_gauge(metric.name, [callback], metric.unit, metric.description)


def _callback(
    metric: catalogue.Metric, read: Callable[[T], float], series: Callable[[], ObservedSeries[T]], *, viewed: bool
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def callback(_: CallbackOptions) -> Iterable[Observation]:
        taken = _this_thread.taken
        if viewed or taken is None:
            found = series()
            return [Observation(read(each), own) for own, each in zip(found.attributes, found.sources, strict=True)]
        found = taken.series.get(series) or taken.series.setdefault(series, series())
        if found.sources:
            points: Any = NumberPoints(found.attributes, list(map(read, found.sources)))
            taken.metrics.append(Metric(metric.name, metric.description, metric.unit, Gauge(points)))
        return ()

    return callback
