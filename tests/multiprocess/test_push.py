"""One push for all processes that share a directory: by whichever is there, under one identity."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics import exporter
from otel_metrics.errors import ConfigurationError
from otel_metrics.multiprocess import directory
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.processes import DEADLINE, HOST, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.receiver import Receiver
    from tests.servers import Servers

WORKER = """
import sys, otel_metrics
metrics = otel_metrics.get_advanced_metrics()
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        metrics.record_feature_usage("shop", "order", 12.5, True)
    print("done", flush=True)
"""


class Workers:
    """Processes of one application, each of which records as often as it is told to."""

    def __init__(self, directory: Path, endpoint: str, seconds: float) -> None:
        self.directory = directory
        self._environment = {
            **os.environ,
            "OTM_MULTIPROCESS_DIR": str(directory),
            "OTM_OTLP": "cumulative",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": str(round(seconds * 1000)),
            "OTEL_SERVICE_NAME": "shop",
        }
        self.running: list[subprocess.Popen[str]] = []

    def start(self, number: int) -> None:
        for _ in range(number):
            self.running.append(
                subprocess.Popen(
                    [sys.executable, "-c", WORKER],
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        for worker in self.running[-number:]:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"

    def record(self, worker: subprocess.Popen[str], times: int) -> None:
        assert worker.stdin is not None
        assert worker.stdout is not None
        print(times, file=worker.stdin, flush=True)
        assert worker.stdout.readline() == "done\n"

    def end(self, worker: subprocess.Popen[str], number: signal.Signals | None) -> str:
        """End a process by a signal, or let it end; return what it said."""
        self.running.remove(worker)
        if number is not None:
            worker.send_signal(number)
        return worker.communicate(timeout=DEADLINE)[1]


@pytest.fixture
def started() -> Iterator[list[Workers]]:
    made: list[Workers] = []
    yield made
    for workers in made:
        for worker in list(workers.running):
            workers.end(worker, signal.SIGKILL)


def identities(receiver: Receiver) -> set[str]:
    return {
        attribute.value.string_value
        for request in receiver.requests
        for resource in request.resource_metrics
        for attribute in resource.resource.attributes
        if attribute.key == "service.instance.id"
    }


def uses(request: Any) -> float:
    """How many uses a request tells of."""
    (found,) = (
        m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == "feature.usage"
    )
    return float(sum(point.as_double or point.as_int for point in found.sum.data_points))


def test_four_processes_are_one_instance_whoever_of_them_is_killed(
    servers: Servers, tmp_path: Path, started: list[Workers]
) -> None:
    victoria = servers.victoria_metrics(flags=["-opentelemetry.usePrometheusNaming"])
    workers = Workers(tmp_path / "shared", victoria.otlp_url, seconds=0.5)
    started.append(workers)
    workers.start(4)
    recorded = 0
    for times in (10, 20):
        for worker in workers.running:
            workers.record(worker, times)
            recorded += times
        victoria.wait_for(f"sum(feature_usage_total) == {recorded}")
        # All that was recorded is in the files, so nothing of it goes with a process.
        workers.end(workers.running[0], signal.SIGKILL)
        workers.start(1)
    for worker in list(workers.running):
        workers.record(worker, 1)
        recorded += 1
        assert workers.end(worker, signal.SIGTERM) == ""
    victoria.wait_for(f"sum(feature_usage_total) == {recorded}")
    assert victoria.value("count(count_over_time(feature_usage_total{outcome='success'}[1h]))") == 1
    assert victoria.value("count(count by (instance) (last_over_time(feature_usage_total[1h])))") == 1
    assert victoria.value("sum(resets(feature_usage_total[1h]))") == 0
    assert victoria.value("sum(resets(feature_usage_duration_seconds_count[1h]))") == 0


def test_whoever_ends_pushes_what_nobody_else_has_pushed(
    receiver: Receiver, tmp_path: Path, started: list[Workers]
) -> None:
    workers = Workers(tmp_path / "shared", receiver.url, seconds=300)
    started.append(workers)
    workers.start(4)
    for worker in workers.running:
        workers.record(worker, 5)
    for worker in list(workers.running):  # all at once
        worker.send_signal(signal.SIGTERM)
    for worker in list(workers.running):
        assert workers.end(worker, None) == ""
    assert uses(receiver.requests[-1]) == 20
    assert len(receiver.requests) <= 4
    assert len(identities(receiver)) == 1
    # The next start goes on where that ended.
    workers.start(1)
    workers.record(workers.running[0], 1)
    workers.end(workers.running[0], None)
    assert uses(receiver.requests[-1]) == 21
    assert len(identities(receiver)) == 1


def test_points_begin_with_their_series_and_have_exemplars(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", receiver.url)
    runtime = Runtime(Settings(multiprocess_directory=tmp_path, otlp="cumulative"))
    for score in (0.5, 0.75):
        runtime.advanced.record_satisfaction("shop", "speed", score, interaction_id="i7")
    runtime.advanced.record_resource_utilization("memory", "heap", 50.0)
    instance = runtime.reader.collected().resource_metrics[0].resource.attributes["service.instance.id"]  # type: ignore[attr-defined]
    runtime.close()
    metrics = receiver.metrics()
    (point,) = metrics["feature.satisfaction.score"].histogram.data_points
    assert (point.count, point.sum, point.min, point.max) == (2, 1.25, 0.5, 0.75)
    assert sum(point.bucket_counts) == 2
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert 0 < point.start_time_unix_nano < point.time_unix_nano
    told = {pair.key: pair.value.string_value for exemplar in point.exemplars for pair in exemplar.filtered_attributes}
    assert "i7" in told.values()
    (gauge,) = metrics["resource.utilization.ratio"].gauge.data_points
    assert gauge.as_double == 0.5
    assert identities(receiver) == {instance}


def test_each_process_by_itself_where_that_is_asked_for(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", receiver.url)
    processes = [
        Runtime(Settings(multiprocess_directory=tmp_path, otlp="cumulative", otlp_per="process")) for _ in range(2)
    ]
    for times, runtime in enumerate(processes, 1):
        for _ in range(times):
            runtime.advanced.record_feature_usage("shop", "order", 12.5, True)
    for runtime in processes:
        runtime.close()
    assert [uses(request) for request in receiver.requests] == [1, 2]
    assert len(identities(receiver)) == 2


def test_one_that_the_others_do_not_let_in_pushes_for_itself(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", receiver.url)
    directory = tmp_path / "shared"
    runtime = Runtime(Settings(multiprocess_directory=directory, otlp="cumulative"))
    moved = count()
    while directory.is_dir():  # a tick may make it anew in between
        directory.rename(tmp_path / f"moved-{next(moved)}")
        with suppress(FileExistsError):
            directory.touch(exist_ok=False)
    runtime.advanced.record_feature_usage("shop", "order", 12.5, True)
    runtime.close()
    assert uses(receiver.requests[-1]) == 1


def test_a_configuration_that_cannot_push_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "otel_metrics.exporter.push", None)  # as without the extra
    monkeypatch.delattr(exporter, "push")
    before = threading.active_count()
    with pytest.raises(ConfigurationError, match="otlp needs its extra"):
        Runtime(Settings(multiprocess_directory=tmp_path, otlp="cumulative"))
    assert threading.active_count() == before
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_stopped_while_it_pushes_keeps_nobody_from_it(
    receiver: Receiver, tmp_path: Path, started: list[Workers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_STOPPED", 0.5)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
    with socket.create_server((HOST, 0)) as silent:
        workers = Workers(tmp_path, f"http://{HOST}:{silent.getsockname()[1]}/v1/metrics", seconds=0.2)
        started.append(workers)
        workers.start(1)
        workers.record(workers.running[0], 5)
        connection, _ = silent.accept()
        workers.running[0].send_signal(signal.SIGSTOP)
        runtime = Runtime(Settings(multiprocess_directory=tmp_path, otlp="cumulative"))
        runtime.advanced.record_feature_usage("shop", "order", 12.5, True)
        wait_until(lambda: receiver.requests and uses(receiver.requests[-1]) == 6)
        runtime.close()
        connection.close()


def test_while_one_pushes_nobody_else_does(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
    started = time.monotonic()
    processes = [Runtime(Settings(multiprocess_directory=tmp_path, otlp="cumulative")) for _ in range(8)]
    processes[0].advanced.record_feature_usage("shop", "order", 12.5, True)
    wait_until(lambda: len(receiver.requests) >= 6)
    # As many as one process would have pushed, however many there are; on a slow machine less.
    assert len(receiver.requests) <= (time.monotonic() - started) / 0.2 + 1
    for runtime in processes:
        runtime.close()
