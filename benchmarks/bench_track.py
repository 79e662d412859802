"""What a tracked block costs, beside the calls that it makes and beside a timed block of prometheus_client.

    python -m benchmarks.bench_track [--json FILE]

Microseconds of processor time per block, an empty one; contenders take turns in one process, best of several runs. The calls are
the clock, twice, and ``record_feature_usage`` with all that comes later. Promised: at most 1.5 µs more than the calls.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import prometheus_client

from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings

CALLS = "the calls alone"
PROMISED = 1.5
BLOCKS = 50_000
REPEATS = 9

CONTENDERS = {
    CALLS: "start = clock(); m.record_feature_usage('search', 'query', (clock() - start) * 1000, True, None, None, None)",
    "with m.track(…)": "with m.track('search', 'query'): pass",
    "a call of a function with @m.track(…)": "tracked()",
    "with m.timed(…)": "with m.timed('search', 'response_time', 'query_ms'): pass",
    "prometheus_client, with histogram.labels(…).time()": "with histogram.labels('search', 'query').time(): pass",
}
LOOP = """
def run():
    for _ in range({blocks}):
        {statement}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(".cache/benchmarks/track.json"))
    arguments = parser.parse_args()
    with closing(Runtime(Settings())) as runtime:
        names: dict[str, Any] = {"m": runtime.advanced, "clock": time.perf_counter}
        names["tracked"] = runtime.advanced.track("search", "query")(lambda: None)
        names["histogram"] = prometheus_client.Histogram(
            "use_seconds", "Uses.", ["feature", "action"], registry=prometheus_client.CollectorRegistry()
        )
        runs = {}
        for contender, statement in CONTENDERS.items():
            exec(LOOP.format(blocks=BLOCKS, statement=statement), names)
            runs[contender] = names["run"]
        found: dict[str, list[float]] = {contender: [] for contender in runs}
        for _ in range(REPEATS):
            for contender, run in runs.items():
                start = time.process_time()
                run()
                runtime.recorder.flusher.flush()
                found[contender].append((time.process_time() - start) / BLOCKS * 1e6)
    best = {contender: min(figures) for contender, figures in found.items()}
    for contender, figure in best.items():
        more = f"{figure - best[CALLS]:+.2f}" if contender != CALLS else ""
        print(f"  {contender:52} {figure:5.2f} µs  {more}")
    print(f"  promised: at most {PROMISED:.2f} µs more than the calls")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(best, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
