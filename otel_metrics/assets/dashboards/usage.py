"""Uses of features: what ``get_feature_usage_stats`` tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import uids
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import NAMES, Column, counts, heat, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import (
    NOW,
    SHOWN,
    ZERO,
    added,
    chosen,
    failures,
    in_each_step,
    most_of,
    named,
    only,
    per_minute,
    success_rate,
    whole,
)
from otel_metrics.catalogue import ACTION, CONTEXT, ERROR_TYPE, FEATURE, OUTCOME, USAGE, USAGE_DURATION
from otel_metrics.promql import equal, series, sum_by

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values

_KEY: Final = (FEATURE.name, ACTION.name)
_LEGEND: Final = "{{feature}} {{action}}"
_WHERE: Final = chosen(ACTION)
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
            Section("", (*_tiles(values), _actions(values))),
            Section("Rate, errors, duration", _curves(values)),
            Section("Details", _details(values), folded=True),
        ),
        alerts="FeatureSilent",
    )


def _tiles(values: Values) -> tuple[Panel, ...]:
    return (
        stat("Uses in this period", "Exact.", added(USAGE, values.period, (), _WHERE), none="no uses", width=6),
        stat(
            "Uses that failed in this period",
            "Exact.",
            added(USAGE, values.period, (), _WHERE, _FAILED) | ZERO,
            width=6,
        ),
        stat(
            "Success rate in this period",
            "Of the uses whose outcome is known, exact. No alert judges it.",
            success_rate(values.period, (), _WHERE),
            "percentunit",
            none="no outcome known",
            decimals=1,
            width=6,
        ),
        stat(
            "Average duration in this period",
            "Of the uses that were timed, exact.",
            values.of(USAGE_DURATION, values.period, (), _WHERE).average(),
            "s",
            none="no use was timed",
            width=6,
        ),
    )


def _actions(values: Values) -> Panel:
    each = values.of(USAGE_DURATION, values.period, _KEY, _WHERE)
    return table(
        "Uses in this period, by feature and action",
        "Counts, averages and shares are exact, the percentile is estimated from buckets.",
        {"feature": "Feature", "action": "Action"},
        [
            Column("Uses", added(USAGE, values.period, _KEY, _WHERE)),
            Column("Failed", added(USAGE, values.period, _KEY, _WHERE, _FAILED)),
            Column("Success", success_rate(values.period, _KEY, _WHERE), "percentunit", decimals=1),
            Column("Average", each.average(), "s"),
            Column("p95", each.quantile(0.95), "s"),
            Column("Uses over time", added(USAGE, NOW, _KEY, _WHERE), trend=True, width=200),
        ],
        menu=feature_menu(uids.USAGE),
        widths=NAMES,
        sort="Failed",
        interval="5m",
    )


def _curves(values: Values) -> tuple[Panel, ...]:
    by = (FEATURE.name,)
    failed = sum_by(by, whole(series(USAGE, chosen(FEATURE), _FAILED)))
    durations = only(
        values.of(USAGE_DURATION, NOW, _KEY, _WHERE).average(),
        values.of(USAGE_DURATION, whole, _KEY, _WHERE).average(),
        _KEY,
    )
    panels = (
        lines(
            "Uses per minute",
            f"The {SHOWN} most frequent actions of the period.",
            [over_time(per_minute(most_of(USAGE, NOW, _KEY, _WHERE)), _LEGEND)],
            "none",
            low=0,
            interval="2m",
        ),
        lines(
            "Share of uses that fail, by feature",
            f"Of the uses whose outcome is known, over half an hour: the {SHOWN} features that failed most often.",
            [over_time(only(failures(by), failed, by), "{{feature}}")],
            "percentunit",
            low=0,
        ),
        lines(
            "Average duration of uses",
            f"Of the uses that were timed: the {SHOWN} slowest actions.",
            [over_time(durations, _LEGEND, exemplars=True)],
            "s",
            low=0,
            interval="5m",
        ),
    )
    # The names of actions are long.
    return tuple(replace(panel, height=9) for panel in panels)


def _details(values: Values) -> tuple[Panel, ...]:
    return (
        counts(
            "Uses that failed, by type of error, per ten minutes",
            f"The {SHOWN} most frequent types of the period.",
            [
                over_time(
                    most_of(USAGE, in_each_step, (FEATURE.name, ERROR_TYPE.name), _WHERE, _FAILED),
                    "{{feature}} {{error_type}}",
                )
            ],
            width=12,
        ),
        lines(
            "Uses per minute, by context",
            "By the user_context that was recorded.",
            [over_time(per_minute(named(added(USAGE, NOW, (CONTEXT.name,), _WHERE), CONTEXT)), "{{context}}")],
            "none",
            stacked=True,
            low=0,
            width=12,
            interval="2m",
        ),
        heat(
            "Uses by their duration",
            "How many uses per second took so long: a second band is a second population.",
            over_time(values.distribution(USAGE_DURATION, _WHERE)),
            "s",
            native=values.native,
            width=24,
            interval="2m",
        ),
    )
