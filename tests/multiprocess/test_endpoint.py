"""The endpoint of one process answers for all that share a directory. Here every process is a runtime of its own."""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

import otel_metrics
from otel_metrics.errors import ConfigurationError
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.exporter import prometheus_proto

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = ""
OPENMETRICS = "application/openmetrics-text"
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

NOON = 20_000 * 86_400 + 43_200.0


@contextmanager
def process(directory: Path | None, **settings: Any) -> Iterator[Runtime]:
    made = Runtime(Settings(multiprocess_directory=directory, strict=True, **settings))
    try:
        yield made
    finally:
        made.close()


def scrape(runtime: Runtime, accept: str = TEXT) -> bytes:
    request = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "HTTP_ACCEPT": accept}
    return b"".join(runtime.reader.wsgi_app()(request, lambda _status, _headers: None))


def value(runtime: Runtime, name: str, *labels: str) -> float | None:
    """The sum of all series called ``name`` that have these labels, written as ``name="value"``."""
    lines = [line for line in scrape(runtime).decode().splitlines() if re.match(rf"{name}[{{ ]", line)]
    found = [float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in labels)]
    return sum(found) if found else None


def instance(runtime: Runtime) -> str:
    (found,) = set(re.findall('service_instance_id="([^"]*)"', scrape(runtime).decode()))
    return str(found)


def record(runtime: Runtime, part: int) -> None:
    """Half of what happens; values whose sums are exact in any order."""
    for i in range(part, 400, 2):
        runtime.advanced.record_performance_metric("shop", "response_time", "order", 0.25 * (i + 1), "s")
        runtime.advanced.record_performance_metric("shop", "load", "balance", float(i - 200), "points")
        runtime.advanced.record_feature_usage("shop", f"action{i % 5}", 1000.0 * i, i % 3 > 0)
        runtime.advanced.record_satisfaction("shop", "speed", i % 5 / 4)
        runtime.advanced.record_error("shop", "timeout", "warning")
        runtime.basic.record_learning_metric("shop", "lessons", i % 7)
    if part:
        runtime.advanced.record_resource_utilization("memory", "heap", 50.0, 2.0, 1.0, "MB")
        runtime.advanced.record_optimization_impact("shop", "o1", "speed", 4.0, 2.0, 0.5)


def lines(exposition: bytes) -> set[str]:
    """Samples of the features, without the identity, numbers in one form; and the metadata."""
    found = set()
    for line in exposition.decode().splitlines():
        if re.match(r"(# \w+ )?(feature|resource)_", line):
            sample = re.sub('service_instance_id="[^"]*"', "", line)
            found.add(re.sub(r" (-?[0-9.e+]+)$", lambda number: f" {float(number[1])}", sample))
    return found


def natives(exposition: bytes) -> dict[tuple[str, ...], Any]:
    """Count, sum, schema, zeros and native buckets of every histogram."""
    found = {}
    for name, family in prometheus_proto.read(exposition).items():
        for metric in family.metric:
            if prometheus_proto.type_of(family) == "HISTOGRAM":
                labels = prometheus_proto.labels_of(metric)
                labels.pop("service_instance_id")
                key = (name, *sorted(labels.values()))
                its = metric.histogram
                buckets = prometheus_proto.native_buckets(its)
                found[key] = (its.sample_count, its.sample_sum, its.schema, its.zero_count, buckets)
                assert its.HasField("start_timestamp")
    return found


def test_every_format_says_of_two_processes_what_it_would_say_of_one(tmp_path: Path) -> None:
    with process(None, clock=lambda: NOON) as alone:
        record(alone, 0)
        record(alone, 1)
        expected = {accept: scrape(alone, accept) for accept in (TEXT, OPENMETRICS, PROTOBUF)}
    with (
        process(tmp_path, clock=lambda: NOON) as first,
        process(tmp_path, clock=lambda: NOON) as second,
        process(tmp_path, clock=lambda: NOON) as third,
    ):
        record(first, 0)
        record(second, 1)
        assert lines(scrape(third)) == lines(expected[TEXT])
        assert lines(scrape(third, OPENMETRICS)) == lines(expected[OPENMETRICS])
        assert natives(scrape(third, PROTOBUF)) == natives(expected[PROTOBUF])
        assert len(natives(scrape(third, PROTOBUF))) == 17
        assert value(third, "otel_metrics_processes") == 3
        assert instance(third) == instance(first)


def test_what_processes_had_recorded_outlives_them(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        first.advanced.record_error("shop", "timeout", "warning")
        before = instance(first)
    with process(tmp_path) as second:
        second.advanced.record_error("shop", "timeout", "warning")
        assert value(second, "feature_errors_total", 'error_type="timeout"') == 2
        assert instance(second) == before
        assert value(second, "otel_metrics_processes") == 1


def test_the_ticker_shares_without_any_scrape(tmp_path: Path) -> None:
    with process(tmp_path) as first, process(tmp_path) as second:
        first.advanced.record_performance_metric("shop", "response_time", "order", 12.5, "ms")
        deadline = time.monotonic() + 120
        assert second.totals is not None
        while [row.value.n for row in second.totals.read().rows("feature.performance.duration")] != [1]:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_resources_are_those_of_the_fullest_living_process(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        first.advanced.record_resource_utilization("memory", "heap", 20.0)
        with process(tmp_path) as second:
            second.advanced.record_resource_utilization("memory", "heap", 90.0)
            assert value(second, "resource_utilization_ratio") == 0.9
            assert value(first, "resource_utilization_ratio") == 0.9
        assert value(first, "resource_utilization_ratio") == 0.2


def test_the_newest_measurement_of_an_optimization_outlives_its_process(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        first.advanced.record_optimization_impact("shop", "o1", "speed", 4.0, 3.0)
        scrape(first)
        with process(tmp_path) as second:
            second.advanced.record_optimization_impact("shop", "o1", "speed", 4.0, 2.0)
        assert value(first, "feature_optimization_after") == 2.0


def test_the_days_of_all_processes(tmp_path: Path) -> None:
    now = NOON
    with process(tmp_path, clock=lambda: now) as first, process(tmp_path, clock=lambda: now) as second:
        first.advanced.record_satisfaction("shop", "speed", 0.25)
        second.advanced.record_satisfaction("shop", "speed", 0.75)
        first.recorder.flusher.flush()
        second.recorder.flusher.flush()
        now += 86_400
        first.advanced.record_satisfaction("shop", "speed", 0.5)
        assert value(first, "feature_daily_values", 'day="current"') == 1
        assert value(first, "feature_daily_values", 'day="previous"') == 2
        assert value(second, "feature_daily_min", 'day="previous"') == 0.25
        assert value(second, "feature_daily_max", 'day="previous"') == 0.75
        assert value(second, "feature_daily_sum_of_values", 'day="previous"') == 1.0


def test_exemplars_of_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    span = TracerProvider().get_tracer("test").start_as_current_span("work")
    with process(tmp_path) as first, process(tmp_path) as second:
        first.advanced.record_satisfaction("shop", "speed", 0.9, interaction_id="i-7")
        with span as current:
            first.advanced.record_performance_metric("shop", "response_time", "order", 0.3, "s")
            first.advanced.record_error("shop", "timeout", "warning")
        first.recorder.flusher.flush()
        trace_id = f"{current.get_span_context().trace_id:032x}"
        shown = [line.split(" # ")[1] for line in scrape(second, OPENMETRICS).decode().splitlines() if " # " in line]
        assert [each for each in shown if each.startswith('{interaction_id="i-7"} 0.9 ')]
        of_trace = [each for each in shown if each.startswith(f'{{trace_id="{trace_id}",span_id="')]
        assert sorted(each.split("} ")[1].split(" ")[0] for each in of_trace) == ["0.3", "1.0"]
        buckets = [line for line in scrape(second, OPENMETRICS).decode().splitlines() if "} 0.3 " in line]
        assert [re.findall('le="([^"]*)"', line) for line in buckets] == [["0.3"]] or len(buckets) == 1
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", "always_off")
    with process(tmp_path / "other") as third:
        third.advanced.record_satisfaction("shop", "speed", 0.9, interaction_id="i-7")
        assert b" # {" not in scrape(third, OPENMETRICS)


def test_series_begin_before_their_first_value(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        before = time.time()
        first.advanced.record_error("shop", "timeout", "warning")
        family = prometheus_proto.read(scrape(first, PROTOBUF))["feature_errors_total"]
        for metric in family.metric:
            started = metric.counter.start_timestamp
            assert before - 2.0 < started.seconds + started.nanos / 1e9 <= before


def test_scrapes_of_all_processes_are_counted(tmp_path: Path) -> None:
    with process(tmp_path) as first, process(tmp_path) as second:
        seen = [value(each, "otel_metrics_scrapes_total") for each in (first, first, second, second, first, second)]
        assert seen == [0, 1, 2, 3, 4, 5]


def test_a_directory_that_vanishes_is_begun_anew_and_said(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    with process(shared) as first, process(shared) as second:
        first.advanced.record_error("shop", "timeout", "warning")
        before = instance(first)
        shutil.rmtree(shared)
        first.advanced.record_error("shop", "timeout", "warning")
        assert instance(first) != before
        assert value(first, "feature_errors_total", 'error_type="timeout"') == 1
        assert value(first, "otel_metrics_shared_errors_total", 'reason="replaced"') == 1
        assert instance(second) == instance(first)


def test_where_nothing_can_be_written_a_process_answers_for_itself(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    with process(shared) as first:
        before = instance(first)
        shutil.rmtree(shared)
        shared.write_text("no directory")
        first.advanced.record_error("shop", "timeout", "warning")
        assert instance(first) != before
        first.advanced.record_error("shop", "timeout", "warning")
        assert value(first, "feature_errors_total", 'error_type="timeout"') == 2
        assert value(first, "otel_metrics_shared_errors_total", 'reason="not_ours"')
        shared.unlink()
        assert value(first, "feature_errors_total", 'error_type="timeout"') == 2


def test_a_forked_child_goes_on_with_the_same_totals(tmp_path: Path) -> None:
    receive, send = os.pipe()
    with otel_metrics.testing.recording(multiprocess_directory=tmp_path) as metrics:
        metrics.advanced.record_error("shop", "timeout", "warning")
        child = os.fork()
        if child == 0:
            try:
                metrics.advanced.record_error("shop", "timeout", "warning")
                seen = metrics.value("feature_errors_total"), metrics.value("otel_metrics_processes")
                os.write(send, repr(seen).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        # What the parent had not shared yet is the parent's to share.
        assert os.read(receive, 100) in {b"(1.0, 2.0)", b"(2.0, 2.0)"}
        assert metrics.value("feature_errors_total") == 2
        assert metrics.value("otel_metrics_processes") == 1


def _in_pool(_: int) -> None:
    otel_metrics.get_advanced_metrics().record_error("shop", "timeout", "warning")


def test_the_children_of_a_pool_share_what_they_recorded_last(tmp_path: Path) -> None:
    with otel_metrics.testing.recording(multiprocess_directory=tmp_path) as metrics:
        with get_context("fork").Pool(2) as pool:
            pool.map(_in_pool, range(40))
            pool.close()
            pool.join()
        assert metrics.value("feature_errors_total") == 40


def test_an_applications_own_provider_is_not_shared(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="multiprocess_directory="):
        Settings(multiprocess_directory=tmp_path, meter_provider=MeterProvider())


def test_the_variable(tmp_path: Path) -> None:
    assert Settings.from_env({"OTM_MULTIPROCESS_DIR": str(tmp_path)}).multiprocess_directory == str(tmp_path)
