"""``otel-metrics render``: write the rules and dashboards that the catalogue yields, or check that they are up to date.

A folder given with ``--root`` becomes complete: configuration of the servers that it lacks is copied there, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from otel_metrics.assets import data_files, render, scope, service_levels
from otel_metrics.assets.links import SHIPPED, Links
from otel_metrics.cli import argument_types, terminal
from otel_metrics.errors import ConfigurationError
from otel_metrics.promql import DIALECTS, PROMETHEUS, Histograms

if TYPE_CHECKING:
    import argparse


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
        default=PROMETHEUS.name,
        help="; ".join(f"{dialect.name}: {dialect.server}" for dialect in DIALECTS.values())
        + " (default: %(default)s)",
    )
    command.add_argument(
        "--histograms",
        choices=[kind.value for kind in Histograms],
        help="what the server stores (default: native, where it can)",
    )
    command.add_argument(
        "--by",
        default="",
        metavar="LABEL,…",
        help="labels that rules, alerts and dashboards keep apart besides job, such as env,cluster; all series must have them",
    )
    command.add_argument(
        "--grafana-url",
        type=argument_types.base_url,
        default=SHIPPED.grafana,
        metavar="URL",
        help="for links (default: %(default)s)",
    )
    command.add_argument(
        "--runbook-url",
        type=argument_types.base_url,
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
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write, or check."""
    dialect, links = DIALECTS[arguments.dialect], Links(arguments.grafana_url, arguments.runbook_url)
    by = scope.with_labels(name.strip() for name in arguments.by.split(",") if name)
    if arguments.histograms:
        try:
            dialect = dialect.storing(Histograms(arguments.histograms))
        except ValueError as error:
            raise ConfigurationError(f"--histograms: {error}") from None
    if not arguments.check:
        root = data_files.folder_to_write(arguments.root)
        levels = _levels(arguments, root)
        for path in (*data_files.copy_missing(root, dialect.name), *render.write(root, dialect, links, by, levels)):
            terminal.say("wrote", path.relative_to(root))
        return 0
    root = data_files.root(arguments.root)
    drifted = render.check(root, dialect, links, by, _levels(arguments, root))
    for path in drifted:
        terminal.say("not what `otel-metrics render` writes:", path.relative_to(root), style="red")
    return 1 if drifted else 0


def _levels(arguments: argparse.Namespace, root: Path) -> service_levels.ServiceLevels:
    given: Path | None = arguments.service_levels
    return service_levels.read(given) if given else service_levels.below(root)
