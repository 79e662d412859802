"""``otel-metrics doctor``: look at a deployment, and say what is wrong, why it matters and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.padding import Padding

from otel_metrics.cli import argument_types, server_option, terminal
from otel_metrics.cli.checks import CHECKS, CannotLookError, Deployment, NothingToSeeError
from otel_metrics.errors import ConfigurationError
from otel_metrics.querying.client import Access
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from otel_metrics.cli.checks import Check

HEALTHY: Final = "healthy"
FOUND: Final = "found"
NOT_LOOKED: Final = "cannot look"
NOTHING: Final = "does not apply"

_STYLES: Final = {HEALTHY: "green", FOUND: "bold red", NOT_LOOKED: "yellow", NOTHING: "dim"}
_STATUS: Final = {HEALTHY: 0, NOTHING: 0, FOUND: 1, NOT_LOOKED: 2}


@dataclass(frozen=True, slots=True)
class Result:
    """What a check gave: its state, and what is wrong, or why it could not look."""

    check: Check
    state: str
    findings: tuple[str, ...] = ()


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "doctor",
        help="look for what is wrong with a deployment",
        description=f"{__doc__} The exit status is 0 if all is well, 1 if something is wrong, 2 if what was given cannot be looked at. "
        "Without any address: the Prometheus at http://localhost:9090.",
    )
    command.add_argument(
        "--endpoint",
        action="append",
        default=[],
        type=argument_types.server,
        metavar="URL",
        help="a process, such as http://localhost:9464/metrics; may be given again",
    )
    command.add_argument(
        "--prometheus",
        type=argument_types.server,
        metavar="URL",
        help="the server (default: OTM_PROMETHEUS_URL); credentials come from OTM_PROMETHEUS_*",
    )
    command.add_argument(
        "--root", type=argument_types.folder, metavar="FOLDER", help="folder with rendered files, to look at these, too"
    )
    argument_types.add_by(command, "the labels that rules and dashboards were rendered with")
    command.add_argument("--format", choices=("text", "json"), default="text")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look, and say what was found."""
    settings = Settings.from_env()
    if arguments.root and not arguments.root.is_dir():
        raise ConfigurationError(f"--root: {arguments.root} is no folder")
    server = arguments.prometheus or settings.prometheus_url
    if not (server or arguments.endpoint or arguments.root):
        server = server_option.DEFAULT_URL
    deployment = Deployment(
        tuple(arguments.endpoint),
        server and server.rstrip("/"),
        arguments.root and arguments.root.resolve(),
        argument_types.by(arguments),
        Access.of(settings),
        settings.prometheus_timeout,
    )
    results = list(_results(deployment))
    if arguments.format == "json":
        terminal.print_json(list(map(_flat, results)))
    else:
        _show(results)
    states = {result.state for result in results}
    return _STATUS[FOUND] if FOUND in states else max(_STATUS[state] for state in states)


def _results(deployment: Deployment) -> Iterator[Result]:
    for check in CHECKS:
        if not any(getattr(deployment, part) for part in check.needs):
            continue
        findings: list[str] = []
        state, unseen = HEALTHY, ""
        try:
            findings.extend(check.look(deployment))  # what it gave before it failed is kept
        except CannotLookError as error:
            state, unseen = NOT_LOOKED, str(error)
        except (
            AttributeError,
            IndexError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:  # another server than one would think
            state, unseen = NOT_LOOKED, f"an answer that cannot be read: {error!r}"
        except NothingToSeeError as error:
            state, unseen = NOTHING, str(error)
        yield Result(check, FOUND if findings else state, tuple(filter(None, (*findings, unseen))))


def _show(results: Sequence[Result]) -> None:
    for result in results:
        terminal.say(
            terminal.plain(f"{result.state:<14}", _STYLES[result.state]),
            terminal.plain(f"{result.check.name}:", "bold"),
            terminal.plain(result.check.question, "dim"),
        )
        told = [("", finding) for finding in result.findings]
        if result.state == FOUND:
            told += [("Why: ", result.check.why), ("Do:  ", result.check.cure)]
        for head, line in told:
            text = terminal.plain(head, "bold").append_text(terminal.plain(line, longest=1000))
            terminal.console.print(Padding(text, (0, 0, 0, 15), expand=False))
    found, unseen = (sum(result.state == state for result in results) for state in (FOUND, NOT_LOOKED))
    also = f"; {unseen} could not be looked at" if unseen else ""
    asked = terminal.counted(len(results), "question")
    terminal.say(f"{asked} asked; something is wrong about {found or 'none'} of them{also}.")


def _flat(result: Result) -> dict[str, object]:
    check = result.check
    cause = {"why": check.why, "cure": check.cure} if result.state == FOUND else {}
    return {
        "check": check.name,
        "question": check.question,
        "state": result.state,
        "findings": list(result.findings),
        **cause,
    }
