"""Callers' units, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_metrics import catalogue as c
from otel_metrics.units import UNITS, unit_of, unit_of_name


@pytest.mark.parametrize(
    ("spelling", "value", "base"),
    [
        ("ms", 125.5, 0.1255),
        ("milliseconds", 125.5, 0.1255),
        ("Milliseconds", 125.5, 0.1255),
        ("µs", 1, 1e-6),
        ("hours", 2, 7200.0),
        ("MB", 1.5, 1.5e6),
        ("MiB", 1.5, 1.5 * 2**20),
        ("percent", 65.5, 0.655),
        ("requests_per_minute", 120, 2.0),
    ],
)
def test_to_the_base_unit(spelling: str, value: float, base: float) -> None:
    assert unit_of(spelling).to_base([value]) == [base]


@pytest.mark.parametrize("spelling", ["widgets", "Mb", "MS", "", "m"])
def test_an_unknown_unit_is_kept_as_it_is(spelling: str) -> None:
    unit = unit_of(spelling)

    assert (unit.name, unit.metric, unit.to_base([3.5])) == (spelling, c.PERFORMANCE_VALUE, [3.5])


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("response_time_ms", "ms"),
        ("queue_seconds", "s"),
        ("cache_mb", "MB"),
        ("hit_ratio", "ratio"),
        ("requests_per_second", "per_second"),
        ("cpu_percent", "percent"),
        ("items", ""),
    ],
)
def test_a_name_tells_its_unit_by_its_longest_suffix(name: str, spelling: str) -> None:
    assert unit_of_name(name).name == spelling


@given(value=st.floats(1e-9, 1e12), spelling=st.sampled_from(sorted(UNITS)))
def test_back_to_the_callers_unit(value: float, spelling: str) -> None:
    unit = UNITS[spelling]

    assert unit.from_base(unit.to_base([value])[0]) == pytest.approx(value, rel=1e-15)
