"""Four processes that share totals record for minutes, in four threads each, and are replaced all the time; ``make soak-processes``.

A fifth is scraped every second. Fails if a counter goes back, if the totals are not exact in the end, if anything was left out, or
if memory, disk or the number of files grow once every series is there.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import IO, Final

from otel_metrics.multiprocess.recent import MOST_BYTES

_PROCESSES: Final = 4
_LIVES: Final = 4.0
"""Seconds after which a process is replaced: asked to end, by the signal or through its standard input, in turns."""
_GROWTH: Final = 1.1
"""Of memory, after a third of the time."""

WORKER: Final = """
import sys, threading, otel_metrics
metrics = otel_metrics.get_advanced_metrics()
ended = threading.Event()
calls = [0] * 4
def record(thread):
    first = int(sys.argv[1]) * 20  # every process has series that the one before had not, in rounds of three
    while not ended.wait(0.001):
        for i in range(20):
            feature = f"feature{(first + i) % 60}"
            metrics.record_performance_metric(feature, "response_time", f"metric{thread}", 0.25 * i, "s")
            metrics.record_error(feature, "Timeout", "warning")
            calls[thread] += 1
threads = [threading.Thread(target=record, args=(thread,)) for thread in range(4)]
for thread in threads: thread.start()
sys.stdin.readline()
ended.set()
for thread in threads: thread.join()
print(sum(calls), flush=True)
"""

SERVER: Final = """
import sys, otel_metrics
print(otel_metrics.serve(port=0).port, flush=True)
sys.stdin.readline()
"""

Worker = subprocess.Popen[str]


def start(program: str, directory: Path, *arguments: str) -> Worker:
    """Start a process that shares the directory."""
    environment = {**os.environ, "OTM_MULTIPROCESS_DIR": str(directory)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def end(worker: Worker) -> int:
    """Have a process end; return how many calls it made."""
    out, _ = worker.communicate("\n", timeout=60)
    return int(out)


def line(stream: IO[str] | None) -> str:
    """Return the next line that a process says."""
    return stream.readline() if stream is not None else ""


def scrape(port: int) -> dict[str, float]:
    """Return what only goes up, by series."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    found = re.findall(r"^(\w+(?:_total|_count|_bucket)(?:{.*})?) (\S+)$", text, re.MULTILINE)
    return {series: float(value) for series, value in found}


def total(samples: dict[str, float], name: str) -> float:
    """Return the sum of all series of a name."""
    return sum(value for series, value in samples.items() if series.partition("{")[0] == name)


def used(directory: Path, process: int) -> tuple[float, float, int]:
    """Return the server's memory and the directory's size, in megabytes, and how many files there are.

    The file of recent values grows to its bound, so it is not in the size.
    """
    files = list(directory.iterdir())
    size = sum(path.stat().st_blocks * 512 for path in files if path.exists() and path.suffix != ".recent")
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, size / 1e6, len(files)


def soak(seconds: float, directory: Path) -> list[str]:
    """Run; return what went wrong."""
    wrong: list[str] = []
    numbers = itertools.count()
    server = start(SERVER, directory)
    port = int(line(server.stdout))
    workers = [start(WORKER, directory, str(next(numbers))) for _ in range(_PROCESSES)]
    begun, replaced, calls, scrapes = time.monotonic(), time.monotonic(), 0, 0
    before: dict[str, float] = {}
    settled: tuple[float, float, int] | None = None
    try:
        while time.monotonic() < begun + seconds:
            time.sleep(1.0)
            now = scrape(port)
            scrapes += 1
            wrong += [
                f"{series} went back from {value}" for series, value in before.items() if now.get(series, -1) < value
            ]
            before = now
            if time.monotonic() > replaced + _LIVES / _PROCESSES:
                replaced = time.monotonic()
                calls += end(workers.pop(0))
                workers.append(start(WORKER, directory, str(next(numbers))))
            if settled is None and time.monotonic() > begun + seconds / 3:
                settled = used(directory, server.pid)
        calls += sum(map(end, workers))
        workers.clear()
        now, last = scrape(port), used(directory, server.pid)
        recent = sum(path.stat().st_size for path in directory.glob("*.recent"))
    finally:
        for each in (*workers, server):
            each.send_signal(signal.SIGKILL)
            each.wait()
    print(f"{next(numbers)} processes made {calls} calls; {scrapes} scrapes, {len(now)} series that only go up")
    for name in ("feature_errors_total", "feature_performance_duration_seconds_count"):
        if (counted := total(now, name)) != calls:
            wrong.append(f"{name} is {counted}, not {calls}")
    errors = {series: n for series, n in now.items() if series.startswith("otel_metrics_shared_errors_total")}
    print(f"had to wait, or was left out: {errors or 'nothing'}")
    wrong += [f"{series} is {n}" for series, n in errors.items() if n and 'reason="busy"' not in series]
    if settled is None:
        return [*wrong, "too short to tell"]
    print("memory of the server {:.1f} -> {:.1f} MB, disk {:.2f} -> {:.2f} MB, files {} -> {}".format(
        *itertools.chain.from_iterable(zip(settled, last, strict=True))
    ))  # fmt: skip
    print(f"recent values: {recent / 1e6:.1f} MB, at most {MOST_BYTES / 1e6:.1f}")
    if not 0 < recent <= MOST_BYTES:
        wrong.append("the file of recent values keeps to no bound")
    if last[0] > _GROWTH * settled[0]:
        wrong.append("memory grew")
    if last[1] > settled[1] or last[2] > settled[2]:
        wrong.append("the directory grew")
    return wrong


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        wrong = soak(seconds, Path(folder) / "shared")
    print("\n".join(wrong) or "all as it should be")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
