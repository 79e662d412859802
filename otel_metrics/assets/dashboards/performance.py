"""Durations, sizes, ratios, rates and other values: what ``get_performance_metrics`` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import alert_table
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import Column, heat, lines, over_time, stat, table
from otel_metrics.assets.dashboards.queries import (
    NOW,
    RESPONSE_TIMES,
    SHOWN,
    SLOW,
    chosen,
    hour_of_response_times,
    recorded,
    worst,
)
from otel_metrics.assets.recording import DURATION_1H, DURATION_P95_5M
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
from otel_metrics.promql import Series, aggregate, like

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Panel
    from otel_metrics.assets.dashboards.queries import Values
    from otel_metrics.catalogue import Metric

_KEY: Final = (FEATURE.name, METRIC_CATEGORY.name, METRIC_NAME.name)
_LEGEND: Final = "{{feature}} {{metric_name}}"
_WHERE: Final = chosen(METRIC_CATEGORY)
_ALERT: Final = "FeatureResponseTimeHigh"


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = Series("", (like("__name__", "feature_performance_.+"), chosen(FEATURE)))
    return Dashboard(
        uids.PERFORMANCE,
        "otel_metrics / Performance",
        "How long, how large, how much? Of what record_performance_metric recorded, in base units.",
        (FEATURES, Variable(METRIC_CATEGORY.name, "Category", selector)),
        (
            Section("", (*_tiles(values), _durations(values), alert_table(values.scope, _ALERT))),
            Section("Response times", _response_times()),
            Section("All durations of the chosen categories", (_distribution(values),)),
            Section("Other units", _other_units(values), folded=True),
        ),
        alerts=_ALERT,
    )


def _tiles(values: Values) -> tuple[Panel, ...]:
    slow = thresholds.RESPONSE_TIME
    p95 = recorded(DURATION_P95_5M, RESPONSE_TIMES)
    return (
        stat(
            "Slowest average response time, last hour",
            f"Of the worst feature with {slow.events} response times, exact. Red above {slow.bound:g} s, where {_ALERT} fires.",
            aggregate("topk", (), 1, hour_of_response_times()),
            "s",
            bound=SLOW,
            name="{{feature}}",
            none="few or none",
            width=8,
        ),
        stat(
            "Highest p95 of response times, now",
            "19 of 20 responses of the last five minutes were faster. Estimated; no alert judges it.",
            aggregate("topk", (), 1, p95),
            "s",
            name="{{feature}}",
            none="none",
            width=8,
        ),
        stat(
            "Durations in this period",
            "How many were recorded, exact.",
            values.of(PERFORMANCE_DURATION, values.period, (), _WHERE).count(),
            none="none",
            width=8,
        ),
    )


def _durations(values: Values) -> Panel:
    each = values.of(PERFORMANCE_DURATION, values.period, _KEY, _WHERE)
    return table(
        "Durations in this period, by category and name",
        "Counts and averages are exact, percentiles estimated from buckets. Judged are only averages of response times.",
        {"feature": "Feature", "metric_category": "Category", "metric_name": "Name"},
        [
            Column("p95", each.quantile(0.95), "s", width=76),
            Column("p50", each.quantile(0.5), "s", width=76),
            Column("Average", each.average(), "s", width=84),
            Column("Count", each.count(), width=72),
        ],
        menu=feature_menu(uids.PERFORMANCE),
        widths={"Category": 108},
        sort="p95",
        width=15,
    )


def _response_times() -> tuple[Panel, ...]:
    return (
        lines(
            "Average response time of the last hour",
            f"The {SHOWN} slowest features, exact. The red line is the bound of {_ALERT}.",
            [over_time(worst(recorded(DURATION_1H, RESPONSE_TIMES)), "{{feature}}")],
            "s",
            bound=SLOW,
            low=0,
            width=12,
        ),
        lines(
            "p95 of response times, five minutes, estimated",
            f"19 of 20 were faster. The {SHOWN} slowest features. No alert judges it.",
            [over_time(worst(recorded(DURATION_P95_5M, RESPONSE_TIMES)), "{{feature}}")],
            "s",
            low=0,
            width=12,
        ),
    )


def _distribution(values: Values) -> Panel:
    return heat(
        "Durations by their length",
        "How many per second fell between two bounds: a second band is a second population.",
        over_time(values.distribution(PERFORMANCE_DURATION, _WHERE)),
        "s",
        native=values.native,
        width=24,
        interval="2m",
    )


def _other_units(values: Values) -> tuple[Panel, ...]:
    signed = values.signed_average(PERFORMANCE_VALUE, NOW, (*_KEY, UNIT.name), _WHERE)
    return (
        _average(values, PERFORMANCE_SIZE, "Average sizes", "bytes"),
        _average(values, PERFORMANCE_RATIO, "Average ratios", "percentunit"),
        _average(values, PERFORMANCE_RATE, "Average rates, per second", "none"),
        lines(
            "Average values in other units",
            "Of what has no unit that is known, in the caller's unit; may be below zero.",
            [over_time(signed, f"{_LEGEND} {{{{unit}}}}")],
            "none",
            width=24,
            interval="5m",
        ),
    )


def _average(values: Values, metric: Metric, title: str, unit: str) -> Panel:
    average = values.most(metric, NOW, _KEY, _WHERE)
    return lines(
        title,
        f"Mean of {series_name(metric)}, the {SHOWN} with most values.",
        [over_time(average, _LEGEND)],
        unit,
        low=0,
        interval="5m",
    )
