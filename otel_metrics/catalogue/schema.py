"""What a row of the catalogue says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

OTHER: Final = "other"
"""What a label value past its cap, or outside its declared values, collapses to."""


class Kind(Enum):
    """The OpenTelemetry instrument behind a row."""

    HISTOGRAM = "histogram"
    COUNTER = "counter"
    GAUGE = "gauge"


class Family(Enum):
    """What a metric is about: one dashboard, one getter and one part of the README per family."""

    PERFORMANCE = "performance"
    SATISFACTION = "satisfaction"
    USAGE = "usage"
    LEARNING = "learning"
    OPTIMIZATION = "optimization"
    RESOURCE = "resource"
    ERROR = "error"
    DAILY = "daily"
    BRIDGE = "bridge"


@dataclass(frozen=True, slots=True, eq=False)  # there is one of each: looked up by identity
class Label:
    """One label. ``values`` is its closed domain (seeded at zero); an open label keeps at most ``cap`` distinct values."""

    name: str
    values: tuple[str, ...] = ()
    cap: int = 100


@dataclass(frozen=True, slots=True)
class Daily:
    """Where a histogram's values go in the daily table: its (metric_type, metric_name, unit).

    ``metric_type`` and ``unit`` are literals, unless ``type_label`` or ``unit_label`` names the label of the series to take.
    """

    name_label: str
    metric_type: str = ""
    type_label: str = ""
    unit: str = "ratio"
    unit_label: str = ""


Merge = Literal["latest", "sum", "max", "min", "mean"]
"""How several processes' values of a gauge become one: ``latest`` is the newest, also of a process that has ended; the others
are of living processes."""


@dataclass(frozen=True, slots=True, eq=False)  # there is one of each: looked up by identity
class Metric:
    """One row of the catalogue."""

    name: str
    kind: Kind
    family: Family
    description: str
    unit: str = ""
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    daily: Daily | None = None
    low: float = 0.0
    """Smallest admissible value, in the base unit."""
    high: float = float("inf")
    merge: Merge = "latest"

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label names, in the catalogue's order."""
        return tuple(label.name for label in self.labels)
