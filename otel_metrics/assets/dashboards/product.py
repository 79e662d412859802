"""For people who own the product: is it used, does it work, do users like it, against the same day a week before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, feature_menu
from otel_metrics.assets.dashboards.panels import BEFORE, NAMES, Column, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import WEEK, recorded
from otel_metrics.assets.recording import OUTCOMES_1H, RESPONSES_1H, SATISFACTION_1H, USES_1H
from otel_metrics.catalogue import FEATURE, OUTCOME
from otel_metrics.promql import Series, call, equal, sum_by, unequal

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.promql import Expression

_DAY: Final = "1d"
_MONTH: Final = "28d"
_BY: Final = (FEATURE.name,)


def _day(expression: Expression, by: tuple[str, ...], offset: str) -> Expression:
    """Return the sum over 24 hours of what was counted in each."""
    return sum_by(by, call("sum_over_time", expression.every(_DAY, "1h", offset=offset)))


def _uses(by: tuple[str, ...] = (), *, offset: str = "") -> Expression:
    return _day(recorded(USES_1H), by, offset)


def _satisfaction(by: tuple[str, ...] = (), *, offset: str = "") -> Expression:
    """Return the average score of 24 hours, each hour weighted by its responses."""
    weighted = recorded(SATISFACTION_1H) * Series(RESPONSES_1H, matched=True)
    return _day(weighted, by, offset) / (_day(recorded(RESPONSES_1H), by, offset) > 0)


def _success(by: tuple[str, ...] = (), *, offset: str = "") -> Expression:
    """Return the share of uses of 24 hours that succeeded, of those whose outcome is known."""

    def uses(matcher: str) -> Expression:
        return _day(recorded(OUTCOMES_1H, matcher), by, offset)

    return uses(equal(OUTCOME, "success")) / (uses(unequal(OUTCOME, "unknown")) > 0)


def dashboard(_values: Values) -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        uids.PRODUCT,
        "otel_metrics / Product",
        "Is it used, does it work, do users like it? Days end at the moment shown; dotted is the same day a week before. "
        "Nothing is judged here.",
        (FEATURES,),
        (
            Section("", (*_tiles(), _features())),
            Section("Days", _days()),
        ),
        period=f"now-{_MONTH}",
        refresh="",
    )


def _tiles() -> tuple[Panel, ...]:
    return (
        stat("Uses, last 24 hours", "Of all chosen features.", _uses(), none="no full hour yet", width=6),
        stat(
            "Change against a week before",
            "Of the uses of the last 24 hours, against the same hours of the week before.",
            _uses() / (_uses(offset=WEEK) > 0) - 1,
            "percentunit",
            none="nothing a week before",
            decimals=1,
            width=6,
        ),
        stat(
            "Success rate, last 24 hours",
            "Of the uses whose outcome is known.",
            _success(),
            "percentunit",
            none="no full hour yet",
            decimals=1,
            width=6,
        ),
        stat(
            "Satisfaction, last 24 hours",
            "Average of all responses.",
            _satisfaction(),
            "percentunit",
            none="no full hour yet",
            decimals=1,
            width=6,
        ),
    )


def _features() -> Panel:
    return table(
        "Features, last 24 hours",
        "Uses and scores of 24 hours, and how they differ from those of a week before.",
        {FEATURE.name: "Feature"},
        [
            Column("Uses", _uses(_BY)),
            Column("Uses over days", _uses(_BY), trend=True, width=220),
            Column("Change in a week", _uses(_BY) / (_uses(_BY, offset=WEEK) > 0) - 1, "percentunit", decimals=1),
            Column("Success", _success(_BY), "percentunit", decimals=1),
            Column("Satisfaction", _satisfaction(_BY), "percentunit", decimals=1),
            Column("A week before", _satisfaction(_BY, offset=WEEK), "percentunit", decimals=1),
        ],
        menu=feature_menu(uids.PRODUCT),
        widths=NAMES,
        none="no full hour yet",
        sort="Uses",
        height=9,
        time_from=_MONTH,
        interval=_DAY,
    )


def _days() -> tuple[Panel, ...]:
    def curves(title: str, description: str, now: Expression, before: Expression, unit: str) -> Panel:
        targets = [over_time(now, "this day"), over_time(before, BEFORE)]
        if unit == "percentunit":
            return lines(title, description, targets, unit, soft_low=0.5, high=1, interval=_DAY, time_from=_MONTH)
        return lines(title, description, targets, unit, low=0, interval=_DAY, time_from=_MONTH)

    return (
        curves("Uses per day", "Of all chosen features.", _uses(), _uses(offset=WEEK), "locale"),
        curves(
            "Success rate of each day",
            "Of the uses whose outcome is known.",
            _success(),
            _success(offset=WEEK),
            "percentunit",
        ),
        curves(
            "Average satisfaction of each day",
            "Average of all responses.",
            _satisfaction(),
            _satisfaction(offset=WEEK),
            "percentunit",
        ),
    )
