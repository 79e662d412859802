"""A small HTTP server: a thread per connection, few connections, a deadline on everything.

It is there for scrapers. Whatever clients do, they cost the application a bounded number of threads, bytes and seconds.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import selectors
import socket
import ssl
import threading
import time
import weakref
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from http.server import BaseHTTPRequestHandler
from math import inf
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final, TypedDict

from otel_metrics.allowed import is_positive, require, within
from otel_metrics.exporter.endpoint import RESPONSE_TIMEOUT, STALL_TIMEOUT, joined
from otel_metrics.forks import Part, renew_after_fork

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection
    from types import TracebackType

    from typing_extensions import Self

    from otel_metrics.exporter.endpoint import Endpoint, Response

_logger = logging.getLogger(__name__)


_MAX_HEAD: Final = 1 << 15
"""Bytes of a request that are read; scrapers send about 1,000."""

_DRAIN_TIMEOUT: Final = 1.0

_SILENCE: Final = 1.0
"""Seconds that a client may take for its request before its connection gives way to anybody's."""

_RETRY: Final = 1.0
"""Seconds between attempts to listen at an address that somebody else has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What a client may take of the application."""

    connections: int = 32
    """Connections at once. A further one takes the place of one whose address takes whole scrapes for less long, or never
    did; or of one that has not sent its request yet, or whose password is not found right yet; or of one whose address has
    several connections more; if there is none, it is closed unanswered."""

    request_timeout: float = 10.0
    """Seconds for the TLS handshake and the head of the request together."""

    response_timeout: float = RESPONSE_TIMEOUT
    """Seconds for receiving the whole response. A client that takes nothing of it is cut off after five."""

    def __post_init__(self) -> None:
        """Reject limits that nobody would be answered with.

        Raises:
            ValueError: no connection, or no time.
        """
        require(within(self.connections, Integral, 1), "connections", self.connections, "an integer of at least 1")
        for name, seconds in (("request_timeout", self.request_timeout), ("response_timeout", self.response_timeout)):
            fits = is_positive(seconds) and seconds < inf
            require(fits, name, seconds, "more than 0 seconds, and not for ever")


class ServerOptions(TypedDict, total=False):
    """What may be said of a server, beside where it listens: the arguments of ``PrometheusReader.serve``."""

    certfile: str | None
    keyfile: str | None
    client_cafile: str | None
    users_file: str | os.PathLike[str] | None
    web_config_file: str | os.PathLike[str] | None
    allowed_hosts: Collection[str]
    metrics_path: str
    max_scrapes: int
    limits: ServerLimits | None


class _Stage(IntEnum):
    """How far a connection has come."""

    ASKING = 0
    """Its request is not there yet."""
    PROVING = 1
    """Its password is not found right yet."""
    ADMITTED = 2


@dataclass(slots=True)
class _Connection:
    client: str
    stage: _Stage = _Stage.ASKING
    since: float = inf
    """When a thread took it on; infinity: it waits for one."""


class ServerHandle:
    """A running server: where it listens, and how to stop it. Also a context manager.

    Of several processes with one address the first listens. The others wait, and one of them takes over when it has ended.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        host: str,
        port: int,
        *,
        tls: Callable[[], ssl.SSLContext] | None,
        limits: ServerLimits,
    ) -> None:
        """Listen and answer, from daemon threads; ``tls`` gives what the next connection is secured with.

        Raises:
            OSError: the address cannot be listened on, for another reason than that somebody does already.
        """
        self._endpoint = endpoint
        self._tls = tls
        self._limits = limits
        self._open: dict[socket.socket, _Connection] = {}  # from the oldest on
        self._threads = 0
        self._lock = threading.Lock()
        self._closed = False
        self.host = host
        """The address that was asked for."""
        self.port = port
        """The port, also where any free one was asked for."""
        self._listener = self._try_to_listen()
        if self._listener is None:
            _logger.warning(
                "%s is taken, by another process of this application or by a stranger. This process records all the same, but a "
                "scrape does not show it. It tries again every second, and serves as soon as the address is free",
                self.url,
            )
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="otel-metrics-server", daemon=True)
        self._thread.start()
        _handles.add(self)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "listening" if self.listening else "waiting for the address"
        return f"<ServerHandle {self.url}, {state}>"

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104 (compared)
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self.port}{self._endpoint.metrics_path}"

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._closed

    @property
    def listening(self) -> bool:
        """Whether this process answers there; not while another one has the address."""
        return self._listener is not None and not self._closed

    def close(self) -> None:
        """Stop listening, and cut open connections. Closing twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._wake.send(b"x")
            for connection in self._open:
                _shut(connection)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._release()
        self._endpoint.left(self.url)

    def _release(self) -> None:
        for each in (self._listener, self._wake, self._woken):
            if each is not None:
                each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _try_to_listen(self) -> socket.socket | None:
        """Return a socket that listens, or None: somebody else has the address."""
        try:
            listener = _listen(self.host, self.port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return None
        self.port = listener.getsockname()[1]
        return listener

    def _take_over(self) -> socket.socket | None:
        """Wait for the address; None if the server was closed before."""
        failed = False
        while not self._was_woken():
            try:
                self._listener = self._try_to_listen()
            except OSError:  # out of file descriptors, or the network is down: that passes
                if not failed:
                    _logger.warning("%s cannot be listened on", self.url, exc_info=True)
                failed = True
            if self._listener is None:
                self._endpoint.asked_at(self.url)
            else:
                _logger.warning("%s is free again, and served by this process now", self.url)
                return self._listener
        return None

    def _was_woken(self) -> bool:
        """Wait for the next attempt; return whether the server was closed meanwhile."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            return bool(selector.select(_RETRY))

    def _accept(self) -> None:
        listener = self._listener or self._take_over()
        if listener is None:
            return
        listener.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                selector.select()
                with self._lock:
                    if self._closed:
                        return
                try:
                    connection, address = listener.accept()
                except (BlockingIOError, ConnectionError):
                    continue
                except OSError:
                    # Out of file descriptors, most likely: the pending connection stays, so do not spin on it.
                    _logger.warning("cannot accept a connection", exc_info=True)
                    selector.unregister(listener)
                    selector.select(1.0)
                    selector.register(listener, selectors.EVENT_READ)
                    continue
                self._start(connection, address[0])

    def _start(self, connection: socket.socket, client: str) -> None:
        """Have a connection served, or close it. Never waits: whoever connects next may have more claim to a place."""
        with self._lock:
            if len(self._open) >= self._limits.connections and not self._make_room(client):
                connection.close()
                return
            self._open[connection] = _Connection(client)
            if self._threads >= self._limits.connections:
                return  # some of them are at connections that have given way, and take this one next
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="otel-metrics-scrape", daemon=True).start()
        except Exception:
            # Out of threads or memory, or the interpreter is finishing. Whatever it is, the next connection is accepted.
            _logger.warning("cannot serve a connection", exc_info=True)
            with self._lock:
                self._threads -= 1
            self._end(connection)

    def _work(self) -> None:
        while (connection := self._next()) is not None:
            self._serve(connection)

    def _next(self) -> socket.socket | None:
        """Return the waiting connection with the most claim to be served; None: there is none, and the thread ends."""
        with self._lock:
            waiting = [connection for connection, each in self._open.items() if each.since == inf]
            if not waiting:
                self._threads -= 1
                return None
            found = min(waiting, key=lambda each: self._endpoint.known_since(self._open[each].client))
            self._open[found].since = time.monotonic()
            return found

    def _make_room(self, client: str) -> bool:
        """Cut the connection that gives way to one of ``client``'s, if any does; the caller holds the lock."""
        places = Counter(each.client for each in self._open.values())
        known_since = {each: self._endpoint.known_since(each) for each in (client, *places)}
        silent = time.monotonic() - _SILENCE

        def gives_way(each: _Connection) -> bool:
            ours, its = known_since[client], known_since[each.client]
            unproven = each.stage is not _Stage.ADMITTED and (ours <= its or each.since < silent)
            return unproven or ours < its or places[each.client] >= places[client] + 2

        def order(item: tuple[socket.socket, _Connection]) -> tuple[bool, float, int, int]:
            each = item[1]
            greedy = places[each.client] * 4 > self._limits.connections
            return not greedy, -known_since[each.client], each.stage, -places[each.client]

        giving_way = (item for item in self._open.items() if gives_way(item[1]))
        found = min(giving_way, key=order, default=None)  # the oldest of those that are alike
        if found is None:
            return False
        connection, its = found
        del self._open[connection]
        _shut(connection)
        if its.since == inf:
            connection.close()  # no thread has it, so nobody else will
        return True

    def _reached(self, connection: socket.socket, stage: _Stage) -> bool:
        """Note how far a connection has come; return whether it has not given way to another."""
        with self._lock:
            if connection in self._open:
                self._open[connection].stage = stage
            return connection in self._open

    def _secured(self, tls: ssl.SSLContext, plain: socket.socket) -> socket.socket:
        """Return the TLS socket that takes the place of ``plain``.

        Raises:
            OSError: the client has gone already, which is why the thread that accepts leaves this to the connection's own.
        """
        with self._lock:
            secure = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            if plain in self._open:
                self._open[secure] = self._open.pop(plain)
            return secure

    def _serve(self, connection: socket.socket) -> None:
        limits = self._limits
        try:
            if self._tls is not None:
                connection = self._secured(self._tls(), connection)
            reached = partial(self._reached, connection)
            self._endpoint.asked_at(self.url)
            _answer(self._endpoint, connection, reached, limits.request_timeout, limits.response_timeout)
        except OSError:
            # Clients come and go; that is no news.
            _logger.debug("a connection broke", exc_info=True)
        except Exception:
            _logger.exception("answering a scraper failed")
        finally:
            self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.pop(connection, None)
        connection.close()

    def _forget(self) -> None:
        """In a forked child: the threads are the parent's, and so is the port."""
        self._closed = True
        self._lock = threading.Lock()
        for connection in self._open:
            connection.close()
        self._release()


def _listen(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # Where a name has both kinds of addresses, scrapers try IPv4 more often.
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return socket.create_server(address[:2], family=family, backlog=64)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not a TLS socket's own: that one would forget its keys under the thread that uses them.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _TooLargeError(Exception):
    """A request's head goes on beyond what is read."""


class _RequestStream(io.RawIOBase):
    """Reads from a socket until a deadline, and no more than a request's head."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        super().__init__()
        self._connection = connection
        self._deadline = deadline
        self._left = _MAX_HEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            raise _TooLargeError
        self._connection.settimeout(_remaining(self._deadline))
        view = memoryview(buffer)[: self._left]
        count = self._connection.recv_into(view)
        self._left -= count
        return count


class _ResponseStream(io.RawIOBase):
    """Writes to a socket until a deadline. The clock starts with the first byte."""

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        super().__init__()
        self._connection = connection
        self._timeout = timeout
        self._deadline: float | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._deadline is None:
            self._deadline = time.monotonic() + self._timeout
        # Not sendall(): over TLS, that one allows the whole time for each of its pieces.
        rest = memoryview(data)
        while rest:
            self._connection.settimeout(min(_remaining(self._deadline), STALL_TIMEOUT))
            rest = rest[self._connection.send(rest) :]
        return len(data)


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the client took too long")
    return left


class _Handler(BaseHTTPRequestHandler):
    """Reads one request with the standard library's parser, and sends what the endpoint says."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # not HTTP/0.9, whose answers have no status line: nobody can read them today
    server_version = "otel-metrics"
    sys_version = ""
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s\n"

    def __init__(
        self,
        endpoint: Endpoint,
        connection: socket.socket,
        reached: Callable[[_Stage], bool],
        request_deadline: float,
        response_timeout: float,
    ) -> None:
        # Not the base class's: that one wants a socketserver, and makes its own streams.
        self._endpoint = endpoint
        self._reached = reached
        self.client_address = connection.getpeername()
        self.rfile = io.BufferedReader(_RequestStream(connection, request_deadline))
        self.wfile = _ResponseStream(connection, response_timeout)  # type: ignore[assignment] # all that is needed of it
        self.close_connection = True
        self.requestline = self.request_version = self.command = ""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Log nothing."""

    def version_string(self) -> str:
        return self.server_version

    def send_response_only(self, code: int, message: str | None = None) -> None:
        if self.request_version == "HTTP/0.9":
            self.request_version = self.default_request_version
        super().send_response_only(code, message)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except _TooLargeError:
            # The command is known once the request's first line is there.
            self.send_error(431 if self.command else 414)

    def answer(self) -> None:
        self._reached(_Stage.PROVING)
        path, _, _ = self.path.partition("?")
        headers = joined(self.headers.items())
        if path.lower().startswith(("http://", "https://")):
            # What is asked of a proxy, and every server must understand.
            _, _, headers["host"], *rest = path.split("/", 3)
            path = "/" + "".join(rest)
        wanted = partial(self._reached, _Stage.ADMITTED)
        response = self._endpoint.respond(self.command, path, headers, self.client_address[0], wanted)
        try:
            self._send(response)
        finally:
            response.body.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = answer  # noqa: N815

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        self.send_header("Connection", "close")
        known = any(name == "Content-Length" for name, _ in response.headers)
        chunked = not known and self.request_version != "HTTP/1.0" and self.command != "HEAD"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        for chunk in response.body:
            if chunked:
                self.wfile.write(b"%x\r\n" % len(chunk))
            self.wfile.write(chunk)
            if chunked:
                self.wfile.write(b"\r\n")
        if chunked:
            # Only now: a body that breaks off can be told from a complete one.
            self.wfile.write(b"0\r\n\r\n")


def _answer(
    endpoint: Endpoint,
    connection: socket.socket,
    reached: Callable[[_Stage], bool],
    request_timeout: float,
    response_timeout: float,
) -> None:
    """Read a request from ``connection`` and answer it; the caller closes the connection.

    ``reached`` is called with how far the connection has come, and returns whether it is still wanted.

    Raises:
        OSError: the client went away, or took longer than the time-outs (in seconds) allow.
    """
    deadline = time.monotonic() + request_timeout
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(request_timeout)
        connection.do_handshake()
    handler = _Handler(endpoint, connection, reached, deadline, response_timeout)
    handler.handle_one_request()
    _drain(connection)


def _drain(stream: socket.socket) -> None:
    """Read what the client still sends: closing over unread bytes would reset the connection, and lose the response."""
    stream.settimeout(0.0)
    try:
        if not stream.recv(1):
            return
        deadline = time.monotonic() + _DRAIN_TIMEOUT
        while stream.recv(1 << 16):
            stream.settimeout(_remaining(deadline))
    except OSError:
        pass


_handles: weakref.WeakSet[ServerHandle] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for handle in list(_handles):
        handle._forget()  # noqa: SLF001 (same module)
    _handles.clear()


renew_after_fork(Part.SERVERS, _after_fork_in_child)
