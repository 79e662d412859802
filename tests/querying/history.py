"""Two and a half days of several processes, recorded and exposed by the real code under a clock that is turned by hand."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.servers import promtool

if TYPE_CHECKING:
    import random
    from collections import defaultdict
    from collections.abc import Callable
    from pathlib import Path

DAY = 86_400
MIDNIGHT = 1_765_670_400.0
"""Begin of 2025-12-14 UTC, the day in question."""

START = MIDNIGHT - 5 * 3600
END = MIDNIGHT + DAY + 5 * 3600
SCRAPES = 120.0
"""Seconds between the scrapes of a process."""


@dataclass(frozen=True)
class Event:
    """One recorded value; ``exposed`` is when it was first scraped, infinity if never."""

    when: float
    exposed: float
    milliseconds: float
    stars: float
    success: bool


@dataclass
class Process:
    """When a process lives and is scraped."""

    born: float
    died: float
    offset: float
    unscraped: tuple[float, float] = (0.0, 0.0)
    events: list[Event] = field(default_factory=list)


class Clock:
    now = START

    def __call__(self) -> float:
        return self.now


def processes() -> list[Process]:
    """One that lives on, one that crashes, one that is born late and dies, two that are not scraped around a midnight."""
    return [
        Process(START, END, 7.0),
        Process(START, MIDNIGHT + 9 * 3600 + 77, 31.0),
        Process(MIDNIGHT + 10 * 3600 + 5, MIDNIGHT + 20 * 3600, 55.0),
        Process(START, END, 83.0, (MIDNIGHT - 2 * 3600, MIDNIGHT + 2 * 3600)),
        Process(START, END, 101.0, (MIDNIGHT + DAY - 3600, MIDNIGHT + DAY + 3 * 3600)),
    ]


def simulate(process: Process, lines: defaultdict[str, list[str]], rng: random.Random) -> None:
    """Let a process live, note what it recorded, and write down what scrapes see."""
    clock = Clock()
    clock.now = process.born
    draw = _shapes(rng)
    with (
        pytest.MonkeyPatch.context() as patch,
        closing(started(clock, f"process-{process.offset:g}", patch)) as runtime,
    ):
        pending: list[tuple[float, float, float, bool]] = []
        scrape = process.born - process.born % SCRAPES + SCRAPES + process.offset
        while clock.now < process.died:
            clock.now += rng.expovariate(1 / 40)
            while scrape <= min(clock.now, process.died):
                now, clock.now = clock.now, scrape
                if not process.unscraped[0] <= scrape < process.unscraped[1]:
                    expose(runtime, scrape, lines)
                    process.events += [Event(when, scrape, *values) for when, *values in pending]  # type: ignore[arg-type]
                    pending = []
                clock.now, scrape = now, scrape + SCRAPES
            if clock.now >= process.died:
                break
            values = rng.choice(draw)(), rng.choice([0.0, 0.5, 0.6, 0.7, 1.0]), rng.random() < 0.8
            runtime.advanced.record_performance_metric("chat", "response_time", "reply", values[0], "ms")
            runtime.advanced.record_satisfaction("chat", "accuracy", values[1], scale="0-1")
            runtime.advanced.record_feature_usage("chat", "ask", values[0], success=values[2])
            runtime.basic.record_learning_metric("chat", "drift", values[0] - 100)
            runtime.recorder.flusher.drain()
            pending.append((clock.now, *values))
        process.events += [Event(when, float("inf"), *values) for when, *values in pending]  # type: ignore[arg-type]


def scrapes(
    lines: defaultdict[str, list[str]], process: str, name: str, start: float, end: float, feature: str = "chat"
) -> None:
    """Write down what scrapes, one a minute, see of a process that recorded one duration of one second right at its start."""
    for when in range(int(start), int(end), 60):
        own = f'service_instance_id="{process}"'
        lines["otel_metrics_series"].append(f"otel_metrics_series{{{own}}} 1 {when}.000\n")
        day = "current" if when < MIDNIGHT + DAY else "previous"
        for part in ("values", "sum_of_values", "sum_of_squares", "min", "max"):
            key = f'feature="{feature}",metric_type="usage",metric_name="{name}",unit="seconds",day="{day}",{own}'
            lines[f"feature_daily_{part}"].append(f"feature_daily_{part}{{{key}}} 1 {when}.000\n")


def write(lines: defaultdict[str, list[str]], folder: Path) -> Path:
    """Return a Prometheus data folder that holds the samples."""
    text = folder / "history.txt"
    with text.open("w", encoding="utf-8") as file:
        for name, samples in lines.items():
            file.write(f"# TYPE {name} unknown\n")
            file.writelines(samples)
        file.write("# EOF\n")
    data = folder / "data"
    made = promtool("tsdb", "create-blocks-from", "openmetrics", "--quiet", text, data)
    assert made.returncode == 0, made.stderr
    return data


def started(clock: Clock, instance: str, patch: pytest.MonkeyPatch) -> Runtime:
    patch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"service.instance.id={instance}")
    return Runtime(Settings(clock=clock, strict=True))


def expose(runtime: Runtime, when: float, lines: defaultdict[str, list[str]]) -> None:
    for family in runtime.reader.registry.collect():
        for sample in family.samples:
            if sample.name.startswith(("feature_", "resource_", "otel_metrics_series")):
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items() if value)
                lines[sample.name].append(f"{sample.name}{{{labels}}} {sample.value!r} {when:.3f}\n")


def _shapes(rng: random.Random) -> list[Callable[[], float]]:
    return [
        lambda: rng.uniform(20, 400),
        lambda: max(rng.gauss(150, 20), 1),
        lambda: rng.lognormvariate(4, 0.7),
        lambda: 5 + rng.expovariate(1 / 90),
    ]
