"""The servers that tests run against: Prometheus, Alertmanager, VictoriaMetrics."""

from __future__ import annotations

import json
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import yaml

from tests.processes import Process, fetch, program, version, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path


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

    def holds_native(self, name: str) -> bool:
        """Whether there are native histograms of this name; no query about them fails where there are classic ones."""
        return any(
            "histogram" in series for series in self.query(f"last_over_time({name}[5m])")
        )  # also after a scrape that failed

    def wait_for(
        self, expression: str, matches: Callable[[list[dict[str, Any]]], object] = bool
    ) -> list[dict[str, Any]]:
        """Repeat an instant query until its result matches (by default: is not empty), and return it."""
        seen: list[dict[str, Any]] = []

        def matched() -> bool:
            seen[:] = self.query(expression)
            return bool(matches(seen))

        try:
            wait_until(matched, what=expression)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; result: {seen}") from None
        return seen


class Prometheus(QueryServer):
    """Prometheus with a configuration text, or a configuration file left where it is.

    After a start and after a reload the oldest one takes 5 s, not to be configured, to discover its targets.
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
            # Of a hidden flag: 5 s otherwise, before the first scrape of every server.
            "--scrape.discovery-reload-interval=100ms",
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


def storing_native_histograms(config: str) -> tuple[list[str], str]:
    """Flags and a configuration with which the Prometheus at hand stores native histograms: from 3.8 on it is a setting."""
    if version("prometheus") < (3, 8):
        return ["--enable-feature=native-histograms"], config
    settings: dict[str, Any] = yaml.safe_load(config)
    settings["global"] = {**(settings.get("global") or {}), "scrape_native_histograms": True}
    return [], yaml.safe_dump(settings, sort_keys=False)


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

    def import_series(self, series: Iterable[Mapping[str, Any]]) -> None:
        """Store series: `metric` (labels), `values`, and `timestamps` in milliseconds."""
        fetch(f"{self.url}/api/v1/import", "\n".join(map(json.dumps, series)).encode())
        self.flush()

    def flush(self) -> None:
        """Make everything that was accepted visible to queries, which otherwise takes some seconds."""
        fetch(f"{self.url}/internal/force_flush")


class VMAgent(Process):
    """vmagent, which scrapes and sends to a VictoriaMetrics."""

    name = "vmagent"
    ready_path = "/health"

    def __init__(self, folder: Path, config: str, server: str) -> None:
        super().__init__(folder)
        self.server = server
        (folder / "scrape.yml").write_text(config, encoding="utf-8")

    def command(self) -> list[str]:
        return [
            program("vmagent"),
            f"-promscrape.config={self.folder / 'scrape.yml'}",
            "-promscrape.config.strictParse=false",
            f"-remoteWrite.url={self.server}/api/v1/write",
            f"-remoteWrite.tmpDataPath={self.folder / 'unsent'}",
            "-remoteWrite.flushInterval=250ms",
            "-remoteWrite.retryMinInterval=250ms",
            "-remoteWrite.retryMaxInterval=1s",
            "-memory.allowedBytes=256MB",
            f"-httpListenAddr={self.address}",
        ]


class VMAlert(Process):
    """vmalert with a file of rules, reading from and writing to a VictoriaMetrics."""

    name = "vmalert"
    ready_path = "/health"

    def __init__(
        self, folder: Path, rules: Path, server: str, *, alertmanager: str | None = None, flags: Sequence[str] = ()
    ) -> None:
        super().__init__(folder)
        self.rules, self.server, self.alertmanager, self.flags = rules, server, alertmanager, flags

    def command(self) -> list[str]:
        return [
            program("vmalert"),
            f"-rule={self.rules}",
            f"-datasource.url={self.server}",
            f"-remoteWrite.url={self.server}",
            "-remoteWrite.flushInterval=1s",
            "-rule.evalDelay=0s",
            f"-notifier.url={self.alertmanager}" if self.alertmanager else "-notifier.blackhole",
            f"-httpListenAddr={self.address}",
            *self.flags,
        ]


class Agent(Process):
    """Prometheus as an agent, which scrapes and sends."""

    name = "prometheus"
    ready_path = "/-/ready"

    def __init__(self, folder: Path, config: str, to: str) -> None:
        super().__init__(folder)
        self.flags, config = storing_native_histograms(config)
        settings = yaml.safe_load(config)
        del settings["rule_files"], settings["alerting"]
        soon = {"batch_send_deadline": "250ms"}
        settings["remote_write"] = [{"url": to, "send_native_histograms": True, "queue_config": soon}]
        self.config = folder / "agent.yml"
        self.config.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def command(self) -> list[str]:
        return [
            program("prometheus"),
            "--agent",
            "--enable-feature=created-timestamp-zero-ingestion",
            f"--config.file={self.config}",
            f"--storage.agent.path={self.folder / 'data'}",
            f"--web.listen-address={self.address}",
            "--scrape.discovery-reload-interval=100ms",
            *self.flags,
        ]
