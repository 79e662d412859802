"""Windows and days over processes that come, crash and go, read from a real Prometheus: exact to what was exposed."""

from __future__ import annotations

import random
from collections import defaultdict
from contextlib import closing
from datetime import date
from itertools import pairwise
from math import fsum, sqrt
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.querying import plans, shaping
from otel_metrics.querying.client import PrometheusClient
from otel_metrics.querying.prometheus_source import PrometheusSource
from otel_metrics.querying.source import Period
from tests.querying.history import DAY, END, MIDNIGHT, SCRAPES, START, processes, scrapes, simulate, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.querying.history import Process
    from tests.servers import Servers


class Past:
    """The processes that were, and a source that remembers them."""

    def __init__(self, lived: list[Process], client: PrometheusClient) -> None:
        self.processes = lived
        self.client = client
        self.events = [event for process in lived for event in process.events]

    def source(self, now: float) -> PrometheusSource:
        return PrometheusSource(self.client, lambda: now)


@pytest.fixture(scope="module")
def past(session_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    lived, lines = processes(), defaultdict[str, list[str]](list)
    rng = random.Random(2025)
    for process in lived:
        simulate(process, lines, rng)
    data = write(lines, tmp_path_factory.mktemp("history"))
    server = session_servers.prometheus(data=data, flags=["--storage.tsdb.retention.time=100y"])
    with closing(PrometheusClient(server.url)) as client:
        yield Past(lived, client)


HOURS = 3600.0


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (START, END),
        (MIDNIGHT, MIDNIGHT + DAY),
        (MIDNIGHT + 1 * HOURS, MIDNIGHT + 3 * HOURS),
        (MIDNIGHT + 8.9 * HOURS, MIDNIGHT + 9.5 * HOURS),
        (MIDNIGHT + 9.1 * HOURS, MIDNIGHT + 9.2 * HOURS),
        (MIDNIGHT + 9.9 * HOURS, MIDNIGHT + 10.2 * HOURS),
        (MIDNIGHT + 9.9 * HOURS, MIDNIGHT + 21 * HOURS),
        (MIDNIGHT + 12 * HOURS, MIDNIGHT + 12 * HOURS + 300),
        (MIDNIGHT + 12 * HOURS, MIDNIGHT + 12 * HOURS + 1),
        (MIDNIGHT - 1.9 * HOURS, MIDNIGHT + 1.9 * HOURS),
        (START - 5 * DAY, START - 4 * DAY),
    ],
)
def test_a_window_counts_what_was_exposed_in_it(past: Past, start: float, end: float) -> None:
    """Whoever died, was born or was not scraped meanwhile."""
    exposed = [event for event in past.events if start < event.exposed <= end]
    source = past.source(end)
    usage = shaping.usage(source.fetch(plans.usage("chat"), Period(start, end)))
    assert usage["total_usage"] == len(exposed)
    assert usage["successful"] == sum(event.success for event in exposed)
    satisfaction = shaping.satisfaction(source.fetch(plans.satisfaction("chat"), Period(start, end)))
    assert satisfaction["total_responses"] == len(exposed)
    assert satisfaction["satisfied_responses"] == sum(event.stars >= 0.7 for event in exposed)
    if exposed:
        assert usage["avg_duration_ms"] == pytest.approx(fsum(e.milliseconds for e in exposed) / len(exposed), rel=1e-9)
        assert satisfaction["avg_score"] == pytest.approx(fsum(e.stars for e in exposed) / len(exposed), rel=1e-9)


def test_windows_add_up(past: Past) -> None:
    edges = [START, *(MIDNIGHT + hour * HOURS for hour in (-1.5, 0, 0.3, 7, 9.03, 11, 19.99, 24)), END]
    totals = [
        shaping.usage(past.source(end).fetch(plans.usage("chat"), Period(start, end)))["total_usage"]
        for start, end in pairwise(edges)
    ]
    assert sum(totals) == sum(event.exposed <= END for event in past.events)


def test_all_processes_are_searched_if_nothing_tells_which_ones_to(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers, at a higher price: a server that does not hold the metric that processes are known by."""
    source = past.source(MIDNIGHT + DAY)
    period = Period(MIDNIGHT + 8 * HOURS, MIDNIGHT + DAY)
    cheap = shaping.dashboard(source.fetch(plans.dashboard(), period))
    monkeypatch.setattr(PrometheusSource, "_irregular", lambda *_: None)
    dear = shaping.dashboard(source.fetch(plans.dashboard(), period))
    assert dear["usage"]["total_usage"] == cheap["usage"]["total_usage"]
    assert dear["performance"]["categories"]["response_time"] == pytest.approx(
        cheap["performance"]["categories"]["response_time"]
    )


def whole_day(past: Past) -> list[Any]:
    """What of the day was exposed: of processes that lived on everything, of the others what was scraped."""
    return [
        event
        for process in past.processes
        for event in process.events
        if MIDNIGHT <= event.when < MIDNIGHT + DAY and event.exposed <= (min(END, process.died))
    ]


def test_the_day_is_exact_over_everything_exposed(past: Past) -> None:
    rows: dict[tuple[str, str], Mapping[str, Any]] = {
        (row["metric_type"], row["metric_name"]): row
        for row in shaping.daily(past.source(END).day(date(2025, 12, 14)))
        if row["feature"] == "chat"
    }
    events = whole_day(past)
    columns = {
        ("response_time", "reply"): [event.milliseconds for event in events],
        ("usage", "ask"): [event.milliseconds for event in events],
        ("satisfaction", "accuracy"): [event.stars for event in events],
        ("learning", "drift"): [event.milliseconds - 100 for event in events],
    }
    assert set(rows) == set(columns)
    for key, values in columns.items():
        row, count = rows[key], len(values)
        mean = fsum(values) / count
        assert row["count"] == count
        assert row["avg_value"] == pytest.approx(mean, rel=1e-9)
        assert (row["min_value"], row["max_value"]) == pytest.approx((min(values), max(values)), rel=1e-12)
        assert row["stddev"] == pytest.approx(sqrt(fsum((v - mean) ** 2 for v in values) / (count - 1)), rel=1e-9)
        assert row["partial"] is False
        assert row["unit"] == {"response_time": "ms", "usage": "ms", "satisfaction": "ratio", "learning": ""}[key[0]]
        ordered = sorted(values)
        for name, q in (("percentile_50", 0.5), ("percentile_95", 0.95), ("percentile_99", 0.99)):
            exact = ordered[int(q * (count - 1))]
            assert row[name] == pytest.approx(exact, rel=0.6 if key[0] == "learning" else 0.3, abs=0.06), (key, name)
            assert name in row["estimated"]


def test_rows_tell_how_many_processes_they_are_of_and_what_may_be_missing(past: Past) -> None:
    """Two did not live to midnight; one was not scraped around each midnight, of which the first shows as a gap."""
    for row in shaping.daily(past.source(END).day(date(2025, 12, 14))):
        assert (row["instances"], row["complete"]) == (5, False)
        assert row["reason"] == "2 of 5 processes not seen after midnight; 1 of 5 processes not seen for a while"


def test_rows_of_processes_that_were_always_scraped_are_complete(session_servers: Servers, tmp_path: Path) -> None:
    """Two live through both midnights, the third was never asked again after a quiet end: only its own row lacks values."""
    lines = defaultdict[str, list[str]](list)

    scrapes(lines, "one", "ask", MIDNIGHT, MIDNIGHT + DAY + HOURS)
    scrapes(lines, "two", "ask", MIDNIGHT + 5 * HOURS, MIDNIGHT + DAY + HOURS)
    scrapes(lines, "three", "leave", MIDNIGHT, MIDNIGHT + 9 * HOURS)
    scrapes(lines, "four", "pause", MIDNIGHT, MIDNIGHT + 9 * HOURS)
    scrapes(lines, "four", "pause", MIDNIGHT + 10 * HOURS, MIDNIGHT + DAY + HOURS)
    server = session_servers.prometheus(data=write(lines, tmp_path), flags=["--storage.tsdb.retention.time=100y"])
    with closing(PrometheusClient(server.url)) as client:
        table = PrometheusSource(client, lambda: MIDNIGHT + DAY + 2 * HOURS).day(date(2025, 12, 14))
        noon = PrometheusSource(client, lambda: MIDNIGHT + 8 * HOURS).day(date(2025, 12, 14))
    found = {row["metric_name"]: (row["instances"], row["complete"], row["reason"]) for row in shaping.daily(table)}
    assert found == {
        "ask": (2, True, ""),
        "leave": (1, False, "1 of 1 processes not seen after midnight"),
        "pause": (1, False, "1 of 1 processes not seen for a while"),
    }
    unfinished = {row["metric_name"]: (row["instances"], row["complete"], row["reason"]) for row in shaping.daily(noon)}
    assert unfinished["ask"] == (2, False, "the day is not over, or not known in full")


def test_the_running_day_is_marked_partial(past: Past) -> None:
    noon = MIDNIGHT + 12 * HOURS
    rows = shaping.daily(past.source(noon).day(date(2025, 12, 14)))
    exposed = [event for event in past.events if event.when >= MIDNIGHT and event.exposed <= noon]
    assert {row["partial"] for row in rows} == {True}
    assert {row["count"] for row in rows} == {len(exposed)}


def test_right_after_midnight_yesterday_is_complete_and_today_empty(past: Past) -> None:
    moment = MIDNIGHT + DAY + SCRAPES + 90
    yesterday = shaping.daily(past.source(moment).day(date(2025, 12, 14)))
    assert {row["count"] for row in yesterday} == {len(whole_day(past))}
    assert shaping.daily(past.source(MIDNIGHT + DAY + 5).day(date(2025, 12, 15))) == []
