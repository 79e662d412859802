"""From a documented call to a notification: record, scrape, rule, alert, Alertmanager, webhook."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.assets.history import impatient_rules
from tests.dialects import START_TIMES
from tests.servers import ROOT, Process, routing_to, scraping, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers

APPLICATION = """
import sys, threading
from otel_metrics import get_advanced_metrics, serve

advanced = get_advanced_metrics()

def trouble(feature, errors, scores, answers):
    for _ in range(errors):
        advanced.record_error(feature=feature, error_type="PatternRecognitionError", error_severity="error",
                              error_message="Low confidence pattern detected", recovery_attempted=True,
                              recovery_successful=True, impact_level="low")
    for _ in range(scores):
        advanced.record_satisfaction(feature=feature, satisfaction_type="accuracy", score=0.5)
    for _ in range(answers):
        advanced.record_performance_metric(feature=feature, metric_category="response_time",
                                           metric_name="pattern_recognition_ms", value=1500, unit="milliseconds")

trouble("learning-engine", 11, 10, 20)
trouble("process-optimization", 10, 9, 19)  # as bad, but one event short of being judged
serve(port=int(sys.argv[1]))
threading.Event().wait()
"""


class Application(Process):
    """An application in trouble."""

    name = "application"
    ready_path = "/metrics"

    def command(self) -> list[str]:
        return ["env", f"PYTHONPATH={ROOT}", sys.executable, "-c", APPLICATION, str(self.port)]


def test_the_documented_monitor_tells_of_trouble_and_not_of_low_traffic(servers: Servers, tmp_path: Path) -> None:
    webhook = servers.webhook()
    alertmanager = servers.alertmanager(routing_to(webhook.url))
    application = servers._started(Application(tmp_path))
    (tmp_path / "rules").mkdir()
    config = scraping(
        [application.address],
        rules=impatient_rules(tmp_path / "rules"),
        alertmanagers=[alertmanager.address],
    )
    prometheus = servers.prometheus(
        config,
        native=True,
        features=[START_TIMES],
        flags=["--rules.alert.resend-delay=1s"],
    )
    expected = {
        ("FeatureErrorsHigh", "learning-engine", "learning-engine of test: 11 errors in an hour"),
        ("FeatureSatisfactionLow", "learning-engine", "learning-engine of test: average satisfaction 50%"),
        ("FeatureResponseTimeHigh", "learning-engine", "learning-engine of test: average response time 1.5s"),
    }

    def of_features() -> set[tuple[str, str, str]]:
        return {
            (alert["labels"]["alertname"], alert["labels"]["feature"], alert["annotations"]["summary"])
            for alert in webhook.alerts()
            if "feature" in alert["labels"]
        }

    wait_until(lambda: of_features() >= expected, what="three alerts")
    # The other feature has been judged by the same rules, at the same time.
    assert prometheus.value('feature:feature_errors:increase1h{feature="process-optimization"}') == 10
    assert of_features() == expected
