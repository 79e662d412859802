"""What is compared: each documented record call, and the statements that make the same updates elsewhere.

Every statement is compiled into the same loop, ``for s, v, q, b in work``: the name of a series, a value (milliseconds,
or whatever), a share of 0 to 1, and the prometheus_client children of that series. Names such as ``duration`` are instruments or
metrics of whoever is measured.
"""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prometheus_client
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View

from otel_metrics import catalogue as c
from otel_metrics.catalogue import Kind
from otel_metrics.runtime import Runtime
from otel_metrics.sdk import provider as shipped
from otel_metrics.sdk.views import Buckets
from otel_metrics.sdk.views import views as histogram_views
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_metrics.catalogue import Metric

OURS, CLASSIC = "ours", "ours, classic buckets only"
REMOTE = "ours, values not kept"
"""With ``prometheus_unavailable="raise"``: this process keeps no values for its own getters."""
NAIVE = "naive OpenTelemetry"
LABELS, BOUND, SQLITE = (
    "prometheus_client, labels()",
    "prometheus_client, child kept in a variable",
    "SQLite, insert and commit",
)
OUR_OWN = frozenset({OURS, CLASSIC, REMOTE})
CONTENDERS = (OURS, CLASSIC, REMOTE, NAIVE, LABELS, BOUND, SQLITE)


@dataclass(frozen=True)
class Call:
    """One record call; ``updates`` are the same updates on bare instruments: (name, metric, labels, operation)."""

    name: str
    ours: str
    updates: tuple[tuple[str, Metric, dict[str, str], str], ...]

    def statement(self, contender: str) -> str:
        if contender in OUR_OWN:
            return self.ours
        if contender == SQLITE:
            return "insert(s, v)"
        return "; ".join(self._update(contender, *parts) for parts in enumerate(self.updates))

    def _update(self, contender: str, position: int, update: tuple[str, Metric, dict[str, str], str]) -> str:
        name, metric, labels, argument = update
        if contender == NAIVE:
            method = {Kind.HISTOGRAM: "record", Kind.COUNTER: "add", Kind.GAUGE: "set"}[metric.kind]
            pairs = ", ".join(f"{label!r}: {value}" for label, value in labels.items())
            return f"{name}.{method}({argument}, {{{pairs}}})"
        method = {Kind.HISTOGRAM: "observe", Kind.COUNTER: "inc", Kind.GAUGE: "set"}[metric.kind]
        target = f"b[{position}]" if contender == BOUND else f"{name}.labels({', '.join(labels.values())})"
        return f"{target}.{method}({argument})"


def _labels(**labels: str) -> dict[str, str]:
    return labels


LATENCY = _labels(feature="'search'", metric_category="'latency'", metric_name="s")
RATED = _labels(feature="'search'", satisfaction_type="s")
USED = _labels(feature="'search'", action="s", outcome="'success'")
LEARNT = _labels(feature="'search'", learning_type="s")
OPTIMIZED = _labels(feature="'search'", impact_category="'speed'")
RESOURCE = _labels(resource_type="'memory'", resource_name="s")
NAMED = _labels(feature="'search'", metric_name="s")

CALLS = (
    Call(
        "record_performance_metric",
        "m.record_performance_metric(feature='search', metric_category='latency', metric_name=s, value=v, unit='ms')",
        (("duration", c.PERFORMANCE_DURATION, LATENCY, "v / 1000"),),
    ),
    Call(
        "record_satisfaction",
        "m.record_satisfaction('search', s, q)",
        (
            ("score", c.SATISFACTION_SCORE, RATED, "q"),
            ("responses", c.SATISFACTION_RESPONSES, {**RATED, "satisfied": "'yes' if q >= 0.7 else 'no'"}, "1"),
        ),
    ),
    Call(
        "record_feature_usage",
        "m.record_feature_usage('search', s, v, True)",
        (("usage", c.USAGE, USED, "1"), ("usage_duration", c.USAGE_DURATION, USED, "v / 1000")),
    ),
    Call(
        "record_learning_effectiveness",
        "m.record_learning_effectiveness('search', s, accuracy=q, confidence=q, sample_size=100, improvement_rate=q)",
        (
            ("accuracy", c.LEARNING_ACCURACY, LEARNT, "q"),
            ("confidence", c.LEARNING_CONFIDENCE, LEARNT, "q"),
            ("improvement", c.LEARNING_IMPROVEMENT, LEARNT, "1 + q"),
            ("samples", c.LEARNING_SAMPLES, LEARNT, "100"),
        ),
    ),
    Call(
        "record_optimization_impact",
        "m.record_optimization_impact('search', s, 'speed', before_value=v, after_value=q, user_impact_score=q)",
        (
            ("before", c.OPTIMIZATION_BEFORE, {**OPTIMIZED, "optimization_id": "s"}, "v"),
            ("after", c.OPTIMIZATION_AFTER, {**OPTIMIZED, "optimization_id": "s"}, "q"),
            ("change", c.OPTIMIZATION_CHANGE, OPTIMIZED, "q / v"),
            ("impact", c.OPTIMIZATION_USER_IMPACT, OPTIMIZED, "q"),
        ),
    ),
    Call(
        "record_resource_utilization",
        "m.record_resource_utilization('memory', s, q, allocated=1024, used=v, unit='MB')",
        (
            ("utilization", c.RESOURCE_UTILIZATION, RESOURCE, "q / 100"),
            ("allocated", c.RESOURCE_ALLOCATED, RESOURCE, "1024 * 1e6"),
            ("used", c.RESOURCE_USED, RESOURCE, "v * 1e6"),
        ),
    ),
    Call(
        "record_error",
        "m.record_error('search', s, 'error')",
        (
            (
                "errors",
                c.ERRORS,
                _labels(feature="'search'", error_type="s", severity="'error'", recovery="'none'"),
                "1",
            ),
        ),
    ),
    Call(
        "record_performance_metric (basic)",
        "basic.record_performance_metric('search', s, v)",
        (("duration", c.PERFORMANCE_VALUE, NAMED, "v"),),
    ),
    Call(
        "record_learning_metric (basic)",
        "basic.record_learning_metric('search', s, q)",
        (("learning", c.LEARNING_VALUE, NAMED, "q"),),
    ),
    Call(
        "record_optimization_metric (basic)",
        "basic.record_optimization_metric('search', s, q)",
        (("optimization", c.OPTIMIZATION_VALUE, NAMED, "q"),),
    ),
)

Names = dict[str, Any]


@dataclass
class Prepared:
    """A contender, ready to be measured: ``names`` for its statement, what completes the work, what takes it down."""

    names: Names
    children: Callable[[str], tuple[Any, ...]]
    finish: Callable[[], None]
    close: Callable[[], None]


def prepare(contender: str, call: Call, series: int, readers: int) -> Prepared:
    """Set up a contender, as its documentation shows."""
    if contender in OUR_OWN:
        buckets = Buckets.EXPLICIT if contender == CLASSIC else Buckets.BOTH
        return _ours(series, readers, buckets, keeps_values=contender != REMOTE)
    if contender == NAIVE:
        return _naive(call, readers)
    if contender == SQLITE:
        return _sqlite()
    return _prometheus(call, bound=contender == BOUND)


def _ours(series: int, readers: int, buckets: Buckets, *, keeps_values: bool) -> Prepared:
    limit = 4 * series + 1000
    views = list(shipped.views())
    if buckets is not Buckets.BOTH:
        histograms = {metric.name: metric.buckets for metric in c.CATALOGUE if metric.kind is Kind.HISTOGRAM}
        views = histogram_views(histograms, buckets, aggregation_cardinality_limit=4 * limit)
    provider = MeterProvider([InMemoryMetricReader() for _ in range(readers)], shutdown_on_exit=False, views=views)
    caps = dict.fromkeys(("metric_name", "satisfaction_type", "action", "learning_type"), limit)
    caps |= dict.fromkeys(("optimization_id", "resource_name", "error_type"), limit)
    settings = Settings(meter_provider=provider, series_limit=limit, label_caps=caps)
    if not keeps_values:
        settings = replace(settings, prometheus_url="http://localhost:9090", prometheus_unavailable="raise")
    runtime = Runtime(settings)

    def close() -> None:
        runtime.close()
        provider.shutdown()

    names = {"m": runtime.advanced, "basic": runtime.basic}
    return Prepared(names, lambda _: (), runtime.recorder.flusher.flush, close)


def _naive(call: Call, readers: int) -> Prepared:
    views = [View(instrument_name="*", aggregation_cardinality_limit=10**6)]
    provider = MeterProvider([InMemoryMetricReader() for _ in range(readers)], shutdown_on_exit=False, views=views)
    meter = provider.get_meter("benchmark")
    names: Names = {}
    for name, metric, _, _ in call.updates:
        if metric.kind is Kind.HISTOGRAM:
            names[name] = meter.create_histogram(name, explicit_bucket_boundaries_advisory=metric.buckets)
        else:
            names[name] = (meter.create_counter if metric.kind is Kind.COUNTER else meter.create_gauge)(name)
    return Prepared(names, lambda _: (), lambda: None, provider.shutdown)


def _prometheus(call: Call, *, bound: bool) -> Prepared:
    registry = prometheus_client.CollectorRegistry()
    names: Names = {}
    for name, metric, labels, _ in call.updates:
        if metric.kind is Kind.HISTOGRAM:
            names[name] = prometheus_client.Histogram(
                name, name, list(labels), buckets=metric.buckets, registry=registry
            )
        else:
            kind = prometheus_client.Counter if metric.kind is Kind.COUNTER else prometheus_client.Gauge
            names[name] = kind(name, name, list(labels), registry=registry)

    def children(series: str) -> tuple[Any, ...]:
        if not bound:
            return ()
        scope = {"s": series, "q": 1.0}
        return tuple(
            names[name].labels(*(eval(value, scope) for value in labels.values()))
            for name, _, labels, _ in call.updates
        )

    return Prepared(names, children, lambda: None, lambda: None)


def _sqlite() -> Prepared:
    folder = tempfile.TemporaryDirectory()
    database = sqlite3.connect(Path(folder.name) / "metrics.db")
    database.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, at REAL, feature TEXT, name TEXT, value REAL)")

    def insert(series: str, value: float) -> None:
        database.execute("INSERT INTO metrics (at, feature, name, value) VALUES (0, 'search', ?, ?)", (series, value))
        database.commit()

    def close() -> None:
        database.close()
        folder.cleanup()

    return Prepared({"insert": insert}, lambda _: (), lambda: None, close)
