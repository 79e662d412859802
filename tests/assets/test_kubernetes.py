"""What deployments start from: the objects that ``otel-metrics render --format kubernetes`` writes, and a unit of systemd."""

from __future__ import annotations

import configparser
import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft7Validator

from otel_metrics.cli import main, parser
from tests.servers import ROOT, promtool

if TYPE_CHECKING:
    from pathlib import Path

SCHEMAS = json.loads((ROOT / "tests/assets/prometheus-operator.schema.json").read_text(encoding="utf-8"))
LARGEST = 256 * 1024
"""Bytes of an annotation, in which `kubectl apply` keeps a copy of every object."""

Object = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("manifests")
    assert main(["render", "--format", "kubernetes", "--root", str(root)]) == 0
    return root / "kubernetes"


def objects(file: Path) -> list[Object]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("dialect", ["prometheus-3.5", "thanos"])
def test_custom_resources_are_what_the_operator_accepts(dialect: str, tmp_path: Path) -> None:
    assert main(["render", "--format", "kubernetes", "--dialect", dialect, "--root", str(tmp_path)]) == 0
    folder = tmp_path / "kubernetes"
    found = [*objects(folder / "rules.yaml"), *objects(folder / "pod-monitor.yaml")]
    assert [each["kind"] for each in found] == ["PrometheusRule"] * 5 + ["PodMonitor"]
    for each in found:
        Draft7Validator(SCHEMAS[each["kind"]]).validate(each)
        each["spec"]["intervall"] = "1m"
        assert list(Draft7Validator(SCHEMAS[each["kind"]]).iter_errors(each))


def test_the_rules_are_those_of_the_files(folder: Path, tmp_path: Path) -> None:
    assert main(["render", "--dialect", "prometheus-3.5", "--root", str(tmp_path)]) == 0
    ours = {each["metadata"]["name"]: each["spec"] for each in objects(folder / "rules.yaml")}
    assert ours == {
        f"otel-metrics-{name.replace('_', '-')}": yaml.safe_load(
            (tmp_path / f"prometheus/rules/{name}.yml").read_text()
        )
        for name in ("recording", "daily", "feature_alerts", "telemetry_alerts", "service_levels")
    }
    # The operator's parser knows no range modifiers unless it is told to.
    assert "anchored" not in (folder / "rules.yaml").read_text()
    for name, spec in ours.items():
        file = tmp_path / f"{name}.yml"
        file.write_text(yaml.safe_dump(spec))
        done = promtool("check", "rules", file)
        assert done.returncode == 0, done.stderr


def test_every_dashboard_is_a_map_that_the_sidecar_finds(folder: Path) -> None:
    found = objects(folder / "dashboards.yaml")
    files = {file.name: json.loads(file.read_text()) for file in (ROOT / "grafana/dashboards").glob("*.json")}
    assert {name for each in found for name in each["data"]} == files.keys()
    for each in found:
        assert (each["kind"], each["metadata"]["labels"]) == ("ConfigMap", {"grafana_dashboard": "1"})
        ((name, text),) = each["data"].items()
        assert json.loads(text)["uid"] == files[name]["uid"]
        assert len(json.dumps(each).encode()) < LARGEST


def test_the_example_is_scraped_probed_and_bounded(folder: Path) -> None:
    (monitor,), (deployment,) = objects(folder / "pod-monitor.yaml"), objects(folder / "deployment.yaml")
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert (
        pod["metadata"]["labels"]
        == deployment["spec"]["selector"]["matchLabels"]
        == (monitor["spec"]["selector"]["matchLabels"])
    )
    assert monitor["spec"]["jobLabel"] in pod["metadata"]["labels"]
    (port,) = container["ports"]
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == [port["name"]]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/-/healthy", "port": port["name"]}
    assert container["resources"].keys() == {"requests", "limits"}
    assert {"name": "OTEL_EXPORTER_PROMETHEUS_HOST", "value": "0.0.0.0"} in container["env"]


def test_the_kustomization_names_what_is_there(folder: Path) -> None:
    (kustomization,) = objects(folder / "kustomization.yaml")
    assert all((folder / name).is_file() for name in kustomization["resources"])
    names = [
        (each["kind"], each["metadata"]["name"])
        for file in kustomization["resources"]
        for each in objects(folder / file)
    ]
    assert len(names) == len(set(names)) == 20


def test_what_is_meant_to_be_changed_is_written_once(folder: Path) -> None:
    (folder / "pod-monitor.yaml").write_text("changed: true\n")
    (folder / "rules.yaml").write_text("changed: true\n")
    again = ["render", "--format", "kubernetes", "--root", str(folder.parent)]

    assert main([*again, "--check"]) == 1
    assert main(again) == 0
    assert main([*again, "--check"]) == 0

    assert objects(folder / "pod-monitor.yaml") == [{"changed": True}]
    assert len(objects(folder / "rules.yaml")) == 5


def test_a_folder_has_to_be_named() -> None:
    assert main(["render", "--format", "kubernetes"]) == 2


def test_the_unit_of_systemd_starts_a_command_that_there_is() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((ROOT / "examples/otel-metrics-stack.service").read_text(encoding="utf-8"))
    _, *arguments = shlex.split(unit["Service"]["ExecStart"])

    parsed = parser().parse_args(arguments)

    assert parsed.application == ["localhost:9464"]
    assert str(parsed.state) == f"/var/lib/{unit['Service']['StateDirectory']}"
