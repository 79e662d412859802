"""What a tracked block, request and task cost, beside the calls that they make and beside what others offer for them.

    python -m benchmarks.bench_track [--json FILE]

Microseconds of processor time per block, an empty one; contenders take turns in one process, best of several runs. The calls are
the clock, twice, and ``record_feature_usage`` with all that comes later. Promised: at most 1.5 µs more than the calls. Requests are
answered by small applications that are called without a server, and tasks are run without a broker, so all that these cost is left out. The
peers measure what they measure by default: more metrics than ours, none of them by feature.
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
from wsgiref.util import setup_testing_defaults

import prometheus_client
from celery import Celery, signals
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as OpenTelemetryASGI
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as OpenTelemetryWSGI
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from otel_metrics.integrations.celery import track_tasks
from otel_metrics.integrations.web import track_requests
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

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


OURS = "tracked"


def applications_for_asgi() -> dict[str, Any]:
    """Return one small application of Starlette for each middleware."""

    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["number"])

    def application() -> Starlette:
        return Starlette(routes=[Route("/orders/{number}", answer)])

    theirs = application()
    registry = prometheus_client.CollectorRegistry()
    Instrumentator(registry=registry).instrument(theirs)
    return {
        "plain": application(),
        OURS: track_requests(application(), "shop"),
        "opentelemetry-instrumentation-asgi": OpenTelemetryASGI(
            application(), meter_provider=meter_provider(), tracer_provider=NoOpTracerProvider()
        ),
        "prometheus-fastapi-instrumentator": theirs,
    }


def applications_for_wsgi() -> dict[str, Any]:
    """Return one small WSGI application for each middleware."""

    def application(_: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"7"]

    return {
        "plain": application,
        OURS: track_requests(application, "shop", route=lambda _: "/orders/{number}"),
        "opentelemetry-instrumentation-wsgi": OpenTelemetryWSGI(
            application, meter_provider=meter_provider(), tracer_provider=NoOpTracerProvider()
        ),
    }


def answer_of_django(_: object, number: int) -> HttpResponse:
    return HttpResponse(str(number))


urlpatterns = [path("orders/<int:number>", answer_of_django)]


def applications_for_django() -> dict[str, Any]:
    """Return one small application of Django for each middleware."""
    settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="secret", ALLOWED_HOSTS=["*"])
    found = {"plain": get_wsgi_application()}
    settings.MIDDLEWARE = ["otel_metrics.integrations.django.TrackRequests"]
    found[OURS] = get_wsgi_application()
    settings.MIDDLEWARE = []
    DjangoInstrumentor().instrument(meter_provider=meter_provider(), tracer_provider=NoOpTracerProvider())
    return {**found, "opentelemetry-instrumentation-django": get_wsgi_application()}


def workers_of_celery() -> dict[str, Any]:
    """Return what runs one small task, for each of those that listen to the signals of Celery."""
    app = Celery("shop")

    @app.task(name="deliver")  # type: ignore[untyped-decorator]
    def deliver(order: int) -> int:
        return order

    listening = signals.task_prerun, signals.task_postrun
    plain = [signal.receivers for signal in listening]

    def listened(connect: Callable[[], object]) -> Callable[[], None]:
        for signal, nobody in zip(listening, plain, strict=True):
            signal.receivers = nobody[:]
        connect()
        found = [signal.receivers for signal in listening]

        def run() -> None:
            for signal, receivers in zip(listening, found, strict=True):
                signal.receivers = receivers
                signal.sender_receivers_cache.clear()
            for order in range(REQUESTS):
                deliver.apply((order,))

        return run

    providers = {"meter_provider": meter_provider(), "tracer_provider": NoOpTracerProvider()}
    return {
        "plain": listened(lambda: None),
        OURS: listened(lambda: track_tasks("shop")),
        "opentelemetry-instrumentation-celery": listened(lambda: CeleryInstrumentor().instrument(**providers)),  # type: ignore[no-untyped-call]
    }


def meter_provider() -> MeterProvider:
    """Return one that a reader collects, as in a real application."""
    return MeterProvider([PrometheusMetricReader()])


async def ask_asgi(app: Any) -> None:
    about = {"type": "http", "method": "GET", "path": "/orders/7", "query_string": b"", "headers": [], "root_path": ""}
    about |= {"http_version": "1.1", "scheme": "http", "server": ("localhost", 80), "client": ("localhost", 8000)}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: MutableMapping[str, Any]) -> None:
        pass

    for _ in range(REQUESTS):
        await app(dict(about), receive, send)


def ask_wsgi(app: Any) -> None:
    about: dict[str, Any] = {"PATH_INFO": "/orders/7"}
    setup_testing_defaults(about)

    def start_response(*_: Any) -> None:
        pass

    for _ in range(REQUESTS):
        body = app(dict(about), start_response)
        list(body)
        if hasattr(body, "close"):
            body.close()


def measure_requests() -> dict[str, dict[str, float]]:
    """Print what a request and a task cost with each of those that measure them, and return it in microseconds."""
    kinds: dict[str, tuple[dict[str, Any], Callable[[Any], object]]] = {
        "a request, Starlette": (applications_for_asgi(), lambda app: asyncio.run(ask_asgi(app))),
        "a request, WSGI": (applications_for_wsgi(), ask_wsgi),
        "a request, Django": (applications_for_django(), ask_wsgi),
        "a task of Celery": (workers_of_celery(), lambda run: run()),
    }
    found: dict[str, dict[str, float]] = {}
    for kind, (applications, ask) in kinds.items():
        best = dict.fromkeys(applications, inf)
        for _ in range(REPEATS):
            for name, app in applications.items():
                start = time.process_time()
                ask(app)
                best[name] = min(best[name], (time.process_time() - start) / REQUESTS * 1e6)
        found[kind] = best
        ours = best[OURS] - best["plain"]
        for name, figure in best.items():
            more = figure - best["plain"]
            ratio = "" if name in {"plain", OURS} else f", {more / ours:.1f} times ours"
            print(f"  {kind}, {name:36} {figure:6.1f} µs  {more:+6.1f}{ratio}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(".cache/benchmarks/track.json"))
    arguments = parser.parse_args()
    requests = measure_requests()
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
    arguments.json.write_text(json.dumps({**best, **requests}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
