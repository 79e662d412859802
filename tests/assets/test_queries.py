"""Every query of every dashboard and rule, asked of a real Prometheus that scrapes the real example: finite, not empty."""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from otel_metrics.assets.dashboards import texts
from otel_metrics.promql import VICTORIAMETRICS
from tests.assets import faults
from tests.assets.asking import answer, substituted, without_finite_numbers
from tests.assets.history import impatient_rules
from tests.assets.observed import observe
from tests.dialects import CLASSIC, groups
from tests.engines import VMAlert
from tests.servers import Servers, fetch, scraping
from tests.visual.past import written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Prometheus, VictoriaMetrics

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
    """Joined as Grafana joins the answers."""
    now = time.time()
    complaints = []
    for panel in faults.panels(dashboard):
        if panel["type"] == "table":
            tables = [target for target in panel["targets"] if target["format"] == "table"]
            answers = {one["refId"]: prometheus.query(substituted(one["expr"]), now) for one in tables}
            complaints += faults.split_rows(panel, answers) + faults.columns_without_heading(panel, answers)
    assert complaints == []


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


# ----------------------------------------------------------------------------------------------------- VictoriaMetrics

ON_VICTORIA_METRICS: dict[str, dict[str, Any]] = {
    name: json.loads(text) for name, text in texts(VICTORIAMETRICS).items()
}
ITS_RULES = [rule for group in groups(VICTORIAMETRICS) for rule in group["rules"]]


class Evaluated(NamedTuple):
    """A VictoriaMetrics for which a vmalert has evaluated the rules of its dialect."""

    server: VictoriaMetrics
    rules: list[dict[str, Any]]
    """What vmalert says of them."""
    now: float
    """Shortly after the last scrape."""


@pytest.fixture(scope="module")
def victoria_metrics(prometheus: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluated]:
    """One with the same past, which scrapes the same application."""
    folder = tmp_path_factory.mktemp("victoria-metrics")
    impatient_rules(folder, VICTORIAMETRICS, interval="2s")
    [example] = {one["metric"]["instance"] for one in prometheus.query("last_over_time(otel_metrics_series[2m])")}
    # Without what it scrapes itself, and without what its rules have to record of that.
    names = "(feature|otel_metrics|resource)_[^:]+|up|feature_type_name(_histogram_le)?:.+|service_level:.+"
    past = [
        f"{written(one['metric'])} {value} {when * 1000:.0f}"
        for one in prometheus.query(f'{{__name__=~"{names}"}}[16d] offset 5m')
        for when, value in one["values"]
    ]
    # Its tests are above; it would take the time that these here need, as vmalert would in the end.
    prometheus.stop()
    with contextlib.closing(Servers(folder / "servers")) as servers:
        server = servers.victoria_metrics(config=scraping([example], interval="5s", job="learning-engine"))
        server.import_text("\n".join(past))
        vmalert = servers.started(VMAlert, folder / "*.yml", server.url)
        recorded = {rule["record"] for rule in ITS_RULES if "record" in rule}

        def complete(found: list[dict[str, Any]]) -> bool:
            return recorded <= {one["metric"]["__name__"] for one in found}

        server.wait_for('count by (__name__) ({__name__=~".+:.+"})', complete, timeout=120)
        held = json.loads(fetch(f"{vmalert.url}/api/v1/rules"))["data"]["groups"]
        [scraped] = server.query("max(tlast_over_time(otel_metrics_series[5m]))")
        vmalert.stop()
        yield Evaluated(server, [rule for group in held for rule in group["rules"]], float(scraped["value"][1]) + 1)


@pytest.mark.parametrize("name", ON_VICTORIA_METRICS)
def test_every_panel_shows_finite_numbers_of_victoria_metrics(victoria_metrics: Evaluated, name: str) -> None:
    wrong = without_finite_numbers(victoria_metrics.server, ON_VICTORIA_METRICS[name], victoria_metrics.now)
    # docs/servers.md: it has no metrics of Prometheus' own. Budgets of the example, which is healthy, need not burn.
    empty = {("Duration of rules as a share of their interval", "A")} if name == "telemetry" else set()
    assert {panel for panel, found in wrong.items() if "ALERTS{" not in found[1]} == empty, wrong


def test_every_rule_of_victoria_metrics_succeeds_and_records_finite_numbers(
    victoria_metrics: Evaluated,
) -> None:
    server, rules, _ = victoria_metrics
    assert len(rules) == len(ITS_RULES)
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"} == {}
    found = server.query('last_over_time({__name__=~".+:.+"}[30m])')
    assert {written(one["metric"]) for one in found if not math.isfinite(float(one["value"][1]))} == set()
