"""Day accumulators: exact, and in the right day whatever the clock does."""

from __future__ import annotations

import math
import random
from datetime import datetime, timezone
from queue import Empty
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_metrics.catalogue import DayKey
from otel_metrics.recording import ticker
from otel_metrics.recording.day_totals import Days
from otel_metrics.recording.flusher import Flusher
from otel_metrics.recording.sinks import Batch
from otel_metrics.recording.ticker import Ticker
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("values", "sum_of_values", "sum_of_squares", "min", "max")
KEY = DayKey("shop", "usage", "order", "seconds")
DAY, HOUR = 86_400, 3600


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


class Clock:
    def __init__(self, text: str) -> None:
        self.now = at(text)

    def __call__(self) -> float:
        return self.now


def batch(*values: float) -> Batch:
    return Batch(sorted(values), len(values), values[-1])


@pytest.fixture
def clock() -> Clock:
    return Clock("2024-02-28T12:00:00")


@pytest.fixture
def days(clock: Clock) -> Days:
    return Days(clock)


def seen(days: Days) -> dict[str, list[float]]:
    """What a scrape would see: day -> count and sum."""
    return {labels["day"]: [totals.count, totals.total] for labels, totals in days.observations()}


def daily_samples(runtime: Runtime) -> dict[tuple[str, str], float]:
    """What a scrape sees of the days: (day, name) -> value."""
    return {
        (sample.labels["day"], sample.name): sample.value
        for family in runtime.reader.registry.collect()
        for sample in family.samples
        if sample.name.startswith("feature_daily")
    }


def test_a_day_becomes_the_previous_one_at_midnight_utc(days: Days, clock: Clock) -> None:
    sink = days.sink(KEY)
    sink.fold(batch(1.0, 2.0), clock())
    assert seen(days) == {"current": [2, 3.0]}
    clock.now = at("2024-02-28T23:59:59.999")
    assert seen(days) == {"current": [2, 3.0]}
    clock.now = at("2024-02-29T00:00:00")
    assert seen(days) == {"previous": [2, 3.0]}
    sink.fold(batch(5.0), clock())
    assert seen(days) == {"current": [1, 5.0], "previous": [2, 3.0]}
    clock.now = at("2024-03-01T00:00:00")
    assert seen(days) == {"previous": [1, 5.0]}
    clock.now = at("2024-03-02T00:00:00")
    assert seen(days) == {}


@pytest.mark.parametrize(
    ("last", "first"),
    [
        ("2024-02-28T23:59:59", "2024-02-29T00:00:00"),
        ("2024-02-29T23:59:59", "2024-03-01T00:00:00"),
        ("2025-02-28T23:59:59", "2025-03-01T00:00:00"),
        ("2024-12-31T23:59:59", "2025-01-01T00:00:00"),
        ("2016-12-31T23:59:59", "2017-01-01T00:00:00"),  # with a leap second, which unix time does not have
    ],
)
def test_calendar(last: str, first: str) -> None:
    clock = Clock(last)
    days = Days(clock)
    days.sink(KEY).fold(batch(1.0), clock())
    clock.now = at(first)
    days.sink(KEY).fold(batch(2.0), clock())
    assert seen(days) == {"current": [1, 2.0], "previous": [1, 1.0]}


def test_asleep_over_midnight(days: Days, clock: Clock) -> None:
    """Nobody calls anything at midnight; on waking, yesterday is yesterday."""
    days.sink(KEY).fold(batch(1.0), clock())
    clock.now += 20 * HOUR
    assert seen(days) == {"previous": [1, 1.0]}
    days.sink(KEY).fold(batch(2.0), clock())
    assert seen(days) == {"current": [1, 2.0], "previous": [1, 1.0]}


def test_asleep_for_days(days: Days, clock: Clock) -> None:
    days.sink(KEY).fold(batch(1.0), clock())
    clock.now += 3 * DAY
    days.sink(KEY).fold(batch(2.0), clock())
    assert seen(days) == {"current": [1, 2.0]}


def test_a_clock_that_steps_back_over_midnight(days: Days, clock: Clock) -> None:
    """What is recorded in the repeated minutes of the old day belongs to it, what was recorded before to the new one."""
    sink = days.sink(KEY)
    clock.now = at("2024-02-28T23:59:00")
    sink.fold(batch(1.0), clock())
    clock.now = at("2024-02-29T00:00:30")
    sink.fold(batch(10.0), clock())
    clock.now = at("2024-02-28T23:59:30")
    sink.fold(batch(2.0), clock())
    assert seen(days) == {"current": [2, 3.0]}
    clock.now = at("2024-02-29T00:01:00")
    assert seen(days) == {"current": [1, 10.0], "previous": [2, 3.0]}


def test_a_clock_that_is_wrong_for_a_while(days: Days, clock: Clock) -> None:
    """Set years ahead and back again, as machines without a battery are: the true day is found as it was left."""
    sink = days.sink(KEY)
    sink.fold(batch(1.0), clock())
    true = clock.now
    for wrong in ("2038-01-19T00:00:00", "1970-01-01T00:00:10", "2030-06-01T00:00:00"):
        clock.now = at(wrong)
        sink.fold(batch(100.0), clock())
        clock.now = true
        sink.fold(batch(1.0), clock())
    assert seen(days) == {"current": [4, 4.0]}
    clock.now = true + DAY
    sink.fold(batch(7.0), clock())
    assert seen(days) == {"current": [1, 7.0], "previous": [4, 4.0]}


@pytest.mark.parametrize("wrong_by", [-20_000, -5, 5])
def test_a_clock_that_is_wrong_once_after_days_of_work_forgets_not_today(
    days: Days, clock: Clock, wrong_by: int
) -> None:
    sink = days.sink(KEY)
    for _ in range(6):
        clock.now += DAY
        sink.fold(batch(1.0, 1.0), clock())
    sink.fold(batch(100.0), clock() + wrong_by * DAY)
    sink.fold(batch(1.0), clock())
    assert seen(days) == {"current": [3, 3.0], "previous": [2, 2.0]}


class Night(Clock):
    """Time that passes only while a ticker waits, who wakes a microsecond late, or as late as he is told to oversleep."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.running = 0.0
        self.oversleeps = 0.0

    def rounds(self, tick: Callable[[float], object], monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """Return what a ticker's thread does again and again: tick if it is time to, then wait."""
        made = Ticker(1.0, self, tick)
        monkeypatch.setattr(ticker, "time", self)
        monkeypatch.setattr(made, "_queue", self, raising=False)
        return made._once

    def monotonic(self) -> float:
        return self.running

    def get(self, timeout: float) -> None:
        slept = timeout + max(self.oversleeps, 1e-6)
        self.running, self.now, self.oversleeps = self.running + slept, self.now + slept, 0.0
        raise Empty


MIDNIGHT = at("2024-03-01T00:00:00")


def test_ticks_around_midnight_belong_to_their_own_days(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []
    ticks_and_waits = Night("2024-02-29T23:59:58.500").rounds(ticks.append, monkeypatch)
    for _ in range(5):
        ticks_and_waits()
    assert [tick - MIDNIGHT for tick in ticks] == pytest.approx([-1.5, -0.5, -0.005, 0.995, 1.995], abs=1e-5)


@pytest.mark.parametrize("late", [0.006, 0.3, 1.2, 1800.0, 1.5 * DAY])
def test_what_waits_while_a_process_is_busy_or_stopped_over_midnight_belongs_to_the_day_before(
    late: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: list[float] = []
    night = Night("2024-02-29T23:59:59.200")
    ticks_and_waits = night.rounds(ticks.append, monkeypatch)
    night.oversleeps = late
    for _ in range(3):
        ticks_and_waits()
    assert [tick - MIDNIGHT for tick in ticks] == pytest.approx([-0.8, -0.005, late + 0.995], abs=1e-5)


@pytest.mark.parametrize("step", [0.5, HOUR, 30 * HOUR, -0.5, -HOUR])
def test_a_clock_that_is_set_right_before_midnight_is_believed(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[float] = []
    night = Night("2024-02-29T23:59:59.200")
    ticks_and_waits = night.rounds(ticks.append, monkeypatch)
    ticks_and_waits()
    night.now += step
    ticks_and_waits()
    assert [tick - MIDNIGHT for tick in ticks] == pytest.approx([-0.8, -0.005 + step], abs=1e-5)


def test_each_of_two_uses_around_midnight_counts_in_its_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the record calls, with the ticker's own ticks."""
    monkeypatch.setattr(Flusher, "_new_ticker", lambda _: None)
    night = Night("2024-02-29T23:59:59.000")
    runtime = Runtime(Settings(clock=night, strict=True))
    try:
        ticks_and_waits = night.rounds(runtime.recorder.flusher.drain, monkeypatch)
        ticks_and_waits()
        assert night.now < MIDNIGHT
        runtime.advanced.record_feature_usage("shop", "order", duration_ms=2.0)
        ticks_and_waits()
        assert night.now > MIDNIGHT
        runtime.advanced.record_feature_usage("shop", "order", duration_ms=4.0)
        ticks_and_waits()
        samples = daily_samples(runtime)
    finally:
        runtime.close()
    assert samples["previous", "feature_daily_values"] == samples["current", "feature_daily_values"] == 1
    assert samples["previous", "feature_daily_max"] == 0.002
    assert samples["current", "feature_daily_max"] == 0.004


def test_memory_is_bounded_whatever_the_clock_does(days: Days) -> None:
    sink = days.sink(KEY)
    for day in random.Random(1).sample(range(20_000), 500):
        sink.fold(batch(1.0), day * DAY)
    assert len(sink._days) <= 4


def test_sums_are_those_of_the_values() -> None:
    clock = Clock("2024-02-29T12:00:00")
    days = Days(clock)
    chance = random.Random(3)
    values = [chance.lognormvariate(0, 3) for _ in range(100_000)]
    for start in range(0, len(values), 64):
        days.sink(KEY).fold(batch(*values[start : start + 64]), clock())
    ((_, totals),) = days.observations()
    assert (totals.count, totals.low, totals.high) == (len(values), min(values), max(values))
    assert totals.total == pytest.approx(math.fsum(values), rel=1e-12)
    assert totals.squares == pytest.approx(math.fsum(value * value for value in values), rel=1e-12)


def test_what_is_recorded_right_before_midnight_is_flushed_into_its_day() -> None:
    """Through the record calls: the drain before midnight, which the ticker does, then the first one of the new day."""
    clock = Clock("2024-02-29T23:59:59.990")
    runtime = Runtime(Settings(clock=clock, strict=True))
    try:
        for _ in range(7):
            runtime.advanced.record_feature_usage("shop", "order", duration_ms=2.0)
        runtime.recorder.flusher.drain()
        clock.now += 0.5
        for _ in range(5):
            runtime.advanced.record_feature_usage("shop", "order", duration_ms=4.0)
        samples = daily_samples(runtime)
    finally:
        runtime.close()
    found: dict[str, list[Any]] = {
        day: [samples[day, f"feature_daily_{name}"] for name in NAMES] for day in ("current", "previous")
    }
    assert found["previous"] == [7, pytest.approx(0.014), pytest.approx(7 * 4e-6), 0.002, 0.002]
    assert found["current"] == [5, pytest.approx(0.020), pytest.approx(5 * 16e-6), 0.004, 0.004]


def test_a_reader_that_pushes_sees_the_same_days_and_units_as_a_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    pushes = InMemoryMetricReader()
    monkeypatch.setattr("otel_metrics.runtime._push", lambda _: [pushes])
    clock = Clock("2024-02-29T23:00:00")
    runtime = Runtime(Settings(clock=clock, strict=True))
    try:
        runtime.advanced.record_performance_metric("shop", "api", "order", 2.0, "s")
        scraped = daily_samples(runtime)
        clock.now += 2 * HOUR
        runtime.advanced.record_performance_metric("shop", "api", "order", 4.0, "s")
        scraped |= daily_samples(runtime)
        data: Any = pushes.get_metrics_data()
        pushed = {
            (point.attributes.get("day"), metric.name.replace(".", "_")): point.value
            for scope in data.resource_metrics[0].scope_metrics
            for metric in scope.metrics
            if metric.name.startswith(("feature.daily", "feature.performance.unit"))
            for point in metric.data.data_points
        }
    finally:
        runtime.close()
    assert pushed.pop((None, "feature_performance_unit_info")) == 1
    assert pushed == scraped
    assert scraped["previous", "feature_daily_max"] == 2.0
    assert scraped["current", "feature_daily_max"] == 4.0
