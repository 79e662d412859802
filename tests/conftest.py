"""Fixtures that every test may ask for."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from servers import version_of  # scripts/servers.py
from tests.servers import Servers, program

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.receiver import Receiver


settings.register_profile("suite", deadline=None)
"""A machine that is busy for a moment is no fault of what is tested."""
settings.load_profile("suite")


def pytest_configure() -> None:
    """Let the programs that tests start be interrupted, also where a shell in the background has us ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    """Say which servers are used: those in OTM_SERVERS, or what is at hand."""
    told = []
    for name in ("prometheus", "alertmanager", "victoria-metrics"):
        try:
            told.append(f"{name} {version_of(Path(program(name)))}")
        except RuntimeError as error:
            told.append(str(error))
    return [f"servers: {', '.join(told)}"]


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Real servers for one test."""
    with contextlib.closing(Servers(tmp_path_factory.mktemp("servers"))) as started:
        yield started


@pytest.fixture(scope="session")
def session_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Real servers that stay up for the whole run; for module- and session-scoped fixtures to build on."""
    with contextlib.closing(Servers(tmp_path_factory.mktemp("servers"))) as started:
        yield started


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of OTLP; needs that extra."""
    from tests.receiver import Receiver

    with contextlib.closing(Receiver()) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the servers in the report of a failed test."""
    report = yield
    if report.failed:
        fixtures: dict[str, Any] = getattr(item, "funcargs", {})
        for started in fixtures.values():
            if isinstance(started, Servers):
                report.sections += [(f"log of {server.name}", server.tail()) for server in started.running]
    return report
