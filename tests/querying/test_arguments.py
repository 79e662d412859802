"""What getters reject, and how they say it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.errors import InvalidArgumentError
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.command import otel_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_metrics.facade.advanced import AdvancedMetrics


@pytest.fixture(scope="module")
def advanced() -> Iterator[AdvancedMetrics]:
    with closing(Runtime(Settings())) as runtime:
        yield runtime.advanced


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda a: a.get_feature_usage_stats(hours=-3),
            "get_feature_usage_stats: hours=-3 is not allowed (range); allowed: a number above 0, up to 876600",
        ),
        (
            lambda a: a.get_learning_metrics(hours=900_000),
            "get_learning_metrics: hours=900000 is not allowed (range); allowed: a number above 0, up to 876600",
        ),
        (
            lambda a: a.get_optimization_metrics(limit=-1),
            "get_optimization_metrics: limit=-1 is not allowed (range); allowed: an integer of at least 1",
        ),
        (
            lambda a: a.get_performance_metrics(limit=2.5),
            "get_performance_metrics: limit=2.5 is not allowed (range); allowed: an integer of at least 1",
        ),
        (
            lambda a: a.get_resource_metrics(resource_name=b"disk"),
            "get_resource_metrics: resource_name=b'disk' is not allowed (type); allowed: a string, or None for all",
        ),
        (
            lambda a: a.get_comprehensive_dashboard(feature=["a"]),
            "get_comprehensive_dashboard: feature=['a'] is not allowed (type); allowed: a string, or None for all",
        ),
    ],
)
def test_the_message_names_the_call_and_what_is_allowed(
    advanced: AdvancedMetrics, call: Callable[[AdvancedMetrics], Any], message: str
) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        call(advanced)
    assert str(raised.value) == message


def test_what_is_said_to_be_allowed_is_allowed(advanced: AdvancedMetrics) -> None:
    assert advanced.get_error_stats(hours=876_600)["total_errors"] == 0
    assert advanced.get_performance_metrics(limit=1) == []


@pytest.mark.parametrize("hours", ["0", "876601", "nan", "two"])
def test_the_command_line_names_its_option_once(hours: str) -> None:
    done = otel_metrics("dashboard", f"--hours={hours}")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == (
        f"otel-metrics dashboard: error: argument --hours: '{hours}' is not allowed; "
        "allowed: a number above 0, up to 876600"
    )
