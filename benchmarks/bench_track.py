"""What a tracked block and a tracked request cost, beside the calls that they make and beside a timed block of prometheus_client.

    python -m benchmarks.bench_track [--json FILE]

Microseconds of processor time per block, an empty one; contenders take turns in one process, best of several runs. The calls are
the clock, twice, and ``record_feature_usage`` with all that comes later. Promised: at most 1.5 µs more than the calls. Requests are
answered by a small Starlette application that is called without a server, so all that a server costs is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import closing
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prometheus_client
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from otel_metrics.integrations.web import track_requests
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from starlette.requests import Request

CALLS = "the calls alone"
PROMISED = 1.5
BLOCKS = 50_000
REQUESTS = 2_000
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


def measure_requests() -> None:
    """Print what a request costs, tracked and not."""

    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["number"])

    def application() -> Starlette:
        return Starlette(routes=[Mount("/orders", routes=[Route("/{number}", answer)])])

    async def ask(app: Starlette) -> float:
        start = time.process_time()
        for _ in range(REQUESTS):
            await app(
                {
                    "type": "http",
                    "method": "GET",
                    "path": "/orders/7",
                    "query_string": b"",
                    "headers": [],
                    "root_path": "",
                },
                receive,
                send,
            )
        return (time.process_time() - start) / REQUESTS * 1e6

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: MutableMapping[str, Any]) -> None:
        pass

    async def best() -> dict[str, float]:
        found: dict[str, float] = {}
        for _ in range(REPEATS):
            for name, app in applications.items():
                found[name] = min(found.get(name, inf), await ask(app))
        return found

    applications = {"plain": application(), "tracked": track_requests(application(), "shop")}
    found = asyncio.run(best())
    more = found["tracked"] - found["plain"]
    print(f"  a request of Starlette, plain {found['plain']:.1f} µs, tracked {found['tracked']:.1f} µs: {more:+.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(".cache/benchmarks/track.json"))
    arguments = parser.parse_args()
    measure_requests()
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
