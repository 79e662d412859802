"""From OpenTelemetry names to exposed ones, and from those to what a scraper accepts. Pure functions.

Two steps, as in the specifications: a *translation strategy* (the user's choice, names as in OpenTelemetry's configuration)
decides what a metric is called, an *escaping* (the scraper's choice, a parameter of its ``Accept`` header) decides how a
name outside ``[a-zA-Z_:][a-zA-Z0-9_:]*`` is written.
"""

from __future__ import annotations

import base64
import json
import re
from functools import lru_cache
from math import isfinite
from typing import Any, Final, Literal, get_args

from otel_metrics.naming import exposed_name, label_name, metric_name, unit_name

Strategy = Literal[
    "UnderscoreEscapingWithSuffixes",
    "UnderscoreEscapingWithoutSuffixes",
    "NoUTF8EscapingWithSuffixes",
    "NoTranslation",
]
Escaping = Literal["underscores", "allow-utf-8", "dots", "values"]
MetricType = Literal["counter", "gauge", "histogram", "info"]

STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)
ESCAPINGS: Final[tuple[Escaping, ...]] = get_args(Escaping)

_LEGACY_METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LEGACY_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_FIRST_METRIC: Final = re.compile(r"[a-zA-Z_:]")
_FIRST_LABEL: Final = re.compile(r"[a-zA-Z_]")
_REST_METRIC: Final = re.compile(r"[a-zA-Z0-9_:]")
_REST_LABEL: Final = re.compile(r"[a-zA-Z0-9_]")


def _clean_name(text: str) -> str:
    """Return ``text`` as a name in UTF-8; no name needs a NUL, and our templates use it."""
    return clean(text).replace("\0", "_")


def clean(text: str) -> str:
    """Return ``text`` as valid UTF-8: lone surrogates, which Python strings may hold, are written as ASCII escapes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


@lru_cache(maxsize=4096)
def translated_metric(name: str, unit: str, type_: MetricType, strategy: Strategy) -> tuple[str, str]:
    """Return the name that a metric is exposed under (a counter's with ``_total``), and its unit if the name ends in it."""
    if strategy == "UnderscoreEscapingWithSuffixes":
        exposed = exposed_name(name, unit, counter=type_ == "counter")
    elif strategy == "UnderscoreEscapingWithoutSuffixes":
        exposed = metric_name(name)
    elif strategy == "NoTranslation":
        exposed = _clean_name(name)
    else:
        exposed, suffix = _clean_name(name), unit_name(unit)
        if type_ == "counter":
            exposed = exposed.removesuffix("_total")
        if suffix and not exposed.endswith(f"_{suffix}"):
            exposed += f"_{suffix}"
        if type_ == "counter":
            exposed += "_total"
    if exposed in {"", "_total"}:  # nothing is left of the name itself
        exposed = f"_{exposed}"
    suffix = unit_name(unit)
    base = exposed.removesuffix("_total") if type_ == "counter" else exposed
    return exposed, suffix if suffix and base.endswith(f"_{suffix}") else ""


@lru_cache(maxsize=4096)
def translated_label(key: str, strategy: Strategy) -> str:
    """Return the label name for the attribute key ``key``."""
    if strategy.startswith("Underscore"):
        return label_name(key) or "_"
    return _clean_name(key) or "_"


def exposed_label(key: object, strategy: Strategy, escaping: Escaping) -> str:
    """Return the label name for an attribute's key: translated, then escaped.

    Names with two underscores in front are Prometheus' own. A key that the application calls so passes, but for ``__name__``,
    which is the metric's; an escaping makes none.
    """
    return _exposed_label(str(key), strategy, escaping)


@lru_cache(maxsize=4096)
def _exposed_label(key: str, strategy: Strategy, escaping: Escaping) -> str:
    translated = translated_label(key, strategy)
    name = escaped_label(translated, escaping)
    reserved = name.startswith("__") and (name == "__name__" or not translated.startswith("__"))
    return f"_{name.lstrip('_')}" if reserved else name


def label_value(value: object) -> str:
    """Return an attribute's value as a label value, as the specification represents values outside of OTLP.

    Strings as they are, bytes in base64, nothing as nothing, everything else as JSON (``true``, ``1.5``, ``["a", "NaN"]``).
    """
    if type(value) is str:
        return clean(value)
    if isinstance(value, str):  # also enumerations of strings
        return clean(str.__str__(value))
    if value is None:
        return ""
    if isinstance(value, bytes):
        return _base64(value)
    try:
        return clean(json.dumps(_in_json(value) if isinstance(value, list | tuple | dict) else value, default=str))
    except (TypeError, ValueError, RecursionError):
        return clean(str(value))


def _in_json(value: Any) -> Any:
    """Return ``value`` with everything inside that JSON has no form for as the specification writes it there."""
    if isinstance(value, dict):
        return {str(key): _in_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(each) for each in value]
    if isinstance(value, bytes):
        return _base64(value)
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 (NaN)
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def is_legacy_metric(name: str) -> bool:
    """Return whether every Prometheus, however old, accepts ``name`` as a metric name."""
    return _LEGACY_METRIC.match(name) is not None


@lru_cache(maxsize=4096)
def is_legacy_label(name: str) -> bool:
    """Return whether every Prometheus, however old, accepts ``name`` as a label name."""
    return _LEGACY_LABEL.match(name) is not None


@lru_cache(maxsize=4096)
def escaped_metric(name: str, escaping: Escaping) -> str:
    """Return the metric name ``name`` under ``escaping``; unchanged for ``allow-utf-8``."""
    if escaping == "allow-utf-8" or (escaping != "dots" and is_legacy_metric(name)):
        return name
    return _escaped(name, escaping, _FIRST_METRIC, _REST_METRIC)


@lru_cache(maxsize=4096)
def escaped_label(name: str, escaping: Escaping) -> str:
    """Return the label name ``name`` under ``escaping``; unchanged for ``allow-utf-8``."""
    if escaping == "allow-utf-8" or (escaping != "dots" and is_legacy_label(name)):
        return name
    return _escaped(name, escaping, _FIRST_LABEL, _REST_LABEL)


def _escaped(name: str, escaping: Escaping, first: re.Pattern[str], rest: re.Pattern[str]) -> str:
    """Apply the escaping schemes of Prometheus (``model.EscapeName`` of its common library)."""
    out = ["U__"] if escaping == "values" else []
    for index, char in enumerate(name):
        valid = (rest if index else first).match(char)
        if escaping == "underscores":
            out.append(char if valid else "_")
        elif escaping == "dots":
            out.append("__" if char == "_" else "_dot_" if char == "." else char if valid else "__")
        else:
            out.append("__" if char == "_" else char if valid else f"_{ord(char):x}_")
    return "".join(out)
