"""What is used of OpenTelemetry that it does not promise: every private name, what it is, and who here uses it.

Seen in every SDK from ``OLDEST`` to ``NEWEST``. Each use is tried out before it is relied upon, and has a way without it:

=================  ==========================================================  ===============================================
used by            tried out by                                                where that fails
=================  ==========================================================  ===============================================
``bulk``           ``views.best_way``: a provider of its own, both kinds of    values one by one into the SDK's aggregation,
                   temporality, single values and many, an exemplar            then (public names only) into its instruments
``lazy_points``    ``lazy_points._works``: the same points as the SDK's own    the SDK's own data points
``context``        ``context._context_reader``: the same context               ``opentelemetry.context.get_current``
=================  ==========================================================  ===============================================

What OpenTelemetry could offer instead is in ``docs/upstream.md``.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class PrivateName(NamedTuple):
    """A name that OpenTelemetry may change without notice."""

    owner: str
    """Where it is defined."""
    used_by: str
    """The module of this package."""


OLDEST: Final = "1.30"
NEWEST: Final = "1.45"
"""The newest minor version that all of this was seen in: that of constraints.txt."""

_AGGREGATION: Final = "opentelemetry.sdk.metrics._internal.aggregation"

PRIVATE_NAMES: Final = {
    "_RUNTIME_CONTEXT": PrivateName("opentelemetry.context", "context"),
    "_current_context": PrivateName("opentelemetry.context.contextvars_context.ContextVarsRuntimeContext", "context"),
    "_create_aggregation": PrivateName(f"{_AGGREGATION}.Aggregation", "bulk"),
    "_sample_exemplar": PrivateName(f"{_AGGREGATION}._Aggregation", "bulk"),
    "_collect_exemplars": PrivateName(f"{_AGGREGATION}._Aggregation", "bulk, lazy_points"),
    "_internal": PrivateName("opentelemetry.sdk.metrics", "lazy_points"),
    "_SumAggregation": PrivateName(_AGGREGATION, "lazy_points"),
    "_ExplicitBucketHistogramAggregation": PrivateName(_AGGREGATION, "lazy_points"),
    "_attributes": PrivateName(f"{_AGGREGATION}._Aggregation", "lazy_points"),
    "_lock": PrivateName(f"{_AGGREGATION}._Aggregation and _ViewInstrumentMatch", "lazy_points"),
    "_reservoir": PrivateName(f"{_AGGREGATION}._Aggregation", "lazy_points"),
    "_reservoir_storage": PrivateName("opentelemetry.sdk.metrics.FixedSizeExemplarReservoirABC", "lazy_points"),
    "_start_time_unix_nano": PrivateName(f"{_AGGREGATION}._SumAggregation and others", "lazy_points"),
    "_value": PrivateName(f"{_AGGREGATION}._SumAggregation and others", "lazy_points"),
    "_previous_value": PrivateName(f"{_AGGREGATION}._SumAggregation and others", "lazy_points"),
    "_sum": PrivateName(f"{_AGGREGATION}._ExplicitBucketHistogramAggregation", "lazy_points"),
    "_previous_sum": PrivateName(f"{_AGGREGATION}._ExplicitBucketHistogramAggregation", "lazy_points"),
    "_boundaries": PrivateName(f"{_AGGREGATION}._ExplicitBucketHistogramAggregation", "lazy_points"),
    "_collect": PrivateName("opentelemetry.sdk.metrics.export.MetricReader", "lazy_points"),
    "_reader_storages": PrivateName("opentelemetry.sdk.metrics._internal.measurement_consumer", "lazy_points"),
    "_instrument_view_instrument_matches": PrivateName(
        "opentelemetry.sdk.metrics._internal.metric_reader_storage.MetricReaderStorage", "lazy_points"
    ),
    "_aggregation": PrivateName("opentelemetry.sdk.metrics._internal._view_instrument_match", "lazy_points"),
    "_attributes_aggregation": PrivateName("opentelemetry.sdk.metrics._internal._view_instrument_match", "lazy_points"),
}
