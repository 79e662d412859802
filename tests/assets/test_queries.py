"""Every query of every dashboard and rule, asked of a real Prometheus that scrapes the real example: finite, not empty."""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.assets.dashboards import texts
from tests.assets.asking import answer, misread_tables, substituted, without_finite_numbers
from tests.assets.observed import observe
from tests.dialects import CLASSIC, groups
from tests.servers import Servers, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Prometheus

DASHBOARDS: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in texts(CLASSIC).items()}
RECORDINGS = [rule for group in groups(CLASSIC) for rule in group["rules"] if "record" in rule]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("observed")
    with contextlib.closing(Servers(folder / "servers")) as servers:
        yield observe(servers, folder)


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_every_panel_shows_finite_numbers(prometheus: Prometheus, dashboard: dict[str, Any]) -> None:
    assert without_finite_numbers(prometheus, dashboard, time.time()) == {}


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_table_has_one_row_for_every_key_and_a_heading_for_every_column(
    prometheus: Prometheus, dashboard: dict[str, Any]
) -> None:
    assert misread_tables(prometheus, dashboard, time.time()) == []


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_every_variable_has_values(prometheus: Prometheus, dashboard: dict[str, Any]) -> None:
    for variable in dashboard["templating"]["list"]:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable.get("definition", ""))
        if variable["type"] == "datasource":
            continue
        assert found, variable["name"]
        selector, label = found.groups()
        query = urllib.parse.urlencode({"match[]": substituted(selector)})
        values = json.loads(fetch(f"{prometheus.url}/api/v1/label/{label}/values?{query}"))["data"]
        assert values, variable["name"]


@pytest.mark.parametrize(
    "rule", RECORDINGS, ids=lambda rule: "-".join([rule["record"], *rule.get("labels", {}).values()])
)
def test_every_recording_rule_records_finite_numbers(prometheus: Prometheus, rule: dict[str, Any]) -> None:
    matchers = ",".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
    results = prometheus.wait_for(f"last_over_time({rule['record']}{{{matchers}}}[30m])")
    assert all(math.isfinite(float(result["value"][1])) for result in results)


def test_no_rule_fails_or_has_the_server_remark_something(prometheus: Prometheus) -> None:
    found = prometheus.api("rules")["groups"]
    assert {group["name"] for group in found} == {group["name"] for group in groups(CLASSIC)}
    failed = {
        (group["name"], rule["name"]): rule.get("lastError")
        for group in found
        for rule in group["rules"]
        if rule["health"] != "ok"
    }
    assert failed == {}
    for rule in (rule for group in found for rule in group["rules"]):
        answer(prometheus, "query", query=rule["query"], time=time.time())


def test_the_table_of_the_last_day_has_eight_columns_for_every_key(prometheus: Prometheus) -> None:
    """Every key that has values has all eight statistics, so that no row of the table has holes."""
    columns = ["count1d", "avg1d", "min1d", "max1d", "stddev1d", "p50_1d", "p95_1d", "p99_1d"]
    keys = {}
    for column in columns:
        results = prometheus.query(f"feature_type_name:value:{column}")
        keys[column] = {
            tuple(sorted((name, value) for name, value in result["metric"].items() if name != "__name__"))
            for result in results
        }
    assert len(keys["count1d"]) > 50
    for column in columns:
        assert keys[column] == keys["count1d"], column


def test_percentiles_lie_between_the_extremes(prometheus: Prometheus) -> None:
    for percentile in ("p50_1d", "p95_1d", "p99_1d"):
        name = f"feature_type_name:value:{percentile}"
        assert prometheus.query(f"{name} > feature_type_name:value:max1d") == []
        assert prometheus.query(f"{name} < feature_type_name:value:min1d") == []
