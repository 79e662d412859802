"""One scrape: collect everything that a registry knows, and render it in the format asked for, piece by piece."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry.sdk.metrics.export import NumberDataPoint

from otel_metrics.catalogue import COLLISIONS, INVALID_FILES, SCRAPE_DURATION, SCRAPES, UNMERGED
from otel_metrics.exporter import other_collectors
from otel_metrics.exporter.families import Claims, MetricFamily, MetricStream, group
from otel_metrics.exporter.names import escaped_metric, translated_metric
from otel_metrics.exporter.neighbours import neighbours
from otel_metrics.exporter.protobuf import ProtobufRenderer, label_pairs
from otel_metrics.exporter.registry import Collected, registered
from otel_metrics.exporter.series import Series
from otel_metrics.exporter.text import TextRenderer, text_labels
from otel_metrics.exporter.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import MetricsData
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric as ClientMetric

    from otel_metrics.catalogue import Metric
    from otel_metrics.exporter.exponential import Ladders
    from otel_metrics.exporter.families import Collisions, ReaderOptions
    from otel_metrics.exporter.names import Escaping, MetricType
    from otel_metrics.exporter.negotiation import Format

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)

BLOCK: Final = 1 << 15
"""Characters, about, that are encoded and handed on at a time."""


class Exposition:
    """Everything that is kept between scrapes of one registry."""

    def __init__(
        self,
        registry: CollectorRegistry,
        collect: Callable[[], MetricsData | None],
        options: ReaderOptions,
        ladders: Ladders,
        collisions: Collisions,
        *,
        created: bool,
        self_metrics: bool,
        native_only: bool = False,
        invalid_files: Callable[[], int | None] = lambda: None,
    ) -> None:
        """``collect`` is that of the reader this exposition belongs to; so are ``invalid_files``, None without any."""
        self._registry = registry
        self._collect = collect
        self._options = options
        self._collisions = collisions
        self._invalid_files = invalid_files
        self._created = created
        self._self_metrics = self_metrics
        self._native_only = native_only
        self._text_series = Series(text_labels, ladders, collisions)
        self._protobuf_series = Series(label_pairs, ladders, collisions)
        self._lock = threading.Lock()
        self._start = time.time_ns()
        self._scrapes = 0
        self._duration = 0.0

    def scrape(self, form: Format) -> Iterator[bytes]:
        """Collect now, and return the exposition, rendered while it is iterated."""
        started = time.perf_counter()
        direct, others = self._gather()
        claims = Claims(self._collisions)
        families = group(direct, claims, self._collisions, form.escaping)
        admitted = [
            metric for metric in others if claims.take(other_collectors.family_name(metric, form.escaping), metric.type)
        ]
        if self._self_metrics:
            families += self._own_families(claims, form.escaping)
        blocks = self._protobuf if form.name == "protobuf" else self._lines
        return self._timed(started, in_turns(blocks(form, families, admitted, claims)))

    def _gather(self) -> tuple[list[tuple[MetricsData, ReaderOptions]], list[ClientMetric]]:
        """Return what all readers on the registry collected, and the families of other collectors."""
        direct: list[Collected] = []
        others: list[ClientMetric] = []
        try:
            for metric in registered(self._registry):
                if isinstance(metric, Collected):
                    direct.append(metric)
                else:
                    others.append(metric)
        except Exception:
            # A collector that fails must not hide everything else.
            _logger.exception("a collector of the registry failed, its metrics and those of later ones are missing")
        found = [(metric.data, metric.options) for metric in direct]
        if all(options is not self._options for _, options in found):
            own = self._collect()
            if own is not None:
                found.append((own, self._options))
        return found, others

    def _lines(
        self, form: Format, families: list[MetricFamily], others: list[ClientMetric], claims: Claims
    ) -> Iterator[bytes]:
        escaping, openmetrics = form.escaping, form.name == "openmetrics"
        renderer = TextRenderer(self._text_series, openmetrics=openmetrics, created=self._created)
        pieces: list[str] = []
        size = 0
        rendered = chain(
            ((family.name, renderer.family(family, claims)) for family in _taken(families)),
            (
                (metric.name, other_collectors.text_series(metric, claims, escaping, openmetrics=openmetrics))
                for metric in _taken(others)
            ),
        )
        for name, made in rendered:
            try:
                for piece in made:
                    pieces.append(piece)
                    size += len(piece)
                    if size > BLOCK:
                        yield "".join(pieces).encode()
                        pieces.clear()
                        size = 0
            except Exception:
                # Pieces are whole series, so what is there is valid.
                self._failed(name)
        if openmetrics:
            pieces.append("# EOF\n")
        yield "".join(pieces).encode()
        self._text_series.prune()

    def _protobuf(
        self, form: Format, families: list[MetricFamily], others: list[ClientMetric], _: Claims
    ) -> Iterator[bytes]:
        renderer = ProtobufRenderer(self._protobuf_series, native_only=self._native_only)
        rendered: Iterator[tuple[str, Callable[[], list[bytes]]]] = chain(
            ((family.name, partial(renderer.family, family)) for family in _taken(families)),
            (
                (metric.name, partial(other_collectors.protobuf_pieces, metric, form.escaping))
                for metric in _taken(others)
            ),
        )
        for name, made in rendered:
            try:
                pieces = made()
            except Exception:
                self._failed(name)
                continue
            for start in range(0, len(pieces), 256):
                yield b"".join(pieces[start : start + 256])
        self._protobuf_series.prune()

    def _failed(self, name: str) -> None:
        _logger.debug("rendering %s failed", name, exc_info=True)  # noqa: LOG014 (called while handling it)
        self._collisions.report(name, "rendering it failed, see the debug log")

    def _timed(self, started: float, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass ``blocks`` on; count the scrape, and the time that was spent on it here and not in the network."""
        spent = time.perf_counter() - started
        while True:
            resumed = time.perf_counter()
            block = next(blocks, None)
            spent += time.perf_counter() - resumed
            if block is None:
                break
            yield block
        with self._lock:
            self._scrapes += 1
            self._duration = spent

    def figures(self) -> dict[Metric, float]:
        """Return the bridge's figures about itself, as of the last scrape."""
        values: dict[Metric, float] = {
            SCRAPES: self._scrapes,
            SCRAPE_DURATION: self._duration,
            COLLISIONS: self._collisions.count,
        }
        invalid = self._invalid_files()
        if invalid is not None:
            values[INVALID_FILES] = invalid
        return values

    def _own_families(self, claims: Claims, escaping: Escaping) -> list[MetricFamily]:
        values = self.figures()
        if neighbours:  # not among the figures, which shared totals take in
            values[UNMERGED] = 1
        families = []
        for metric, value in values.items():
            type_: MetricType = "counter" if metric is SCRAPES else "gauge"
            strategy = self._options.strategy
            translated, unit = translated_metric(metric.name, metric.unit, type_, strategy)
            name = escaped_metric(translated, escaping)
            stream = MetricStream([NumberDataPoint(_NO_ATTRIBUTES, self._start, 0, value)])
            if claims.take(name, type_):
                families.append(MetricFamily(name, type_, metric.description, unit, strategy, escaping, [stream]))
        return families


def _taken(items: list[_T]) -> Iterator[_T]:
    """Yield ``items`` one by one, and let go of each."""
    while items:
        yield items.pop(0)


_NO_ATTRIBUTES: Final[dict[str, Any]] = {}
