"""What getters do while the server that they ask cannot answer."""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import schedule

from otel_metrics.errors import QueryError, QueryTimeoutError, UnreachableError
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.querying.conformance import deviations, returned_by
from tests.querying.fake import failure, replies, serving, success

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.querying.fake import Answer, Handler, Server


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def runtime(server: Server) -> Iterator[Runtime]:
    with closing(Runtime(Settings(prometheus_url=server.url, prometheus_timeout=0.5))) as found:
        yield found


@pytest.mark.parametrize(
    "answer",
    [replies(503, "busy"), replies(401), replies(200, "<html>"), failure(422, "execution"), failure(503, "timeout")],
    ids=["unavailable", "denied", "something else", "cannot execute", "gave up"],
)
def test_this_process_answers_and_says_so(server: Server, runtime: Runtime, answer: Answer) -> None:
    server.answers = [answer]
    runtime.advanced.record_error("billing", "Overdrawn")
    runtime.advanced.record_error("billing", "Overdrawn")
    result = runtime.advanced.get_error_stats("billing")
    assert result["total_errors"] == 2
    assert result["source"] == "local"
    (warning,) = result["warnings"]
    assert warning.startswith(server.url)
    assert warning.endswith("; answered from this process alone")
    board = runtime.advanced.get_comprehensive_dashboard()
    assert (board["source"], board["errors"]["total_errors"]) == ("local", 2)
    assert list(deviations(board, returned_by(runtime.advanced.get_comprehensive_dashboard))) == []


def test_the_daily_rows_of_this_process_alone_are_partial(server: Server, runtime: Runtime) -> None:
    server.answers = [replies(502)]
    runtime.advanced.record_performance_metric("billing", "latency", "charge_ms", 12.0)
    (row,) = runtime.advanced.aggregate_daily_metrics()
    assert (row["count"], row["source"], row["partial"], row["complete"]) == (1, "local", True, False)
    assert row["warnings"] == [f"{server.url} cannot answer: HTTP status 502; answered from this process alone"]


def test_the_log_says_it_once_until_the_server_is_back(
    server: Server, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    down, up = replies(500), success()

    def warned() -> int:
        return len([r for r in caplog.records if r.levelno == logging.WARNING and "this process alone" in r.message])

    server.answers = [down]
    runtime.advanced.get_error_stats()
    runtime.advanced.get_error_stats()
    assert warned() == 1
    server.answers = [up]
    assert runtime.advanced.get_error_stats()["source"] == "prometheus"
    server.answers = [down]
    runtime.advanced.get_error_stats()
    assert warned() == 2


def test_the_documented_monitor_outlives_a_server_that_stops(server: Server, runtime: Runtime) -> None:
    """As the documentation has it, but for the interval; `schedule` ends with the first exception of a job."""
    scheduler, boards = schedule.Scheduler(), []

    def monitor_system() -> None:
        dashboard = runtime.advanced.get_comprehensive_dashboard(hours=1)
        if dashboard["errors"]["total_errors"] > 10:
            raise AssertionError("no errors were recorded")
        boards.append(dashboard["source"])

    def run() -> None:
        for job in scheduler.jobs:
            job.run()  # type: ignore[no-untyped-call]

    def hanging_up(handler: Handler) -> None:
        handler.close_connection = True

    scheduler.every(5).minutes.do(monitor_system)
    run()
    server.answers = [hanging_up]
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(120)
    assert not thread.is_alive()
    assert boards == ["prometheus", "local"]


@pytest.mark.parametrize(
    ("answer", "error"), [(replies(503), QueryError), (failure(503, "timeout"), QueryTimeoutError)]
)
def test_who_asks_for_it_gets_the_error(server: Server, answer: Answer, error: type[QueryError]) -> None:
    server.answers = [answer]
    settings = Settings(prometheus_url=server.url, prometheus_unavailable="raise")
    with closing(Runtime(settings)) as runtime, pytest.raises(error):
        runtime.advanced.get_comprehensive_dashboard()


def test_a_time_out_is_caught_as_what_it_is_and_as_unreachable() -> None:
    assert issubclass(QueryTimeoutError, TimeoutError)
    assert issubclass(QueryTimeoutError, UnreachableError)
