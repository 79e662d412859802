"""Importer of an old database, end to end, promtool included: rows per second; then all of it verified, then a second run.

python -m benchmarks.bench_import [rows] [days]
"""

from __future__ import annotations

import re
import resource
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.command import otel_metrics
from tests.importing import old
from tests.servers import Servers

FEATURES = 7
FOREVER = "--storage.tsdb.retention.time=100y"


def timed(*arguments: str) -> tuple[float, float, str]:
    """Return seconds, seconds of CPU and output of a command that must succeed."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = otel_metrics(*arguments)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    rows, days = (int(argument) for argument in (*sys.argv[1:], "1000000", "30")[:2])
    with tempfile.TemporaryDirectory() as folder, closing(Servers(Path(folder) / "servers")) as servers:
        path, data = old.filled(Path(folder) / "old.db", rows, days, features=FEATURES), Path(folder) / "data"
        size = path.stat().st_size / 1e6
        print(f"{rows:,} rows of {days} days, {FEATURES} features, {size:.0f} MB")
        seconds, cpu, _ = timed("import", str(path))
        print(f"  read, checked and reported   {seconds:6.1f} s ({cpu:.1f} s of CPU) {rows / seconds:9,.0f} rows/s")
        seconds, cpu, _ = timed("import", str(path), "--data", str(data))
        blocks = sum(file.stat().st_size for file in data.rglob("*") if file.is_file()) / 1e6
        print(f"  imported, promtool included  {seconds:6.1f} s ({cpu:.1f} s of CPU) {rows / seconds:9,.0f} rows/s")
        print(f"  blocks: {blocks:.0f} MB")
        server = servers.prometheus("global: {}\n", data=data, flags=[FOREVER])
        seconds, cpu, output = timed("import", str(path), "--data", str(data), "--verify", "--prometheus", server.url)
        print(
            f"  second run and verification  {seconds:6.1f} s ({cpu:.1f} s of CPU): {re.findall('[0-9]+ days written', output)[0]}"
        )
        print(f"  {re.findall('Verified.*', output)[0]}")


if __name__ == "__main__":
    main()
