"""What the Prometheus at hand understands: CI has one that is current and the oldest that is supported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from otel_metrics.assets import render
from otel_metrics.promql import Histograms, of_prometheus
from tests.servers import version

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def in_turns(groups: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the groups several times, each time with those of their rules that read only what the turns before have recorded."""
    while groups:
        waiting = {name for group in groups for rule in group["rules"] for name in _written_by(rule)}
        turn: list[dict[str, Any]] = []
        later: list[dict[str, Any]] = []
        for group in groups:
            ready = [rule for rule in group["rules"] if not waiting & set(re.findall(r"[\w:]+", rule["expr"]))]
            rest = [rule for rule in group["rules"] if rule not in ready]
            turn += [{**group, "rules": ready}] if ready else []
            later += [{**group, "rules": rest}] if rest else []
        assert turn, f"these rules read one another: {sorted(waiting)}"
        yield turn
        groups = later


def _written_by(rule: dict[str, Any]) -> set[str]:
    return {rule["record"]} if "record" in rule else {"ALERTS", "ALERTS_FOR_STATE"}
