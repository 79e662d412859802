"""Run as a program by test_fork.py: eight threads record and one scrapes while the main thread forks; prints what became of the children."""

from __future__ import annotations

import faulthandler
import os
import random
import select
import signal
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import otel_metrics

if TYPE_CHECKING:
    from collections.abc import Callable

CHILDREN = int(sys.argv[1])
CALLS = 10
PATIENCE = 120.0


def exposed() -> float:
    """Return the calls of every thread and series that a scrape of this process would see."""
    start: list[str] = []
    body = b"".join(
        otel_metrics.wsgi_app()({"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}, lambda s, _h: start.append(s))
    )
    assert start[0].startswith("200"), start
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in body.decode().splitlines()
        if line.startswith(("feature_usage_total{", "feature_usage_duration_seconds_count{"))
    )


def child() -> str:
    metrics = otel_metrics.get_advanced_metrics()
    before = metrics.get_feature_usage_stats("forking", hours=1)["total_usage"]
    for _ in range(CALLS):
        metrics.record_feature_usage("forking", "child", 1.0, True)
    seen = exposed()
    local = metrics.get_feature_usage_stats("forking", hours=1)["total_usage"]
    if before or local != CALLS or seen != 2 * CALLS:
        return f"inherited {before}, exposed {seen}, read back {local}"
    return "ok"


def fork_one(leave: Callable[[int], None], busy: threading.Event, recorded: list[int]) -> str:
    receive, send = os.pipe()
    before = sum(recorded)
    busy.set()
    while sum(recorded) == before:
        time.sleep(0.001)
    time.sleep(random.random() * 0.01)  # a moment later the threads are anywhere
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(PATIENCE / 2)  # a child that hangs says where
        try:
            outcome = child()
        except BaseException as error:
            outcome = repr(error)
        os.write(send, outcome.encode()[:500])
        leave(0)
    busy.clear()  # the child has the processors for itself
    os.close(send)
    try:
        ready, _, _ = select.select([receive], [], [], PATIENCE)
        if not ready:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hung"
        return (os.read(receive, 500).decode() or "died") if ended(pid) else "hung at its end"
    finally:
        os.close(receive)


def ended(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return True
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def main() -> None:
    metrics = otel_metrics.get_advanced_metrics()
    stop, busy = threading.Event(), threading.Event()
    recorded = [0] * 8

    def work(number: int) -> None:
        while busy.wait() and not stop.is_set():
            for i in range(100):
                metrics.record_feature_usage("forking", f"action{(i + number) % 20}", float(i), True)
            recorded[number] += 100
            time.sleep(0)

    def scrape() -> None:
        while busy.wait() and not stop.is_set():
            exposed()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(recorded))]
    threads.append(threading.Thread(target=scrape))
    for thread in threads:
        thread.start()
    ways: tuple[Callable[[int], None], ...] = (os._exit, sys.exit)
    outcomes = Counter(fork_one(ways[i % 2], busy, recorded) for i in range(CHILDREN))
    stop.set()
    busy.set()
    for thread in threads:
        thread.join()
    print(dict(outcomes))
    print("parent", exposed() == 2 * sum(recorded))


main()
