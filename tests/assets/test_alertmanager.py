"""The shipped configuration of Alertmanager: who gets which alert, and what is held back."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers import ROOT, fetch, program, wait_until

if TYPE_CHECKING:
    from tests.servers import Process, Servers, Webhook


@pytest.fixture
def shipped_routes(servers: Servers, tmp_path: Path) -> tuple[Process, Webhook]:
    """Alertmanager with the shipped configuration; only the place of the secret and the waiting are changed."""
    webhook = servers.webhook()
    secret = tmp_path / "alert_webhook_url"
    # As an editor leaves it, with a line end.
    secret.write_text(f"{webhook.url}\n", encoding="utf-8")
    text = (ROOT / "prometheus/alertmanager.yml").read_text(encoding="utf-8")
    assert "/run/secrets/alert_webhook_url" in text
    text = text.replace("/run/secrets/alert_webhook_url", str(secret))
    text = re.sub(r"group_wait: \w+", "group_wait: 300ms", text)
    text = re.sub(r"group_interval: \w+", "group_interval: 1s", text)
    return servers.alertmanager(text), webhook


def send(alertmanager: Process, *alerts: dict[str, str]) -> None:
    body = json.dumps([{"labels": labels, "annotations": {"summary": "s"}} for labels in alerts]).encode()
    fetch(f"{alertmanager.url}/api/v2/alerts", body, {"Content-Type": "application/json"})


def names(webhook: Webhook) -> set[str]:
    return {alert["labels"]["alertname"] for alert in webhook.alerts()}


def test_alerts_go_to_the_address_in_the_secret_and_the_heartbeat_does_not(
    shipped_routes: tuple[Process, Webhook],
) -> None:
    alertmanager, webhook = shipped_routes
    send(alertmanager, {"alertname": "TelemetryHeartbeat", "severity": "heartbeat"})
    send(alertmanager, {"alertname": "FeatureErrorsHigh", "severity": "critical", "feature": "chat"})
    send(alertmanager, {"alertname": "FeatureSatisfactionLow", "severity": "warning", "feature": "search"})
    wait_until(lambda: {"FeatureErrorsHigh", "FeatureSatisfactionLow"} <= names(webhook), what="both alerts")
    assert "TelemetryHeartbeat" not in names(webhook)


def test_what_follows_from_another_alert_is_held_back(shipped_routes: tuple[Process, Webhook]) -> None:
    alertmanager, webhook = shipped_routes
    here = {"job": "app", "instance": "a", "severity": "critical"}
    send(
        alertmanager,
        {"alertname": "TelemetryTargetDown", **here},
        {"alertname": "TelemetryScrapeSlow", **here},
        {"alertname": "TelemetryScrapeSlow", **here, "instance": "b"},
        {"alertname": "TelemetryMissing", "severity": "critical"},
        {"alertname": "FeatureSilent", "severity": "warning", "job": "app", "feature": "chat"},
    )
    wait_until(
        lambda: {"TelemetryScrapeSlow", "TelemetryMissing"} <= names(webhook), what="those that are not held back"
    )
    held = {
        alert["labels"]["alertname"]
        for alert in json.loads(fetch(f"{alertmanager.url}/api/v2/alerts"))
        if alert["status"]["inhibitedBy"]
    }
    assert held == {"TelemetryScrapeSlow", "FeatureSilent"}
    assert [a["labels"]["instance"] for a in webhook.alerts() if a["labels"]["alertname"] == "TelemetryScrapeSlow"] == [
        "b"
    ]
    assert "FeatureSilent" not in names(webhook)


def test_the_trouble_of_one_feature_of_one_application_is_one_notification(
    shipped_routes: tuple[Process, Webhook],
) -> None:
    alertmanager, webhook = shipped_routes
    names_ = ("FeatureResponseTimeHigh", "FeatureSatisfactionLow")
    send(
        alertmanager,
        {"alertname": "FeatureErrorsHigh", "severity": "critical", "job": "app", "feature": "chat"},
        *({"alertname": name, "severity": "warning", "job": "app", "feature": "chat"} for name in names_),
        *({"alertname": name, "severity": "warning", "job": "app", "feature": "search"} for name in names_),
        {"alertname": "FeatureSilent", "severity": "warning", "job": "other", "feature": "chat"},
    )
    wait_until(lambda: len(webhook.alerts()) >= 4, what="the alerts that are not held back")
    told = [(alert["labels"]["feature"], alert["labels"]["alertname"]) for alert in webhook.alerts()]
    assert sorted(set(told)) == [
        ("chat", "FeatureErrorsHigh"),
        ("chat", "FeatureSilent"),  # of another application
        ("search", "FeatureResponseTimeHigh"),
        ("search", "FeatureSatisfactionLow"),
    ]
    assert any(len(post["alerts"]) == 2 for post in webhook.posts)


def test_a_budget_that_burns_and_the_errors_that_burn_it_are_one_page(shipped_routes: tuple[Process, Webhook]) -> None:
    """Errors of another feature, and of another application, are told."""
    alertmanager, webhook = shipped_routes
    chat = {"severity": "critical", "job": "shop", "feature": "chat"}
    send(
        alertmanager,
        {"alertname": "FeatureErrorBudgetBurnFast", "service_level": "chat-answers", "kind": "success", **chat},
        {"alertname": "FeatureErrorBudgetBurnSlow", "service_level": "chat-answers", **chat, "severity": "warning"},
        {"alertname": "FeatureErrorsHigh", **chat},
        {"alertname": "FeatureErrorsHigh", **chat, "feature": "search"},
        {"alertname": "FeatureErrorsHigh", **chat, "job": "shop-staging"},
    )
    wait_until(lambda: len(webhook.alerts()) >= 3, what="the alerts that are not held back")
    told = {
        (alert["labels"]["alertname"], alert["labels"]["job"], alert["labels"]["feature"]) for alert in webhook.alerts()
    }
    assert told == {
        ("FeatureErrorBudgetBurnFast", "shop", "chat"),
        ("FeatureErrorsHigh", "shop", "search"),
        ("FeatureErrorsHigh", "shop-staging", "chat"),
    }


def test_a_slow_feature_that_begins_to_fail_is_told(shipped_routes: tuple[Process, Webhook]) -> None:
    """A budget of response times that burns says nothing of errors; both are one notification, as they are of one feature."""
    alertmanager, webhook = shipped_routes
    chat = {"severity": "critical", "job": "shop", "feature": "chat"}
    send(
        alertmanager,
        {"alertname": "FeatureErrorBudgetBurnFast", "service_level": "chat-is-fast", "kind": "latency", **chat},
        {"alertname": "FeatureFailuresHigh", **chat},
        {"alertname": "FeatureErrorsHigh", **chat},
        {"alertname": "FeatureResponseTimeHigh", **chat, "severity": "warning"},
    )
    wait_until(lambda: len(webhook.alerts()) >= 2, what="the alerts that are not held back")
    assert names(webhook) == {"FeatureErrorBudgetBurnFast", "FeatureFailuresHigh"}
    assert {len(post["alerts"]) for post in webhook.posts} == {2}


def test_the_configuration_of_alertmanager_is_valid() -> None:
    amtool = Path(program("alertmanager")).resolve().parent / "amtool"
    done = subprocess.run(
        [amtool, "check-config", ROOT / "prometheus/alertmanager.yml"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": "/"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_job_without_targets_silences_its_own_features_only(shipped_routes: tuple[Process, Webhook]) -> None:
    alertmanager, webhook = shipped_routes
    silent = {"alertname": "FeatureSilent", "severity": "warning", "feature": "chat"}
    send(
        alertmanager,
        {"alertname": "TelemetryTargetsGone", "severity": "critical", "job": "app"},
        {**silent, "job": "app"},
        {**silent, "job": "other"},
    )
    wait_until(lambda: {"TelemetryTargetsGone", "FeatureSilent"} <= names(webhook), what="those that are not held back")
    assert {a["labels"]["job"] for a in webhook.alerts() if a["labels"]["alertname"] == "FeatureSilent"} == {"other"}


def test_one_incident_calls_once(shipped_routes: tuple[Process, Webhook]) -> None:
    """The share of failures holds the count of errors back, both hold back every ticket of the feature, and what is full is not filling."""
    alertmanager, webhook = shipped_routes
    here = {"job": "app", "feature": "chat"}
    disk = {"job": "app", "resource_type": "disk", "resource_name": "data"}
    tickets = (
        "FeatureWarningsHigh",
        "FeatureRecoveryFailing",
        "FeatureSlowerThanLastWeek",
        "FeatureSatisfactionDropped",
    )
    send(
        alertmanager,
        {"alertname": "FeatureFailuresHigh", "severity": "critical", **here},
        {"alertname": "FeatureErrorsHigh", "severity": "critical", **here},
        *({"alertname": name, "severity": "warning", **here} for name in tickets),
        {"alertname": "ResourceExhausted", "severity": "critical", **disk},
        {"alertname": "ResourceFillingUp", "severity": "warning", **disk},
        {"alertname": "FeatureErrorsHigh", "severity": "critical", "job": "app", "feature": "search"},
    )
    wait_until(
        lambda: len({json.dumps(a["labels"], sort_keys=True) for a in webhook.alerts()}) >= 3, what="three alerts"
    )
    told = {(alert["labels"].get("feature"), alert["labels"]["alertname"]) for alert in webhook.alerts()}
    assert told == {("chat", "FeatureFailuresHigh"), (None, "ResourceExhausted"), ("search", "FeatureErrorsHigh")}
