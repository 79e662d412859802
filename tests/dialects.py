"""What the Prometheus at hand understands: CI has one that is current and the oldest that is supported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from otel_metrics.assets import render
from otel_metrics.promql import Histograms, of_prometheus
from tests.servers import version

if TYPE_CHECKING:
    from otel_metrics.assets.service_levels import ServiceLevels
    from otel_metrics.promql import Dialect

AT_HAND = of_prometheus(version("prometheus"))
CLASSIC = AT_HAND.storing(Histograms.CLASSIC)
"""For servers whose past promtool has written, which makes no native histograms."""

START_TIMES = "created-timestamp-zero-ingestion"


def rules(dialect: Dialect, levels: ServiceLevels | None = None) -> dict[str, str]:
    """The rule files of a dialect: name and text."""
    return {
        path.rpartition("/")[2]: text
        for path, text in render.files(dialect, levels=levels).items()
        if path.startswith(f"{render.RULES}/")
    }


def groups(dialect: Dialect, levels: ServiceLevels | None = None) -> list[dict[str, Any]]:
    """The groups of all rules of a dialect."""
    return [group for _, text in sorted(rules(dialect, levels).items()) for group in yaml.safe_load(text)["groups"]]
