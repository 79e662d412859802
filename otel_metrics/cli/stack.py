"""``otel-metrics stack``: Prometheus and Alertmanager as plain processes with the shipped configuration."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import data_files, files, render, service_levels
from otel_metrics.cli import argument_types, processes, server_config, terminal
from otel_metrics.errors import ConfigurationError
from otel_metrics.promql import PROMETHEUS, of_prometheus

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_RETENTION: Final = "400d"
"""As in docker-compose.yml: the daily table compares weeks, and a year is cheap."""

_APPLICATION: Final = "localhost:9464"
_LOOK: Final = 0.5
_ON_FEATURES: Final = ("recording.yml", "feature_alerts.yml")
_NOBODY: Final = "http://alert-receiver.invalid/"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "stack",
        help="run Prometheus and Alertmanager without containers",
        description=f"{__doc__} They listen on loopback and end on Ctrl-C. The programs come from PATH, from the folder in "
        "OTM_SERVERS, or from the project's cache, which `make servers` fills.",
    )
    argument_types.add_root(command)
    command.add_argument(
        "--application",
        type=argument_types.target,
        action="append",
        metavar="HOST:PORT",
        help="a process of the application to scrape; may be given again (default: localhost:9464)",
    )
    command.add_argument(
        "--job", metavar="NAME", help="what Prometheus calls the application (default: as in prometheus/prometheus.yml)"
    )
    command.add_argument(
        "--state",
        type=argument_types.folder,
        metavar="FOLDER",
        help="where their data are kept (default: ~/.local/state/otel-metrics, or otel-metrics in XDG_STATE_HOME)",
    )
    command.add_argument(
        "--retention",
        type=argument_types.duration,
        default=_RETENTION,
        metavar="TIME",
        help="how long Prometheus keeps what it has, such as 90d or 5y; older imported history is deleted (default: %(default)s)",
    )
    for server, port in (("prometheus", 9090), ("alertmanager", 9093)):
        command.add_argument(
            f"--{server}-port", type=argument_types.port, default=port, metavar="PORT", help="default: %(default)s"
        )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run both until Ctrl-C or until one of them ends."""
    root = data_files.root(arguments.root)
    state = (arguments.state or _state()).resolve()
    applications = arguments.application or [_APPLICATION]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with processes.locked(state):
        alerts = alertmanager(
            processes.required("alertmanager", root), root, state / "alertmanager", port=arguments.alertmanager_port
        )
        metrics = prometheus(
            processes.required("prometheus", root),
            root,
            state / "prometheus",
            applications=applications,
            job=arguments.job,
            port=arguments.prometheus_port,
            alerts=f"{processes.HOST}:{arguments.alertmanager_port}",
            retention=arguments.retention,
        )
        receiver = _receiver(state / "alertmanager")
        try:
            with alerts, metrics:
                terminal.say("Prometheus:  ", metrics.url)
                terminal.say("Alertmanager:", alerts.url)
                terminal.say("Scraping:    ", ", ".join(applications))
                terminal.say("Alerts go to the webhook whose address is in", receiver)
                terminal.say("State:       ", state)
                terminal.say("Ctrl-C ends both.", style="dim")
                while alerts.running and metrics.running:
                    time.sleep(_LOOK)
                ended = alerts if not alerts.running else metrics
                raise processes.ServerError(f"{ended.name} ended by itself; see {ended.log}")
        except KeyboardInterrupt:
            terminal.say("Stopped.")
            return 0


def _receiver(folder: Path) -> Path:
    """Return the file with the address that alerts are sent to; a new one holds a placeholder, as that of `make up`."""
    file = folder / "alert_webhook_url"
    if not file.exists():
        files.write(file, f"{_NOBODY}\n", below=folder, mode=files.PRIVATE)
    if file.read_text(encoding="utf-8").strip() == _NOBODY:
        terminal.say("Alerts go nowhere yet: write your receiver's address into", file, style="yellow")
    return file


def prometheus(
    program: Path,
    root: Path,
    folder: Path,
    *,
    applications: Sequence[str],
    port: int,
    job: str | None = None,
    alerts: str | None = None,
    interval: str | None = None,
    haste: float = 1.0,
    retention: str = _RETENTION,
) -> processes.Server:
    """Return Prometheus, not yet started, with the shipped rules and jobs, its data in ``folder``.

    ``haste`` is how much faster time passes to the rules that judge features.
    """
    own = f"{processes.HOST}:{port}"
    config = folder / "prometheus.yml"
    version = processes.supported("prometheus", program)
    text = server_config.prometheus(
        root / "prometheus" / "prometheus.yml",
        version=version,
        rules=_rules(version, root, folder, haste),
        retention=retention,
        addresses={"prometheus": own},
        applications=applications,
        job=job,
        alertmanager=alerts,
        interval=interval,
    )
    files.write(config, text, below=folder.parent, mode=files.PRIVATE)
    arguments = [
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        *server_config.prometheus_flags(version, retention),
    ]
    return processes.Server(program, arguments, port=port, folder=folder)


def _rules(version: tuple[int, ...], root: Path, folder: Path, haste: float) -> Path | None:
    """Write the rules for a Prometheus that does not understand the shipped ones, or in ``haste``, and return their folder."""
    dialect = of_prometheus(version)
    if dialect is PROMETHEUS and haste == 1:
        return None
    rules = folder / "rules"
    for path, content in render.files(dialect, levels=service_levels.below(root)).items():
        if path.startswith(f"{render.RULES}/"):
            name = Path(path).name
            text = server_config.hastened(content, haste) if name in _ON_FEATURES and haste != 1 else content
            files.write(rules / name, text, below=folder.parent, mode=files.PRIVATE)
    return rules


def alertmanager(program: Path, root: Path, folder: Path, *, port: int) -> processes.Server:
    """Return Alertmanager, not yet started, with the shipped routes, its data and secrets in ``folder``."""
    processes.supported("alertmanager", program)
    config = folder / "alertmanager.yml"
    text = server_config.alertmanager(root / "prometheus" / "alertmanager.yml", folder)
    files.write(config, text, below=folder.parent, mode=files.PRIVATE)
    # Alone on this machine: without an address it does not look for a cluster.
    arguments = [f"--config.file={config}", f"--storage.path={folder / 'data'}", "--cluster.listen-address="]
    return processes.Server(program, arguments, port=port, folder=folder)


def _state() -> Path:
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "otel-metrics"
    except RuntimeError:  # as in containers, whose users nobody has registered
        raise ConfigurationError("there is no home directory: say with --state where the data are kept") from None
