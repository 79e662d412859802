"""What is answered to a request: one function of method, path, query and headers, shared by the server, ASGI and WSGI."""

from __future__ import annotations

import html
import ipaddress
import logging
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from numbers import Integral
from typing import TYPE_CHECKING, Final

from otel_metrics.allowed import is_positive, is_text, require, within
from otel_metrics.exporter.negotiation import choose_compression, choose_format

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from otel_metrics.exporter.auth import Users
    from otel_metrics.exporter.negotiation import Compressor, Format

_logger = logging.getLogger(__name__)

MAX_SCRAPES: Final = 4
RESPONSE_TIMEOUT: Final = 60.0
"""Seconds for receiving the whole response."""

STALL_TIMEOUT: Final = 5.0
"""Seconds for which a client may take nothing of a response."""

STALLED: Final = 0.5
"""Seconds after which a scrape that its client takes nothing of gives way, if others have no place."""

_PATIENCE: Final = 2.0
"""Seconds to wait for a place among the scrapes."""

_KNOWN: Final = 64
"""Clients remembered to have taken a whole scrape."""

_FORGET: Final = 300.0
"""Seconds without a whole scrape after which a client's memory may go to another."""

_PATH: Final = re.compile(r"(?!/.*/\.{1,2}(/|$)|/\.{1,2}(/|$)|//)/[A-Za-z0-9._~!$&'()*+,;=:@/-]*")
"""A path that clients send as it is written, and web servers hand on as it was sent."""

_NO_NAME: Final = "."
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]*)(:\d*)?")

BURST: Final = 1 << 19
"""Bytes that are made in one go, before any of them is sent."""

HEALTHY: Final = "/-/healthy"

_INDEX: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><ul><li><a href="{metrics}">Metrics</a></li><li><a href="{healthy}">Health</a></li></ul></body></html>
"""


class Body(Iterator[bytes]):
    """The body of a response: bytes to send, and :meth:`close`, which must be called, to let the next scrape in.

    Bytes are made in bursts; a client that takes its time over them holds no lock.
    """

    def __init__(
        self,
        chunks: Iterable[bytes] = (),
        done: Callable[[], None] | None = None,
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        """``done`` is called when there is nothing left to make, ``taken`` when the client has taken it all."""
        self._chunks = iter(chunks)
        self._done = done
        self._taken = taken
        self._expired = False
        self._ready: list[bytes] = []
        self._offered: float | None = None
        self.complete = False
        """Whether everything that will be sent has been made."""

    def prepare(self) -> None:
        """Make the first burst now, so that what fails, fails before the status is sent."""
        if not self._ready and not self.complete:
            self._ready = self._burst()
            self._ready.reverse()
            self._offered = time.monotonic()

    def __next__(self) -> bytes:
        if self._expired:
            # Not the end: what breaks off must not be taken for complete.
            raise TimeoutError("the client took too long")
        self._offered = None
        self.prepare()
        self._offered = time.monotonic()
        if not self._ready:
            self.close()
            self._taken()
            raise StopIteration
        return self._ready.pop()

    def _burst(self) -> list[bytes]:
        made: list[bytes] = []
        size = 0
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

    @property
    def waiting(self) -> float:
        """Seconds since the client was last offered something that it has not taken yet."""
        offered = self._offered
        return 0.0 if offered is None else time.monotonic() - offered

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
        serves: Callable[[str], bool] = lambda _: True,
        title: str = "OpenTelemetry metrics",
        asked_at: Callable[[str], None] = lambda _: None,
        left: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``max_scrapes``: how many may be under way at once; further ones are answered with 503.
        ``response_timeout``: seconds after which a scrape gives way to others, even if its client takes something now and then.
        ``users``: who may see more than the health check.
        ``serves``: tells whether a ``Host`` header names this endpoint; asked where no password is.
        ``asked_at``: told by whoever asks, before that, at which address of which server; ``left``: that nobody answers there any more.
        """
        require(
            is_text(metrics_path) and _PATH.fullmatch(metrics_path) is not None,
            "metrics_path",
            metrics_path,
            "a path as it stands in an address, such as /metrics",
        )
        require(within(max_scrapes, Integral, 1), "max_scrapes", max_scrapes, "an integer of at least 1")
        require(is_positive(response_timeout), "response_timeout", response_timeout, "more than 0 seconds")
        self._scrape = scrape
        self.asked_at = asked_at
        self.left = left
        self.metrics_path = metrics_path
        self.response_timeout = response_timeout
        self._max_scrapes = max_scrapes
        self._running: dict[Body, tuple[str, float]] = {}  # whose, and until when
        # Who takes whole scrapes: when the first, when the last. Who did so last comes last.
        self._known: dict[str, tuple[float, float]] = {}
        self._changed = threading.Condition()
        self._users = users
        self._serves = serves
        self._title = title

    def respond(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        client: str = "",
        wanted: Callable[[], bool] = lambda: True,
    ) -> Response:
        """Return the answer; ``headers`` with lower-case names. Never raises. The caller closes the body.

        ``client`` is the address that asks; ``wanted`` is called as soon as it is known that it may see the metrics, and while it
        waits for a place: tells whether its connection is still there.
        """
        path = path or "/"
        if path not in {self.metrics_path, HEALTHY, "/"}:
            return _plain(404, "not found\n")
        if method not in {"GET", "HEAD"}:
            return _plain(405, "method not allowed\n", ("Allow", "GET, HEAD"))
        if path == HEALTHY and path != self.metrics_path:
            return _plain(200, "healthy\n")
        if self._users is None or not self._users.required:
            if not self._serves(headers.get("host", "")):
                return _plain(421, "this name is not served here; see allowed_hosts\n")
            allowed: bool | None = True
        else:
            allowed = self._users.admit(headers.get("authorization", ""), client)
        if allowed is None:
            return _plain(429, "too many passwords are being tried\n", ("Retry-After", "1"))
        if not allowed:
            return _plain(401, "unauthorized\n", ("WWW-Authenticate", 'Basic realm="metrics", charset="UTF-8"'))
        wanted()
        if path == self.metrics_path:
            return self._metrics(method, headers, client, wanted)
        # Relative, so that the links hold where the application is mounted below a path.
        links = {"metrics": "." + self.metrics_path, "healthy": "." + HEALTHY, "title": self._title}
        page = _INDEX.format(**{name: html.escape(text) for name, text in links.items()})
        return _plain(200, page, kind="text/html")

    def _metrics(self, method: str, headers: Mapping[str, str], client: str, wanted: Callable[[], bool]) -> Response:
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
        body = self._begin(self._chunks(form, None if compression is None else compression[1]), client, wanted)
        if body is None:
            return _plain(503, "too many scrapes at once\n", ("Retry-After", "1"))
        try:
            body.prepare()
        except Exception:
            _logger.exception("a scrape failed")
            body.close()
            return _plain(500, "the scrape failed, see the log of the application\n")
        if body.length is not None:
            stated.append(("Content-Length", str(body.length)))
        return Response(200, tuple(stated), body)

    def _chunks(self, form: Format, compressor: Callable[[], Compressor] | None) -> Iterator[bytes]:
        blocks = iter(self._scrape(form))
        yield from blocks if compressor is None else _compressed(blocks, compressor())

    def known_since(self, client: str) -> float:
        """Return when (``time.monotonic()``) a client took its first whole scrape; infinity for a stranger.

        Who is known for longer has more claim to a place: a scraper was there before the flood.
        """
        # Without the lock: the server asks while it holds its own, and is asked by `wanted` while this one is held.
        return self._known.get(client, (inf, inf))[0]

    def _begin(self, chunks: Iterator[bytes], client: str, wanted: Callable[[], bool]) -> Body | None:
        """Return the body of one more scrape; None if there are too many for a while, or nobody waits for it any more."""
        patience = time.monotonic() + _PATIENCE
        with self._changed:
            while len(self._running) >= self._max_scrapes:
                waited = time.monotonic() > patience
                dispensable = self._dispensable(client) or (self._newest(client) if waited else None)
                if dispensable is not None:
                    dispensable.expire()
                    # Whoever is closing it may be waiting for this lock.
                    self._running.pop(dispensable, None)
                elif waited or not wanted():
                    return None
                else:
                    self._changed.wait(0.1)
            body = Body(chunks, lambda: self._end(body), lambda: self._learn(client))
            self._running[body] = client, time.monotonic() + self.response_timeout
            return body

    def _dispensable(self, client: str) -> Body | None:
        """Return the scrape that gives way to one of ``client``'s, if any does.

        First one that stalls, then one of a client that has never taken a whole one, if this one has, then one of a client that
        has several places more.
        """
        now = time.monotonic()
        running = self._running
        found = [body for body, (_, until) in running.items() if body.waiting >= STALLED or until < now]
        if not found and client in self._known:
            found = [body for body, (other, _) in running.items() if other not in self._known]
        if not found:
            places = Counter(other for other, _ in running.values())
            busiest, most = places.most_common(1)[0]
            if most >= places[client] + 2:
                found = [body for body, (other, _) in running.items() if other == busiest]
        return max(found, key=lambda body: body.waiting, default=None)

    def _newest(self, client: str) -> Body | None:
        """Return the scrape of the client known for the shortest time, if ``client`` is known for longer."""
        since = {body: self.known_since(other) for body, (other, _) in self._running.items()}
        newest = max(since, key=since.__getitem__)
        return newest if since[newest] > self.known_since(client) else None

    def _end(self, body: Body) -> None:
        with self._changed:
            self._running.pop(body, None)
            self._changed.notify_all()

    def _learn(self, client: str) -> None:
        with self._changed:
            now = time.monotonic()
            since, _ = self._known.pop(client, (now, now))
            self._known[client] = since, now
            if len(self._known) > _KNOWN:
                longest_silent = next(iter(self._known))
                silent = now - self._known[longest_silent][1] > _FORGET
                del self._known[longest_silent if silent else max(self._known, key=lambda each: self._known[each][0])]


def named_by(host: str, allowed: Collection[str] = ()) -> Callable[[str], bool]:
    """Return what tells whether a ``Host`` header names a server that listens on ``host``.

    A page in a browser can make its own name lead here (DNS rebinding), and would then read what is served. It has to be a name that
    somebody can register: addresses, names without a dot and ``localhost`` are nobody's. ``allowed``: further names; ``*`` for any.
    """
    names = {_name(name) for name in (*allowed, host, socket.gethostname())} - {_NO_NAME}

    def serves(header: str) -> bool:
        name = _name(header)
        return name in names or "." not in name or name.endswith(".localhost") or _is_address(name)

    return (lambda _: True) if "*" in allowed else serves


def _name(host: str) -> str:
    """Return the name in a ``Host`` header, in one spelling; one that no server has, if it is malformed."""
    found = _HOST.fullmatch(host.strip())
    return _NO_NAME if found is None else found[1].strip("[]").lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _compressed(blocks: Iterator[bytes], compressor: Compressor) -> Iterator[bytes]:
    for block in blocks:
        yield compressor.compress(block)
    yield compressor.flush()
