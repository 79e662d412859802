"""Every shipped alert fires in a real Prometheus and arrives, through a real Alertmanager, at a webhook.

Hours of trouble are written into Prometheus' storage beforehand. The expressions are the shipped ones; only waiting is
taken out, which tests/assets/test_rules.py covers with promtool.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.assets.history import DAY, HOUR, MINUTE, History, impatient_rules
from tests.dialects import CLASSIC
from tests.servers import ROOT, Servers, routing_to, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALERTS = {
    rule["alert"]: rule
    for path in (ROOT / "prometheus/rules").glob("*.yml")
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
}

TELL_OF_ERRORS = {
    "FeatureErrorsHigh",
    "FeatureWarningsHigh",
    "FeatureRecoveryFailing",
    "FeatureErrorBudgetBurnFast",
    "FeatureErrorBudgetBurnSlow",
    "TelemetryArgumentsRejected",
}


def trouble(now: float) -> History:
    """Everything that can go wrong, during the last two hours."""
    history = History()
    start = now - 2 * HOUR
    me = 'job="app",instance="a",service_instance_id="1"'
    watch = 'job="prometheus",instance="p"'

    # FeatureErrorsHigh: 12 errors within the last half hour, none before.
    errors = (
        f'feature_errors_total{{feature="bad",error_type="T",severity="error",impact_level="low",recovery="none",{me}}}'
    )
    history.hold(errors, 0, start, now - 31 * MINUTE)
    history.hold(errors, 12, now - 30 * MINUTE, now)
    # FeatureWarningsHigh, FeatureRecoveryFailing, FeatureFailuresHigh.
    for feature, severity, recovery, count in (("warned", "warning", "none", 120), ("stuck", "info", "failed", 20)):
        kind = f'feature="{feature}",error_type="T",severity="{severity}",impact_level="low",recovery="{recovery}"'
        history.hold(f"feature_errors_total{{{kind},{me}}}", 0, start, now - 31 * MINUTE)
        history.hold(f"feature_errors_total{{{kind},{me}}}", count, now - 30 * MINUTE, now)
    for outcome, count in (("success", 30), ("failure", 10)):
        uses = f'feature_usage_total{{feature="failing",action="ask",outcome="{outcome}",context="web",{me}}}'
        history.hold(uses, 0, start, now - 31 * MINUTE)
        history.hold(uses, count, now - 30 * MINUTE, now)
    # FeatureLearningSamplesFew: two each. FeatureOptimizationWorse: twice as much. And a distant week.
    learned = f'feature="learning",learning_type="intents",{me}'
    for name, per_minute in (("samples_total", 2), ("accuracy_sum", 0.5), ("accuracy_count", 1)):
        history.grow(f"feature_learning_{name}{{{learned}}}", per_minute, start, now)
    for name, per_minute in (("sum", 2), ("count", 1)):
        changed = f'feature="tuned",impact_category="resource_usage",{me}'
        history.grow(f"feature_optimization_change_{name}{{{changed}}}", per_minute, start, now)
    for recorded, value in {
        'feature_learning_type:feature_learning_accuracy:avg1h{learning_type="intents",feature="learning"': 0.9,
        'feature_learning_type:feature_learning_accuracy:count1h{learning_type="intents",feature="learning"': 60,
        'feature:feature_satisfaction_score:avg1h{feature="sad"': 0.9,
        'feature:feature_satisfaction_score:count1h{feature="sad"': 60,
        'feature_metric_category:feature_performance_duration_seconds:avg1h{metric_category="response_time",feature="slow"': 1,
        'feature_metric_category:feature_performance_duration_seconds:count1h{metric_category="response_time",feature="slow"': 60,
        'feature_outcome:feature_usage:increase1h{outcome="success",feature="failing"': 100,
    }.items():
        history.hold(f'{recorded},job="app"}}', value, now - 7 * DAY - 10 * MINUTE, now - 7 * DAY + 10 * MINUTE)
    # FeatureResponseTimeP95High: ten a minute, all between 3.5 and 4 s.
    for bound, per_minute in (("3.5", 0), ("4.0", 10), ("+Inf", 10)):
        place = f'feature="crawling",metric_category="response_time",metric_name="ask",context="web",{me},le="{bound}"'
        history.grow(f"feature_performance_duration_seconds_bucket{{{place}}}", per_minute, start, now)
    place = f'feature="crawling",metric_category="response_time",metric_name="ask",context="web",{me}'
    history.grow(f"feature_performance_duration_seconds_count{{{place}}}", 10, start, now)
    # ResourceExhausted, ResourceFillingUp: from 60 % to 99 % in two hours.
    disk = f'resource_utilization_ratio{{resource_type="disk",resource_name="data",{me}}}'
    history.add(disk, ((start + n * MINUTE, 0.6 + 0.39 * n / 120) for n in range(121)))
    # FeatureSatisfactionLow: 0.5 a minute. FeatureResponseTimeHigh: 2 s a minute.
    for name, per_minute in (("sum", 0.5), ("count", 1)):
        history.grow(
            f'feature_satisfaction_score_{name}{{feature="sad",satisfaction_type="speed",{me}}}', per_minute, start, now
        )
    where = f'feature="slow",metric_category="response_time",metric_name="ask",context="web",{me}'
    for name, per_minute in (("sum", 2), ("count", 1)):
        history.grow(f"feature_performance_duration_seconds_{name}{{{where}}}", per_minute, start, now)
    # FeatureSilent: busy at this hour of yesterday.
    history.hold(
        'feature:feature_usage:increase1h{job="app",feature="gone"}', 50, now - DAY - HOUR, now - DAY + 10 * MINUTE
    )

    # FeatureErrorBudgetBurnFast and -Slow: for two hours half of the uses have failed.
    level = '{job="app",feature="source-reader",service_level="reading-succeeds"}'
    history.hold(f"service_level:events:increase1m{level}", 10, start, now)
    history.hold(f"service_level:bad_events:increase1m{level}", 5, start, now)

    history.hold(f"up{{{watch}}}", 1, start, now)
    history.hold('up{job="app",instance="down"}', 0, start, now)
    history.hold('up{job="vanished",instance="v"}', 1, start, now - 10 * MINUTE)
    # TelemetryLost, and with it TelemetryMissing: the heartbeat ended ten minutes ago.
    history.hold('up{job="app",instance="a"}', 1, start, now)
    history.hold(f"otel_metrics_series{{{me}}}", 9, start, now - 10 * MINUTE)
    history.hold(f"otel_metrics_scrapes_total{{{me}}}", 5, start, now, step=15)
    history.hold('scrape_duration_seconds{job="app",instance="a"}', 7, start, now)
    history.hold(f'otel_metrics_rejected_total{{call="record_error",reason="nan",{me}}}', 11, now - 5 * MINUTE, now)
    history.hold(f'otel_metrics_label_overflow_total{{label="action",{me}}}', 11, start, now)
    history.hold(f'otel_metrics_shared_errors_total{{reason="disk_full",{me}}}', 2, now - 5 * MINUTE, now)
    history.hold(f"otel_metrics_collisions{{{me}}}", 1, start, now)
    row = 'feature="chat",metric_type="usage",metric_name="ask",unit="seconds"'
    history.hold(f'feature_daily_values{{day="previous",{row},{me}}}', 5, start, now)

    drops = "prometheus_target_scrapes_{}_total"
    history.grow(f"{drops.format('sample_duplicate_timestamp')}{{{watch}}}", 5, start, now)
    for reason in ("sample_out_of_order", "sample_out_of_bounds", "exceeded_sample_limit"):
        history.hold(f"{drops.format(reason)}{{{watch}}}", 0, start, now)
    history.grow(f'prometheus_rule_evaluation_failures_total{{rule_group="g",{watch}}}', 1, start, now)
    history.hold(f'prometheus_rule_group_last_duration_seconds{{rule_group="g",{watch}}}', 90, start, now)
    history.hold(f'prometheus_rule_group_interval_seconds{{rule_group="g",{watch}}}', 60, start, now)
    history.hold(f"prometheus_config_last_reload_successful{{{watch}}}", 0, start, now)
    other = f'alertmanager="http://other/api/v2/alerts",{watch}'
    history.grow(f"prometheus_notifications_errors_total{{{other}}}", 4, start, now)
    history.grow(f"prometheus_notifications_sent_total{{{other}}}", 4, start, now)
    delivery = 'integration="webhook",job="alertmanager",instance="am"'
    history.grow(f'alertmanager_notifications_failed_total{{reason="other",{delivery}}}', 2, start, now)
    history.grow(f"alertmanager_notifications_total{{{delivery}}}", 2, start, now)
    return history


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What arrives at the webhook, by the alert's name."""
    folder: Path = tmp_path_factory.mktemp("alerts")
    servers = Servers(folder / "servers")
    try:
        webhook = servers.webhook()
        alertmanager = servers.alertmanager(routing_to(webhook.url))
        rules = folder / "rules"
        rules.mkdir()
        trouble(time.time()).write(folder / "data")
        servers.prometheus(
            # TelemetryDailyTableMissing: without the rules that write the table.
            rules=[path for path in impatient_rules(rules, CLASSIC) if path.name != "daily.yml"],
            alertmanagers=[alertmanager.address],
            data=folder / "data",
            # The alerts fire before Alertmanager is discovered, and would be sent again only after a minute.
            flags=["--storage.tsdb.retention.time=30d", "--rules.alert.resend-delay=1s"],
        )

        def arrived() -> bool:
            return {alert["labels"]["alertname"] for alert in webhook.alerts()} >= set(ALERTS)

        # Each test says for itself which one is missing.
        with contextlib.suppress(TimeoutError):
            wait_until(arrived, what="every alert at the webhook")
        yield {alert["labels"]["alertname"]: alert for alert in reversed(webhook.alerts())}
    finally:
        servers.close()


@pytest.mark.parametrize("name", ALERTS)
def test_the_alert_arrives_complete(delivered: dict[str, dict[str, Any]], name: str) -> None:
    assert name in delivered
    alert = delivered[name]
    assert alert["status"] == "firing"
    assert alert["labels"]["severity"] == ALERTS[name]["labels"]["severity"]
    assert set(alert["annotations"]) == {"summary", "description", "dashboard", "runbook_url"}
    for text in alert["annotations"].values():
        assert "{{" not in text
        assert "<no value>" not in text
        assert "error" not in text.lower() or name in TELL_OF_ERRORS


@pytest.mark.parametrize(
    ("name", "labels", "summary"),
    [
        ("FeatureErrorsHigh", {"feature": "bad"}, "bad of app: 12 errors in an hour"),
        (
            "FeatureErrorBudgetBurnFast",
            {"feature": "source-reader", "service_level": "reading-succeeds"},
            "reading-succeeds (success): the error budget burns 100.0 times too fast",
        ),
        ("FeatureSatisfactionLow", {"feature": "sad"}, "sad of app: average satisfaction 50%"),
        ("FeatureResponseTimeHigh", {"feature": "slow"}, "slow of app: average response time 2s"),
        ("FeatureSilent", {"feature": "gone"}, "gone of app: not used any more"),
        ("FeatureWarningsHigh", {"feature": "warned"}, "warned of app: 120 warnings in an hour"),
        ("FeatureRecoveryFailing", {"feature": "stuck"}, "stuck of app: 100% of recoveries fail"),
        ("FeatureFailuresHigh", {"feature": "failing"}, "failing of app: 25% of uses fail"),
        ("ResourceExhausted", {"resource_name": "data"}, "disk data of app: 99% in use"),
        ("TelemetryTargetDown", {"job": "app", "instance": "down"}, "app down: cannot be scraped"),
        ("TelemetryTargetsGone", {"job": "vanished"}, "vanished: no targets any more"),
        ("TelemetryLost", {"job": "app", "instance": "a"}, "app a: answers, but without its metrics"),
    ],
)
def test_the_alert_names_the_culprit(
    delivered: dict[str, dict[str, Any]], name: str, labels: dict[str, str], summary: str
) -> None:
    alert = delivered[name]
    assert labels.items() <= alert["labels"].items()
    assert alert["annotations"]["summary"] == summary
