"""The shipped rules: valid, linted, and tested alert by alert with promtool."""

from __future__ import annotations

import functools
import itertools
import json
import re
import shutil
import statistics
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_metrics.assets import data_files, render
from otel_metrics.promql import VICTORIAMETRICS, Histograms, of_prometheus
from tests.assets.asking import one_line
from tests.servers import ROOT, program, promtool, version

if TYPE_CHECKING:
    from pathlib import Path

RULES = sorted((ROOT / "prometheus/rules").glob("*.yml"))
TESTS = sorted((ROOT / "prometheus/tests").rglob("*.test.yml"))
NATIVE = [path for path in TESTS if path.parent.name == "tests"]
CLASSIC = [path for path in TESTS if path not in NATIVE]
# They say both kinds of histograms.
BOTH = [ROOT / f"prometheus/tests/{name}.test.yml" for name in ("feature_alerts", "incidents", "service_levels")]
# What the promtool at hand understands; CI has both.
DIALECT = of_prometheus(version("promtool"))
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


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[Histograms, Path]:
    """Rules and configuration for the promtool at hand, with the tests typed for them."""
    folders = {}
    for histograms in Histograms:
        folder = tmp_path_factory.mktemp(histograms.value)
        render.write(folder, render.files(DIALECT.storing(histograms)))
        data_files.copy_missing(folder, DIALECT.name)
        shutil.copytree(ROOT / "prometheus/tests", folder / "prometheus/tests")
        folders[histograms] = folder / "prometheus"
    return folders


@pytest.mark.parametrize("histograms", Histograms)
def test_rules_are_linted(rendered: dict[Histograms, Path], histograms: Histograms) -> None:
    rules = sorted((rendered[histograms] / "rules").glob("*.yml"))
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *rules)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_valid_with_its_rules(rendered: dict[Histograms, Path]) -> None:
    done = promtool("check", "config", "--lint=all", rendered[Histograms.NATIVE] / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(RULES)} rule files found" in done.stdout


@pytest.mark.parametrize(
    ("histograms", "path"),
    [
        *((Histograms.NATIVE, path) for path in NATIVE),
        *((Histograms.CLASSIC, path) for path in (*CLASSIC, *BOTH)),
    ],
    ids=lambda value: value.name,
)
def test_rule_tests_typed_by_hand(rendered: dict[Histograms, Path], histograms: Histograms, path: Path) -> None:
    done = promtool("test", "rules", rendered[histograms] / path.relative_to(ROOT / "prometheus"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_of_victoria_metrics_are_understood(tmp_path: Path) -> None:
    render.write(tmp_path, render.files(VICTORIAMETRICS))
    done = subprocess.run(
        [program("vmalert"), "-dryRun", f"-rule={tmp_path}/prometheus/rules/*.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_of_victoria_metrics_is_understood() -> None:
    done = subprocess.run(
        [program("victoria-metrics"), "-dryRun", f"-promscrape.config={ROOT}/prometheus/victoriametrics.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_is_what_a_person_would_write(capsys: pytest.CaptureFixture[str]) -> None:
    lengths = sorted((len(one_line(rule["expr"])), rule.get("record") or rule["alert"]) for rule in rules())
    median, (longest, name) = statistics.median(length for length, _ in lengths), lengths[-1]
    with capsys.disabled():
        print(f"\n{len(lengths)} rules: median {median:.0f} characters, longest {longest} ({name})")
    assert median < 120
    assert longest < 400
    lines = [line for path in RULES for line in path.read_text(encoding="utf-8").splitlines() if '"' not in line]
    assert max(map(len, lines)) <= 120


def test_every_group_says_what_it_answers() -> None:
    for path in RULES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for above, line in itertools.pairwise(lines):
            assert not line.startswith("  - name: ") or above.startswith("  # "), line


@pytest.mark.parametrize("name", [rule["alert"] for rule in alerts() if rule["alert"] != ALWAYS])
@pytest.mark.parametrize("case", ["firing", "silent", "low traffic"])
def test_every_alert_has_its_cases(name: str, case: str) -> None:
    mine = [test for test in cases() if test["name"].startswith(f"{name}: {case}")]
    assert mine, f"no test of {name} is called {case}"
    checks = [check for test in mine for check in test["alert_rule_test"] if check["alertname"] == name]
    fires = any(check["exp_alerts"] for check in checks)
    assert checks
    assert fires == (case == "firing")


@pytest.mark.parametrize("name", [rule["alert"] for rule in alerts() if rule["alert"] != ALWAYS])
def test_every_alert_ends(name: str) -> None:
    """In some case it has fired, and later it does not any more."""
    mine = [
        [
            *(bool(check["exp_alerts"]) for check in test.get("alert_rule_test", ()) if check["alertname"] == name),
            *(bool(check["exp_samples"]) for check in test.get("promql_expr_test", ()) if f'"{name}"' in check["expr"]),
        ]
        for test in cases()
    ]
    assert any((True, False) in itertools.pairwise(checks) for checks in mine)


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
    """Its link opens the panel of the runbook that has its name, and the page has a section of that name."""
    path, _, panel = alert["annotations"]["runbook_url"].partition("?viewPanel=panel-")
    assert path == "http://localhost:3000/d/otel-metrics-runbook"
    runbook = json.loads((ROOT / "grafana/dashboards/runbook.json").read_text(encoding="utf-8"))
    folded = [each for row in runbook["panels"] for each in row.get("panels", ())]
    titles = {str(each["id"]): each["title"] for each in [*runbook["panels"], *folded]}
    assert titles[panel] == alert["alert"]
    assert f"\n## {alert['alert']}\n" in (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    assert alert["labels"]["severity"] in {"critical", "warning", "heartbeat"}
    assert {"summary", "description", "dashboard"} <= set(alert["annotations"])


def test_dashboards_that_alerts_point_to_exist_and_have_the_variables_of_the_links() -> None:
    files = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "grafana/dashboards").glob("*.json")]
    variables = {each["uid"]: {one["name"] for one in each["templating"]["list"]} for each in files}
    for alert in alerts():
        link = alert["annotations"]["dashboard"]
        assert link.startswith("http://localhost:3000/d/"), alert["alert"]
        uid, _, chosen = link.removeprefix("http://localhost:3000/d/").partition("?")
        assert set(re.findall(r"var-(\w+)=", chosen)) <= variables[uid], alert["alert"]


def test_a_slow_scrape_is_noticed_before_it_is_given_up() -> None:
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    [slow] = [alert for alert in alerts() if alert["alert"] == "TelemetryScrapeSlow"]
    assert float(slow["expr"].rpartition(">")[2]) < float(config["global"]["scrape_timeout"].removesuffix("s"))
