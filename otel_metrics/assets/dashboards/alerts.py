"""The alerts that Prometheus holds, as panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import runbook, uids
from otel_metrics.assets.dashboards.model import address
from otel_metrics.assets.dashboards.panels import GREY, RED, Bound, Column, stat, table
from otel_metrics.assets.dashboards.queries import count
from otel_metrics.assets.service_levels.levels import SERVICE_LEVEL
from otel_metrics.assets.telemetry_alerts import HEARTBEAT_SEVERITY
from otel_metrics.catalogue import FEATURE
from otel_metrics.promql import Series, aggregate, call, equal, like, relabel, unequal

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Json, Panel
    from otel_metrics.assets.scope import Labels
    from otel_metrics.promql import Expression

FIRING: Final = Series(
    "ALERTS",
    (equal("alertstate", "firing"), unequal("severity", HEARTBEAT_SEVERITY), like(FEATURE, f"${FEATURE.name}|")),
)
"""Alerts on chosen features, and on what has no feature; without the heartbeat, which always fires."""

_BEGAN: Final = Series("ALERTS_FOR_STATE", FIRING.matchers[1:])


def firing_count(names: str = "") -> Panel:
    """Return the number of alerts that fire; ``names`` is a pattern."""
    return stat(
        "Alerts firing now",
        "Of the alerts that Prometheus holds, without the heartbeat. Pending ones are in the list.",
        count(_of(FIRING, names)),
        bound=Bound(1),
    )


def alert_table(scope: Labels, names: str = "", *, width: int = 9, height: int = 9, name: int = 224) -> Panel:
    """Return what fires or is about to, where in the ``scope`` and for how long; ``names`` is a pattern, ``name`` the width of a name."""
    state: Json = {
        "mappings": [
            {"type": "value", "options": {"1": {"text": "firing", "color": RED, "index": 0}}},
            {
                "type": "special",
                "options": {"match": "null+nan", "result": {"text": "pending", "color": GREY, "index": 1}},
            },
        ],
        "custom.cellOptions": {"type": "color-background", "mode": "basic"},
        "custom.align": "center",
    }
    panels = {alert: {"text": str(number), "index": number} for alert, number in runbook.numbers().items()}
    alone = address(uids.RUNBOOK, "viewPanel=panel-${__data.fields.Runbook.text}")
    return table(
        "Alerts, firing and pending",
        "For how long its condition has been there; a pending alert waits whether it lasts. The name of an alert leads to what to do about it.",
        {"alertname": "Alert", "where": "Where", "runbook": "Runbook"},
        [
            Column("State", _named(_of(FIRING, names), scope), width=76, more=tuple(state.items())),
            Column("For", call("time") - _named(_of(_BEGAN, names), scope), "s", decimals=0, width=84),
        ],
        links={"Alert": ("What to do", alone)},
        widths={"Alert": name},
        hidden={"Runbook": {"mappings": [{"type": "value", "options": panels}]}},
        none="no alert is firing or pending",
        sort="State",
        width=width,
        height=height,
    )


def _of(alerts: Series, names: str) -> Series:
    return alerts.where(like("alertname", names) if names else "")


def _named(alerts: Expression, scope: Labels) -> Expression:
    """Return one series for each alert, and for each application, feature and service level that it is about."""
    where = call("label_join", alerts, "where", " ", *scope, FEATURE.name, SERVICE_LEVEL)
    return aggregate("max", ("alertname", "where", "runbook"), relabel(where, "runbook", "$1", "alertname", "(.+)"))
