"""The alerts that Prometheus holds, as panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets.dashboards.panels import Column, above, stat, table
from otel_metrics.assets.dashboards.queries import count
from otel_metrics.assets.telemetry_alerts import HEARTBEAT_SEVERITY
from otel_metrics.promql import Series, aggregate, equal, unequal

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel

_FIRING: Final = Series("ALERTS", (equal("alertstate", "firing"), unequal("severity", HEARTBEAT_SEVERITY)))


def firing_count() -> Panel:
    """Return the number of alerts that fire."""
    return stat(
        "Alerts firing",
        "The heartbeat, which always fires, is not counted.",
        count(_FIRING),
        steps=above(1),
    )


def firing_table() -> Panel:
    """Return what fires."""
    labels = {"alertname": "Alert", "severity": "Severity", "feature": "Feature", "job": "Job", "instance": "Instance"}
    firing = Column("Firing", aggregate("count", tuple(labels), _FIRING), steps=above(1))
    return table(
        "Alerts firing",
        "What to do about each is on the dashboard Runbook.",
        labels,
        [firing],
        none="no alert is firing",
        sort="Severity",
        height=7,
    )
