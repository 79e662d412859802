"""The server and the ASGI and WSGI applications in real servers: the same requests get the same answers."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socketserver
import threading
import wsgiref.simple_server
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import uvicorn

from otel_metrics.exporter import hash_password
from tests.exporter.clients import basic
from tests.exporter.expositions import OPENMETRICS, PROTOBUF
from tests.processes import DEADLINE
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_metrics.exporter import PrometheusReader

    Frontend = Callable[..., contextlib.AbstractContextManager[int]]


@contextlib.contextmanager
def server(reader: PrometheusReader, **options: Any) -> Iterator[int]:
    with reader.serve(port=0, **options) as handle:
        yield handle.port


@contextlib.contextmanager
def asgi(reader: PrometheusReader, **options: Any) -> Iterator[int]:
    made = uvicorn.Server(uvicorn.Config(reader.asgi_app(**options), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        wait_until(lambda: made.started, what="uvicorn")
        yield made.servers[0].sockets[0].getsockname()[1]
    finally:
        made.should_exit = True
        thread.join()


class Threaded(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def wsgi(reader: PrometheusReader, **options: Any) -> Iterator[int]:
    app = reader.wsgi_app(**options)
    with wsgiref.simple_server.make_server("127.0.0.1", 0, app, Threaded, Quiet) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made.server_port
        finally:
            made.shutdown()
            thread.join()


@pytest.fixture(params=[server, asgi, wsgi], ids=lambda frontend: str(frontend.__name__))
def frontend(request: pytest.FixtureRequest) -> Frontend:
    made: Frontend = request.param
    return made


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def ask(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    with contextlib.closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())


def test_paths_methods_and_formats(reader: PrometheusReader, frontend: Frontend) -> None:
    with frontend(reader) as port:
        page = ask(port, "/metrics?name%5B%5D=x")
        assert page.status == 200
        assert b"calls_total 5\n" in page.body
        assert ask(port, "/metrics", Accept=OPENMETRICS).body.endswith(b"# EOF\n")
        assert b"calls_total" in ask(port, "/metrics", Accept=PROTOBUF).body
        packed = ask(port, "/metrics", Accept_Encoding="gzip")
        assert b"calls_total 5\n" in gzip.decompress(packed.body)
        assert ask(port, "/metrics", "HEAD").body == b""
        for path, status in (("/", 200), ("/-/healthy", 200), ("/-/ready", 404), ("/x", 404), ("/%2e%2e/metrics", 404)):
            assert ask(port, path).status == status
        rejected = ask(port, "/metrics", "POST")
        assert rejected.status == 405


def test_passwords_and_their_revocation(
    reader: PrometheusReader, frontend: Frontend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    users = tmp_path / "users"
    users.write_text(f"a:{hash_password('pa')}\nb:{hash_password('pb')}\n", encoding="utf-8")
    with frontend(reader, users_file=users) as port:
        assert ask(port, "/metrics").status == 401
        assert ask(port, "/").status == 401
        assert ask(port, "/-/healthy").status == 200
        assert ask(port, "/metrics", Authorization=basic("a", "pb")).status == 401
        assert ask(port, "/metrics", Authorization=basic("a", "pa")).status == 200
        users.write_text(f"a\nb:{hash_password('pb')}\n", encoding="utf-8")
        assert ask(port, "/metrics", Authorization=basic("a", "pa")).status == 401
        assert b"\notel_metrics_invalid_files 1\n" in ask(port, "/metrics", Authorization=basic("b", "pb")).body
        users.unlink()
        assert ask(port, "/metrics", Authorization=basic("b", "pb")).status == 401
    assert {record.levelname for record in caplog.records} == {"ERROR"}


def test_clients_that_do_not_read_do_not_keep_a_scraper_out(reader: PrometheusReader, frontend: Frontend) -> None:
    exposition: Any = reader._exposition
    exposition.scrape = lambda _: iter([b"x" * 99_999 + b"\n"] * 150)
    with frontend(reader, max_scrapes=2) as port, contextlib.ExitStack() as stack:
        for _ in range(4):
            stalled = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
            stack.callback(stalled.close)
            stalled.request("GET", "/metrics")
        answer = ask(port, "/metrics")
        assert (answer.status, len(answer.body)) == (200, 15_000_000)


def test_any_path_that_is_allowed_is_reached(reader: PrometheusReader, frontend: Frontend) -> None:
    with frontend(reader, metrics_path="/team:app/@x,y;z=(1)") as port:
        assert ask(port, "/team:app/@x,y;z=(1)").status == 200
    with pytest.raises(ValueError, match="metrics_path"), frontend(reader, metrics_path="/a b"):
        pass
