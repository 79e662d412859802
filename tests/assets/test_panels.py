"""What panels show of processes that come and go, computed by promtool."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.assets import faults
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
BOUND = {
    f'otel_metrics_series{{job="shop",instance="a:9464",service_instance_id="{process}"}}': values
    for process, values in (("old", "20x9"), ("new", "30x9"))
}


def dashboard(name: str) -> Any:
    return json.loads((ROOT / f"grafana/dashboards/{name}.json").read_text(encoding="utf-8"))


def shown(name: str, title: str, target: int = 0) -> str:
    """Return the query of a shipped panel, as Grafana would put it for ten minutes."""
    (panel, *_) = [panel for panel in faults.panels(dashboard(name)) if panel["title"] == title]
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
        # Two processes of one target would be two curves of one name.
        (BOUND, "telemetry", "Series that record calls are bound to", 0, '{job="shop",instance="a:9464"}', 30),
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
    waiting = {LISTED.format("FeatureErrorsHigh", "pending critical", "shop chat    "): 60_000.0}
    tell(tmp_path / "waiting.test.yml", WAITING, listed, waiting)
    firing = {
        LISTED.format("ResourceExhausted", "firing critical", "shop    disk data"): 90_000.0,
        LISTED.format("FeatureSilent", "firing warning", "shop chat    "): 60_000.0,
        LISTED.format("FeatureSatisfactionLow", "firing warning", "shop chat    "): 30_000.0,
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
    firing = 'alertstate="firing"'
    disk = f'{{alertname="ResourceExhausted",{firing},severity="critical",{_DISK},where="shop    disk data"}}'
    tell(tmp_path / "pages.test.yml", PAGED, line, {disk: 90_000.0})
    tickets = {series: values for series, values in FIRING.items() if "critical" not in series}
    unloved = f'{{alertname="FeatureSatisfactionLow",{firing},severity="warning",{_CHAT},where="shop chat    "}}'
    tell(tmp_path / "tickets.test.yml", tickets, line, {unloved: 30_000.0})
    tell(tmp_path / "waiting.test.yml", WAITING, line, {})
    # Its name speaks of errors, its kind of slowness.
    burn = f'alertname="FeatureErrorBudgetBurnFast",severity="critical",kind="latency",service_level="chat-is-fast",{_CHAT}'
    budget = {f"ALERTS{{{firing},{burn}}}": "1x9", f"ALERTS_FOR_STATE{{{burn}}}": "60x9"}
    tell(
        tmp_path / "budget.test.yml",
        budget,
        line,
        {f'{{{firing},{burn},where="shop chat latency chat-is-fast  "}}': 60_000.0},
    )
    listed = LISTED.format("FeatureErrorBudgetBurnFast", "firing critical", "shop chat latency chat-is-fast  ")
    tell(tmp_path / "listed.test.yml", budget, shown("overview", "Alerts, firing and pending"), {listed: 60_000.0})
    # What the tile beside it counts is told, whatever its rule calls severe; the heartbeat is in neither.
    rest = {}
    for number, (name, severity) in enumerate((("TelemetryHeartbeat", "heartbeat"), ("NodeClockSkew", "info")), 1):
        rest[f'ALERTS{{alertname="{name}",alertstate="firing",severity="{severity}"}}'] = "1x9"
        rest[f'ALERTS_FOR_STATE{{alertname="{name}",severity="{severity}"}}'] = f"{number * 30}x9"
    tell(tmp_path / "pages_counted.test.yml", rest, shown("overview", "Alerts firing now", 0), {"{}": 0.0})
    tell(tmp_path / "counted.test.yml", rest, shown("overview", "Alerts firing now", 1), {"{}": 1.0})
    skew = f'{{alertname="NodeClockSkew",{firing},severity="info",where="     "}}'
    tell(tmp_path / "others.test.yml", rest, line, {skew: 60_000.0})


HEARTBEAT = {
    'ALERTS{alertname="TelemetryHeartbeat",alertstate="firing",severity="heartbeat"}': "1x9",
    'ALERTS_FOR_STATE{alertname="TelemetryHeartbeat",severity="heartbeat"}': "30x9",
}


def test_that_no_alert_fires_is_known_where_rules_are_loaded_only(tmp_path: Path) -> None:
    """Without the heartbeat there is no number that could be judged, green or otherwise."""
    line, listed = shown("overview", "Trouble"), shown("overview", "Alerts, firing and pending")
    numbers = [shown("overview", "Alerts firing now", target) for target in (0, 1)]
    calm = '{alertname="TelemetryHeartbeat",alertstate="firing",severity="heartbeat",where="     "}'
    row = LISTED.format("TelemetryHeartbeat", "firing heartbeat", "     ")
    tell(tmp_path / "line.test.yml", HEARTBEAT, line, {calm: 0.0})
    tell(tmp_path / "list.test.yml", HEARTBEAT, listed, {row: 0.0})
    tell(tmp_path / "no_line.test.yml", {"up": "1x9"}, line, {})
    tell(tmp_path / "no_list.test.yml", {"up": "1x9"}, listed, {})
    for number in numbers:
        tell(tmp_path / "number.test.yml", HEARTBEAT, number, {"{}": 0.0})
        tell(tmp_path / "no_number.test.yml", {"up": "1x9"}, number, {})
    page = '{alertname="FeatureErrorsHigh",alertstate="firing",severity="critical"'
    both = {**HEARTBEAT, f"ALERTS{page},{_CHAT}}}": "1x9"}
    both[f'ALERTS_FOR_STATE{{alertname="FeatureErrorsHigh",severity="critical",{_CHAT}}}'] = "60x9"
    tell(tmp_path / "both.test.yml", both, line, {f'{page},{_CHAT},where="shop chat    "}}': 60_000.0})
    pages = LISTED.format("FeatureErrorsHigh", "firing critical", "shop chat    ")
    tell(tmp_path / "both_listed.test.yml", both, listed, {pages: 60_000.0})
    for number, found in zip(numbers, (1.0, 0.0), strict=True):
        tell(tmp_path / "both_counted.test.yml", both, number, {"{}": found})


def test_a_silent_feature_is_in_trouble_since_it_was_used_last(tmp_path: Path) -> None:
    """Not since the alert's condition came, an hour later; in the line, beside the feature, in the list and as a mark."""
    silent = f'alertname="FeatureSilent",severity="warning",{_CHAT}'
    series = {
        f'ALERTS{{alertstate="firing",{silent}}}': "_x100 1x20",
        f"ALERTS_FOR_STATE{{{silent}}}": "_x100 5100x20",
        f'feature_usage_total{{{_CHAT},action="ask",outcome="success"}}': "0+1x25 25x95",
    }
    named = f'{{alertstate="firing",{silent},where="shop chat    "}}'
    listed = LISTED.format("FeatureSilent", "firing warning", "shop chat    ")
    began = 24 * 60_000.0  # the last use was in the minute after it
    tell(tmp_path / "line.test.yml", series, shown("overview", "Trouble"), {named: began}, "110m")
    tell(tmp_path / "list.test.yml", series, shown("overview", "Alerts, firing and pending"), {listed: began}, "110m")
    feature = {f"{{{_CHAT}}}": began}
    tell(tmp_path / "feature.test.yml", series, shown("overview", "Features, the worst first", 1), feature, "110m")
    [mark] = [one["expr"] for one in dashboard("overview")["annotations"]["list"] if one["name"] == "Other alerts"]
    tell(tmp_path / "mark.test.yml", series, substituted(mark), {named: began}, "110m")


def test_a_curve_that_ended_is_drawn_as_long_as_the_period_has_it(tmp_path: Path) -> None:
    """Of ten minutes it has the first two: an application that is gone, or history that was imported."""
    chat, search = (
        f'feature:feature_satisfaction_score:avg1h{{job="shop",feature="{name}"}}' for name in ("chat", "search")
    )
    curves = shown("overview", "Average satisfaction of the last hour")
    drawn = f"last_over_time(({curves})[10m:1m])"
    tell(tmp_path / "ended.test.yml", {chat: "0.5x2 stale", search: "0.9x9"}, drawn, {chat: 0.5, search: 0.9})


def test_what_was_recorded_without_a_context_has_a_name(tmp_path: Path) -> None:
    """It is most of the uses; a curve without a name would be called "Value"."""
    uses = f'job:feature_usage:increase15m{{{_CHAT},action="ask",outcome="success"'
    drawn = {'{context="(none)"}': 30.0, '{context="web"}': 6.0}
    curves = shown("usage", "Uses per minute, by context")
    tell(tmp_path / "context.test.yml", {f"{uses}}}": "5x9", f'{uses},context="web"}}': "1x9"}, curves, drawn)


@pytest.mark.parametrize(("begin", "change"), [(0, 1.0), (24, None)], ids=["fourteen days", "thirteen days"])
def test_weeks_are_compared_only_where_both_are_whole(tmp_path: Path, begin: int, change: float | None) -> None:
    """Seven full days against a few hours of a first one would be thousands of percent."""
    row = '{job="shop",feature="chat",metric_type="usage",metric_name="ask",unit="seconds"}'
    # The rows of a day are written from half past midnight on: ten values a day, in the second week twenty.
    written = f"_x{96 + 2 * begin} 10x{48 * 7 - 2 * begin - 1} 20x{48 * 7 - 1}"
    found = {} if change is None else {row: change}
    title = "The last seven full days against the seven before, in the unit of each row"
    expr = shown("daily", title, 4)
    tell(tmp_path / "weeks.test.yml", {f"feature_type_name:value:count1d{row}": written}, expr, found, "363h", "30m")


def tell(
    file: Path, series: Mapping[str, str], expr: str, found: Mapping[str, float], when: str = "9m", step: str = ""
) -> None:
    """Have promtool ask; series with a ``step`` of their own are of days, over which no rules are evaluated."""
    test = {
        "interval": step or "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {
                "expr": expr,
                "eval_time": when,
                "exp_samples": [{"labels": labels, "value": value} for labels, value in found.items()],
            }
        ],
    }
    recording = file.with_name("recording.yml")
    recording.write_text(rules(AT_HAND)["recording.yml"], encoding="utf-8")
    whole = {"rule_files": [] if step else [recording.name], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(json.dumps(whole), encoding="utf-8")
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
