"""What an installation without a checkout carries."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_a_wheel_carries_the_shipped_files_and_the_example(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-index", "--no-deps", "--target", site, wheel], check=True)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(site), "PATH": "", "OTM_SERVERS": str(tmp_path)}
        command = [sys.executable, "-m", "otel_metrics", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    check = run("render", "--check")
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")
    (site / "otel_metrics" / "_shipped" / "prometheus" / "rules" / "daily.yml").write_text("")
    assert run("render", "--check").returncode == 1, "it looked at other files than its own"

    refused = run("render", "--histograms", "classic")
    assert refused.returncode == 2
    assert "--root" in refused.stderr
    assert run("render").returncode == 2, "an installation is not written to"

    own = tmp_path / "deep" / "own"
    made = run("render", "--root", str(own), "--histograms", "classic", "--grafana-url", "https://grafana.example")
    assert made.returncode == 0, made.stderr
    for name in (
        "prometheus/prometheus.yml",
        "prometheus/alertmanager.yml",
        "prometheus/service_levels.yml",
        "prometheus/rules/service_levels.yml",
        "prometheus/rules/daily.yml",
        "grafana/provisioning/dashboards/otel_metrics.yml",
        "grafana/provisioning/datasources/prometheus.yml",
        "grafana/dashboards/runbook.json",
        "docs/cookbook.md",
        "docs/metrics.md",
        "docs/results.md",
        "docs/settings.md",
    ):
        assert f"wrote {name}\n" in made.stdout
        assert (own / name).read_text()
    (own / "prometheus" / "prometheus.yml").write_text("scrape_configs: []\n")
    assert run("render", "--root", str(own)).returncode == 0
    assert (own / "prometheus" / "prometheus.yml").read_text() == "scrape_configs: []\n", "it is the user's"
    assert run("render", "--check", "--root", str(own)).returncode == 0

    demo = run("demo", "--generations", "1", "--port", "0")
    assert demo.returncode == 0, demo.stderr
    assert "daily table" in demo.stdout
