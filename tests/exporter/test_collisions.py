"""Two metrics that would be one to Prometheus are never exported wrong, and never left out in silence."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, Counter, Gauge

from otel_metrics.exporter import PrometheusReader
from otel_metrics.exporter.endpoint import Endpoint
from otel_metrics.exporter.families import Collisions
from tests.exporter import prometheus_proto as proto
from tests.exporter.expositions import OPENMETRICS, PROTOBUF, TEXT, Scraped, parsed, samples
from tests.servers import promtool

if TYPE_CHECKING:
    from collections.abc import Callable

BOTH_TEXTS = pytest.mark.parametrize("accept", [TEXT, OPENMETRICS], ids=["text", "openmetrics"])


def test_a_counter_and_a_gauge_of_one_exposed_name(caplog: pytest.LogCaptureFixture) -> None:
    scraped = Scraped({"self_metrics": True})
    scraped.meter.create_counter("q").add(1)
    scraped.meter.create_gauge("q.total").set(7)
    with caplog.at_level(logging.WARNING, "otel_metrics"):
        for _ in range(3):
            assert scraped.samples()["q_total"] == 1
    (message,) = [record.getMessage() for record in caplog.records]
    assert (
        message
        == "q_total: left out of the exposition: the gauge would expose 'q_total', which belongs to the counter 'q_total'"
    )
    assert scraped.samples()["otel_metrics_collisions"] == 1


@pytest.mark.parametrize(
    ("second", "kept"),
    [
        (lambda meter: meter.create_gauge("work_count").set(1), False),
        (lambda meter: meter.create_gauge("work.bucket").set(1), False),
        (lambda meter: meter.create_gauge("work").set(1), False),
        (lambda meter: meter.create_counter("work").add(1), True),
        (lambda meter: meter.create_gauge("work_max").set(1), True),
    ],
)
def test_what_a_histogram_takes(second: Callable[..., None], kept: bool) -> None:
    scraped = Scraped()
    scraped.meter.create_histogram("work").record(1)
    second(scraped.meter)
    for accept in (TEXT, OPENMETRICS):
        found = scraped.samples(accept)
        assert found["work_count"] == 1
        assert any(not key.startswith(("work_bucket", "work_count", "work_sum")) for key in found) == kept
    assert scraped.reader._collisions.count == (0 if kept else 1)


@BOTH_TEXTS
def test_a_counter_beside_a_gauge_of_its_base_name(accept: str) -> None:
    """In OpenMetrics both families would be called q; the series are what counts, and both are there."""
    scraped = Scraped()
    scraped.meter.create_gauge("q").set(7)
    scraped.meter.create_counter("q").add(1)
    assert scraped.samples(accept) == {"q": 7, "q_total": 1}


@BOTH_TEXTS
def test_one_metric_from_two_meters(accept: str) -> None:
    scraped = Scraped()
    for name in ("one", "two"):
        counter = scraped.provider.get_meter(name).create_counter("calls")
        counter.add(1, {"meter": name})
        counter.add(5, {"meter": "both"})
    scraped.meter.create_gauge("queue").set(3)
    # One family. Without scope labels nothing is lost either: where two scopes meet, they are there even so.
    assert scraped.samples(accept) == {
        "calls_total{meter=one,otel_scope_name=one}": 1,
        "calls_total{meter=two,otel_scope_name=two}": 1,
        "calls_total{meter=both,otel_scope_name=one}": 5,
        "calls_total{meter=both,otel_scope_name=two}": 5,
        "queue": 3,
    }
    assert scraped.reader._collisions.count == 0


@BOTH_TEXTS
def test_scopes_are_labels_by_default(accept: str) -> None:
    reader = PrometheusReader(registry=CollectorRegistry(), self_metrics=False)
    provider = MeterProvider([reader], Resource({}), shutdown_on_exit=False)
    for version in ("1.0", "2.0"):
        provider.get_meter("shop", version, "https://schema", {"team.name": "red"}).create_counter("calls").add(1)
    body = b"".join(Endpoint(reader._exposition.scrape).respond("GET", "/metrics", {"accept": accept}).body)
    labels = "otel_scope_name=shop,otel_scope_schema_url=https://schema,otel_scope_team_name=red,otel_scope_version"
    assert samples(parsed(body.decode(), accept)) == {
        f"calls_total{{{labels}=1.0}}": 1,
        f"calls_total{{{labels}=2.0}}": 1,
    }


def test_a_scopes_attribute_gives_way_to_the_scopes_own_labels() -> None:
    scraped = Scraped({"scope_info_enabled": True})
    attributes = {"name": "other", "schema.url": "other", "team": "red"}
    scraped.provider.get_meter("shop", "1.0", "https://schema", attributes).create_counter("calls").add(1)
    assert scraped.samples() == {
        "calls_total{otel_scope_name=shop,otel_scope_schema_url=https://schema,otel_scope_team=red,otel_scope_version=1.0}": 1
    }


def test_the_metrics_of_this_package_have_no_scope_labels() -> None:
    scraped = Scraped({"scope_info_enabled": True})
    scraped.provider.get_meter("otel_metrics", "0.1.0").create_counter("feature.usage").add(1, {"feature": "search"})
    assert scraped.samples() == {"feature_usage_total{feature=search}": 1}


@BOTH_TEXTS
def test_keys_that_become_one_label_share_it(accept: str) -> None:
    """Joined in the order of the keys, as the specification wants it: no series is lost."""
    scraped = Scraped({"resource_constant_labels": ["service.name"]})
    counter = scraped.meter.create_counter("calls")
    counter.add(1, {"http_route": "underscore", "http.route": "dot", "http-route": "dash"})
    counter.add(2, {"http_route": "underscore", "http.route": "point"})
    counter.add(4, {"service_name": "mine"})
    assert scraped.samples(accept) == {
        "calls_total{http_route=dash;dot;underscore,service_name=shop}": 1,
        "calls_total{http_route=point;underscore,service_name=shop}": 2,
        "calls_total{service_name=shop;mine}": 4,
    }
    assert scraped.reader._collisions.count == 0


@BOTH_TEXTS
def test_names_and_attributes_that_become_one(accept: str) -> None:
    scraped = Scraped()
    scraped.meter.create_counter("a.b").add(1, {"x.y": "dot"})
    scraped.meter.create_counter("a_b").add(2, {"x_y": "underscore"})
    scraped.meter.create_counter("a_b").add(4, {"x.y": "dot"})
    assert scraped.samples(accept) == {"a_b_total{x_y=dot}": 1, "a_b_total{x_y=underscore}": 2}
    assert scraped.reader._collisions.count == 1


@BOTH_TEXTS
def test_true_and_the_text_true(accept: str) -> None:
    scraped = Scraped()
    counter = scraped.meter.create_counter("calls")
    counter.add(1, {"ok": True})
    counter.add(2, {"ok": "true"})
    counter.add(4, {"ok": "True"})
    assert scraped.samples(accept) == {"calls_total{ok=true}": 1, "calls_total{ok=True}": 4}
    assert scraped.reader._collisions.count == 1


def test_protobuf_too() -> None:
    scraped = Scraped()
    scraped.meter.create_counter("q").add(1, {"ok": True})
    scraped.meter.create_counter("q").add(2, {"ok": "true"})
    scraped.meter.create_gauge("q.total").set(7)
    families = proto.read(scraped.scrape(PROTOBUF))
    assert [metric.counter.value for metric in families["q_total"].metric] == [1]


@BOTH_TEXTS
def test_a_metric_of_the_applications_own(accept: str) -> None:
    registry = CollectorRegistry()
    Gauge("level", "Own", registry=registry).set(1)
    scraped = Scraped({"registry": registry})
    scraped.meter.create_gauge("level").set(2)
    assert scraped.samples(accept) == {"level": 2}
    assert scraped.reader._collisions.count == 1


CREATED = pytest.mark.parametrize("created", [False, True], ids=["without", "with created samples"])


@CREATED
@pytest.mark.parametrize("gauge", ["q", "q.created"])
def test_a_counter_beside_a_gauge_that_openmetrics_would_take_for_a_part_of_it(gauge: str, *, created: bool) -> None:
    scraped = traced(created_samples=created)
    scraped.meter.create_gauge(gauge).set(7)
    assert scraped.samples(OPENMETRICS) == {"q_total": 1, gauge.replace(".", "_"): 7}
    family = scraped.families(OPENMETRICS)["q_total"]
    # Exemplars belong to counters and histograms alone.
    assert (family.type, family.samples[0].exemplar) == ("unknown", None)


def traced(**arguments: Any) -> Scraped:
    """A counter q with an exemplar."""
    scraped = Scraped(arguments, provider_arguments={"exemplar_filter": AlwaysOnExemplarFilter()})
    scraped.meter.create_counter("q").add(1)
    assert " # {" in scraped.text(OPENMETRICS)
    scraped.meter.create_counter("q").add(0)
    return scraped


@CREATED
def test_a_histogram_beside_a_gauge_of_its_created_samples(*, created: bool) -> None:
    scraped = Scraped({"created_samples": created})
    scraped.meter.create_histogram("work").record(1)
    scraped.meter.create_gauge("work.created").set(7)
    for accept in (TEXT, OPENMETRICS):
        assert scraped.samples(accept).get("work_created") != 7
    assert scraped.reader._collisions.count == 1


@BOTH_TEXTS
@pytest.mark.parametrize("gauge", ["q", "q.created"])
def test_a_counter_of_the_applications_own_beside_a_gauge(accept: str, gauge: str) -> None:
    scraped = Scraped()
    Counter("q", "Own", registry=scraped.registry).inc(2, exemplar={"trace_id": "abc"})
    scraped.meter.create_gauge(gauge).set(7)
    found = scraped.samples(accept)
    assert (found["q_total"], found[gauge.replace(".", "_")]) == (2, 7)
    if accept == TEXT:
        checked = promtool("check", "metrics", stdin=scraped.text())
        assert "second TYPE line" not in checked.stderr
        assert checked.returncode in {0, 3}, checked.stderr  # 3: taste in names
        assert scraped.reader._collisions.count == (gauge == "q.created")


@BOTH_TEXTS
def test_a_counter_called_target(accept: str) -> None:
    scraped = Scraped({"disable_target_info": False})
    scraped.meter.create_counter("target").add(1)
    found = scraped.samples(accept)
    assert found["target_total"] == 1
    assert found["target_info{service_instance_id=one,service_name=shop}"] == 1


@BOTH_TEXTS
def test_of_unequal_descriptions_the_first_is_shown_and_no_value_is_lost(
    accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    scraped = Scraped({"scope_info_enabled": True})
    for name in ("one", "two"):
        scraped.provider.get_meter(name).create_counter("calls", "", f"Calls of {name}").add(1)
    with caplog.at_level(logging.WARNING, "otel_metrics"):
        for _ in range(2):
            text = scraped.text(accept)
    assert [line for line in text.splitlines() if line.startswith("# HELP")] == [
        f"# HELP calls{'_total' if accept == TEXT else ''} Calls of one"
    ]
    assert scraped.samples(accept) == {"calls_total{otel_scope_name=one}": 1, "calls_total{otel_scope_name=two}": 1}
    (message,) = caplog.messages
    assert message == "calls_total: its descriptions, or units, differ from scope to scope, the first one is shown"
    assert scraped.reader._collisions.count == 0


def test_a_collision_counts_as_long_as_it_lasts() -> None:
    now = 1000.0
    collisions = Collisions(lambda: now)
    collisions.report("calls_total", "taken")
    collisions.report("calls_total", "taken")
    now += 299
    assert collisions.count == 1
    collisions.report("calls_total", "taken")
    now += 299
    assert collisions.count == 1
    now += 2
    assert collisions.count == 0


@BOTH_TEXTS
def test_there_is_one_target_info_and_that_is_no_collision(accept: str) -> None:
    """An application has a reader already, the official one or another of ours, and adds one on the same registry."""
    registry = CollectorRegistry()
    readers = [PrometheusReader(registry=registry), PrometheusMetricReader(registry=registry)]
    for name, reader in zip(("first", "second"), readers, strict=True):
        provider = MeterProvider([reader], Resource({"service.name": "other"}), shutdown_on_exit=False)
        provider.get_meter(name).create_gauge(name).set(1)
    scraped = Scraped({"registry": registry, "disable_target_info": False, "self_metrics": True})
    scraped.meter.create_gauge("third").set(1)
    for _ in range(2):
        found = scraped.samples(accept)
    assert {"first{otel_scope_name=first}", "second{otel_scope_name=second}", "third"} <= found.keys()
    assert [key for key in found if key.startswith("target_info")] == ["target_info{service_name=other}"]
    assert found["otel_metrics_collisions"] == 0


def test_an_empty_resource_has_no_target_info() -> None:
    reader = PrometheusReader(registry=CollectorRegistry(), self_metrics=False)
    MeterProvider([reader], Resource({}), shutdown_on_exit=False).get_meter("m").create_gauge("level").set(1)
    body = b"".join(Endpoint(reader._exposition.scrape).respond("GET", "/metrics", {}).body)
    assert b"target_info" not in body
