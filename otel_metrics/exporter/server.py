"""A small HTTP server for one reader."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import make_server

from prometheus_client.exposition import ThreadingWSGIServer, _SilentHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class ServerHandle:
    """A running server: where it listens, and how to stop it. Also a context manager."""

    def __init__(self, app: Callable[..., Any], host: str, port: int) -> None:
        self._server = make_server(host, port, app, ThreadingWSGIServer, handler_class=_SilentHandler)
        self.host = host
        self.port: int = self._server.server_port
        self.url = f"http://{host}:{self.port}/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever, name="otel-metrics-server", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening. Closing twice is fine."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> ServerHandle:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
