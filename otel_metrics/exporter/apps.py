"""The endpoint as an ASGI and as a WSGI application, to be mounted in the application's own web server."""

from __future__ import annotations

import asyncio
import contextlib
import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict

from otel_metrics.exporter.endpoint import joined

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping

    from otel_metrics.exporter.endpoint import Endpoint, Response

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
    StartResponse = Callable[..., Any]
    WSGIApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class AppOptions(TypedDict, total=False):
    """What may be said of an endpoint in somebody else's server, beside where it is."""

    max_scrapes: int
    users_file: str | os.PathLike[str] | None
    response_timeout: float


def wsgi_app(endpoint: Endpoint) -> WSGIApp:
    """Return a WSGI application.

    Whether and when more of a body is asked for is up to the web server: one that waits for a client for ever keeps its own thread,
    but no scrape beyond the endpoint's time-out.
    """

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        headers = {
            name[5:].replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        path = _path(endpoint, environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""))
        client = environ.get("REMOTE_ADDR", "")
        endpoint.asked_at(_workers_of(_server_of(environ)))
        response = endpoint.respond(environ.get("REQUEST_METHOD", "GET"), path, headers, client)
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
        if environ.get("REQUEST_METHOD") == "HEAD":
            response.body.close()
            return ()
        return response.body

    return app


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
        path = _path(endpoint, prefix, scope["path"].removeprefix(prefix))
        client, *_ = scope.get("client") or ("",)
        endpoint.asked_at(_workers_of(scope.get("server") or ()))
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


def _server_of(environ: Mapping[str, Any]) -> Iterable[object]:
    """Return where the server listens. On a Unix socket, ``SERVER_NAME`` is whatever the client says."""
    with contextlib.suppress(AttributeError, OSError):
        where = environ["gunicorn.socket"].getsockname() if "gunicorn.socket" in environ else None
        if isinstance(where, str):
            return (where,)
    return environ.get("SERVER_NAME"), environ.get("SERVER_PORT")


def _workers_of(server: Iterable[object]) -> str:
    """Return the name of what the workers of one web server have in common; an address may be that of another one's test."""
    return f"{':'.join(map(str, server))} (workers of process {os.getppid()})"


def _let_go(answered: asyncio.Future[Response]) -> None:
    if not answered.cancelled():
        answered.result().body.close()


def _path(endpoint: Endpoint, prefix: str, path: str) -> str:
    """Return the path below the one that the application is mounted at; mounted at ``/metrics``, that is where they are."""
    if path in {"", "/"} and prefix.endswith(endpoint.metrics_path):
        return endpoint.metrics_path
    return path


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
