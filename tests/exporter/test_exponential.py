"""Exponential histograms in Prometheus' terms, compared with counting the values themselves."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    InMemoryMetricReader,
    Metric,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from otel_metrics.exporter.exponential import (
    CLASSIC_LADDER,
    MAX_GROWTH,
    Ladders,
    boundary,
    classic_counts,
    native_buckets,
    schema_of,
)
from tests.exporter import prometheus_proto as proto
from tests.exporter.expositions import PROTOBUF, TEXT, Given, Scraped

BORN = 1_700_000_000_123_000_000

values = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3), st.just(0.0), st.sampled_from([1.0, 2.0, 4.0, 0.5])),
    min_size=1,
    max_size=60,
)


def point_of(recorded: list[float], max_size: int, max_scale: int) -> ExponentialHistogramDataPoint:
    """What the SDK makes of the values."""
    reader = InMemoryMetricReader()
    aggregation = ExponentialBucketHistogramAggregation(max_size=max_size, max_scale=max_scale)
    provider = MeterProvider(
        [reader], views=[View(instrument_name="h", aggregation=aggregation)], shutdown_on_exit=False
    )
    histogram = provider.get_meter("m").create_up_down_counter("h")
    for value in recorded:
        histogram.add(value)
    data: Any = reader.get_metrics_data()
    point: ExponentialHistogramDataPoint = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
    return point


@settings(max_examples=200, deadline=None)
@given(
    offset=st.integers(-5000, 5000),
    counts=st.lists(st.one_of(st.just(0), st.integers(0, 10**6)), max_size=50),
    shift=st.integers(0, 12),
)
def test_spans_and_counts_say_what_the_buckets_said(offset: int, counts: list[int], shift: int) -> None:
    native = native_buckets(offset, counts, shift)
    expected: dict[int, int] = {}
    for index, count in enumerate(counts, offset):
        if count:
            # OpenTelemetry: (b^i, b^(i+1)]; Prometheus: (b^(i-1), b^i].
            target = math.floor(index / 2**shift) + 1
            expected[target] = expected.get(target, 0) + count
    found = {}
    index, remaining = 0, iter(native.counts)
    for gap, length in native.spans:
        index += gap
        for _ in range(length):
            found[index] = next(remaining)
            index += 1
    assert next(remaining, None) is None
    assert {index: count for index, count in found.items() if count} == expected


@settings(max_examples=150, deadline=None)
@given(recorded=values, max_size=st.sampled_from([8, 160, 640]), max_scale=st.sampled_from([0, 3, 8, 20]))
def test_classic_counts_are_exact_at_powers_of_two(recorded: list[float], max_size: int, max_scale: int) -> None:
    point = point_of(recorded, max_size, max_scale)
    cumulative = list(accumulate(classic_counts(point, CLASSIC_LADDER)))
    assert cumulative[-1] == len(recorded)
    for bound, count in zip(CLASSIC_LADDER, cumulative, strict=False):
        exact = sum(value <= bound for value in recorded)
        if point.scale >= 0:
            assert count == exact
        else:  # buckets wider than a power of two: counted where they end
            assert count <= exact


@given(index=st.integers(-1000, 1000), scale=st.integers(-10, 20))
def test_boundaries(index: int, scale: int) -> None:
    exponent = index / 2**scale
    if -1000 < exponent < 1000:
        assert boundary(index, scale) == pytest.approx(2.0**exponent, rel=1e-12)
    assert boundary(1 << 20, 0) == math.inf


def test_ladders_grow_and_never_shrink() -> None:
    ladders = Ladders()
    assert ladders.bounds("a", [point_of([1.0], 160, 20)]) == CLASSIC_LADDER
    wide = ladders.bounds("a", [point_of([1e-5, 3e9], 160, 20)])
    assert wide[0] == 2.0**-17
    assert wide[-1] == 2.0**32
    assert set(CLASSIC_LADDER) < set(wide)
    assert ladders.bounds("a", [point_of([1.0], 160, 20)]) == wide
    assert ladders.bounds("b", []) == CLASSIC_LADDER
    huge = ladders.bounds("c", [point_of([1e-300, 1e300], 160, 20)])
    assert len(huge) == len(CLASSIC_LADDER) + 2 * MAX_GROWTH


def test_bounds_of_ones_own() -> None:
    view = View(instrument_name="work", aggregation=ExponentialBucketHistogramAggregation())
    scraped = Scraped({"classic_bounds": [5, 0.1, 1]}, views=[view])
    for value in (0.05, 0.5, 3, 4.9):
        scraped.meter.create_histogram("work").record(value)
    found = scraped.samples()
    assert found["work_bucket{le=0.1}"] == 1
    assert found["work_bucket{le=1.0}"] == 2
    assert found["work_bucket{le=5.0}"] == 4


def test_bounds_as_prometheus_client_has_them_make_no_bucket_twice() -> None:
    view = View(instrument_name="work", aggregation=ExponentialBucketHistogramAggregation())
    scraped = Scraped({"classic_bounds": [1, 5, 5.0, math.inf]}, views=[view])
    scraped.meter.create_histogram("work").record(3)
    bounds = [line.split('"')[1] for line in scraped.text().splitlines() if "_bucket" in line]
    assert bounds == ["1.0", "5.0", "+Inf"]
    with pytest.raises(ValueError, match="classic_bounds"):
        Scraped({"classic_bounds": [1, math.nan]})


def test_schemas() -> None:
    assert [schema_of(scale) for scale in (20, 9, 8, 3, 0, -4, -5)] == [8, 8, 8, 3, 0, -4, None]


@settings(max_examples=60, deadline=None)
@given(recorded=values)
def test_native_buckets_hold_the_values(recorded: list[float]) -> None:
    point = point_of(recorded, 160, 20)
    metric = Metric("work", "", "", ExponentialHistogram([point], AggregationTemporality.CUMULATIVE))
    histogram = proto.read(Given(metric).scrape(PROTOBUF))["work"].metric[0].histogram
    base = 2.0 ** (2.0**-histogram.schema)
    for sign, buckets in ((1, proto.native_buckets(histogram)), (-1, proto.negative_buckets(histogram))):
        side = sorted(sign * value for value in recorded if sign * value > 0)
        assert sum(buckets.values()) == len(side)
        for index, cumulative in zip(sorted(buckets), accumulate(buckets[i] for i in sorted(buckets)), strict=True):
            # Give or take the last bit at a boundary.
            low, high = (bisect_left(side, base**index * (1 + error)) for error in (-1e-9, 1e-9))
            assert low <= cumulative <= high
    assert histogram.zero_count == recorded.count(0)
    assert histogram.sample_count == len(recorded)


@pytest.mark.parametrize("scale", [-10, -5, -4, 0, 8, 20])
def test_every_scale_is_exported_somehow(scale: int) -> None:
    point = ExponentialHistogramDataPoint(
        {}, BORN, BORN + 1, 5, 10.0, scale, 1, Buckets(-2, [1, 0, 2]), Buckets(0, [1]), 0, 0.0, 1.0
    )
    scraped = Given(Metric("work", "", "", ExponentialHistogram([point], AggregationTemporality.CUMULATIVE)))
    assert scraped.samples(TEXT)["work_bucket{le=+Inf}"] == 5
    histogram = proto.read(scraped.scrape(PROTOBUF))["work"].metric[0].histogram
    assert histogram.sample_count == 5
    assert histogram.bucket[-1].cumulative_count == 5
    if scale < -4:
        assert not histogram.positive_span, "too coarse for Prometheus: classic buckets only"
    else:
        assert histogram.schema == min(scale, 8)
        assert sum(proto.native_buckets(histogram).values()) == 3


def test_an_empty_native_histogram_is_a_native_one() -> None:
    point = ExponentialHistogramDataPoint(
        {}, BORN, BORN + 1, 0, 0.0, 3, 0, Buckets(0, [0]), Buckets(0, [0]), 0, 0.0, 0.0
    )
    scraped = Given(Metric("work", "", "", ExponentialHistogram([point], AggregationTemporality.CUMULATIVE)))
    histogram = proto.read(scraped.scrape(PROTOBUF))["work"].metric[0].histogram
    assert [(span.offset, span.length) for span in histogram.positive_span] == [(0, 0)]
    assert histogram.zero_threshold == 1e-128
