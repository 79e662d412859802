"""``otel-metrics render``: write the rules and dashboards that the catalogue yields, or check that they are up to date.

A folder given with ``--root`` becomes complete: configuration of the servers that it lacks is copied there, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from otel_metrics.assets import data_files, kubernetes, render, service_levels
from otel_metrics.assets.files import write
from otel_metrics.assets.links import SHIPPED, Links
from otel_metrics.cli import argument_types, terminal
from otel_metrics.errors import ConfigurationError
from otel_metrics.promql import DIALECTS, PROMETHEUS, Histograms

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser("render", help="write rules and dashboards from the catalogue", description=__doc__)
    argument_types.add_root(command)
    command.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a file is not what would be written"
    )
    command.add_argument(
        "--dialect",
        choices=DIALECTS,
        help="; ".join(f"{dialect.name}: {dialect.server}" for dialect in DIALECTS.values())
        + f" (default: {PROMETHEUS.name}; with --format {kubernetes.FOLDER} {kubernetes.DIALECT.name})",
    )
    command.add_argument(
        "--histograms",
        choices=[kind.value for kind in Histograms],
        help="what the server stores (default: native, where it can)",
    )
    argument_types.add_by(
        command,
        "labels that rules, alerts and dashboards keep apart besides job, such as env,cluster; all series must have them",
    )
    command.add_argument(
        "--grafana-url",
        type=argument_types.link,
        default=SHIPPED.grafana,
        metavar="URL",
        help="for links (default: %(default)s)",
    )
    command.add_argument(
        "--runbook-url",
        type=argument_types.link,
        metavar="URL",
        help="page that has the runbook, to which '#' and the alert's name in small letters are added "
        "(default: the dashboard Runbook)",
    )
    command.add_argument(
        "--service-levels",
        type=Path,
        metavar="FILE",
        help=f"what users may expect: a file of ours, of Sloth or of OpenSLO (default: {service_levels.FILE} below the root)",
    )
    command.add_argument(
        "--format",
        choices=("files", kubernetes.FOLDER),
        default="files",
        help="kubernetes: objects for the Prometheus Operator and Grafana's sidecar, in kubernetes/ (default: %(default)s)",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write, or check."""
    usual = kubernetes.DIALECT if arguments.format == kubernetes.FOLDER else PROMETHEUS
    dialect, links = DIALECTS[arguments.dialect or usual.name], Links(arguments.grafana_url, arguments.runbook_url)
    by = argument_types.by(arguments)
    if arguments.histograms:
        try:
            dialect = dialect.storing(Histograms(arguments.histograms))
        except ValueError as error:
            raise ConfigurationError(f"--histograms: {error}") from None

    def expected(root: Path) -> Mapping[str, str]:
        return render.files(dialect, links, by, _levels(arguments, root))

    if arguments.format == kubernetes.FOLDER:
        if arguments.root is None:
            raise ConfigurationError("--format kubernetes is written to a folder of your own; name it with --root")
        root = arguments.root.resolve()
        return _kubernetes(arguments, root, kubernetes.files(expected(root)))
    if not arguments.check:
        root = data_files.folder_to_write(arguments.root)
        files = expected(root)
        for path in (*data_files.copy_missing(root, dialect.name), *render.write(root, files)):
            terminal.say("wrote", path.relative_to(root))
        return 0
    root = data_files.root(arguments.root)
    return _told([path.relative_to(root) for path in render.check(root, expected(root))])


def _kubernetes(arguments: argparse.Namespace, root: Path, generated: Mapping[str, str]) -> int:
    drifted = [
        path
        for path, text in generated.items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]
    if arguments.check:
        return _told(drifted)
    missing = [path for path in kubernetes.BY_HAND if not (root / path).exists()]
    for path in (*missing, *drifted):
        write(root / path, {**kubernetes.BY_HAND, **generated}[path], below=root)
        terminal.say("wrote", path)
    return 0


def _told(drifted: Sequence[object]) -> int:
    for path in drifted:
        terminal.say("not what `otel-metrics render` writes:", path, style="red")
    return 1 if drifted else 0


def _levels(arguments: argparse.Namespace, root: Path) -> service_levels.ServiceLevels:
    given: Path | None = arguments.service_levels
    return service_levels.read(given) if given else service_levels.below(root)
