"""Metric families of other prometheus_client collectors (process, platform, garbage collector, the user's own)."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.exporter import protobuf
from otel_metrics.exporter.names import clean, escaped_label, escaped_metric
from otel_metrics.exporter.text import as_float, header, number, openmetrics_type, seconds, selector, text_labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric
    from prometheus_client.samples import Sample

    from otel_metrics.exporter.families import Claims
    from otel_metrics.exporter.names import Escaping

_TEXT_TYPES: Final = {"info": "gauge", "stateset": "gauge", "gaugehistogram": "histogram", "unknown": "untyped"}
_OPENMETRICS_ONLY: Final = ("_created", "_gsum", "_gcount")
_APART: Final = {"histogram": "le", "gaugehistogram": "le", "summary": "quantile"}
_CREATED_CLAIMED: Final = ("histogram", "summary")


def family_name(metric: Metric, escaping: Escaping) -> str:
    """Return the family's escaped name outside OpenMetrics: a counter's with ``_total``, an info's with ``_info``."""
    return escaped_metric(_exposed(metric), escaping)


def _exposed(metric: Metric) -> str:
    # Whoever makes a plain `Metric` may have put the suffix into its name already, or have none.
    plain = bool(metric.samples) and metric.samples[0].name == metric.name
    return metric.name if plain else metric.name + {"counter": "_total", "info": "_info"}.get(metric.type, "")


def text_series(metric: Metric, claims: Claims, escaping: Escaping, *, openmetrics: bool) -> Iterator[str]:
    """Yield the metadata of a family, then whole series, in one of the text formats."""
    name, kind = family_name(metric, escaping), metric.type
    if openmetrics:
        name, kind = openmetrics_type(name, kind, claims)
    else:
        kind = _TEXT_TYPES.get(kind, kind)
    unit = metric.unit if name.endswith(f"_{metric.unit}") and kind != "unknown" else ""
    yield header(name, kind, metric.documentation, unit, openmetrics=openmetrics)
    later: dict[str, list[str]] = {}
    apart = _APART.get(metric.type)
    # Native histograms have no form in text; what there is beside them has.
    written = (sample for sample in metric.samples if not _native_histogram(sample))
    for _, samples in groupby(written, lambda sample: _labels(sample, apart)):
        lines = []
        for sample in samples:
            suffix = next((s for s in _OPENMETRICS_ONLY if sample.name == metric.name + s), "")
            if suffix and openmetrics and kind == "unknown":
                continue
            line = _line(metric, sample, escaping, openmetrics=openmetrics, rich=openmetrics and kind != "unknown")
            if suffix and not openmetrics:
                # Text 0.0.4 knows no such samples: they are gauges of their own.
                later.setdefault(escaped_metric(metric.name, escaping) + suffix, []).append(line)
            else:
                lines.append(line)
        yield "".join(lines)
    for series, lines in later.items():
        if series.endswith("_created") and metric.type not in _CREATED_CLAIMED and not claims.take(series, "gauge"):
            continue
        yield header(series, "gauge", metric.documentation, "", openmetrics=False)
        yield from lines


def _labels(sample: Sample, apart: str | None) -> Mapping[str, str]:
    """Return the labels that all samples of a series share."""
    return {name: value for name, value in sample.labels.items() if name != apart}


def _line(metric: Metric, sample: Sample, escaping: Escaping, *, openmetrics: bool, rich: bool) -> str:
    labels = {escaped_label(name, escaping): clean(str(value)) for name, value in sorted(sample.labels.items())}
    # What the format appends is not escaped; what belongs to the series' name is.
    suffix = sample.name.removeprefix(metric.name)
    name = sample.name if suffix in {"_total", "_info", sample.name} else metric.name
    suffix = sample.name.removeprefix(name)
    line = f"{selector(escaped_metric(name, escaping), text_labels(labels), suffix)} {number(sample.value)}"
    if sample.timestamp is not None:
        line += f" {float(sample.timestamp)!r}" if openmetrics else f" {int(float(sample.timestamp) * 1000)}"
    if rich and sample.exemplar and sample.name.endswith(("_bucket", "_total")):
        exemplar = sample.exemplar
        shown = {escaped_label(name, escaping): clean(str(value)) for name, value in sorted(exemplar.labels.items())}
        line += f" # {{{text_labels(shown)}}} {number(exemplar.value)}"
        if exemplar.timestamp is not None:
            line += f" {seconds(int(float(exemplar.timestamp) * 1e9))}"
    return line + "\n"


def protobuf_pieces(metric: Metric, escaping: Escaping) -> list[bytes]:
    """Return a family as a delimited MetricFamily, in pieces."""
    kind = {"info": "gauge", "stateset": "gauge", "unknown": "untyped"}.get(metric.type, metric.type)
    groups: dict[Any, list[Sample]] = {}
    apart = _APART.get(kind, "")
    for sample in metric.samples:
        key = tuple(sorted((name, str(value)) for name, value in sample.labels.items() if name != apart))
        groups.setdefault(key, []).append(sample)
    metrics = []
    for key, samples in groups.items():
        labels = protobuf.label_pairs({escaped_label(name, escaping): value for name, value in key})
        content = _content(metric, kind, samples, apart, escaping)
        # A time stamp belongs to the Metric message, in milliseconds.
        stamp = samples[0].timestamp
        after = b"" if stamp is None else protobuf.unsigned(6, int(float(stamp) * 1000))
        metrics.append(protobuf.metric(labels, content + after))
    name = family_name(metric, escaping)
    unit = metric.unit if metric.name.endswith(f"_{metric.unit}") else ""
    return protobuf.delimited(name, metric.documentation, protobuf.TYPES[kind], unit, metrics)


def _content(metric: Metric, kind: str, samples: list[Sample], apart: str, escaping: Escaping) -> bytes:
    if kind in {"gauge", "untyped"}:
        return protobuf.message(2 if kind == "gauge" else 5, protobuf.float_(1, as_float(samples[0].value)))
    by_suffix: dict[str, Sample] = {}
    steps: list[bytes] = []
    native: Any = None
    for sample in samples:
        if found := _native_histogram(sample):
            native = found
            continue
        suffix = sample.name.removeprefix(metric.name)
        if suffix == "_bucket":
            bucket = protobuf.unsigned(1, int(sample.value)) + protobuf.float_(2, float(sample.labels[apart]))
            steps.append(protobuf.message(3, bucket + _exemplar(3, sample, escaping)))
        elif apart == "quantile" and not suffix:
            quantile = protobuf.float_(1, float(sample.labels[apart])) + protobuf.float_(2, as_float(sample.value))
            steps.append(protobuf.message(3, quantile))
        else:
            by_suffix[suffix] = sample
    created = by_suffix.get("_created")
    born = None if created is None else int(as_float(created.value) * 1e9)
    if kind == "counter":
        total = by_suffix.get("_total", samples[0])
        stamp = b"" if born is None else protobuf.timestamp(3, born)
        content = protobuf.float_(1, as_float(total.value)) + _exemplar(2, total, escaping) + stamp
        return protobuf.message(3, content)
    count = by_suffix.get("_count", by_suffix.get("_gcount"))
    sum_ = by_suffix.get("_sum", by_suffix.get("_gsum"))
    content = b"" if count is None else protobuf.unsigned(1, int(count.value))
    content += b"" if sum_ is None else protobuf.float_(2, as_float(sum_.value))
    content += b"".join(steps)
    if native is not None:
        content += b"" if count is not None else protobuf.unsigned(1, int(native.count_value))
        content += b"" if sum_ is not None else protobuf.float_(2, as_float(native.sum_value))
        content += b"".join(_native_fields(native))
    if born is not None:
        content += protobuf.timestamp(4 if kind == "summary" else 15, born)
    return protobuf.message(4 if kind == "summary" else 7, content)


def _native_histogram(sample: Sample) -> Any:
    return getattr(sample, "native_histogram", None)  # prometheus_client has had them since 0.21


def _native_fields(native: Any) -> Iterator[bytes]:
    yield protobuf.signed(5, native.schema)
    yield protobuf.float_(6, native.zero_threshold)
    yield protobuf.unsigned(7, int(native.zero_count))
    positive = native.pos_spans or [(0, 0)]  # without any span it would not be recognised as a native one
    for field, spans, deltas in ((9, native.neg_spans, native.neg_deltas), (12, positive, native.pos_deltas)):
        for span in spans or ():
            yield protobuf.message(field, protobuf.signed(1, span[0]) + protobuf.unsigned(2, span[1]))
        if deltas:
            yield protobuf.message(field + 1, b"".join(map(protobuf.zigzag, deltas)))


def _exemplar(field: int, sample: Sample, escaping: Escaping) -> bytes:
    if sample.exemplar is None:
        return b""
    labels: Mapping[str, str] = {
        escaped_label(name, escaping): str(value) for name, value in sorted(sample.exemplar.labels.items())
    }
    stamp = sample.exemplar.timestamp
    nanoseconds = 0 if stamp is None else int(float(stamp) * 1e9)
    return protobuf.exemplar(field, labels, as_float(sample.exemplar.value), nanoseconds)
