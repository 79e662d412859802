"""The ASGI and WSGI applications in real servers: uvicorn, gunicorn, and mounted in Starlette."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import otel_metrics
from otel_metrics import testing
from otel_metrics.exporter.asgi import asgi_app
from otel_metrics.exporter.endpoint import BURST, Endpoint
from tests.exporter.expositions import OPENMETRICS
from tests.processes import DEADLINE
from tests.servers import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

    from otel_metrics.exporter import PrometheusReader

APPLICATION = """
import sys, threading
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.middleware.wsgi import WSGIMiddleware as WSGI
import otel_metrics
from otel_metrics.exporter import PrometheusReader

metrics = otel_metrics.get_advanced_metrics()
preloaded = otel_metrics.wsgi_app()

def recording(environ, start_response):
    metrics.record_feature_usage("engine", "answer")
    return preloaded(environ, start_response)

configured_late = otel_metrics.asgi_app()
otel_metrics.configure(satisfaction_threshold=0.8)
metrics.record_feature_usage("engine", "late")

reader = PrometheusReader(registry=CollectorRegistry(), scope_info_enabled=False)
provider = MeterProvider(metric_readers=[reader])
provider.get_meter("tests").create_counter("calls").add(5)
gate = threading.Event()
provider.get_meter("tests").create_observable_gauge("gate", [lambda _: (gate.wait(120) or sys.exit(1)) and []] if {slow} else [])

async def open_gate(request):
    gate.set()
    return PlainTextResponse("open")

big = PrometheusReader(registry=CollectorRegistry(), scope_info_enabled=False)
big._exposition.scrape = lambda _: iter([b"x" * 99_999 + b"\\n"] * 150)
big_asgi = big.asgi_app(response_timeout=3.0)
big_wsgi = big.wsgi_app(response_timeout=3.0)

asgi = reader.asgi_app()
wsgi = reader.wsgi_app()
mounted = Starlette(routes=[
    Route("/open", open_gate),
    Mount("/metrics", reader.asgi_app(metrics_path="/")),
    Mount("/internal", reader.asgi_app()),
    Mount("/other/metrics", reader.asgi_app()),
    Mount("/wsgi/metrics", WSGI(reader.wsgi_app())),
])
"""


@contextlib.contextmanager
def running(folder: Path, *command: str, slow: bool = False) -> Iterator[str]:
    """Run a web server on the application; yields its address."""
    (folder / "application.py").write_text(APPLICATION.replace("{slow}", str(slow)), encoding="utf-8")
    port = free_port()
    arguments = [sys.executable, "-m", *(part.replace("PORT", str(port)) for part in command)]
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{Path.cwd()}"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)
    try:
        health = "/internal/-/healthy" if "application:mounted" in command else "/-/healthy"
        wait_until(lambda: get(f"http://127.0.0.1:{port}{health}"), what="the web server")
        yield f"http://127.0.0.1:{port}"
    except BaseException:
        print((folder / "log").read_text(encoding="utf-8"))
        raise
    finally:
        process.terminate()
        process.wait(DEADLINE)


def get(url: str, **headers: str) -> tuple[int, Any, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=DEADLINE) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@contextlib.contextmanager
def asked(url: str, path: str, method: str = "GET", accept: Sequence[str] = ()) -> Iterator[http.client.HTTPConnection]:
    """A connection over which a request has been sent."""
    with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE)) as connection:
        connection.putrequest(method, path)
        for value in accept:
            connection.putheader("Accept", value)
        connection.endheaders()
        yield connection


UVICORN = ("uvicorn", "--port", "PORT", "--log-level", "warning")
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:PORT", "--threads", "4", "--worker-class", "gthread")


@pytest.mark.parametrize(
    "command", [(*UVICORN, "application:asgi"), (*GUNICORN, "application:wsgi")], ids=["uvicorn", "gunicorn"]
)
def test_the_same_answers_as_from_our_own_server(tmp_path: Path, command: tuple[str, ...]) -> None:
    with running(tmp_path, *command) as url:
        status, headers, body = get(f"{url}/metrics")
        assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert b"calls_total 5\n" in body
        status, headers, body = get(f"{url}/metrics", **{"Accept": OPENMETRICS, "Accept-Encoding": "gzip"})
        assert (status, headers["Content-Encoding"]) == (200, "gzip")
        assert gzip.decompress(body).endswith(b"# EOF\n")
        with asked(url, "/metrics", accept=(OPENMETRICS, "application/json")) as connection:
            assert connection.getresponse().read().endswith(b"# EOF\n")
        assert b'href="./metrics"' in get(url)[2]
        assert get(f"{url}/-/healthy")[::2] == (200, b"healthy\n")
        assert get(f"{url}/nothing")[0] == 404
        for method, expected in (("HEAD", 200), ("POST", 405)):
            with asked(url, "/metrics", method) as connection:
                response = connection.getresponse()
                assert response.status == expected
                assert bool(response.read()) == (method == "POST")


@pytest.mark.parametrize(
    "command",
    [(*UVICORN, "application:big_asgi"), (*GUNICORN, "--threads", "8", "application:big_wsgi")],
    ids=["uvicorn", "gunicorn"],
)
def test_clients_that_do_not_read_keep_no_scraper_out(tmp_path: Path, command: tuple[str, ...]) -> None:
    with running(tmp_path, *command) as url, contextlib.ExitStack() as stack:
        for _ in range(4):
            # The status is there: the scrape is under way, and its body is not read.
            response = stack.enter_context(asked(url, "/metrics")).getresponse()
            assert stack.enter_context(response).status == 200
        # At once, or as soon as one of them has taken nothing for a while.
        wait_until(lambda: get(f"{url}/metrics")[0] == 200, what="a scrape that gives way")
        assert get(f"{url}/metrics")[2] == (b"x" * 99_999 + b"\n") * 150


def test_mounted_below_a_path(tmp_path: Path) -> None:
    with running(tmp_path, *UVICORN, "application:mounted") as url:
        assert b"calls_total 5\n" in get(f"{url}/metrics/")[2]
        assert b"calls_total 5\n" in get(f"{url}/internal/metrics")[2]
        assert b"calls_total 5\n" in get(f"{url}/other/metrics/")[2]
        assert b"calls_total 5\n" in get(f"{url}/wsgi/metrics/")[2]
        assert get(f"{url}/internal/nothing")[0] == 404


def test_a_scrape_does_not_hold_the_event_loop(tmp_path: Path) -> None:
    """The scrape waits for a gate that only another request, to the same event loop, opens."""
    with (
        running(tmp_path, *UVICORN, "application:mounted", slow=True) as url,
        asked(url, "/internal/metrics") as connection,
    ):
        # The gate would end the application if it stayed shut.
        assert get(f"{url}/open")[0] == 200
        assert b"calls_total 5" in connection.getresponse().read()


def test_a_client_that_goes_away_leaves_no_scrape_behind(tmp_path: Path) -> None:
    with running(tmp_path, *UVICORN, "application:mounted") as url:
        for _ in range(20):
            with asked(url, "/internal/metrics"):
                pass
        wait_until(lambda: get(f"{url}/internal/metrics")[0] == 200, what="a free slot")


def test_an_asgi_server_that_waits_for_its_client_is_given_up(reader: PrometheusReader) -> None:
    async def receive() -> dict[str, Any]:
        raise NotImplementedError

    async def send(_: Any) -> None:
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": []}
    with pytest.raises(TimeoutError, match="took too long"):
        asyncio.run(asked_once(reader.asgi_app(response_timeout=0.05)(scope, receive, send)))


def test_a_request_that_is_cancelled_while_its_scrape_is_made_gives_its_place_back() -> None:
    started, go_on = threading.Event(), threading.Event()

    def scrape(_: Any) -> Iterator[bytes]:
        started.set()
        go_on.wait(120)
        yield from [b"x" * BURST] * 2

    endpoint = Endpoint(scrape, max_scrapes=1)
    scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": []}

    async def cancelled() -> None:
        async def never(*_: Any) -> Any:
            raise NotImplementedError

        request = asyncio.ensure_future(asked_once(asgi_app(endpoint)(scope, never, never)))
        await asyncio.to_thread(started.wait, 120)
        request.cancel()
        await asyncio.wait([request])
        assert request.cancelled()
        go_on.set()
        await asyncio.get_running_loop().shutdown_default_executor()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(cancelled())
    response = endpoint.respond("GET", "/metrics", {})
    response.body.close()
    assert response.status == 200


async def asked_once(answer: Awaitable[None]) -> None:
    await answer


def test_mounted_before_the_server_forked_it_answers_for_the_worker(tmp_path: Path) -> None:
    with running(tmp_path, *GUNICORN, "--preload", "--workers", "1", "application:recording") as url:
        get(f"{url}/metrics")
        page = get(f"{url}/metrics")[2].decode()

    counted = [line for line in page.splitlines() if line.startswith('feature_usage_total{action="answer"')]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in counted) >= 2


def scraped(app: Any, path: str = "/metrics") -> tuple[str, str]:
    """The status and body of a WSGI application's answer."""
    told: list[str] = []
    body = b"".join(app({"REQUEST_METHOD": "GET", "PATH_INFO": path}, lambda status, _headers: told.append(status)))
    return told[0], body.decode()


def test_mounted_before_configure_it_answers_for_what_is_configured() -> None:
    with testing.recording() as metrics:
        app = otel_metrics.wsgi_app(metrics_path="/internal")
        with testing.recording() as configured:
            configured.advanced.record_feature_usage("engine", "later")
            inside = scraped(app, "/internal")
        metrics.advanced.record_feature_usage("engine", "earlier")
        outside = scraped(app, "/internal")

    assert (inside[0], outside[0]) == ("200 OK", "200 OK")
    assert 'action="later"' in inside[1]
    assert 'action="earlier"' not in inside[1]
    assert 'action="earlier"' in outside[1]


def test_an_asgi_application_follows_too(tmp_path: Path) -> None:
    with running(tmp_path, *UVICORN, "application:configured_late") as url:
        assert b'feature_usage_total{action="late"' in get(f"{url}/metrics")[2]


def test_options_that_cannot_work_are_told_when_mounting(tmp_path: Path) -> None:
    with testing.recording():
        for mount in (otel_metrics.asgi_app, otel_metrics.wsgi_app):
            with pytest.raises(OSError, match="absent"):
                mount(users_file=tmp_path / "absent")
