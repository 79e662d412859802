"""The two text formats, rendered straight from the SDK's data points.

A histogram series costs one ``join`` and one ``replace``: a template per set of bounds holds what stands before each number of
the series, with a NUL character where the labels go. Counters and gauges are written in blocks.
"""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import accumulate
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint

from otel_metrics.exporter import exemplars
from otel_metrics.exporter.exponential import classic_counts
from otel_metrics.exporter.names import clean, is_legacy_label, is_legacy_metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_metrics.exporter.families import Claims, MetricFamily
    from otel_metrics.exporter.series import Series

S = TypeVar("S")

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


def numbers(values: Sequence[Any]) -> Sequence[Any]:
    """Return what shows as text what :func:`number` returns: finite floats and integers do as they are, most often."""
    kinds = set(map(type, values))
    if (kinds == {float} and all(map(isfinite, values))) or (kinds == {int} and max(map(abs, values)) < _LARGEST):
        return values
    return list(map(number, values))


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


class Known(dict[int, S]):
    """What becomes of integers, kept of those that come up again and again: quicker than a call."""

    LIMIT: Final = 65536

    def __init__(self, made: Callable[[int], S]) -> None:
        super().__init__()
        self._made = made

    def __missing__(self, number: int) -> S:
        made = self._made(number)
        if len(self) < self.LIMIT:
            self[number] = made
        return made


_digits: Final = Known(str).__getitem__


class Template:
    """All lines of one histogram series, for one name and one set of bounds."""

    __slots__ = ("_labelled", "_plain", "bounds", "with_sum")

    def __init__(self, name: str, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        # OpenMetrics forbids a sum where there are negative buckets, and the official exporter leaves it out everywhere.
        self.with_sum = not bounds or bounds[0] >= 0
        les = [*map(bound, bounds), "+Inf"]
        self._labelled = self._pieces(name, les, _HERE)
        self._plain = self._pieces(name, les, "")

    def _pieces(self, name: str, les: list[str], labels: str) -> list[str]:
        """Return what is written before each number, every other place free for it, and the last newline."""
        series = [selector(name, f'{labels},le="{le}"' if labels else f'le="{le}"', "_bucket") for le in les]
        if self.with_sum:
            series += selector(name, labels, "_count"), selector(name, labels, "_sum")
        pieces = [""] * (2 * len(series) + 1)
        pieces[::2] = [f"{series[0]} ", *(f"\n{each} " for each in series[1:]), "\n"]
        return pieces

    def render(self, labels: str, counts: Any, total: float) -> str:
        """Return the lines of one series; ``counts`` per bucket, not cumulative."""
        row = list(map(_digits, accumulate(counts)))
        if self.with_sum:
            # What makes a histogram consistent is that its count is that of the last bucket.
            row += row[-1], number(total)
        pieces = (self._labelled if labels else self._plain).copy()
        pieces[1::2] = row
        text = "".join(pieces)
        return text.replace(_HERE, labels) if labels else text


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
        for block in self._series.numbers(family):
            lines = [
                f"{before}{labels}{after} {value}\n" if labels else f"{plain} {value}\n"
                for labels, value in zip(block.labels, numbers(block.values), strict=True)
            ]
            if rich and (self._created or any(block.exemplars)):
                lines = list(map(partial(self._enriched, family), lines, block.labels, block.starts, block.exemplars))
            yield "".join(lines)

    def _enriched(self, family: MetricFamily, line: str, labels: str, start: int, found: Sequence[Any]) -> str:
        newest = exemplars.latest(found, family.strategy, family.escaping)
        if newest is not None:
            line = f"{line[:-1]}{exemplar_text(newest)}\n"
        if self._created and start:
            line += self._created_line(family.name.removesuffix("_total"), labels, start)
        return line

    def _created_line(self, name: str, labels: str, start: int) -> str:
        return f"{selector(name, labels, '_created')} {seconds(start)}\n"

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
                    text += self._created_line(family.name, labels, point.start_time_unix_nano)
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
