"""Requests as uses, and the endpoint in the application's own server: real frameworks under real servers, asked by many clients."""

from __future__ import annotations

import asyncio
import http.client
import io
import re
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import repeat
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
import uvicorn

from otel_metrics import testing
from otel_metrics.integrations.web import expose, track_requests
from tests.processes import DEADLINE
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

Answer = tuple[int, str]


@contextmanager
def by_uvicorn(app: Any) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, what="uvicorn")
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(120)


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


class Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def by_wsgiref(app: Any) -> Iterator[int]:
    with make_server("127.0.0.1", 0, app, Threads, Silent) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(120)


def ask(port: int, method: str, path: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def load(port: int, requests: dict[tuple[str, str], str], times: int = 15) -> Counter[tuple[str, int]]:
    """Ask many times from many threads; return how often each action was answered with which status, as the clients saw it."""
    work = [
        (action, method, path.replace("N", str(n))) for n in range(times) for (method, path), action in requests.items()
    ]
    with ThreadPoolExecutor(8) as pool:
        statuses = pool.map(lambda each: ask(port, each[1], each[2])[0], work)
        return Counter(zip((action for action, *_ in work), statuses, strict=True))


def uses(exposition: str) -> dict[tuple[str, str], float]:
    """Return how many uses are exposed by action and outcome, zeros left out."""
    found = {}
    for labels, value in re.findall(r"^feature_usage_total\{(.*)\} (\S+)$", exposition, re.MULTILINE):
        named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if float(value):
            found[named["action"], named["outcome"] + named.get("error_type", "")] = float(value)
    return found


def told(answers: Counter[tuple[str, int]], errors: dict[str, str]) -> dict[tuple[str, str], int]:
    """Return what has to be exposed of what the clients saw."""
    found: Counter[tuple[str, str]] = Counter()
    for (action, status), number in answers.items():
        found[action, f"failure{errors.get(action, str(status))}" if status >= 500 else "success"] += number
    return dict(found)


class Seen:
    """A middleware of the application's own, as its request log would be."""

    def __init__(self) -> None:
        self.paths: Counter[str] = Counter()

    def asgi(self, app: Any) -> Any:
        async def middleware(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                self.paths[scope["path"]] += 1
            await app(scope, receive, send)

        return middleware

    def wsgi(self, app: Any) -> Any:
        def middleware(environ: Any, start_response: Any) -> Any:
            self.paths[environ["PATH_INFO"]] += 1
            return app(environ, start_response)

        return middleware


def fastapi_application(seen: Seen) -> Any:
    from fastapi import APIRouter, FastAPI, HTTPException
    from fastapi.responses import StreamingResponse

    app, router, tenant = FastAPI(), APIRouter(prefix="/orders"), FastAPI()

    @router.get("/{number}")
    async def order(number: int) -> int:
        return number

    @router.post("/{number}")
    def place(number: int) -> int:
        if number % 3 == 0:
            raise HTTPException(503)
        return number

    @router.delete("/{number}")
    async def cancel(number: int) -> None:
        raise LookupError(number)

    @app.get("/stream/{n:path}")
    async def stream(n: str) -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for part in n:
                yield part

        return StreamingResponse(parts())

    @tenant.get("/users/{user}")
    def user(user: str) -> str:
        return user

    app.include_router(router, prefix="/v1")
    app.mount("/tenants/{tenant}", tenant)
    app.add_middleware(seen.asgi)
    assert track_requests(app, "shop") is app
    track_requests(tenant, "inner")  # in a request that is tracked already: counts nothing
    assert expose(app) is app
    app.add_middleware(seen.asgi)
    return app


def starlette_application(seen: Seen) -> Any:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Mount, Route

    async def order(request: Any) -> Any:
        if request.method == "DELETE":
            raise LookupError
        if request.method == "POST" and request.path_params["number"] % 3 == 0:
            raise HTTPException(503)
        return PlainTextResponse("yes")

    def stream(request: Any) -> Any:
        return StreamingResponse(iter(request.path_params["n"]))

    app = Starlette(
        routes=[
            Mount("/v1/orders", routes=[Route("/{number:int}", order, methods=["GET", "POST", "DELETE"])]),
            Route("/stream/{n:path}", stream),
            Mount("/tenants/{tenant}", routes=[Route("/users/{user}", lambda _: PlainTextResponse("yes"))]),
        ]
    )
    app.add_middleware(seen.asgi)
    return expose(track_requests(app, "shop"))


def flask_application(seen: Seen) -> Any:
    import flask
    from werkzeug.exceptions import ServiceUnavailable

    app = flask.Flask("shop")
    tenants = flask.Blueprint("tenants", "tenants", url_prefix="/tenants/<tenant>")

    @app.route("/v1/orders/<int:number>", methods=["GET", "POST", "DELETE"])
    def order(number: int) -> str:
        if flask.request.method == "DELETE":
            raise LookupError
        if flask.request.method == "POST" and number % 3 == 0:
            raise ServiceUnavailable
        return "yes"

    @app.route("/stream/<path:n>")
    def stream(n: str) -> flask.Response:
        return flask.Response(iter(n))

    @tenants.route("/users/<user>")
    def user(tenant: str, user: str) -> str:
        return tenant + user

    app.register_blueprint(tenants)
    app.before_request(lambda: ("early", 200) if flask.request.path == "/stream/early" else None)
    app.wsgi_app = seen.wsgi(app.wsgi_app)  # type: ignore[method-assign]
    app.logger.disabled = True
    assert track_requests(app, "shop") is app
    assert expose(app) is app
    return app


def actions(number: str, path: str, tenant: str, user: str) -> dict[tuple[str, str], str]:
    return {
        ("GET", "/v1/orders/N"): f"GET /v1/orders/{number}",
        ("POST", "/v1/orders/N"): f"POST /v1/orders/{number}",
        ("DELETE", "/v1/orders/N"): f"DELETE /v1/orders/{number}",
        ("GET", "/stream/N/early"): f"GET /stream/{path}",
        ("GET", "/tenants/N-times/users/xN"): f"GET /tenants/{tenant}/users/{user}",
        ("GET", "/v1/nowhere/N"): "GET",
        ("BREW", "/v1/coffee/N"): "_OTHER",
    }


@pytest.mark.parametrize(
    ("application", "served", "requests"),
    [
        (fastapi_application, by_uvicorn, actions("{number}", "{n}", "{tenant}", "{user}")),
        (starlette_application, by_uvicorn, actions("{number}", "{n}", "{tenant}", "{user}")),
        (flask_application, by_wsgiref, actions("<int:number>", "<path:n>", "<tenant>", "<user>")),
    ],
)
def test_the_endpoint_says_what_the_clients_counted(
    application: Callable[[Seen], Any], served: Callable[[Any], Any], requests: dict[tuple[str, str], str]
) -> None:
    seen = Seen()
    with testing.recording() as metrics:
        with served(application(seen)) as port:
            answers = load(port, requests)
            by_middleware = seen.paths.copy()
            status, exposition = ask(port, "GET", "/metrics")
            assert status == 200
            assert (
                ask(port, "GET", "/metrics/")[0] == 404
            )  # there is one path, and what lies below it is the application's
            assert seen.paths - by_middleware in (Counter(["/metrics/"]), Counter(["/metrics/"] * 2))
        deletes = next(action for action in requests.values() if action.startswith("DELETE"))
        assert answers[deletes, 500] == 15
        assert {status for _, status in answers} >= {200, 404, 500, 503}
        assert uses(exposition) == told(answers, {deletes: "LookupError"})
        assert metrics.value("feature_usage_duration_seconds_count", feature="shop") == 15 * len(requests) + 1
        assert metrics.value("feature_usage_total", feature="inner") is None
        assert metrics.value("feature_errors_total") is None


def test_parameters_within_a_part_of_a_prefix_keep_routes_apart() -> None:
    from fastapi import APIRouter, FastAPI

    app = FastAPI()
    for kind in ("orders", "users"):
        router, tenant = APIRouter(prefix=f"/v{{version}}/{kind}"), APIRouter(prefix="/of-{tenant}")
        tenant.add_api_route("/{name}", lambda version, tenant, name: [version, tenant, name])
        router.include_router(tenant)
        app.include_router(router)
    track_requests(app, "shop")
    with testing.recording() as metrics:
        # A request is recorded once it was answered: by the end of the server for certain.
        with by_uvicorn(app) as port:
            for path in ("/v1/orders/of-7/lamp", "/v1/users/of-7/ann", "/v2/users/of-8/bob"):
                assert ask(port, "GET", path)[0] == 200
        metrics.assert_value("feature_usage_total", 1, action="GET /v{version}/orders/of-{tenant}/{name}")
        metrics.assert_value("feature_usage_total", 2, action="GET /v{version}/users/of-{tenant}/{name}")


def test_values_of_parameters_that_look_like_names_of_others_stay_out_of_actions() -> None:
    from fastapi import APIRouter, FastAPI

    app = FastAPI()
    router = APIRouter(prefix="/v{version}/r{region}")
    router.add_api_route("/orders", lambda version, region: [version, region])
    app.include_router(router)
    track_requests(app, "shop")
    with testing.recording() as metrics:
        with by_uvicorn(app) as port:
            for path in ("/v1/ron/orders", "/ver/region/orders"):
                assert ask(port, "GET", path)[0] == 200
        metrics.assert_value("feature_usage_total", 2, action="GET /v{version}/r{region}/orders")


def test_an_error_page_for_a_client_that_has_gone_is_a_failure() -> None:
    """Clients that time out, and the 503 that follows, are what an outage looks like."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body"})

    async def main(served: Any) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(_: Any) -> None:
            pass

        await served({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)

    with testing.recording() as metrics:
        asyncio.run(main(track_requests(app, "shop")))
        metrics.assert_value("feature_usage_total", 1, outcome="failure", error_type="503")


def test_an_application_that_was_exposed_before_it_is_tracked_stays_as_it_was() -> None:
    def app(_: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return []

    with testing.recording() as metrics:
        exposed = expose(app)
        tracked = track_requests(exposed, "shop")
        for each in (exposed, tracked):
            list(each({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None))
        metrics.assert_value("feature_usage_total", 1)


def test_any_asgi_application_is_tracked_and_exposed() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        if scope["path"] == "/gone":
            raise asyncio.CancelledError
        await send({"type": "http.response.body", "body": b"b"})
        if scope["path"] == "/later":
            raise ValueError("after the response")

    def route(scope: Any) -> str | None:
        if scope["path"] == "/broken":
            raise RuntimeError
        return "/named" if scope["path"] == "/later" else None

    async def main(served: Any) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        raised: dict[str, type[BaseException]] = {"/later": ValueError, "/gone": asyncio.CancelledError}
        for path in ("/later", "/gone", "/broken", "/metrics"):
            sent: list[Any] = []

            async def send(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": []}
            with pytest.raises(raised[path]) if path in raised else nullcontext():
                await served(scope, receive, send)
            assert sent[0]["status"] == 200

    with testing.recording() as metrics:
        asyncio.run(main(expose(track_requests(app, "shop", route=route, record_exception=True))))
        assert metrics.value("feature_usage_total", action="GET /named", outcome="success") == 1
        assert metrics.value("feature_usage_total", action="GET", outcome="unknown", error_type="CancelledError") == 1
        assert metrics.value("feature_usage_total", action="GET", outcome="success") == 1
        assert metrics.value("feature_usage_total") == 3
        assert metrics.value("feature_errors_total") is None


def test_any_wsgi_application_is_tracked_and_exposed() -> None:
    closed = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])

        def body() -> Iterator[bytes]:
            try:
                yield b"a"
                if environ["PATH_INFO"] == "/breaks":
                    raise ValueError("in the body")
            finally:
                closed.append(True)

        return body()

    with testing.recording() as metrics:
        served = expose(track_requests(app, "shop", route=lambda _: "/named", record_exception=True))
        with by_wsgiref(served) as port:
            assert ask(port, "GET", "/works") == (200, "a")
            ask(port, "POST", "/breaks")
            assert ask(port, "GET", "/metrics")[0] == 200
        assert closed == [True, True]
        metrics.assert_value("feature_usage_total", 1, action="GET /named", outcome="success")
        metrics.assert_value("feature_usage_total", 1, action="POST /named", error_type="ValueError")
        metrics.assert_value("feature_errors_total", 1, error_type="ValueError")


def test_a_scrape_is_no_request_whatever_was_called_first() -> None:
    import flask

    def wsgi(_: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"yes"]

    async def asgi(scope: Any, _: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"yes"})

    application = flask.Flask("shop")
    application.add_url_rule("/", view_func=lambda: "yes")
    for served, app in ((by_wsgiref, wsgi), (by_uvicorn, asgi), (by_wsgiref, application)):
        with testing.recording() as metrics:
            with served(track_requests(expose(app), "shop")) as port:
                assert ask(port, "GET", "/") == (200, "yes")
                for _ in range(2):
                    assert ask(port, "GET", "/metrics")[0] == 200
            metrics.assert_value("feature_usage_total", 1)


def test_a_route_that_cannot_be_told_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    def app(_: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"yes"]

    with testing.recording() as metrics:
        served = track_requests(app, "shop", route=lambda environ: environ["shop.route"])
        for _ in range(2):
            assert served({"REQUEST_METHOD": "GET"}, lambda *_: None) == [b"yes"]
        metrics.assert_value("feature_usage_total", 2, action="GET", outcome="success")
    (record,) = caplog.records
    assert "route failed" in record.getMessage()
    assert "KeyError: 'shop.route'" in caplog.text


def test_a_status_without_a_number_is_the_servers_business() -> None:
    """As of Flask's ``Response(status="teapot")``."""
    said = []

    def app(_: Any, start_response: Any) -> Any:
        start_response("0 teapot", [])
        return [b"short"]

    with testing.recording() as metrics:
        assert track_requests(app, "shop")({"REQUEST_METHOD": "GET"}, lambda *status: said.append(status)) == [b"short"]
        assert said == [("0 teapot", [])]
        metrics.assert_value("feature_usage_total", 1, action="GET", outcome="unknown")


def test_the_servers_file_wrapper_may_be_a_function() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"a file"))

    tracked = track_requests(app, "shop")

    def served(environ: Any, start_response: Any) -> Any:
        return tracked({**environ, "wsgi.file_wrapper": lambda file: iter(file.read, b"")}, start_response)

    with testing.recording() as metrics:
        with by_wsgiref(served) as port:
            assert ask(port, "GET", "/file") == (200, "a file")
        metrics.assert_value("feature_usage_total", 1, action="GET", outcome="success")


def endless_wsgi() -> Any:
    def app(_: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return repeat(b"a" * 10_000)

    return app


def endless_asgi() -> Any:
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"a" * 10_000
            await asyncio.sleep(0.01)

    return Starlette(routes=[Route("/", lambda _: StreamingResponse(parts()))])


def endless_asgi_below_a_middleware() -> Any:
    from starlette.middleware.base import BaseHTTPMiddleware

    app = endless_asgi()
    app.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: call_next(request))
    return app


@pytest.mark.parametrize(
    ("application", "served"),
    [(endless_wsgi, by_wsgiref), (endless_asgi, by_uvicorn), (endless_asgi_below_a_middleware, by_uvicorn)],
)
def test_a_client_that_goes_away_during_the_response_leaves_an_unknown_outcome(
    application: Callable[[], Any], served: Callable[[Any], Any]
) -> None:
    with testing.recording() as metrics, served(track_requests(application(), "shop")) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.recv(1)
        wait_until(lambda: metrics.value("feature_usage_total"), what="the request")
        metrics.assert_value("feature_usage_total", 1, outcome="unknown")


def test_the_test_client_of_flask_leaves_responses_open_and_their_requests_count() -> None:
    import flask

    app = track_requests(flask.Flask("shop"), "shop")
    app.add_url_rule("/whole", view_func=lambda: "yes", endpoint="whole")
    app.add_url_rule("/stream", view_func=lambda: flask.Response(iter("yes")), endpoint="stream")
    client = app.test_client()
    with testing.recording() as metrics:
        client.get("/whole")
        metrics.assert_value("feature_usage_total", 1, action="GET /whole", outcome="success")
        assert client.get("/stream").text == "yes"
        metrics.assert_value("feature_usage_total", 1, action="GET /stream", outcome="success")


def test_what_comes_after_the_start_comes_too_late() -> None:
    from starlette.applications import Starlette

    app = Starlette()
    with testing.recording(), by_uvicorn(app):
        with pytest.raises(RuntimeError, match="started"):
            expose(app)
        with pytest.raises(RuntimeError, match="started"):
            track_requests(app, "shop")


@pytest.mark.parametrize("wrap", [expose, lambda app: track_requests(app, "shop")])
def test_what_is_no_application_is_told_at_once(wrap: Callable[[Any], Any]) -> None:
    with testing.recording(), pytest.raises(TypeError, match="app=None is not allowed"):
        wrap(None)


def test_an_option_that_there_is_not_is_told_at_once_and_to_type_checkers() -> None:
    with testing.recording(), pytest.raises(TypeError, match="max_scrape"):
        expose(print, max_scrape=1)  # type: ignore[call-arg]


def test_beside_an_instrumentation_of_opentelemetry_each_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.metrics import MeterProvider

    from otel_metrics.exporter import PrometheusReader

    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    provider = MeterProvider([PrometheusReader()], shutdown_on_exit=False)
    try:
        with testing.recording():
            app = fastapi_application(Seen())
            app.add_middleware(OpenTelemetryMiddleware, meter_provider=provider)
            with by_uvicorn(app) as port:
                load(port, {("GET", "/v1/orders/N"): ""})
                for _ in range(3):
                    status, exposition = ask(port, "GET", "/metrics")
                    assert status == 200
    finally:
        provider.shutdown()
    theirs = re.findall(r"^http_server_request_duration_seconds_count\{.*\} (\S+)$", exposition, re.MULTILINE)
    assert sum(map(float, theirs)) == 15
    assert uses(exposition) == {("GET /v1/orders/{number}", "success"): 15}
