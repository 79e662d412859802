"""Uses of features: what ``get_feature_usage_stats`` tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.alerts import alert_table
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import (
    NAMES,
    NONE_SO_FAR,
    OF_FEATURE,
    WHEN_OVER,
    Column,
    counts,
    heat,
    lines,
    over_time,
    stat,
    table,
)
from otel_metrics.assets.dashboards.queries import (
    FAILURES,
    PERIOD,
    SHOWN,
    STEP,
    ZERO,
    added,
    average,
    bars,
    chosen,
    failures,
    most,
    most_averages,
    named,
    pace,
    success_rate,
)
from otel_metrics.catalogue import ACTION, CONTEXT, ERROR_TYPE, FEATURE, OUTCOME, USAGE, USAGE_DURATION
from otel_metrics.promql import equal, series

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values

_KEY: Final = (FEATURE.name, ACTION.name)
_LEGEND: Final = "{{feature}} {{action}}"
_WHERE: Final = chosen(ACTION)
_ALERTS: Final = "Feature(Fail|Completions|Silent).*"
_FAILED: Final = equal(OUTCOME, "failure")


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = series(USAGE, chosen(FEATURE))
    return Dashboard(
        uids.USAGE,
        "otel_metrics / Usage",
        "How often, how well, how fast? Of what record_feature_usage recorded.",
        (FEATURES, Variable(ACTION.name, "Action", selector)),
        (
            Section("", (*_tiles(), _actions(values))),
            Section("Rate, errors, duration", _curves()),
            Section("Alerts", (alert_table(values.scope, _ALERTS, width=24, height=6, name=260),)),
            Section("Details", _details(values), folded=True),
        ),
        alerts=_ALERTS,
    )


def _tiles() -> tuple[Panel, ...]:
    return (
        stat(
            "Uses in this period",
            f"Exact. {WHEN_OVER}",
            added(USAGE, PERIOD, (), _WHERE),
            none=NONE_SO_FAR,
            width=6,
        ),
        stat(
            "Uses that failed in this period",
            f"Exact. {WHEN_OVER}",
            added(USAGE, PERIOD, (), _WHERE, _FAILED) | ZERO,
            width=6,
        ),
        stat(
            "Success rate in this period",
            "Of the uses whose outcome is known, exact. No alert judges that of a period.",
            success_rate(PERIOD, (), _WHERE),
            "percentunit",
            none=NONE_SO_FAR,
            decimals=1,
            width=6,
        ),
        stat(
            "Average duration in this period",
            "Of the uses that were timed, exact.",
            average(USAGE_DURATION, PERIOD, (), _WHERE),
            "s",
            none=NONE_SO_FAR,
            width=6,
        ),
    )


def _actions(values: Values) -> Panel:
    return table(
        "Uses in this period, by feature and action",
        "Counts, averages and shares are exact; the percentile is estimated from buckets, of full hours.",
        {"feature": "Feature", "action": "Action"},
        [
            Column("Uses", added(USAGE, PERIOD, _KEY, _WHERE)),
            Column("Failed", added(USAGE, PERIOD, _KEY, _WHERE, _FAILED)),
            Column("Success", success_rate(PERIOD, _KEY, _WHERE), "percentunit", decimals=1),
            Column("Average", average(USAGE_DURATION, PERIOD, _KEY, _WHERE), "s"),
            Column("p95", values.quantile(0.95, USAGE_DURATION, _KEY, _WHERE), "s"),
            Column("Uses over time", added(USAGE, STEP, _KEY, _WHERE), trend=True, width=200),
        ],
        menu=feature_menu(uids.USAGE),
        widths=NAMES,
        sort="Failed",
        interval="15m",
    )


def _curves() -> tuple[Panel, ...]:
    by = (FEATURE.name,)
    panels = (
        lines(
            "Uses per minute",
            f"The {SHOWN} most frequent actions of the period.",
            [over_time(most(pace(USAGE, _KEY, _WHERE), USAGE, _KEY, _WHERE), _LEGEND)],
            "none",
            low=0,
            interval="15m",
        ),
        lines(
            "Uses that fail, 1 h, by feature",
            f"Share of the uses of the last hour whose outcome is known, exact: the {SHOWN} features that failed most often. The red line is the bound of "
            "FeatureFailuresHigh.",
            [over_time(most(failures(), USAGE, by, _FAILED), OF_FEATURE)],
            "percentunit",
            bound=FAILURES,
            low=0,
        ),
        lines(
            "Average duration of uses",
            f"Of the uses that were timed: the {SHOWN} actions with most of them.",
            [over_time(most_averages(USAGE_DURATION, _KEY, _WHERE), _LEGEND, exemplars=True)],
            "s",
            low=0,
            interval="15m",
        ),
    )
    # The names of actions are long.
    return tuple(replace(panel, height=9) for panel in panels)


def _details(values: Values) -> tuple[Panel, ...]:
    by = (FEATURE.name, ERROR_TYPE.name)
    return (
        counts(
            "Uses that failed, by type of error, per quarter of an hour",
            f"The {SHOWN} most frequent types of the period.",
            [
                over_time(
                    most(bars(USAGE, by, _WHERE, _FAILED), USAGE, by, _WHERE, _FAILED),
                    "{{feature}} {{error_type}}",
                )
            ],
            width=12,
        ),
        lines(
            "Uses per minute, by context",
            "By the user_context that was recorded.",
            [over_time(named(pace(USAGE, (CONTEXT.name,), _WHERE), CONTEXT), "{{context}}")],
            "none",
            stacked=True,
            low=0,
            width=12,
            interval="15m",
        ),
        heat(
            "Uses by their duration",
            "How many uses of each hour took so long: a second band is a second population.",
            over_time(values.distribution(USAGE_DURATION, _WHERE)),
            "s",
            native=values.native,
            width=24,
            interval="1h",
        ),
    )
