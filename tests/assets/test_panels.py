"""What panels show of processes that come and go, computed by promtool."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.assets.asking import substituted
from tests.dialects import AT_HAND, rules
from tests.servers import ROOT, promtool

if TYPE_CHECKING:
    from collections.abc import Mapping
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
SHARE_OF_NEW = f'resource_utilization_ratio{{{HEAP},service_instance_id="new"}}'
_CHAT = 'job="shop",feature="chat"'
_DISK = 'job="shop",resource_type="disk",resource_name="data"'
WAITING = {
    f'ALERTS{{alertname="FeatureErrorsHigh",alertstate="pending",severity="critical",{_CHAT}}}': "1x9",
    f'ALERTS_FOR_STATE{{alertname="FeatureErrorsHigh",severity="critical",{_CHAT}}}': "60x9",
}
FIRING = {
    f'ALERTS{{alertname="ResourceExhausted",alertstate="firing",severity="critical",{_DISK}}}': "1x9",
    f'ALERTS_FOR_STATE{{alertname="ResourceExhausted",severity="critical",{_DISK}}}': "90x9",
    f'ALERTS{{alertname="FeatureSilent",alertstate="firing",severity="warning",{_CHAT}}}': "1x9",
    f'ALERTS_FOR_STATE{{alertname="FeatureSilent",severity="warning",{_CHAT}}}': "60x9",
    # Another one of the same feature has been there for longer.
    f'ALERTS{{alertname="FeatureSatisfactionLow",alertstate="firing",severity="warning",{_CHAT}}}': "1x9",
    f'ALERTS_FOR_STATE{{alertname="FeatureSatisfactionLow",severity="warning",{_CHAT}}}': "30x9",
    f"feature_outcome:feature_usage:rate5m{{{_CHAT}}}": "0x9",
    'feature_outcome:feature_usage:rate5m{job="shop",feature="search"}': "2x9",
}
LISTED = '{{alertname="{0}",runbook="{0}",state="{1}",where="{2}"}}'
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
        (RESTARTED, "resources", "What each process has in use now", 0, SHARE_OF_NEW, 0.25),
        (RESTARTED, "overview", "Resources: share in use", 0, f"{{{HEAP}}}", 0.25),
        (RESTARTED, "optimization", "Each optimization, before and after", 2, f"{{{OPTIMIZATION}}}", -0.5),
        (ENDED, "resources", "Fullest resource now", 0, "{}", None),
        (ENDED, "resources", "What each process has in use now", 0, "{}", None),
    ],
)
def test_a_process_that_ended_does_not_speak_for_the_one_in_its_place(
    tmp_path: Path, series: dict[str, str], name: str, title: str, target: int, labels: str, value: float | None
) -> None:
    found = {} if value is None else {labels: value}
    tell(tmp_path / "panels.test.yml", series, shown(name, title, target), found)


def test_alerts_are_listed_with_their_state_whatever_it_is_and_since_when(tmp_path: Path) -> None:
    """Milliseconds since 1970, as Grafana's units of time want them. Nothing is a column that there is only while something fires."""
    listed = shown("overview", "Alerts, firing and pending")
    waiting = {LISTED.format("FeatureErrorsHigh", "pending critical", "shop chat   "): 60_000.0}
    tell(tmp_path / "waiting.test.yml", WAITING, listed, waiting)
    firing = {
        LISTED.format("ResourceExhausted", "firing critical", "shop   disk data"): 90_000.0,
        LISTED.format("FeatureSilent", "firing warning", "shop chat   "): 60_000.0,
        LISTED.format("FeatureSatisfactionLow", "firing warning", "shop chat   "): 30_000.0,
    }
    tell(tmp_path / "firing.test.yml", FIRING, listed, firing)


PAGED = {
    **FIRING,
    f'ALERTS{{alertname="FeatureErrorsHigh",alertstate="firing",severity="critical",{_CHAT}}}': "1x9",
    f'ALERTS_FOR_STATE{{alertname="FeatureErrorsHigh",severity="critical",{_CHAT}}}': "150x9",
}


def test_the_trouble_of_a_feature_began_with_its_first_alert_that_pages_else_with_the_first_that_fires(
    tmp_path: Path,
) -> None:
    features = shown("overview", "Features, the worst first", 1)
    tell(tmp_path / "firing.test.yml", FIRING, features, {f"{{{_CHAT}}}": 30_000.0})
    tell(tmp_path / "pages.test.yml", PAGED, features, {f"{{{_CHAT}}}": 150_000.0})
    tell(tmp_path / "pending.test.yml", WAITING, features, {})


def test_one_line_says_what_came_first_of_what_pages_and_without_that_of_what_fires(tmp_path: Path) -> None:
    line = shown("overview", "Trouble")
    disk = f'{{alertname="ResourceExhausted",severity="critical",{_DISK},where="shop   disk data"}}'
    tell(tmp_path / "pages.test.yml", PAGED, line, {disk: 90_000.0})
    tickets = {series: values for series, values in FIRING.items() if "critical" not in series}
    unloved = f'{{alertname="FeatureSatisfactionLow",severity="warning",{_CHAT},where="shop chat   "}}'
    tell(tmp_path / "tickets.test.yml", tickets, line, {unloved: 30_000.0})
    tell(tmp_path / "waiting.test.yml", WAITING, line, {})
    burn = f'alertname="FeatureErrorBudgetBurnFast",severity="critical",service_level="chat-is-fast",{_CHAT}'
    budget = {f'ALERTS{{alertstate="firing",{burn}}}': "1x9", f"ALERTS_FOR_STATE{{{burn}}}": "60x9"}
    tell(tmp_path / "budget.test.yml", budget, line, {f'{{{burn},where="shop chat chat-is-fast  "}}': 60_000.0})
    # What the tile beside it counts is told, whatever its rule calls severe; the heartbeat is in neither.
    rest = {}
    for number, (name, severity) in enumerate((("TelemetryHeartbeat", "heartbeat"), ("NodeClockSkew", "info")), 1):
        rest[f'ALERTS{{alertname="{name}",alertstate="firing",severity="{severity}"}}'] = "1x9"
        rest[f'ALERTS_FOR_STATE{{alertname="{name}",severity="{severity}"}}'] = f"{number * 30}x9"
    tell(tmp_path / "counted.test.yml", rest, shown("overview", "Alerts firing now"), {"{}": 1.0})
    skew = '{alertname="NodeClockSkew",severity="info",where="    "}'
    tell(tmp_path / "others.test.yml", rest, line, {skew: 60_000.0})


def test_a_curve_that_ended_is_drawn_as_long_as_the_period_has_it(tmp_path: Path) -> None:
    """Of ten minutes it has the first two: an application that is gone, or history that was imported."""
    chat, search = (
        f'feature:feature_satisfaction_score:avg1h{{job="shop",feature="{name}"}}' for name in ("chat", "search")
    )
    curves = shown("overview", "Average satisfaction of the last hour")
    drawn = f"last_over_time(({curves})[10m:1m])"
    tell(tmp_path / "ended.test.yml", {chat: "0.5x2 stale", search: "0.9x9"}, drawn, {chat: 0.5, search: 0.9})


def tell(file: Path, series: Mapping[str, str], expr: str, found: Mapping[str, float]) -> None:
    test = {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {
                "expr": expr,
                "eval_time": "9m",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in found.items()],
            }
        ],
    }
    recording = file.with_name("recording.yml")
    recording.write_text(rules(AT_HAND)["recording.yml"], encoding="utf-8")
    whole = {"rule_files": [recording.name], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(json.dumps(whole), encoding="utf-8")
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
