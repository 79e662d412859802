"""The alerts that Prometheus holds, as panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets.dashboards.panels import Column, above, stat, table
from otel_metrics.assets.telemetry_alerts import HEARTBEAT_SEVERITY

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel

_FIRING: Final = f'ALERTS{{alertstate="firing",severity!="{HEARTBEAT_SEVERITY}"}}'


def firing_count() -> Panel:
    """Return the number of alerts that fire."""
    return stat(
        "Alerts firing",
        "The heartbeat, which always fires, is not counted.",
        f"count({_FIRING}) or vector(0)",
        steps=above(1),
    )


def firing_table() -> Panel:
    """Return what fires."""
    labels = {"alertname": "Alert", "severity": "Severity", "feature": "Feature", "job": "Job", "instance": "Instance"}
    firing = Column("Firing", f"count by ({', '.join(labels)}) ({_FIRING})", steps=above(1))
    return table(
        "Alerts firing",
        "What to do about each is on the dashboard Runbook.",
        labels,
        [firing],
        none="no alert is firing",
        sort="Severity",
        height=7,
    )
