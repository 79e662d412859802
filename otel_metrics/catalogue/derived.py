"""What is emitted besides: the bridge's own health."""

from __future__ import annotations

from otel_metrics.catalogue.labels import CALL, LABEL, REASON
from otel_metrics.catalogue.schema import Family, Kind, Metric

REJECTED = Metric(
    "otel_metrics.rejected",
    Kind.COUNTER,
    Family.BRIDGE,
    "Arguments of record calls that were rejected.",
    "",
    (CALL, REASON),
)
LABEL_OVERFLOW = Metric(
    "otel_metrics.label.overflow",
    Kind.COUNTER,
    Family.BRIDGE,
    "Bindings of a new series in which a label past its cap became 'other'.",
    "",
    (LABEL,),
)
SERIES = Metric("otel_metrics.series", Kind.GAUGE, Family.BRIDGE, "Series that record calls are bound to.", merge="max")
PROCESSES = Metric(
    "otel_metrics.processes", Kind.GAUGE, Family.BRIDGE, "Living processes that share the multiprocess directory."
)
SHARED_ERRORS = Metric(
    "otel_metrics.shared.errors",
    Kind.COUNTER,
    Family.BRIDGE,
    "Times that something could not be read from, or written to, the multiprocess directory.",
    "",
    (REASON,),
)
SCRAPES = Metric("otel_metrics.scrapes", Kind.COUNTER, Family.BRIDGE, "Scrapes answered.")
SCRAPE_DURATION = Metric("otel_metrics.scrape.duration", Kind.GAUGE, Family.BRIDGE, "Duration of the last scrape.", "s")
COLLISIONS = Metric(
    "otel_metrics.collisions",
    Kind.GAUGE,
    Family.BRIDGE,
    "Metrics left out of the exposition in the last five minutes because their exposed name, or labels, are taken.",
    merge="max",
)
INVALID_FILES = Metric(
    "otel_metrics.invalid.files",
    Kind.GAUGE,
    Family.BRIDGE,
    "Files of the endpoint (users, certificates) that cannot be used as they are now.",
    merge="max",
)
UNMERGED = Metric(
    "otel_metrics.unmerged",
    Kind.GAUGE,
    Family.BRIDGE,
    "1 if other processes answer at the address of this endpoint, each for itself; otherwise left out.",
)
