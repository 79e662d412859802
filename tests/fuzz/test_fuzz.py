"""Any input at the places where strangers give some: nothing but the errors that are documented comes out, in bounded time.

A few examples in every run of the tests; ``make fuzz`` goes on for ten minutes and keeps what it found.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import socket
import threading
from datetime import timezone
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_metrics.errors import ImportFailedError, MetricsError
from otel_metrics.exporter import server
from otel_metrics.exporter.auth import Users
from otel_metrics.exporter.endpoint import Endpoint, named_by
from otel_metrics.exporter.negotiation import choose_compression, choose_format
from otel_metrics.importing.old_history import OldHistory
from otel_metrics.importing.report import ImportReport
from otel_metrics.importing.source_db import OldDatabase
from otel_metrics.querying.client import PrometheusClient
from otel_metrics.settings import Settings
from tests.exporter.clients import basic
from tests.importing import old

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

quick = settings(deadline=None)
slow = settings(quick, max_examples=settings.default.max_examples // 5)  # type: ignore[union-attr] # there is always one
"""Fewer examples where each takes long."""

CHEAP = "$scrypt$ln=1,r=1,p=1$AAAA$AAAA"

# ---------------------------------------------------------------- requests

words = st.sampled_from([
    b"GET", b"HEAD", b"POST", b"PRI", b" ", b"  ", b"\t", b"/", b"/metrics", b"//", b"*", b"?", b"#", b"%00", b"http://x/metrics",
    b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1.1", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b":", b"Host: x",
    b"Host: evil.example", b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Expect: 100-continue",
    b"Accept: text/plain", b"Accept-Encoding: gzip", b"Connection: keep-alive", b"Authorization: Basic", b"\r\n\r\n", b"\r\n ",
])  # fmt: skip
requests = st.lists(words | st.binary(max_size=20), max_size=30).map(b"".join)


def answered(endpoint: Endpoint, request: bytes) -> bytes:
    """What a client gets that sends ``request`` and then no more."""
    near, far = socket.socketpair()
    with near, far:
        near.sendall(request)
        near.shutdown(socket.SHUT_WR)
        address: Any = ("127.0.0.1", 1)
        connection = _Named(far, address)
        with contextlib.suppress(OSError):
            server._answer(endpoint, connection, lambda _: True, 5.0, 5.0)
        connection.close()
        received = b""
        while chunk := near.recv(1 << 16):
            received += chunk
        return received


class _Named(socket.socket):
    """A socket whose other end has an address."""

    def __init__(self, other: socket.socket, address: Any) -> None:
        super().__init__(other.family, other.type, other.proto, other.detach())
        self._address = address

    def getpeername(self) -> Any:
        return self._address


@quick
@given(begin=st.sampled_from([b"", b"GET /metrics HTTP/1.1\r\n", b"GET "]), rest=requests)
def test_any_request_gets_a_status_line_or_nothing(begin: bytes, rest: bytes) -> None:
    endpoint = Endpoint(lambda _: iter([b"a 1\n"]), serves=named_by("localhost"))
    answer = answered(endpoint, begin + rest)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
    head = takewhile(lambda line: line.strip(b"\r"), (begin + rest).split(b"\n"))  # up to the empty line
    if b"Host: evil.example" in (line.rstrip(b"\r") for line in head):
        assert b" 200 " not in answer[:20]


# ---------------------------------------------------------------- Accept, query, users

tokens = st.sampled_from([
    "text/plain", "application/openmetrics-text", "application/vnd.google.protobuf", "*/*", ",", ";", "=", '"', "q=", "0.5", "1e400",
    "version=1.0.0", "version=0.0.4", "escaping=allow-utf-8", "proto=io.prometheus.client.MetricFamily", "encoding=delimited",
    "nan", "-1", " ", "gzip", "zstd", "identity", "inf",
])  # fmt: skip
headers = st.lists(tokens | st.text(max_size=5), max_size=40).map("".join)


@quick
@given(accept=headers, encoding=headers, path=st.text(max_size=30), query=st.text(max_size=30))
def test_any_accept_header_gets_a_format(accept: str, encoding: str, path: str, query: str) -> None:
    assert choose_format(accept).content_type
    assert choose_compression(encoding) is None or choose_compression(encoding)[0] in {"gzip", "zstd"}  # type: ignore[index]
    endpoint = Endpoint(lambda _: iter([b"a 1\n"]))
    response = endpoint.respond("GET", "/metrics", {"accept": accept, "accept-encoding": encoding, "host": query})
    assert response.status == 200
    response.body.close()
    assert endpoint.respond("GET", path, {}).status in {200, 404}


lines = st.sampled_from(
    ["a", ":", CHEAP, "$scrypt$", "$2b$04$", "ln=1", ",", "$", "\n", "\r", "#", " ", "ü", "\u2028", "\0", "=", "AAAA"]
)


@quick
@given(text=st.lists(lines | st.text(max_size=5), max_size=40).map("".join), before=st.booleans())
def test_a_file_of_users_lets_in_whom_it_lists_or_nobody(
    tmp_path_factory: pytest.TempPathFactory, text: str, before: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed-users"
    path.write_text(f"a:{CHEAP}\n", encoding="utf-8")
    users = Users(path) if before else None
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    if users is None:
        with contextlib.suppress(ValueError):
            users = Users(path)
    if users is not None:
        assert users.admit(basic("a", "wrong")) is False
        assert users.admit(basic("", "")) is False


# ---------------------------------------------------------------- databases


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return old.filled(tmp_path_factory.mktemp("fuzz") / "old.db", 20, 2)


@quick
@given(
    edits=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=8)), max_size=6),
    cut=st.integers(0, 8),
)
def test_a_damaged_database_is_read_or_told(database: Path, edits: list[tuple[int, bytes]], cut: int) -> None:
    folder = database.parent
    data = bytearray(database.read_bytes())
    for place, new in edits:
        begin = place % len(data)
        data[begin : begin + len(new)] = new
    fuzzed = folder / "fuzzed.db"
    fuzzed.write_bytes(data[: len(data) >> cut] if cut > 5 else data)
    with contextlib.closing(ImportReport(folder / "rejected.csv")) as report, contextlib.suppress(ImportFailedError):
        opened = OldDatabase(fuzzed)
        with contextlib.closing(opened):
            history = OldHistory(opened, report, Settings(), timezone.utc, folder / "rows")
            history.read(lambda _: None)
    shutil.rmtree(folder / "rows", ignore_errors=True)


# ---------------------------------------------------------------- answers of servers


class Answering:
    """A server that sends given bytes."""

    def __init__(self) -> None:
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    connection.recv(1 << 16)
                    connection.sendall(self.answer)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(1 << 16)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture(scope="module")
def hostile() -> Iterator[Answering]:
    with contextlib.closing(Answering()) as made:
        yield made


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1", "NaN", "vector", "success"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["metric", "value", "histogram", "buckets", "count", "sum", "a", "resultType", "result"]), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip
parts = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("status", "data", "error", "errorType", "warnings", "infos"), values)
)
vectors = st.fixed_dictionaries({"resultType": st.just("vector"), "result": values | st.lists(values, max_size=3)})
answers = st.one_of(
    st.binary(max_size=50),
    values.map(lambda value: json.dumps(value).encode()),
    parts.map(lambda value: json.dumps(value).encode()),
    vectors.map(lambda data: json.dumps({"status": "success", "data": data}).encode()),
    st.integers(1, 100_000).map(lambda depth: b"[" * depth),
)


@quick
@given(
    status=st.sampled_from([200, 204, 301, 307, 400, 401, 422, 500, 503]),
    body=answers,
    header=st.sampled_from(
        [
            b"",
            b"Content-Encoding: gzip\r\n",
            b"Location: http://192.0.2.1/\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Retry-After: 0\r\n",
        ]
    ),
    packed=st.booleans(),
)
def test_any_answer_of_a_server_is_samples_or_an_error_of_ours(
    hostile: Answering, status: int, body: bytes, header: bytes, packed: bool
) -> None:
    body = gzip.compress(body) if packed else body
    hostile.answer = b"HTTP/1.1 %d x\r\n%sContent-Length: %d\r\n\r\n%s" % (status, header, len(body), body)
    client = PrometheusClient(hostile.url, timeout=5, retries=0)
    with contextlib.closing(client), contextlib.suppress(MetricsError):
        client.query("up", 0.0)
