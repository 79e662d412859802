"""A reader for Prometheus' protobuf format that shares nothing with our writer: Google's library, and the message definitions
of Prometheus' ``metrics.proto``.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2  # type: ignore[import-untyped]
from google.protobuf.internal.decoder import _DecodeVarint32  # type: ignore[import-untyped]

TYPES = ["COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM"]

# Message: (field, number, type, repeated)
MESSAGES: dict[str, list[tuple[str, int, str, bool]]] = {
    "LabelPair": [("name", 1, "string", False), ("value", 2, "string", False)],
    "Gauge": [("value", 1, "double", False)],
    "Counter": [
        ("value", 1, "double", False),
        ("exemplar", 2, "Exemplar", False),
        ("start_timestamp", 3, "Timestamp", False),
    ],
    "Quantile": [("quantile", 1, "double", False), ("value", 2, "double", False)],
    "Summary": [
        ("sample_count", 1, "uint64", False),
        ("sample_sum", 2, "double", False),
        ("quantile", 3, "Quantile", True),
        ("start_timestamp", 4, "Timestamp", False),
    ],
    "Untyped": [("value", 1, "double", False)],
    "Histogram": [
        ("sample_count", 1, "uint64", False),
        ("sample_sum", 2, "double", False),
        ("bucket", 3, "Bucket", True),
        ("schema", 5, "sint32", False),
        ("zero_threshold", 6, "double", False),
        ("zero_count", 7, "uint64", False),
        ("negative_span", 9, "BucketSpan", True),
        ("negative_delta", 10, "sint64", True),
        ("positive_span", 12, "BucketSpan", True),
        ("positive_delta", 13, "sint64", True),
        ("start_timestamp", 15, "Timestamp", False),
        ("exemplars", 16, "Exemplar", True),
    ],
    "Bucket": [
        ("cumulative_count", 1, "uint64", False),
        ("upper_bound", 2, "double", False),
        ("exemplar", 3, "Exemplar", False),
    ],
    "BucketSpan": [("offset", 1, "sint32", False), ("length", 2, "uint32", False)],
    "Exemplar": [("label", 1, "LabelPair", True), ("value", 2, "double", False), ("timestamp", 3, "Timestamp", False)],
    "Metric": [
        ("label", 1, "LabelPair", True),
        ("gauge", 2, "Gauge", False),
        ("counter", 3, "Counter", False),
        ("summary", 4, "Summary", False),
        ("untyped", 5, "Untyped", False),
        ("timestamp_ms", 6, "int64", False),
        ("histogram", 7, "Histogram", False),
    ],
    "MetricFamily": [
        ("name", 1, "string", False),
        ("help", 2, "string", False),
        ("type", 3, "MetricType", False),
        ("metric", 4, "Metric", True),
        ("unit", 5, "string", False),
    ],
}


def _family_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="metrics.proto",
        package="io.prometheus.client",
        syntax="proto2",
        dependency=["google/protobuf/timestamp.proto"],
    )
    kinds = file.enum_type.add(name="MetricType")
    for number, name in enumerate(TYPES):
        kinds.value.add(name=name, number=number)
    field_type = descriptor_pb2.FieldDescriptorProto
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            field = described.field.add(name=name, number=number)
            field.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            if kind == "MetricType":
                field.type, field.type_name = field_type.TYPE_ENUM, ".io.prometheus.client.MetricType"
            elif kind == "Timestamp":
                field.type, field.type_name = field_type.TYPE_MESSAGE, ".google.protobuf.Timestamp"
            elif kind in MESSAGES:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".io.prometheus.client.{kind}"
            else:
                field.type = getattr(field_type, f"TYPE_{kind.upper()}")
                field.options.packed = repeated
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("io.prometheus.client.MetricFamily"))


MetricFamily = _family_class()


def read(exposition: bytes) -> dict[str, Any]:
    """Return the families of a delimited exposition by name; no name may appear twice, and nothing may be unknown."""
    families: dict[str, Any] = {}
    position = 0
    while position < len(exposition):
        size, position = _DecodeVarint32(exposition, position)
        family = MetricFamily.FromString(exposition[position : position + size])
        # What the definitions do not know would vanish when written again.
        family.DiscardUnknownFields()
        assert family.ByteSize() == size, f"unknown fields in {family.name}"
        assert family.name not in families, f"{family.name} appears twice"
        families[family.name] = family
        position += size
    return families


def type_of(family: Any) -> str:
    kind: int = family.type
    return TYPES[kind]


def labels_of(metric: Any) -> dict[str, str]:
    labels = {pair.name: pair.value for pair in metric.label}
    assert len(labels) == len(metric.label), "a label appears twice"
    return labels


def native_buckets(histogram: Any) -> dict[int, int]:
    """Return the positive native buckets: index to count."""
    return _expand(histogram.positive_span, histogram.positive_delta)


def negative_buckets(histogram: Any) -> dict[int, int]:
    """Return the negative native buckets: index to count."""
    return _expand(histogram.negative_span, histogram.negative_delta)


def _expand(spans: Any, deltas: Any) -> dict[int, int]:
    found: dict[int, int] = {}
    index = count = 0
    remaining = iter(deltas)
    for span in spans:
        index += span.offset
        for _ in range(span.length):
            count += next(remaining)
            found[index] = count
            index += 1
    assert next(remaining, None) is None
    return {index: count for index, count in found.items() if count}
