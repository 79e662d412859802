"""One connection, one request, one response, each within its deadline."""

from __future__ import annotations

import io
import ssl
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.exporter.endpoint import joined

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from otel_metrics.exporter.endpoint import Endpoint, Response

_MAX_HEAD: Final = 1 << 15
"""Bytes of a request that are read; scrapers send about 1,000."""

_DRAIN_TIMEOUT: Final = 1.0


class _TooLargeError(Exception):
    """A request's head goes on beyond what is read."""


class _Reader(io.RawIOBase):
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


class _Writer(io.RawIOBase):
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
            self._connection.settimeout(_remaining(self._deadline))
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
    server_version = "otel-metrics"
    sys_version = ""

    def __init__(
        self,
        endpoint: Endpoint,
        connection: socket.socket,
        admitted: Callable[[], None],
        request_deadline: float,
        response_timeout: float,
    ) -> None:
        # Not the base class's: that one wants a socketserver, and makes its own streams.
        self._endpoint = endpoint
        self._admitted = admitted
        self.client_address = connection.getpeername()
        self.rfile = io.BufferedReader(_Reader(connection, request_deadline))
        self.wfile = _Writer(connection, response_timeout)  # type: ignore[assignment] # all that is needed of it
        self.close_connection = True
        self.requestline = self.request_version = self.command = ""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Log nothing."""

    def version_string(self) -> str:
        return self.server_version

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except _TooLargeError:
            # The command is known once the request's first line is there.
            self.send_error(431 if self.command else 414)

    def answer(self) -> None:
        path, _, _ = self.path.partition("?")
        if path.lower().startswith(
            ("http://", "https://")
        ):  # what is asked of a proxy, and every server must understand
            path = "/" + "".join(path.split("/", 3)[3:])
        headers = joined(self.headers.items())
        response = self._endpoint.respond(self.command, path, headers, self.client_address[0], self._admitted)
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


def answer(
    endpoint: Endpoint,
    connection: socket.socket,
    admitted: Callable[[], None],
    request_timeout: float,
    response_timeout: float,
) -> None:
    """Read a request from ``connection`` and answer it; the caller closes the connection.

    ``admitted`` is called when the request has been read, and may have the metrics.

    Raises:
        OSError: the client went away, or took longer than the time-outs (in seconds) allow.
    """
    deadline = time.monotonic() + request_timeout
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(request_timeout)
        connection.do_handshake()
    handler = _Handler(endpoint, connection, admitted, deadline, response_timeout)
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
