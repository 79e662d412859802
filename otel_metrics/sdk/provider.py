"""What a meter provider spec to hold the catalogue: views for its buckets, room for its series, a resource of its own.

And, if interaction ids shall be exemplars, an exemplar filter.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from opentelemetry.sdk.environment_variables import OTEL_METRICS_EXEMPLAR_FILTER, OTEL_RESOURCE_ATTRIBUTES
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, AlwaysOnExemplarFilter, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource

from otel_metrics.catalogue import CATALOGUE, Kind
from otel_metrics.errors import _shown
from otel_metrics.log import say
from otel_metrics.naming import METER_NAME
from otel_metrics.sdk.bulk import BulkMeasurement
from otel_metrics.sdk.views import views as histogram_views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context

INSTANCE: Final = "service.instance.id"
"""The resource attribute that is a label of every series: one value per process, so that no series ever resets."""

_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def views() -> Sequence[View]:
    """Return the views for a ``MeterProvider`` of the application's own: ``MeterProvider(views=otel_metrics.views())``.

    They give every histogram the catalogue's buckets, classic and exponential, and let values be handed over in bulk.
    The SDK's own limit, which would fold all labels into one overflow series, is put out of the way: how many series there
    are is bounded before, by the settings ``label_caps`` and ``series_limit``.
    """
    limit: dict[str, Any] = {}
    if "aggregation_cardinality_limit" in inspect.signature(View).parameters:
        # Any figure would have to follow what hangs on a series: seeds and signs, catch-alls, the daily table's keys.
        limit["aggregation_cardinality_limit"] = sys.maxsize
    buckets = {metric.name: metric.buckets for metric in CATALOGUE if metric.kind is Kind.HISTOGRAM}
    others = [
        View(instrument_name=metric.name, meter_name=METER_NAME, **limit)
        for metric in CATALOGUE
        if metric.name not in buckets
    ]
    return [*histogram_views(buckets, meter_name=METER_NAME, **limit), *(others if limit else ())]


class ExemplarFilter(TraceBasedExemplarFilter):
    """Makes exemplars of values in sampled spans and of those with an interaction id; for a provider with our :func:`views`."""

    def should_sample(self, value: float, time_unix_nano: int, attributes: Any, context: Context) -> bool:
        """Tell whether a measurement is offered to the exemplar reservoir."""
        own = isinstance(value, BulkMeasurement) and value.extra is not None
        return own or super().should_sample(value, time_unix_nano, attributes, context)


_FILTERS: Final[dict[str, type[Any]]] = {
    "always_on": AlwaysOnExemplarFilter,
    "always_off": AlwaysOffExemplarFilter,
    "trace_based": TraceBasedExemplarFilter,
}


def exemplar_filter() -> Any:
    """Return the filter that the specification's variable names, else ours. The SDK raises where it is empty, or names none."""
    name = os.environ.get(OTEL_METRICS_EXEMPLAR_FILTER, "").strip().lower()
    if name and name not in _FILTERS:
        say(
            logging.WARNING,
            "%s=%s is not allowed; allowed: %s. It is ignored",
            OTEL_METRICS_EXEMPLAR_FILTER,
            _shown(name),
            ", ".join(_FILTERS),
        )
    return _FILTERS.get(name, ExemplarFilter)()


def resource(parent: Resource | None = None) -> Resource:
    """Return the specification's resource (``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``) for this very process.

    An instance id that is given, such as the name of a pod, outlives a restart; the series of one process must not go on in
    the next one's, so it is made unique. One that the SDK made up is replaced by a shorter one, as every line of an exposition
    has it. With the resource of a ``parent`` process, return that of its forked child:
    detecting resources takes threads and locks, which a child that has not returned from ``fork()`` must not use.
    """
    found = Resource.create() if parent is None else parent
    given = found.attributes.get(INSTANCE)
    if parent is None and _UUID.fullmatch(str(given)) and INSTANCE not in os.environ.get(OTEL_RESOURCE_ATTRIBUTES, ""):
        given = None
    unique = uuid4().hex
    return found.merge(Resource({INSTANCE: f"{given!s}-{unique[:8]}" if given else unique[:12]}))
