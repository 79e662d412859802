"""A real HTTP server on loopback that plays whatever answers it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Iterator

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Plays the next of the server's answers; the last one again and again."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.requests.append((self.path, dict(self.headers), parse_qs(body)))
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.build(self)

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = [success()]
        self.requests: list[tuple[str, dict[str, str], dict[str, list[str]]]] = []
        self.build: Answer = replies(404)
        self.asked: list[str] = []
        self.done = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what some tests are about."""


def replies(status: int, body: bytes | str = b"", **headers: str) -> Answer:
    return lambda handler: handler.send(status, body.encode() if isinstance(body, str) else body, **headers)


def success(*samples: Any, **more: Any) -> Answer:
    answer = {"status": "success", "data": {"resultType": "vector", "result": list(samples)}, **more}
    return replies(200, json.dumps(answer))


def failure(status: int, kind: str) -> Answer:
    return replies(status, json.dumps({"status": "error", "errorType": kind, "error": "what happened"}))


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server inside the block."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.done.set()
            running.shutdown()
            thread.join()
