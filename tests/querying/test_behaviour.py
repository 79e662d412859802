"""One behaviour for every source: this process, another one of its directory, Prometheus with classic and with native histograms,
VictoriaMetrics that scrapes and that is pushed to.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, closing
from datetime import date, datetime, timedelta, timezone
from math import isnan
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from otel_metrics.errors import InvalidArgumentError
from otel_metrics.querying.source import parse_day
from otel_metrics.runtime import Runtime
from otel_metrics.sdk.provider import resource, views
from otel_metrics.settings import Settings
from tests.querying.behaviour import ODD, Subject, record
from tests.querying.conformance import deviations, returned_by
from tests.servers import scraping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.servers import QueryServer, Servers, VictoriaMetrics

SOURCES = ("local", "local-shared", "prometheus", "prometheus-native", "victoria-metrics", "victoria-metrics-otlp")


@pytest.fixture(scope="module")
def subjects(session_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Subject]]:
    """Every source, after the calls were recorded and scraped, or pushed."""
    with closing(Runtime(Settings(strict=True))) as runtime, ExitStack() as stack:
        endpoint = runtime.serve(port=0)
        config = scraping([endpoint.url], interval="1s")  # which a busy machine has time for
        servers: dict[str, QueryServer] = {
            "prometheus": session_servers.prometheus(config),
            "prometheus-native": session_servers.prometheus(config, native=True),
            "victoria-metrics": session_servers.victoria_metrics(config=config),
        }
        record(runtime.advanced, runtime.basic)
        # Names as Prometheus would spell them are VictoriaMetrics' choice for what is pushed.
        receiver = session_servers.victoria_metrics(flags=["-opentelemetry.usePrometheusNaming"])
        push(receiver, stack)
        servers["victoria-metrics-otlp"] = receiver
        shared = [
            stack.enter_context(closing(Runtime(Settings(strict=True, multiprocess_directory=directory))))
            for directory in [tmp_path_factory.mktemp("shared")] * 2
        ]
        record(shared[0].advanced, shared[0].basic)
        shared[0].recorder.share({})
        found = {"local": Subject("local", runtime, 0.0), "local-shared": Subject("local-shared", shared[1], 0.0)}
        for name, server in servers.items():
            server.wait_for(
                'sum(feature_usage_total{outcome="success"})', lambda rows: rows and rows[0]["value"][1] == "11"
            )
            reading = stack.enter_context(closing(Runtime(Settings(prometheus_url=server.url))))
            found[name] = Subject(name, reading, 0.01 if "native" in name else 0.1)
        assert [name for name, server in servers.items() if server.holds_native("feature_usage_duration_seconds")] == [
            "prometheus-native"
        ]
        yield found


def push(receiver: VictoriaMetrics, stack: ExitStack) -> None:
    """Record the same calls with a provider of one's own, which pushes."""
    exporter = OTLPMetricExporter(endpoint=receiver.otlp_url)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], resource(), views=views())
    stack.callback(provider.shutdown)
    pushed = stack.enter_context(closing(Runtime(Settings(meter_provider=provider, strict=True))))
    record(pushed.advanced, pushed.basic)
    provider.force_flush()


@pytest.fixture(params=SOURCES)
def subject(request: pytest.FixtureRequest, subjects: dict[str, Subject]) -> Subject:
    return subjects[request.param]


def test_every_result_says_where_it_comes_from_and_what_it_covers(subject: Subject) -> None:
    before = datetime.now(timezone.utc)
    result = subject.advanced.get_feature_usage_stats("chat", hours=2)
    assert result["source"] == ("local" if subject.name in {"local", "local-shared"} else "prometheus")
    start, end = (datetime.fromisoformat(result["window"][edge]) for edge in ("start", "end"))
    assert start < end
    assert abs((end - before).total_seconds()) < 60
    assert (before - start).total_seconds() <= 2 * 3600 + 60


def test_results_of_every_source_are_of_the_types_that_getters_name(subject: Subject) -> None:
    advanced = subject.advanced
    for getter in (
        advanced.get_performance_metrics,
        advanced.get_satisfaction_metrics,
        advanced.get_feature_usage_stats,
        advanced.get_error_stats,
        advanced.get_learning_metrics,
        advanced.get_optimization_metrics,
        advanced.get_resource_metrics,
        advanced.get_comprehensive_dashboard,
        advanced.aggregate_daily_metrics,
    ):
        assert list(deviations(getter(), returned_by(getter))) == [], getter.__name__


def test_percentiles_are_called_estimates_unless_they_come_from_this_process(subject: Subject) -> None:
    result = subject.advanced.get_satisfaction_metrics("chat")
    estimates = {f"{field}_score" for field in ("min", "max", "stddev", "p50", "p95", "p99")}
    assert set(result["estimated"]) == (set() if subject.name in {"local", "local-shared"} else estimates)
    assert subject.advanced.get_comprehensive_dashboard("chat")["exact"] is (subject.name in {"local", "local-shared"})


def test_satisfaction(subject: Subject) -> None:
    result = subject.advanced.get_satisfaction_metrics("chat")
    assert result["total_responses"] == 8
    assert result["satisfaction_rate"] == pytest.approx(4 / 8)
    assert result["avg_score"] == pytest.approx((0.2 + 0.6 + 0.7 + 0.9 + 1.0 + 0 + 0.5 + 1) / 8)
    assert result["by_type"]["speed"]["total_responses"] == 3
    assert result["by_type"]["speed"]["avg_score"] == pytest.approx(0.5)
    assert result["has_data"] is True


def test_satisfaction_of_one_type(subject: Subject) -> None:
    result = subject.advanced.get_satisfaction_metrics("chat", "accuracy")
    assert result["total_responses"] == 5
    assert result["satisfaction_rate"] == pytest.approx(3 / 5)
    assert result["p50_score"] == pytest.approx(0.7, abs=0.03)
    assert result["max_score"] == pytest.approx(1.0, abs=0.03)


def test_usage(subject: Subject) -> None:
    result = subject.advanced.get_feature_usage_stats("chat")
    assert (result["total_usage"], result["successful"], result["failed"]) == (12, 8, 3)
    assert result["success_rate"] == pytest.approx(8 / 11), "unknown is neither success nor failure"
    assert result["avg_duration_ms"] == pytest.approx(104.5), "an absent duration is not zero"
    assert result["p50_duration_ms"] == subject.near(104.5)
    assert result["by_action"]["close"]["total_usage"] == 1
    assert isnan(result["by_action"]["close"]["avg_duration_ms"])
    assert result["by_error_type"] == {"Timeout": 3}


def test_errors(subject: Subject) -> None:
    result = subject.advanced.get_error_stats("chat")
    assert result["total_errors"] == 3
    assert (result["recovery_attempts"], result["recovered"]) == (2, 1)
    assert result["recovery_rate"] == pytest.approx(0.5)
    assert result["by_severity"] == {"critical": 1, "error": 1, "warning": 1}
    assert result["by_type"] == {"Parse": 1, "Timeout": 2}
    assert result["by_impact"] == {"high": 1, "low": 1, "unknown": 1}
    assert subject.advanced.get_error_stats()["total_errors"] == 5, "no feature means all of them"


def test_learning(subject: Subject) -> None:
    result = subject.advanced.get_learning_metrics("chat")
    assert result["total_samples"] == 150
    assert result["avg_accuracy"] == pytest.approx(0.7)
    assert result["avg_confidence"] == pytest.approx(0.8)
    assert result["avg_improvement_rate"] == pytest.approx(0.25), "a rate below zero comes back as one"
    assert sorted(result["by_type"]) == ["classification", "prediction"]
    assert isnan(result["by_type"]["classification"]["avg_confidence"])
    assert subject.advanced.get_learning_metrics("chat", "classification")["avg_accuracy"] == pytest.approx(0.5)


def test_optimization(subject: Subject) -> None:
    result = subject.advanced.get_optimization_metrics("chat")
    assert result["total_optimizations"] == 3
    assert result["avg_change"] == pytest.approx((0.75 + 1.25 + 0.5) / 3)
    assert result["avg_user_impact"] == pytest.approx(0.6)
    assert result["by_category"]["time"]["avg_change"] == pytest.approx(1.0)
    single = {row["optimization_id"]: (row["before_value"], row["after_value"]) for row in result["optimizations"]}
    assert single == {"opt-1": (40.0, 30.0), "opt-2": (40.0, 50.0), "opt-3": (-2.0, -1.0)}


def test_resources(subject: Subject) -> None:
    rows = {row["resource_name"]: row for row in subject.advanced.get_resource_metrics()["resources"]}
    assert list(rows) == ["pool", "cache", "scratch"], "the fullest first"
    assert rows["cache"]["utilization_percent"] == pytest.approx(65.5)
    assert (rows["cache"]["allocated"], rows["cache"]["used"], rows["cache"]["unit"]) == (1.024e9, 6.7e8, "bytes")
    assert (rows["pool"]["allocated"], rows["pool"]["used"], rows["pool"]["unit"]) == (8.0, 7.2, "cores")
    assert isnan(rows["scratch"]["used"])
    assert [row["resource_name"] for row in subject.advanced.get_resource_metrics("memory")["resources"]] == ["cache"]


def test_performance_rows_carry_the_unit_that_was_recorded(subject: Subject) -> None:
    rows = {row["metric_name"]: row for row in subject.advanced.get_performance_metrics("chat")}
    units = {name: row["unit"] for name, row in rows.items()}
    assert units == {
        "reply": "milliseconds",
        "search": "seconds",
        "heap": "MB",
        "worker": "percent",
        "answers": "per_minute",
        "offset": "widgets",
        "startup_ms": "ms",
    }
    averages = {name: row["avg"] for name, row in rows.items()}
    assert averages == pytest.approx(
        {"reply": 500.5, "search": 5.05, "heap": 50.5, "worker": 50.5, "answers": 3030, "offset": 0, "startup_ms": 505},
        abs=1e-9,
    )
    assert all(row["value"] == row["avg"] for row in rows.values())
    assert rows["reply"]["context"] == "production"
    assert rows["search"]["context"] is None


def test_performance_percentiles(subject: Subject) -> None:
    row = subject.advanced.get_performance_metrics("chat", "response_time")[0]
    assert (row["metric_name"], row["count"]) == ("reply", 1000)
    assert row["p50"] == subject.near(500.5)
    assert row["p95"] == subject.near(950.05)
    assert row["p99"] == subject.near(990.01)
    assert row["stddev"] == subject.near(288.8194360957494)
    assert (row["min"], row["max"]) == pytest.approx((1, 1000))


def test_values_below_zero_keep_their_sign(subject: Subject) -> None:
    (row,) = subject.advanced.get_performance_metrics("chat", "drift")
    assert (row["min"], row["max"]) == pytest.approx((-49.5, 49.5))
    assert abs(row["p50"]) < 2
    saved = subject.basic.get_metric_statistics("chat", "saved")
    assert saved["avg"] == pytest.approx(-50.5)
    assert saved["p50"] == subject.near(-50.5)
    assert saved["p99"] > saved["p50"]


def test_performance_rows_are_limited_to_the_most_recorded(subject: Subject) -> None:
    assert [row["metric_name"] for row in subject.advanced.get_performance_metrics(limit=1)] == ["reply"]
    assert len(subject.advanced.get_performance_metrics(None, "response_time", limit=2)) == 2
    assert len(subject.advanced.get_performance_metrics(None, "response_time")) == 3


def test_metric_statistics_of_the_basic_collector(subject: Subject) -> None:
    startup = subject.basic.get_metric_statistics("chat", "startup_ms")
    assert (startup["count"], startup["unit"]) == (100, "ms")
    assert startup["avg"] == pytest.approx(505)
    assert startup["p95"] == subject.near(950.5)
    gain = subject.basic.get_metric_statistics("chat", "gain")
    assert gain["count"] == 100
    assert gain["avg"] == pytest.approx(50.5)


def test_the_dashboard_has_everything(subject: Subject) -> None:
    board = subject.advanced.get_comprehensive_dashboard("chat")
    response_time = board["performance"]["categories"]["response_time"]
    assert response_time["count"] == 1100
    assert response_time["unit"] == "ms", "whatever it was recorded in"
    assert response_time["avg"] == pytest.approx((500.5 * 1000 + 5050 * 100) / 1100)
    assert board["performance"]["categories"]["memory_usage"]["unit"] == "MB"
    assert board["satisfaction"]["total_responses"] == 8
    assert board["usage"]["total_usage"] == 12
    assert board["errors"]["total_errors"] == 3
    assert board["learning"]["total_samples"] == 150
    assert board["optimization"]["total_optimizations"] == 3
    assert len(board["resources"]["resources"]) == 3
    assert json.loads(json.dumps(board))["has_data"] is True


def test_the_documented_monitor_asks_for_all_features(subject: Subject) -> None:
    board: Mapping[str, Any] = subject.advanced.get_comprehensive_dashboard(
        hours=1
    )  # as applications without types have it
    assert board["feature"] is None
    assert board["errors"]["total_errors"] == 5
    assert not board["satisfaction"]["avg_score"] < 0.5
    assert board["performance"]["categories"].get("response_time", {}).get("avg", 0) > 500


def test_no_data_is_neither_zero_nor_an_error(subject: Subject) -> None:
    board = subject.advanced.get_comprehensive_dashboard("nobody")
    assert board["errors"]["total_errors"] == 0
    assert board["usage"]["total_usage"] == 0
    assert isnan(board["satisfaction"]["avg_score"])
    assert not board["satisfaction"]["avg_score"] < 0.7, "the documented monitor stays silent"
    assert isnan(board["usage"]["success_rate"])
    assert board["performance"]["categories"] == {}
    for section in ("performance", "satisfaction", "usage", "errors", "learning", "optimization"):
        assert board[section]["has_data"] is False, section
    assert subject.advanced.get_performance_metrics("nobody") == []
    assert subject.basic.get_metric_statistics("nobody", "nothing")["count"] == 0


def test_names_that_are_accidents_in_a_query_language(subject: Subject) -> None:
    result = subject.advanced.get_feature_usage_stats(ODD)
    assert result["total_usage"] == 3
    assert list(result["by_action"]) == [ODD]
    assert subject.advanced.get_error_stats(ODD)["by_type"] == {ODD: 1}
    assert subject.advanced.get_feature_usage_stats('"} or vector(1) #')["total_usage"] == 0


@pytest.mark.parametrize("hours", [0.5, 1 / 3, 7.777, 1000, 1])
def test_hours_can_be_any_positive_number(subject: Subject, hours: float) -> None:
    assert subject.advanced.get_feature_usage_stats("chat", hours=hours)["total_usage"] == 12


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf"), 1e300, 10**400, "24", None, True])
def test_other_hours_are_rejected(subject: Subject, hours: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="hours"):
        subject.advanced.get_error_stats("chat", hours=hours)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1", None, True])
def test_other_limits_are_rejected(subject: Subject, limit: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="limit"):
        subject.advanced.get_performance_metrics("chat", limit=limit)


def test_a_limit_beyond_everything_is_no_limit(subject: Subject) -> None:
    assert len(subject.advanced.get_performance_metrics("chat", limit=10**30)) == 7
    assert len(subject.advanced.get_optimization_metrics("chat", limit=10**30)["optimizations"]) == 3


@pytest.mark.parametrize("feature", [True, b"chat", ["chat"], float("nan")])
def test_other_features_are_rejected(subject: Subject, feature: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="feature"):
        subject.advanced.get_comprehensive_dashboard(feature)


@pytest.mark.parametrize(
    "date",
    [
        "yesterday",
        "2025-13-01",
        "2025-02-30",
        "",
        20251214,
        "20251214",
        "1969-12-31",
        date.min,
        datetime.min.replace(tzinfo=timezone(timedelta(hours=5))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
        datetime.min,  # noqa: DTZ901 (that it has no time zone is the point)
    ],
)
def test_other_dates_are_rejected(subject: Subject, date: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="date"):
        subject.advanced.aggregate_daily_metrics(date)


def test_a_lone_surrogate_in_a_question_finds_nothing(subject: Subject) -> None:
    assert subject.advanced.get_error_stats("\ud800\x00\n")["total_errors"] == 0


def test_todays_rows_of_the_daily_table(subject: Subject) -> None:
    today = parse_day(None, time.time())
    rows = {
        (row["feature"], row["metric_type"], row["metric_name"]): row
        for row in subject.advanced.aggregate_daily_metrics()
    }
    reply = rows["chat", "response_time", "reply"]
    assert list(reply)[:12] == [
        "date",
        "feature",
        "metric_type",
        "metric_name",
        "avg_value",
        "min_value",
        "max_value",
        "stddev",
        "count",
        "percentile_50",
        "percentile_95",
        "percentile_99",
    ]
    assert (reply["date"], reply["unit"], reply["partial"]) == (today.isoformat(), "milliseconds", True)
    assert reply["count"] == 1000
    assert reply["avg_value"] == pytest.approx(500.5)
    assert (reply["min_value"], reply["max_value"]) == pytest.approx((1.0, 1000.0))
    assert reply["stddev"] == pytest.approx(288.8194360957494)
    assert reply["percentile_95"] == subject.near(950.05)
    assert rows["chat", "usage", "ask"]["avg_value"] == pytest.approx(104.5)
    assert rows["chat", "usage", "ask"]["unit"] == "ms"
    assert rows["chat", "learning_improvement", "prediction"]["min_value"] == pytest.approx(-0.25)
    assert rows["chat", "drift", "offset"]["min_value"] == pytest.approx(-49.5)
    assert rows["chat", "drift", "offset"]["unit"] == "widgets"
    assert rows["chat", "optimization", "saved"]["max_value"] == pytest.approx(-1.0)
    assert rows["chat", "satisfaction", "speed"]["count"] == 3


def test_a_day_without_data_has_no_rows(subject: Subject) -> None:
    for day in ("2001-02-03", "2199-01-01", "1970-01-01", "9999-12-31", date.max):
        assert subject.advanced.aggregate_daily_metrics(day) == []
