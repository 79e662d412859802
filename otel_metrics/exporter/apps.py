"""The endpoint as an application, to be mounted in the application's own web server: WSGI; ``asgi`` has the other kind."""

from __future__ import annotations

import contextlib
import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping

    from otel_metrics.exporter.endpoint import Endpoint

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
        path = path_below(endpoint, environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""))
        client = environ.get("REMOTE_ADDR", "")
        endpoint.asked_at(workers_of(_server_of(environ)))
        response = endpoint.respond(environ.get("REQUEST_METHOD", "GET"), path, headers, client)
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
        if environ.get("REQUEST_METHOD") == "HEAD":
            response.body.close()
            return ()
        return response.body

    return app


def _server_of(environ: Mapping[str, Any]) -> Iterable[object]:
    """Return where the server listens. On a Unix socket, ``SERVER_NAME`` is whatever the client says."""
    with contextlib.suppress(AttributeError, OSError):
        where = environ["gunicorn.socket"].getsockname() if "gunicorn.socket" in environ else None
        if isinstance(where, str):
            return (where,)
    return environ.get("SERVER_NAME"), environ.get("SERVER_PORT")


def workers_of(server: Iterable[object]) -> str:
    """Return the name of what the workers of one web server have in common; an address may be that of another one's test."""
    return f"{':'.join(map(str, server))} (workers of process {os.getppid()})"


def path_below(endpoint: Endpoint, prefix: str, path: str) -> str:
    """Return the path below the one that the application is mounted at; mounted at ``/metrics``, that is where they are."""
    if path in {"", "/"} and prefix.endswith(endpoint.metrics_path):
        return endpoint.metrics_path
    return path
