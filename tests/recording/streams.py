"""What a reader sees, in a form that compares: metric name -> attributes -> data point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Points = dict[str, dict[frozenset[tuple[str, Any]], dict[str, Any]]]

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Patient(InMemoryMetricReader):
    """Gives callbacks as long as a busy machine needs; those that hand values over leave the rest to the next collection."""

    def collect(self, timeout_millis: float = 600_000) -> None:  # type: ignore[misc]
        super().collect(timeout_millis)


def cumulative() -> InMemoryMetricReader:
    return Patient()


def delta() -> InMemoryMetricReader:
    return Patient(
        preferred_temporality={
            Counter: AggregationTemporality.DELTA,
            Histogram: AggregationTemporality.DELTA,
        }
    )


def metrics_of(reader: InMemoryMetricReader) -> Iterator[Any]:
    data: Any = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            yield from scope.metrics


def collect(reader: InMemoryMetricReader) -> Points:
    """Collect once and return what a user of the data could notice, apart from times."""
    seen: Points = {}
    for metric in metrics_of(reader):
        points = seen.setdefault(metric.name, {})
        for point in metric.data.data_points:
            points[frozenset(point.attributes.items())] = {
                "data": type(metric.data).__name__,
                "temporality": getattr(metric.data, "aggregation_temporality", None),
                **values_of(point),
            }
    return seen


def values_of(point: Any) -> dict[str, Any]:
    if hasattr(point, "value"):
        return {"value": pytest.approx(point.value, rel=1e-9)}
    common = {
        "count": point.count,
        "sum": pytest.approx(point.sum, rel=1e-9),
        "min": point.min,
        "max": point.max,
    }
    if hasattr(point, "scale"):
        return {**common, "exponential": Exponential(point)}
    assert sum(point.bucket_counts) == point.count
    return {**common, "buckets": tuple(point.bucket_counts), "bounds": tuple(point.explicit_bounds)}


class Exponential:
    """An exponential histogram's buckets: equal to those of another scale if they are when made as coarse."""

    def __init__(self, point: Any) -> None:
        self.scale = point.scale
        self.zeros = point.zero_count
        self.buckets = {
            index: count for index, count in enumerate(point.positive.bucket_counts, point.positive.offset) if count
        }

    def at(self, scale: int) -> dict[int, int]:
        coarse: dict[int, int] = {}
        for index, count in self.buckets.items():
            coarse[index >> self.scale - scale] = coarse.get(index >> self.scale - scale, 0) + count
        return coarse

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Exponential)
        scale = min(self.scale, other.scale)
        return self.zeros == other.zeros and self.at(scale) == other.at(scale)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Exponential(scale={self.scale}, zeros={self.zeros}, {self.buckets})"


def exponential_of(reader: InMemoryMetricReader, name: str) -> dict[frozenset[tuple[str, Any]], Any]:
    """Collect once and return the exponential points that travel in the explicit ones of ``name``."""
    return {
        frozenset(point.attributes.items()): point.exponential
        for metric in metrics_of(reader)
        if metric.name == name
        for point in metric.data.data_points
    }


def only(points: Sequence[Any]) -> Any:
    (point,) = points
    return point
