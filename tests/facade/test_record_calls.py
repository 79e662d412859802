"""What each documented record call makes visible on /metrics."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

import otel_metrics
from otel_metrics import testing
from otel_metrics.facade.binding import Binding

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def metrics() -> Iterator[testing.Recording]:
    with testing.recording() as recording:
        yield recording


def test_a_time_is_recorded_in_seconds_whatever_unit_the_caller_has(metrics: testing.Recording) -> None:
    for value, unit in ((125.5, "milliseconds"), (125.5, "ms"), (0.1255, "s"), (125500, "us"), (0.1255, "Seconds")):
        metrics.advanced.record_performance_metric("api", "response_time", "lookup", value, unit)

    assert metrics.value("feature_performance_duration_seconds_count", metric_name="lookup") == 5
    assert metrics.value("feature_performance_duration_seconds_sum", metric_name="lookup") == 5 * 0.1255
    assert metrics.value("feature_performance_duration_seconds_bucket", le="0.1") == 0
    assert metrics.value("feature_performance_duration_seconds_bucket", le="0.15") == 5


@pytest.mark.parametrize(
    ("value", "unit", "series", "recorded"),
    [
        (1.5, "MB", "feature_performance_size_bytes_sum", 1_500_000.0),
        (1.5, "MiB", "feature_performance_size_bytes_sum", 1.5 * 2**20),
        (65.5, "percent", "feature_performance_ratio_sum", 0.655),
        (0.25, "ratio", "feature_performance_ratio_sum", 0.25),
        (120, "rpm", "feature_performance_rate_per_second_sum", 2.0),
        (3, "widgets", "feature_performance_value_sum", 3.0),
        (3, "Mb", "feature_performance_value_sum", 3.0),  # megabits are not megabytes
        (7, None, "feature_performance_value_sum", 7.0),
    ],
)
def test_units_go_to_the_family_of_their_kind(
    metrics: testing.Recording, value: float, unit: str | None, series: str, recorded: float
) -> None:
    metrics.advanced.record_performance_metric("api", "any", "thing", value, unit)

    assert metrics.value(series, feature="api", metric_category="any", metric_name="thing") == recorded


def test_an_unknown_unit_stays_on_the_series(metrics: testing.Recording) -> None:
    metrics.advanced.record_performance_metric("api", "any", "thing", 3, "widgets")

    assert metrics.value("feature_performance_value_count", unit="widgets") == 1
    assert metrics.value("feature_performance_unit_info", metric_name="thing", unit="widgets") == 1


def test_without_a_unit_the_name_tells_it(metrics: testing.Recording) -> None:
    metrics.advanced.record_performance_metric("api", "response_time", "lookup_ms", 250)
    metrics.basic.record_performance_metric("api", "cache_mb", 2)

    assert metrics.value("feature_performance_duration_seconds_sum", metric_name="lookup_ms") == 0.25
    assert metrics.value("feature_performance_size_bytes_sum", metric_category="general", metric_name="cache_mb") == 2e6


def test_negative_values_of_no_unit_are_kept_apart_by_sign(metrics: testing.Recording) -> None:
    for value in (-2.0, 0.0, 5.0):
        metrics.basic.record_learning_metric("engine", "gradient", value)

    assert metrics.value("feature_learning_value_count", sign="positive") == 2
    assert metrics.value("feature_learning_value_sum", sign="positive") == 5
    assert metrics.value("feature_learning_value_sum", sign="negative") == 2
    assert metrics.value("feature_daily_min", metric_type="learning") == -2
    assert metrics.value("feature_daily_sum_of_values", metric_type="learning") == 3


def test_a_score_counts_as_satisfied_at_the_threshold(metrics: testing.Recording) -> None:
    for score in (0.2, 0.69, 0.7, 0.92):
        metrics.advanced.record_satisfaction("engine", "accuracy", score)

    assert metrics.value("feature_satisfaction_responses_total", satisfied="true") == 2
    assert metrics.value("feature_satisfaction_responses_total", satisfied="false") == 2


def test_scores_of_one_to_five_are_mapped_to_zero_to_one(metrics: testing.Recording) -> None:
    for score in (5, 4, 1):  # the 1 comes after the scale is known
        metrics.advanced.record_satisfaction("engine", "overall", score)

    assert metrics.value("feature_satisfaction_score_sum") == 1.0 + 0.75 + 0.0


def test_a_score_of_exactly_one_is_the_worst_until_something_tells_its_scale(caplog: pytest.LogCaptureFixture) -> None:
    with testing.recording(satisfaction_scales={"stars": "1-5", "answers": "0-1"}) as metrics:
        for kind in ("speed", "speed", "stars", "answers"):
            metrics.advanced.record_satisfaction("engine", kind, 1)
        metrics.advanced.record_satisfaction("engine", "ease", 1, scale="1-5")
        found = metrics.advanced.get_satisfaction_metrics("engine")
        told = {kind: (of["avg_score"], of["doubtful_responses"]) for kind, of in found["by_type"].items()}

    assert told == {"speed": (0.0, 2), "stars": (0.0, 0), "answers": (1.0, 0), "ease": (0.0, 0)}
    assert found["doubtful_responses"] == 2
    assert metrics.value("feature_satisfaction_doubtful_total") == 2
    assert caplog.text.count("until another score tells which, it counts as the worst") == 1
    assert "OTM_SATISFACTION_SCALES=speed=0-1" in caplog.text


def test_stars_that_begin_with_the_worst_are_right_from_the_first(caplog: pytest.LogCaptureFixture) -> None:
    with testing.recording() as metrics:
        for stars in (1, 1.0, 5, 1):
            metrics.advanced.record_satisfaction("engine", "stars", stars)
    assert metrics.value("feature_satisfaction_score_sum") == 1.0
    assert metrics.value("feature_satisfaction_responses_total", satisfied="true") == 1
    assert metrics.value("feature_satisfaction_doubtful_total") == 2, "the last one came when the scale was known"
    assert "were counted as the worst" not in caplog.text


def test_shares_that_begin_with_the_best_are_told_when_the_scale_shows(caplog: pytest.LogCaptureFixture) -> None:
    with testing.recording() as metrics:
        for share in (1.0, 1.0, 0.25, 1.0, 0.5):
            metrics.advanced.record_satisfaction("engine", "answers", share)
    assert metrics.value("feature_satisfaction_score_sum") == 0.0 + 0.0 + 0.25 + 1.0 + 0.5
    assert metrics.value("feature_satisfaction_doubtful_total") == 2
    assert caplog.text.count("its scores of 1 so far were counted as the worst") == 1


def test_usage_counts_outcomes_and_keeps_durations(metrics: testing.Recording) -> None:
    metrics.advanced.record_feature_usage("engine", "train", 100.0, success=True, user_context="morning")
    metrics.advanced.record_feature_usage("engine", "train", 300.0, success=False, error_type="Timeout")
    metrics.advanced.record_feature_usage("engine", "train", success=None)

    assert metrics.value("feature_usage_total", outcome="success", context="morning") == 1
    assert metrics.value("feature_usage_total", outcome="failure", error_type="Timeout") == 1
    assert metrics.value("feature_usage_total", outcome="unknown") == 1
    assert metrics.value("feature_usage_duration_seconds_count") == 2, "an absent duration is not zero"
    assert metrics.value("feature_usage_duration_seconds_sum") == 0.4


def test_the_outcome_that_never_happened_is_there_at_zero(metrics: testing.Recording) -> None:
    metrics.advanced.record_feature_usage("engine", "train")

    assert metrics.value("feature_usage_total", outcome="failure") == 0


def test_the_recoveries_that_never_happened_are_there_at_zero(metrics: testing.Recording) -> None:
    metrics.advanced.record_error("engine", "Timeout")

    counts = {recovery: metrics.value("feature_errors_total", recovery=recovery) for recovery in ("none", "failed")}
    assert counts == {"none": 1, "failed": 0}


def test_learning_effectiveness_fills_four_series_and_skips_what_is_absent(metrics: testing.Recording) -> None:
    metrics.advanced.record_learning_effectiveness("engine", "prediction", 0.92, 0.88, 1000, 0.05)
    metrics.advanced.record_learning_effectiveness("engine", "prediction", 0.80, improvement_rate=-0.25)

    assert metrics.value("feature_learning_accuracy_sum") == pytest.approx(1.72)
    assert metrics.value("feature_learning_confidence_count") == 1
    assert metrics.value("feature_learning_samples_total") == 1000
    assert metrics.value("feature_learning_improvement_sum") == pytest.approx(1.05 + 0.75)


def test_an_optimization_is_the_ratio_of_after_to_before(metrics: testing.Recording) -> None:
    metrics.advanced.record_optimization_impact("engine", "opt_1", "task_completion_time", 40.0, 30.0, 0.85)

    assert metrics.value("feature_optimization_change_sum") == 0.75
    assert metrics.value("feature_optimization_user_impact_sum") == 0.85
    assert metrics.value("feature_optimization_before", optimization_id="opt_1") == 40.0
    assert metrics.value("feature_optimization_after", optimization_id="opt_1") == 30.0


def test_resources_are_gauges_in_ratios_and_bytes(metrics: testing.Recording) -> None:
    metrics.advanced.record_resource_utilization("memory", "cache", 65.5, allocated=1024.0, used=670.0, unit="MB")
    metrics.advanced.record_resource_utilization("cpu", "pool", 50.0, allocated=8, used=4, unit="cores")

    assert metrics.value("resource_utilization_ratio", resource_name="cache") == 0.655
    assert metrics.value("resource_allocated_bytes", resource_name="cache") == 1_024_000_000
    assert metrics.value("resource_used_value", resource_name="pool", unit="cores") == 4


def test_a_gauge_shows_the_last_value(metrics: testing.Recording) -> None:
    for percent in (90, 10, 50):
        metrics.advanced.record_resource_utilization("memory", "cache", percent)

    assert metrics.value("resource_utilization_ratio") == 0.5


@pytest.mark.parametrize(
    ("attempted", "successful", "recovery"),
    [
        (False, False, "none"),
        (True, False, "failed"),
        (True, True, "succeeded"),
        (1, 0, "failed"),
        (True, None, "failed"),
    ],
)
def test_errors_tell_how_recovery_went(
    metrics: testing.Recording, attempted: bool, successful: bool | None, recovery: str
) -> None:
    metrics.advanced.record_error(
        "engine", "Timeout", "warning", recovery_attempted=attempted, recovery_successful=successful, impact_level="low"
    )

    counted = {name: metrics.value("feature_errors_total", recovery=name) for name in ("none", "failed", "succeeded")}
    assert counted == {"none": 0, "failed": 0, "succeeded": 0, recovery: 1}


def test_every_value_reaches_the_accumulators_of_its_day() -> None:
    noon = 1_765_713_600.0  # 2025-12-14 12:00 UTC
    now = [noon]
    with testing.recording(clock=lambda: now[0]) as metrics:
        metrics.advanced.record_performance_metric("api", "response_time", "lookup", 100, "ms")
        metrics.samples()  # a scrape before midnight
        now[0] += 86_400
        metrics.advanced.record_performance_metric("api", "response_time", "lookup", 300, "ms")
        key = {"metric_type": "response_time", "metric_name": "lookup", "unit": "seconds"}

        assert metrics.value("feature_daily_sum_of_values", day="previous", **key) == 0.1
        assert metrics.value("feature_daily_max", day="current", **key) == 0.3
        assert metrics.value("feature_daily_values", day="current", **key) == 1


def test_process_metrics_and_the_applications_own_are_on_the_same_page(metrics: testing.Recording) -> None:
    assert metrics.value("python_info") == 1


def test_objects_fetched_before_configuration_follow_it() -> None:
    with testing.recording() as outer:
        fetched = outer.advanced
        with testing.recording() as inner:
            fetched.record_feature_usage("engine", "inside")
        fetched.record_feature_usage("engine", "outside")

    assert inner.value("feature_usage_total", action="inside", outcome="success") == 1
    assert outer.value("feature_usage_total", action="inside") is None
    assert outer.value("feature_usage_total", action="outside", outcome="success") == 1


def test_a_type_past_the_cap_is_on_the_scale_that_is_set_for_it() -> None:
    with testing.recording(label_caps={"satisfaction_type": 1}, satisfaction_scales={"stars": "1-5"}) as metrics:
        metrics.advanced.record_satisfaction("api", "speed", 0.5)
        metrics.advanced.record_satisfaction("api", "stars", 1)

    assert metrics.value("feature_satisfaction_score_sum", satisfaction_type="other") == 0.0


@pytest.mark.parametrize("rejected", [99, float("nan"), -3])
def test_a_rejected_score_tells_nothing_about_the_scale(rejected: float) -> None:
    with testing.recording(strict=False) as metrics:
        metrics.advanced.record_satisfaction("engine", "speed", rejected)
        metrics.advanced.record_satisfaction("engine", "speed", 5)
        metrics.advanced.record_satisfaction("engine", "speed", 1)

    assert metrics.value("feature_satisfaction_score_sum") == 1.0 + 0.0, "1 is on 1 to 5, as the 5 was"


def test_a_resource_recorded_with_and_without_units_shows_its_last_state(metrics: testing.Recording) -> None:
    for percent, unit in ((10, None), (20, "MB"), (30, None)):
        metrics.advanced.record_resource_utilization("memory", "cache", percent, unit=unit)
        metrics.advanced.get_resource_metrics()  # as if a second had passed

    assert metrics.value("resource_utilization_ratio") == 0.3


def test_a_resource_shows_its_last_state_whatever_is_being_folded_meanwhile() -> None:
    reached, released = threading.Event(), threading.Event()

    class Slow:
        def __float__(self) -> float:
            reached.set()
            released.wait(120)
            return 1.0

    with testing.recording(strict=False) as metrics:
        record = metrics.advanced.record_resource_utilization
        record("memory", "cache", 1.0, unit="MB")
        record("memory", "cache", 1.0, unit="GB")
        metrics.advanced.record_satisfaction("shop", "speed", Slow())  # type: ignore[arg-type]
        reading = threading.Thread(target=metrics.samples)
        reading.start()
        assert reached.wait(120)
        record("memory", "cache", 10.0, unit="GB")
        record("memory", "cache", 20.0, unit="MB")
        released.set()
        reading.join()
        assert metrics.value("resource_utilization_ratio") == 0.2


def test_a_resource_shows_the_state_recorded_last_whatever_units_came_before(metrics: testing.Recording) -> None:
    for used, unit in ((1, "MB"), (2, "GB"), (3, "MB")):
        metrics.advanced.record_resource_utilization("memory", "cache", 10.0 * used, used=used, unit=unit)
    assert metrics.value("resource_used_bytes") == 3e6
    assert metrics.value("resource_utilization_ratio") == 0.3


def test_what_is_bound_while_we_are_configured_anew_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = Binding.usage
    anew = iter([True])
    with testing.recording() as metrics:

        def usage(binding: Binding[Any, Any], *arguments: Any) -> Any:
            bound = bind(binding, *arguments)
            if next(anew, False):
                otel_metrics.configure(prometheus_url=None)
            return bound

        monkeypatch.setattr(Binding, "usage", usage)
        try:
            for _ in range(3):
                metrics.advanced.record_feature_usage("api", "order")
            assert metrics.advanced.get_feature_usage_stats("api")["total_usage"] == 3
        finally:
            otel_metrics.shutdown()


def test_a_category_called_like_another_type_of_the_daily_table_does_not_merge_with_it(
    metrics: testing.Recording,
) -> None:
    metrics.advanced.record_feature_usage("engine", "ask", 100.0)
    metrics.advanced.record_performance_metric("engine", "usage", "ask", 300.0, "ms")

    rows = {row["metric_type"]: row["avg_value"] for row in metrics.advanced.aggregate_daily_metrics()}
    assert rows == {"usage": 100.0, "usage_performance": 300.0}
    (row,) = metrics.advanced.get_performance_metrics(metric_category="usage")
    assert row["avg"] == 300.0


def test_a_feature_too_long_for_a_label_is_found_where_it_was_recorded() -> None:
    long = "x" * 1000
    with testing.recording(strict=False) as metrics:
        metrics.advanced.record_error(long, "Timeout")

        assert metrics.advanced.get_error_stats(long)["total_errors"] == 1
