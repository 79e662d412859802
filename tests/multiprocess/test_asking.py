"""A scrape shows what other processes had recorded when it came, and waits a quarter of a second for those that do not answer."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from otel_metrics.multiprocess import asking
from otel_metrics.multiprocess.totals import SharedTotals
from tests.multiprocess.test_servers import APPLICATION, UVICORN, Server
from tests.multiprocess.test_totals import in_child, values
from tests.processes import ROOT, fetch, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOUND = 0.25


class One:
    """One of several processes, which counts calls and shares them when it is asked only."""

    def __init__(self, directory: Path) -> None:
        self.totals = SharedTotals(directory, "shop")
        self.recorded = 0
        self.answers = 0
        self.totals.answer(self.share)
        self.counter = self.totals.counter(("calls",))

    def share(self) -> None:
        self.answers += 1
        while self.recorded:
            self.recorded -= 1
            self.counter.add(1)
        self.totals.flush()

    def calls(self) -> float:
        self.totals.ask()
        return float(values(self.totals, "calls").get((), 0.0))


@contextmanager
def several(directory: Path, number: int) -> Iterator[list[One]]:
    made = [One(directory) for _ in range(number)]
    yield made
    for each in made:
        each.totals.close()


@contextmanager
def child(work: Callable[[], object]) -> Iterator[int]:
    """A forked child that lives on after its work is done."""
    done, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(tell, b"x")
            time.sleep(60)
        finally:
            os._exit(0)
    try:
        assert os.read(done, 1) == b"x"
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(done)
        os.close(tell)


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def descriptors() -> int:
    return len(list(Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd").iterdir()))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bound, however busy the machine is: who waits for a process that does not answer waits for good."""
    monkeypatch.setattr(asking, "_PATIENCE", 3600.0)


@pytest.mark.usefixtures("patient")
def test_what_others_have_just_recorded_is_seen(tmp_path: Path) -> None:
    with several(tmp_path, 3) as (first, second, third):
        for n in range(1, 51):
            second.recorded += 2
            third.recorded += 1
            assert first.calls() == 3 * n


@pytest.mark.usefixtures("patient")
def test_two_that_ask_each_other_all_the_time_wait_for_nothing(tmp_path: Path) -> None:
    with several(tmp_path, 2) as (first, second):
        other = threading.Thread(target=lambda: [second.calls() for _ in range(50)])
        other.start()
        for _ in range(50):
            first.calls()
        other.join()
        assert (first.answers, second.answers) == (50, 50)


@pytest.mark.usefixtures("patient")
def test_sockets_of_the_application_that_time_out_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(asking, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
    socket.setdefaulttimeout(0.01)
    try:
        with several(tmp_path, 2) as (first, second):
            for n in range(1, 4):
                time.sleep(0.05)  # five times what the application gave them
                second.recorded += 1
                assert first.calls() == n
            assert pauses == []
    finally:
        socket.setdefaulttimeout(None)


@pytest.mark.usefixtures("patient")
def test_the_first_record_of_a_forked_child_is_seen(tmp_path: Path) -> None:
    with several(tmp_path, 1) as (first,):

        def work() -> None:
            first.recorded = 1
            first.totals.answer(first.share)
            first.totals.counter(("calls",))

        with child(work):
            assert first.calls() == 1


def test_a_stopped_process_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with several(tmp_path, 1) as (first,):

        def work() -> None:
            own = One(tmp_path)
            own.recorded = 5

        with child(work) as pid:
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)
            assert seconds(first.calls) >= BOUND
            before = descriptors()
            monkeypatch.setattr(asking, "_PATIENCE", 3600.0)
            for _ in range(20):
                assert first.calls() == 0
            assert descriptors() == before
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: first.calls() == 5)
        assert first.calls() == 5
        # Nothing is left of it: its connection, its files.
        assert descriptors() <= before
        assert len(list(tmp_path.iterdir())) == 4


def test_a_process_that_cannot_be_asked_shares_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_LONGEST", 4096)  # as where there is no /proc: the system rejects paths of this length
    directory = tmp_path / ("long" * 25)
    with several(directory, 2) as (first, second):
        second.recorded = 1
        assert first.calls() == 0
        assert not list(directory.glob("*.socket"))
        assert not list(directory.glob("*.unfinished"))
        second.share()
        assert first.calls() == 1


@pytest.mark.usefixtures("patient")
def test_a_directory_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    with several(tmp_path / "shared", 2) as (first, second):
        for path in (tmp_path / "shared").iterdir():
            path.unlink()
        (tmp_path / "shared").rmdir()
        assert first.calls() == 0
        second.share()  # as it does once a second
        second.recorded = 3
        assert first.calls() == 3


def test_only_the_owner_may_ask(tmp_path: Path) -> None:
    with several(tmp_path, 1):
        (path,) = tmp_path.glob("*.socket")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_killed_processes_leave_no_sockets(tmp_path: Path) -> None:
    def work() -> bool:
        return One(tmp_path).totals.flush()

    for _ in range(50):
        assert in_child(work)
    with several(tmp_path, 1) as (first,):
        (tmp_path / "otel_metrics-00000000-dead.socket").touch()  # of others
        (keys,) = tmp_path.glob("*.keys")
        for suffix in ("process", "unfinished"):  # of one that was killed while it made its socket
            keys.with_name(f"{keys.stem}-dead.{suffix}").touch()
        assert first.calls() == 0
        assert len(list(tmp_path.iterdir())) == 5


def test_a_forked_child_holds_nothing_of_its_parents_sockets(tmp_path: Path) -> None:
    with several(tmp_path, 2) as (first, second):
        first.calls()

        def work() -> None:
            first.totals.after_fork_in_child()
            second.totals.after_fork_in_child()

        (path,) = [
            each for each in tmp_path.glob("*.socket") if each in second.totals._directory.others(first.totals._process)
        ]
        with child(work):
            kept = path.with_name("kept")
            os.link(path, kept)
            second.totals.close()
            with (
                socket.socket(socket.AF_UNIX) as probe,
                pytest.raises(ConnectionRefusedError),
                asking._address(kept) as address,
            ):
                probe.connect(address)


@pytest.mark.parametrize("what", ["silent", "link", "file", "pipe", "dead"])
def test_what_a_stranger_puts_there_costs_the_bound_once_at_most(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with several(tmp_path, 2) as (first, second), socket.socket(socket.AF_UNIX) as silent:
        (one, _) = sorted(tmp_path.glob("*.socket"))
        path = one.with_name(f"{one.name.rsplit('-', 1)[0]}-stranger.socket")
        with asking._address(path if what in {"silent", "dead"} else path.with_name("elsewhere")) as address:
            silent.bind(address)
        if what != "dead":
            silent.listen()
        if what == "link":
            path.symlink_to("elsewhere")
        if what == "file":
            path.write_text("mine")
        if what == "pipe":
            os.mkfifo(path)
        if what == "silent":
            assert seconds(first.calls) >= BOUND
        monkeypatch.setattr(asking, "_PATIENCE", 3600.0)  # from here on it must not be waited for
        first.calls()
        second.recorded = 1
        wait_until(lambda: first.calls() == 1)  # at once, unless the second one had no time to answer within the bound
        assert values(first.totals, "calls") == {(): 1.0}
        assert path.exists() == (what != "dead")


# ----------------------------------------------------------------------------------------------------------- servers
@pytest.fixture(params=["gunicorn", "uvicorn"])
def server(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("PATIENCE", "3600")  # however busy the machine is, every worker answers
    gunicorn = ("gunicorn", "tests.multiprocess.application:wsgi", *APPLICATION)
    made = Server(tmp_path, *(UVICORN if request.param == "uvicorn" else gunicorn))
    made.start()
    yield made
    made.stop()


def test_a_scrape_shows_the_request_that_was_answered_before(server: Server) -> None:
    workers = set()
    for n in range(1, 41):
        workers.add(int(fetch(f"{server.url}/work")))
        assert server.value("feature_usage_total") == n
    assert len(workers) > 1


def test_a_stopped_worker_delays_one_scrape(tmp_path: Path) -> None:
    server = Server(tmp_path, "gunicorn", "tests.multiprocess.application:wsgi", "--chdir", str(ROOT), "--workers", "2")
    server.start()
    scrape = partial(server.value, "feature_usage_total")
    try:
        wait_until(lambda: re.search(rb"\notel_metrics_processes\{.*\} 2", fetch(f"{server.url}/metrics")))
        stopped = int(fetch(f"{server.url}/work"))
        os.kill(stopped, signal.SIGSTOP)
        assert scrape() in {0.0, 1.0}
        fetch(f"{server.url}/patient")  # from here on it must not be waited for
        for _ in range(5):
            assert scrape() in {0.0, 1.0}
        os.kill(stopped, signal.SIGCONT)
        wait_until(lambda: scrape() == 1)
    finally:
        server.stop()
