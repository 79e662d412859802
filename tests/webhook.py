"""A receiver of webhooks, as Alertmanager sends them."""

from __future__ import annotations

import http.server
import json
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.processes import DEADLINE, HOST

if TYPE_CHECKING:
    from collections.abc import Callable


class Webhook:
    """A receiver of JSON posts, such as Alertmanager's notifications."""

    name = "webhook"

    def __init__(self) -> None:
        self.posts: list[Any] = []
        self._arrived = threading.Condition()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with receiver._arrived:
                    receiver.posts.append(body)
                    receiver._arrived.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}/"

    def alerts(self) -> list[dict[str, Any]]:
        """All alerts of all notifications so far, in the order of arrival."""
        with self._arrived:
            return [alert for post in self.posts for alert in post.get("alerts", ())]

    def wait_for(self, matches: Callable[[Any], object], timeout: float = DEADLINE) -> Any:
        """The first post that matches, already there or to come.

        Raises:
            TimeoutError: none within `timeout` seconds; names the posts that came.
        """
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                for post in self.posts:
                    if matches(post):
                        return post
                if not self._arrived.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"no such post within {timeout:g} s, got: {self.posts}")

    def wait_for_alert(self, name: str, status: str = "firing") -> dict[str, Any]:
        """The first alert of this name and status."""

        def found(post: Any) -> list[dict[str, Any]]:
            return [a for a in post["alerts"] if a["labels"]["alertname"] == name and a["status"] == status]

        return found(self.wait_for(found))[0]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def tail(self) -> str:
        """What arrived, for the report of a failed test."""
        return json.dumps(self.posts, indent=1)[-4000:]
