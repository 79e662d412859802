"""Configuration, serving, providers of the application's own, forks."""

from __future__ import annotations

import copy
import gc
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import time
import urllib.request
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from prometheus_client import CollectorRegistry

import otel_metrics
from otel_metrics import AdvancedMetrics, ConfigurationError, testing
from otel_metrics.errors import InvalidArgumentError
from otel_metrics.exporter import PrometheusReader
from otel_metrics.recording.ticker import Ticker
from tests.processes import DEADLINE
from tests.recording.streams import only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_metrics.settings import LogLevel
    from tests.servers import Servers


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
        text: str = answer.read().decode()
        return text


def python(code: str, **environment: str) -> str:
    """Run code in a process of its own and return what it prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_works_without_any_configuration() -> None:
    printed = python(
        "import otel_metrics as m\n"
        "a = m.get_advanced_metrics(); a.record_feature_usage('f', 'a', 10.0)\n"
        "print(a.get_feature_usage_stats('f')['total_usage'], m.get_metrics_collector() is m.get_metrics_collector())"
    )

    assert printed.split() == ["1", "True"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
@pytest.mark.parametrize("recorded_before", [False, True])
def test_a_copy_records_where_the_process_records(
    copied: Callable[[AdvancedMetrics], AdvancedMetrics], recorded_before: bool
) -> None:
    """As one that an object of the application's holds, which is copied or goes to a worker process."""
    with testing.recording() as before:
        if recorded_before:
            before.advanced.record_error("engine", "Timeout")
        for each in (before.advanced, Named()):
            another = copied(each)
            another.record_error("engine", "Copied")
            otel_metrics.configure()
            another.record_error("engine", "Copied")
            assert before.advanced.get_error_stats("engine")["by_type"] == {"Copied": 1}
            assert getattr(another, "name", "engine") == "engine"


class Named(AdvancedMetrics):
    name = ""

    def __init__(self) -> None:
        super().__init__()
        self.name = "engine"


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_an_object_that_goes_to_a_worker_process_records_there(tmp_path: Path, start: str) -> None:
    (tmp_path / "engine.py").write_text(
        "import multiprocessing, sys\n"
        "class Engine:\n"
        "    def __init__(self, metrics):\n"
        "        self.metrics = metrics\n"
        "    def train(self, number):\n"
        "        self.metrics.record_feature_usage('engine', 'train', 1.0)\n"
        "if __name__ == '__main__':\n"
        "    import otel_metrics\n"
        "    engine = Engine(otel_metrics.get_advanced_metrics())\n"
        "    engine.train(0)\n"
        "    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:\n"
        "        pool.map(engine.train, range(9))\n"
        "    print(engine.metrics.get_feature_usage_stats('engine')['total_usage'])\n"
    )
    environment = {**os.environ, "OTM_MULTIPROCESS_DIR": "shared"}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "engine.py", start]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("10\n", "")


def test_counters_begin_in_the_call_whatever_a_thread_does_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that begins in a scrape begins after the scrape's time, and Prometheus does not count what it counted before.

    A process that forks right after its first call must not leave a thread in the SDK, whose locks its child would wait for.
    """
    monkeypatch.setattr(Ticker, "start", lambda *_: None)
    reader = InMemoryMetricReader()
    with testing.recording(meter_provider=MeterProvider([reader], shutdown_on_exit=False)) as metrics:
        metrics.advanced.record_error("engine", "Timeout")
        metrics.advanced.record_feature_usage("engine", "train", success=None)
        returned = time.time_ns()
        collected: Any = reader.get_metrics_data()
    begun = {
        point.attributes.get("recovery") or point.attributes["outcome"]: point.start_time_unix_nano
        for scope in collected.resource_metrics[0].scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if metric.name in {"feature.errors", "feature.usage"}
    }
    assert begun.keys() == {"none", "failed", "succeeded", "unknown", "success", "failure"}
    assert max(begun["none"], begun["unknown"]) <= returned


def test_serve_listens_on_loopback_and_stops() -> None:
    with testing.recording() as metrics:
        metrics.advanced.record_feature_usage("engine", "train")
        handle = otel_metrics.serve(port=0)

        assert handle.url == f"http://localhost:{handle.port}/metrics"
        assert 'feature_usage_total{action="train"' in scrape(handle.url)
        handle.close()
        with pytest.raises(OSError, match="refused"):
            scrape(handle.url)


def test_service_name_and_instance_follow_the_specification() -> None:
    printed = python(
        "import otel_metrics as m, urllib.request as u\n"
        "m.get_advanced_metrics().record_feature_usage('f', 'a')\n"
        "print(u.urlopen(m.serve(port=0).url).read().decode())",
        OTEL_SERVICE_NAME="shop",
        OTEL_RESOURCE_ATTRIBUTES="service.instance.id=shop-1",
    )

    assert 'service_name="shop"' in printed
    assert 'feature_usage_total{action="a"' in printed
    assert 'service_instance_id="shop-1-' in printed, "made unique: a restarted pod must not go on in its own series"


def test_an_instance_that_nobody_named_has_a_short_id_of_its_own() -> None:
    printed = python(
        "import otel_metrics as m, urllib.request as u\n"
        "m.get_advanced_metrics().record_feature_usage('f', 'a')\n"
        "print(u.urlopen(m.serve(port=0).url).read().decode())",
    )
    (found,) = set(re.findall('service_instance_id="([^"]*)"', printed))
    assert re.fullmatch("[0-9a-f]{12}", found), "every line has it"


def test_a_provider_of_the_applications_own_receives_everything() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], views=otel_metrics.views())
    with testing.recording(meter_provider=provider) as metrics:
        metrics.advanced.record_performance_metric("api", "response_time", "lookup", 125.5, "ms")
        data = json.loads(reader.get_metrics_data().to_json())  # type: ignore[union-attr]
        with pytest.raises(ConfigurationError, match="meter_provider is yours"):
            otel_metrics.serve(port=0)

    names = {m["name"] for scope in data["resource_metrics"][0]["scope_metrics"] for m in scope["metrics"]}
    assert {"feature.performance.duration", "feature.daily.sum_of_values"} <= names
    provider.shutdown()


def test_a_provider_without_our_views_gets_the_same_buckets() -> None:
    registry = CollectorRegistry()
    provider = MeterProvider([PrometheusReader(registry=registry)])
    with testing.recording(meter_provider=provider) as metrics:
        metrics.advanced.record_performance_metric("api", "response_time", "lookup", 125.5, "ms")
        labels = {"feature": "api", "metric_category": "response_time", "metric_name": "lookup"}
        for bound, count in (("0.1", 0), ("0.15", 1)):
            assert (
                registry.get_sample_value("feature_performance_duration_seconds_bucket", {**labels, "le": bound})
                == count
            )
    provider.shutdown()


def test_configuring_late_warns_about_what_is_no_longer_exported(caplog: pytest.LogCaptureFixture) -> None:
    with testing.recording() as metrics:
        metrics.advanced.record_feature_usage("engine", "train")
        otel_metrics.configure(strict=True)
        try:
            assert "configure first, then record" in caplog.text
        finally:
            otel_metrics.shutdown()


def test_a_recording_sees_what_is_recorded_before_and_after_the_application_configures() -> None:
    with testing.recording() as metrics:
        otel_metrics.get_advanced_metrics().record_error("billing", "Overdrawn")
        otel_metrics.configure(satisfaction_threshold=0.5)
        otel_metrics.get_advanced_metrics().record_error("billing", "Overdrawn")
        metrics.advanced.record_satisfaction("billing", "overall", 0.6)
        assert metrics.value("feature_errors_total", error_type="Overdrawn") == 2
        assert metrics.value("feature_satisfaction_responses_total", satisfied="true") == 1
        with pytest.raises(InvalidArgumentError):
            metrics.advanced.record_error("", "")
        otel_metrics.shutdown()
        assert metrics.value("feature_errors_total", error_type="Overdrawn") == 2
        otel_metrics.get_advanced_metrics().record_error("billing", "Overdrawn")
    assert metrics.value("feature_errors_total", error_type="Overdrawn") == 3


def test_what_the_application_says_itself_is_stronger_than_the_recording() -> None:
    with testing.recording() as metrics:
        otel_metrics.configure(strict=False)
        metrics.advanced.record_error("", "")
    assert metrics.value("otel_metrics_rejected_total", call="record_error") == 1


def test_a_recording_inside_another_keeps_its_own() -> None:
    with testing.recording() as outer:
        outer.advanced.record_error("billing", "Outer")
        with testing.recording() as inner:
            otel_metrics.configure()
            inner.advanced.record_error("billing", "Inner")
        outer.advanced.record_error("billing", "Outer")
        otel_metrics.configure()
    assert (outer.value("feature_errors_total", error_type="Outer"), inner.value("feature_errors_total")) == (2, 1)
    assert outer.value("feature_errors_total", error_type="Inner") is None


def test_configuring_after_serving_warns_about_what_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    with testing.recording():
        otel_metrics.serve(port=0).close()
        handle = otel_metrics.serve(port=0)
        otel_metrics.configure(strict=True)
        try:
            (record,) = caplog.records
            assert record.getMessage().startswith(f"configure(): {handle.url} is closed")
            with pytest.raises(OSError, match="refused"):
                scrape(handle.url)
        finally:
            otel_metrics.shutdown()


def test_a_forked_child_counts_its_own_and_not_its_parents() -> None:
    printed = python(
        "import os, otel_metrics as m, urllib.request as u\n"
        "a = m.get_advanced_metrics(); a.record_feature_usage('f', 'parent'); a.get_feature_usage_stats()\n"
        "pid = os.fork()\n"
        "a.record_feature_usage('f', 'child' if pid == 0 else 'parent')\n"
        "stats = a.get_feature_usage_stats()['by_action']\n"
        "if pid: os.waitpid(pid, 0)\n"
        "print('parent' if pid else 'child', {k: v['total_usage'] for k, v in stats.items()})"
    )

    assert sorted(printed.splitlines()) == ["child {'child': 1}", "parent {'parent': 2}"]


def count_of(reader: InMemoryMetricReader, name: str) -> float:
    data: Any = reader.get_metrics_data()
    (point,) = next(
        metric.data.data_points
        for scope in data.resource_metrics[0].scope_metrics
        for metric in scope.metrics
        if metric.name == name
    )
    return float(getattr(point, "count", None) or point.value)


def test_configured_anew_on_the_same_provider_the_day_goes_on() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], views=otel_metrics.views())
    try:
        for _ in range(2):
            otel_metrics.configure(meter_provider=provider)
            for _ in range(5):
                otel_metrics.get_advanced_metrics().record_performance_metric("api", "load", "page", 1.0, "s")
        assert (count_of(reader, "feature.performance.duration"), count_of(reader, "feature.daily.values")) == (10, 10)
    finally:
        otel_metrics.shutdown()
        provider.shutdown()


@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
def test_configured_anew_on_the_same_provider_counters_do_not_go_backwards(temporality: AggregationTemporality) -> None:
    """Also not when the tests of an application record there for a while, with other settings."""
    reader = InMemoryMetricReader(preferred_temporality={ObservableCounter: temporality})
    provider = MeterProvider([reader], views=otel_metrics.views())
    refused, past_its_cap = [], []

    def record(times: int) -> None:
        for i in range(times):
            otel_metrics.get_advanced_metrics().record_feature_usage("", "ask")
            otel_metrics.get_advanced_metrics().record_feature_usage("engine", f"action-{i}")
        data: Any = reader.get_metrics_data()
        metrics = {each.name: each for scope in data.resource_metrics[0].scope_metrics for each in scope.metrics}
        refused.append(only(metrics["otel_metrics.rejected"].data.data_points).value)
        past_its_cap.append(only(metrics["otel_metrics.label.overflow"].data.data_points).value)

    try:
        otel_metrics.configure(meter_provider=provider, label_caps={"action": 1})
        record(5)
        otel_metrics.configure(meter_provider=provider, label_caps={"action": 2})
        record(4)
        with testing.recording(meter_provider=provider, strict=False, label_caps={"action": 1}):
            record(2)
        record(0)
    finally:
        otel_metrics.shutdown()
        provider.shutdown()
    cumulative = temporality is AggregationTemporality.CUMULATIVE
    assert refused == ([5, 9, 11, 11] if cumulative else [5, 4, 2, 0])
    assert past_its_cap == ([4, 6, 7, 7] if cumulative else [4, 2, 1, 0])


def test_an_application_that_is_configured_by_its_test_ends_with_it(caplog: pytest.LogCaptureFixture) -> None:
    with testing.recording():
        otel_metrics.configure()
        handle = otel_metrics.serve(port=0)
    with pytest.raises(OSError, match="refused"):
        scrape(handle.url)
    assert caplog.records == []


def test_recording_in_a_test_makes_nothing_that_the_environment_asks_for() -> None:
    printed = python(
        "import otel_metrics as m, threading\n"
        "with m.testing.recording() as metrics: metrics.advanced.record_feature_usage('f', 'a')\n"
        "for thread in threading.enumerate()[1:]: thread.join(120)\n"
        "print(threading.active_count(), metrics.value('feature_usage_total'))",
        OTM_STRICT="perhaps",
        OTM_OTLP="cumulative",
    )
    assert printed.split() == ["1", "1.0"]


def test_a_configuration_that_cannot_work_leaves_the_one_that_does_alone(caplog: pytest.LogCaptureFixture) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], views=otel_metrics.views())
    with testing.recording(meter_provider=provider) as metrics:
        metrics.advanced.record_performance_metric("api", "load", "page", 1.0, "s")
        with pytest.raises(ConfigurationError, match=r"prometheus_ca_file='/none\.pem' cannot be used: No such file"):
            otel_metrics.configure(
                meter_provider=provider, prometheus_url="https://localhost:9090", prometheus_ca_file="/none.pem"
            )
        metrics.advanced.record_performance_metric("api", "load", "page", 1.0, "s")
        assert count_of(reader, "otel_metrics.series") == 1
        assert caplog.records == [], "nothing has ended"
    provider.shutdown()


def test_on_the_same_provider_it_is_the_day_of_the_clock_configured_last() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], views=otel_metrics.views())
    for now, values in ((1_700_000_000.0, 1), (1_800_000_000.0, 2)):
        with testing.recording(meter_provider=provider, clock=partial(float, now)) as metrics:
            for _ in range(values):
                metrics.advanced.record_performance_metric("api", "load", "page", 1.0, "s")
            assert count_of(reader, "feature.daily.values") == values
    provider.shutdown()


def test_a_forked_child_of_an_application_with_its_own_provider_tells_its_own_day() -> None:
    printed = python(
        "import os, otel_metrics as m\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from opentelemetry.sdk.metrics.export import InMemoryMetricReader\n"
        "reader = InMemoryMetricReader()\n"
        "m.configure(meter_provider=MeterProvider([reader], views=m.views()))\n"
        "a = m.get_advanced_metrics()\n"
        "for _ in range(10): a.record_performance_metric('f', 'load', 'page', 1.0, 's')\n"
        "pid = os.fork()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "else:\n"
        "    for _ in range(3): a.record_performance_metric('f', 'load', 'page', 1.0, 's')\n"
        "scopes = reader.get_metrics_data().resource_metrics[0].scope_metrics\n"
        "found = {x.name: x.data.data_points for s in scopes for x in s.metrics}\n"
        "print('parent' if pid else 'child', [p.value for p in found['feature.daily.values']])"
    )
    assert sorted(printed.splitlines()) == ["child [3]", "parent [10]"]


def test_nothing_is_lost_or_hung_at_exit() -> None:
    printed = python(
        "import atexit, otel_metrics as m\n"
        "a = m.get_advanced_metrics()\n"
        "atexit.register(lambda: print(a.get_feature_usage_stats()['total_usage']))\n"
        "for _ in range(1000): a.record_feature_usage('f', 'a', 1.0)\n"
    )

    assert printed.split() == ["1000"]


def test_events_carry_what_cannot_be_a_label(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "otel_metrics.events"), testing.recording(events="log") as metrics:
        metrics.advanced.record_satisfaction(
            "engine", "accuracy", 0.9, feedback="Great\n[ERROR] forged\x1b[2J", interaction_id="i-1"
        )
        metrics.advanced.record_satisfaction("engine", "accuracy", 0.9)

    (record,) = caplog.records
    assert record.__dict__["event_name"] == "feature.satisfaction.recorded"
    assert record.__dict__["event_attributes"]["interaction_id"] == "i-1"
    assert "\n" not in record.getMessage()
    assert "\x1b" not in record.getMessage()


def test_text_of_users_goes_nowhere_unless_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), testing.recording() as metrics:
        metrics.advanced.record_satisfaction("engine", "speed", 0.2, feedback="my name is Ada", interaction_id="i-1")
        metrics.advanced.record_error("engine", "Timeout", "error", "ada@example.org", metadata={"user": "ada"})

    assert "ada" not in caplog.text.lower()


@pytest.mark.parametrize(("level", "shown"), [("DEBUG", []), ("WARNING", ["feature.usage.recorded"])])
def test_log_records_of_events_have_the_level_that_was_chosen(
    level: LogLevel, shown: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), testing.recording(events="log", events_level=level) as metrics:
        metrics.advanced.record_feature_usage("engine", "train", metadata={"run": 7})

    assert [record.__dict__["event_name"] for record in caplog.records] == shown


def test_a_log_handler_that_records_is_not_told_of_its_own_events() -> None:
    """One that turns every log record into an error with the record's text: the error's event is another log record."""
    with testing.recording(events="log", events_level="ERROR") as metrics:
        log = logging.getLogger("otel_metrics.events")
        heard: list[str] = []

        class Counting(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                heard.append(record.getMessage())
                metrics.advanced.record_satisfaction("engine", "logs", 0.1, feedback=record.getMessage())

        handler = Counting()
        log.addHandler(handler)
        try:
            metrics.advanced.record_error("engine", "Timeout", "error", "took too long")
            metrics.advanced.record_error("engine", "Timeout", "error", "again")
        finally:
            log.removeHandler(handler)

        assert len(heard) == 2
        assert metrics.value("feature_satisfaction_responses_total", satisfied="false") == 2


def test_events_go_to_the_global_logger_provider_by_one_setting() -> None:
    printed = python(
        "from opentelemetry._logs import set_logger_provider\n"
        "from opentelemetry.sdk._logs import LoggerProvider\n"
        "from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor\n"
        "exporter, provider = InMemoryLogRecordExporter(), LoggerProvider()\n"
        "provider.add_log_record_processor(SimpleLogRecordProcessor(exporter)); set_logger_provider(provider)\n"
        "import otel_metrics as m\n"
        "m.configure(events='otel')\n"
        "m.get_advanced_metrics().record_error('engine', 'Timeout', 'critical', 'took too long')\n"
        "print([log.log_record.event_name for log in exporter.get_finished_logs()])"
    )

    assert printed.split() == ["['feature.error.recorded']"]


def test_events_go_to_opentelemetry_logs_instead_when_a_provider_is_given(caplog: pytest.LogCaptureFixture) -> None:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    with caplog.at_level(logging.INFO), testing.recording(logger_provider=provider) as metrics:
        metrics.advanced.record_error("engine", "Timeout", "warning", "took too long", metadata={"after": 3})

    (log,) = exporter.get_finished_logs()
    assert log.log_record.event_name == "feature.error.recorded"
    assert log.log_record.severity_number is not None
    assert log.log_record.severity_number.name == "WARN"
    attributes = dict(log.log_record.attributes or {})
    assert attributes["error_message"] == "took too long"
    assert attributes["metadata"] == '{"after": 3}'
    assert caplog.records == []
    provider.shutdown()


def test_a_severity_that_is_none_does_not_take_the_event_along() -> None:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    severity: Any = ["error"]
    with testing.recording(logger_provider=provider, strict=False) as metrics:
        metrics.advanced.record_error("engine", "Timeout", severity, "took too long")

    (log,) = exporter.get_finished_logs()
    assert dict(log.log_record.attributes or {})["error_message"] == "took too long"
    provider.shutdown()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(2**63 - 1, 2**63 - 1, id="the largest"),
        pytest.param(2**63, "9223372036854775808", id="one more"),
        pytest.param(10**5000, "<int>", id="too long to print"),
    ],
)
def test_a_number_that_no_exporter_takes_does_not_take_the_event_along(
    value: int, shown: object, caplog: pytest.LogCaptureFixture
) -> None:
    """An integer of OTLP has 64 bits; Python prints none of more than 4,300 digits."""
    with (
        caplog.at_level(logging.DEBUG, "otel_metrics.events"),
        testing.recording(strict=False, events="log") as metrics,
    ):
        metrics.advanced.record_performance_metric("engine", "load", "page", value, metadata={"page": 1})

    (event,) = [record.__dict__ for record in caplog.records if record.name == "otel_metrics.events"]
    assert event["event_attributes"]["value"] == shown
    assert event["event_attributes"]["metadata"] == '{"page": 1}'


def test_objects_fetched_before_shutdown_record_anew() -> None:
    printed = python(
        "import otel_metrics as m\n"
        "a = m.get_advanced_metrics(); a.record_feature_usage('f', 'before'); m.shutdown()\n"
        "a.record_feature_usage('f', 'after')\n"
        "print(a is m.get_advanced_metrics(), list(a.get_feature_usage_stats()['by_action']))"
    )

    assert printed.strip() == "True ['after']"


def test_after_shutdown_nothing_runs_until_the_next_call() -> None:
    printed = python(
        "import otel_metrics as m, threading, os\n"
        "a = m.get_advanced_metrics(); a.record_feature_usage('f', 'before'); m.serve(port=0)\n"
        "os.environ['OTM_OTLP'] = 'cumulative'\n"
        "os.environ['OTEL_EXPORTER_OTLP_METRICS_TIMEOUT'] = '1'\n"
        "m.shutdown(); m.shutdown()\n"
        "for thread in threading.enumerate()[1:]: thread.join(120)\n"
        "print([thread.name for thread in threading.enumerate()])\n"
        "os.environ['OTM_OTLP'] = ''\n"
        "a.record_feature_usage('f', 'after'); print(list(a.get_feature_usage_stats()['by_action']))",
    )

    assert printed.splitlines() == ["['MainThread']", "['after']"]


def test_shutdown_works_whatever_the_environment_says_and_record_calls_never_raise(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    advanced, basic = otel_metrics.get_advanced_metrics(), otel_metrics.get_metrics_collector()
    monkeypatch.setenv("OTM_STRICT", "perhaps")
    otel_metrics.shutdown()
    try:
        basic.record_performance_metric("engine", "startup_ms", 10.0, metadata={"a": 1})
        basic.record_learning_metric("engine", "gain", 1.0)
        basic.record_optimization_metric("engine", "saved", 1.0)
        advanced.record_performance_metric("engine", "memory_usage", "heap", 3.0, "GB")
        advanced.record_satisfaction("engine", "speed", 0.9, "well done")
        advanced.record_feature_usage("engine", "ask", 10.0)
        advanced.record_learning_effectiveness("engine", "prediction", 0.9)
        advanced.record_optimization_impact("engine", "opt-1", "time", 40.0, 30.0)
        advanced.record_resource_utilization("memory", "c", 65.5)
        advanced.record_error("engine", "Timeout", error_message="too late")
        (record,) = [record for record in caplog.records if record.name == "otel_metrics"]
        assert "nothing is recorded" in record.getMessage()
        assert "OTM_STRICT='perhaps'" in caplog.text
        with pytest.raises(ConfigurationError, match="OTM_STRICT"):
            advanced.get_feature_usage_stats()
        with pytest.raises(ConfigurationError, match="OTM_STRICT"):
            advanced.aggregate_daily_metrics()

        monkeypatch.delenv("OTM_STRICT")
        advanced.record_feature_usage("engine", "mended")
        assert list(advanced.get_feature_usage_stats()["by_action"]) == ["mended"]
    finally:
        otel_metrics.shutdown()


@pytest.mark.parametrize(
    "call",
    [
        "record_performance_metric('f', 'memory_usage', 'heap', 3.0)",
        "record_satisfaction('f', 'speed', 0.9)",
        "record_feature_usage('f', 'a')",
        "record_learning_effectiveness('f', 'prediction', 0.9)",
        "record_optimization_impact('f', 'opt-1', 'time', 40.0, 30.0)",
        "record_resource_utilization('memory', 'c', 65.5)",
        "record_error('f', 'Timeout')",
    ],
)
def test_the_first_call_after_shutdown_is_recorded(call: str) -> None:
    advanced = otel_metrics.get_advanced_metrics()
    otel_metrics.shutdown()
    try:
        eval(f"advanced.{call}")  # a literal above
        dashboard = advanced.get_comprehensive_dashboard()
        assert [name for name, part in dashboard.items() if isinstance(part, dict) and part.get("has_data")]
    finally:
        otel_metrics.shutdown()


def test_a_forked_child_of_a_process_that_shut_down_records() -> None:
    printed = python(
        "import os, otel_metrics as m\n"
        "a = m.get_advanced_metrics(); a.record_feature_usage('f', 'parent'); m.shutdown()\n"
        "pid = os.fork()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "else: a.record_feature_usage('f', 'child'); print(list(a.get_feature_usage_stats()['by_action']))"
    )

    assert printed.split() == ["['child']"]


def test_metadata_without_json_does_not_take_the_event_along(caplog: pytest.LogCaptureFixture) -> None:
    circle: dict[str, object] = {}
    circle["self"] = circle
    with caplog.at_level(logging.DEBUG, "otel_metrics.events"), testing.recording(events="log") as metrics:
        metrics.advanced.record_error("engine", "Timeout", "warning", "took too long", metadata=circle)

    (record,) = caplog.records
    assert record.__dict__["event_attributes"]["error_message"] == "took too long"
    assert record.__dict__["event_attributes"]["metadata"] == "{'self': {...}}"


def test_one_setting_pushes_the_same_numbers_by_otlp(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = servers.victoria_metrics(flags=["-opentelemetry.usePrometheusNaming"])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", receiver.otlp_url)
    with testing.recording(otlp="cumulative", strict=False) as metrics:
        for _ in range(3):
            metrics.advanced.record_feature_usage("engine", "train", 10.0)
        metrics.advanced.record_feature_usage("engine", "", 10.0)

    assert receiver.value("sum(feature_usage_total)") == 3
    assert receiver.value("sum(feature_usage_duration_seconds_count)") == 3
    assert receiver.value("sum(otel_metrics_rejected_total)") == 1
    assert receiver.value("feature_daily_values") == 3


class TestObjectsOfTheApplicationsOwn:
    """``AdvancedMetrics()`` and ``MetricsCollector()``, made directly or subclassed, use the process's configuration."""

    class Mine(otel_metrics.AdvancedMetrics):
        def record_timeout(self) -> None:
            self.record_error("engine", "Timeout")

    @pytest.fixture(autouse=True)
    def fresh(self) -> Iterator[None]:
        yield
        otel_metrics.shutdown()

    def test_they_record_what_the_process_exposes_and_reads_back(self) -> None:
        mine, basic = self.Mine(), otel_metrics.MetricsCollector()
        mine.record_timeout()
        basic.record_learning_metric("engine", "gain", 2.0)
        assert otel_metrics.get_advanced_metrics().get_error_stats("engine")["total_errors"] == 1
        assert otel_metrics.get_metrics_collector().get_metric_statistics("engine", "gain")["avg"] == 2.0
        assert self.Mine().get_error_stats("engine")["total_errors"] == 1

    def test_they_follow_whatever_the_process_is_configured_to(self) -> None:
        mine = self.Mine()
        with otel_metrics.testing.recording() as inside:
            mine.record_timeout()
            assert inside.value("feature_errors_total", error_type="Timeout") == 1
        mine.record_timeout()
        assert mine.get_error_stats("engine")["total_errors"] == 1
        otel_metrics.configure(strict=True)
        with pytest.raises(otel_metrics.InvalidArgumentError):
            mine.record_error("", "Timeout")
        otel_metrics.shutdown()
        mine.record_error("", "Timeout")
        assert mine.get_error_stats("engine")["total_errors"] == 0

    def test_they_work_without_anything_else_being_imported(self) -> None:
        printed = python(
            "from otel_metrics import AdvancedMetrics\n"
            "metrics = AdvancedMetrics()\n"
            "metrics.record_error('engine', 'Timeout')\n"
            "print(metrics.get_error_stats('engine')['total_errors'])"
        )
        assert printed == "1\n"

    def test_a_forked_child_starts_them_anew(self) -> None:
        printed = python(
            "import os, otel_metrics\n"
            "metrics = otel_metrics.AdvancedMetrics()\n"
            "metrics.record_error('engine', 'Timeout')\n"
            "pid = os.fork()\n"
            "if pid == 0:\n"
            "    metrics.record_error('engine', 'Timeout')\n"
            "    os._exit(metrics.get_error_stats('engine')['total_errors'])\n"
            "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
        )
        assert printed == "1\n"

    def test_one_that_is_gone_is_not_held(self) -> None:
        mine = self.Mine()
        mine.record_timeout()
        gone = weakref.ref(mine)
        del mine
        gc.collect()
        assert gone() is None
