"""Uses of features: what ``get_feature_usage_stats`` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.model import Dashboard, Section, address, label_variable, variables
from otel_metrics.assets.dashboards.panels import Column, above, below, heat, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import NOW, added, chosen, success_rate
from otel_metrics.catalogue import ACTION, CONTEXT, ERROR_TYPE, FEATURE, OUTCOME, USAGE, USAGE_DURATION
from otel_metrics.promql import equal, series

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.queries import Values

_KEY = (FEATURE.name, ACTION.name)
_LEGEND = "{{feature}} {{action}}"
_WHERE = chosen(ACTION)
_FAILED = equal(OUTCOME, "failure")
_RATE = below(thresholds.SUCCESS_RATE[0], good=thresholds.SUCCESS_RATE[1])
_SLOW = above(thresholds.RESPONSE_TIME.bound)


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    period = values.of(USAGE_DURATION, values.period, (), _WHERE)
    each = values.of(USAGE_DURATION, values.period, _KEY, _WHERE)
    now = values.of(USAGE_DURATION, NOW, _KEY, _WHERE)
    selector = series(USAGE, chosen(FEATURE))
    return Dashboard(
        uids.USAGE,
        "otel_metrics / Usage",
        "What record_feature_usage recorded: how often, how well, how fast.",
        variables(label_variable(ACTION.name, ACTION.name, selector, "Action")),
        (
            Section(
                "",
                (
                    stat(
                        "Uses", "How often features were used in the period.", added(USAGE, values.period, (), _WHERE)
                    ),
                    stat(
                        "Success rate",
                        f"Of the uses whose outcome is known. Red below {thresholds.SUCCESS_RATE[0]:.0%}.",
                        success_rate(values.period, (), _WHERE),
                        "percentunit",
                        _RATE,
                        decimals=1,
                    ),
                    stat(
                        "Failures", "Uses that failed in the period.", added(USAGE, values.period, (), _WHERE, _FAILED)
                    ),
                    stat("Average duration", "Mean of the uses that were timed.", period.average(), "s", _SLOW),
                    stat(
                        "95th percentile",
                        "19 of 20 uses were faster. Estimated from buckets.",
                        period.quantile(0.95),
                        "s",
                        _SLOW,
                    ),
                    stat("Timed uses", "Uses that were recorded with a duration.", period.count()),
                ),
            ),
            Section(
                "Over time",
                (
                    lines(
                        "Uses",
                        "Uses per second.",
                        [over_time(added(USAGE, NOW, _KEY, _WHERE), _LEGEND)],
                        "ops",
                        stacked=True,
                        low=0,
                    ),
                    lines(
                        "Success rate",
                        "Share of the uses whose outcome is known.",
                        [over_time(success_rate(NOW, _KEY, _WHERE), _LEGEND)],
                        "percentunit",
                        steps=_RATE,
                        low=0,
                        high=1,
                    ),
                    lines(
                        "Failures by type of error",
                        "Failed uses per second.",
                        [
                            over_time(
                                added(USAGE, NOW, (FEATURE.name, ERROR_TYPE.name), _WHERE, _FAILED),
                                "{{feature}} {{error_type}}",
                            )
                        ],
                        "ops",
                        stacked=True,
                        low=0,
                    ),
                    lines(
                        "Uses by context",
                        "Uses per second, by the user_context that was recorded.",
                        [over_time(added(USAGE, NOW, (CONTEXT.name,), _WHERE), "{{context}}")],
                        "ops",
                        stacked=True,
                        low=0,
                    ),
                    lines(
                        "95th percentile of durations",
                        "19 of 20 uses were faster. Estimated from buckets.",
                        [over_time(now.quantile(0.95), _LEGEND)],
                        "s",
                        low=0,
                    ),
                    heat(
                        "Distribution of durations",
                        "How many uses per second took so long.",
                        over_time(values.of(USAGE_DURATION, NOW, (), _WHERE).buckets()),
                        "s",
                        native=values.native,
                    ),
                ),
            ),
            Section(
                "In this period",
                (
                    table(
                        "By feature and action",
                        "Counts, averages and shares are exact, percentiles estimated from buckets.",
                        {"feature": "Feature", "action": "Action"},
                        [
                            Column("Uses", added(USAGE, values.period, _KEY, _WHERE), decimals=0),
                            Column("Success rate", success_rate(values.period, _KEY, _WHERE), "percentunit", _RATE),
                            Column("Failures", added(USAGE, values.period, _KEY, _WHERE, _FAILED), decimals=0),
                            Column("Average", each.average(), "s", _SLOW),
                            Column("p95", each.quantile(0.95), "s", _SLOW),
                        ],
                        links={"Feature": address(uids.USAGE, "var-feature=${__value.raw:percentencode}")},
                    ),
                ),
            ),
        ),
    )
