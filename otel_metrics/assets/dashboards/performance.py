"""Durations, sizes, ratios, rates and other values: what ``get_performance_metrics`` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import alert_table
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section, Variable, feature_menu
from otel_metrics.assets.dashboards.panels import (
    AMBER,
    NONE_SO_FAR,
    NOT_SCRAPED,
    OF_FEATURE,
    WHEN_OVER,
    Bound,
    Column,
    heat,
    lines,
    over_time,
    stat,
    table,
)
from otel_metrics.assets.dashboards.queries import (
    PERIOD,
    RESPONSE_TIMES,
    SHOWN,
    SLOW,
    STEP,
    average,
    chosen,
    hour_of_response_times,
    measured,
    most_averages,
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
_ALERTS: Final = "Feature(ResponseTime|SlowerThan).+"


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    selector = Series("", (like("__name__", "feature_performance_.+"), chosen(FEATURE)))
    return Dashboard(
        uids.PERFORMANCE,
        "otel_metrics / Performance",
        "How long, how large, how much? Of what record_performance_metric recorded, in base units.",
        (FEATURES, Variable(METRIC_CATEGORY.name, "Category", selector)),
        (
            Section("", (*_tiles(), _durations(values), alert_table(values.scope, _ALERTS))),
            Section("Response times", _response_times()),
            Section("All durations of the chosen categories", (_distribution(values),)),
            Section("Other units", _other_units(), folded=True),
        ),
        alerts=_ALERTS,
    )


def _tiles() -> tuple[Panel, ...]:
    slow = thresholds.RESPONSE_TIME
    p95 = recorded(DURATION_P95_5M, RESPONSE_TIMES)
    return (
        stat(
            "Slowest average response time, last hour",
            f"Of the worst feature with {slow.events} response times, exact. Amber above {slow.bound:g} s, where {_ALERT} fires.",
            aggregate("topk", (), 1, hour_of_response_times()),
            "s",
            bound=SLOW,
            name=OF_FEATURE,
            none="few or none",
            width=8,
        ),
        stat(
            "Highest p95 of response times, now",
            "19 of 20 responses of the last five minutes were faster. Estimated. FeatureResponseTimeP95High judges it where the hour has "
            f"{thresholds.RESPONSE_TIME_P95.events} response times.",
            aggregate("topk", (), 1, p95),
            "s",
            name=OF_FEATURE,
            none="none now",
            width=8,
        ),
        stat(
            "Durations in this period",
            f"How many were recorded, exact. {WHEN_OVER}",
            measured(PERFORMANCE_DURATION, PERIOD, (), _WHERE),
            none=NONE_SO_FAR,
            width=8,
        ),
    )


def _durations(values: Values) -> Panel:
    return table(
        "Durations in this period, by category and name",
        "Counts and averages are exact; percentiles are estimated from buckets, of full hours. Judged are only averages of response times.",
        {"feature": "Feature", "metric_category": "Category", "metric_name": "Name"},
        [
            Column("p95", values.quantile(0.95, PERFORMANCE_DURATION, _KEY, _WHERE), "s", width=68),
            Column("p50", values.quantile(0.5, PERFORMANCE_DURATION, _KEY, _WHERE), "s", width=68),
            Column("Average", average(PERFORMANCE_DURATION, PERIOD, _KEY, _WHERE), "s", width=74),
            Column("Count", measured(PERFORMANCE_DURATION, PERIOD, _KEY, _WHERE), width=64),
        ],
        menu=feature_menu(uids.PERFORMANCE),
        widths={"Category": 108},
        sort="p95",
        width=14,
    )


def _response_times() -> tuple[Panel, ...]:
    return (
        lines(
            "Average response time of the last hour",
            f"The {SHOWN} slowest features, exact. The amber line is the bound of {_ALERT}.",
            [over_time(worst(recorded(DURATION_1H, RESPONSE_TIMES)), OF_FEATURE)],
            "s",
            bound=SLOW,
            low=0,
            width=12,
        ),
        lines(
            "p95 of response times, five minutes, estimated",
            f"19 of 20 were faster. The {SHOWN} slowest features. The amber line is the bound of FeatureResponseTimeP95High, where the "
            f"hour has {thresholds.RESPONSE_TIME_P95.events} response times.",
            [over_time(worst(recorded(DURATION_P95_5M, RESPONSE_TIMES)), OF_FEATURE)],
            "s",
            bound=Bound(thresholds.RESPONSE_TIME_P95.bound, color=AMBER),
            low=0,
            none=NOT_SCRAPED,
            width=12,
        ),
    )


def _distribution(values: Values) -> Panel:
    return heat(
        "Durations by their length",
        "How many of each quarter of an hour fell between two bounds: a second band is a second population.",
        over_time(values.distribution(PERFORMANCE_DURATION, _WHERE)),
        "s",
        native=values.native,
        width=24,
        interval="15m",
    )


def _other_units() -> tuple[Panel, ...]:
    signed = average(PERFORMANCE_VALUE, STEP, (*_KEY, UNIT.name), _WHERE)
    return (
        _average(PERFORMANCE_SIZE, "Average sizes", "bytes"),
        _average(PERFORMANCE_RATIO, "Average ratios", "percentunit"),
        _average(PERFORMANCE_RATE, "Average rates, per second", "none"),
        lines(
            "Average values in other units",
            "Of what has no unit that is known, in the caller's unit; may be below zero.",
            [over_time(signed, f"{_LEGEND} {{{{unit}}}}")],
            "none",
            width=24,
            interval="15m",
        ),
    )


def _average(metric: Metric, title: str, unit: str) -> Panel:
    return lines(
        title,
        f"Mean of {series_name(metric)}, the {SHOWN} with most values.",
        [over_time(most_averages(metric, _KEY, _WHERE), _LEGEND)],
        unit,
        low=0,
        interval="15m",
    )
