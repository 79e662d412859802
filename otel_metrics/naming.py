"""What an OpenTelemetry metric is called when Prometheus sees it. Pure functions, no OpenTelemetry import.

The rules are those of the specification's Prometheus compatibility page, as the official Python exporter applies them:
other characters become ``_``, the unit is appended once, counters end in ``_total``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import Kind

if TYPE_CHECKING:
    from otel_metrics.catalogue import Metric

METER_NAME: Final = "otel_metrics"
"""The instrumentation scope of this package's own metrics."""

_BAD_IN_NAME: Final = re.compile(r"[^a-zA-Z0-9:]+")
_BAD_IN_LABEL: Final = re.compile(r"[^a-zA-Z0-9]+")
_ANNOTATION: Final = re.compile(r"{.*?}")
_UNITS: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tebibytes",
    "kBy": "kilobytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "1": "",
    "%": "percent",
}
_PER: Final = {
    "s": "second",
    "min": "minute",
    "m": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "y": "year",
}


def metric_name(name: str) -> str:
    """Return ``name`` with everything that a classic Prometheus metric name cannot hold replaced by ``_``."""
    return _BAD_IN_NAME.sub("_", _no_leading_digit(name))


@lru_cache(maxsize=4096)
def label_name(key: str) -> str:
    """Return attribute key ``key`` as a classic Prometheus label name."""
    return _BAD_IN_LABEL.sub("_", _no_leading_digit(key))


def _no_leading_digit(name: str) -> str:
    return "_" + name[1:] if name[:1].isdigit() else name


def unit_name(unit: str) -> str:
    """Return the suffix that the UCUM unit ``unit`` gives a metric name, or the empty string."""
    unit = _ANNOTATION.sub("", unit)
    if unit in _UNITS:
        return _UNITS[unit]
    top, slash, bottom = unit.partition("/")
    if slash and (bottom := _BAD_IN_NAME.sub("_", bottom)):
        top = _BAD_IN_NAME.sub("_", top)
        top, bottom = _UNITS.get(top, top), _PER.get(bottom, bottom)
        return f"{top}_per_{bottom}" if top else f"per_{bottom}"
    return _BAD_IN_NAME.sub("_", unit).strip("_")


def exposed_name(name: str, unit: str, *, counter: bool) -> str:
    """Return the name of the series of a counter or gauge, or of the histogram family, called ``name`` in OpenTelemetry."""
    exposed, suffix = metric_name(name), unit_name(unit)
    if counter:
        exposed = exposed.removesuffix("_total")
    if suffix and not exposed.endswith(f"_{suffix}"):
        exposed += f"_{suffix}"
    return f"{exposed}_total" if counter else exposed


def series_name(metric: Metric) -> str:
    """Return the exposed name of a catalogue row: a counter with ``_total``, a histogram without ``_bucket``, ``_sum``, ``_count``."""
    return exposed_name(metric.name, metric.unit, counter=metric.kind is Kind.COUNTER)
