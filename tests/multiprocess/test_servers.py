"""Real application servers with several workers, the endpoint mounted: any worker answers for all, whatever becomes of them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.processes import DEADLINE, HOST, ROOT, Process, fetch, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REQUESTS = 1000


class Server(Process):
    """An application server with four workers that share a directory."""

    name = "server"
    ready_path = "/ready"

    def __init__(self, folder: Path, *command: str) -> None:
        super().__init__(folder)
        self.shared = folder / "shared"
        self._command = command

    def command(self) -> list[str]:
        where = ["--port", str(self.port)] if self._command[0] == "uvicorn" else ["--bind", self.address]
        python_path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = [f"OTM_MULTIPROCESS_DIR={self.shared}", f"PYTHONPATH={python_path}"]
        return ["/usr/bin/env", *environment, sys.executable, "-m", *self._command, *where]

    def signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def samples(self) -> dict[tuple[str, ...], float]:
        """One scrape: what only ever goes up, by name and label values."""
        text = fetch(f"{self.url}/metrics").decode()
        return {
            (sample.name, *sorted(f"{name}={value}" for name, value in sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if family.type in {"counter", "histogram"}
        }

    def value(self, name: str) -> float:
        """The sum of all series of a name."""
        return sum(value for key, value in self.samples().items() if key[0] == name)


class Load:
    """Requests from several threads, a connection each, while the metrics are scraped once a second."""

    def __init__(self, server: Server, requests: int, pause: float = 0.0) -> None:
        self.answered: Counter[int] = Counter()
        """By worker."""
        self.log: list[int] = []
        """Which worker answered, one after the other."""
        self.pause = pause
        self.unanswered = 0
        self.decreased: list[tuple[object, float, float | None]] = []
        self.scrapes = 0
        self._server = server
        self._left = iter(range(requests))
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._turns = [threading.Lock() for _ in range(3)]
        self._workers = [threading.Thread(target=self._request_all, args=(turn,)) for turn in self._turns]
        self._scraper = threading.Thread(target=self._scrape_all)
        for thread in (*self._workers, self._scraper):
            thread.start()

    def join(self) -> None:
        for thread in self._workers:
            thread.join()

    def stop(self) -> None:
        self._done.set()
        self._scraper.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No request is sent meanwhile, and none is on its way."""
        with ExitStack() as turns:
            for turn in self._turns:
                turns.enter_context(turn)
            yield

    def _request_all(self, turn: threading.Lock) -> None:
        while True:
            with self._lock:
                if next(self._left, None) is None:
                    return
            with turn:
                worker = self._request()
                with self._lock:
                    if worker:
                        self.answered[worker] += 1
                        self.log.append(worker)
                    else:
                        self.unanswered += 1
            time.sleep(self.pause)

    def _request(self) -> int:
        connection = HTTPConnection(HOST, self._server.port, timeout=DEADLINE)
        try:
            connection.request("GET", "/work", headers={"Connection": "close"})
            response = connection.getresponse()
            return int(response.read()) if response.status == 200 else 0
        except (OSError, HTTPException, ValueError):
            return 0
        finally:
            connection.close()

    def _scrape_all(self) -> None:
        before: dict[tuple[str, ...], float] = {}
        while not self._done.wait(1.0):
            try:
                now = self._server.samples()
            except (OSError, HTTPException):
                continue
            self.scrapes += 1
            self.decreased += [
                (key, value, now.get(key)) for key, value in before.items() if now.get(key, -1.0) < value
            ]
            before = now


def totals(server: Server) -> dict[str, float]:
    """What the metrics say about the requests."""
    found: dict[str, float] = {}
    for (name, *_), value in server.samples().items():
        found[name] = found.get(name, 0.0) + value
    names = ("feature_usage_total", "feature_errors_total", "feature_performance_duration_seconds_count")
    return {name: found[name] for name in names}


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(tmp_path, *request.param)
    made.start()
    yield made
    made.stop()


APPLICATION = ("--chdir", str(ROOT), "--workers", "4", "--graceful-timeout", "10")
GUNICORN = ("gunicorn", "tests.multiprocess.application:wsgi", *APPLICATION)
UVICORN = ("uvicorn", "tests.multiprocess.application:asgi", "--workers", "4")
RECYCLED = ("--max-requests", "100")


@pytest.mark.parametrize(
    "server",
    [
        pytest.param((*GUNICORN, *RECYCLED), id="gunicorn sync"),
        pytest.param((*GUNICORN, *RECYCLED, "--worker-class", "gthread", "--threads", "4"), id="gunicorn gthread"),
        pytest.param((*GUNICORN, *RECYCLED, "--preload"), id="gunicorn preload"),
        pytest.param(UVICORN, id="uvicorn"),
    ],
    indirect=True,
)
def test_every_request_is_counted_once(server: Server) -> None:
    load = Load(server, REQUESTS)
    try:
        if "--max-requests" in server.command():
            wait_until(lambda: load.answered.total() > REQUESTS / 2)
            server.signal(signal.SIGHUP)
        load.join()
        answered = load.answered.total()
        # Of those that a worker did not answer because it ended, nobody knows whether it recorded them.
        assert load.unanswered < REQUESTS / 20
        expected: Callable[[float], bool] = lambda n: answered <= n <= answered + load.unanswered  # noqa: E731
        wait_until(lambda: all(map(expected, totals(server).values())), what=f"{answered} counted")
        wait_until(lambda: load.scrapes >= 3, what="three scrapes")  # a second apart, also after the last request
        assert all(map(expected, totals(server).values()))
    finally:
        load.stop()
    assert len(load.answered) >= (8 if "--max-requests" in server.command() else 2)
    assert not load.decreased
    samples = server.samples()
    assert len({label for _, *labels in samples for label in labels if "service_instance_id" in label}) == 1
    assert not [key for key in samples if key[0] == "otel_metrics_shared_errors_total"]
    # Two files of each worker, also of some that are gone.
    assert len(list(server.shared.iterdir())) <= 2 + 2 * (2 * 4 + 2)


@pytest.mark.parametrize("server", [GUNICORN, UVICORN], ids=["gunicorn sync", "uvicorn"], indirect=True)
def test_the_last_second_outlives_the_server(server: Server) -> None:
    load = Load(server, 60)
    load.join()
    load.stop()
    server.stop()
    server.start()
    assert load.answered.total() == 60
    assert set(totals(server).values()) == {60.0}


@pytest.mark.parametrize("server", [GUNICORN], ids=["gunicorn sync"], indirect=True)
def test_a_killed_worker_loses_what_it_had_not_shared(server: Server) -> None:
    """At most: all that was answered before a moment when everything was shared, as it is every second, stays."""
    shared: dict[int, int] = {}
    load = Load(server, REQUESTS, pause=0.02)

    def saved() -> int:
        """How many of the answered requests must be counted."""
        return sum(at < shared.get(worker, REQUESTS) for at, worker in enumerate(load.log))

    try:
        for part in (200, 400, 600):
            wait_until(lambda part=part: load.answered.total() > part)  # type: ignore[misc]
            with load.paused():
                wait_until(lambda: totals(server)["feature_usage_total"] >= saved())
                now = len(load.log)
            wait_until(lambda now=now: len(load.log) > now + 20)  # type: ignore[misc]
            worker = next(pid for pid in reversed(load.log) if pid not in shared)
            shared[worker] = now
            os.kill(worker, signal.SIGKILL)
        load.join()
        answered = load.answered.total()
        unsaved = answered - saved()
        wait_until(lambda: totals(server)["feature_usage_total"] >= answered - unsaved)
        counted = totals(server)
    finally:
        load.stop()
    assert len(load.answered) > 4
    assert len(set(counted.values())) == 1, counted
    assert answered - unsaved <= counted["feature_usage_total"] <= answered + load.unanswered
    assert not load.decreased
