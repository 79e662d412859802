"""The rules by a real vmalert, whose rules do not see what the ones before have just recorded, and by vmalert-tool; every panel."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_metrics.assets.dashboards import texts
from otel_metrics.promql import VICTORIAMETRICS
from tests import dialects
from tests.assets.asking import answer, misread_tables, without_finite_numbers
from tests.assets.history import MINUTE
from tests.assets.replayed import LEVELS, NOW, replayed
from tests.engines import VMAlert
from tests.processes import ROOT, program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers, VictoriaMetrics

# Every 20 s instead of every 30 min, and with as much less of what a query looks back.
INTERVAL, STEP = "20s", "3300ms"
KEY = 'feature="chat",metric_type="response_time",metric_name="reply_ms",unit="seconds"'
ROW = {
    "count1d": 4,
    "avg1d": 2.5,
    "min1d": 1,
    "max1d": 4,
    # Squares 30: sqrt((30 - 10^2 / 4) / 3)
    "stddev1d": 1.2909944487358056,
    # Of 100 values an hour 10 are up to 1, 60 up to 2.5, all up to 5: the median is at 40/50 of the bucket from 1 to 2.5.
    "p50_1d": 2.2,
    # At 35/40 of the bucket up to 5 that is 4.6875, at 39/40 more: kept at the largest value.
    "p95_1d": 4,
    "p99_1d": 4,
}


def samples(midnight: float) -> str:
    """The accumulators of a process before and after midnight, and what the hours' rules have recorded."""
    found = []
    for name, value in (("values", 4), ("sum_of_values", 10), ("sum_of_squares", 30), ("min", 1), ("max", 4)):
        series = f'feature_daily_{name}{{{KEY},service_instance_id="a",day="%s"}} {value} %d'
        found += [series % ("current", (midnight - minute * 60) * 1000) for minute in range(120, 0, -1)]
        found += [series % ("previous", (midnight + minute * 60) * 1000) for minute in range(1, 30)]
    hours = 'feature_type_name_histogram_le:value_bucket:increase1h{%s,histogram="h",le="%s"} %d %d'
    for hour in range(24):
        for minute in (10, 20):
            when = (midnight - hour * 3600 + minute * 60) * 1000
            for bound, value in (("1.0", 10), ("2.5", 60), ("5.0", 100), ("+Inf", 100)):
                found.append(hours % (KEY, bound, value, when))
    return "\n".join(found) + "\n"


def test_all_columns_of_the_daily_table_are_recorded(servers: Servers, tmp_path: Path) -> None:
    server = servers.victoria_metrics()
    server.import_text(samples((time.time() - 1800) // 86_400 * 86_400))
    [daily] = [group for group in dialects.groups(VICTORIAMETRICS) if group["name"] == "otel_metrics_daily"]
    rules = tmp_path / "daily.yml"
    rules.write_text(yaml.safe_dump({"groups": [{**daily, "interval": INTERVAL}]}), encoding="utf-8")
    servers.started(VMAlert, rules, server.url, flags=[f"-datasource.queryStep={STEP}"])
    for column, expected in ROW.items():
        [row] = server.wait_for(f"last_over_time(feature_type_name:value:{column}[2m])")
        assert float(row["value"][1]) == pytest.approx(expected, rel=1e-9), column


# Typed for Prometheus. The tool reads no native histograms; where a test has both kinds, the classic ones are enough.
TYPED = ("classic/daily", "classic/recording", "feature_alerts", "telemetry_alerts")


def _for_vmalert(test: dict[str, Any], alerts: set[str]) -> dict[str, Any]:
    """The same test: numbers to nine digits, as it keeps twelve, without names, which its functions keep, of alerts it has."""
    numbers = [
        {
            **each,
            "expr": f'label_del(round({each["expr"]}, 1e-9), "__name__", "alertgroup")',
            "exp_samples": [
                {"labels": re.sub("^[^{]*", "", sample["labels"]), "value": round(float(sample["value"]), 9)}
                for sample in each.get("exp_samples", ())
            ],
        }
        for each in test.get("promql_expr_test", ())
        if set(re.findall('alertname="(\\w+)"', each["expr"])) <= alerts
    ]
    return {
        **{key: value for key, value in test.items() if key != "promql_expr_test"},
        "input_series": [each for each in test.get("input_series", ()) if "{{" not in each["values"]],
        "metricsql_expr_test": numbers,
        "alert_rule_test": [each for each in test.get("alert_rule_test", ()) if each["alertname"] in alerts],
    }


@pytest.mark.parametrize("name", TYPED)
def test_rule_tests_typed_by_hand_hold_for_vmalert(tmp_path: Path, name: str) -> None:
    for file, text in dialects.rules(VICTORIAMETRICS).items():
        (tmp_path / "rules").mkdir(exist_ok=True)
        (tmp_path / "rules" / file).write_text(text, encoding="utf-8")
    alerts = {rule["alert"] for group in dialects.groups(VICTORIAMETRICS) for rule in group["rules"] if "alert" in rule}
    # As text: `0x60` is no number there.
    typed = yaml.load((ROOT / f"prometheus/tests/{name}.test.yml").read_text("utf-8"), yaml.BaseLoader)
    typed.pop("fuzzy_compare", None)
    path = tmp_path / f"tests/{name}.test.yml"
    path.parent.mkdir(parents=True)
    tests = [_for_vmalert(test, alerts) for test in typed["tests"]]
    path.write_text(yaml.safe_dump({**typed, "tests": tests}, sort_keys=False), encoding="utf-8")
    command = [program("vmalert-tool"), "unittest", "-disableAlertgroupLabel=true", f"--files={path}"]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------------------------------------------------- every query

DASHBOARDS = {name: json.loads(text) for name, text in texts(VICTORIAMETRICS, levels=LEVELS).items()}
RULES = [rule for group in dialects.groups(VICTORIAMETRICS, LEVELS) for rule in group["rules"]]
# docs/servers.md: they show Prometheus' own metrics.
EMPTY = {
    "telemetry": {
        ("Duration of rules as a share of their interval", "A"),
        ("Evaluations of rules that failed, per quarter of an hour", "A"),
        ("Notifications, per quarter of an hour", "A"),
        ("Notifications, per quarter of an hour", "B"),
    }
}

# Of the scenario, of the features that are slow and unused, and of the notifications that fail.
FIRING = {
    "AlertmanagerNotificationsFailing",
    "FeatureCompletionsDropped",
    "FeatureErrorBudgetBurnFast",
    "FeatureErrorBudgetBurnSlow",
    "FeatureErrorsHigh",
    "FeatureFailuresHigh",
    "FeatureLearningSamplesFew",
    "FeatureOptimizationWorse",
    "FeatureRecoveryFailing",
    "FeatureResponseTimeHigh",
    "FeatureSatisfactionLow",
    "FeatureSilent",
    "FeatureWarningsHigh",
    "ResourceExhausted",
    "ResourceFillingUp",
    "TelemetryArgumentsRejected",
    "TelemetryHeartbeat",
    "TelemetryLabelOverflow",
}


@pytest.fixture(scope="module")
def past(session_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> VictoriaMetrics:
    return replayed(session_servers, tmp_path_factory.mktemp("replayed"))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_shows_finite_numbers(past: VictoriaMetrics, name: str) -> None:
    wrong = without_finite_numbers(past, DASHBOARDS[name], NOW, busy=True)
    assert wrong.keys() == EMPTY.get(name, set()), wrong


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_table_has_one_row_for_every_key_and_a_heading_for_every_column(past: VictoriaMetrics, name: str) -> None:
    assert misread_tables(past, DASHBOARDS[name], NOW) == []


def test_alerts_fire_where_something_is_wrong(past: VictoriaMetrics) -> None:
    found = past.query('last_over_time(ALERTS{alertstate="firing"}[1h])', NOW)
    assert {each["metric"]["alertname"] for each in found} == FIRING


def test_every_alert_gives_finite_numbers(past: VictoriaMetrics) -> None:
    for rule in (rule for rule in RULES if "alert" in rule):
        # Then every hour of the days before has been recorded, too.
        found = answer(past, "query", query=rule["expr"], time=NOW - 5 * MINUTE)
        assert bool(found) == (rule["alert"] in FIRING), rule["alert"]
        assert all(math.isfinite(float(result["value"][1])) for result in found), rule["expr"]


@pytest.mark.parametrize(
    "rule",
    [rule for rule in RULES if "record" in rule],
    ids=lambda rule: "-".join([rule["record"], *rule.get("labels", {}).values()]),
)
def test_every_recording_rule_records_finite_numbers(past: VictoriaMetrics, rule: dict[str, Any]) -> None:
    matchers = ",".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
    found = past.query(f"last_over_time({rule['record']}{{{matchers}}}[1h])", NOW)
    assert found
    assert all(math.isfinite(float(result["value"][1])) for result in found)
