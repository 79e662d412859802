"""The two text formats, rendered straight from the SDK's data points.

A histogram series costs one ``%`` and one ``replace``: a template per set of bounds holds every line of the series, with a
NUL character where the labels go.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint

from otel_metrics.exporter import exemplars
from otel_metrics.exporter.exponential import classic_counts
from otel_metrics.exporter.names import clean, is_legacy_label, is_legacy_metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_metrics.exporter.families import Claims, MetricFamily
    from otel_metrics.exporter.series import Series

_HERE: Final = "\0"
_LARGEST: Final = 1 << 63
"""Integers beyond are written as floats: parsers reject those that no float can hold."""


def number(value: Any) -> str:
    """Return ``value`` as both text formats write it."""
    if type(value) is int and -_LARGEST < value < _LARGEST:
        return str(value)
    value = as_float(value)
    if isfinite(value):
        return float.__repr__(value)
    return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"  # noqa: PLR0124 (NaN)


def as_float(value: Any) -> float:
    """Return ``value`` as a float, infinity where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf


@lru_cache(maxsize=4096)
def bound(value: float) -> str:
    """Return a bucket's bound in OpenMetrics' canonical form, the one that Prometheus itself gives bounds: 1.0, 1e+06."""
    text = number(value)
    mantissa, exponential, power = text.partition("e")
    if exponential:
        return f"{mantissa}e{power[0]}{power[1:].zfill(2)}"
    whole, _, fraction = text.partition(".")
    digits = whole.lstrip("-")
    if len(digits) < 7:
        return text
    sign = "-" if whole.startswith("-") else ""
    tail = (digits[1:] + fraction).rstrip("0")
    return f"{sign}{digits[0]}{'.' + tail if tail else ''}e+{len(digits) - 1:02d}"


def escape_value(value: str) -> str:
    """Return ``value`` as it stands between the quotes of a label in either text format."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return value


def text_labels(labels: Mapping[str, str]) -> str:
    """Return ``a="1",b="2"``; names outside the classic character set are quoted."""
    parts = []
    for name, value in labels.items():
        shown = name if is_legacy_label(name) else f'"{escape_value(name)}"'
        parts.append(f'{shown}="{escape_value(value)}"')
    return ",".join(parts)


class Template:
    """All lines of one histogram series, for one name and one set of bounds."""

    __slots__ = ("bounds", "labelled", "plain", "with_sum")

    def __init__(self, name: str, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        # OpenMetrics forbids a sum where there are negative buckets, and the official exporter leaves it out everywhere.
        self.with_sum = not bounds or bounds[0] >= 0
        les = [*map(bound, bounds), "+Inf"]
        self.labelled = self._lines(name, les, _HERE)
        self.plain = self._lines(name, les, "")

    def _lines(self, name: str, les: list[str], labels: str) -> str:
        lines = []
        for le in les:
            inner = f'{labels},le="{le}"' if labels else f'le="{le}"'
            lines.append(f"{selector(name, inner, '_bucket')} ".replace("%", "%%") + "%d\n")
        if self.with_sum:
            lines.append(f"{selector(name, labels, '_count')} ".replace("%", "%%") + "%d\n")
            lines.append(f"{selector(name, labels, '_sum')} ".replace("%", "%%") + "%s\n")
        return "".join(lines)

    def render(self, labels: str, counts: Any, total: float) -> str:
        """Return the lines of one series; ``counts`` per bucket, not cumulative."""
        row = tuple(accumulate(counts))
        if self.with_sum:
            # What makes a histogram consistent is that its count is that of the last bucket.
            row += (row[-1], total if type(total) is float and isfinite(total) else number(total))
        return (self.labelled % row).replace(_HERE, labels) if labels else self.plain % row


def selector(name: str, labels: str, suffix: str = "") -> str:
    """Return ``name{labels}``, or ``{"name",labels}`` for a name that must be quoted."""
    shown = name + suffix
    if is_legacy_metric(shown):
        return f"{shown}{{{labels}}}" if labels else shown
    quoted = f'"{escape_value(shown)}"'.replace(_HERE, "_")
    return f"{{{quoted},{labels}}}" if labels else f"{{{quoted}}}"


def metadata_name(name: str) -> str:
    """Return a family's name as it stands in a ``# TYPE`` line."""
    return name if is_legacy_metric(name) else f'"{escape_value(name)}"'.replace(_HERE, "_")


class TextRenderer:
    """Renders families in text 0.0.4 and 1.0.0, or in OpenMetrics 1.0."""

    def __init__(self, series: Series[str], *, openmetrics: bool, created: bool = False) -> None:
        """``created``: whether OpenMetrics gets ``_created`` samples."""
        self._series = series
        self._openmetrics = openmetrics
        self._created = created and openmetrics

    def family(self, family: MetricFamily, claims: Claims) -> Iterator[str]:
        """Yield the metadata, then whole series, each ending in a newline."""
        name, kind, unit = family.name, str(family.type), family.unit
        if self._openmetrics:
            name, kind = openmetrics_type(name, kind, claims)
            unit = unit if kind != "unknown" and name.endswith(f"_{unit}") else ""
        elif kind == "info":
            kind = "gauge"
        yield header(name, kind, family.help, unit, openmetrics=self._openmetrics)
        if family.type == "histogram":
            yield from self._histograms(family)
        else:
            yield from self._numbers(family, rich=self._openmetrics and kind == "counter")

    def _numbers(self, family: MetricFamily, *, rich: bool) -> Iterator[str]:
        plain = selector(family.name, "")
        before, _, after = selector(family.name, _HERE).partition(_HERE)
        for point, labels in self._series.of(family):
            value = point.value
            # As they are, finite floats and integers are what the formats want; everything else goes the long way.
            if type(value) is int:
                if not -_LARGEST < value < _LARGEST:
                    value = number(value)
            elif type(value) is not float or not isfinite(value):
                value = number(value)
            line = f"{before}{labels}{after} {value}" if labels else f"{plain} {value}"
            if rich and (point.exemplars or self._created):
                line = self._enriched(family, point, labels, line)
            yield line + "\n"

    def _enriched(self, family: MetricFamily, point: Any, labels: str, line: str) -> str:
        newest = exemplars.latest(point.exemplars or (), family.strategy, family.escaping)
        if newest is not None:
            line += exemplar_text(newest)
        if self._created and point.start_time_unix_nano:
            line += "\n" + self._created_line(family.name.removesuffix("_total"), labels, point).rstrip("\n")
        return line

    def _created_line(self, name: str, labels: str, point: Any) -> str:
        return f"{selector(name, labels, '_created')} {seconds(point.start_time_unix_nano)}\n"

    def _histograms(self, family: MetricFamily) -> Iterator[str]:
        template: Template | None = None
        bounds: Any = None
        ladder: tuple[float, ...] | None = None
        templates = self._series.templates
        for point, labels in self._series.of(family):
            if isinstance(point, ExponentialHistogramDataPoint):
                if ladder is None:
                    ladder = self._series.ladder(family)
                wanted: Any = ladder
                counts = classic_counts(point, ladder)
            else:
                wanted, counts = point.explicit_bounds, point.bucket_counts
            if template is None or (wanted is not bounds and wanted != bounds):
                bounds = wanted
                key = (family.name, tuple(wanted))
                template = templates.get(key)
                if template is None:
                    template = templates[key] = Template(family.name, tuple(map(float, wanted)))
            text = template.render(labels, counts, point.sum)
            if self._openmetrics:
                if point.exemplars:
                    found = exemplars.by_bucket(template.bounds, point.exemplars, family.strategy, family.escaping)
                    text = with_exemplars(text, found)
                if self._created and point.start_time_unix_nano:
                    text += self._created_line(family.name, labels, point)
            yield text


def header(name: str, kind: str, help_: str, unit: str, *, openmetrics: bool) -> str:
    """Return the metadata lines of a family."""
    shown = metadata_name(name)
    text = clean(help_).replace("\\", "\\\\").replace("\n", "\\n")
    if openmetrics:
        text = text.replace('"', '\\"')
    lines = [f"# HELP {shown} {text}\n"] if help_ else []
    lines.append(f"# TYPE {shown} {kind}\n")
    if unit and openmetrics:
        lines.append(f"# UNIT {shown} {unit}\n")
    return "".join(lines)


def openmetrics_type(name: str, kind: str, claims: Claims) -> tuple[str, str]:
    """Return what OpenMetrics calls a family: there, a counter's name lacks ``_total``, an info's ``_info``.

    Where that name, or that of the ``_created`` samples, belongs to another family, or the suffix is not there, the type is
    ``unknown``: the series stay as they are, without exemplars and ``_created``. Ask once per family, when all have their claims.
    """
    suffix = {"counter": "_total", "info": "_info"}.get(kind)
    if suffix is None:
        return name, kind
    base = name.removesuffix(suffix)
    reserved = [base, f"{base}_created"] if kind == "counter" else [base]
    return (name, "unknown") if base in {name, ""} or not claims.reserve(reserved) else (base, kind)


def seconds(nanoseconds: int) -> str:
    """Return a time stamp in seconds, to the millisecond, which is all that Prometheus keeps."""
    return f"{nanoseconds // 1_000_000_000}.{nanoseconds // 1_000_000 % 1000:03d}"


def exemplar_text(exemplar: exemplars.ShownExemplar) -> str:
    """Return what OpenMetrics appends to a sample."""
    return f" # {{{text_labels(exemplar.labels)}}} {number(exemplar.value)} {seconds(exemplar.time_unix_nano)}"


def with_exemplars(text: str, by_bucket: Mapping[int, exemplars.ShownExemplar]) -> str:
    """Return the lines of one series with the exemplars appended; bucket k is line k."""
    lines = text.split("\n")
    for index, exemplar in by_bucket.items():
        lines[index] += exemplar_text(exemplar)
    return "\n".join(lines)
