"""What panels show of processes that come and go, computed by promtool."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.assets.asking import substituted
from tests.servers import ROOT, promtool

if TYPE_CHECKING:
    from pathlib import Path

HEAP = 'resource_type="memory",resource_name="heap"'
OPTIMIZATION = 'feature="chat",impact_category="time",optimization_id="opt-1"'
RESTARTED = {
    # The old process was nearly full when it ended; the new one that took its place is not.
    f'resource_utilization_ratio{{{HEAP},service_instance_id="old"}}': "0.95x3 stale",
    f'resource_utilization_ratio{{{HEAP},service_instance_id="new"}}': "_x3 0.25x6",
    f'feature_optimization_before{{{OPTIMIZATION},service_instance_id="old"}}': "40x3 stale",
    f'feature_optimization_before{{{OPTIMIZATION},service_instance_id="new"}}': "_x3 40x6",
    f'feature_optimization_after{{{OPTIMIZATION},service_instance_id="old"}}': "80x3 stale",
    f'feature_optimization_after{{{OPTIMIZATION},service_instance_id="new"}}': "_x3 20x6",
}
ENDED = {f'resource_utilization_ratio{{{HEAP},service_instance_id="old"}}': "0.95x3 stale"}


def shown(name: str, title: str, target: int = 0) -> str:
    """Return the query of a shipped panel, as Grafana would put it for ten minutes."""
    panels = json.loads((ROOT / f"grafana/dashboards/{name}.json").read_text(encoding="utf-8"))["panels"]
    (panel, *_) = [panel for panel in panels if panel["title"] == title]
    return substituted(panel["targets"][target]["expr"])


@pytest.mark.parametrize(
    ("series", "name", "title", "target", "labels", "value"),
    [
        (RESTARTED, "resources", "Fullest resource now", 0, f"{{{HEAP}}}", 0.25),
        (RESTARTED, "resources", "Share in use now, the fullest first", 0, f"{{{HEAP}}}", 0.25),
        (RESTARTED, "resources", "What each process has in use now", 0, f'{{{HEAP},service_instance_id="new"}}', 0.25),
        (RESTARTED, "overview", "Resources: share in use", 0, f"{{{HEAP}}}", 0.25),
        (RESTARTED, "optimization", "Each optimization, before and after", 2, f"{{{OPTIMIZATION}}}", -0.5),
        (ENDED, "resources", "Fullest resource now", 0, "{}", None),
        (ENDED, "resources", "What each process has in use now", 0, "{}", None),
    ],
)
def test_a_process_that_ended_does_not_speak_for_the_one_in_its_place(
    tmp_path: Path, series: dict[str, str], name: str, title: str, target: int, labels: str, value: float | None
) -> None:
    test = {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {
                "expr": shown(name, title, target),
                "eval_time": "9m",
                "exp_samples": [] if value is None else [{"labels": labels, "value": value}],
            }
        ],
    }
    file = tmp_path / "panels.test.yml"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}), encoding="utf-8")
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
