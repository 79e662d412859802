"""The committed files are what the catalogue yields, and drift is noticed."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
import yaml

from otel_metrics.assets import render
from otel_metrics.assets.links import Links
from otel_metrics.assets.scope import with_labels
from otel_metrics.errors import ConfigurationError
from otel_metrics.promql import DIALECTS, PROMETHEUS, Histograms
from otel_metrics.settings import Settings
from tests.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_committed_files_are_up_to_date() -> None:
    assert render.check(ROOT, render.files()) == []


def test_everything_written_into_an_empty_folder_is_up_to_date(tmp_path: Path) -> None:
    written = render.write(tmp_path, render.files())
    assert {path.relative_to(tmp_path).as_posix() for path in written} == set(render.files())
    assert render.check(tmp_path, render.files()) == []
    assert render.write(tmp_path, render.files()) == []


def test_links_in_alerts_lead_where_one_says(tmp_path: Path) -> None:
    links = Links(grafana="https://grafana.example/team", runbook="https://wiki.example/runbook")
    render.write(tmp_path, render.files(links=links))
    text = (tmp_path / "prometheus/rules/feature_alerts.yml").read_text(encoding="utf-8")
    assert 'runbook_url: "https://wiki.example/runbook#featureerrorshigh"' in text
    assert (
        'dashboard: "https://grafana.example/team/d/otel-metrics-errors?var-job={{ $labels.job | urlquery }}&var-feature='
        in text
    )
    assert render.check(tmp_path, render.files(links=links)) == []
    assert tmp_path / "prometheus/rules/feature_alerts.yml" in render.check(tmp_path, render.files())


def test_rules_and_dashboards_keep_the_labels_apart_that_one_names(tmp_path: Path) -> None:
    labels = ("job", "env", "cluster")
    render.write(tmp_path, render.files(scope=labels))
    rules = [
        rule
        for path in (tmp_path / "prometheus/rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]
    by_feature = re.compile(r"\b(?:by|on) \(([^)]*\bfeature\b[^)]*)\)")
    groupings = [found for rule in rules for found in by_feature.findall(rule["expr"])]
    assert len(groupings) > 30
    assert {grouping.partition(", feature")[0] for grouping in groupings} == {"job, env, cluster"}
    [errors] = [rule for rule in rules if rule.get("alert") == "FeatureErrorsHigh"]
    assert "&var-env={{ $labels.env | urlquery }}&" in errors["annotations"]["dashboard"]
    for path in (tmp_path / "grafana/dashboards").glob("*.json"):
        dashboard = json.loads(path.read_text(encoding="utf-8"))
        names = [variable["name"] for variable in dashboard["templating"]["list"]]
        assert names[:5] == ["datasource", "job", "env", "cluster", "feature"], path
    overview = (tmp_path / "grafana/dashboards/overview.json").read_text(encoding="utf-8")
    cluster = json.dumps('label_values(otel_metrics_series{job=~"$job|",env=~"$env|"}, cluster)')
    assert cluster in overview
    assert render.check(tmp_path, render.files(scope=labels)) == []
    assert tmp_path / "prometheus/rules/recording.yml" in render.check(tmp_path, render.files())


def test_what_cannot_be_a_label_to_keep_apart_is_rejected() -> None:
    assert with_labels(["env", "job", "env"]) == ("job", "env")
    for name in ("my-env", "1st", "__name__", "", "env,x"):
        with pytest.raises(ConfigurationError, match="is no label's name"):
            with_labels([name])
    for name in ("feature", "instance", "le", "alertname", "service_level", "level"):
        with pytest.raises(ConfigurationError, match=f"'{name}' cannot be kept apart"):
            with_labels([name])


def test_every_setting_is_explained_with_its_variable_and_default(tmp_path: Path) -> None:
    render.write(tmp_path, render.files())
    page = (tmp_path / "docs/settings.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows] == [f"`{field.name}`" for field in fields(Settings)]
    assert [row for row in rows if not all(row)] == []
    (port,) = (row for row in rows if row[0] == "`port`")
    assert port[1:4] == ["an integer from 0 to 65535", "`9464`", "`OTEL_EXPORTER_PROMETHEUS_PORT`"]
    assert "any free one" in port[4]


@pytest.mark.parametrize(
    "name",
    [
        "prometheus/rules/daily.yml",
        "grafana/dashboards/overview.json",
        "docs/cookbook.md",
        "docs/metrics.md",
        "docs/results.md",
        "docs/settings.md",
    ],
)
def test_an_edited_file_is_named_and_put_right(tmp_path: Path, name: str) -> None:
    render.write(tmp_path, render.files())
    path = tmp_path / name
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("e", "E", 1), encoding="utf-8")
    assert render.check(tmp_path, render.files()) == [path]
    assert render.write(tmp_path, render.files()) == [path]
    assert path.read_text(encoding="utf-8") == text


def test_other_line_ends_are_a_drift(tmp_path: Path) -> None:
    render.write(tmp_path, render.files())
    path = tmp_path / "prometheus/rules/recording.yml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert render.check(tmp_path, render.files()) == [path]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    render.write(tmp_path, render.files())
    path = tmp_path / "grafana/dashboards/usage.json"
    path.unlink()
    assert render.check(tmp_path, render.files()) == [path]


def test_what_was_generated_and_has_no_source_any_more_goes(tmp_path: Path) -> None:
    render.write(tmp_path, render.files())
    old_rules, old_dashboard = tmp_path / "prometheus/rules/old.yml", tmp_path / "grafana/dashboards/old.json"
    old_rules.write_text((tmp_path / "prometheus/rules/daily.yml").read_text(encoding="utf-8"), encoding="utf-8")
    old_dashboard.write_text((tmp_path / "grafana/dashboards/usage.json").read_text(encoding="utf-8"), encoding="utf-8")
    assert render.check(tmp_path, render.files()) == [old_dashboard, old_rules]
    render.write(tmp_path, render.files())
    assert not old_rules.exists()
    assert not old_dashboard.exists()


def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    render.write(tmp_path, render.files())
    rules, dashboard = tmp_path / "prometheus/rules/mine.yml", tmp_path / "grafana/dashboards/mine.json"
    rules.write_text("groups: []\n", encoding="utf-8")
    dashboard.write_text('{"title": "mine"}\n', encoding="utf-8")
    assert render.check(tmp_path, render.files()) == []
    assert render.write(tmp_path, render.files()) == []
    assert rules.exists()
    assert dashboard.exists()


def test_native_histograms_are_read_without_their_classic_series(tmp_path: Path) -> None:
    render.write(tmp_path, render.files(PROMETHEUS.storing(Histograms.CLASSIC)))
    changed = {path.relative_to(tmp_path).as_posix() for path in render.write(tmp_path, render.files())}
    assert {"prometheus/rules/daily.yml", "prometheus/rules/recording.yml", "grafana/dashboards/usage.json"} <= changed
    for path in tmp_path.rglob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert "_bucket" not in text, path
        assert "feature_satisfaction_score_sum" not in text, path
    for path in tmp_path.rglob("*.json"):
        assert "_bucket" not in path.read_text(encoding="utf-8"), path


def test_a_dialect_uses_what_its_server_knows(tmp_path: Path) -> None:
    text = {}
    for name, dialect in DIALECTS.items():
        render.write(tmp_path / name, render.files(dialect))
        text[name] = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / name).rglob("*.yml"))
    assert [name for name in DIALECTS if " anchored)" in text[name]] == ["prometheus"]
    # Of every group, or Thanos evaluates none of its rules while a store is away.
    groups, going_on = (
        text["thanos"].count(each) for each in ("  - name: ", "\n    partial_response_strategy: warn\n")
    )
    assert groups == going_on > 0
    assert [name for name in DIALECTS if "partial_response_strategy" in text[name]] == ["thanos"]
    assert [name for name in DIALECTS if "histogram_count(" in text[name]] == ["prometheus", "prometheus-3.5", "thanos"]
    assert [name for name in DIALECTS if "prometheus_rule_" in text[name]] == ["prometheus", "prometheus-3.5", "thanos"]


def test_victoria_metrics_stores_no_native_histograms() -> None:
    with pytest.raises(ValueError, match="stores no native histograms"):
        DIALECTS["victoriametrics"].storing(Histograms.NATIVE)
