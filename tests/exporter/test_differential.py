"""Whatever the official exporter can export, ours exports equal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from otel_metrics.exporter import PrometheusReader
from otel_metrics.exporter.endpoint import Endpoint
from otel_metrics.naming import label_name, metric_name

KINDS = ("counter", "up_down_counter", "histogram", "gauge", "observable_counter", "observable_gauge")
UNITS = ("", "1", "s", "ms", "By", "By/s", "{request}", "{request}/s", "%", "Cel", "km/h", "1/s", "weird unit", "a_b")

names = st.from_regex(r"[a-zA-Z][-_./a-zA-Z0-9]{0,20}", fullmatch=True)
numbers = st.one_of(
    st.integers(0, 2**53), st.floats(0, 1e300), st.floats(0, 1), st.sampled_from([0, 0.0, 1e-300, 123456789.125])
)
signed = st.one_of(numbers, numbers.map(lambda number: -number))
keys = st.one_of(
    st.sampled_from(["feature", "http.method", "a-b", "1st", "ключ", "job", "le_"]), st.text(min_size=1, max_size=8)
)
values = st.one_of(
    st.text(max_size=12).filter(lambda text: "\0" not in text),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=3), max_size=3),
    st.sampled_from(['quo"ted', "back\\slash", "new\nline", "tab\t", "é", "💥", ""]),
)
attributes = st.dictionaries(keys, values, max_size=4)
bounds = st.lists(st.floats(0, 1e6).map(lambda bound: round(bound, 3)), unique=True, max_size=6).map(sorted)


one_instrument = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "name": names,
        "unit": st.sampled_from(UNITS),
        "description": st.one_of(st.just(""), st.text(max_size=20), st.just('two\nlines \\ "quoted"')),
        "bounds": st.one_of(st.none(), bounds),
        "keep": st.one_of(st.none(), st.just({"feature", "http.method"})),
        "points": st.lists(st.tuples(signed, attributes), min_size=1, max_size=5),
    }
)
reader_arguments = st.fixed_dictionaries(
    {
        "disable_target_info": st.booleans(),
        "prefix": st.sampled_from(["", "app", "9lives"]),
        "scope_info_enabled": st.booleans(),
        "resource_attribute_filter": st.sampled_from([None, lambda key: key.startswith("service.")]),
    }
)


def without_collisions(instruments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what collides: the official exporter exports it wrong, ours reports it (see test_collisions.py)."""
    taken: list[str] = []
    kept = []
    for one in instruments:
        base = metric_name(one["name"]).casefold()
        points = distinct(one["points"], one["keep"])
        # The SDK itself drops the second of two instruments whose names differ in nothing but case.
        if (
            points
            and base not in {"_total", "target"}
            and not any(base.startswith(t) or t.startswith(base) for t in taken)
        ):
            taken.append(base)
            kept.append({**one, "points": points})
    return kept


def distinct(points: list[tuple[Any, dict[str, Any]]], keep: set[str] | None) -> list[tuple[Any, dict[str, Any]]]:
    """Leave out points whose attributes are unequal but whose labels are not."""
    seen: dict[Any, Any] = {}
    kept = []
    for value, every in points:
        attributes = {key: each for key, each in every.items() if keep is None or key in keep}
        shown = {label_name(key): each for key, each in attributes.items()}
        if len(shown) < len(attributes) or "le" in shown:
            continue
        labels = frozenset((key, str(each).lower()) for key, each in shown.items() if each != "")
        identity = repr(sorted(attributes.items()))
        if seen.setdefault(labels, identity) == identity:
            kept.append((value, every))
    return kept


def views_for(instruments: list[dict[str, Any]]) -> list[View]:
    return [
        View(
            instrument_name=one["name"],
            attribute_keys=one["keep"],
            aggregation=(
                ExplicitBucketHistogramAggregation(boundaries=one["bounds"])
                if one["kind"] == "histogram" and one["bounds"] is not None
                else None
            ),
        )
        for one in instruments
        if one["bounds"] is not None or one["keep"] is not None
    ]


def record(meter: Any, one: dict[str, Any]) -> None:
    kind, name, unit, description, points = (one[key] for key in ("kind", "name", "unit", "description", "points"))
    if kind.startswith("observable"):
        monotonic = "counter" in kind
        observations = [Observation(abs(value) if monotonic else value, labels) for value, labels in points]
        getattr(meter, f"create_{kind}")(name, [lambda _: observations], unit, description)
        return
    instrument = getattr(meter, f"create_{kind}")(name, unit, description)
    act = {"histogram": "record", "gauge": "set"}.get(kind, "add")
    for value, labels in points:
        getattr(instrument, act)(value if kind in {"up_down_counter", "gauge"} else abs(value), labels)


def parsed(exposition: str) -> tuple[dict[str, tuple[str, str]], dict[Any, str]]:
    """Types and help texts by family, and values by sample name and labels. A bound is compared as a number."""
    families, samples = {}, {}
    for family in text_string_to_metric_families(exposition):
        families[family.name] = (family.type, family.documentation)
        for sample in family.samples:
            labels = {
                name: str(float(value)) if name == "le" and sample.name.endswith("_bucket") else value
                for name, value in sample.labels.items()
                if value
            }
            key = (sample.name, frozenset(labels.items()))
            assert key not in samples
            samples[key] = repr(float(sample.value))
    return families, samples


@pytest.mark.parametrize("direct", [True, False], ids=["aggregations read directly", "data points of the SDK"])
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(drawn=st.lists(one_instrument, min_size=1, max_size=5), arguments=reader_arguments)
def test_the_same_series_values_types_and_help(
    drawn: list[dict[str, Any]], arguments: dict[str, Any], direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_metrics.sdk.lazy_points._works", lambda: direct)
    instruments = without_collisions(drawn)
    assume(instruments)
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    official = PrometheusMetricReader(registry=theirs, **arguments)
    reader = PrometheusReader(registry=ours, self_metrics=False, **arguments)
    provider = MeterProvider(
        metric_readers=[official, reader],
        resource=Resource({"service.name": "shop", "zone": 'b"1', "n": 5}),
        views=views_for(instruments),
        shutdown_on_exit=False,
    )
    meter = provider.get_meter("tests", "1.0", "https://schema", {"scope.key": "value"})
    for one in instruments:
        record(meter, one)

    expected = parsed(generate_latest(theirs).decode())
    response = Endpoint(reader._exposition.scrape).respond("GET", "/metrics", {})
    assert parsed(b"".join(response.body).decode()) == expected
    assert parsed(generate_latest(ours).decode()) == expected
    assert reader._collisions.count == 0


def test_the_same_after_more_collections() -> None:
    """Also when new values and new series come between collections of either side."""
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    readers = [PrometheusMetricReader(registry=theirs, scope_info_enabled=True), PrometheusReader(registry=ours)]
    meter = MeterProvider(metric_readers=readers, shutdown_on_exit=False).get_meter("tests")
    histogram, counter = meter.create_histogram("work", "s"), meter.create_counter("calls")
    for turn in range(4):
        for series in range(turn + 1):
            histogram.record(turn * 10.5, {"series": str(series)})
            counter.add(turn + 0.5, {"series": str(series)})
        assert parsed(generate_latest(ours).decode()) == parsed(generate_latest(theirs).decode())
        if turn == 2:
            readers[1].force_flush()
