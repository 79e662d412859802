"""A reader on an application's own provider answers for all processes. Here every process is a provider of its own."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 (the SDK's hook for forks waits for a lock of it that is freed in order of import)
import logging
import os
import re
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import REGISTRY, CollectorRegistry

from otel_metrics.exporter import PrometheusReader
from tests.exporter import prometheus_proto
from tests.multiprocess.test_servers import Load, Server
from tests.processes import ROOT, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.metrics import CallbackOptions

TEXT = ""
OPENMETRICS = "application/openmetrics-text"
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

BOUNDS = (0.0, 1.0, 2.5)


class Process:
    """One provider with one reader, and an instrument of every kind."""

    def __init__(self, directory: Path | None, service: str = "shop", **options: Any) -> None:
        if directory is None:
            options["registry"] = CollectorRegistry()
        self.reader = PrometheusReader(multiprocess_directory=directory, **options)
        views = [
            View(instrument_name="load", aggregation=ExponentialBucketHistogramAggregation()),
            View(instrument_name="wait", aggregation=ExplicitBucketHistogramAggregation(BOUNDS)),
        ]
        resource = Resource({"service.name": service, "process.pid": id(self)})
        self.provider = MeterProvider([self.reader], resource, shutdown_on_exit=False, views=views)
        meter = self.provider.get_meter("shop", "1.0")
        self.orders = meter.create_counter("orders", "1", "Orders.")
        self.open = meter.create_up_down_counter("open")
        self.temperature = meter.create_gauge("temperature", "Cel")
        self.wait = meter.create_histogram("wait", "s")
        self.load = meter.create_histogram("load")
        self.sold = 0
        meter.create_observable_counter("sold", [self._sold])

    def _sold(self, _: CallbackOptions) -> Iterator[Observation]:
        yield Observation(self.sold, {"shelf": 1})

    def record(self, part: int) -> None:
        """Half of what happens; values whose sums are exact in any order."""
        for i in range(part, 200, 2):
            self.orders.add(i, {"kind": f"k{i % 3}", "express": i % 5 == 0})
            self.open.add(1 if i % 3 else -1)
            self.wait.record(0.25 * i, {"desk": "a"})
            self.load.record(i * 0.125, {"desk": "a"})
            self.sold += 2
        self.temperature.set(20.0 + part)

    def scrape(self, accept: str = TEXT) -> bytes:
        request = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "HTTP_ACCEPT": accept}
        return b"".join(self.reader.wsgi_app()(request, lambda _status, _headers: None))

    def value(self, name: str) -> float | None:
        """The sum of all series of a name."""
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", self.scrape().decode(), re.MULTILINE)
        return sum(map(float, found)) if found else None


@contextmanager
def process(directory: Path | None, **options: Any) -> Iterator[Process]:
    made = Process(directory, **options)
    try:
        yield made
    finally:
        made.provider.shutdown()


def lines(exposition: bytes) -> set[str]:
    """Samples of the instruments and their metadata, numbers in one form."""
    found = set()
    for line in exposition.decode().splitlines():
        if re.match(r"(# \w+ )?(orders|open|temperature|wait|load|sold)", line):
            found.add(re.sub(r" (-?[0-9.e+]+)$", lambda number: f" {float(number[1])}", line))
    return found


def natives(exposition: bytes) -> dict[str, Any]:
    found = {}
    for name, family in prometheus_proto.read(exposition).items():
        for metric in family.metric:
            if prometheus_proto.type_of(family) == "HISTOGRAM":
                its = metric.histogram
                deltas = (list(its.positive_delta), list(its.negative_delta))
                spans = [(s.offset, s.length) for s in (*its.positive_span, *its.negative_span)]
                found[name] = (its.sample_count, its.sample_sum, its.schema, its.zero_count, deltas, spans)
    return found


def test_every_format_says_of_two_processes_what_it_would_say_of_one(tmp_path: Path) -> None:
    with process(None) as alone:
        alone.record(0)
        alone.record(1)
        expected = {accept: alone.scrape(accept) for accept in (TEXT, OPENMETRICS, PROTOBUF)}
    with process(tmp_path) as first, process(tmp_path) as second, process(tmp_path) as third:
        first.record(0)
        second.record(1)
        first.scrape()
        second.scrape()
        assert lines(third.scrape()) == lines(expected[TEXT])
        assert lines(third.scrape(OPENMETRICS)) == lines(expected[OPENMETRICS])
        assert natives(third.scrape(PROTOBUF)) == natives(expected[PROTOBUF])
        assert third.value("otel_metrics_processes") == 3


def test_what_a_process_had_collected_outlives_it_but_not_its_gauges(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        first.orders.add(3)
        first.open.add(2)
        first.temperature.set(35.0)
        with process(tmp_path) as second:
            second.orders.add(4)
            second.open.add(5)
            second.temperature.set(20.0)
            first.scrape()
            assert second.value("orders_total") == 7
            assert second.value("open") == 7
            assert second.value("temperature_celsius") == 35.0
    with process(tmp_path) as third:
        third.sold = 1
        assert third.value("orders_total") == 7
        assert third.value("sold_total") == 1
        assert third.value("open") is None
        assert third.value("temperature_celsius") is None


def test_a_gauge_is_merged_as_told(tmp_path: Path) -> None:
    for mode, expected in (("sum", 60.0), ("min", 20.0), ("mean", 30.0), ("latest", 40.0)):
        modes = {"temperature": mode}
        with (
            process(tmp_path / mode, multiprocess_gauges=modes) as first,
            process(tmp_path / mode, multiprocess_gauges=modes) as second,
        ):
            first.temperature.set(20.0)
            first.scrape()
            second.temperature.set(40.0)
            assert second.value("temperature_celsius") == expected
            assert first.value("temperature_celsius") == expected
    with pytest.raises(
        ValueError, match=r"\['temperature'\]='median' is not allowed; allowed: sum, max, min, mean, latest"
    ):
        Process(tmp_path, multiprocess_gauges={"temperature": "median"})


def test_what_is_collected_is_shared_every_second_without_a_scrape(tmp_path: Path) -> None:
    with process(tmp_path) as first, process(tmp_path) as second:
        first.orders.add(3)
        wait_until(lambda: second.value("orders_total") == 3)


def test_an_observed_total_that_begins_anew_adds_what_it_has(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        for first.sold in (5, 8, 2, 2, 3):
            first.scrape()
        assert first.value("sold_total") == 11
        assert 'sold_total{otel_scope_name="shop",otel_scope_version="1.0",shelf="1"} 11' in first.scrape().decode()


def test_an_exemplar_of_another_process(tmp_path: Path) -> None:
    span = TracerProvider().get_tracer("test").start_as_current_span("work")
    with process(tmp_path) as first, process(tmp_path) as second:
        with span as current:
            first.wait.record(0.5, {"desk": "a"})
        first.scrape()
        trace_id = f"{current.get_span_context().trace_id:032x}"
        (line,) = [line for line in second.scrape(OPENMETRICS).decode().splitlines() if " # {" in line]
        assert line.startswith('wait_seconds_bucket{desk="a",')
        assert 'le="1.0"} 1 # {trace_id="' + trace_id in line


def test_all_processes_are_one_instance(tmp_path: Path) -> None:
    with process(tmp_path) as first, process(tmp_path) as second:
        seen = set()
        for each in (first, second):
            each.orders.add(1)
            (target,) = re.findall(r"^target_info{(.*)} ", each.scrape().decode(), re.MULTILINE)
            assert "process_pid" not in target
            seen |= set(re.findall('service_instance_id="([^"]*)"', target))
        assert len(seen) == 1


def test_a_scrape_shows_what_another_process_has_just_recorded(tmp_path: Path) -> None:
    with process(tmp_path) as first, process(tmp_path) as second:
        first.scrape()
        for n in range(1, 11):
            first.orders.add(1)
            assert second.value("orders_total") == n


def test_collectors_of_one_process_are_not_exposed(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        first.orders.add(1)
        assert b"python_info" not in first.scrape()
        assert first.reader.registry is not REGISTRY


def test_the_readers_own_figures_are_those_of_all(tmp_path: Path) -> None:
    with process(tmp_path) as first, process(tmp_path) as second:
        first.orders.add(1)
        second.orders.add(1)
        seen = [each.value("otel_metrics_scrapes_total") for each in (first, first, second, second, first)]
        assert seen == [0, 1, 2, 3, 4]
    with process(tmp_path / "other", self_metrics=False) as third:
        third.orders.add(1)
        assert b"otel_metrics_scrapes_total" not in third.scrape()


def test_in_the_directory_of_another_application_a_process_answers_for_itself_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with process(tmp_path) as first, caplog.at_level(logging.ERROR), process(tmp_path, service="bank") as second:
        first.orders.add(1)
        first.scrape()
        second.orders.add(5)
        assert second.value("orders_total") == 5
        assert second.value("orders_total") == 5
        assert first.value("orders_total") == 1
    (told,) = [each.message for each in caplog.records if "belongs to the application 'shop'" in each.message]
    assert told == (
        f"this process answers for itself: the multiprocess directory {tmp_path} belongs to the application 'shop', "
        "not to 'bank': give every application a directory of its own"
    )


def test_a_process_forked_after_its_reader_was_made_answers_for_the_others_and_says_so(
    tmp_path: Path,
) -> None:
    receive, send = os.pipe()
    with process(tmp_path) as first:
        first.orders.add(3)
        first.scrape()
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(20)
                handler = logging.StreamHandler(os.fdopen(send, "w"))
                logging.getLogger("otel_metrics").addHandler(handler)
                first.orders.add(100)
                handler.stream.write(f"{first.value('orders_total')}\n")
                handler.flush()
            finally:
                os._exit(0)
        os.close(send)
        with os.fdopen(receive) as told:
            lines = told.read().splitlines()
        os.waitpid(child, 0)
        assert lines == ["nothing of this process is shared: it was forked after its reader was made", "3.0"]
        assert first.value("orders_total") == 3


def test_a_server_with_several_workers(tmp_path: Path) -> None:
    application = "tests.multiprocess.provider:application"
    server = Server(tmp_path, "gunicorn", application, "--chdir", str(ROOT), "--workers", "3", "--max-requests", "50")
    server.start()
    try:
        load = Load(server, 300)
        load.join()
        answered = load.answered.total()
        wait_until(
            lambda: answered <= server.value("requests_total") <= answered + load.unanswered,
            what=f"{answered} counted",
        )
        load.stop()
    finally:
        server.stop()
    assert len(load.answered) > 3
    assert not load.decreased


def test_the_first_scrape_of_a_process_waits_until_it_knows_what_all_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its first collection, which goes on at the same time, is slow: without the others counters would go back."""
    monkeypatch.setattr("otel_metrics.exporter.shared_streams._PATIENCE", 0.0)
    collecting, go_on = threading.Event(), threading.Event()

    def slow(_: CallbackOptions) -> tuple[()]:
        collecting.set()
        go_on.wait(120)
        return ()

    with process(tmp_path) as old:
        old.orders.add(3)
        assert old.value("orders_total") == 3
        with process(tmp_path) as new:
            new.provider.get_meter("shop").create_observable_gauge("slow", [slow])
            assert collecting.wait(120)  # it adds what it has soon after it was made
            answers: list[float | None] = []
            scrape = threading.Thread(target=lambda: answers.append(new.value("orders_total")))
            scrape.start()
            scrape.join(0.2)
            go_on.set()
            scrape.join(120)
            assert answers == [3]


def test_a_callback_that_scrapes_its_own_endpoint_gets_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_metrics.exporter.shared_streams._PATIENCE", 0.05)
    with process(tmp_path) as own:
        own.orders.add(3)
        own.scrape()
        answers: list[bytes] = []

        def look(_: CallbackOptions) -> tuple[()]:
            thread = threading.Thread(target=lambda: answers.append(own.scrape()))
            thread.start()
            thread.join(120)
            return ()

        own.provider.get_meter("shop").create_observable_gauge("looked", [look])
        assert own.value("orders_total") == 3
        assert b"orders_total" in answers[0]
