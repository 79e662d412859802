"""Exposed names equal those of the official exporter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry

from otel_metrics.naming import exposed_name

names = st.from_regex(r"[a-z][a-z0-9_.\-/]{0,20}(_total)?", fullmatch=True)
units = st.sampled_from(
    ["", "1", "s", "ms", "By", "%", "{request}", "{request}/s", "By/s", "m/h", "Cel", "custom", "a b"]
)


def official(name: str, unit: str, *, counter: bool) -> str:
    registry = CollectorRegistry()
    provider = MeterProvider(
        [PrometheusMetricReader(disable_target_info=True, registry=registry)], shutdown_on_exit=False
    )
    meter = provider.get_meter("test")
    if counter:
        meter.create_counter(name, unit).add(1)
    else:
        meter.create_up_down_counter(name, unit).add(1)
    (sample,) = [s for family in registry.collect() for s in family.samples]
    provider.shutdown()
    return sample.name


@given(name=names, unit=units, counter=st.booleans())
def test_a_name_is_exposed_as_the_official_exporter_does(name: str, unit: str, *, counter: bool) -> None:
    assert exposed_name(name, unit, counter=counter) == official(name, unit, counter=counter)


# The table of the specification, "Metric Metadata".
WORDS = {
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
    "%": "percent",
}


def test_units_are_words() -> None:
    assert {unit: exposed_name("x", unit, counter=False) for unit in WORDS} == {
        unit: f"x_{word}" for unit, word in WORDS.items()
    }


@pytest.mark.parametrize(
    ("name", "unit", "counter", "exposed"),
    [
        ("http.server.duration", "s", False, "http_server_duration_seconds"),
        ("latency_seconds", "s", False, "latency_seconds"),
        ("feature.usage", "", True, "feature_usage_total"),
        ("bytes.sent", "By", True, "bytes_sent_bytes_total"),
        ("ops", "{operation}/s", False, "ops_per_second"),
        ("2xx", "", False, "_xx"),
        # Where the official exporter has it otherwise, the specification decides.
        ("disk", "By/min", False, "disk_bytes_per_minute"),
        ("disk", "{used}By{total}", False, "disk_bytes"),
    ],
)
def test_examples(name: str, unit: str, counter: bool, exposed: str) -> None:
    assert exposed_name(name, unit, counter=counter) == exposed
