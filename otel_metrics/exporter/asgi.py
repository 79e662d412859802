"""The endpoint as an ASGI application; apart from ``apps``, as asyncio takes longer to import than all of a reader."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from otel_metrics.exporter.apps import path_below, workers_of
from otel_metrics.exporter.endpoint import joined

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from otel_metrics.exporter.apps import ASGIApp, Receive, Scope, Send
    from otel_metrics.exporter.endpoint import Endpoint, Response


def asgi_app(endpoint: Endpoint) -> ASGIApp:
    """Return an ASGI application. Scrapes are made in worker threads, the event loop goes on meanwhile."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"cannot handle a connection of type {scope['type']!r}")
        headers = joined((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        # Servers differ in whether the path still has the prefix that the application is mounted under.
        prefix = scope.get("root_path", "").rstrip("/")
        path = path_below(endpoint, prefix, scope["path"].removeprefix(prefix))
        client, *_ = scope.get("client") or ("",)
        endpoint.asked_at(workers_of(scope.get("server") or ()))
        answered = asyncio.ensure_future(asyncio.to_thread(endpoint.respond, scope["method"], path, headers, client))
        try:
            response = await asyncio.shield(answered)
        except asyncio.CancelledError:
            # The thread goes on, and nobody else will close what it comes back with.
            answered.add_done_callback(_let_go)
            raise
        try:
            await _send(response, scope["method"], _timely(send, endpoint.response_timeout))
        finally:
            response.body.close()

    return app


def _let_go(answered: asyncio.Future[Response]) -> None:
    if not answered.cancelled():
        answered.result().body.close()


def _timely(send: Send, timeout: float) -> Send:
    """Return ``send`` with a deadline over all its calls: what waits for a client that does not read is given up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout

    async def timely(message: MutableMapping[str, Any]) -> None:
        try:
            await asyncio.wait_for(send(message), deadline - loop.time())
        except asyncio.TimeoutError:
            raise TimeoutError("the client took too long") from None

    return timely


async def _send(response: Response, method: str, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if method != "HEAD":
        while True:
            # What is ready is sent at once; making more of it is work for a thread.
            chunk = (
                next(response.body, None) if response.body.ready else await asyncio.to_thread(next, response.body, None)
            )
            if chunk is None:
                break
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
