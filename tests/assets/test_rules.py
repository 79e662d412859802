"""The shipped rules: valid, linted, and tested alert by alert with promtool."""

from __future__ import annotations

import functools
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_metrics.assets import render
from otel_metrics.assets.render import Histograms
from tests.servers import ROOT, promtool

if TYPE_CHECKING:
    from pathlib import Path

RULES = sorted((ROOT / "prometheus/rules").glob("*.yml"))
TESTS = sorted((ROOT / "prometheus/tests").glob("*.test.yml"))
NATIVE_TESTS = sorted((ROOT / "prometheus/tests/native").glob("*.test.yml"))
# It always fires, so it has no other case.
ALWAYS = "TelemetryHeartbeat"


@functools.cache
def rules() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    return [rule for group in groups for rule in group["rules"]]


@functools.cache
def cases() -> list[dict[str, Any]]:
    return [test for path in TESTS for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def test_rules_are_linted() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_valid_with_its_rules() -> None:
    done = promtool("check", "config", "--lint=all", ROOT / "prometheus/prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(RULES)} rule files found" in done.stdout


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_rule_tests_typed_by_hand(path: Path) -> None:
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", NATIVE_TESTS, ids=lambda path: path.name)
def test_rule_tests_typed_by_hand_for_native_histograms(path: Path, tmp_path: Path) -> None:
    render.write(tmp_path, Histograms.NATIVE)
    native = tmp_path / "prometheus/tests/native" / path.name
    native.parent.mkdir(parents=True)
    shutil.copy(path, native)
    checked = promtool(
        "check", "rules", "--lint=all", "--lint-fatal", *sorted((tmp_path / "prometheus/rules").glob("*"))
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    done = promtool("test", "rules", native)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [rule["alert"] for rule in alerts() if rule["alert"] != ALWAYS])
@pytest.mark.parametrize("case", ["firing", "silent", "low traffic"])
def test_every_alert_has_its_cases(name: str, case: str) -> None:
    mine = [test for test in cases() if test["name"].startswith(f"{name}: {case}")]
    assert mine, f"no test of {name} is called {case}"
    checks = [check for test in mine for check in test["alert_rule_test"] if check["alertname"] == name]
    fires = any(check["exp_alerts"] for check in checks)
    assert checks
    assert fires == (case == "firing")


def test_every_recorded_series_has_a_test() -> None:
    tested = "\n".join(path.read_text(encoding="utf-8") for path in TESTS)
    assert {rule["record"] for rule in rules() if "record" in rule and rule["record"] not in tested} == set()


def test_every_recorded_series_is_read_by_something() -> None:
    readers = [rule["expr"] for rule in rules()]
    readers += [path.read_text(encoding="utf-8") for path in (ROOT / "grafana/dashboards").glob("*.json")]
    assert {
        rule["record"] for rule in rules() if "record" in rule and not any(rule["record"] in text for text in readers)
    } == set()


@pytest.mark.parametrize("alert", alerts(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    runbook = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^a-z0-9-]", "", line[3:].lower().replace(" ", "-"))
        for line in runbook.splitlines()
        if line[:3] == "## "
    }
    path, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert path == "http://localhost:3000/d/otel-metrics-runbook"
    assert anchor in anchors
    assert alert["labels"]["severity"] in {"critical", "warning", "heartbeat"}
    assert {"summary", "description", "dashboard"} <= set(alert["annotations"])


def test_dashboards_that_alerts_point_to_exist() -> None:
    dashboards = (ROOT / "grafana/dashboards").glob("*.json")
    uids = {json.loads(path.read_text(encoding="utf-8"))["uid"] for path in dashboards}
    for alert in alerts():
        link = alert["annotations"]["dashboard"]
        assert link.startswith("http://localhost:3000/d/"), alert["alert"]
        assert link.removeprefix("http://localhost:3000/d/").partition("?")[0] in uids, alert["alert"]


def test_a_slow_scrape_is_noticed_before_it_is_given_up() -> None:
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    [slow] = [alert for alert in alerts() if alert["alert"] == "TelemetryScrapeSlow"]
    assert float(slow["expr"].rpartition(">")[2]) < float(config["global"]["scrape_timeout"].removesuffix("s"))
