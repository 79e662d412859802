"""A stand-in for Grafana's HTTP API, after its documentation: it shows how the check asks, not how a Grafana answers."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from tests.servers import fetch

Json = dict[str, Any]


class StandIn:
    """Keeps data sources and dashboards, and puts queries to their Prometheus."""

    def __init__(self) -> None:
        self.sources: dict[str, Json] = {}
        self.folders: set[str] = set()
        self.dashboards: dict[str, Json] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: Json) -> tuple[int, Any]:
        """Status and answer of a request."""
        match method, path.split("/")[2:]:
            case "GET", ["health"]:
                return 200, {"database": "ok", "version": "stand-in"}
            case "POST", ["datasources"]:
                self.sources[body["uid"]] = body
                return 200, body
            case "POST", ["folders"]:
                self.folders.add(body["uid"])
                return 200, body
            case "POST", ["dashboards", "db"] if body["folderUid"] in self.folders:
                self.dashboards[body["dashboard"]["uid"]] = body["dashboard"]
                return 200, {"uid": body["dashboard"]["uid"], "status": "success"}
            case "GET", ["dashboards", "uid", uid] if uid in self.dashboards:
                return 200, {"dashboard": self.dashboards[uid], "meta": {}}
            case "DELETE", ["folders", uid] if uid in self.folders:
                self.folders.remove(uid)
                self.dashboards.clear()
                return 200, {}
            case "DELETE", ["datasources", "uid", uid] if uid in self.sources:
                del self.sources[uid]
                return 200, {}
            case "POST", ["ds", "query"]:
                results = {
                    one["refId"]: self._asked(one, float(body["from"]), float(body["to"])) for one in body["queries"]
                }
                return max((one["status"] for one in results.values()), default=200), {"results": results}
        return 404, {"message": "Not found"}

    def _asked(self, query: Json, begin: float, end: float) -> Json:
        source = self.sources[query["datasource"]["uid"]]
        step, scrape = query["intervalMs"] / 1000, int(source["jsonData"]["timeInterval"][:-1])
        values = {
            "__rate_interval": f"{round(max(step + scrape, 4 * scrape))}s",
            "__interval": f"{round(step)}s",
            "__interval_ms": f"{query['intervalMs']}",
            "__range": f"{round((end - begin) / 1000)}s",
        }
        expr = re.sub(r"\$\{?(__\w+)\}?", lambda found: values[found[1]], query["expr"])
        moments = [str(moment / 1000 // step * step) for moment in (begin, end)]
        fields, path = {"query": expr, "time": str(end / 1000)}, "query"
        if query["range"]:
            fields, path = {"query": expr, "start": moments[0], "end": moments[1], "step": str(step)}, "query_range"
        try:
            answer = fetch(f"{source['url']}/api/v1/{path}", urllib.parse.urlencode(fields).encode())
        except urllib.error.HTTPError as error:
            return {"status": 400, "error": error.msg}
        data = json.loads(answer)["data"]
        rows = [{"values": [data["result"]]}] if data["resultType"] == "scalar" else data["result"]
        return {"status": 200, "frames": [_frame(row.get("values") or [row["value"]]) for row in rows]}


def _frame(pairs: list[tuple[float, str]]) -> Json:
    """A frame as Grafana writes it; JSON has no NaN, which becomes null."""
    numbers = [None if text == "NaN" else float(text) for _, text in pairs]
    fields = [{"name": "Time", "type": "time"}, {"name": "Value", "type": "number"}]
    return {"schema": {"fields": fields}, "data": {"values": [[when * 1000 for when, _ in pairs], numbers]}}


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            status, answer = stand_in.answer(self.command, self.path, body)
            if self.headers.get("Authorization") != "Bearer secret":
                status, answer = 401, {"message": "Unauthorized"}
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _respond  # noqa: N815  # the library's names

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
