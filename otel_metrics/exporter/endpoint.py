"""What is answered to a request: one function of method, path, query and headers, shared by the server, ASGI and WSGI."""

from __future__ import annotations

import html
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from otel_metrics.exporter.gc_guard import gc_guard
from otel_metrics.exporter.negotiation import choose_compression, choose_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from otel_metrics.exporter.auth import Users
    from otel_metrics.exporter.negotiation import Compressor, Format

_logger = logging.getLogger(__name__)

MAX_SCRAPES: Final = 4
RESPONSE_TIMEOUT: Final = 60.0
"""Seconds for receiving the whole response."""

BURST: Final = 1 << 19
"""Bytes that are made in one go, with the garbage collector held back, before any of them is sent."""

HEALTHY: Final = "/-/healthy"

_INDEX: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><ul><li><a href="{metrics}">Metrics</a></li><li><a href="{healthy}">Health</a></li></ul></body></html>
"""


class Body(Iterator[bytes]):
    """The body of a response: bytes to send, and :meth:`close`, which must be called, to let the next scrape in.

    Bytes are made in bursts; a client that takes its time over them holds neither the garbage collector nor a lock.
    """

    def __init__(self, chunks: Iterable[bytes] = (), done: Callable[[], None] | None = None) -> None:
        self._chunks = iter(chunks)
        self._done = done
        self._expired = False
        self._ready: list[bytes] = []
        self.complete = False
        """Whether everything that will be sent has been made."""

    def prepare(self) -> None:
        """Make the first burst now, so that what fails, fails before the status is sent."""
        if not self._ready and not self.complete:
            self._ready = self._burst()
            self._ready.reverse()

    def __next__(self) -> bytes:
        if self._expired:
            # Not the end: what breaks off must not be taken for complete.
            raise TimeoutError("the client took too long")
        self.prepare()
        if not self._ready:
            self.close()
            raise StopIteration
        return self._ready.pop()

    def _burst(self) -> list[bytes]:
        made: list[bytes] = []
        size = 0
        with gc_guard():
            for chunk in self._chunks:
                if chunk:
                    made.append(chunk)
                    size += len(chunk)
                if size >= BURST:
                    return made
        self.complete = True
        self.close()
        return made

    @property
    def ready(self) -> bool:
        """Whether the next bytes, or the end, can be had without any work."""
        return bool(self._ready) or self.complete

    @property
    def length(self) -> int | None:
        """Number of bytes still to be sent, or None if that is not known yet."""
        return sum(map(len, self._ready)) if self.complete else None

    def expire(self) -> None:
        """Close, and fail when more is asked for."""
        self._expired = True
        self.close()

    def close(self) -> None:
        """Let go of everything that is not going to be sent. Closing twice is fine."""
        done, self._done = self._done, None
        if done is not None:
            self._chunks = iter(())
            done()


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers and body of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Body


def _plain(status: int, text: str, *headers: tuple[str, str], kind: str = "text/plain") -> Response:
    content = text.encode()
    body = Body((content,))
    body.prepare()
    fixed = (
        ("Content-Type", f"{kind}; charset=utf-8"),
        ("Content-Length", str(len(content))),
        ("X-Content-Type-Options", "nosniff"),
    )
    return Response(status, (*fixed, *headers), body)


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name, several of one name as one, as HTTP has it."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


class Endpoint:
    """Answers requests for one reader."""

    def __init__(
        self,
        scrape: Callable[[Format], Iterable[bytes]],
        *,
        metrics_path: str = "/metrics",
        max_scrapes: int = MAX_SCRAPES,
        response_timeout: float = RESPONSE_TIMEOUT,
        users: Users | None = None,
        title: str = "OpenTelemetry metrics",
    ) -> None:
        """``max_scrapes``: how many may be under way at once; further ones are answered with 503.
        ``response_timeout``: seconds after which a scrape whose client does not take it gives way to others.
        ``users``: who may see more than the health check.
        """
        if not metrics_path.startswith("/"):
            raise ValueError(f"metrics_path={metrics_path!r} is not allowed: it starts with a slash")
        if max_scrapes < 1:
            raise ValueError(f"max_scrapes={max_scrapes!r} is not allowed: at least 1")
        if not response_timeout > 0:
            raise ValueError(f"response_timeout={response_timeout!r} is not allowed: more than 0 seconds")
        self._scrape = scrape
        self.metrics_path = metrics_path
        self.response_timeout = response_timeout
        self._max_scrapes = max_scrapes
        self._running: dict[Body, float] = {}  # until when
        self._lock = threading.Lock()
        self._users = users
        self._title = title

    def respond(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        client: str = "",
        admitted: Callable[[], None] = lambda: None,
    ) -> Response:
        """Return the answer; ``headers`` with lower-case names. Never raises. The caller closes the body.

        ``client`` is the address that asks; ``admitted`` is called as soon as it is known that it may see the metrics.
        """
        path = path or "/"
        if path not in {self.metrics_path, HEALTHY, "/"}:
            return _plain(404, "not found\n")
        if method not in {"GET", "HEAD"}:
            return _plain(405, "method not allowed\n", ("Allow", "GET, HEAD"))
        if path == HEALTHY and path != self.metrics_path:
            return _plain(200, "healthy\n")
        allowed = self._users is None or self._users.admit(headers.get("authorization", ""), client)
        if allowed is None:
            return _plain(429, "too many passwords are being tried\n", ("Retry-After", "1"))
        if not allowed:
            return _plain(401, "unauthorized\n", ("WWW-Authenticate", 'Basic realm="metrics", charset="UTF-8"'))
        admitted()
        if path == self.metrics_path:
            return self._metrics(method, headers)
        # Relative, so that the links hold where the application is mounted below a path.
        links = {"metrics": "." + self.metrics_path, "healthy": "." + HEALTHY, "title": self._title}
        page = _INDEX.format(**{name: html.escape(text) for name, text in links.items()})
        return _plain(200, page, kind="text/html")

    def _metrics(self, method: str, headers: Mapping[str, str]) -> Response:
        form = choose_format(headers.get("accept", ""))
        compression = choose_compression(headers.get("accept-encoding", ""))
        stated = [
            ("Content-Type", form.content_type),
            ("Vary", "Accept, Accept-Encoding"),
            ("Cache-Control", "no-store"),
        ]
        if compression is not None:
            stated.append(("Content-Encoding", compression[0]))
        if method == "HEAD":
            return Response(200, tuple(stated), Body())
        body = self._begin(self._chunks(form, None if compression is None else compression[1]))
        if body is None:
            return _plain(503, "too many scrapes at once\n", ("Retry-After", "1"))
        try:
            body.prepare()
        except Exception:
            _logger.exception("a scrape failed")
            body.close()
            return _plain(500, "the scrape failed, see the log of the application\n")
        with self._lock:
            if body in self._running:
                self._running[body] = time.monotonic() + self.response_timeout
        if body.length is not None:
            stated.append(("Content-Length", str(body.length)))
        return Response(200, tuple(stated), body)

    def _chunks(self, form: Format, compressor: Callable[[], Compressor] | None) -> Iterator[bytes]:
        blocks = iter(self._scrape(form))
        yield from blocks if compressor is None else _compressed(blocks, compressor())

    def _begin(self, chunks: Iterator[bytes]) -> Body | None:
        """Return the body of one more scrape, None if there are too many. Those whose time is up end here."""
        with self._lock:
            now = time.monotonic()
            overdue = [body for body, until in self._running.items() if until < now]
        for body in overdue:
            body.expire()
        with self._lock:
            if len(self._running) >= self._max_scrapes:
                return None
            body = Body(chunks, lambda: self._end(body))
            self._running[body] = inf
            return body

    def _end(self, body: Body) -> None:
        with self._lock:
            self._running.pop(body, None)


def _compressed(blocks: Iterator[bytes], compressor: Compressor) -> Iterator[bytes]:
    for block in blocks:
        yield compressor.compress(block)
    yield compressor.flush()
