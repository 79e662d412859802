"""Past days are read from what the recording rules, or an import, stored: one row per day, whenever it was written."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from datetime import date
from math import isnan
from typing import TYPE_CHECKING

import pytest

from otel_metrics.querying import shaping
from otel_metrics.querying.client import PrometheusClient
from otel_metrics.querying.prometheus_source import PrometheusSource
from otel_metrics.querying.scope import Scope
from tests.querying.history import DAY, MIDNIGHT, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Servers

COLUMNS = {
    "avg1d": 0.25,
    "min1d": 0.1,
    "max1d": 0.9,
    "stddev1d": 0.05,
    "count1d": 40.0,
    "p50_1d": 0.24,
    "p95_1d": 0.5,
    "p99_1d": 0.8,
}
HOUR = 3600.0


@pytest.fixture(scope="module")
def client(session_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusClient]:
    lines = defaultdict[str, list[str]](list)

    def recorded(labels: str, day: int, **columns: float) -> None:
        """What rules that run every half an hour write about a day: from half an hour after its end on, for a day."""
        for suffix, value in columns.items():
            name = f"feature_type_name:value:{suffix}"
            for run in range(48):
                when = MIDNIGHT + (day + 1) * DAY + 0.5 * HOUR + 600 + run * 0.5 * HOUR
                lines[name].append(f"{name}{{{labels}}} {value!r} {when:.3f}\n")

    reply = 'feature="chat",metric_type="response_time",metric_name="reply",unit="seconds"'
    for day in (-1, 0, 1):
        recorded(reply, day, **{**COLUMNS, "count1d": 40.0 + day})
    better = 'feature="chat",metric_type="learning_improvement",metric_name="words",unit="ratio"'
    recorded(better, 0, **{**COLUMNS, "avg1d": 1.25, "min1d": 0.75})
    recorded('feature="chat",metric_type="usage",metric_name="ask",unit="seconds"', 0, count1d=1.0, avg1d=2.0)
    _values_below_zero(lines)
    drift = 'feature="chat",metric_type="learning",metric_name="drift"'
    recorded(drift, 2, avg1d=-0.25, min1d=-3.0, max1d=2.0, stddev1d=2.2, count1d=4.0)
    for job, count in (("shop", 2.0), ("warehouse", 3.0)):
        recorded(f'job="{job}",{reply}', 5, **{**COLUMNS, "count1d": count})
    recorded(f'job="shop",{better}', 5, **COLUMNS)
    info = (
        'feature_performance_unit_info{feature="chat",metric_category="response_time",metric_name="reply",unit="us"} 1 '
    )
    lines["feature_performance_unit_info"].append(f"{info}{MIDNIGHT + HOUR:.3f}\n")
    data = write(lines, tmp_path_factory.mktemp("recorded"))
    server = session_servers.prometheus(data=data, flags=["--storage.tsdb.retention.time=100y"])
    with closing(PrometheusClient(server.url)) as made:
        yield made


def _values_below_zero(lines: defaultdict[str, list[str]]) -> None:
    """What a process exposed of two days later: -3, -1, 1 and 2."""
    start, end = MIDNIGHT + 2 * DAY + 60, MIDNIGHT + 3 * DAY - 60
    of = 'service_instance_id="a",feature="chat",metric_name="drift"'
    counts = {"negative": {"1.0": 1, "2.2": 1, "4.7": 2, "+Inf": 2}, "positive": {"1.0": 1, "2.2": 2, "+Inf": 2}}
    for sign, total in (("negative", 4), ("positive", 3)):
        values = {f'bucket{{{of},sign="{sign}",le="{le}"}}': value for le, value in counts[sign].items()}
        values |= {f'count{{{of},sign="{sign}"}}': 2, f'sum{{{of},sign="{sign}"}}': total}
        for series, value in values.items():
            name = f"feature_learning_value_{series}"
            lines[name.partition("{")[0]] += [f"{name} 0 {start:.3f}\n", f"{name} {value} {end:.3f}\n"]
    for what, value in (("values", 4), ("sum_of_values", -1), ("sum_of_squares", 15), ("min", -3), ("max", 2)):
        name = f"feature_daily_{what}"
        lines[name].append(f'{name}{{{of},metric_type="learning",day="current"}} {value} {end:.3f}\n')


@pytest.mark.parametrize("later", [1.6 * HOUR, 12 * HOUR, 23.9 * HOUR, 40 * HOUR, 300 * DAY])
def test_a_day_is_the_same_whenever_it_is_read(client: PrometheusClient, later: float) -> None:
    now = MIDNIGHT + DAY + later
    rows = shaping.daily(PrometheusSource(client, lambda: now).day(date(2025, 12, 14)))
    assert [(row["metric_type"], row["metric_name"]) for row in rows] == [
        ("learning_improvement", "words"),
        ("response_time", "reply"),
        ("usage", "ask"),
    ]
    words, reply, ask = rows
    assert (words["avg_value"], words["min_value"]) == pytest.approx((0.25, -0.25))
    assert (reply["unit"], reply["count"]) == ("us", 40)
    assert reply["avg_value"] == pytest.approx(250_000)
    assert reply["stddev"] == pytest.approx(50_000)
    assert reply["percentile_99"] == pytest.approx(800_000)
    assert reply["partial"] is False
    assert reply["estimated"] == ["percentile_50", "percentile_95", "percentile_99"]
    assert (ask["avg_value"], ask["unit"], ask["count"]) == (2000, "ms", 1)
    assert isnan(ask["percentile_50"]), "not recorded is not zero"
    assert (ask["instances"], ask["complete"], ask["reason"]) == (None, None, ""), "only the row itself is left"


def test_neighbouring_days_are_not_mixed_up(client: PrometheusClient) -> None:
    source = PrometheusSource(client, lambda: MIDNIGHT + 10 * DAY)
    counts = {
        day: [row["count"] for row in shaping.daily(source.day(date(2025, 12, day)))]
        for day in (12, 13, 14, 15, 16, 17)
    }
    assert counts == {12: [], 13: [39], 14: [40, 40, 1], 15: [41], 16: [4], 17: []}


def test_rows_of_several_applications_are_not_taken_for_one(client: PrometheusClient) -> None:
    """Here nothing is left that they could be computed from; one is shown, and said not to be all."""

    def counts(scope: Scope) -> dict[str, int]:
        table = PrometheusSource(client, lambda: MIDNIGHT + 10 * DAY, scope).day(date(2025, 12, 19))
        told = [warning for warning in table.warnings if "recorded several times, for several jobs" in warning]
        assert bool(told) == (not scope.labels)
        return {row["metric_name"]: row["count"] for row in shaping.daily(table)}

    assert counts(Scope({"job": "shop"})) == {"reply": 2, "words": 40}
    assert counts(Scope({"job": "warehouse"})) == {"reply": 3}
    assert counts(Scope())["reply"] in {2, 3}


def test_a_day_with_values_below_zero_has_percentiles_although_rules_record_none(client: PrometheusClient) -> None:
    source = PrometheusSource(client, lambda: MIDNIGHT + 10 * DAY)
    [row] = shaping.daily(source.day(date(2025, 12, 16)))
    assert (row["count"], row["avg_value"], row["min_value"], row["max_value"]) == (4, -0.25, -3, 2)
    assert -1 <= row["percentile_50"] <= 1
    assert 1 < row["percentile_99"] <= 2
