"""Durations, sizes, ratios, rates and other values: what ``get_performance_metrics`` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.model import Dashboard, Section, address, label_variable, variables
from otel_metrics.assets.dashboards.panels import Column, above, heat, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import NOW, chosen
from otel_metrics.catalogue import (
    FEATURE,
    METRIC_CATEGORY,
    METRIC_NAME,
    PERFORMANCE_DURATION,
    PERFORMANCE_RATE,
    PERFORMANCE_RATIO,
    PERFORMANCE_SIZE,
    PERFORMANCE_VALUE,
    UNIT,
)
from otel_metrics.naming import series_name
from otel_metrics.promql import Series, like

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.catalogue import Metric

_KEY = (FEATURE.name, METRIC_CATEGORY.name, METRIC_NAME.name)
_LEGEND = "{{feature}} {{metric_name}}"
_WHERE = chosen(METRIC_CATEGORY)
_SLOW = above(thresholds.RESPONSE_TIME.bound)


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    period = values.of(PERFORMANCE_DURATION, values.period, (), _WHERE)
    now = values.of(PERFORMANCE_DURATION, NOW, _KEY, _WHERE)
    each = values.of(PERFORMANCE_DURATION, values.period, _KEY, _WHERE)
    everything = values.of(PERFORMANCE_DURATION, NOW, (), _WHERE)
    selector = Series("", (like("__name__", "feature_performance_.+"), chosen(FEATURE)))
    bound = f"{thresholds.RESPONSE_TIME.bound * 1000:g} ms"
    return Dashboard(
        uids.PERFORMANCE,
        "otel_metrics / Performance",
        "What record_performance_metric recorded, by category and name, in base units.",
        variables(label_variable(METRIC_CATEGORY.name, METRIC_CATEGORY.name, selector, "Category")),
        (
            Section(
                "",
                (
                    stat("Average", f"Mean duration in the period. Red from {bound}.", period.average(), "s", _SLOW),
                    stat("Median", "Estimated from buckets.", period.quantile(0.5), "s", _SLOW),
                    stat("95th percentile", "Estimated from buckets.", period.quantile(0.95), "s", _SLOW),
                    stat("99th percentile", "Estimated from buckets.", period.quantile(0.99), "s", _SLOW),
                    stat("Durations", "How many durations were recorded in the period.", period.count(), width=8),
                ),
            ),
            Section(
                "Durations",
                (
                    lines(
                        "Average duration",
                        f"Mean per metric. The dashed line is the alert's bound for response times, {bound}.",
                        [over_time(now.average(), _LEGEND)],
                        "s",
                        steps=_SLOW,
                        low=0,
                    ),
                    lines(
                        "95th percentile of durations",
                        "19 of 20 were faster. Estimated from buckets.",
                        [over_time(now.quantile(0.95), _LEGEND)],
                        "s",
                        steps=_SLOW,
                        low=0,
                    ),
                    heat(
                        "Distribution of durations",
                        "How many durations per second fell between two bounds: a second band is a second population.",
                        over_time(everything.buckets()),
                        "s",
                        native=values.native,
                        width=24,
                    ),
                    table(
                        "Durations in this period",
                        "Each metric once. Counts and averages are exact, percentiles estimated from buckets.",
                        {"feature": "Feature", "metric_category": "Category", "metric_name": "Name"},
                        [
                            Column("Count", each.count(), decimals=0),
                            Column("Average", each.average(), "s", _SLOW),
                            Column("p50", each.quantile(0.5), "s", _SLOW),
                            Column("p95", each.quantile(0.95), "s", _SLOW),
                            Column("p99", each.quantile(0.99), "s", _SLOW),
                        ],
                        links={"Feature": address(uids.PERFORMANCE, "var-feature=${__value.raw:percentencode}")},
                        sort="p95",
                    ),
                ),
            ),
            Section(
                "Other units",
                (
                    _average(values, PERFORMANCE_SIZE, "Sizes", "bytes"),
                    _average(values, PERFORMANCE_RATIO, "Ratios", "percentunit"),
                    _average(values, PERFORMANCE_RATE, "Rates", "ops"),
                    lines(
                        "Values in other units",
                        "Mean per metric of what has no unit that is known, in the caller's unit; may be below zero.",
                        [
                            over_time(
                                values.signed_average(PERFORMANCE_VALUE, NOW, (*_KEY, UNIT.name), _WHERE),
                                f"{_LEGEND} {{{{unit}}}}",
                            )
                        ],
                    ),
                ),
            ),
        ),
    )


def _average(values: Values, metric: Metric, title: str, unit: str) -> Panel:
    average = values.of(metric, NOW, _KEY, _WHERE).average()
    description = f"Mean per metric of {series_name(metric)}."
    return lines(title, description, [over_time(average, _LEGEND)], unit, low=0)
