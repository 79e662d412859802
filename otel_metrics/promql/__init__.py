"""PromQL for rules, panels and getters.

``syntax`` is the language, ``dialects`` what servers understand of it, ``changes`` what is asked of cumulative series.
"""

from __future__ import annotations

from otel_metrics.promql.changes import Change, HistogramChange, rate, total
from otel_metrics.promql.dialects import (
    DIALECTS,
    INSTANCE,
    JOB,
    PROMETHEUS,
    PROMETHEUS_3_5,
    VICTORIAMETRICS,
    Dialect,
    Histograms,
    difference,
    of_prometheus,
    of_server,
)
from otel_metrics.promql.syntax import (
    Expression,
    Number,
    Range,
    Series,
    aggregate,
    binary,
    call,
    equal,
    last_over,
    like,
    milliseconds,
    number,
    pretty,
    quoted,
    relabel,
    series,
    sum_by,
    unequal,
    unlike,
)

__all__ = [
    "DIALECTS",
    "INSTANCE",
    "JOB",
    "PROMETHEUS",
    "PROMETHEUS_3_5",
    "VICTORIAMETRICS",
    "Change",
    "Dialect",
    "Expression",
    "HistogramChange",
    "Histograms",
    "Number",
    "Range",
    "Series",
    "aggregate",
    "binary",
    "call",
    "difference",
    "equal",
    "last_over",
    "like",
    "milliseconds",
    "number",
    "of_prometheus",
    "of_server",
    "pretty",
    "quoted",
    "rate",
    "relabel",
    "series",
    "sum_by",
    "total",
    "unequal",
    "unlike",
]
