"""Queries as text: typed by hand where it matters, and read by a real Prometheus."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_metrics.catalogue import ERRORS, OPTIMIZATION_AFTER, PERFORMANCE_DURATION, PERFORMANCE_VALUE
from otel_metrics.promql import Series, equal, milliseconds, quoted
from otel_metrics.querying import plans
from otel_metrics.querying.client import PrometheusClient
from otel_metrics.querying.expressions import LONGEST, Irregular, Moment, batches, parts, processes
from otel_metrics.querying.prometheus_source import NAMED
from otel_metrics.querying.source import DistributionQuery, LatestQuery, Period, TotalQuery

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_metrics.querying.source import Query
    from tests.servers import Prometheus, Servers

HOUR = Period(1_700_000_000.0, 1_700_003_600.0)


def only(query: Query, irregular: Irregular | None = None) -> dict[str, str]:
    return {name: str(expression) for name, expression in parts({"q": query}, Moment(HOUR, irregular)).items()}


def test_a_total_is_an_exact_difference() -> None:
    found = only(TotalQuery(ERRORS, ("severity",), (("feature", "chat"),)))
    assert found == {
        "q:number": (
            'sum by (severity) (last_over_time(feature_errors_total{feature="chat"}[3600000ms] @ 1700003600.000)'
            ' - (last_over_time(feature_errors_total{feature="chat"}[3600000ms] @ 1700000000.000)'
            ' or last_over_time(feature_errors_total{feature="chat"}[3600000ms] @ 1700003600.000) * 0))'
        )
    }


def test_a_distribution_is_asked_for_in_both_forms() -> None:
    found = only(DistributionQuery(PERFORMANCE_DURATION, ("metric_category",)))
    assert list(found) == ["q:native", "q:buckets", "q:sum", "q:count", "q:low", "q:high"]
    assert found["q:native"].startswith(
        "sum by (metric_category) (last_over_time(feature_performance_duration_seconds["
    )
    assert found["q:buckets"].startswith(
        "(sum by (metric_category, le) (last_over_time(feature_performance_duration_seconds_bucket["
    )


def test_the_extremes_of_the_days_bound_what_lies_in_them() -> None:
    found = only(DistributionQuery(PERFORMANCE_DURATION, ("metric_category",), (("metric_name", "reply"),)))
    assert found["q:high"] == (
        'max by (metric_type) (last_over_time(feature_daily_max{metric_name="reply",unit="seconds"}[3600000ms] @ 1700003600.000))'
    )
    two_days = Period(HOUR.end - 3 * 86_400, HOUR.end)
    assert "q:high" not in parts({"q": DistributionQuery(PERFORMANCE_DURATION)}, Moment(two_days)), (
        "older days are not known"
    )


def test_signed_values_are_grouped_by_sign() -> None:
    assert "sum by (feature, sign, le) (" in only(DistributionQuery(PERFORMANCE_VALUE, ("feature",)))["q:buckets"]


def test_what_is_scraped_at_both_edges_is_subtracted_whatever_lies_in_between() -> None:
    assert only(TotalQuery(ERRORS, ("severity",)), Irregular()) == {
        "q:number": (
            "sum by (severity) (feature_errors_total @ 1700003600.000)"
            " - (sum by (severity) (feature_errors_total @ 1700000000.000)"
            " or sum by (severity) (feature_errors_total @ 1700003600.000) * 0)"
        )
    }


def test_only_irregular_processes_are_searched_when_they_are_known() -> None:
    none = only(LatestQuery(OPTIMIZATION_AFTER, ("feature",)), Irregular())
    assert none["q:number"] == "max by (feature) (feature_optimization_after @ 1700003600.000)"
    some = only(LatestQuery(OPTIMIZATION_AFTER, ("feature",)), Irregular(("a.b", "c")))
    assert some["q:number"] == (
        "max by (feature) (feature_optimization_after @ 1700003600.000) or "
        "max by (feature) (last_over_time(feature_optimization_after"
        '{service_instance_id=~"a\\\\.b|c"}[3600000ms] @ 1700003600.000))'
    )


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("plain", '"plain"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("two\nlines", r'"two\x0alines"'),
        ("\ud800", '"\\uFFFD"'),
        ("{}[]()=~!#,", '"{}[]()=~!#,"'),
        ("日本 é", '"日本 é"'),
    ],
)
def test_string_literals(text: str, literal: str) -> None:
    assert quoted(text) == literal


def test_durations_have_a_millisecond_at_least() -> None:
    assert [milliseconds(s) for s in (1e-9, 0.0015, 3600, 90061.0004)] == [
        "1ms",
        "2ms",
        "3600000ms",
        "90061000ms",
    ]


def test_several_expressions_become_as_few_queries_as_engines_take() -> None:
    assert list(batches({"a": Series("up"), "b": Series("down")})) == [
        'label_replace(up, "part", "a", "", "") or label_replace(down, "part", "b", "", "")'
    ]
    many = list(batches({str(n): Series("x" * 1000) for n in range(40)}))
    assert len(many) == 3
    assert all(len(query) <= LONGEST for query in many)


# ------------------------------------------------------------------------------------------------------ real servers
@pytest.fixture(scope="module")
def prometheus(session_servers: Servers) -> Prometheus:
    return session_servers.prometheus()


ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(text=ANY_TEXT)
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives_prometheus(prometheus: Prometheus, text: str) -> None:
    """What goes into a string literal comes out as the value of a label."""
    client = PrometheusClient(prometheus.url)
    try:
        samples, _ = client.query(f'label_replace(vector(1), "x", {quoted(text.replace("$", "$$"))}, "", "")', 1)
    finally:
        client.close()
    assert [sample.labels.get("x") for sample in samples] == [text]


def test_any_text_selects_its_series(session_servers: Servers, tmp_path: Path) -> None:
    """Stored by Prometheus as the value of a label, selected by it, and by nothing else."""
    texts = [
        *map(chr, [*range(0x21), 0x22, 0x24, 0x27, 0x5C, 0x60, 0x7B, 0x7F, 0x85, 0x2028, 0xFFFD, 0x1F600, 0x10FFFF]),
        'a"b',
        "a\\b",
        "a\\nb",
        "${x}",
        ".*",
        "a|b",
        "%41",
        'x"} or vector(1) or y{z="',
        "é",
        "e\u0301",
    ]
    rule = tmp_path / "rules.yml"  # a rule can label its result with anything
    rules = [
        {"record": "text", "expr": "vector(1)", "labels": {"value": text, "n": str(n)}} for n, text in enumerate(texts)
    ]
    rule.write_text(yaml.safe_dump({"groups": [{"name": "texts", "rules": rules}]}), encoding="utf-8")
    server = session_servers.prometheus(rules=[rule])
    server.wait_for("count(text)", lambda rows: rows and rows[0]["value"][1] == str(len(texts)))
    client = PrometheusClient(server.url)
    try:
        for n, text in enumerate(texts):
            samples, _ = client.query(str(Series("text", (equal("value", text),))), time.time())
            assert [sample.labels["n"] for sample in samples] == [str(n)], repr(text)
    finally:
        client.close()


PLANS: dict[str, Callable[[Any], dict[str, Query]]] = {
    "performance": lambda text: plans.performance(text, text),
    "metric_statistics": lambda text: plans.metric_statistics(text, text),
    "satisfaction": lambda text: plans.satisfaction(text, text),
    "usage": plans.usage,
    "errors": plans.errors,
    "learning": lambda text: plans.learning(text, text),
    "optimization": lambda text: plans.optimization(text, text),
    "resources": lambda text: plans.resources(text, text),
    "dashboard": plans.dashboard,
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("irregular", [None, Irregular(), Irregular(("a.b", 'c"', "\\", ""))])
def test_every_plan_is_a_query_that_prometheus_understands(
    prometheus: Prometheus, name: str, irregular: Irregular | None
) -> None:
    client = PrometheusClient(prometheus.url)
    try:
        for text, seconds in itertools.product(('x"} \\ \n', None), (0.001, 90_061.0004, 40 * 86_400.0)):
            if text is None and name == "metric_statistics":
                continue
            period = Period(time.time() - seconds, time.time())
            asked = {**parts(PLANS[name](text), Moment(period, irregular)), **processes(period)}
            for batch in batches(asked):
                assert client.query(batch, time.time()) == ([], ())
    finally:
        client.close()


def test_no_query_is_longer_than_every_engine_takes() -> None:
    """Whatever processes started or ended meanwhile, and with the longest name that a feature can have."""
    restarted = Irregular(tuple(f"{n:036x}" for n in range(NAMED // 36)))
    dashboard = parts(plans.dashboard("f" * 200), Moment(HOUR, restarted))
    assert max(map(len, batches(dashboard))) <= 16_000
