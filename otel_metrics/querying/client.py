"""A client for the HTTP API of Prometheus, and of everything that speaks it, which does not hang and tells failures apart."""

from __future__ import annotations

import io
import json
import socket
import ssl
import time
from base64 import b64encode
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPResponse
from math import inf, nan
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    HTTPError,
    LocationValueError,
    NewConnectionError,
    ProtocolError,
)
from urllib3.exceptions import (
    TimeoutError as TimedOut,
)

from otel_metrics.allowed import naming
from otel_metrics.errors import (
    BadAnswerError,
    BadQueryError,
    ConfigurationError,
    QueryTimeoutError,
    RefusedError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from _typeshed import WriteableBuffer

    from otel_metrics.settings import Settings

RETRIES: Final = 2
LARGEST: Final = 64 * 2**20
"""Bytes that an answer may have, unpacked."""

LONGEST_PAUSE: Final = 5.0
"""Seconds that are waited at most before a retry, also when the server asks for more."""

BUILD_PATIENCE: Final = 1.0
"""Seconds that the server has at most to say what it is."""

_TRANSIENT: Final = frozenset({429, 502, 503, 504})
_DENIED: Final = frozenset({401, 403, 429})
_CHUNK: Final = 2**16


class Sample(NamedTuple):
    """One element of an instant vector."""

    labels: Mapping[str, str]
    value: float
    histogram: Mapping[str, Any] | None


class Curve(NamedTuple):
    """The values of one series over time: (unix time, value), the earliest first."""

    labels: Mapping[str, str]
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in. Files are read anew for every request, so that they can be replaced.

    ``token_file`` holds a bearer token; ``username`` and ``password_file`` are for basic authentication; ``ca_file`` holds
    the certificates to trust instead of the system's.
    """

    token_file: str | None = None
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """Return the way in that the settings name."""
        return cls(
            settings.prometheus_token_file,
            settings.prometheus_username,
            settings.prometheus_password_file,
            settings.prometheus_ca_file,
        )

    def headers(self) -> dict[str, str]:
        """Return the header that authenticates a request, if any.

        Raises:
            ConfigurationError: a file cannot be read.
        """
        if self.token_file:
            return {"Authorization": f"Bearer {_secret('prometheus_token_file', self.token_file)}"}
        if self.username and self.password_file:
            pair = f"{self.username}:{_secret('prometheus_password_file', self.password_file)}".encode()
            return {"Authorization": f"Basic {b64encode(pair).decode()}"}
        return {}

    def trust(self) -> ssl.SSLContext | None:
        """Return what decides which servers are trusted; None for the defaults.

        Raises:
            ConfigurationError: the certificates cannot be read.
        """
        if self.ca_file is None:
            return None
        with _naming("prometheus_ca_file", self.ca_file):
            return ssl.create_default_context(cafile=self.ca_file)


class Cancelled(Exception):  # noqa: N818  # no error: who asked has gone
    """Nobody waits for the answer any more."""


class Cancellation:
    """Ends the queries of one context from another thread: the request is closed, and no other one is made.

    What the operating system does for a new connection is not ended; it has the deadline of the query.
    """

    current: ContextVar[Cancellation | None] = ContextVar("cancellation", default=None)
    """That of the queries of this context."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._cancelled = Event()
        self._socket: socket.socket | None = None

    def cancel(self) -> None:
        """Close the request; may be called from any thread."""
        with self._lock:
            self._cancelled.set()
            if self._socket is not None:
                with suppress(OSError):  # it is closed already
                    # What waits for bytes wakes up. TLS has no say: the wire is cut.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def waits_for(self, connection: socket.socket) -> None:
        """Note what to close.

        Raises:
            Cancelled: it has been cancelled.
        """
        with self._lock:
            self._socket = connection
            self.check()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Inside the block one request is made, and perhaps closed.

        Raises:
            Cancelled: it has been cancelled.
        """
        self.check()
        try:
            yield
        except Exception:
            self.check()  # then this is why
            raise
        finally:
            with self._lock:
                self._socket = None  # other queries may use it next

    def check(self, pause: float = 0.0) -> None:
        """Wait for ``pause`` seconds.

        Raises:
            Cancelled: it has been cancelled, or is meanwhile.
        """
        if self._cancelled.wait(pause):
            raise Cancelled


class PrometheusClient:
    """Asks one server. Safe to share between threads.

    Args:
        url: address of the server, with the path prefix that it may have.
        timeout: seconds for one query, or for all queries inside :meth:`within_one_timeout`: retries, connections and answers
            included, but for the look-up of the name; the server is told, too.
        access: credentials and certificates.
        retries: how often a request is repeated that failed before the server could work on it, or that it asked to repeat.

    Raises:
        ConfigurationError: the certificates cannot be read.
    """

    def __init__(
        self,
        url: str,
        timeout: float = 10.0,
        access: Access = Access(),
        retries: int = RETRIES,  # frozen
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout = float(timeout)
        self._access = access
        self._retries = retries
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=4, ssl_context=access.trust())
        self._pool.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        self._deadline: ContextVar[float | None] = ContextVar("deadline", default=None)

    def query(self, expression: str, when: float) -> tuple[list[Sample], tuple[str, ...]]:
        """Return the samples of an instant query and the server's warnings.

        Raises:
            UnreachableError: nothing answered, also after the retries.
            QueryTimeoutError: the answer was not there in time.
            RefusedError: the server would not answer: credentials, rate limit, unavailable.
            BadQueryError: the server says that the query is wrong or could not be executed.
            BadAnswerError: the answer is not one of a Prometheus HTTP API.
            ConfigurationError: a file with credentials cannot be read.
        """
        data, remarks = self._asked("query", {"query": expression, **_instant(when)})
        if not isinstance(data, dict) or data.get("resultType") != "vector" or not isinstance(data.get("result"), list):
            raise BadAnswerError(f"{self.url}: the answer to an instant query holds no vector")
        try:
            samples = [_sample(element) for element in data["result"]]
        except _UNREADABLE as error:
            raise BadAnswerError(f"{self.url}: a sample that cannot be read: {error!r}") from error
        return samples, remarks

    def curves(self, expression: str, start: float, end: float, step: float = 0) -> tuple[list[Curve], tuple[str, ...]]:
        """Return the values of any query, every ``step`` seconds or else at ``end`` alone, and the server's warnings.

        Raises:
            BadQueryError: also if its values are histograms or text.
            QueryError: see :meth:`query`.
        """
        if step:
            steps = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}", "nocache": "1"}
            data, remarks = self._asked("query_range", {"query": expression, **steps})
        else:
            data, remarks = self._asked("query", {"query": expression, **_instant(end)})
        if not isinstance(data, dict) or not isinstance(data.get("result"), list):
            raise BadAnswerError(f"{self.url}: the answer to a query holds no result")
        kind, result = data.get("resultType"), data["result"]
        if kind == "string":
            raise BadQueryError(f"{self.url}: the query gives text, not numbers", "text")
        try:
            curves = (
                [_curve({"metric": {}, "value": result})] if kind == "scalar" else [_curve(each) for each in result]
            )
        except _UNREADABLE as error:
            raise BadAnswerError(f"{self.url}: a series that cannot be read: {error!r}") from error
        if any(curve is None for curve in curves):
            wanted = "ask for a number of them, such as histogram_avg(…)"
            raise BadQueryError(f"{self.url}: the query gives histograms; {wanted}", "histogram")
        return [curve for curve in curves if curve is not None], remarks

    def exemplars(self, selector: str, start: float, end: float) -> tuple[list[Curve], tuple[str, ...]]:
        """Return the exemplars of the series that match, each by itself with its own labels on top, and the server's warnings.

        Raises:
            QueryError: see :meth:`query`.
        """
        fields = {"query": selector, "start": f"{start:.3f}", "end": f"{end:.3f}"}
        data, remarks = self._asked("query_exemplars", fields)
        try:
            found = [
                Curve(
                    _text({**each["seriesLabels"], **one["labels"]}), [(float(one["timestamp"]), float(one["value"]))]
                )
                for each in data or ()
                for one in each["exemplars"]
            ]
        except _UNREADABLE as error:
            raise BadAnswerError(f"{self.url}: an exemplar that cannot be read: {error!r}") from error
        return found, remarks

    def build(self) -> Mapping[str, Any]:
        """Return what the server says of itself: its version, and more; it has a second for that, or half of the timeout.

        Raises:
            QueryError: see :meth:`query`; :class:`~otel_metrics.errors.BadAnswerError` where it has no such page.
        """
        deadline = min(self._deadline.get() or inf, time.monotonic() + min(BUILD_PATIENCE, self._timeout / 2))
        data = self._answer("/api/v1/status/buildinfo", None, deadline).get("data")
        if not isinstance(data, dict):
            raise BadAnswerError(f"{self.url}: build information that cannot be read")
        return data

    @contextmanager
    def within_one_timeout(self) -> Iterator[None]:
        """Give all queries inside the block together no more time than one alone would have."""
        token = self._deadline.set(time.monotonic() + self._timeout)
        try:
            yield
        finally:
            self._deadline.reset(token)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    def _asked(self, endpoint: str, fields: dict[str, str]) -> tuple[Any, tuple[str, ...]]:
        """Return the data of an answer, and the server's warnings."""
        deadline = self._deadline.get() or time.monotonic() + self._timeout
        answer = self._answer(f"/api/v1/{endpoint}", fields, deadline)
        remarks = [answer.get(kind) or [] for kind in ("warnings", "infos")]
        if not all(isinstance(several, list) for several in remarks):
            raise BadAnswerError(f"{self.url}: the remarks on an answer are no list")
        return answer.get("data"), tuple(str(remark) for several in remarks for remark in several)

    def _answer(self, path: str, fields: dict[str, str] | None, deadline: float) -> dict[str, Any]:
        """Return the answer to a form, or to a request without one."""
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", **self._access.headers()}
        cancellation = Cancellation.current.get() or Cancellation()
        for attempt in range(self._retries + 1):
            pause = 0.1 * 4**attempt
            try:
                with cancellation.request():
                    status, asked, body = self._request(path, fields, headers, deadline)
            except (NewConnectionError, ProtocolError) as error:
                if self._is_last(attempt, pause, deadline):
                    raise UnreachableError(f"{self.url}: {_reason(error)}") from error
            except TimedOut as error:  # the server may still be at work: asking again would add to it
                raise QueryTimeoutError(f"{self.url}: no answer within {self._timeout:g} s") from error
            except LocationValueError as error:
                raise ConfigurationError(f"{self.url}: {error}") from error
            except (HTTPError, OSError) as error:
                raise UnreachableError(f"{self.url}: {_reason(error)}") from error
            else:
                answer = _parsed(body)
                pause = min(max(pause, asked), LONGEST_PAUSE)
                failed = answer is not None and answer.get("status") == "error" and status not in _DENIED
                if status not in _TRANSIENT or failed or self._is_last(attempt, pause, deadline):
                    return self._checked(status, answer, body)
            cancellation.check(pause)
        raise AssertionError("unreachable")  # pragma: no cover

    def _is_last(self, attempt: int, pause: float, deadline: float) -> bool:
        """Return whether there is no other attempt, or no time for one."""
        return attempt == self._retries or time.monotonic() + pause >= deadline

    def _request(
        self, path: str, fields: dict[str, str] | None, headers: dict[str, str], deadline: float
    ) -> tuple[int, float, bytes]:
        """Return status, seconds to wait before asking again, body.

        Raises:
            TimedOut: the deadline is over.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimedOut("no time is left")
        form = None
        if fields is not None:
            headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
            # Whole milliseconds: Prometheus knows neither fractions nor exponents.
            form = urlencode({**fields, "timeout": f"{max(1, round(left * 1000))}ms"})
        response = self._pool.request(
            "GET" if form is None else "POST",
            self.url + path,
            body=form,
            headers=headers,
            timeout=urllib3.Timeout(total=left),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        chunks, size = [], 0
        try:
            while chunk := response.read1(_CHUNK):
                chunks.append(chunk)
                size += len(chunk)
                if size > LARGEST:
                    raise BadAnswerError(f"{self.url}: the answer is larger than {LARGEST // 2**20} MiB")
        except BaseException:
            response.close()  # half-read: of no use to the next request
            raise
        response.release_conn()
        return response.status, _seconds(response.headers.get("Retry-After")), b"".join(chunks)

    def _checked(self, status: int, answer: dict[str, Any] | None, body: bytes) -> dict[str, Any]:
        """Return a successful answer."""
        if status in _DENIED:
            raise RefusedError(f"{self.url} refused the query: HTTP status {status}", status)
        if answer is not None and answer.get("status") == "error":
            kind = str(answer.get("errorType") or "unknown")
            if kind == "timeout":
                raise QueryTimeoutError(f"{self.url}: the server gave up: {answer.get('error')}")
            raise BadQueryError(f"{self.url}: {kind}: {answer.get('error')}", kind)
        if status >= 500:
            raise RefusedError(f"{self.url} cannot answer: HTTP status {status}", status)
        if status == 200 and answer is not None and answer.get("status") == "success":
            return answer
        start = body[:80].decode(errors="replace")
        raise BadAnswerError(f"{self.url}: not the answer of a Prometheus HTTP API (status {status}): {start!r}")


class _Punctual(io.RawIOBase):
    """What comes from a socket, each read of which may take what is left of the time that the first one had."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw
        timeout = sock.gettimeout()
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer comes too slowly")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """Reads headers and body punctually: a server that sends a byte now and then would never run into a socket's time-out."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        if cancellation := Cancellation.current.get():
            cancellation.waits_for(sock)
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Punctual(sock, self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


_UNREADABLE: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def _instant(when: float) -> dict[str, str]:
    return {"time": f"{when:.3f}", "nocache": "1"}


def _text(labels: Mapping[str, Any]) -> Mapping[str, str]:
    if not all(isinstance(value, str) for value in labels.values()):
        raise TypeError(f"labels that are not text: {labels!r}")
    return labels


def _curve(element: Mapping[str, Any]) -> Curve | None:
    """Return one series of a vector or a matrix; None if it is one of histograms."""
    if "histogram" in element or "histograms" in element:
        return None
    values = [element["value"]] if "value" in element else element["values"]
    return Curve(_text(element["metric"]), [(float(when), float(value)) for when, value in values])


def _sample(element: Mapping[str, Any]) -> Sample:
    labels = _text(element["metric"])
    if "histogram" in element:
        return Sample(labels, nan, element["histogram"][1])
    return Sample(labels, float(element["value"][1]), None)


def _seconds(header: str | None) -> float:
    """Return what a Retry-After header asks for; its form as a date is not worth the trouble."""
    try:
        return max(float(header or 0), 0.0)
    except ValueError:
        return 0.0


def _reason(error: BaseException) -> str:
    return str(error.__cause__ or error) or type(error).__name__


def _secret(setting: str, path: str) -> str:
    with _naming(setting, path):
        return Path(path).read_text(encoding="utf-8").strip()


@contextmanager
def _naming(setting: str, path: str) -> Iterator[None]:
    try:
        with naming(f"{setting}={str(path)!r}"):
            yield
    except OSError as error:  # ssl.SSLError is one
        if error.errno is None:
            raise
        raise ConfigurationError(error.strerror) from error
