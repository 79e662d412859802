"""What the specification's Prometheus documents want of an exporter, where no other test says so; and docs/conformance.md itself."""

from __future__ import annotations

import re
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Exemplar, ExemplarReservoir, Histogram
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from prometheus_client.core import Metric
from prometheus_client.samples import BucketSpan, NativeHistogram

from tests.exporter import prometheus_proto as proto
from tests.exporter.expositions import OPENMETRICS, PROTOBUF, TEXT, UTF8, Scraped
from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\x00\xff", "AP8="),
        ([float("inf"), float("-inf"), float("nan"), 1.5], r'["Infinity", "-Infinity", "NaN", 1.5]'),
        ([b"\x00\xff", None, True, "é"], r'["AP8=", null, true, "\u00e9"]'),
        (float("-inf"), "-Infinity"),
        ((1, 2), "[1, 2]"),
    ],
)
def test_attribute_values_are_written_as_outside_of_otlp(value: Any, shown: str) -> None:
    scraped = Scraped()
    scraped.meter.create_counter("calls").add(1, {"a": value})
    assert scraped.samples() == {f"calls_total{{a={shown}}}": 1}


def test_an_attribute_without_a_value_is_an_empty_label() -> None:
    scraped = Scraped()
    scraped.meter.create_counter("calls").add(1, {"a": None, "b": "x"})
    assert scraped.samples() == {"calls_total{b=x}": 1}


def test_without_translation_labels_pass_unaltered() -> None:
    scraped = Scraped({"translation_strategy": "NoTranslation"})
    scraped.meter.create_counter("calls").add(1, {"__own": "1", "a.b__c": "2", "__name__": "other"})
    line = scraped.text("text/plain;version=1.0.0" + UTF8).splitlines()[-1]
    assert line == 'calls{__own="1",_name__="other","a.b__c"="2"} 1'


# ---------------------------------------------------------------- start times


def observed(_: Any) -> Iterator[Observation]:
    yield Observation(1_000_000)


def test_a_counter_has_a_start_time_and_an_observable_one_has_none() -> None:
    """It began before anybody looked: the SDK's time is that of the first collection, and a zero there would be a false one."""
    scraped = Scraped({"created_samples": True})
    scraped.meter.create_counter("jobs").add(7)
    scraped.meter.create_observable_counter("bytes_since_boot", [observed])
    found = proto.read(scraped.scrape(PROTOBUF))
    assert found["jobs_total"].metric[0].counter.start_timestamp.seconds > 1_600_000_000
    assert not found["bytes_since_boot_total"].metric[0].counter.HasField("start_timestamp")
    assert {name for name in scraped.samples(OPENMETRICS) if name.endswith("_created")} == {"jobs_created"}


# ---------------------------------------------------------------- what an application brings along


class Newest(ExemplarReservoir):
    """A reservoir of an application's own."""

    def __init__(self, **_: Any) -> None:
        self.kept: list[Exemplar] = []

    def offer(self, value: float, time_unix_nano: int, attributes: Any, context: Any) -> None:
        del context
        self.kept = [Exemplar(attributes, value, time_unix_nano, None, None)]

    def collect(self, point_attributes: Any) -> list[Exemplar]:
        del point_attributes
        return self.kept


def reservoirs(_: Any) -> Any:
    return Newest


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS, PROTOBUF], ids=["text", "openmetrics", "protobuf"])
def test_a_reservoir_of_the_applications_own_is_asked(accept: str) -> None:
    view = View(instrument_name="*", attribute_keys=set(), exemplar_reservoir_factory=reservoirs)
    scraped = Scraped(views=[view], provider_arguments={"exemplar_filter": AlwaysOnExemplarFilter()})
    scraped.meter.create_counter("jobs").add(5, {"shop": "north"})
    scraped.meter.create_histogram("work").record(0.3, {"shop": "south"})
    body = scraped.scrape(accept)
    assert b"jobs_total" in body
    assert b"work" in body
    assert [shop in body for shop in (b"north", b"south")] == [accept != TEXT] * 2
    assert scraped.reader._collisions.count == 0


@pytest.mark.parametrize("accept", [TEXT, PROTOBUF], ids=["text", "protobuf"])
def test_a_scrape_between_the_birth_of_a_series_and_its_first_value(accept: str) -> None:
    scraped = Scraped()
    histogram = scraped.meter.create_histogram("work")
    histogram.record(1, {"shop": "north"})
    scraped.scrape()
    born, go_on = threading.Event(), threading.Event()

    def pause(frame: FrameType, event: str, argument: Any) -> None:
        """Stop the thread where the SDK has made the series and is about to add the value."""
        del event, argument
        if frame.f_code.co_name == "aggregate" and not born.is_set():
            born.set()
            go_on.wait(120)

    def record() -> None:
        sys.settrace(pause)
        histogram.record(1, {"shop": "south"})

    thread = threading.Thread(target=record)
    thread.start()
    assert born.wait(120)
    early = scraped.scrape(accept)
    go_on.set()
    thread.join()
    assert b"north" in early
    assert b"south" in scraped.scrape(accept)
    assert scraped.reader._collisions.count == 0


class Foreign:
    """A collector that passes on native histograms, such as those that prometheus_client's parser returns."""

    def __init__(self, *, classic: bool) -> None:
        self.classic = classic

    def describe(self) -> Sequence[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        family = Metric("work", "Work done.", "histogram")
        native = NativeHistogram(24, 100.5, 0, 0.001, 4, (BucketSpan(0, 2), BucketSpan(3, 1)), None, (5, 3, 4))
        family.add_sample("work", {}, 0, None, None, native)
        if self.classic:
            for le, count in (("1.0", 9), ("+Inf", 24)):
                family.add_sample("work_bucket", {"le": le}, count)
            family.add_sample("work_count", {}, 24)
            family.add_sample("work_sum", {}, 100.5)
        yield family


@pytest.mark.parametrize("classic", [True, False])
def test_native_histograms_of_other_collectors(*, classic: bool) -> None:
    scraped = Scraped()
    scraped.registry.register(Foreign(classic=classic))
    for accept in (TEXT, OPENMETRICS):
        text = {"work_bucket{le=1.0}": 9, "work_bucket{le=+Inf}": 24, "work_count": 24, "work_sum": 100.5}
        assert scraped.samples(accept) == (text if classic else {})
    (metric,) = proto.read(scraped.scrape(PROTOBUF))["work"].metric
    shown = metric.histogram
    assert (shown.sample_count, shown.sample_sum, shown.schema, shown.zero_count) == (24, 100.5, 0, 4)
    assert [(span.offset, span.length) for span in shown.positive_span] == [(0, 2), (3, 1)]
    assert list(shown.positive_delta) == [5, 3, 4]
    assert [bucket.cumulative_count for bucket in shown.bucket] == ([9, 24] if classic else [])


# ---------------------------------------------------------------- options


def test_the_aggregation_of_an_instrument_class_is_an_option() -> None:
    scraped = Scraped({"default_aggregation": {Histogram: ExponentialBucketHistogramAggregation()}})
    scraped.meter.create_histogram("work").record(3)
    scraped.meter.create_counter("calls").add(1)
    found = proto.read(scraped.scrape(PROTOBUF))
    assert (found["work"].metric[0].histogram.schema, found["work"].metric[0].histogram.sample_count) == (8, 1)
    assert found["calls_total"].metric[0].counter.value == 1


def test_attributes_of_the_resource_are_chosen_by_pattern() -> None:
    scraped = Scraped({"resource_constant_labels": ["service.?ame"], "disable_target_info": False})
    scraped.meter.create_gauge("level").set(1)
    assert scraped.samples() == {
        "target_info{service_instance_id=one,service_name=shop}": 1,
        "level{service_name=shop}": 1,
    }


# ---------------------------------------------------------------- the table


def test_the_table_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "conformance.md").read_text("utf-8")
    named = re.findall(r"`(test_\w+)\.(test_\w+)`", text)
    assert len(named) > 40
    for module, function in named:
        sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob(f"{module}.py")]
        assert any(re.search(rf"^def {function}\(", source, re.MULTILINE) for source in sources), f"{module}.{function}"


def test_every_requirement_has_an_answer() -> None:
    rows = re.findall(r"(?m)^\| (.+) \|$", (ROOT / "docs" / "conformance.md").read_text("utf-8"))
    answers = [row.split(" | ") for row in rows if row.split(" | ")[1] in {"MUST", "SHOULD", "MAY"}]
    assert len(answers) > 60
    for _, level, ours, proof in answers:
        assert ours in {"yes", "no", "n/a"}
        assert proof.strip()
        if level == "MUST" and ours == "no":
            assert "Rejected" in proof
