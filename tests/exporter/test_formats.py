"""What stands in each of the formats, and that the strictest parsers agree with it."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from prometheus_client import Counter, Enum, Info, Summary, generate_latest
from prometheus_client import Gauge as OwnGauge
from prometheus_client import Histogram as OwnHistogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.core import Metric as ClientMetric

from otel_metrics.exporter.negotiation import choose_format
from otel_metrics.sdk.views import Buckets, views
from tests.exporter import prometheus_proto as proto
from tests.exporter.expositions import OPENMETRICS, PROTOBUF, TEXT, UTF8, Given, Scraped, parsed, samples
from tests.servers import promtool

if TYPE_CHECKING:
    from collections.abc import Iterator

BOTH_TEXTS = pytest.mark.parametrize("accept", [TEXT, OPENMETRICS], ids=["text", "openmetrics"])
BUCKETS = View(instrument_name="work", aggregation=ExplicitBucketHistogramAggregation([0.1, 2.5, 1e6]))


def busy(**arguments: Any) -> Scraped:
    scraped = Scraped(arguments, views=[BUCKETS])
    meter = scraped.meter
    meter.create_counter("calls", "", "Calls made").add(5, {"feature": "search", "ok": True})
    meter.create_histogram("work", "s", "Work done").record(0.25, {"feature": "search"})
    meter.create_gauge("fill", "%").set(50.5)
    meter.create_up_down_counter("queue", "{item}").add(-3)
    return scraped


def test_text_is_what_a_person_would_write() -> None:
    assert busy().text() == (
        "# HELP calls_total Calls made\n"
        "# TYPE calls_total counter\n"
        'calls_total{feature="search",ok="true"} 5\n'
        "# HELP work_seconds Work done\n"
        "# TYPE work_seconds histogram\n"
        'work_seconds_bucket{feature="search",le="0.1"} 0\n'
        'work_seconds_bucket{feature="search",le="2.5"} 1\n'
        'work_seconds_bucket{feature="search",le="1e+06"} 1\n'
        'work_seconds_bucket{feature="search",le="+Inf"} 1\n'
        'work_seconds_count{feature="search"} 1\n'
        'work_seconds_sum{feature="search"} 0.25\n'
        "# TYPE fill_percent gauge\n"
        "fill_percent 50.5\n"
        "# TYPE queue gauge\n"
        "queue -3\n"
    )


def test_openmetrics_adds_units_and_names_counters_without_total() -> None:
    text = busy().text(OPENMETRICS)
    assert "# HELP calls Calls made\n# TYPE calls counter\ncalls_total{" in text
    assert "# TYPE work_seconds histogram\n# UNIT work_seconds seconds\n" in text
    assert text.endswith("# EOF\n")
    assert busy().samples(OPENMETRICS) == busy().samples(TEXT)


def test_protobuf_says_the_same() -> None:
    families = proto.read(busy().scrape(PROTOBUF))
    assert {name: proto.type_of(family) for name, family in families.items()} == {
        "calls_total": "COUNTER",
        "work_seconds": "HISTOGRAM",
        "fill_percent": "GAUGE",
        "queue": "GAUGE",
    }
    (calls,) = families["calls_total"].metric
    assert proto.labels_of(calls) == {"feature": "search", "ok": "true"}
    assert calls.counter.value == 5
    assert families["calls_total"].help == "Calls made"
    assert families["work_seconds"].unit == "seconds"
    histogram = families["work_seconds"].metric[0].histogram
    assert [(bucket.upper_bound, bucket.cumulative_count) for bucket in histogram.bucket] == [
        (0.1, 0),
        (2.5, 1),
        (1e6, 1),
        (math.inf, 1),
    ]
    assert (histogram.sample_count, histogram.sample_sum) == (1, 0.25)
    assert not histogram.positive_span, "a classic histogram must not look like a native one"
    assert histogram.start_timestamp.seconds > 1_600_000_000
    assert calls.counter.start_timestamp.seconds > 1_600_000_000


def test_promtool_finds_nothing_to_criticise() -> None:
    scraped = Scraped({"disable_target_info": False, "self_metrics": True})
    scraped.meter.create_counter("calls", "", "Calls made").add(1, {"a": 'q"\\\n'})
    scraped.meter.create_histogram("work", "s", "Work done").record(1.5)
    scraped.meter.create_histogram("size", "By", "Size", explicit_bucket_boundaries_advisory=[]).record(1)
    Info("build", "About the build", registry=scraped.registry).info({"version": "1"})
    checked = promtool("check", "metrics", stdin=scraped.text())
    assert (checked.returncode, checked.stderr) == (0, "")


def odd_numbers() -> Given:
    seen = {"nan": math.nan, "up": math.inf, "down": -math.inf, "big": 10**400, "int": 2**60, "tiny": 5e-324}
    points = [NumberDataPoint({"is": name}, 0, 1, value) for name, value in seen.items()]
    histogram = HistogramDataPoint({}, 0, 1, 3, math.inf, [0, 1, 2], [1.0, 2.0], 0.0, math.inf)
    return Given(
        Metric("seen", None, None, Gauge(points)),
        Metric("work", "", "", Histogram([histogram], AggregationTemporality.CUMULATIVE)),
    )


@BOTH_TEXTS
def test_numbers_that_are_none_are_right(accept: str) -> None:
    found = odd_numbers().samples(accept)
    assert math.isnan(found["seen{is=nan}"])
    assert found["seen{is=up}"] == math.inf
    assert found["seen{is=down}"] == -math.inf
    assert found["seen{is=big}"] == math.inf
    assert found["seen{is=int}"] == 2**60
    assert found["seen{is=tiny}"] == 5e-324
    assert found["work_sum"] == math.inf
    assert found["work_bucket{le=2.0}"] == 1
    assert found["work_bucket{le=+Inf}"] == 3


def test_numbers_that_are_none_are_right_in_protobuf() -> None:
    families = proto.read(odd_numbers().scrape(PROTOBUF))
    values = {proto.labels_of(metric)["is"]: metric.gauge.value for metric in families["seen"].metric}
    assert math.isnan(values.pop("nan"))
    assert values == {"up": math.inf, "down": -math.inf, "big": math.inf, "int": 2**60, "tiny": 5e-324}
    assert families["work"].metric[0].histogram.sample_sum == math.inf


def test_bounds_are_written_as_prometheus_writes_them() -> None:
    bounds = [0.0, 1e-7, 0.005, 0.1, 1.0, 2.5, 10.0, 123456.0, 1e6, 1234567.5, 1e7, 1e16, 1e21, 1.5e300]
    view = View(instrument_name="work", aggregation=ExplicitBucketHistogramAggregation(bounds))
    scraped = Scraped(views=[view])
    scraped.meter.create_histogram("work").record(1)
    # OpenMetrics' parser of prometheus_client rejects bounds that are not canonical.
    les = [s.labels["le"] for s in scraped.families(OPENMETRICS)["work"].samples if s.name == "work_bucket"]
    assert les == (
        [
            "0.0",
            "1e-07",
            "0.005",
            "0.1",
            "1.0",
            "2.5",
            "10.0",
            "123456.0",
            "1e+06",
            "1.2345675e+06",
            "1e+07",
            "1e+16",
            "1e+21",
            "1.5e+300",
            "+Inf",
        ]
    )


@BOTH_TEXTS
def test_series_may_have_unequal_labels(accept: str) -> None:
    scraped = Scraped()
    counter = scraped.meter.create_counter("calls")
    for number, attributes in enumerate(({}, {"a": "1"}, {"b": "1"}, {"a": "1", "b": "2"}, {"a": ""}), 1):
        counter.add(number, attributes)
    # An empty label is no label to Prometheus: the last one is the first one again.
    assert scraped.samples(accept) == {
        "calls_total": 1,
        "calls_total{a=1}": 2,
        "calls_total{b=1}": 3,
        "calls_total{a=1,b=2}": 4,
    }


@BOTH_TEXTS
def test_a_histogram_keeps_its_own_le(accept: str) -> None:
    scraped = Scraped(views=[BUCKETS])
    histogram = scraped.meter.create_histogram("work")
    histogram.record(1, {"le": "mine"})
    histogram.record(1, {"le": "yours"})
    found = scraped.samples(accept)
    assert found["work_bucket{exported_le=mine,le=2.5}"] == 1
    assert found["work_count{exported_le=yours}"] == 1


@BOTH_TEXTS
def test_values_are_shown_as_they_are(accept: str) -> None:
    awkward = 'back\\slash "quoted" new\nline tab\t \r é 💥 {}=,#'
    scraped = Scraped()
    scraped.meter.create_counter("calls", "", awkward).add(1, {"a": awkward, "b": "\ud800"})
    family = scraped.families(accept)["calls"]
    assert family.samples[0].labels == {"a": awkward, "b": "\\ud800"}
    assert family.documentation == awkward


@BOTH_TEXTS
def test_other_collectors_of_the_registry_come_along(accept: str) -> None:
    scraped = busy()
    registry = scraped.registry
    Counter("own_calls", "Calls", ["kind"], registry=registry).labels("a").inc(2, exemplar={"trace_id": "abc"})
    OwnGauge("own_level_bytes", "Level", registry=registry, unit="bytes").set(7)
    OwnHistogram("own_work", "Work", registry=registry, buckets=[1, 2]).observe(1.5, exemplar={"trace_id": "abc"})
    Summary("own_summary", "Summary", registry=registry).observe(3)
    Info("own_build", "Build", registry=registry).info({"version": "1"})
    Enum("own_state", "State", registry=registry, states=["on", "off"]).state("on")
    found, families = scraped.samples(accept), scraped.families(accept)
    assert found["own_calls_total{kind=a}"] == 2
    assert found["own_level_bytes"] == 7
    assert found["own_work_bucket{le=2.0}"] == 1
    assert found["own_work_count"] == 1
    assert found["own_summary_sum"] == 3
    assert found["own_build_info{version=1}"] == 1
    assert found["own_state{own_state=on}"] == 1
    assert found["calls_total{feature=search,ok=true}"] == 5
    if accept == OPENMETRICS:
        assert families["own_work"].type == "histogram"
        assert families["own_build"].type == "info"
        (exemplar,) = [s.exemplar for s in families["own_calls"].samples if s.exemplar]
        assert (exemplar.labels, exemplar.value) == ({"trace_id": "abc"}, 2)
    # Only prometheus_client knows when its own were created, and shows it in both.
    assert {key: v for key, v in found.items() if not key.endswith("_created")}.keys() >= {
        key for key in samples_of_registry(scraped) if "_created" not in key
    }


def samples_of_registry(scraped: Scraped) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families

    return samples(text_string_to_metric_families(generate_latest(scraped.registry).decode()))


def test_other_collectors_in_protobuf() -> None:
    scraped = busy()
    registry = scraped.registry
    Counter("own_calls", "Calls", ["kind"], registry=registry).labels("a").inc(2, exemplar={"trace_id": "abc"})
    OwnHistogram("own_work", "Work", registry=registry, buckets=[1, 2]).observe(1.5, exemplar={"trace_id": "def"})
    Summary("own_summary", "Summary", registry=registry).observe(3)
    Info("own_build", "Build", registry=registry).info({"version": "1"})
    Enum("own_state", "State", registry=registry, states=["on", "off"]).state("on")
    families = proto.read(scraped.scrape(PROTOBUF))
    counter = families["own_calls_total"].metric[0].counter
    assert counter.value == 2
    assert counter.exemplar.label[0].value == "abc"
    assert counter.start_timestamp.seconds > 1_600_000_000
    histogram = families["own_work"].metric[0].histogram
    assert [(b.upper_bound, b.cumulative_count) for b in histogram.bucket] == [(1, 0), (2, 1), (math.inf, 1)]
    assert histogram.bucket[1].exemplar.label[0].value == "def"
    summary = families["own_summary"].metric[0].summary
    assert (summary.sample_count, summary.sample_sum) == (1, 3)
    assert proto.labels_of(families["own_build_info"].metric[0]) == {"version": "1"}
    assert {proto.labels_of(m)["own_state"]: m.gauge.value for m in families["own_state"].metric} == {"on": 1, "off": 0}


class Plain:
    """A collector that makes plain metrics, with the names that it finds right."""

    def __init__(self, *samples: tuple[str, str, str]) -> None:
        self.samples = samples

    def collect(self) -> Iterator[ClientMetric]:
        for name, kind, sample in self.samples:
            metric = ClientMetric(name, "Said by hand", kind)
            metric.add_sample(sample, {"a": "b"}, 1)
            yield metric


def test_plain_metrics_have_the_names_that_their_samples_have_in_every_format() -> None:
    scraped = Scraped()
    by_hand = Plain(
        ("requests_total", "counter", "requests_total"),
        ("bare", "counter", "bare"),
        ("build_info", "info", "build_info"),
        ("usual", "counter", "usual_total"),
    )
    scraped.registry.register(by_hand)
    names = {"requests_total", "bare", "build_info", "usual_total"}
    for accept in (TEXT, OPENMETRICS):
        assert set(re.findall(r'^(\w+){a="b"} 1$', scraped.text(accept), re.MULTILINE)) == names
        assert parsed(scraped.text(accept), accept)
    assert proto.read(scraped.scrape(PROTOBUF)).keys() == names
    assert "# TYPE requests_total counter\n" in scraped.text(TEXT)
    assert "# TYPE requests counter\n" in scraped.text(OPENMETRICS)


def test_a_sample_named_unlike_its_family_keeps_its_name() -> None:
    scraped = Scraped()
    scraped.registry.register(Plain(("family", "gauge", "other")))
    assert 'other{a="b"} 1' in scraped.text().splitlines()


def test_resource_and_scope_labels() -> None:
    scraped = busy(scope_info_enabled=True, resource_constant_labels=("service.instance.id",))
    assert scraped.samples()["queue{otel_scope_name=tests,otel_scope_version=1.0,service_instance_id=one}"] == -3
    both = busy(
        resource_constant_labels=("service.name",), resource_attribute_filter=lambda key: key.endswith("instance.id")
    )
    assert "queue{service_instance_id=one,service_name=shop}" in both.samples()


def test_target_info() -> None:
    scraped = busy(disable_target_info=False)
    assert scraped.samples()["target_info{service_instance_id=one,service_name=shop}"] == 1
    assert scraped.families(OPENMETRICS)["target"].type == "info"
    assert proto.type_of(proto.read(scraped.scrape(PROTOBUF))["target_info"]) == "GAUGE"


def test_created_samples_by_choice() -> None:
    found = busy(created_samples=True).samples(OPENMETRICS)
    assert found["calls_created{feature=search,ok=true}"] > 1_600_000_000
    assert found["work_seconds_created{feature=search}"] > 1_600_000_000
    assert not any("_created" in key for key in busy().samples(OPENMETRICS))
    assert not any("_created" in key for key in busy(created_samples=True).samples(TEXT))


def test_the_figures_about_itself_begin_when_the_reader_does() -> None:
    before = time.time()
    scraped = busy(self_metrics=True, created_samples=True)
    after = time.time()
    assert before - 0.001 <= scraped.samples(OPENMETRICS)["otel_metrics_scrapes_created"] <= after
    (metric,) = proto.read(scraped.scrape(PROTOBUF))["otel_metrics_scrapes_total"].metric
    assert before - 0.001 <= metric.counter.start_timestamp.ToNanoseconds() / 1e9 <= after


def test_figures_about_itself() -> None:
    scraped = busy(self_metrics=True)
    scraped.scrape()
    found = scraped.samples()
    assert found["otel_metrics_scrapes_total"] == 1
    assert found["otel_metrics_scrape_duration_seconds"] > 0
    assert found["otel_metrics_collisions"] == 0


EXPECTED_NAMES = {
    "UnderscoreEscapingWithSuffixes": {"http_calls_total", "http_time_seconds_sum"},
    "UnderscoreEscapingWithoutSuffixes": {"http_calls", "http_time_sum"},
    "NoUTF8EscapingWithSuffixes": {"http.calls_total", "http.time_seconds_sum"},
    "NoTranslation": {"http.calls", "http.time_sum"},
}


@pytest.mark.parametrize(
    "accept", [TEXT.replace("0.0.4", "1.0.0") + UTF8, OPENMETRICS + UTF8], ids=["text", "openmetrics"]
)
@pytest.mark.parametrize("strategy", EXPECTED_NAMES)
def test_names_by_strategy(strategy: Any, accept: str) -> None:
    scraped = Scraped({"translation_strategy": strategy})
    scraped.meter.create_counter("http.calls").add(1, {"http.method": "GET"})
    scraped.meter.create_histogram("http.time", "s").record(1)
    # prometheus_client's parser of the text format appends _total by itself: the lines are looked at.
    lines = [
        line
        for line in scraped.text(accept).splitlines()
        if "http" in line and "_bucket" not in line and line[0] != "#"
    ]
    names = {re.sub(r'[{"]*([\w.]+).*', r"\1", line) for line in lines if "_count" not in line}
    assert names == EXPECTED_NAMES[strategy]
    assert any(('"http.method"="GET"' if strategy.startswith("No") else 'http_method="GET"') in line for line in lines)
    if "openmetrics" in accept:
        assert scraped.samples(accept)


@pytest.mark.parametrize(
    ("escaping", "counter", "label"),
    [
        ("allow-utf-8", '{"http.calls_total","http.method"="GET"} 1', None),
        ("underscores", "http_calls_total", "http_method"),
        ("dots", "http_dot_calls__total", "http_dot_method"),
        ("values", "U__http_2e_calls__total", "U__http_2e_method"),
    ],
)
def test_names_outside_the_classic_characters_are_escaped_as_asked(
    escaping: str, counter: str, label: str | None
) -> None:
    scraped = Scraped({"translation_strategy": "NoUTF8EscapingWithSuffixes"})
    scraped.meter.create_counter("http.calls").add(1, {"http.method": "GET"})
    text = scraped.text(f"{OPENMETRICS};escaping={escaping}")
    assert (counter if label is None else f'{counter}{{{label}="GET"}} 1') in text
    families = proto.read(scraped.scrape(f"{PROTOBUF};escaping={escaping}"))
    assert list(families) == ["http.calls_total" if label is None else counter]
    # Whoever does not say that it can read such names does not get them.
    assert 'http_calls_total{http_method="GET"} 1' in scraped.text(TEXT + UTF8)


def test_exponential_histograms_are_classic_ones_in_text() -> None:
    view = View(instrument_name="work", aggregation=ExponentialBucketHistogramAggregation())
    scraped = Scraped(views=[view])
    histogram = scraped.meter.create_histogram("work", "s")
    for value in (0, 0.3, 1, 2.9, 1000):
        histogram.record(value, {"a": "b"})
    for found in (scraped.samples(TEXT), scraped.samples(OPENMETRICS), samples_of_registry(scraped)):
        start = "work_seconds_bucket{a=b,le="
        buckets = {key.removeprefix(start).rstrip("}"): value for key, value in found.items() if key.startswith(start)}
        assert buckets["0.25"] == 1
        assert buckets["0.5"] == 2
        assert buckets["1.0"] == 3
        assert buckets["2.0"] == 3
        assert buckets["4.0"] == 4
        assert buckets["1024.0"] == 5
        assert buckets["+Inf"] == 5
        assert (found["work_seconds_count{a=b}"], found["work_seconds_sum{a=b}"]) == (5, 1004.2)


@pytest.mark.parametrize("accept", [TEXT, OPENMETRICS, PROTOBUF], ids=["text", "openmetrics", "protobuf"])
def test_a_large_family_of_another_collector_is_handed_on_in_blocks(accept: str) -> None:
    scraped = busy()
    level = OwnGauge("own_level", "Level", ["number"], registry=scraped.registry)
    for number in range(10_000):
        level.labels(f"number {number:050}").set(number)
    blocks = list(scraped.reader._exposition.scrape(choose_format(accept)))
    assert sum(map(len, blocks)) > 700_000
    assert max(map(len, blocks)) < 50_000


class HalfBroken:
    """A histogram whose second series has a value that is none."""

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily("own_work", "Work", labels=["kind"])
        family.add_metric(["good"], [("1.0", 1), ("+Inf", 2)], 3)
        family.add_metric(["bad"], [("1.0", 1), ("+Inf", None)], 3)  # type: ignore[list-item]
        yield family


@BOTH_TEXTS
def test_a_series_that_cannot_be_rendered_is_left_out_as_a_whole(accept: str) -> None:
    scraped = busy()
    scraped.registry.register(HalfBroken())
    found = scraped.samples(accept)
    assert found["calls_total{feature=search,ok=true}"] == 5
    assert {key: value for key, value in found.items() if key.startswith("own")} == {
        "own_work_bucket{kind=good,le=1.0}": 1,
        "own_work_bucket{kind=good,le=+Inf}": 2,
        "own_work_count{kind=good}": 2,
        "own_work_sum{kind=good}": 3,
    }


def test_classic_buckets_give_way_to_native_ones_in_protobuf_by_choice() -> None:
    both = views({"work": [0.1, 2.5]}, Buckets.BOTH)
    for native_only, classic in ((False, 3), (True, 0)):
        scraped = Scraped({"native_only": native_only}, views=both)
        scraped.meter.create_histogram("work", "s").record(0.25)
        scraped.meter.create_histogram("wait", "s", explicit_bucket_boundaries_advisory=[1.0]).record(0.25)
        found = proto.read(scraped.scrape(PROTOBUF))
        work, wait = (found[name].metric[0].histogram for name in ("work_seconds", "wait_seconds"))
        assert (len(work.bucket), len(work.positive_span), work.sample_count) == (classic, 1, 1)
        assert len(wait.bucket) == 2, "a histogram without native buckets keeps its own"
        assert scraped.samples(TEXT)["work_seconds_bucket{le=2.5}"] == 1
