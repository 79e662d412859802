"""Past samples for a real Prometheus: OpenMetrics text into blocks, by promtool; and the shipped rules without patience."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import yaml

from tests.dialects import AT_HAND, rules
from tests.servers import promtool

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from otel_metrics.promql import Dialect

MINUTE, HOUR, DAY = 60, 3600, 86_400


class History:
    """Samples of the past, by series."""

    def __init__(self) -> None:
        self._samples: defaultdict[str, dict[float, float]] = defaultdict(dict)

    def add(self, series: str, values: Iterable[tuple[float, float]]) -> None:
        """Add (unix time, value) pairs to a series, written as in an exposition."""
        self._samples[series].update(values)

    def hold(self, series: str, value: float, start: float, end: float, step: float = MINUTE) -> None:
        """Give a series one value from ``start`` to ``end``."""
        self.add(series, ((start + n * step, value) for n in range(int((end - start) // step) + 1)))

    def grow(self, series: str, per_step: float, start: float, end: float, step: float = MINUTE) -> None:
        """Let a series grow from 0 at ``start`` to ``end``."""
        self.add(series, ((start + n * step, n * per_step) for n in range(int((end - start) // step) + 1)))

    def write(self, data: Path) -> None:
        """Add everything to the storage folder of a Prometheus that does not run."""
        newest = max(when for samples in self._samples.values() for when in samples)
        # A Prometheus takes no sample that is older than what its blocks hold.
        assert newest < time.time(), f"{newest - time.time():.0f} s in the future"
        # Without types every sample is a family of its own, whose samples have to stand together.
        lines = [
            f"{series} {value!r} {when:.3f}"
            for series, samples in sorted(self._samples.items())
            for when, value in sorted(samples.items())
        ]
        text = data.with_suffix(".om")
        text.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
        done = promtool("tsdb", "create-blocks-from", "openmetrics", text, data)
        assert done.returncode == 0, done.stdout + done.stderr


def impatient_rules(folder: Path, dialect: Dialect = AT_HAND) -> list[Path]:
    """Write the shipped rules: the same expressions, every second, firing at once."""
    written = []
    for name, text in sorted(rules(dialect).items()):
        groups = yaml.safe_load(text)
        for group in groups["groups"]:
            group["interval"] = "1s"
            for rule in group["rules"]:
                rule.pop("for", None)
                rule.pop("keep_firing_for", None)
        copy = folder / name
        copy.write_text(yaml.safe_dump(groups, sort_keys=False, width=10_000), encoding="utf-8")
        written.append(copy)
    return written


def expositions(text: str) -> list[tuple[str, float]]:
    """Return (series, value) of every sample of a text exposition."""
    found = re.findall(r"^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
    return [(series, float(value)) for series, value in found]
