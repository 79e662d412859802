"""The alerts that Prometheus holds, as panels."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import runbook, uids
from otel_metrics.assets.dashboards.model import COLUMNS, FIRING, address, located, override
from otel_metrics.assets.dashboards.panels import (
    AMBER,
    EMPTY,
    GREEN,
    GREY,
    RED,
    Bound,
    Column,
    absent,
    at_end,
    fixed,
    stat,
    table,
    thresholds_of,
)
from otel_metrics.assets.dashboards.queries import chosen
from otel_metrics.assets.recording import FEATURE_SILENT, SINCE
from otel_metrics.assets.telemetry_alerts import HEARTBEAT, HEARTBEAT_SEVERITY
from otel_metrics.catalogue import FEATURE
from otel_metrics.promql import Series, aggregate, binary, call, equal, like, unequal, unlike

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Json, Panel
    from otel_metrics.assets.scope import Labels
    from otel_metrics.promql import Expression

_PAGES: Final = equal("severity", "critical")
_WAITS: Final = unlike("severity", f"critical|{HEARTBEAT_SEVERITY}")
_TOLD: Final = unequal("severity", HEARTBEAT_SEVERITY)
"""Also a severity of somebody else's rules: where one alert is counted, no line may say that none fires."""

_HEARTBEAT: Final = Series(SINCE, (equal("severity", HEARTBEAT_SEVERITY),), matched=True)
"""What there is where rules are loaded, for every application: without it nobody knows that no alert fires."""
_NO_RULES: Final = "nothing is judged: no rules are loaded"

ON_FEATURES: Final = FIRING.where(chosen(FEATURE))
SILENT: Final = ON_FEATURES.where(equal("alertname", FEATURE_SILENT))
CLOCK: Final = "time:D MMM HH:mm"
"""The unit of a moment: the viewer's clock, as below every graph, and the day, as some trouble is older than a week."""


def worst_severity(by: Labels, names: str) -> Expression:
    """Return 2 where an alert pages, 1 where another one fires; ``names`` is a pattern."""
    alerts = ON_FEATURES.where(like("alertname", names))
    return aggregate("group", by, alerts.where(_PAGES)) * 2 | aggregate("group", by, alerts)


def since() -> Expression:
    """Return when the trouble of each chosen feature began, in milliseconds since 1970: with its first alert that pages, else with
    the first of the others.
    """
    pages, all_ = (aggregate("min", (FEATURE.name,), alerts) for alerts in (ON_FEATURES.where(_PAGES), ON_FEATURES))
    return (pages | all_) * 1000


def trouble(scope: Labels) -> Panel:
    """Return the first trouble in one line: what, where, since when; an alert that pages comes before all others."""
    here = like(FEATURE, f"${FEATURE.name}|")
    first, *others = (
        aggregate("bottomk", (), 1, alerts)
        for alerts in (
            FIRING.where(_PAGES, here),
            FIRING.where(_TOLD, here),
            _HEARTBEAT * 0,
        )
    )
    alerts = reduce(lambda above, below: binary(above, "or", below, "on ()"), others, first)
    calm: Json = {"type": "value", "options": {"0": {"text": "no alert fires", "color": GREEN, "index": 1}}}
    panel = stat(
        "Trouble",
        "The first alert that pages, in red; without one, the first other one, in amber. Since when what it reports has been there. "
        "More says what to do about it; the others are in the list. Green needs the heartbeat of the rules; without it nothing is judged.",
        located(alerts * 1000, scope),
        "time:[since] ddd D MMM HH:mm",
        name="{{severity}}: {{alertname}}, {{where}}",
        none=_NO_RULES,
        width=COLUMNS - 4,
    )
    return replace(
        panel,
        height=3,
        defaults={**panel.defaults, **fixed(AMBER), "mappings": [absent(_NO_RULES), calm]},
        options={**panel.options, "colorMode": "background_solid", "wideLayout": True},
        overrides=(
            override("/^critical:/", fixed(RED), matcher="byRegexp"),
            override(f"/^{HEARTBEAT_SEVERITY}:/", {"displayName": "rules are loaded:"}, matcher="byRegexp"),
        ),
    ).look(uids.RUNBOOK)


def firing_count(names: str = "") -> Panel:
    """Return how many alerts fire, those that page and the others; ``names`` is a pattern."""

    def count(severity: str) -> Expression:
        return aggregate("count", (), _of(FIRING, names, severity)) | aggregate("count", (), _HEARTBEAT) * 0

    other = "other"
    panel = stat(
        "Alerts firing now",
        "How many alerts page, in red, and how many others fire, in amber. Pending ones are in the list. Grey without rules.",
        count(_PAGES),
        bound=Bound(1),
        name="critical",
        none="no rules",
    )
    return replace(
        panel,
        targets=(*panel.targets, at_end(count(_WAITS), other)),
        overrides=(override(other, {"thresholds": thresholds_of(Bound(1, color=AMBER).steps())}),),
    )


def severities(critical: str, warning: str) -> Json:
    """Return the mapping of two values to the severities that they stand for."""
    told = ((critical, "critical", RED), (warning, "warning", AMBER))
    options = {value: {"text": text, "color": color, "index": n} for n, (value, text, color) in enumerate(told)}
    return {"type": "value", "options": options}


COLORED: Final[Json] = {
    "custom.cellOptions": {"type": "color-background", "mode": "basic"},
    "custom.align": "center",
}
"""Of a column of words that are mapped to colours."""


def alert_table(scope: Labels, names: str = "", *, width: int = 10, height: int = 9, name: int = 216) -> Panel:
    """Return what fires or is about to, where in the ``scope`` and since when; ``names`` is a pattern, ``name`` the width of a name.

    That nothing does is a row, which the heartbeat makes.
    """
    calm = {f"firing {HEARTBEAT_SEVERITY}": {"text": "fine", "color": GREEN, "index": 2}}
    waiting = {"pattern": "pending .+", "result": {"text": "pending", "color": GREY, "index": 3}}
    state: Json = {
        "mappings": [
            severities("firing critical", "firing warning"),
            {"type": "value", "options": calm},
            {"type": "regex", "options": waiting},
        ],
        **COLORED,
        "custom.width": 76,
        # The label's own text is longer than what is shown of it: rows would be two lines high.
        "custom.wrapText": False,
    }
    panels = {alert: {"text": str(number), "index": number} for alert, number in runbook.numbers().items()}
    alone = address(uids.RUNBOOK, "viewPanel=panel-${__data.fields.Runbook.text}")
    nowhere = {"legend": True, "tooltip": True, "viz": True}
    return table(
        "Alerts, firing and pending",
        "Firing alerts by severity, and since when what they report has been there; a pending alert waits whether it lasts. The name "
        "of an alert leads to what to do about it. Without rules the list is empty.",
        {"alertname": "Alert", "where": "Where", "state": "State", "runbook": "Runbook"},
        [Column("Since", _since(names, scope), CLOCK, width=100, more=(("mappings", [_means("0", EMPTY)]),))],
        links={"Alert": ("What to do", alone)},
        widths={"Alert": name},
        more={
            "Alert": {"mappings": [_means(HEARTBEAT, "no alert is firing or pending")]},
            "State": state,
            "Runbook": {"mappings": [{"type": "value", "options": panels}], "custom.hideFrom": nowhere},
        },
        none=_NO_RULES,
        sort="State",
        ascending=True,
        width=width,
        height=height,
    )


def _means(value: str, text: str) -> Json:
    return {"type": "value", "options": {value: {"text": text, "index": 0}}}


def _of(alerts: Series, names: str, *severity: str) -> Series:
    """Return alerts of a severity on chosen features, and on what has no feature."""
    named = (like("alertname", names),) if names else ()
    return alerts.where(*severity, *named, like(FEATURE, f"${FEATURE.name}|"))


def _since(names: str, scope: Labels) -> Expression:
    """Return since when what alerts report has been there, in milliseconds since 1970, for each feature, service level or resource of an
    application that it is about; with state and severity, by which rows are sorted, and with the name once more for the link to the runbook.
    Where there is none, the heartbeat of the rules.
    """
    told = _of(Series(SINCE), names, *(() if names else (_TOLD,))) * 1000
    alerts = located(binary(told, "or", _HEARTBEAT * 0, "on ()"), scope)
    for label, parts in (("state", ("alertstate", "severity")), ("runbook", ("alertname",))):
        alerts = call("label_join", alerts, label, " ", *parts)
    return aggregate("min", ("alertname", "where", "state", "runbook"), alerts)
