"""Rules and dashboards for native histograms, on a real Prometheus that stores the real example's as such."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.assets.dashboards import texts
from tests.assets.asking import answer, without_finite_numbers
from tests.assets.history import impatient_rules
from tests.assets.observed import Example
from tests.dialects import AT_HAND, START_TIMES
from tests.servers import Servers, scraping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Prometheus

DASHBOARDS: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in texts(AT_HAND).items()}
# The daily table needs a past, which promtool cannot make of native histograms; the health of servers has none in it.
OF_FEATURES = [name for name in DASHBOARDS if name not in {"daily", "telemetry"}]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("native")
    rules = folder / "rules"
    rules.mkdir()
    with contextlib.closing(Servers(folder / "servers")) as servers:
        example = servers._started(Example(folder))
        server = servers.prometheus(
            scraping([example.address], interval="1s", rules=impatient_rules(rules)),
            native=True,
            features=[START_TIMES],
        )
        example.wait_for_every_metric()
        server.wait_for("min(count_over_time(up[5m])) >= 20")
        # What the example records last; rules that add up are evaluated a little later than now.
        server.wait_for("job:feature_optimization_change:sum15m", lambda found: len(found) == 4)
        # And what it seldom records, as it is healthy.
        for seldom in (
            'feature_usage:increase15m{outcome="failure"}',
            'feature_errors:increase15m{severity=~"critical|error"}',
        ):
            server.wait_for(f"job:{seldom} > 0")
        yield server


def test_histograms_are_stored_as_native_ones(prometheus: Prometheus) -> None:
    assert prometheus.query('{__name__=~"feature_.+_bucket"}') == []
    assert all("histogram" in result for result in prometheus.query("feature_usage_duration_seconds"))


@pytest.mark.parametrize("name", OF_FEATURES)
def test_every_panel_shows_finite_numbers(prometheus: Prometheus, name: str) -> None:
    wrong = without_finite_numbers(prometheus, DASHBOARDS[name], time.time())
    # The example is healthy, so its budgets need not burn; test_queries.py has alerts that fire.
    assert {panel: found for panel, found in wrong.items() if "ALERTS:since{" not in found[1]} == {}


def test_no_rule_fails_or_has_the_server_remark_something(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 40
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"} == {}
    for rule in rules:
        answer(prometheus, "query", query=rule["query"], time=time.time())
