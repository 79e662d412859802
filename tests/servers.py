"""The real servers of the tests: started on free loopback ports, awaited, queried, stopped.

`make servers` puts the programs in place. Tests take the `servers` fixture (or `session_servers`, shared by a whole
run) and call its methods; whatever was started is stopped at the end, and its log is shown when the test fails.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from tests.engines import (
    Alertmanager,
    Prometheus,
    QueryServer,
    VictoriaMetrics,
    routing_to,
    scraping,
    storing_native_histograms,
)
from tests.processes import DEADLINE, ROOT, Process, fetch, free_port, program, promtool, version, wait_until
from tests.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

__all__ = [
    "DEADLINE",
    "ROOT",
    "Alertmanager",
    "Process",
    "Prometheus",
    "QueryServer",
    "Servers",
    "VictoriaMetrics",
    "Webhook",
    "fetch",
    "free_port",
    "program",
    "promtool",
    "routing_to",
    "scraping",
    "version",
    "wait_until",
]


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
        native: bool = False,
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
            native: store native histograms; only with a configuration that is text.
            features: for `--enable-feature`, such as `exemplar-storage`.
            flags: further arguments.
            data: an existing storage folder, such as one filled by promtool.
        """
        if config is None:
            config = scraping(targets, interval=interval, rules=rules, alertmanagers=alertmanagers)
        flags = [*(f"--enable-feature={feature}" for feature in features), *flags]
        if native:
            assert isinstance(config, str)
            more, config = storing_native_histograms(config)
            flags += more
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

    def started(self, kind: Callable[..., _P], *arguments: Any, **options: Any) -> _P:
        """Start a server of any other kind, which is made with a folder of its own."""
        return self._started(kind(self._new_folder(kind.__name__.lower()), *arguments, **options))

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
