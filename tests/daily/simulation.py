"""A simulated day: processes with a clock of ours record, are scraped, crash and are born; everything else is real.

Every process is a :class:`~otel_metrics.runtime.Runtime`. What a scrape of it would return is kept with the simulated time, and
later served to a real Prometheus, timestamps and all.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import statistics
from array import array
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.exporter import prometheus_proto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MINUTE, HOUR, DAY = 60, 3600, 86_400
SCRAPE = 5 * MINUTE
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    "lognormal": lambda r: r.lognormvariate(4, 1),
    "exponential": lambda r: r.expovariate(0.01),
    "uniform": lambda r: r.uniform(1, 1000),
    "normal": lambda r: abs(r.gauss(500, 50)),
    "two_humps": lambda r: abs(r.gauss(20, 3)) if r.random() < 0.7 else abs(r.gauss(2000, 200)),
    "heavy_tail": lambda r: 5 * r.paretovariate(1.5),
    "ratings": lambda r: float(r.choice((1, 2, 3, 4, 4, 4, 5, 5))),
}
"""Seven unlike distributions of milliseconds."""


class Clock:
    """The simulated time, in unix seconds."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Process:
    """One simulated process, and what its scrapes saw."""

    def __init__(self, name: str, clock: Clock, offset: float) -> None:
        self.name = name
        self.offset = offset  # of its scrapes within the interval
        before = os.environ.get("OTEL_RESOURCE_ATTRIBUTES")
        os.environ["OTEL_RESOURCE_ATTRIBUTES"] = f"service.instance.id={name}"
        try:
            self.runtime = Runtime(Settings(clock=clock))
        finally:
            if before is None:
                del os.environ["OTEL_RESOURCE_ATTRIBUTES"]
            else:
                os.environ["OTEL_RESOURCE_ATTRIBUTES"] = before
        self._app = self.runtime.reader.wsgi_app(metrics_path="/")
        self.scrapes: list[tuple[float, bytes]] = []
        self.recorded: dict[str, array[float]] = {}
        self.exposed: dict[str, int] = {}

    def record(self, name: str, values: Iterable[float], *, counts: bool) -> None:
        """Record milliseconds; ``counts``: they belong to the day under test."""
        call = self.runtime.advanced.record_performance_metric
        kept = self.recorded.setdefault(name, array("d"))
        for value in values:
            call("shop", "response_time", name, value, "milliseconds")
            if counts:
                kept.append(value / 1000)
        self.runtime.recorder.flusher.drain()  # as the ticker does, every second of a real clock

    def scrape(self, now: float) -> None:
        """Be scraped."""
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_ACCEPT": PROTOBUF}
        self.scrapes.append((now, b"".join(self._app(environ, lambda *_: None))))
        self.exposed = {name: len(values) for name, values in self.recorded.items()}

    def close(self) -> None:
        self.runtime.close()


@dataclass
class Simulation:
    """The day from ``start`` (a UTC midnight) on, with the evening before and the night after it.

    Args:
        start: unix time.
        values: of every distribution, in the day.
    """

    start: float
    values: int
    processes: list[Process] = field(default_factory=list)

    def run(self) -> None:
        """One process lives through both midnights, one crashes in the afternoon, one is born a little later."""
        clock = Clock(self.start - 2 * HOUR)
        crash, birth = self.start + 15 * HOUR + 7 * MINUTE, self.start + 15 * HOUR + 9 * MINUTE
        chance = random.Random(20240229)
        alive = [Process("steady", clock, 11.0), Process("doomed", clock, 97.0)]
        self.processes = list(alive)
        steps = DAY // SCRAPE
        per_step = self.values // (2 * steps) + 1
        for step in range(-2 * 12, steps + 3 * 12):
            begin = self.start + step * SCRAPE
            for process in [*alive]:
                if process.name == "doomed" and begin > crash - SCRAPE:
                    # What it records after its last scrape nobody ever sees.
                    clock.now = begin + 1
                    process.record("lognormal_ms", [1e6] * 50, counts=False)
                    alive.remove(process)
            if begin <= birth < begin + SCRAPE:
                clock.now = birth
                alive.append(Process("late", clock, 203.0))
                self.processes.append(alive[-1])
            for process in alive:
                clock.now = max(clock.now, begin + process.offset)
                process.scrape(clock.now)
            clock.now = begin + SCRAPE - 0.01
            for process in alive:
                inside = 0 <= step < steps
                for name, draw in DISTRIBUTIONS.items():
                    number = per_step if inside else 3
                    process.record(f"{name}_ms", [draw(chance) for _ in range(number)], counts=inside)
            # The last values before midnight are exposed as those of the day before.
        for process in alive:
            clock.now += 20
            process.scrape(clock.now)

    def exposed(self, name: str) -> array[float]:
        """Everything of the day, in seconds, that any scrape saw."""
        return array(
            "d", itertools.chain.from_iterable(p.recorded[name][: p.exposed.get(name, 0)] for p in self.processes)
        )

    def served(self) -> bytes:
        """One exposition with every sample of every scrape of every process."""
        return b"".join(
            _stamped(when, process.name, text) for process in self.processes for when, text in process.scrapes
        )

    def close(self) -> None:
        for process in self.processes:
            process.close()


def exactly(values: array[float]) -> dict[str, float]:
    """The eight statistics, computed another way than anything in the package does."""
    ordered = sorted(values)
    n = len(ordered)
    mean = math.fsum(ordered) / n
    found = {
        "count": float(n),
        "avg_value": mean,
        "min_value": ordered[0],
        "max_value": ordered[-1],
        "stddev": math.sqrt(math.fsum((value - mean) ** 2 for value in ordered) / (n - 1)),
    }
    cuts = statistics.quantiles(ordered, n=100, method="inclusive")
    return {**found, "percentile_50": cuts[49], "percentile_95": cuts[94], "percentile_99": cuts[98]}


def _stamped(now: float, instance: str, exposition: bytes) -> bytes:
    """An exposition with the time of its scrape and the instance on every sample."""
    written = []
    for name, family in prometheus_proto.read(exposition).items():
        if name.startswith(("process_", "python_")):
            continue
        for metric in family.metric:
            metric.timestamp_ms = round(now * 1000)
            metric.label.add(name="instance", value=instance)
        written.append(delimited(family))
    return b"".join(written)


def delimited(family: Any) -> bytes:
    """A message with its length before it."""
    content: bytes = family.SerializeToString()
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def gauge(name: str, labels: dict[str, str], samples: Iterable[tuple[float, float]]) -> bytes:
    """A gauge with many timestamped samples, as one family per sample."""
    written = []
    for when, value in samples:
        family: Any = prometheus_proto.MetricFamily(name=name, type=1)
        metric = family.metric.add(timestamp_ms=round(when * 1000))
        metric.gauge.value = value
        for label, text in labels.items():
            metric.label.add(name=label, value=text)
        written.append(delimited(family))
    return b"".join(written)


@contextmanager
def serving(expositions: dict[str, bytes]) -> Iterator[str]:
    """Serve every exposition once at /NAME, then nothing more; yields host:port."""
    waiting = dict(expositions)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = waiting.pop(self.path.strip("/"), b"")
            self.send_response(200)
            self.send_header("Content-Type", TYPE)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
