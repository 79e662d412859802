"""Every question of the cookbook, asked of real servers about calls whose answers can be counted by hand."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from otel_metrics.promql import PROMETHEUS_3_5, VICTORIAMETRICS, Histograms
from otel_metrics.querying.cookbook import COOKBOOK
from otel_metrics.querying.questions import inquiry_of
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.dialects import AT_HAND, START_TIMES
from tests.querying.history import MIDNIGHT, Clock, expose, started, write
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_metrics.facade.advanced import AdvancedMetrics
    from otel_metrics.promql import Dialect
    from otel_metrics.querying.source import QueryTable
    from tests.servers import Servers

HOUR, DAY = 3600, 86_400
NOW = MIDNIGHT + 12 * HOUR
HOURS: Final = 6
"""How long each process lives; it records once in each of them."""

SCRAPES: Final = 240
SECONDS: Final = [0.1, 0.2, 0.3, 0.4, 0.5, 1.4]
"""Durations of search, four in each hour."""
SCORES: Final = [1.0, 0.9, 0.8, 0.8, 0.5, 0.2]
"""Its satisfaction: the slower, the less."""


def record(advanced: AdvancedMetrics, hour: int) -> None:
    """Record what happens today in an hour."""
    for _ in range(4):
        advanced.record_performance_metric("search", "response_time", "find", SECONDS[hour], "s", "production")
        advanced.record_performance_metric("chat", "response_time", "reply", 0.05, "s", "production")
    advanced.record_performance_metric("chat", "response_time", "reply", 1.05, "s", "staging")
    advanced.record_satisfaction("search", "accuracy", SCORES[hour], scale="0-1")
    advanced.record_satisfaction("chat", "speed", 0.9, scale="0-1")
    for n in range(10):
        advanced.record_feature_usage("search", "find", 10, success=n > 0)
    advanced.record_feature_usage("chat", "reply", success=True)
    advanced.record_feature_usage("chat", "reply", success=None)
    advanced.record_error("search", "Timeout", "error", recovery_attempted=True, recovery_successful=hour > 1)
    advanced.record_error("search", "Timeout", "error")
    advanced.record_error("chat", "Filtered", "warning", recovery_attempted=True, recovery_successful=False)
    advanced.record_learning_effectiveness("search", "ranking", accuracy=0.7, confidence=0.95, sample_size=10)
    advanced.record_learning_effectiveness("chat", "intents", accuracy=0.9, confidence=0.8, sample_size=10)
    advanced.record_optimization_impact("search", "cache", "latency", 10, 5)
    advanced.record_optimization_impact("search", "rerank", "latency", 10, 15)
    advanced.record_resource_utilization("memory", "cache", 80)


def record_last_week(advanced: AdvancedMetrics) -> None:
    """Record what happened in an hour of the same day of last week: half as slow, all were satisfied, twice the errors."""
    for seconds in (0.2, 0.2, 0.3):
        advanced.record_performance_metric("search", "response_time", "find", seconds, "s", "production")
    advanced.record_satisfaction("search", "accuracy", 1.0, scale="0-1")
    for _ in range(4):
        advanced.record_error("search", "Timeout")


ANSWERS: Final[dict[str, Mapping[str, float]]] = {
    "slowest-metrics": {"search response_time find": 1.4, "chat response_time reply": 1.05},
    "duration-by-context": {
        "search production": (0.1 + 0.2 + 0.3 + 0.4 + 0.5 + 1.4) / 6,
        "chat production": 0.05,
        "chat staging": 1.05,
    },
    "slow-share": {"search": 1 / 6, "chat": 1 / 5},
    "satisfaction-by-type": {"search accuracy": 0.7, "chat speed": 0.9},
    "compare-features": {
        "search uses": 60,
        "search failed share": 0.1,
        "search errors": 12,
        "search satisfaction": 0.7,
        "search average seconds": 2.9 / 6,
        "chat uses": 12,
        "chat failed share": 0,
        "chat errors": 6,
        "chat satisfaction": 0.9,
        "chat average seconds": 0.25,
    },
    "most-used-actions": {"search find": 60, "chat reply": 12},
    "failing-actions": {"search find": 0.1},
    "frequent-errors": {"search Timeout": 12, "chat Filtered": 6},
    "errors-per-use": {"search": 20, "chat": 50},
    "recovery-rate": {"search Timeout": 4 / 6, "chat Filtered": 0},
    "learning-quality": {"search ranking": 0.7, "chat intents": 0.9},
    "overconfident-learning": {"search ranking": 0.25, "chat intents": -0.1},
    "grown-by-optimization": {"search rerank latency": 1.5},
    "fullest-resources": {"memory cache": 0.8, "disk data": 0.6},
}
"""Answers that do not depend on when in the time in question something happened."""

OVER_TIME: Final[dict[str, Mapping[str, float]]] = {
    "slower-than-last-week": {"search": (2.9 / 6) / (0.7 / 3)},
    "satisfaction-against-last-week": {"search": -0.3},
    "satisfaction-and-duration": {"search": statistics.correlation(SCORES, SECONDS)},
    "silent-features": {"fax": 18},
    "errors-against-last-week": {"search": 12 - 24, "chat": 6},
    "resources-full-soon": {"disk data": 24},
}

CURVES: Final[dict[str, Mapping[str, list[float]]]] = {
    "duration-trend": {"search": SECONDS},
    "satisfaction-trend": {"search": SCORES, "chat": [0.9] * 6},
    "use-trend": {"search": [10] * 6, "chat": [2] * 6},
    "error-trend": {"error": [2] * 6, "warning": [1] * 6},
}

PERCENTILES: Final = {"slowest-metrics", "duration-trend"}
LIVE: Final = "unhappy-interactions"
"""Promtool writes no exemplars into the past."""


@dataclass
class Subject:
    """A server, and what asks it."""

    runtime: Runtime
    now: float
    hours: float

    def ask(self, name: str, **options: object) -> QueryTable:
        inquiry = inquiry_of(name, self.hours, self.now, **options)
        return self.runtime.source.ask(inquiry)

    @property
    def dialect(self) -> Dialect:
        source, inquiry = self.runtime.source, inquiry_of("frequent-errors", self.hours, self.now)
        return source._questions._dialect_of(inquiry)  # type: ignore[attr-defined, no-any-return]


def live(born: float, name: str, lines: defaultdict[str, list[str]]) -> None:
    """Let a process live from ``born`` on, and write down what scrapes see: first, as with start times, zeros."""
    clock = Clock()
    clock.now = born
    seen: defaultdict[str, list[str]] = defaultdict(list)
    with pytest.MonkeyPatch.context() as patch, closing(started(clock, name, patch)) as runtime:
        for scrape in range(HOURS * HOUR // SCRAPES + 1):
            clock.now = born + scrape * SCRAPES
            hour, after = divmod(scrape * SCRAPES, HOUR)
            if after == 3 * SCRAPES:
                happen(runtime.advanced, name, hour)
            if name == "today":
                used = 50 + 10 * scrape * SCRAPES / (HOURS * HOUR)
                runtime.advanced.record_resource_utilization("disk", "data", used)
            expose(runtime, clock.now, seen)
    for family, samples in seen.items():
        if family.endswith(("_total", "_bucket", "_sum", "_count")):
            known = {sample.rpartition("} ")[0]: None for sample in samples}
            lines[family] += [f"{each}}} 0 {born + 2 * SCRAPES:.3f}\n" for each in known]
        lines[family] += samples


def happen(advanced: AdvancedMetrics, process: str, hour: int) -> None:
    if process == "today":
        record(advanced, hour)
    elif process == "last-week":
        record_last_week(advanced)
    else:
        for _ in range(3):
            advanced.record_feature_usage("fax", "send", success=True)
            advanced.record_feature_usage("search", "find", success=True)


@pytest.fixture(scope="module")
def histories(session_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Subject]]:
    """A day, its yesterday and the same day of last week, in Prometheus and in VictoriaMetrics."""
    lines: defaultdict[str, list[str]] = defaultdict(list)
    live(NOW - 7 * DAY - HOURS * HOUR, "last-week", lines)
    live(NOW - DAY - HOURS * HOUR - HOUR, "yesterday", lines)
    live(NOW - HOURS * HOUR, "today", lines)
    data = write(lines, tmp_path_factory.mktemp("cookbook"))
    prometheus = session_servers.prometheus(data=data, flags=["--storage.tsdb.retention.time=100y"])
    victoria = session_servers.victoria_metrics()
    every = (sample for samples in lines.values() for sample in samples)
    victoria.import_text("".join(sample.replace(".000\n", "000\n") for sample in every))
    with (
        closing(Runtime(Settings(prometheus_url=prometheus.url, prometheus_unavailable="raise"))) as one,
        closing(Runtime(Settings(prometheus_url=prometheus.url, prometheus_unavailable="raise"))) as older,
        closing(Runtime(Settings(prometheus_url=victoria.url, prometheus_unavailable="raise"))) as other,
    ):
        older.source._dialect = PROMETHEUS_3_5  # type: ignore[attr-defined]
        yield {
            "prometheus": Subject(one, NOW, 24),
            "prometheus-3.5": Subject(older, NOW, 24),
            "victoriametrics": Subject(other, NOW, 24),
        }


@pytest.fixture(params=["prometheus", "prometheus-3.5", "victoriametrics"])
def history(request: pytest.FixtureRequest, histories: dict[str, Subject]) -> Subject:
    return histories[request.param]


@pytest.fixture(scope="module")
def native(session_servers: Servers) -> Iterator[Subject]:
    """The same calls, all in one moment, in a Prometheus that stores native histograms and exemplars."""
    with closing(Runtime(Settings(strict=True))) as runtime:
        endpoint = runtime.serve(port=0)
        server = session_servers.prometheus(
            targets=[endpoint.url], native=True, features=["exemplar-storage", START_TIMES]
        )
        for hour in range(HOURS):
            record(runtime.advanced, hour)
        runtime.advanced.record_resource_utilization("disk", "data", 60)
        server.wait_for("sum(feature_usage_total)", lambda rows: rows and rows[0]["value"][1] == "72")

        def arrived(interaction: str, score: float, other: float) -> bool:
            """Record scores whose average is what it was, until a server has seen the id: a call that finds others at work has none.

            All are of one series: Prometheus' parser reads exemplars of the first native histogram of a family only.
            """
            runtime.advanced.record_satisfaction("search", "accuracy", score, scale="0-1", interaction_id=interaction)
            runtime.advanced.record_satisfaction("search", "accuracy", other, scale="0-1")
            return interaction in str(
                server.api("query_exemplars", query="feature_satisfaction_score", start=0, end=time.time())
            )

        wait_until(lambda: arrived("talk-1", 0.8, 0.6), what="an exemplar")
        wait_until(lambda: arrived("talk-2", 0.6, 0.8), what="another one")
        # The last scrape may have come between the two scores of a pair.
        server.wait_for('sum(histogram_count(feature_satisfaction_score{feature="search"})) % 2 == 0')
        with closing(Runtime(Settings(prometheus_url=server.url, prometheus_unavailable="raise"))) as asking:
            yield Subject(asking, time.time(), 1)


def words(labels: Mapping[str, str]) -> str:
    order = [
        "feature",
        "resource_type",
        "severity",
        "metric_category",
        "metric_name",
        "action",
        "error_type",
        "optimization_id",
    ]
    return " ".join(labels[name] for name in sorted(labels, key=lambda name: (*order, name).index(name)))


def told(table: QueryTable) -> dict[str, float]:
    return {words(row.labels): row.value for row in table.rows}


def near(name: str, answer: Mapping[str, float], dialect: Dialect) -> object:
    """An answer is exact, but for percentiles: these are as wide as a bucket."""
    estimated = 0.1 if dialect.native else 0.5
    return pytest.approx(answer, rel=estimated if name in PERCENTILES else 1e-9, abs=1e-9)


def test_there_are_twenty_five_and_each_has_an_answer_here() -> None:
    assert len(COOKBOOK) == 25
    assert set(COOKBOOK) == {*ANSWERS, *OVER_TIME, *CURVES, LIVE}


@pytest.mark.parametrize("name", [*ANSWERS, *OVER_TIME])
def test_a_question_is_answered_in_every_dialect(history: Subject, name: str) -> None:
    table = history.ask(name)
    assert told(table) == near(name, {**ANSWERS, **OVER_TIME}[name], PROMETHEUS_3_5.storing(Histograms.CLASSIC))
    assert table.warnings == ()


@pytest.mark.parametrize("name", CURVES)
def test_a_trend_has_one_point_for_each_step(history: Subject, name: str) -> None:
    table = history.ask(name)
    assert table.step == 3600
    assert table.warnings == ()
    for series_words, values in CURVES[name].items():
        found = {row.time: row.value for row in table.rows if words(row.labels) == series_words}
        today = {when: value for when, value in found.items() if when > NOW - HOURS * HOUR}
        expected = {NOW - HOUR * (HOURS - 1 - n): value for n, value in enumerate(values)}
        assert today == near(name, expected, PROMETHEUS_3_5.storing(Histograms.CLASSIC))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_question_is_answered_from_native_histograms(native: Subject, name: str) -> None:
    table = native.ask(name)
    assert told(table) == near(name, ANSWERS[name], AT_HAND)
    assert table.warnings == ()


@pytest.mark.parametrize("name", ["use-trend", "error-trend", "satisfaction-trend", "duration-trend"])
def test_a_trend_of_the_last_minutes_has_everything_in_it(native: Subject, name: str) -> None:
    table = native.ask(name)
    assert table.warnings == ()
    [last] = [
        row.value for row in table.rows if row.time == round(native.now, 3) and words(row.labels) in {"search", "error"}
    ]
    assert last == pytest.approx(
        {"use-trend": 60, "error-trend": 12, "satisfaction-trend": 0.7, "duration-trend": 1.4}[name], rel=0.1
    )


def test_interactions_are_told_worst_first(native: Subject) -> None:
    rows = native.ask("unhappy-interactions").rows
    values = [row.value for row in rows]
    assert values == sorted(values)
    worst, best = rows[0], rows[-1]
    assert worst.value == 0.6
    assert worst.labels == {"feature": "search", "satisfaction_type": "accuracy", "interaction_id": "talk-2"}
    assert (best.value, best.labels["interaction_id"]) == (0.8, "talk-1")
    assert native.ask("unhappy-interactions", feature="chat").rows == []


def test_the_servers_dialect_is_found_out(histories: dict[str, Subject], native: Subject) -> None:
    assert histories["prometheus"].dialect == AT_HAND.storing(Histograms.CLASSIC)
    assert histories["victoriametrics"].dialect == VICTORIAMETRICS
    assert native.dialect == AT_HAND
