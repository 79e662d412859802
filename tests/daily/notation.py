"""What a simulated day's scrapes saw, in promtool's notation for tests of rules, native histograms included."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.daily.simulation import DAY, MINUTE
from tests.exporter import prometheus_proto

if TYPE_CHECKING:
    from pathlib import Path

    from tests.daily.simulation import Simulation

GRID = 30 * MINUTE
"""Wide, as promtool's tests may load few samples, and a native histogram counts as many."""


def input_series(day: Simulation, days: int, metric_name: str) -> list[dict[str, str]]:
    """The series of one metric on a grid of time that begins a day before the day, as if each scrape had come a little late."""
    origin, length = day.start - DAY, days * DAY // GRID + 1
    found: defaultdict[str, list[str]] = defaultdict(lambda: ["_"] * length)
    for process in day.processes:
        for when, exposition in process.scrapes:
            place = math.ceil((when - origin) / GRID)
            for name, family in prometheus_proto.read(exposition).items():
                for metric in family.metric:
                    if prometheus_proto.labels_of(metric).get("metric_name") == metric_name:
                        found[_series(name, metric)][place] = _value(metric)
    for values in found.values():
        # What servers make of the start time of a process that was born meanwhile.
        first = next(place for place, value in enumerate(values) if value != "_")
        if first and "{{" in values[first]:
            values[first - 1] = values[first].partition(" ")[0] + "}}"  # of the same schema
    found['up{job="shop"}'] = ["1"] * length
    return [{"series": series, "values": " ".join(values)} for series, values in found.items()]


def test_of(series: list[dict[str, str]], expected: list[tuple[str, float]], at: float) -> dict[str, Any]:
    """A test: every expression has this value at ``at`` seconds after the origin."""
    samples = [
        {"expr": expr, "eval_time": f"{at:.0f}s", "exp_samples": [{"labels": "{}", "value": value}]}
        for expr, value in expected
    ]
    return {"interval": f"{GRID}s", "input_series": series, "promql_expr_test": samples}


def write(path: Path, rules: Path, tests: list[dict[str, Any]]) -> None:
    """Write a file of tests."""
    content = {"rule_files": [str(rules)], "evaluation_interval": "10m", "tests": tests}
    path.write_text(json.dumps(content), encoding="utf-8")  # which is YAML


def _series(name: str, metric: Any) -> str:
    labels = prometheus_proto.labels_of(metric)
    return f"{name}{{{','.join(f'{label}={value!r}' for label, value in sorted(labels.items()))}}}"


def _value(metric: Any) -> str:
    if metric.HasField("histogram"):
        histogram = metric.histogram
        buckets = prometheus_proto.native_buckets(histogram)
        low, high = min(buckets, default=0), max(buckets, default=-1)
        counts = " ".join(str(buckets.get(index, 0)) for index in range(low, high + 1))
        return (
            f"{{{{schema:{histogram.schema} sum:{histogram.sample_sum!r} count:{histogram.sample_count} "
            f"z_bucket:{histogram.zero_count} offset:{low} buckets:[{counts}]}}}}"
        )
    return repr(metric.counter.value if metric.HasField("counter") else metric.gauge.value)
