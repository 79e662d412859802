"""How processes end, with OTLP push: what they recorded last is at the receiver, and one that does not answer costs two seconds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.processes import DEADLINE, HOST, fetch, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.receiver import Receiver
    from tests.servers import Servers

APPLICATION = """
import otel_metrics
from otel_metrics import ends
ends._PATIENCE = 3600.0  # however slow the machine is, a push is done; and whoever waits in vain never ends
metrics = otel_metrics.get_advanced_metrics()

def work(number=0):
    metrics.record_feature_usage("ending", "order", 1.0, True)

async def app(scope, receive, send):
    if scope["type"] == "http":
        work()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
"""

POOL = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from application import work

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    if sys.argv[1] == "close":
        pool = context.Pool(2)
        pool.map(work, range(20))
        pool.close()
        pool.join()
    elif sys.argv[1] == "terminate":
        with context.Pool(2) as pool:
            pool.map(work, range(20))
    else:
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            list(executor.map(work, range(20)))
"""


@pytest.fixture
def application(tmp_path: Path) -> Path:
    (tmp_path / "application.py").write_text(APPLICATION)
    (tmp_path / "pool.py").write_text(POOL)
    return tmp_path


def pushing(url: str) -> dict[str, str]:
    """The environment of a process that pushes there, and not before it ends."""
    path = os.pathsep.join(["", *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, "OTM_OTLP": "cumulative", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": url}


def run(application: Path, url: str, *program: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the application's, that pushes to the URL, to its end."""
    command = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        *program,
    ]  # of a fork beside threads, which is tested
    return subprocess.run(command, cwd=application, env=pushing(url), capture_output=True, text=True, check=True)


def arrived(receiver: Receiver) -> int:
    """How many calls the receiver knows of, all processes together."""
    latest = {}
    for request in receiver.requests:
        for resource in request.resource_metrics:
            instance = next(
                a.value.string_value for a in resource.resource.attributes if a.key == "service.instance.id"
            )
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                if metric.name == "feature.usage.duration":
                    latest[instance] = sum(point.count for point in metric.histogram.data_points)
    return sum(latest.values())


@pytest.mark.parametrize(
    ("how", "start"),
    [("close", "fork"), ("close", "forkserver"), ("terminate", "fork"), ("terminate", "spawn"), ("executor", "fork")],
)
def test_children_of_pools(receiver: Receiver, application: Path, how: str, start: str) -> None:
    ran = run(application, receiver.url, "pool.py", how, start)
    assert arrived(receiver) == 20
    assert ran.stderr == ""


@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_what_threads_of_a_child_record_after_its_main_function(
    receiver: Receiver, application: Path, start: str
) -> None:
    (application / "late.py").write_text(
        "import multiprocessing, sys, threading\n"
        "from application import work\n"
        "def late():\n"
        "    threading.main_thread().join()  # which ends when the child waits for its threads\n"
        "    work()\n"
        "def child():\n"
        "    work()\n"
        "    threading.Thread(target=late).start()\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context(sys.argv[1]).Process(target=child)\n"
        "    process.start()\n"
        "    process.join()\n"
        "    print(process.exitcode)\n"
    )
    ran = run(application, receiver.url, "late.py", start)
    assert (ran.stdout, ran.stderr) == ("0\n", "")
    assert arrived(receiver) == 2


def test_what_executors_of_replaced_workers_record_last(receiver: Receiver, application: Path) -> None:
    """A pool makes replacements from a daemon thread, so their threads are daemons; executors' threads are waited for all the same."""
    (application / "replaced.py").write_text(
        "import multiprocessing, threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from application import work\n"
        "def late(ending):\n"
        "    ending.wait()\n"
        "    work()\n"
        "def task(_):\n"
        "    ending = threading.Event()\n"
        "    ThreadPoolExecutor(1).submit(late, ending)\n"
        "    threading._register_atexit(ending.set)  # when the child begins to wait for its threads\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('fork').Pool(1, maxtasksperchild=1) as pool:\n"
        "        pool.map(task, range(3), chunksize=1)\n"
        "        pool.close()\n"
        "        pool.join()\n"
    )
    ran = run(application, receiver.url, "replaced.py")
    assert (ran.stdout, ran.stderr) == ("", "")
    assert arrived(receiver) == 3


def test_a_child_of_a_pool_ends_although_the_signal_ends_no_wait(receiver: Receiver, application: Path) -> None:
    """Told in another thread, as a moment before the wait, the main thread's wait for a lock in C goes on."""
    (application / "deaf.py").write_text(
        "import multiprocessing, os, signal, threading, time\n"
        "from application import work\n"
        "def tell():\n"
        "    time.sleep(0.3)\n"
        "    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
        "def wait():\n"
        "    work()\n"
        "    threading.Thread(target=tell, daemon=True).start()\n"
        "    lock = multiprocessing.Lock()\n"
        "    lock.acquire()\n"
        "    lock.acquire()\n"
        "if __name__ == '__main__':\n"
        "    work()\n"
        "    child = multiprocessing.get_context('fork').Process(target=wait)\n"
        "    child.start()\n"
        "    child.join(120)\n"
        "    print(child.exitcode)\n"
        "    child.kill()\n"
    )
    ran = run(application, receiver.url, "deaf.py")
    assert ran.stdout == f"{-signal.SIGTERM}\n", ran.stderr
    assert arrived(receiver) == 2


def test_a_web_server_that_the_signal_ends(receiver: Receiver, application: Path) -> None:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "application:app",
        "--host",
        HOST,
        "--port",
        str(port),
        "--no-access-log",
    ]
    with subprocess.Popen(command, cwd=application, env=pushing(receiver.url), stderr=subprocess.PIPE) as server:
        wait_until(lambda: fetch(f"http://{HOST}:{port}/") == b"")
        for _ in range(9):
            fetch(f"http://{HOST}:{port}/")
        server.terminate()
        _, errors = server.communicate(timeout=DEADLINE)
    assert server.returncode == -signal.SIGTERM
    assert arrived(receiver) == 10
    assert b"Traceback" not in errors


PROGRAM = """
import signal, sys, time
{before}
from application import work
work()
print("recorded", flush=True)
{after}
"""


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ("", "pass", -signal.SIGTERM),
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))", "pass", 3),
        ("", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))", 3),
    ],
)
def test_sigterm_does_what_it_did_before(
    receiver: Receiver, application: Path, before: str, after: str, status: int
) -> None:
    waits = f"{after}\nprint('ready', flush=True)\ntime.sleep(60)"
    command = [sys.executable, "-c", PROGRAM.format(before=before, after=waits)]
    with subprocess.Popen(command, cwd=application, env=pushing(receiver.url), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [b"recorded\n", b"ready\n"]
        process.terminate()
        assert process.wait(timeout=DEADLINE) == status
    assert arrived(receiver) == 1


SILENT = """
import otel_metrics
from otel_metrics import ends
from opentelemetry.sdk.metrics import MeterProvider
MeterProvider.shutdown.__defaults__ = (3_600_000,)  # if the SDK waits for a push, that is seen
push = ends.Periodic.push
def told(pusher, patience):
    done = push(pusher, patience)
    print(patience, done, flush=True)
    return done
ends.Periodic.push = told
otel_metrics.get_advanced_metrics().record_feature_usage("ending", "order", 1.0, True)
print("recorded", flush=True)
{after}
"""


@pytest.mark.parametrize(
    "after",
    [
        "",
        "raise SystemExit(3)",
        "otel_metrics.shutdown()",
        "ends._push_all(); ends._push_all()",
        "import time; time.sleep(60)",
    ],
)
def test_a_receiver_that_does_not_answer_costs_two_seconds(after: str) -> None:
    """Of which this package waits at most 1.5 seconds, in all, and the SDK none: it is told how long, not measured."""
    an_hour = {"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "3600", "OTEL_METRIC_EXPORT_TIMEOUT": "3600000"}
    with socket.create_server((HOST, 0)) as silent:
        environment = {**pushing(f"http://{HOST}:{silent.getsockname()[1]}/v1/metrics"), **an_hour}
        with subprocess.Popen(
            [sys.executable, "-c", SILENT.format(after=after)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "recorded\n"
            if "sleep" in after:
                process.terminate()
            told, errors = process.communicate(timeout=DEADLINE)
    patience, done = zip(*(line.split() for line in told.splitlines()), strict=True)
    assert set(done) == {"False"}
    assert patience[0] == "1.5"
    assert sum(map(float, patience)) < 1.6
    assert "Traceback" not in errors


def test_a_short_process_needs_one_setting(servers: Servers, application: Path) -> None:
    victoria = servers.victoria_metrics(flags=["-opentelemetry.usePrometheusNaming"])
    ran = run(application, victoria.otlp_url, "-c", "from application import work; work()")
    assert ran.stdout + ran.stderr == ""
    wait_until(lambda: victoria.value('sum(feature_usage_total{feature="ending",outcome="success"})') == 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_that_ends_through_the_interpreter_leaves_its_parents_provider_alone() -> None:
    program = """
import faulthandler, os, threading
import otel_metrics
from otel_metrics import runtime
metrics = otel_metrics.get_advanced_metrics()
metrics.record_error("ending", "timeout", "warning")
taken = threading.Event()
def scrape():
    with runtime.current().reader.registry._lock:
        taken.set()
        threading.Event().wait()
threading.Thread(target=scrape, daemon=True).start()
taken.wait()
pid = os.fork()
if pid == 0:
    faulthandler.dump_traceback_later(300, exit=True)
    metrics.record_error("ending", "timeout", "warning")
    raise SystemExit(5)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (5, "")
