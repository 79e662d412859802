"""A caller's unit to the catalogue's base unit, and back. Units by table, never by guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import (
    PERFORMANCE_DURATION,
    PERFORMANCE_RATE,
    PERFORMANCE_RATIO,
    PERFORMANCE_SIZE,
    PERFORMANCE_VALUE,
)
from otel_metrics.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_metrics.catalogue import (
        Metric,
    )


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that callers record with: ``base = value * factor / divisor``.

    Two integers instead of one factor because a division rounds once: 125.5 ms is 0.1255 s exactly as a literal would be.
    """

    name: str
    metric: Metric
    factor: float = 1.0
    divisor: float = 1.0

    @property
    def converter(self) -> Callable[[Sequence[float]], list[float]] | None:
        """:meth:`to_base`, or ``None`` where values are in the base unit already."""
        return None if self.factor == self.divisor == 1.0 else self.to_base

    def to_base(self, values: Sequence[float]) -> list[float]:
        """Return ``values``, recorded in this unit, in the base unit."""
        factor, divisor = self.factor, self.divisor
        if divisor != 1.0:
            return [value / divisor for value in values]
        return [value * factor for value in values] if factor != 1.0 else list(values)

    def from_base(self, value: float) -> float:
        """Return ``value``, given in the base unit, in this unit."""
        return value * self.divisor / self.factor


def _table(metric: Metric, *rows: tuple[str, float, float]) -> dict[str, Unit]:
    return {name: Unit(name, metric, factor, divisor) for names, factor, divisor in rows for name in names.split()}


UNITS: Final[dict[str, Unit]] = {
    **_table(
        PERFORMANCE_DURATION,
        ("ns nanosecond nanoseconds", 1, 1e9),
        ("us µs μs microsecond microseconds", 1, 1e6),
        ("ms msec millisecond milliseconds", 1, 1e3),
        ("s sec second seconds", 1, 1),
        ("min minute minutes", 60, 1),
        ("h hr hour hours", 3600, 1),
        ("d day days", 86400, 1),
    ),
    **_table(
        PERFORMANCE_SIZE,
        ("B By byte bytes", 1, 1),
        ("kB KB kilobyte kilobytes", 1e3, 1),
        ("MB megabyte megabytes", 1e6, 1),
        ("GB gigabyte gigabytes", 1e9, 1),
        ("TB terabyte terabytes", 1e12, 1),
        ("KiB kibibyte kibibytes", 2**10, 1),
        ("MiB mebibyte mebibytes", 2**20, 1),
        ("GiB gibibyte gibibytes", 2**30, 1),
        ("TiB tebibyte tebibytes", 2**40, 1),
    ),
    **_table(
        PERFORMANCE_RATIO,
        ("percent % pct percentage", 1, 100),
        ("ratio 1 fraction", 1, 1),
    ),
    **_table(
        PERFORMANCE_RATE,
        ("per_second /s 1/s ops/s req/s rps qps hz Hz operations_per_second requests_per_second", 1, 1),
        ("per_minute /min 1/min ops/min rpm operations_per_minute requests_per_minute", 1, 60),
    ),
}
"""Every spelling that is understood. Whole words may be capitalised; symbols may not (Mb is not MB)."""

_SHORTEST_WORD: Final = 4

MILLISECONDS: Final = UNITS["ms"]

_SUFFIXES: Final = {
    "_ns": "ns",
    "_us": "us",
    "_ms": "ms",
    "_milliseconds": "ms",
    "_s": "s",
    "_sec": "s",
    "_seconds": "s",
    "_minutes": "min",
    "_hours": "h",
    "_bytes": "B",
    "_kb": "kB",
    "_mb": "MB",
    "_gb": "GB",
    "_kib": "KiB",
    "_mib": "MiB",
    "_gib": "GiB",
    "_percent": "percent",
    "_pct": "percent",
    "_ratio": "ratio",
    "_per_second": "per_second",
    "_per_sec": "per_second",
    "_rps": "per_second",
    "_qps": "per_second",
    "_per_minute": "per_minute",
}


def unit_of(spelling: str) -> Unit:
    """Return the unit that a caller spells ``spelling``; an unknown one is kept as it is, in the family of plain values."""
    known = UNITS.get(spelling)
    if known is None and len(spelling) >= _SHORTEST_WORD:
        known = UNITS.get(spelling.lower())
    return known or Unit(spelling, PERFORMANCE_VALUE)


def meant(spelling: str) -> str:
    """Return a hint, for a message, at the known unit that an unknown one was probably to be; empty if it is like none."""
    # Short ones are like each other; what is no word ("byte/s") is another quantity than the unit it resembles.
    likely = len(spelling) >= _SHORTEST_WORD and spelling.isalpha() and spelling not in UNITS
    return did_you_mean(spelling, UNITS) if likely else ""


def unit_of_name(metric_name: str) -> Unit:
    """Return the unit that a metric's name ends in (``response_time_ms``), for callers that cannot give one."""
    lowered = metric_name.lower()
    found = max((suffix for suffix in _SUFFIXES if lowered.endswith(suffix)), key=len, default="")
    return UNITS[_SUFFIXES[found]] if found else Unit("", PERFORMANCE_VALUE)
