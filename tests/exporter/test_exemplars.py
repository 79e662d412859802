"""From a bucket to the trace and the interaction, within what the formats admit."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from tests.exporter import prometheus_proto as proto
from tests.exporter.expositions import OPENMETRICS, PROTOBUF, TEXT, Scraped

SPAN = SpanContext(0xABC, 0x12, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
IDS = {"trace_id": f"{0xABC:032x}", "span_id": f"{0x12:016x}"}


def traced(aggregation: Any = None, **attributes: str) -> Scraped:
    views = [
        View(
            instrument_name="work",
            aggregation=aggregation or ExplicitBucketHistogramAggregation([1.0, 10.0]),
            attribute_keys={"feature"},
        ),
        View(instrument_name="calls", attribute_keys={"feature"}),
    ]
    scraped = Scraped(views=views, provider_arguments={"exemplar_filter": AlwaysOnExemplarFilter()})
    with trace.use_span(NonRecordingSpan(SPAN)):
        for value in (0.5, 0.7, 99.0):
            scraped.meter.create_histogram("work").record(value, {"feature": "f", **attributes})
        scraped.meter.create_counter("calls").add(2, {"feature": "f", **attributes})
    return scraped


def in_openmetrics(scraped: Scraped) -> dict[str, Any]:
    found = {}
    for family in scraped.families(OPENMETRICS).values():
        for sample in family.samples:
            if sample.exemplar:
                found[sample.labels.get("le", sample.name)] = sample.exemplar
    return found


def test_in_openmetrics() -> None:
    found = in_openmetrics(traced(interaction_id="i-42"))
    assert found.keys() == {"1.0", "+Inf", "calls_total"}
    assert found["1.0"].labels == {**IDS, "interaction_id": "i-42"}
    assert (found["1.0"].value, found["+Inf"].value, found["calls_total"].value) == (0.7, 99, 2)
    assert float(found["1.0"].timestamp) > 1_600_000_000


def test_in_protobuf() -> None:
    families = proto.read(traced(interaction_id="i-42").scrape(PROTOBUF))
    buckets = families["work"].metric[0].histogram.bucket
    assert [bucket.exemplar.value for bucket in buckets if bucket.HasField("exemplar")] == [0.7, 99]
    assert {pair.name: pair.value for pair in buckets[0].exemplar.label} == {**IDS, "interaction_id": "i-42"}
    assert families["calls_total"].metric[0].counter.exemplar.value == 2


def test_on_native_histograms() -> None:
    scraped = traced(ExponentialBucketHistogramAggregation())
    histogram = proto.read(scraped.scrape(PROTOBUF))["work"].metric[0].histogram
    assert histogram.exemplars
    assert {pair.name: pair.value for pair in histogram.exemplars[0].label} == IDS
    assert histogram.exemplars[0].timestamp.seconds > 1_600_000_000


def test_the_ids_are_the_traces() -> None:
    """An attribute of that name gives way."""
    assert in_openmetrics(traced(trace_id="mine", span_id="mine"))["1.0"].labels == IDS


def test_gauges_have_none() -> None:
    scraped = traced()
    with trace.use_span(NonRecordingSpan(SPAN)):
        scraped.meter.create_gauge("level").set(1, {"a": "b"})
    assert in_openmetrics(scraped).keys() == {"1.0", "+Inf", "calls_total"}
    assert scraped.samples(OPENMETRICS)["level{a=b}"] == 1


def test_text_has_none() -> None:
    assert "#" not in "".join(line for line in traced().text(TEXT).splitlines() if not line.startswith("# "))


@pytest.mark.parametrize("length", [43, 44])
def test_what_exceeds_the_limit_is_left_out(length: int) -> None:
    # 8 + 32 + 7 + 16 = 63 characters for the ids, 14 for the name: 51 are left for the value.
    found = in_openmetrics(traced(interaction_id="x" * (length + 8), zz="short"))
    labels = found["1.0"].labels
    assert labels["zz" if length == 44 else "interaction_id"]
    assert ("interaction_id" in labels) == (length == 43)
    assert sum(len(name) + len(value) for name, value in labels.items()) <= 128
