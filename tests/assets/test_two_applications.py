"""Two applications that have a feature of one name, under one real Prometheus: nothing that is shown or told adds them up."""

from __future__ import annotations

import contextlib
import json
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.assets.dashboards import texts
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.assets import faults
from tests.assets.asking import substituted
from tests.assets.history import DAY, MINUTE, History, impatient_rules
from tests.dialects import CLASSIC, START_TIMES
from tests.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_metrics.results import DailyRow
    from tests.servers import Prometheus

ERRORS = {"shop": 3, "warehouse": 40}
"""How many each application records of a feature that both call checkout."""
VALUES = {"shop": (1, 3), "warehouse": (10, 20, 60)}
"""What each recorded yesterday."""
DASHBOARDS: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in texts(CLASSIC).items()}
ROW = 'feature="checkout",metric_type="usage",metric_name="pay",unit="seconds"'


def yesterday() -> float:
    """The midnight that began the last day whose rows rules record now."""
    return (time.time() - 30 * MINUTE) // DAY * DAY - DAY


def past() -> History:
    history = History()
    for job, values in VALUES.items():
        squares = sum(value**2 for value in values)
        totals = (len(values), sum(values), squares, min(values), max(values))
        for name, total in zip(("values", "sum_of_values", "sum_of_squares", "min", "max"), totals, strict=True):
            process = f'job="{job}",service_instance_id="{job}-1"'
            end = yesterday() + DAY - MINUTE
            history.hold(f'feature_daily_{name}{{{ROW},day="current",{process}}}', total, end - 60 * MINUTE, end)
    return history


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("two")
    past().write(folder / "data")
    (folder / "rules").mkdir()
    with contextlib.ExitStack() as running:
        jobs = []
        for job, errors in ERRORS.items():
            runtime = Runtime(Settings(port=0))
            running.callback(runtime.close)
            for _ in range(errors):
                runtime.advanced.record_error("checkout", "Timeout")
            address = f"127.0.0.1:{runtime.serve(host='127.0.0.1').port}"
            jobs.append({"job_name": job, "static_configs": [{"targets": [address]}]})
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in impatient_rules(folder / "rules", CLASSIC)],
            "scrape_configs": jobs,
        }
        servers = running.enter_context(contextlib.closing(Servers(folder / "servers")))
        server = servers.prometheus(
            json.dumps(config),
            features=[START_TIMES],
            data=folder / "data",
            flags=["--storage.tsdb.retention.time=30d"],
        )
        server.wait_for("feature:feature_errors:increase1h > 0", lambda found: len(found) == len(ERRORS))
        server.wait_for("job:feature_errors:increase15m > 0", lambda found: len(found) == len(ERRORS))
        server.wait_for("feature_type_name:value:stddev1d", lambda found: len(found) == len(VALUES))
        yield server


def by_job(server: Prometheus, expression: str) -> dict[str, float]:
    return {row["metric"].get("job", ""): float(row["value"][1]) for row in server.query(expression)}


def shown(
    server: Prometheus, name: str, title: str, job: str, *, period: str = "10m", at: float | None = None
) -> list[dict[str, Any]]:
    """What the first query of a panel finds where this job is chosen."""
    [panel] = [panel for panel in faults.panels(DASHBOARDS[name]) if panel["title"] == title]
    expression = panel["targets"][0]["expr"].replace("$job", job).replace("$feature", ".*").replace("$severity", ".*")
    return server.query(expression.replace("$__range", period), at)


def rows(server: Prometheus, **matchers: str) -> list[DailyRow]:
    runtime = Runtime(Settings(prometheus_url=server.url, prometheus_unavailable="raise", prometheus_matchers=matchers))
    with contextlib.closing(runtime):
        date = datetime.fromtimestamp(yesterday(), timezone.utc).date()
        return runtime.advanced.aggregate_daily_metrics(date=date)


def test_rules_record_each_by_itself(prometheus: Prometheus) -> None:
    assert by_job(prometheus, "feature:feature_errors:increase1h") == {"shop": 3, "warehouse": 40}


def test_an_alert_is_about_one_of_them(prometheus: Prometheus) -> None:
    prometheus.wait_for('ALERTS{alertname="FeatureErrorsHigh",alertstate="firing"}')
    rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    [alert] = next(rule for rule in rules if rule["name"] == "FeatureErrorsHigh")["alerts"]
    assert (alert["labels"]["job"], alert["labels"]["feature"]) == ("warehouse", "checkout")
    assert alert["annotations"]["summary"] == "checkout of warehouse: 40 errors in an hour"
    assert alert["annotations"]["dashboard"].endswith("?var-job=warehouse&var-feature=checkout")


def test_a_panel_shows_the_chosen_one_or_each(prometheus: Prometheus) -> None:
    [worst] = shown(prometheus, "overview", "Most errors", "shop")
    assert worst["value"][1] == "3"
    # Impatient rules record a quarter of an hour every second: a period of one second holds one.
    recorded_at = float(prometheus.query("min(timestamp(job:feature_errors:increase15m))")[0]["value"][1])
    title = "Errors in this period, by feature and type"
    table = shown(prometheus, "errors", title, ".*", period="1s", at=recorded_at)
    found = {(row["metric"]["job"], row["metric"]["feature"]): float(row["value"][1]) for row in table}
    assert found == {("shop", "checkout"): 3, ("warehouse", "checkout"): 40}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_panel_shows_the_one_that_is_not_chosen(prometheus: Prometheus, name: str) -> None:
    prometheus.wait_for('ALERTS{alertname="FeatureErrorsHigh",alertstate="firing",job="warehouse"}')
    now = time.time()
    for panel in faults.panels(DASHBOARDS[name]):
        for target in panel["targets"]:
            found = prometheus.query(substituted(target["expr"].replace("$job", "shop")), now)
            told = {value for row in found for value in row["metric"].values()}
            assert [value for value in told if "warehouse" in value] == [], panel["title"]


def test_the_daily_table_has_a_row_for_each(prometheus: Prometheus) -> None:
    assert by_job(prometheus, "feature_type_name:value:avg1d") == {"shop": 2, "warehouse": 30}
    assert by_job(prometheus, "feature_type_name:value:max1d") == {"shop": 3, "warehouse": 60}


def test_getters_read_the_rows_of_one_and_add_up_only_without_a_scope(prometheus: Prometheus) -> None:
    for job, count, average in (("shop", 2, 2000), ("warehouse", 3, 30000)):
        [row] = rows(prometheus, job=job)
        assert (row["count"], row["avg_value"]) == (count, average)
    [row] = rows(prometheus)
    # 1 + 3 + 10 + 20 + 60 seconds, in milliseconds.
    assert (row["count"], row["avg_value"], row["max_value"]) == (5, 18800, 60000)
