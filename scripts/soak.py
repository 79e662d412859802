"""Record and scrape for minutes, first in peace, then under one attack after the other, all of it twice; ``make soak``.

Says for each: the worst record call, the scraper's worst answer, threads, descriptors, memory. Fails if a total is not exact, if the scraper got
no answer within Prometheus' time-out, if a record call took too long, or if the second round took more threads, descriptors or memory than
the first, whose attacks have made everything as large as it gets. Attackers have addresses of their own (Linux only).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import multiprocessing
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SCRAPE_TIMEOUT: Final = 10.0
"""Prometheus' default, in seconds."""

_FORMATS: Final = (
    "text/plain",
    "application/openmetrics-text; version=1.0.0",
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
)
_SLOWEST_CALL: Final = 0.05
"""Seconds that a record call may take, whatever goes on."""

_ROUNDS: Final = 2

_GROWTH: Final = {"threads": 1.0, "descriptors": 1.0, "memory": 1.1}
"""Of the most that a round takes, from the first round to the last."""

VICTIM: Final = """
import json, os, sys, threading, time
import otel_metrics
folder = sys.argv[1]
otel_metrics.configure(otlp="cumulative")
metrics = otel_metrics.get_advanced_metrics()
for i in range(2000):
    metrics.record_performance_metric(f"feature{i % 50}", "category", f"metric{i // 50}", 1.0 * i, "ms")
plain = otel_metrics.serve(port=0)
secure = otel_metrics.serve(port=0, certfile=f"{folder}/server.pem", keyfile=f"{folder}/server.key")
guarded = otel_metrics.serve(port=0, users_file=f"{folder}/users")
print(json.dumps([plain.port, secure.port, guarded.port]), flush=True)
done, worst, calls = threading.Event(), [0.0] * 4, [0] * 4
def record(thread):
    while not done.is_set():
        for _ in range(50):
            started = time.perf_counter()
            metrics.record_error("feature", "Error", "error")
            metrics.record_performance_metric("feature1", "category", "metric1", 5.0, "ms")
            worst[thread] = max(worst[thread], time.perf_counter() - started)
        calls[thread] += 50
        time.sleep(0.01)
threads = [threading.Thread(target=record, args=(thread,)) for thread in range(4)]
for thread in threads: thread.start()
for line in sys.stdin:
    if line.strip() == "shutdown":
        break
    if line.strip() == "end":
        done.set()
        for thread in threads: thread.join()
    print(json.dumps({
        "record": max(worst), "calls": sum(calls), "threads": len(os.listdir("/proc/self/task")),
        "descriptors": len(os.listdir("/proc/self/fd")), "memory": int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6,
    }), flush=True)
    worst[:] = [0.0] * 4
started = time.monotonic()
otel_metrics.shutdown()
print(time.monotonic() - started, flush=True)
"""


class Ports(NamedTuple):
    """Of the victim's three endpoints."""

    plain: int
    secure: int
    guarded: int


def connect(port: int, client: int) -> socket.socket:
    """Connect from an address of an attacker's own."""
    return socket.create_connection(
        ("127.0.0.1", port), 10, source_address=(f"127.0.{1 + client // 250}.{1 + client % 250}", 0)
    )


def peace() -> None:
    """Do nothing."""


def attack(clients: int, port: int, act: Callable[[socket.socket], None]) -> None:
    """Have many clients act on connections of theirs, again and again, until the process is ended."""

    def client(number: int) -> None:
        while True:
            with contextlib.suppress(OSError), connect(port, number) as connection:
                act(connection)
            time.sleep(0.05)

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    threading.Event().wait()


def idle(connection: socket.socket) -> None:
    """Say nothing, until cut off."""
    connection.settimeout(None)
    connection.recv(1)


def slow(connection: socket.socket) -> None:
    """Send a byte now and then."""
    for byte in b"GET /metrics HTTP/1.1\r\nA: " + b"a" * 1000:
        time.sleep(0.2)
        connection.sendall(bytes((byte,)))


def scrape(connection: socket.socket) -> None:
    """Ask and take."""
    connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    while connection.recv(1 << 16):
        pass


def stall(connection: socket.socket) -> None:
    """Ask and do not take."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    time.sleep(8)


def guess(connection: socket.socket) -> None:
    """Try a password."""
    guessed = base64.b64encode(os.urandom(9).hex().encode() + b":x").decode()
    connection.sendall(f"GET /metrics HTTP/1.1\r\nAuthorization: Basic {guessed}\r\n\r\n".encode())
    connection.recv(1 << 16)


class Scraper:
    """Scrapes one endpoint three times a second, in three formats."""

    def __init__(self, port: int, *, secure: bool = False, password: bool = False) -> None:
        self.worst, self.answers, self.failed = 0.0, 0, 0
        self._port, self._secure = port, secure
        self._headers = {"Authorization": "Basic " + base64.b64encode(b"scraper:geheim").decode()} if password else {}

    def scrape(self, accept: str) -> bytes:
        """Return an exposition.

        Raises:
            OSError: there is none, or not in time.
        """
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        made = (
            http.client.HTTPSConnection("127.0.0.1", self._port, timeout=_SCRAPE_TIMEOUT, context=context)
            if self._secure
            else http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SCRAPE_TIMEOUT)
        )
        with contextlib.closing(made):
            made.request("GET", "/metrics", headers={"Accept": accept, **self._headers})
            response = made.getresponse()
            body = response.read()
            if response.status != 200:
                raise OSError(f"status {response.status}")
            return body

    def run(self, until: float) -> None:
        """Scrape until a time of the monotonic clock."""
        while time.monotonic() < until:
            for accept in _FORMATS:
                started = time.monotonic()
                try:
                    self.scrape(accept)
                except (OSError, http.client.HTTPException) as error:
                    self.failed += 1
                    print("  a scrape failed:", repr(error))
                self.worst = max(self.worst, time.monotonic() - started)
                self.answers += 1
                time.sleep(0.33)


@contextlib.contextmanager
def victim(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Ports]]:
    """Start the application, its receiver being one that never answers."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key")
    command = ["openssl", "req", "-x509", *key, "-out", "server.pem", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    hashing = [sys.executable, "-m", "otel_metrics.exporter.auth", "scraper"]
    users = subprocess.run(hashing, input="geheim\n", capture_output=True, text=True, check=True).stdout
    (folder / "users").write_text(users, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as dead:
        environment = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://127.0.0.1:{dead.getsockname()[1]}/v1/metrics",
            "OTEL_METRIC_EXPORT_INTERVAL": "5000",
        }
        with subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(folder)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(folder / "log").open("w"), text=True,
        ) as process:  # fmt: skip
            try:
                yield process, Ports(*tell(process))
            finally:
                process.kill()


def tell(process: subprocess.Popen[str], word: str | None = None) -> Any:
    """Say a word to the victim, return what it answers."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the victim was started without pipes")
    if word is not None:
        process.stdin.write(f"{word}\n")
        process.stdin.flush()
    return json.loads(process.stdout.readline())


def phase(name: str, seconds: float, attackers: Callable[[], None], scraper: Scraper) -> None:
    """Attack, from a process of its own, and scrape for some seconds.

    The scraper has been there before: strangers have no claim to a place in a flood.
    """
    scraper.scrape(_FORMATS[0])
    process = multiprocessing.get_context("spawn").Process(target=attackers, daemon=True)
    process.start()
    scraper.run(time.monotonic() + seconds)
    process.kill()
    process.join()
    print(
        f"{name:38} scraper: {scraper.answers:4} answers, worst {scraper.worst:6.2f} s, failed {scraper.failed}",
        flush=True,
    )


def main() -> int:
    """Run all phases; 1 if a promise was broken."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=300.0, help="in all (default: %(default)s)")
    seconds = arguments.parse_args().seconds
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as folder, victim(Path(folder)) as (process, ports):
        phases: list[tuple[str, Callable[[], None], partial[Scraper]]] = [
            ("in peace", peace, partial(Scraper, ports.plain)),
            ("500 idle connections", partial(attack, clients=500, port=ports.plain, act=idle), partial(Scraper, ports.plain)),
            ("100 slow clients", partial(attack, clients=100, port=ports.plain, act=slow), partial(Scraper, ports.plain)),
            ("300 stalled handshakes", partial(attack, clients=300, port=ports.secure, act=idle), partial(Scraper, ports.secure, secure=True)),
            ("200 parallel scrapes", partial(attack, clients=200, port=ports.plain, act=scrape), partial(Scraper, ports.plain)),
            ("100 stalled readers", partial(attack, clients=100, port=ports.plain, act=stall), partial(Scraper, ports.plain)),
            ("guessing from 50 addresses", partial(attack, clients=50, port=ports.guarded, act=guess), partial(Scraper, ports.guarded, password=True)),
            ("in peace again", peace, partial(Scraper, ports.plain)),
        ]  # fmt: skip
        each = seconds / len(phases) / _ROUNDS
        most: list[dict[str, float]] = []
        for _ in range(_ROUNDS):
            most.append(dict.fromkeys(_GROWTH, 0.0))
            for name, run, scraping in phases:
                scraper = scraping()
                phase(name, each, run, scraper)
                now = tell(process, "figures")
                print(
                    f"{'':38} record call, worst {now['record'] * 1e3:6.1f} ms, {now['threads']} threads, "
                    f"{now['descriptors']} descriptors, {now['memory']:.0f} MB"
                )
                most[-1] = {figure: max(so_far, now[figure]) for figure, so_far in most[-1].items()}
                if scraper.failed or scraper.worst > _SCRAPE_TIMEOUT:
                    broken.append(f"{name}: {scraper.failed} scrapes failed, the worst took {scraper.worst:.2f} s")
                if now["record"] > _SLOWEST_CALL:
                    broken.append(f"{name}: a record call took {now['record'] * 1e3:.0f} ms")
        calls = tell(process, "end")["calls"]
        text = Scraper(ports.plain).scrape("text/plain").decode()
        counted = sum(
            float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("feature_errors_total{")
        )
        print(f"{calls} calls recorded, {counted:.0f} exposed")
        if counted != calls:
            broken.append(f"{calls} calls, {counted:.0f} exposed")
        broken += [
            f"{figure} grew from {most[0][figure]:.0f} to {most[-1][figure]:.0f}"
            for figure, growth in _GROWTH.items()
            if most[-1][figure] > most[0][figure] * growth
        ]
        ended = tell(process, "shutdown")
        print(f"shutdown() took {ended:.2f} s with a receiver that never answers")
        if ended > 2:
            broken.append(f"shutdown() took {ended:.2f} s")
    for each_broken in broken:
        print("BROKEN:", each_broken)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
