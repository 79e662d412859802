"""A small company on the documented API, under a clock that is turned by hand: the same events on every machine."""

from __future__ import annotations

import math
import os
import random
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import otel_metrics
from otel_metrics.assets import service_levels
from otel_metrics.runtime import current
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MINUTE, HOUR, DAY = 60, 3600, 86_400
NOW = datetime(2025, 11, 19, 15, 20, tzinfo=timezone.utc).timestamp()
"""When every picture is taken: on a Wednesday afternoon in the past, so that any machine may store it."""

RECENT = 6.25 * HOUR
"""How long before ``NOW`` there is a scrape a minute; before that there is usually one in ``RARELY`` seconds."""

RARELY = 15 * MINUTE

_COUNTED = re.compile(r"\w+_(?:total|bucket|count|sum)\{")


@dataclass(frozen=True)
class Feature:
    """What is usual for a feature."""

    name: str
    uses: float
    """Per second, at the busiest."""
    duration: float
    """Milliseconds, in the middle."""
    score: float = 4.2
    """Of 1 to 5."""
    failing: float = 0.005
    actions: tuple[str, ...] = ("open", "run")
    errors: tuple[str, ...] = ("Timeout",)
    accuracy: float = 0.8


FOUR = (
    Feature("search", 0.3, 180, 4.2, 0.004, ("query", "filter"), ("IndexTimeout",), 0.86),
    Feature("checkout", 0.06, 420, 4.4, 0.02, ("add_to_cart", "pay"), ("PaymentDeclined", "InventoryConflict"), 0),
    Feature("recommendations", 0.15, 95, 4.1, 0.002, ("show",), ("ModelNotLoaded",), 0.78),
    Feature("chat-assistant", 0.1, 620, 4.1, 0.012, ("ask", "summarize"), ("RateLimited", "ContextTooLong"), 0.82),
)
"""The company; its chat assistant is what the incidents are about."""

LEVELS = service_levels.read(ROOT / "tests/visual/service_levels.yml")
"""What it promises its users."""

_NAMES = (
    "search checkout recommendations chat-assistant image-classification-pipeline notification-delivery billing login "
    "profile catalogue-import fraud-detection price-engine translation speech-to-text document-summarization-service "
    "inventory shipping-estimates reviews coupons returns analytics-export mailer webhooks admin-console"
)
_CHANCE = random.Random(24)
TWENTY_FOUR = tuple(
    Feature(name, _CHANCE.uniform(0.01, 0.1), _CHANCE.lognormvariate(5, 0.8)) for name in _NAMES.split()
)


@dataclass(frozen=True)
class Trouble:
    """What is unusual about a feature for a while: all of it from the beginning, or growing over ``rise`` seconds."""

    feature: str
    begin: float
    end: float = NOW
    rise: float = 0
    slower: float = 1
    """Times."""
    failing: float = 0
    """More, as a share of uses."""
    unloved: float = 0
    """Stars fewer."""
    worse: float = 0
    """Less accurate."""
    silent: bool = False

    def strength(self, now: float) -> float:
        """How much of it there is, as a share."""
        return min(1.0, (now - self.begin) / self.rise) if self.rise else 1.0


def of_chat(begin: float, end: float = NOW) -> Trouble:
    """Return what the chat assistant goes through: slow, failing, unloved, learning worse."""
    return Trouble("chat-assistant", begin, end, slower=3.2, failing=0.25, unloved=1.9, worse=0.1)


@dataclass
class Process:
    """One process of the company, from its start to its end (unix time)."""

    name: str
    born: float
    died: float
    features: tuple[Feature, ...] = FOUR
    instance: str = "10.0.0.11:9464"
    troubles: Iterable[Trouble] = ()
    idle_from: float = math.inf
    disk_fills_from: float = math.inf
    scrape: float = MINUTE
    """Seconds between recent scrapes."""
    rarely: float = RARELY
    """Seconds between scrapes before."""

    now: float = field(init=False)

    def __post_init__(self) -> None:
        self.now = self.born
        self._chance = random.Random(self.name)

    def scrapes(self) -> Iterator[tuple[float, str]]:
        """Yield (unix time, exposition) of every scrape, as they would be stored: with job and instance, and with a
        zero where a counter begins, which servers add that know when it began.
        """
        os.environ["OTEL_RESOURCE_ATTRIBUTES"] = f"service.instance.id={self.name}"
        otel_metrics.configure(clock=lambda: self.now, strict=False)
        # Scrapes fold. A tick beside them may be late by the machine's clock, and puts what is recorded at midnight into the day before.
        ticker = current().recorder.flusher.ticker
        assert ticker is not None
        ticker.stop()
        page = otel_metrics.wsgi_app(metrics_path="/")
        labels = f'job="shop",instance="{self.instance}"'
        stored: dict[str, str] = {}
        while self.now < self.died:
            before = self.now
            recent = NOW - RECENT
            step, end = (self.scrape, self.died) if before >= recent else (self.rarely, min(recent, self.died))
            scrape = min((before // step + 1) * step, end)
            self._work_until(scrape, fold=lambda: _exposed(page))
            yield scrape, "".join(self._stored(_exposed(page), stored, labels, before, scrape))
        otel_metrics.shutdown()

    def _stored(
        self, lines: list[str], stored: dict[str, str], labels: str, before: float, scrape: float
    ) -> Iterator[str]:
        count = 0
        for line in lines:
            series, _, value = line.rpartition(" ")
            if series.startswith("process_start_time_seconds"):
                value = repr(self.born)
            elif series.startswith("otel_metrics_scrape_duration_seconds"):
                value = "0.005"  # not of this machine
            elif line.startswith(("#", "python_", "process_")) or value == "NaN":
                continue
            if series not in stored:
                bare = series.removesuffix("}")
                stored[series] = f"{bare},{labels}}}" if bare != series else f"{series}{{{labels}}}"
                if _COUNTED.match(series):
                    yield f"{stored[series]} 0 {before + 1:.0f}\n"
            yield f"{stored[series]} {value} {scrape:.0f}\n"
            count += 1
        yield f"up{{{labels}}} 1 {scrape:.0f}\n"
        yield f"scrape_duration_seconds{{{labels}}} 0.006 {scrape:.0f}\n"
        yield f"scrape_samples_scraped{{{labels}}} {round(count, -2)} {scrape:.0f}\n"

    def _work_until(self, end: float, fold: Callable[[], object]) -> None:
        begin, chance = self.now, self._chance
        moments = [
            (chance.uniform(begin, end), feature)
            for feature in self.features
            for _ in range(_poisson(chance, feature.uses * busy(begin) * (end - begin)))
        ]
        for moment, feature in sorted(moments, key=lambda pair: pair[0]):
            if moment < self.idle_from:
                self.now = moment
                trouble = self._trouble(feature)
                if not (trouble and trouble.silent):
                    self._use(feature, trouble)
        if end % DAY == 0:  # else it depended on the machine how much of the last minutes is of the next day
            self.now = end - 1
            fold()
        self.now = end
        if begin // (10 * MINUTE) != end // (10 * MINUTE) and end < self.idle_from:
            self._look_after(end)

    def _trouble(self, feature: Feature) -> Trouble | None:
        return next(
            (each for each in self.troubles if each.feature == feature.name and each.begin <= self.now < each.end), None
        )

    def _use(self, feature: Feature, trouble: Trouble | None) -> None:
        chance, metrics = self._chance, otel_metrics.get_advanced_metrics()
        action = chance.choice(feature.actions)
        slower = 1 + (trouble.slower - 1) * trouble.strength(self.now) if trouble else 1
        duration = chance.lognormvariate(math.log(feature.duration), 0.5) * slower
        failed = chance.random() < feature.failing + (trouble.failing if trouble else 0)
        breaks = trouble is not None and trouble.failing > 0
        error = chance.choice(feature.errors) if failed else None
        device = chance.choice(("web", "ios", "android")) if feature.name == "search" else None
        metrics.record_feature_usage(
            feature.name, action, duration, success=not failed, error_type=error, user_context=device
        )
        metrics.record_performance_metric(feature.name, "response_time", action, duration, "ms")
        if feature.name == "search":
            metrics.record_performance_metric(
                feature.name, "latency", "database", chance.lognormvariate(2.5, 0.7), "ms"
            )
        if error is not None:
            weights = (1, 6, 3, 0) if breaks else (0, 3, 5, 2)
            (severity,) = chance.choices(("critical", "error", "warning", "info"), weights)
            attempted = chance.random() < 0.7
            recovered = attempted and chance.random() < (0.35 if breaks else 0.85)
            impact = {"critical": "high", "error": "medium"}.get(severity, "low")
            metrics.record_error(
                feature.name,
                error,
                severity,
                recovery_attempted=attempted,
                recovery_successful=recovered,
                impact_level=impact,
            )
        if chance.random() < 0.15:
            score = min(5, max(1, round(chance.gauss(feature.score - (trouble.unloved if trouble else 0), 0.8))))
            metrics.record_satisfaction(feature.name, "overall", score, scale="1-5")

    def _look_after(self, now: float) -> None:
        """What the company measures of itself, now and then."""
        chance, metrics, basic = self._chance, otel_metrics.get_advanced_metrics(), otel_metrics.get_metrics_collector()
        load = busy(now)
        metrics.record_resource_utilization("cpu", "host", min(98, 15 + 60 * load + chance.gauss(0, 3)))
        used = 5.1 + 2.2 * load
        metrics.record_resource_utilization("memory", "host", used / 8 * 100, 8192, used * 1024, "MB")
        # Twelve percent an hour, once it fills.
        disk = min(97, 84 + 1.6 * (now - NOW) / DAY + 12 * max(0.0, now - self.disk_fills_from) / HOUR)
        metrics.record_resource_utilization("disk", "/var/lib/index", disk, 200, 2 * disk, "GB")
        metrics.record_performance_metric("search", "memory_usage", "heap", 340 + 160 * load, "MB")
        metrics.record_performance_metric("search", "throughput", "requests", 0.5 * load + 0.01, "per_second")
        for feature in self.features:
            if feature.accuracy and chance.random() < 0.5:
                trouble = self._trouble(feature)
                usual = feature.accuracy - (trouble.worse if trouble else 0)
                accuracy = min(0.999, chance.gauss(usual, 0.01))
                metrics.record_learning_effectiveness(
                    feature.name, "online", accuracy, accuracy - 0.05, chance.randint(40, 400), chance.gauss(0.01, 0.03)
                )
        if chance.random() < 0.1:
            where, identity, kind, was, becomes = chance.choice(
                (
                    ("search", "index-warmup", "latency", 210, 160),
                    ("checkout", "lock-striping", "throughput", 40, 58),
                    ("chat-assistant", "prompt-trim", "cost", 1.9, 1.3),
                )
            )
            metrics.record_optimization_impact(where, identity, kind, was, becomes * chance.gauss(1, 0.05), 0.7)
            basic.record_optimization_metric("search", "cache_hit_gain", chance.gauss(4, 1.5))
            basic.record_learning_metric("recommendations", "loss", 0.4 + chance.gauss(0, 0.01))
            # Not a number, so that telemetry has something to say.
            metrics.record_performance_metric("checkout", "response_time", "pay", math.nan, "ms")


def busy(now: float) -> float:
    """How busy people are, as a share: quiet nights, two humps a day, weekends at 60 %."""
    hour = now % DAY / HOUR
    day = 0.15 + 0.55 * math.exp(-(((hour - 10.5) / 3) ** 2)) + 0.75 * math.exp(-(((hour - 19) / 3) ** 2))
    return day * (0.6 if datetime.fromtimestamp(now, timezone.utc).weekday() >= 5 else 1)


def _poisson(chance: random.Random, mean: float) -> int:
    if mean > 30:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    bound, count, product = math.exp(-mean), 0, chance.random()
    while product > bound:
        product *= chance.random()
        count += 1
    return count


def _exposed(page: Callable[..., Any]) -> list[str]:
    """The lines of a scrape."""
    request = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_ACCEPT": "text/plain;version=0.0.4"}
    return b"".join(page(request, lambda *_: None)).decode().splitlines()
