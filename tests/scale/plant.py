"""Ten processes of an application with known values, and what every server has to know about them."""

from __future__ import annotations

import math
import os
import random
import statistics
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import yaml

from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests import dialects
from tests.processes import DEADLINE, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from otel_metrics.promql import Dialect

USES = "sum(last_over_time(feature_usage_total[10m]))"
ERRORS_1H = "feature:feature_errors:increase1h"
NATIVE, CLASSIC = 0.02, 0.2
"""How exact percentiles are; classic buckets are half as wide again as the one before."""


class Plant:
    """Ten runtimes, each an instance with an endpoint of its own, that record known values in waves."""

    def __init__(self) -> None:
        # Today's row is asked for, and has nothing of a day before.
        wait_until(lambda: (time.time() + 300) % 86_400 >= 300, what="the next day")
        self.rng = random.Random(7)
        self.durations: list[float] = []
        self.uses = self.errors = 0
        self.runtimes: list[Runtime] = []
        for number in range(10):
            attributes = {"OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id=app-{number}", "OTEL_SERVICE_NAME": "app"}
            with mock.patch.dict(os.environ, attributes):
                self.runtimes.append(Runtime(Settings()))
        self.targets = [runtime.serve(port=0).url for runtime in self.runtimes]

    @property
    def halves(self) -> tuple[list[str], list[str]]:
        """The endpoints, as two shards scrape them."""
        return self.targets[:5], self.targets[5:]

    def wave(self) -> None:
        """Have every process record twenty durations of about 0.2 s, five uses and an error."""
        for runtime in self.runtimes:
            for _ in range(20):
                self.durations.append(0.2 * self.rng.lognormvariate(0, 0.6))
                milliseconds = self.durations[-1] * 1000
                runtime.advanced.record_performance_metric("chat", "response_time", "reply_ms", milliseconds, "ms")
            for _ in range(5):
                self.uses += 1
                runtime.advanced.record_feature_usage("chat", "ask", 100.0, success=True)
            self.errors += 1
            runtime.advanced.record_error("chat", "Timeout", "error")

    def close(self) -> None:
        """End all processes."""
        for runtime in self.runtimes:
            runtime.close()

    def check(self, url: str, *, accuracy: float) -> None:
        """Ask getters for everything, today's row of the daily table included; percentiles are accurate to a fraction."""
        with reading(url) as found:
            usage, errors = found.get_feature_usage_stats("chat", hours=1), found.get_error_stats("chat", hours=1)
            assert usage["total_usage"] == self.uses
            assert errors["total_errors"] == self.errors
            [row] = [row for row in found.aggregate_daily_metrics() if row["metric_name"] == "reply_ms"]
        seconds = sorted(self.durations)
        expected = {
            "count": len(seconds),
            "avg_value": math.fsum(seconds) / len(seconds) * 1000,
            "min_value": seconds[0] * 1000,
            "max_value": seconds[-1] * 1000,
            "stddev": statistics.stdev(seconds) * 1000,
        }
        for column, value in expected.items():
            assert row[column] == pytest.approx(value, rel=1e-9), column
        for percent in (50, 95, 99):
            exact = seconds[math.ceil(len(seconds) * percent / 100) - 1] * 1000
            assert row[f"percentile_{percent}"] == pytest.approx(exact, rel=accuracy), percent


class reading(closing[Any]):  # noqa: N801 - reads as what it is
    """Getters that ask the server at an address, and fail rather than answer from this process."""

    def __init__(self, url: str) -> None:
        super().__init__(
            Runtime(Settings(prometheus_url=url, prometheus_unavailable="raise", prometheus_timeout=DEADLINE))
        )

    def __enter__(self) -> Any:
        return super().__enter__().advanced


def warnings(url: str) -> list[str]:
    """What getters say about their answer."""
    with reading(url) as found:
        return list(found.get_feature_usage_stats("chat", hours=1).get("warnings", ()))


def uses(url: str) -> int:
    """How many uses getters know of."""
    with reading(url) as found:
        return int(found.get_feature_usage_stats("chat", hours=1)["total_usage"])


def rules(folder: Path, dialect: Dialect) -> Path:
    """Write all rules, those about the last hour to be evaluated every two seconds, and no alert to be held back."""
    groups = dialects.groups(dialect)
    for group in groups:
        names = {rule.get("record") or rule["alert"] for rule in group["rules"]}
        group["interval"] = "2s" if names & {ERRORS_1H, "FeatureErrorsHigh"} else "10s"
        for rule in group["rules"]:
            rule.pop("for", None)
    file = folder / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    return file
