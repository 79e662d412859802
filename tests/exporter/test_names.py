"""Names are those of the official exporter, escapings those of prometheus_client (and so of Prometheus)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.prometheus._mapping import map_unit, sanitize_attribute, sanitize_full_name
from prometheus_client.openmetrics.exposition import escape_label_name, escape_metric_name

from otel_metrics.exporter.names import clean, escaped_label, escaped_metric, is_legacy_metric, translated_metric
from otel_metrics.naming import label_name, metric_name, unit_name

texts = st.one_of(st.text(max_size=20), st.from_regex(r"[a-zA-Z0-9._:/{}%-]{0,20}", fullmatch=True))


@given(name=texts)
def test_sanitised_as_there(name: str) -> None:
    assert metric_name(name) == sanitize_full_name(name)
    assert label_name(name) == sanitize_attribute(name)
    assert unit_name(name) == map_unit(name)


@pytest.mark.parametrize("escaping", ["underscores", "dots", "values"])
# A line's end at the end is no classic character: prometheus_client takes it for one, Prometheus does not.
@given(name=st.text(min_size=1, max_size=20).filter(lambda name: not name.startswith("__") and name[-1] != "\n"))
def test_escaped_as_there(escaping: Any, name: str) -> None:
    assert escaped_metric(name, escaping) == escape_metric_name(name, escaping)
    assert escaped_label(name, escaping) == escape_label_name(name, escaping)
    assert is_legacy_metric(escaped_metric(name, escaping))


@given(
    name=st.from_regex(r"[a-zA-Z]([-_./a-zA-Z0-9]{0,20}[a-z])?", fullmatch=True),
    unit=st.sampled_from(["", "s", "By", "1"]),
)
def test_counters_end_in_total_once(name: str, unit: str) -> None:
    exposed, _ = translated_metric(name, unit, "counter", "UnderscoreEscapingWithSuffixes")
    assert exposed.endswith("_total")
    assert translated_metric(exposed, unit, "counter", "UnderscoreEscapingWithSuffixes")[0] == exposed


@pytest.mark.parametrize(
    ("name", "unit", "kind", "exposed"),
    [
        ("feature.usage", "", "counter", "feature_usage_total"),
        ("feature.usage.total", "", "counter", "feature_usage_total"),
        ("feature.usage.duration", "s", "histogram", "feature_usage_duration_seconds"),
        ("io.seconds", "s", "counter", "io_seconds_total"),
        ("resource.used", "By", "gauge", "resource_used_bytes"),
        ("rate", "{operation}/s", "histogram", "rate_per_second"),
        ("2nd.try", "1", "gauge", "_nd_try"),
    ],
)
def test_known_names(name: str, unit: str, kind: Any, exposed: str) -> None:
    assert translated_metric(name, unit, kind, "UnderscoreEscapingWithSuffixes")[0] == exposed


@given(text=st.text(st.characters(), max_size=10))
def test_clean_text_can_be_encoded(text: str) -> None:
    clean(text).encode()


def test_lone_surrogates_become_ascii() -> None:
    assert clean("a\ud800b") == "a\\ud800b"
