"""The real servers of the tests: started on free loopback ports, awaited, queried, stopped.

`make servers` puts the programs in place. Tests take the `servers` fixture (or `session_servers`, shared by a whole
run) and call its methods; whatever was started is stopped at the end, and its log is shown when the test fails.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 30.0  # seconds; generous, as machines of continuous integration are slow and shared
_HOST = "127.0.0.1"


# --- programs and waiting -------------------------------------------------------------------------------------


def program(name: str) -> str:
    """Path of a server program.

    Raises:
        RuntimeError: it is not there; a missing server is a failed test, not a skipped one.
    """
    cache = Path(os.environ.get("OTM_SERVERS") or ROOT / ".cache" / "servers") / "bin"
    found = shutil.which(name, path=f"{cache}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise RuntimeError(f"{name} is missing, run: make servers")
    return found


def wait_until(condition: Callable[[], T], timeout: float = DEADLINE, *, what: str = "condition") -> T:
    """Poll until the condition's result is true, and return it.

    An `OSError` (connection refused, HTTP status 4xx and 5xx) counts as not yet.

    Raises:
        TimeoutError: not within `timeout` seconds; names the last result or error.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            result = condition()
            if result:
                return result
            last = result
        except OSError as error:
            last = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s, last seen: {last!r}")
        time.sleep(0.05)


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
    """Body of a GET, or of a POST when there is data. Raises `urllib.error.HTTPError` with the body as a note."""
    request = urllib.request.Request(url, data=data, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            body: bytes = response.read()
            return body
    except urllib.error.HTTPError as error:
        with error:
            error.msg = f"{error.msg}: {error.read().decode(errors='replace')}"
        raise


def promtool(*args: str | Path, cwd: Path = ROOT, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool; the caller looks at `returncode`, `stdout` and `stderr`."""
    return subprocess.run(
        [program("promtool"), *map(str, args)],
        cwd=cwd,
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# --- processes ------------------------------------------------------------------------------------------------


class Process:
    """A server that runs as a child process, with its own folder and log."""

    name: str
    ready_path: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self.port = 0
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base address, without a slash at the end."""
        return f"http://{_HOST}:{self.port}"

    @property
    def address(self) -> str:
        """Host and port, as scrape targets and Alertmanager lists want it."""
        return f"{_HOST}:{self.port}"

    def command(self) -> list[str]:
        """Program and arguments, for the port in `self.port`."""
        raise NotImplementedError

    def start(self) -> None:
        """Start and wait until it answers; on the same port as before when it was stopped.

        Raises:
            RuntimeError: it ended by itself; the log is part of the message.
        """
        for attempt in (1, 2, 3):
            self.port = self.port or free_port()
            status = self._launch()
            if status is None:
                return
            # Somebody else took the free port between our look and the server's bind.
            if attempt == 3 or "address already in use" not in self.log.read_text(errors="replace"):
                raise RuntimeError(f"{self.name} ended with status {status}:\n{self.tail()}")
            self.port = 0

    def _launch(self) -> int | None:
        """Start the child and wait until it answers; its exit status when it ends instead."""
        with self.log.open("ab") as log:
            self._child = child = subprocess.Popen(
                [*_dies_with_parent(), *self.command()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(lambda: child.poll() is not None or self.is_ready(), what=f"{self.name} ready")
        except TimeoutError as error:
            self.kill()
            raise RuntimeError(f"{error}\n{self.tail()}") from None
        status = child.poll()
        if status is not None:
            self._child = None
        return status

    def is_ready(self) -> bool:
        return bool(fetch(self.url + self.ready_path) is not None)

    def stop(self) -> None:
        """Ask it to end and wait; kill it when it does not. Safe to call twice."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it the hard way, as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(number)
        try:
            child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


def _dies_with_parent() -> list[str]:
    """A prefix so that a killed test run leaves no servers behind.

    Not `preexec_fn`: that would run the fork handlers under test in the child.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


class QueryServer(Process):
    """A server with Prometheus' HTTP API."""

    api_prefix = "/api/v1"

    def api(self, path: str, **params: str | float) -> Any:
        """`data` of an API answer, such as `api("targets")`."""
        query = urllib.parse.urlencode(params)
        return json.loads(fetch(f"{self.url}{self.api_prefix}/{path}?{query}"))["data"]

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result list of an instant query: [{"metric": {...}, "value": [time, text]}, ...]."""
        # VictoriaMetrics would round the present down to a full second and answer from its cache.
        fields = {"query": expression, "time": time.time() if at is None else at, "nocache": 1}
        data = urllib.parse.urlencode(fields).encode()
        answer = json.loads(fetch(f"{self.url}{self.api_prefix}/query", data))
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expression: str, at: float | None = None) -> float | None:
        """The single value of an instant query, None when the result is empty."""
        result = self.query(expression, at)
        if len(result) > 1:
            raise AssertionError(f"{expression} gives {len(result)} series, one was expected")
        return float(result[0]["value"][1]) if result else None

    def wait_for(
        self, expression: str, matches: Callable[[list[dict[str, Any]]], object] = bool, timeout: float = DEADLINE
    ) -> list[dict[str, Any]]:
        """Repeat an instant query until its result matches (by default: is not empty), and return it."""
        seen: list[dict[str, Any]] = []

        def matched() -> bool:
            seen[:] = self.query(expression)
            return bool(matches(seen))

        try:
            wait_until(matched, timeout, what=expression)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; result: {seen}") from None
        return seen


class Prometheus(QueryServer):
    """Prometheus with a configuration text, or a configuration file left where it is.

    After a start and after a reload it takes Prometheus 5 s, not to be configured, to discover its targets.
    """

    name = "prometheus"
    ready_path = "/-/ready"

    def __init__(
        self, folder: Path, config: str | Path, *, flags: Sequence[str] = (), data: Path | None = None
    ) -> None:
        super().__init__(folder)
        if isinstance(config, str):
            self.config = folder / "prometheus.yml"
            self.config.write_text(config, encoding="utf-8")
        else:
            self.config = config
        self.flags = tuple(flags)
        self.data = data or folder / "data"

    def command(self) -> list[str]:
        return [
            program("prometheus"),
            f"--config.file={self.config}",
            f"--storage.tsdb.path={self.data}",
            f"--web.listen-address={self.address}",
            "--web.enable-lifecycle",
            "--web.enable-admin-api",
            *self.flags,
        ]

    def reload(self) -> None:
        """Read configuration and rules again."""
        fetch(f"{self.url}/-/reload", b"")

    def wait_until_scraped(self, job: str | None = None) -> None:
        """Wait for a successful scrape of every target (of one job).

        Raises:
            TimeoutError: with what Prometheus says about the targets.
        """

        def scraped() -> bool:
            targets[:] = [t for t in self.api("targets")["activeTargets"] if job in (None, t["labels"]["job"])]
            return bool(targets) and all(target["health"] == "up" for target in targets)

        targets: list[dict[str, Any]] = []
        try:
            wait_until(scraped, what="targets up")
        except TimeoutError as error:
            seen = [(target["scrapeUrl"], target["health"], target["lastError"]) for target in targets]
            raise TimeoutError(f"{error}; targets: {seen}") from None


def scraping(
    targets: Iterable[str],
    *,
    interval: str = "250ms",
    rules: Iterable[Path] = (),
    alertmanagers: Iterable[str] = (),
    job: str = "test",
    more: Mapping[str, Any] | None = None,
    more_global: Mapping[str, Any] | None = None,
) -> str:
    """A configuration that scrapes `host:port` targets quickly.

    Args:
        targets: addresses; an `http://` in front and a path behind are dropped.
        interval: of scrapes and of rule evaluation.
        rules: rule files or glob patterns.
        alertmanagers: addresses.
        job: name of the scrape job.
        more: further fields of the scrape job, such as `basic_auth`.
        more_global: further fields of `global`.
    """

    def bare(address: str) -> str:
        return address.partition("://")[2].partition("/")[0] if "://" in address else address

    config: dict[str, Any] = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
            **(more_global or {}),
        },
        "rule_files": [str(rule) for rule in rules],
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [{"targets": [bare(target) for target in targets]}],
                **(more or {}),
            }
        ],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [bare(a) for a in alertmanagers]}]}]},
    }
    return yaml.safe_dump(config, sort_keys=False)


class Alertmanager(Process):
    """Alertmanager with a configuration text, or a configuration file left where it is."""

    name = "alertmanager"
    ready_path = "/-/ready"

    def __init__(self, folder: Path, config: str | Path, *, flags: Sequence[str] = ()) -> None:
        super().__init__(folder)
        if isinstance(config, str):
            self.config = folder / "alertmanager.yml"
            self.config.write_text(config, encoding="utf-8")
        else:
            self.config = config
        self.flags = tuple(flags)

    def command(self) -> list[str]:
        return [
            program("alertmanager"),
            f"--config.file={self.config}",
            f"--storage.path={self.folder / 'alerts'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
            *self.flags,
        ]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it holds at the moment."""
        held: list[dict[str, Any]] = json.loads(fetch(f"{self.url}/api/v2/alerts"))
        return held


def routing_to(webhook: str, *, wait: str = "200ms") -> str:
    """An Alertmanager configuration that posts every alert to one webhook at once, resolved ones too."""
    return yaml.safe_dump(
        {
            "route": {
                "receiver": "webhook",
                "group_by": ["..."],
                "group_wait": wait,
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [{"name": "webhook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
        }
    )


class VictoriaMetrics(QueryServer):
    """VictoriaMetrics: Prometheus' query API, OTLP at `otlp_url`, text import at `import_text`."""

    name = "victoria-metrics"
    ready_path = "/health"

    def __init__(self, folder: Path, *, config: str | None = None, flags: Sequence[str] = ()) -> None:
        super().__init__(folder)
        self.flags = tuple(flags)
        if config is not None:
            (folder / "scrape.yml").write_text(config, encoding="utf-8")
            self.flags += (f"-promscrape.config={folder / 'scrape.yml'}", "-promscrape.config.strictParse=false")

    def command(self) -> list[str]:
        return [
            program("victoria-metrics"),
            f"-storageDataPath={self.folder / 'data'}",
            f"-httpListenAddr={self.address}",
            "-retentionPeriod=100y",
            # Otherwise the newest half minute is held back from queries.
            "-search.latencyOffset=0s",
            "-memory.allowedBytes=256MB",
            *self.flags,
        ]

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """As with Prometheus, and sees what was accepted before."""
        self.flush()
        return super().query(expression, at)

    @property
    def otlp_url(self) -> str:
        """Where an OTLP exporter posts metrics to (`OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`)."""
        return f"{self.url}/opentelemetry/v1/metrics"

    def import_text(self, exposition: str) -> None:
        """Store samples in the Prometheus text format, with timestamps in milliseconds where given."""
        fetch(f"{self.url}/api/v1/import/prometheus", exposition.encode())
        self.flush()

    def flush(self) -> None:
        """Make everything that was accepted visible to queries, which otherwise takes some seconds."""
        fetch(f"{self.url}/internal/force_flush")


# --- webhook --------------------------------------------------------------------------------------------------


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

        self._server = http.server.ThreadingHTTPServer((_HOST, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self._server.server_address[1]}/"

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

    def wait_for_alert(self, name: str, status: str = "firing", timeout: float = DEADLINE) -> dict[str, Any]:
        """The first alert of this name and status."""

        def found(post: Any) -> list[dict[str, Any]]:
            return [a for a in post["alerts"] if a["labels"]["alertname"] == name and a["status"] == status]

        return found(self.wait_for(found, timeout))[0]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def tail(self) -> str:
        """What arrived, for the report of a failed test."""
        return json.dumps(self.posts, indent=1)[-4000:]


# --- all together ---------------------------------------------------------------------------------------------


class Servers:
    """Starts servers, each in a folder of its own, and stops them in reverse order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[Process | Webhook] = []

    def _new_folder(self, name: str) -> Path:
        folder = self.folder / f"{name}-{len(self.running)}"
        folder.mkdir(parents=True)
        return folder

    def prometheus(
        self,
        config: str | Path | None = None,
        *,
        targets: Iterable[str] = (),
        interval: str = "250ms",
        rules: Iterable[Path] = (),
        alertmanagers: Iterable[str] = (),
        features: Sequence[str] = (),
        flags: Sequence[str] = (),
        data: Path | None = None,
    ) -> Prometheus:
        """Start Prometheus.

        Args:
            config: text or file; without it one that scrapes `targets` with `rules` and `alertmanagers`.
            targets: `host:port` or addresses to scrape.
            interval: of scrapes and rules.
            rules: rule files.
            alertmanagers: `host:port` or addresses.
            features: for `--enable-feature`, such as `native-histograms`, `exemplar-storage`.
            flags: further arguments.
            data: an existing storage folder, such as one filled by promtool.
        """
        if config is None:
            config = scraping(targets, interval=interval, rules=rules, alertmanagers=alertmanagers)
        flags = [*(f"--enable-feature={feature}" for feature in features), *flags]
        server = Prometheus(self._new_folder("prometheus"), config, flags=flags, data=data)
        return self._started(server)

    def alertmanager(self, config: str | Path, *, flags: Sequence[str] = ()) -> Alertmanager:
        """Start Alertmanager; `routing_to(webhook.url)` makes a configuration."""
        return self._started(Alertmanager(self._new_folder("alertmanager"), config, flags=flags))

    def victoria_metrics(self, *, config: str | None = None, flags: Sequence[str] = ()) -> VictoriaMetrics:
        """Start VictoriaMetrics; `config` is a scrape configuration."""
        return self._started(VictoriaMetrics(self._new_folder("victoria-metrics"), config=config, flags=flags))

    def webhook(self) -> Webhook:
        """Start a receiver of JSON posts."""
        receiver = Webhook()
        self.running.append(receiver)
        return receiver

    _P = TypeVar("_P", bound=Process)

    def _started(self, server: _P) -> _P:
        self.running.append(server)
        server.start()
        return server

    def close(self) -> None:
        """Stop everything."""
        with contextlib.ExitStack() as stack:
            for server in self.running:
                stack.callback(server.stop)
        self.running.clear()
