"""Web applications: their requests as uses of a feature, and the metrics endpoint in their own server.

    from otel_metrics.integrations.web import expose, track_requests

    app = FastAPI()
    track_requests(app, "shop")
    expose(app)                    # GET /metrics

Both take an application of FastAPI or Starlette, of Flask, or any ASGI or WSGI callable, and return what is to be served: the same
object for these frameworks, which they change in place, another callable for the rest.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from otel_metrics import runtime
from otel_metrics.facade.advanced import AdvancedMetrics
from otel_metrics.log import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from otel_metrics.exporter.apps import AppOptions, Receive, Scope, Send, StartResponse, WSGIApp

    Route = Callable[[MutableMapping[str, Any]], str | None]

__all__ = ["expose", "track_requests"]

App = TypeVar("App")

_TRACKED: Final = "otel_metrics.tracked"
"""In a request's scope or environment: whose business it is. One inside another counts nothing."""

_PREFIX: Final = "otel_metrics.prefix"
"""In a scope: the ``root_path`` that the request came with."""

_FLASK_ROUTE: Final = "otel_metrics.route"
_FLASK_ERROR: Final = "otel_metrics.error"
_FLASK_WHOLE: Final = "otel_metrics.whole"

_BODY: Final = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})

_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})


def track_requests(app: App, feature: str, *, route: Route | None = None, record_exception: bool = False) -> App:
    """Record each HTTP request as one use of ``feature``; call it once, before the application starts.

    The action is the method with the route's template (``GET /orders/{number}``), the method alone where no route matched: never
    a path. A response of 5xx, or an exception, is a failure; any other response is a success; a client that went away meanwhile leaves an
    unknown outcome. The duration is that up to the end of the response.

    Args:
        app: of FastAPI, Starlette or Flask, or any ASGI or WSGI callable.
        feature: what the requests are uses of.
        route: returns the template of a request (of its ASGI scope or WSGI environment, once it is answered), where the framework
            is none of these.
        record_exception: record what went wrong as an error, too.

    Raises:
        RuntimeError: the application has started.
        TypeError: it is none.
    """
    if hasattr(app, "build_middleware_stack"):
        cast("Any", app).add_middleware(
            _TrackedASGI, feature=feature, route=route or _starlette_route, record_exception=record_exception
        )
        return app
    if hasattr(app, "wsgi_app"):
        _follow_flask(app)
        app.wsgi_app = _inside(app.wsgi_app, _TrackedWSGI, feature, route or _flask_route, record_exception)
        return app
    tracked: Any = _TrackedASGI if _is_asgi(app) else _TrackedWSGI
    return cast("App", _inside(app, tracked, feature, route or _no_route, record_exception))


def expose(app: App, path: str = "/metrics", **options: Unpack[AppOptions]) -> App:
    """Answer scrapes at ``path``, and nowhere else, before the application's own middleware, routes and log see them.

    Args:
        app: of FastAPI, Starlette or Flask, or any ASGI or WSGI callable.
        path: where the metrics are, from the application's root.
        options: ``max_scrapes``, ``users_file`` and ``response_timeout`` of :meth:`otel_metrics.exporter.PrometheusReader.asgi_app`.

    Raises:
        RuntimeError: the application has started.
        TypeError: it is none.
    """
    if hasattr(app, "build_middleware_stack"):
        starlette = cast("Any", app)
        if starlette.middleware_stack is not None:
            raise RuntimeError("expose() comes too late: the application has started")
        build, metrics = starlette.build_middleware_stack, runtime.asgi_app(metrics_path=path, **options)
        starlette.build_middleware_stack = lambda: _ExposedASGI(build(), metrics, path)
        return app
    if hasattr(app, "wsgi_app"):
        app.wsgi_app = _ExposedWSGI(app.wsgi_app, runtime.wsgi_app(metrics_path=path, **options), path)
        return app
    if _is_asgi(app):
        return cast("App", _ExposedASGI(app, runtime.asgi_app(metrics_path=path, **options), path))
    return cast("App", _ExposedWSGI(app, runtime.wsgi_app(metrics_path=path, **options), path))


def _is_asgi(app: object) -> bool:
    if not callable(app):
        raise TypeError(
            f"app={app!r} is not allowed; allowed: an application of FastAPI, Starlette, Flask, ASGI or WSGI"
        )
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004


class _Exposed:
    """An application with the endpoint before it."""

    def __init__(self, app: Any, metrics: Any, path: str) -> None:
        self.app = app
        self._metrics = metrics
        self._path = path

    def around(self, app: Any) -> Self:
        """Return the same endpoint before another application."""
        return type(self)(app, self._metrics, self._path)


class _ExposedASGI(_Exposed):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "").rstrip("/")
        here = scope["type"] == "http" and scope["path"].removeprefix(root) == self._path
        await (self._metrics if here else self.app)(scope, receive, send)


class _ExposedWSGI(_Exposed):
    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        chosen: WSGIApp = self._metrics if environ.get("PATH_INFO") == self._path else self.app
        return chosen(environ, start_response)


def _inside(app: Any, tracked: type[_Tracked], *arguments: Any) -> Any:
    """Return ``app``, tracked; behind the endpoint, if it has one: a scrape is no request of the application."""
    if isinstance(app, _Exposed):
        return app.around(_inside(app.app, tracked, *arguments))
    return tracked(app, *arguments)


# --------------------------------------------------------------------------------------------------------- requests


class Template:
    """What tells the template of a request's route; that it cannot is told once."""

    def __init__(self, route: Callable[[Any], str | None]) -> None:
        self._route = route
        self._said = False

    def __call__(self, about: Any) -> str | None:
        """Return the template, None where there is none, or where the function raises."""
        try:
            return self._route(about)
        except Exception as error:  # foreign code, and the request has been answered
            if not self._said:
                self._said = True
                message = "track_requests: route failed, so actions have no template; further failures are not logged"
                say(logging.WARNING, message, error=error)
            return None


class TrackedRequest:
    """One request, recorded as a use once it ends: as a block, or by :meth:`end`, whichever is first.

    Args:
        metrics: to record with.
        feature: what it is a use of.
        method: any text, as clients send it.
        route: returns the template of its route, once it has been answered; must not raise, see :class:`Template`.
        record_exception: record what went wrong as an error, too.
    """

    __slots__ = ("_ended", "_route", "_use", "error", "status")

    def __init__(
        self,
        metrics: AdvancedMetrics,
        feature: str,
        method: str,
        route: Callable[[], str | None],
        record_exception: bool = False,
    ) -> None:
        action = method if method in _METHODS else "_OTHER"
        self._use = metrics.track(feature, action, record_exception=record_exception)
        self._route = route
        self._ended = False
        self.status = 0
        self.error: BaseException | None = None
        self._use.__enter__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Record the use, unless that has been done."""
        if self._ended:
            return
        self._ended = True
        use = self._use
        if self.status >= 500 and (error is None or isinstance(error, GeneratorExit)):
            # An error page is a failure, for a client that has gone, too. Another response is what somebody made of the error on purpose.
            error = self.error
        if template := self._route():
            use.action = f"{use.action} {template}"
        if self.status >= 500:
            use.success, use.error_type = False, str(self.status)
        elif not self.status:
            use.success = None
        use.__exit__(None if error is None else type(error), error, None)


class _Tracked:
    """What is told alike of both kinds of applications."""

    def __init__(self, app: Any, feature: str, route: Route, record_exception: bool = False) -> None:
        self.app = app
        self._feature = feature
        self._template = Template(route)
        self._record_exception = record_exception
        self._metrics = AdvancedMetrics()

    def _request(self, about: MutableMapping[str, Any], method: str) -> TrackedRequest:
        return TrackedRequest(
            self._metrics, self._feature, method, lambda: self._template(about), self._record_exception
        )


class _TrackedASGI(_Tracked):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.setdefault(_TRACKED, self) is not self:
            await self.app(scope, receive, send)
            return
        scope.setdefault(_PREFIX, scope.get("root_path", ""))
        request = self._request(scope, scope["method"])
        gone = False

        async def received() -> MutableMapping[str, Any]:
            nonlocal gone
            message = await receive()
            gone = gone or message["type"] == "http.disconnect"
            return message

        async def sent(message: MutableMapping[str, Any]) -> None:
            left = gone  # before this part: after the last one, servers say so of every client
            await send(message)
            if message["type"] == "http.response.start":
                request.status = message["status"]
            elif message["type"] in _BODY and not message.get("more_body"):
                # What the application does after that is no time of the request. A middleware may end the response of a client
                # that has gone, as Starlette's BaseHTTPMiddleware does.
                request.end(GeneratorExit() if left else None)

        with request:
            await self.app(scope, received, sent)
            request.end(GeneratorExit())  # unless it was: the client went away


class _TrackedWSGI(_Tracked):
    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ.setdefault(_TRACKED, self) is not self:
            return cast("Iterable[bytes]", self.app(environ, start_response))
        request = self._request(environ, environ.get("REQUEST_METHOD", ""))

        def started(status: str, headers: Any, *exc_info: Any) -> Any:
            code = str(status)[:3]
            request.status = int(code) if code.isdecimal() else 0  # what servers make of other text is theirs to say
            return start_response(status, headers, *exc_info)

        try:
            body: Iterable[bytes] = self.app(environ, started)
        except BaseException as error:
            request.end(error)
            raise
        request.error = environ.get(_FLASK_ERROR)
        file_wrapper = environ.get("wsgi.file_wrapper")  # a function with uWSGI and mod_wsgi
        whole = (list, tuple, file_wrapper) if isinstance(file_wrapper, type) else (list, tuple)
        if environ.get(_FLASK_WHOLE) or isinstance(body, whole):
            request.end()  # it is all there, and the server may know better ways to send it
            return body
        return _Body(body, request)


class _Body(Iterator[bytes]):
    """The body of a response; the request ends with it, or when the server closes it before, as the client went away."""

    def __init__(self, body: Iterable[bytes], request: TrackedRequest) -> None:
        self._body = body
        self._parts = iter(body)
        self._request = request

    def __next__(self) -> bytes:
        try:
            return next(self._parts)
        except StopIteration:
            self._request.end()
            raise
        except BaseException as error:
            self._request.end(error)
            raise

    def close(self) -> None:
        """Close the application's own body, and record."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._request.end(GeneratorExit())


# ----------------------------------------------------------------------------------------------------------- routes


def _no_route(_: object) -> None:
    """Return no template: a path would be a label value that anybody can make up."""


def _starlette_route(scope: MutableMapping[str, Any]) -> str | None:
    """Return the template of the route that Starlette or FastAPI took.

    A route knows its own part. What mounts and included routers put before it is in the path, with the values of their parameters.
    """
    route, values = _starlette_taken(scope), dict(scope.get("path_params") or {})
    own = getattr(route, "path_format", None)
    if not isinstance(own, str):
        return None
    path, root = scope["path"], scope.get("root_path", "")
    names = getattr(route, "param_convertors", {})
    if "path" in names:  # of a mount, which does not say it
        values.setdefault("path", path.removeprefix(root).strip("/"))
    slashes = own.count("/") + sum(str(values.get(name, "")).count("/") for name in names)
    before: str = path.removeprefix(scope[_PREFIX]).rsplit("/", slashes)[0]
    places: list[tuple[int, int, str]] = []
    for name in values.keys() - names.keys():
        place = _place(before, values[name])
        if place is None:
            return own
        places.append((*place, f"{{{name}}}"))
    for start, end, name in sorted(places, reverse=True):
        before = before[:start] + name + before[end:]
    return before + own


def _place(path: str, value: object) -> tuple[int, int] | None:
    """Return where in a path the value of a parameter stands; None if it cannot be told.

    It is a part, or text within one, as in /v{version}. A number within one is not looked for: it may be spelled otherwise.
    """
    text, parts = str(value), path.split("/")
    if parts.count(text) == 1:
        start = len("/".join(parts[: parts.index(text)])) + 1
    elif isinstance(value, str) and path.count(text) == 1:
        start = path.index(text)
    else:
        return None
    return start, start + len(text)


def _starlette_taken(scope: MutableMapping[str, Any]) -> object:
    """Return the route that was taken; not each kind says so itself, but then the one that leads to where the request went."""
    if "route" in scope or "endpoint" not in scope:
        return scope.get("route")
    endpoint = scope["endpoint"]
    found = [each for each in scope["app"].routes if endpoint is getattr(each, "endpoint", getattr(each, "app", None))]
    return found[0] if len(found) == 1 else None


def _flask_route(environ: MutableMapping[str, Any]) -> str | None:
    found: str | None = environ.get(_FLASK_ROUTE)
    return found


def _follow_flask(app: Any) -> None:
    """Have ``app`` note in each request's environment which route it takes, what went wrong, and whether all of its body is there."""
    from flask import got_request_exception, request, request_finished, request_started

    def starts(*_: Any, **__: Any) -> None:
        if request.url_rule is not None:
            request.environ[_FLASK_ROUTE] = request.url_rule.rule

    def fails(*_: Any, exception: BaseException, **__: Any) -> None:
        request.environ[_FLASK_ERROR] = exception

    def finishes(*_: Any, response: Any, **__: Any) -> None:
        request.environ[_FLASK_WHOLE] = not response.is_streamed

    request_started.connect(starts, app, weak=False)
    request_finished.connect(finishes, app, weak=False)
    got_request_exception.connect(fails, app, weak=False)
