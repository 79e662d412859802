"""Bad input never takes the application down and never passes silently."""

from __future__ import annotations

import logging
import math
import threading
from decimal import Decimal
from enum import Enum
from http import HTTPStatus
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from otel_metrics import InvalidArgumentError, testing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def metrics() -> Iterator[testing.Recording]:
    """As in production: nothing raises."""
    with testing.recording(strict=False) as recording:
        yield recording


def rejected(metrics: testing.Recording) -> dict[str, float]:
    return {s.labels["reason"]: s.value for s in metrics.samples() if s.name == "otel_metrics_rejected_total"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "value_nan"),
        (math.inf, "value_infinite"),
        (-math.inf, "value_infinite"),
        (10**400, "value_infinite"),
        (1.7e308, "value_range"),
        (-1, "value_negative"),
        ("12", "value_type"),
        (True, "value_type"),
        ([1], "value_type"),
        (1j, "value_type"),
    ],
)
def test_a_value_that_is_no_duration_is_rejected_and_counted(
    metrics: testing.Recording, value: Any, reason: str
) -> None:
    for each in (1, value, 3):
        metrics.advanced.record_performance_metric("api", "response_time", "lookup", each, "ms")

    assert metrics.value("feature_performance_duration_seconds_count") == 2
    assert rejected(metrics) == {reason: 1}


def test_numbers_of_other_libraries_are_numbers(metrics: testing.Recording) -> None:
    from fractions import Fraction

    for value in (Decimal("0.5"), Fraction(1, 2)):
        metrics.advanced.record_satisfaction("api", "speed", value)  # type: ignore[arg-type]

    assert metrics.value("feature_satisfaction_score_sum") == 1.0
    assert rejected(metrics) == {}


@pytest.mark.parametrize("score", [-0.1, 5.1, 7])
def test_a_score_off_both_scales_is_rejected(metrics: testing.Recording, score: float) -> None:
    metrics.advanced.record_satisfaction("api", "speed", score)

    assert metrics.value("feature_satisfaction_score_count") is None
    assert sum(rejected(metrics).values()) == 1


def test_an_unknown_severity_keeps_the_error_and_rejects_the_word(metrics: testing.Recording) -> None:
    for _ in range(3):
        metrics.advanced.record_error("api", "Timeout", "fatal")

    assert metrics.value("feature_errors_total", severity="other", recovery="none") == 3
    assert rejected(metrics) == {"error_severity_unknown": 3}


@pytest.mark.parametrize(("severity", "reason"), [(None, "type"), ("", "empty"), ([], "type")])
def test_an_error_without_a_usable_severity_is_an_error_all_the_same(
    metrics: testing.Recording, severity: Any, reason: str
) -> None:
    metrics.advanced.record_error("api", "Timeout", severity)
    assert metrics.value("feature_errors_total", severity="other") == 1
    assert rejected(metrics) == {f"error_severity_{reason}": 1}


def test_a_change_between_numbers_of_unlike_types_is_a_change(metrics: testing.Recording) -> None:
    metrics.advanced.record_optimization_impact("api", "cache", "speed", Decimal(4), 1.0)  # type: ignore[arg-type]
    assert metrics.value("feature_optimization_change_sum") == 0.25


def test_what_is_no_number_changes_nothing(metrics: testing.Recording) -> None:
    metrics.advanced.record_optimization_impact("api", "cache", "speed", True, 0.5)
    assert metrics.value("feature_optimization_change_count") is None
    assert rejected(metrics) == {"before_value_type": 1}


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (math.inf, 5.0, "before_value_infinite"),
        (-math.inf, -5.0, "before_value_infinite"),
        (1e200, 5.0, "before_value_range"),
        (10**400, 5.0, "before_value_infinite"),
        (math.nan, 5.0, "before_value_nan"),
        (5.0, math.inf, "after_value_infinite"),
        (5.0, 10**400, "after_value_infinite"),
        (0.0, 5.0, "before_value_ratio"),
    ],
)
def test_a_value_that_is_rejected_is_no_change_and_is_counted_once(
    metrics: testing.Recording, before: float, after: float, reason: str
) -> None:
    metrics.advanced.record_optimization_impact("api", "cache", "speed", before, after)
    assert metrics.value("feature_optimization_change_count") is None
    assert rejected(metrics) == {reason: 1}


def test_the_reason_of_a_rejection_is_about_the_value_as_the_caller_gave_it(metrics: testing.Recording) -> None:
    metrics.advanced.record_satisfaction("engine", "overall", 0.5, scale="1-5")
    metrics.advanced.record_satisfaction("engine", "overall", -0.5, scale="1-5")
    metrics.advanced.record_learning_effectiveness("engine", "prediction", improvement_rate=-2.0)
    assert rejected(metrics) == {"score_range": 1, "score_negative": 1, "improvement_rate_range": 1}


def test_a_negative_duration_keeps_the_use_and_rejects_the_duration(metrics: testing.Recording) -> None:
    metrics.advanced.record_feature_usage("api", "search", duration_ms=-5)

    assert metrics.value("feature_usage_total", outcome="success") == 1
    assert rejected(metrics) == {"duration_ms_negative": 1}


@pytest.mark.parametrize(
    ("feature", "reason"),
    [("", "feature_empty"), ("  ", "feature_empty"), (None, "feature_type"), (["x"], "feature_type")],
)
def test_a_call_that_belongs_to_nothing_is_rejected_as_a_whole(
    metrics: testing.Recording, feature: Any, reason: str
) -> None:
    metrics.advanced.record_feature_usage(feature, "search")
    metrics.advanced.record_error(feature, "Timeout")
    metrics.advanced.record_satisfaction(feature, "speed", 0.5)
    metrics.basic.record_learning_metric(feature, "accuracy", 0.5)

    calls = {s.labels["call"]: s.value for s in metrics.samples() if s.labels.get("reason") == reason}
    assert calls == {
        "record_feature_usage": 1,
        "record_error": 1,
        "record_satisfaction": 1,
        "record_learning_metric": 1,
    }
    assert metrics.value("otel_metrics_series") == 0


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda m, v: m.advanced.record_performance_metric("api", "latency", "lookup", v, "s"), "value"),
        (lambda m, v: m.advanced.record_satisfaction("api", "speed", v, scale="1-5"), "score"),
        (lambda m, v: m.advanced.record_optimization_impact("api", "cache", "latency", v, 7), "before_value"),
        (lambda m, v: m.advanced.record_optimization_impact("api", "cache", "latency", 7, v), "after_value"),
        (lambda m, v: m.advanced.record_resource_utilization("disk", "sda1", v, 10, 5, "GB"), "utilization_percent"),
        (lambda m, v: m.basic.record_performance_metric("api", "lookup_ms", v), "value"),
        (lambda m, v: m.basic.record_learning_metric("api", "loss", v), "value"),
        (lambda m, v: m.basic.record_optimization_metric("api", "saved", v), "value"),
    ],
)
def test_none_for_a_number_that_must_be_there_is_rejected(
    metrics: testing.Recording, call: Callable[[testing.Recording, Any], None], argument: str
) -> None:
    for value in (2, None, 3, None):
        call(metrics, value)
    assert rejected(metrics) == {f"{argument}_missing": 2}
    with testing.recording() as strict, pytest.raises(InvalidArgumentError, match=f"{argument}=None .*missing"):
        call(strict, None)


def test_none_for_a_number_that_may_be_absent_is_no_mistake() -> None:
    with testing.recording() as metrics:
        metrics.advanced.record_feature_usage("api", "search", None, success=None)
        metrics.advanced.record_learning_effectiveness("api", "ranking", 0.5, None, None, None)
        metrics.advanced.record_resource_utilization("disk", "sda1", 50.0, None, None)
        metrics.advanced.record_optimization_impact("api", "cache", "latency", 2.0, 1.0, None)
    assert rejected(metrics) == {}


class Unknowable:
    """Equal to nothing and neither true nor false, as missing values and arrays of other libraries are."""

    def __init__(self, *, hashable: bool) -> None:
        self._hashable = hashable

    def __hash__(self) -> int:
        if not self._hashable:
            raise TypeError("unhashable")
        return 7

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value of an array with more than one element is ambiguous")

    def __bool__(self) -> bool:
        raise ValueError("neither")

    def __len__(self) -> int:
        raise ValueError("no length")


@pytest.mark.parametrize("hashable", [True, False])
@pytest.mark.parametrize(
    ("call", "series"),
    [
        (lambda a, v: a.record_feature_usage("api", "search", 2.0, success=v), "feature_usage_total"),
        (lambda a, v: a.record_feature_usage("api", "search", 2.0, error_type=v), "feature_usage_total"),
        (lambda a, v: a.record_feature_usage("api", "search", 2.0, user_context=v), "feature_usage_total"),
        (lambda a, v: a.record_satisfaction("api", "speed", 0.25, scale=v), "feature_satisfaction_score_count"),
        (lambda a, v: a.record_error("api", "Timeout", error_severity=v), "feature_errors_total"),
        (lambda a, v: a.record_error("api", "Timeout", impact_level=v), "feature_errors_total"),
        (lambda a, v: a.record_error("api", "Timeout", recovery_attempted=v), "feature_errors_total"),
        (
            lambda a, v: a.record_error("api", "Timeout", recovery_attempted=True, recovery_successful=v),
            "feature_errors_total",
        ),
        (lambda a, v: a.record_resource_utilization("disk", "sda1", 5.0, unit=v), "resource_utilization_ratio"),
        (
            lambda a, v: a.record_performance_metric("api", "latency", "lookup", 2.0, unit=v),
            "feature_performance_value_count",
        ),
        (
            lambda a, v: a.record_performance_metric("api", "latency", "lookup", 2.0, "ms", context=v),
            "feature_performance_duration_seconds_count",
        ),
    ],
)
def test_an_argument_that_cannot_be_told_is_rejected_and_the_event_kept(
    metrics: testing.Recording, call: Callable[[Any, Any], None], series: str, hashable: bool
) -> None:
    call(metrics.advanced, Unknowable(hashable=hashable))
    assert metrics.value(series)
    assert all(reason.endswith(("_type", "_unknown")) for reason in rejected(metrics))
    assert sum(rejected(metrics).values()) == 1
    with testing.recording() as strict, pytest.raises(InvalidArgumentError):
        call(strict.advanced, Unknowable(hashable=hashable))


class Status(Enum):
    GONE = 410


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (503, "503"),
        (HTTPStatus.CONFLICT, "409"),
        (Status.GONE, "410"),
        (-7, "-7"),
        (2.5, "2.5"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=255), "00000000-0000-0000-0000-0000000000ff"),
    ],
)
def test_a_label_that_has_a_text_of_its_own_is_that_text(value: Any, text: str) -> None:
    with testing.recording() as metrics:
        metrics.advanced.record_error(value, value)
        metrics.advanced.record_feature_usage("api", value, 2.0, error_type=value, user_context=value)
        metrics.advanced.record_resource_utilization(value, value, 5.0)
        metrics.basic.record_learning_metric(value, value, 1.0)
        assert metrics.advanced.get_error_stats(value)["by_type"] == {text: 1}
    assert metrics.value("feature_errors_total", feature=text, error_type=text) == 1
    assert metrics.value("feature_usage_total", action=text, error_type=text, context=text) == 1


@pytest.mark.parametrize("value", [True, math.nan, math.inf, Decimal("NaN"), b"api", object(), ["api"], 1j])
def test_what_has_no_text_of_its_own_is_no_label(metrics: testing.Recording, value: Any) -> None:
    metrics.advanced.record_error(value, "Timeout")
    assert rejected(metrics) == {"feature_type": 1}


def test_ten_megabytes_in_a_label_become_other(metrics: testing.Recording) -> None:
    metrics.advanced.record_feature_usage("x" * 10_000_000, "search")

    assert metrics.value("feature_usage_total", feature="other", outcome="success") == 1
    assert rejected(metrics) == {"feature_length": 1}


@pytest.mark.parametrize("feature", ["a\x00b", "a\x1b[31mb", "a\ud800b", "a\nb", "a\u2028b"])
def test_what_cannot_be_printed_is_replaced(metrics: testing.Recording, feature: str) -> None:
    metrics.advanced.record_feature_usage(feature, "search")

    shown = [s.labels["feature"] for s in metrics.samples() if s.name == "feature_usage_total" and s.value]
    assert len(shown) == 1
    assert shown[0].startswith("a\N{REPLACEMENT CHARACTER}")
    assert rejected(metrics) == {"feature_characters": 1}


def test_it_is_logged_once_per_kind_naming_argument_value_and_what_is_allowed(
    metrics: testing.Recording, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        metrics.advanced.record_error("api", "Timeout", "fatal")

    assert caplog.text.count("error_severity='fatal'") == 1
    assert "allowed: critical, error, warning, info" in caplog.text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: a.record_satisfaction("api", "speed", 9), r"score=9 .* a number from 1 to 5"),
        (lambda a: a.record_satisfaction("api", "speed", 0, scale="1-5"), r"score=0 .* a number from 1 to 5"),
        (lambda a: a.record_satisfaction("api", "speed", -0.5), r"score=-0.5 .* a number from 0 to 1"),
        (lambda a: a.record_learning_effectiveness("api", "t", improvement_rate=-3), r"at least -1, at most 1e\+100"),
        (lambda a: a.record_performance_metric("api", "c", "n", 1e300, "ms"), r"at least 0, at most 1e\+103"),
    ],
)
def test_what_is_allowed_is_said_in_the_unit_of_the_caller(call: Callable[[Any], None], message: str) -> None:
    with testing.recording() as metrics, pytest.raises(InvalidArgumentError, match=message):
        call(metrics.advanced)


def test_strict_mode_raises_and_records_nothing_of_the_call() -> None:
    with testing.recording() as metrics:
        with pytest.raises(
            InvalidArgumentError, match=r"value=-1 is not allowed .negative.; allowed: a finite number of at least 0"
        ):
            metrics.advanced.record_performance_metric("api", "response_time", "lookup", -1, "ms")
        with pytest.raises(InvalidArgumentError, match="error_severity='fatal'"):
            metrics.advanced.record_error("api", "Timeout", "fatal")
        with pytest.raises(InvalidArgumentError, match="duration_ms='soon'"):
            metrics.advanced.record_feature_usage("api", "search", "soon")  # type: ignore[arg-type]
        metrics.advanced.record_performance_metric("api", "response_time", "lookup", 1, "ms")

        assert metrics.value("feature_performance_duration_seconds_count") == 1
        assert metrics.value("feature_usage_total", outcome="success") in {None, 0}


def test_a_label_bomb_collapses_only_that_label() -> None:
    with testing.recording(strict=False, label_caps={"action": 3}) as metrics:
        for user in range(1000):
            metrics.advanced.record_feature_usage("api", f"user-{user}", success=user % 2 == 0)

    assert metrics.value("feature_usage_total", action="user-0", outcome="success") == 1
    assert metrics.value("feature_usage_total", action="other", feature="api", outcome="success") == 498
    assert metrics.value("feature_usage_total", outcome="failure") == 500, "nothing is lost"
    assert metrics.value("otel_metrics_label_overflow_total", label="action") == 997


def test_a_known_unit_is_itself_however_many_unknown_ones_came_before() -> None:
    with testing.recording(strict=False, label_caps={"unit": 2}) as metrics:
        for unit in ("parsec", "furlong", "rod", "ms"):
            metrics.advanced.record_performance_metric("api", "load", "page", 5.0, unit)
        metrics.advanced.record_resource_utilization("memory", "heap", 50.0, 2.0, 1.0, "MB")

    assert metrics.value("feature_performance_duration_seconds_sum") == 0.005
    assert metrics.value("resource_allocated_bytes") == 2e6
    assert metrics.value("feature_performance_value_sum", unit="other") == 5.0
    assert metrics.value("otel_metrics_label_overflow_total", label="unit") == 1


def test_the_series_limit_collapses_open_labels_and_keeps_the_closed_ones() -> None:
    with testing.recording(strict=False, series_limit=4) as metrics:
        for user in range(10):
            metrics.advanced.record_feature_usage(f"f-{user}", "search", success=False)

    assert metrics.value("feature_usage_total", outcome="failure") == 10
    assert metrics.value("feature_usage_total", feature="other", action="other", outcome="failure") == 6
    assert metrics.value("otel_metrics_label_overflow_total", label="*") == 6


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_the_series_limit_leaves_no_series_without_its_labels(limit: int) -> None:
    """Far more series hang on one that is bound than its own: those of other outcomes, catch-alls, keys of the daily table."""
    names = [f"f-{i}" for i in range(limit + 1)]
    bad: list[Any] = [None, "", "x" * 201, "a\nb"]
    severities, impacts = ["critical", "error", "warning", "info", "fatal"], ["high", "medium", "low", None, "huge"]
    with testing.recording(strict=False, series_limit=limit) as metrics:
        for feature in names:
            metrics.advanced.record_learning_effectiveness(feature, "patterns", 0.5, 0.5, 10, 0.1)
            metrics.advanced.record_satisfaction(feature, "speed", 0.5)
            for unit in ("ms", "s", "MB", "percent", "rps", "parsec"):
                metrics.advanced.record_performance_metric(feature, "load", "page", 1.0, unit)
            for severity, impact, tried in product(severities, impacts, (True, False)):
                metrics.advanced.record_error(feature, "Timeout", severity, None, tried, tried, impact)
        for value in bad:
            metrics.advanced.record_feature_usage(value, value)
            metrics.advanced.record_feature_usage("f-0", value, value, value, value, value)
            metrics.advanced.record_learning_effectiveness(value, value, value, value, value, value)
        assert [s for s in metrics.samples() if "otel_metric_overflow" in s.labels] == []
        assert metrics.value("feature_daily_values") == 10 * (limit + 1)


class Severity(str, Enum):
    WARNING = "warning"


@pytest.mark.parametrize("unit", ["", "parsec"])
def test_units_do_not_get_around_the_series_limit(unit: str) -> None:
    """Of a unit that is known there are few; of those that are not, there may be any number."""
    with testing.recording(strict=False, series_limit=10) as metrics:
        for i in range(60):
            metrics.advanced.record_performance_metric("api", "size", f"name{i % 3}", 1.0, f"{unit or 'unit'}{i}")
        series = [s for s in metrics.samples() if s.name == "feature_performance_value_count"]
        assert len({tuple(s.labels.items()) for s in series if s.value}) == 11
        assert sum(s.value for s in series) == 60
        assert metrics.value("otel_metrics_series") == 10
        assert metrics.value("feature_daily_values", metric_name="other", unit="other") == 50


def test_strict_mode_takes_nothing_of_a_rejected_call_also_in_a_sampled_span() -> None:
    span = NonRecordingSpan(SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(1)))
    with testing.recording() as metrics, use_span(span):
        with pytest.raises(InvalidArgumentError):
            metrics.advanced.record_learning_effectiveness("api", "patterns", accuracy=0.5, confidence=2.0)
        with pytest.raises(InvalidArgumentError):
            metrics.advanced.record_feature_usage("api", "order", duration_ms=-1)
        assert not metrics.value("feature_usage_total")
        assert not metrics.value("feature_learning_accuracy_count")


def test_strict_mode_accepts_what_is_right_while_others_fold() -> None:
    raised: list[BaseException] = []

    def work(metrics: testing.Recording) -> None:
        try:
            for i in range(5_000):
                metrics.advanced.record_learning_effectiveness("api", "patterns", 0.5, 0.5, i, 0.1)
        except BaseException as error:
            raised.append(error)

    with testing.recording() as metrics:
        threads = [threading.Thread(target=work, args=(metrics,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            metrics.advanced.get_learning_metrics()
        assert not raised
        assert metrics.value("feature_learning_accuracy_count") == 15_000


def test_an_enum_of_strings_is_a_string(metrics: testing.Recording) -> None:
    metrics.advanced.record_error("api", "Timeout", Severity.WARNING)

    assert metrics.value("feature_errors_total", severity="warning", recovery="none") == 1


class Hostile:
    """Raises whatever is asked of it."""

    def _raise(self, *_: object) -> Any:
        raise RuntimeError("hostile")

    __bool__ = __float__ = __hash__ = __eq__ = __gt__ = __truediv__ = __str__ = __repr__ = __len__ = _raise


class Unplugged(logging.Handler):
    """A log handler of the application's that does not do as handlers should."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError(f"nobody takes {record.getMessage()}")


def test_a_log_handler_that_raises_does_not_reach_record_calls() -> None:
    handler = Unplugged()
    logging.getLogger("otel_metrics").addHandler(handler)
    try:
        with testing.recording(strict=False, label_caps={"action": 1}) as metrics:
            metrics.advanced.record_feature_usage("", "ask")
            for action in ("ask", "look"):  # one too many
                metrics.advanced.record_feature_usage("api", action, duration_ms=-1)
            metrics.advanced.record_satisfaction("api", "speed", 1)  # an ambiguous score
            metrics.advanced.record_error("api", "Timeout", "fatal", error_message="too late")

            assert metrics.value("feature_usage_total") == 2
            assert metrics.value("feature_satisfaction_score_count") == 1
            assert metrics.value("feature_errors_total") == 1
            assert rejected(metrics) == {"feature_empty": 1, "duration_ms_negative": 2, "error_severity_unknown": 1}
    finally:
        logging.getLogger("otel_metrics").removeHandler(handler)


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.integers()),
    st.just(object()),
    st.timedeltas(),
    st.complex_numbers(),
    st.decimals(),
    st.builds(Hostile),
)


@settings(max_examples=300, deadline=None)
@given(arguments=st.lists(anything, min_size=6, max_size=6))
def test_no_argument_whatever_makes_a_record_call_raise(arguments: list[Any]) -> None:
    a, b, c, d, e, f = arguments
    with testing.recording(strict=False) as metrics:
        metrics.advanced.record_performance_metric(a, b, c, d, e, f, {"any": a})
        metrics.advanced.record_satisfaction(a, b, c, d, e, {"any": f}, scale=f)
        metrics.advanced.record_feature_usage(a, b, c, d, e, f)
        metrics.advanced.record_learning_effectiveness(a, b, c, d, e, f)
        metrics.advanced.record_optimization_impact(a, b, c, d, e, f)
        metrics.advanced.record_resource_utilization(a, b, c, d, e, f)
        metrics.advanced.record_error(a, b, c, d, e, f)
        metrics.basic.record_performance_metric(a, b, c)
        metrics.basic.record_learning_metric(a, b, c)
        metrics.basic.record_optimization_metric(a, b, c)
        assert metrics.samples()
