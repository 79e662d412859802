"""What the servers of :mod:`tests.multiprocess.test_servers` run: three record calls a request, the endpoint mounted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import otel_metrics
from otel_metrics.multiprocess import asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

asking._PATIENCE = float(os.environ.get("PATIENCE", asking._PATIENCE))  # type: ignore[misc]

metrics = otel_metrics.get_advanced_metrics()
_wsgi_metrics = otel_metrics.wsgi_app()
_asgi_metrics = otel_metrics.asgi_app()


def _work() -> bytes:
    metrics.record_feature_usage("shop", "order", 12.5, True)
    metrics.record_error("shop", "timeout", "warning")
    metrics.record_performance_metric("shop", "response_time", "order", 12.5, "ms")
    metrics.record_resource_utilization("memory", "heap", 50.0)
    return str(os.getpid()).encode()


def _patient() -> bytes:
    asking._PATIENCE = 3600.0  # type: ignore[misc]
    return b"an hour"


_PAGES: dict[str, Callable[[], bytes]] = {"/work": _work, "/patient": _patient, "/ready": lambda: b"ready"}


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/metrics":
        answer: Iterable[bytes] = _wsgi_metrics(environ, start_response)
        return answer
    body = _PAGES[environ["PATH_INFO"]]()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": message["type"] + ".complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"] == "/metrics":
        await _asgi_metrics(scope, receive, send)
    else:
        body = _PAGES[scope["path"]]()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
