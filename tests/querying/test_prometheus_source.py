"""The Prometheus source against answers that no engine should give, and against samples that no process should have."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import closing
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.catalogue import ERRORS
from otel_metrics.errors import BadAnswerError, BadQueryError, QueryError, QueryTimeoutError, RefusedError
from otel_metrics.querying import plans, shaping
from otel_metrics.querying.client import PrometheusClient
from otel_metrics.querying.prometheus_source import PrometheusSource
from otel_metrics.querying.source import Period, TotalQuery
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.querying.fake import failure, replies, serving, success
from tests.querying.history import MIDNIGHT, write
from tests.servers import version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.querying.fake import Answer, Server
    from tests.servers import Servers

HOUR = Period(1000.0, 4600.0)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def source(server: Server) -> Iterator[PrometheusSource]:
    with closing(PrometheusClient(server.url)) as client:
        yield PrometheusSource(client, time.time)


def part(name: str, **rest: Any) -> dict[str, Any]:
    return {"metric": {"part": name}, **rest}


@pytest.mark.parametrize(
    "sample",
    [
        {},
        None,
        "sample",
        {"metric": {}},
        {"metric": {}, "value": []},
        {"metric": {}, "value": [1]},
        {"metric": {}, "value": [1, "many"]},
        {"metric": {}, "value": [1, None]},
        {"metric": None, "value": [1, "2"]},
        {"metric": [], "value": [1, "2"]},
        {"metric": {"part": "responses:number", "satisfied": 1}, "value": [1, "2"]},
        {"metric": {}, "histogram": []},
        {"metric": {}, "histogram": [1]},
        part("score:native", histogram=[1, {}]),
        part("score:native", histogram=[1, {"count": "3", "sum": "x"}]),
        part("score:native", histogram=[1, {"count": "3", "sum": "1"}]),
        part("score:native", histogram=[1, {"count": "3", "sum": "1", "buckets": [[0, "1"]]}]),
        part("score:native", histogram=[1, "histogram"]),
        part("score:buckets", value=[1, "2"]),
        {"metric": {"part": "score:buckets", "le": "high"}, "value": [1, "2"]},
    ],
)
def test_samples_that_make_no_sense(server: Server, source: PrometheusSource, sample: Any) -> None:
    server.answers = [success(), success(sample)]
    with pytest.raises(BadAnswerError):
        source.fetch(plans.satisfaction("chat"), HOUR)


def test_an_answer_without_anything_is_no_data(source: PrometheusSource) -> None:
    assert shaping.dashboard(source.fetch(plans.dashboard(), HOUR))["has_data"] is False


def test_warnings_of_the_server_are_passed_on_once(server: Server, source: PrometheusSource) -> None:
    server.answers = [success(), success(warnings=["half of the data is missing"], infos=["no counter"])]
    board = shaping.dashboard(source.fetch(plans.dashboard(), HOUR))
    assert board["warnings"] == ["half of the data is missing", "no counter"]


def test_warnings_of_the_server_about_a_day_are_passed_on(server: Server, source: PrometheusSource) -> None:
    key = {"feature": "chat", "metric_type": "usage", "metric_name": "ask", "unit": "seconds"}
    row = {"metric": {**key, "part": "count"}, "value": [1, "3"]}
    server.answers = [success(), success(row, warnings=["half of the data is missing"])]
    (found,) = shaping.daily(source.day(date(2025, 12, 14)))
    assert (found["count"], found["warnings"]) == (3, ["half of the data is missing"])


def test_an_engine_that_does_not_know_native_histograms_is_asked_without_them(
    server: Server, source: PrometheusSource
) -> None:
    server.answers = [success(), failure(422, "422"), success()]
    source.fetch(plans.performance("chat"), HOUR)
    sent = [form["query"][0] for _, _, form in server.requests]
    assert "histogram_count" in sent[1]
    assert not any("histogram_count" in query for query in sent[2:])
    server.requests.clear()
    source.fetch(plans.performance("chat"), HOUR)
    assert not any("histogram_count" in form["query"][0] for _, _, form in server.requests), "it is remembered"


def built(**data: str) -> Answer:
    return replies(200, json.dumps({"status": "success", "data": data}))


# As Prometheus 3.16, Debian's 3.5, VictoriaMetrics 1.151, Thanos Query 0.42 and Mimir answer.
@pytest.mark.parametrize(
    ("build", "dialect"),
    [
        (built(version="3.16.0", revision="", goVersion="go1.26.8"), "prometheus"),
        (built(version="3.5.3+ds1", revision="3.5.3+ds1-6", goVersion="go1.27.1"), "prometheus-3.5"),
        (built(version="2.24.0"), "victoriametrics"),
        (built(version="0.42.0", revision="", goVersion="go1.26.8"), "prometheus-3.5"),
        (built(version="r362-2a1b", goVersion="go1.26.8"), "prometheus-3.5"),
        (replies(404, "404 page not found"), "prometheus-3.5"),
        (replies(403), "prometheus-3.5"),
        (replies(200, '{"status": "success", "data": []}'), "prometheus-3.5"),
    ],
)
def test_the_server_says_once_what_it_is(server: Server, source: PrometheusSource, build: Answer, dialect: str) -> None:
    server.build = build
    for _ in range(2):
        source.fetch(plans.errors(), HOUR)
        source.day(date(2025, 12, 14))
    assert source.dialect.name == dialect
    assert server.asked == ["/api/v1/status/buildinfo"]


def test_a_server_that_does_not_say_what_it_is_does_not_hold_up_the_answer(server: Server) -> None:
    def hangs(_: object) -> None:
        server.done.wait()

    server.build = hangs
    server.answers = [success(part("errors:number", value=[1, "2"]))]
    with closing(PrometheusClient(server.url, timeout=600)) as client:
        source = PrometheusSource(client, time.time)
        for _ in range(2):
            assert source.fetch({"errors": TotalQuery(ERRORS)}, HOUR).numbers("errors") == [({}, 2)]
    assert len(server.asked) == 1


def test_what_real_servers_say(servers: Servers) -> None:
    found = version("prometheus")
    for running, dialect in (
        (servers.prometheus(), "prometheus" if found >= (3, 16) else "prometheus-3.5"),
        (servers.victoria_metrics(), "victoriametrics"),
    ):
        with closing(PrometheusClient(running.url)) as client:
            assert PrometheusSource(client, time.time).dialect.name == dialect


def test_rows_that_two_servers_recorded_are_computed_anew_or_say_so(server: Server, source: PrometheusSource) -> None:
    key = {"feature": "chat", "metric_type": "usage", "metric_name": "ask", "unit": "seconds"}
    columns = {"count": ("100", "300"), "avg_value": ("1", "2"), "percentile_50": ("1", "2")}

    def row(name: str, value: str, **more: str) -> dict[str, Any]:
        return {"metric": {**key, **more, "part": name}, "value": [1, value]}

    twice = [row(name, value, shard=str(n)) for name, values in columns.items() for n, value in enumerate(values)]
    # Which processes there were, the recorded rows; then the same about what can be computed.
    server.answers = [success(), success(*twice), success()]
    (found,) = shaping.daily(source.day(date(2025, 12, 14)))
    assert found["count"] == 300
    (warning,) = found["warnings"]
    assert "recorded several times" in warning
    sums = {"count": "400", "total": "700", "squares": "1300", "low": "1", "high": "2"}
    computed = [row(name, value) for name, value in sums.items()]
    server.answers = [success(), success(*twice), success(*computed)]
    (found,) = shaping.daily(source.day(date(2025, 12, 14)))
    assert found["count"] == 400
    assert found["avg_value"] == 1750
    assert "warnings" not in found


class Between(PrometheusClient):
    """Lets something happen between its first query and the second."""

    def __init__(self, url: str, happen: Callable[[], object]) -> None:
        super().__init__(url)
        self._happen: Iterator[Callable[[], object]] = iter([happen])

    def query(self, expression: str, when: float) -> tuple[list[Any], tuple[str, ...]]:
        answer = super().query(expression, when)
        next(self._happen, bool)()
        return answer


@pytest.mark.parametrize("native", [False, True], ids=["classic", "native"])
def test_a_process_that_ends_while_it_is_asked_about_is_counted(servers: Servers, native: bool) -> None:
    """The end of the period lies ahead, as if the scrape that fails had begun before it."""
    with closing(Runtime(Settings())) as application:
        endpoint = application.serve(port=0)
        server = servers.prometheus(targets=[endpoint.url], native=native)
        for _ in range(3):
            application.advanced.record_feature_usage("chat", "ask", 12.5)
        server.wait_for("feature_usage_total", lambda rows: "3" in [row["value"][1] for row in rows])
        assert server.holds_native("feature_usage_duration_seconds") is native

        def end() -> None:
            application.close()
            server.wait_for("up == 0")

        now = time.time() + 60
        with closing(Between(server.url, end)) as client:
            answer = PrometheusSource(client, time.time).fetch(plans.usage("chat"), Period(now - 3600, now))
        assert shaping.usage(answer, "chat")["total_usage"] == 3


@pytest.mark.parametrize("kind", ["timeout", "canceled", "unavailable", "internal"])
def test_what_is_not_the_querys_fault_is_not_asked_again(server: Server, source: PrometheusSource, kind: str) -> None:
    server.answers = [success(), failure(503, kind)]
    with pytest.raises(QueryTimeoutError if kind == "timeout" else BadQueryError):
        source.fetch(plans.errors(), HOUR)
    assert len(server.requests) == 2


def test_getters_raise_typed_errors(server: Server) -> None:
    with closing(Runtime(Settings(prometheus_url=server.url, prometheus_unavailable="raise"))) as runtime:
        server.answers = [replies(403)]
        for get in (
            runtime.advanced.get_comprehensive_dashboard,
            runtime.advanced.get_error_stats,
            runtime.advanced.aggregate_daily_metrics,
        ):
            with pytest.raises(RefusedError) as raised:
                get()
            assert isinstance(raised.value, QueryError)


def test_values_that_are_not_numbers_are_left_out_and_said_so(
    session_servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = defaultdict[str, list[str]](list)
    name = "resource_utilization_ratio"
    for resource, value in (("odd", "NaN"), ("even", "0.5"), ("full", "+Inf")):
        lines[name].append(f'{name}{{resource_type="memory",resource_name="{resource}"}} {value} {MIDNIGHT:.3f}\n')
    data = write(lines, tmp_path_factory.mktemp("nan"))
    server = session_servers.prometheus(data=data, flags=["--storage.tsdb.retention.time=100y"])
    with closing(PrometheusClient(server.url)) as client:
        source = PrometheusSource(client, time.time)
        found = shaping.resources(source.fetch(plans.resources(), Period(MIDNIGHT - 60, MIDNIGHT + 60)))
    assert [(row["resource_name"], row["utilization_percent"]) for row in found["resources"]] == [("even", 50.0)]
    assert found["warnings"] == ["2 values that are not finite numbers were left out"]


@pytest.mark.parametrize(
    ("processes", "interval", "lifetime"),
    [(30, 30, 300), (250, 30, 300), (3, 30, 7200), (3, 600, 7200), (1, 3600, 40_000)],
    ids=["short-lived", "too many to name", "long-lived", "scraped rarely", "hardly scraped at all"],
)
def test_processes_of_any_kind_are_counted_exactly(
    session_servers: Servers, tmp_path_factory: pytest.TempPathFactory, processes: int, interval: int, lifetime: int
) -> None:
    """Each process makes one error a second from its birth on; what counts is what was scraped."""
    lines = defaultdict[str, list[str]](list)
    scrapes: list[tuple[int, float, int]] = []
    for process in range(processes):
        born = MIDNIGHT + process * 37
        for age in range(interval - process % interval, lifetime, interval):
            identity = f'service_instance_id="process-{process}"'
            labels = f'{identity},feature="chat",severity="error",error_type="E",recovery="none",impact_level="low"'
            lines["feature_errors_total"].append(f"feature_errors_total{{{labels}}} {age} {born + age:.3f}\n")
            lines["otel_metrics_series"].append(f"otel_metrics_series{{{identity}}} 1 {born + age:.3f}\n")
            scrapes.append((process, born + age, age))
    data = write(lines, tmp_path_factory.mktemp("processes"))
    server = session_servers.prometheus(data=data, flags=["--storage.tsdb.retention.time=100y"])
    edges = [
        MIDNIGHT - 100,
        *(MIDNIGHT + 1000.5 + n * lifetime / 3 for n in range(4)),
        MIDNIGHT + 14_000,
        MIDNIGHT + 50_000,
    ]
    with closing(PrometheusClient(server.url)) as client:
        source = PrometheusSource(client, time.time)
        for start, end in [*pairwise(edges), (edges[0], edges[-1]), (edges[1], edges[-2])]:
            expected = 0
            for process in range(processes):
                ages = [(when, age) for who, when, age in scrapes if who == process]
                last = max((age for when, age in ages if start < when <= end), default=None)
                if last is not None:
                    expected += last - max((age for when, age in ages if when <= start), default=0)
            found = shaping.errors(source.fetch(plans.errors("chat"), Period(start, end)))
            assert found["total_errors"] == expected, (start - MIDNIGHT, end - MIDNIGHT)


def test_a_process_without_a_name_that_is_text_is_a_bad_answer(server: Server, source: PrometheusSource) -> None:
    seen, odd = {"part": "seen"}, {"part": "irregular", "service_instance_id": 3}
    server.answers = [success(*({"metric": labels, "value": [1, "1"]} for labels in (seen, odd)))]
    with pytest.raises(BadAnswerError):
        source.fetch(plans.satisfaction("chat"), HOUR)
