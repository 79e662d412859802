"""Are promises to users kept, and how long will their error budgets last?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import COLORED, alert_table, firing_count, severities, worst_severity
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import (
    AMBER,
    CLEAR,
    EMPTY,
    RED,
    Bound,
    Column,
    absent,
    lines,
    over_time,
    stat,
    table,
)
from otel_metrics.assets.dashboards.queries import SHOWN, chosen, only
from otel_metrics.assets.scope import variable
from otel_metrics.assets.service_levels.levels import KIND, SERVICE_LEVEL
from otel_metrics.assets.service_levels.rules import BAD_EVENTS, EVENTS, FAST, OBJECTIVE, SLOW, burn_rate
from otel_metrics.catalogue import FEATURE
from otel_metrics.promql import Series, aggregate, binary, call, like, number, sum_by

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.scope import Labels
    from otel_metrics.assets.service_levels import ServiceLevels
    from otel_metrics.promql import Expression

_ALERTS: Final = "FeatureErrorBudget.+"
_BY: Final = (FEATURE.name, SERVICE_LEVEL)
_NAME: Final = "{{service_level}}"
_CHOSEN: Final = (chosen(FEATURE), like(SERVICE_LEVEL, f"${variable(SERVICE_LEVEL)}"))
_OBJECTIVE: Final = Series(OBJECTIVE, _CHOSEN)
_FAST, _SLOW = thresholds.BURNS_FAST[0], thresholds.BURNS_SLOW[0]


def dashboard(levels: ServiceLevels, scope: Labels) -> Dashboard:
    """Return the dashboard."""
    period = levels.period
    return Dashboard(
        uids.SERVICE_LEVELS,
        "otel_metrics / Service levels",
        f"Are promises to users kept, and how long will their error budgets last? A budget is for {period}, back from now.",
        (FEATURES, Variable(SERVICE_LEVEL, "Service level", Series(OBJECTIVE, (chosen(FEATURE),)))),
        (
            Section("", (*_tiles(period), _levels(period))),
            Section("Budgets, and how fast they burn", _curves(period)),
            Section("Alerts", (alert_table(scope, _ALERTS, width=24, height=6, name=260),)),
        ),
        refresh="1m",
        alerts=_ALERTS,
        known=Series(EVENTS),
    )


def _burn(window: str) -> Series:
    return Series(burn_rate(window), _CHOSEN)


def _left(period: str) -> Expression:
    """Return the share of the budget that is left; below 0 the promise is broken."""
    return number(1) - _burn(period)


def _tiles(period: str) -> tuple[Panel, ...]:
    return (
        firing_count(_ALERTS),
        stat(
            "Least budget left",
            f"Of the error budget of {period}; below 0 the promise is broken. No alert judges it.",
            aggregate("bottomk", (), 1, _left(period)),
            "percentunit",
            name=_NAME,
            none="no events yet",
            decimals=1,
            width=5,
        ),
        stat(
            "Promises broken",
            f"Levels that have spent more than the budget of {period}. No alert judges it.",
            sum_by((), binary(_burn(period), ">", 1, "bool")),
            none="no events yet",
            width=5,
        ),
        *(
            stat(
                f"Fastest burning, {burn.long}",
                f"1 is as fast as the budget allows. {alert} fires above {burn.factor(period):g}, if the last {burn.short} are above, too.",
                aggregate("topk", (), 1, _burn(burn.long)),
                "none",
                name=_NAME,
                none="no events",
                decimals=1,
                width=5,
            )
            for alert, burn in ((FAST, _FAST), (SLOW, _SLOW))
        ),
    )


def _levels(period: str) -> Panel:
    def in_window(name: str, window: str) -> Expression:
        return call("sum_over_time", Series(name, _CHOSEN).over(window))

    # A level that nothing has happened for has a row, too: its feature may be misspelt.
    to_each = f"on ({SERVICE_LEVEL})"
    objective = binary(_burn(period) * 0, "+", _OBJECTIVE, f"{to_each} group_left ({KIND})")
    missed = in_window(BAD_EVENTS, period) / (in_window(EVENTS, period) > 0)
    return table(
        "Service levels, the least budget first",
        f"What is promised, what was measured over {period}, and the share of the error budget that is left; below 0 % the "
        "promise is broken. A budget that burns at 1 lasts for its period. The last column is the alert of its own.",
        {FEATURE.name: "Feature", SERVICE_LEVEL: "Service level", KIND: "Kind"},
        [
            Column("Promised", binary(objective, "or", _OBJECTIVE, to_each), "percentunit", decimals=3, width=92),
            Column("Measured", number(1) - missed, "percentunit", decimals=3, width=92),
            Column("Budget left", _left(period), "percentunit", decimals=1, width=84),
            Column("Budget, trend", _left(period), trend=True, width=110),
            Column(f"Burns, {_FAST.long}", _burn(_FAST.long), "none", decimals=1, width=72),
            Column(f"Burns, {_SLOW.long}", _burn(_SLOW.long), "none", decimals=1, width=72),
            Column(f"Bad, {_FAST.long}", in_window(BAD_EVENTS, _FAST.long), width=72),
            Column(
                "Alert",
                worst_severity(_BY, _ALERTS),
                width=76,
                more=tuple({**COLORED, "mappings": [absent(EMPTY, CLEAR), severities("2", "1")]}.items()),
            ),
        ],
        menu=feature_menu(uids.SERVICE_LEVELS),
        widths={"Service level": 204, "Kind": 92},
        none="no service level has been evaluated yet",
        sort="Budget left",
        ascending=True,
        height=11,
        interval="5m",
    )


def _curves(period: str) -> tuple[Panel, ...]:
    def worst(expression: Expression, window: str, best: str = "topk") -> Expression:
        latest = call("last_over_time", _burn(window).over("15m", at="end()"))
        return only(expression, number(1) - latest if best == "bottomk" else latest, best=best)

    return (
        lines(
            f"Budget left, of {period}",
            f"The {SHOWN} levels with the least; below 0 % the promise is broken. No alert judges it.",
            [over_time(worst(_left(period), period, "bottomk"), _NAME)],
            "percentunit",
            high=1,
            none="no events yet",
            time_from=period,
        ),
        *(
            lines(
                f"How fast budgets burn, over {burn.long}",
                f"The {SHOWN} fastest; at 1 a budget lasts for its period. The {word} line is a bound of {alert}, which fires if "
                f"the last {burn.short} are above it, too.",
                [over_time(worst(_burn(burn.long), burn.long), _NAME)],
                "none",
                bound=Bound(burn.factor(period), color=color),
                low=0,
                none="no events",
            )
            for burn, alert, color, word in ((_FAST, FAST, RED, "red"), (_SLOW, SLOW, AMBER, "amber"))
        ),
    )
