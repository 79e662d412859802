"""The reader whose endpoint answers for all processes that share totals, as if they were one."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_metrics.catalogue import CATALOGUE, DAILY_ACCUMULATORS, DAILY_COUNT, DAY, PROCESSES, SECONDS_PER_DAY, Kind
from otel_metrics.exporter.reader import PrometheusReader
from otel_metrics.exporter.shared_rows import HistogramPoint, Rows, metric_of, number, number_point
from otel_metrics.naming import METER_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import Metric

    from otel_metrics import catalogue
    from otel_metrics.multiprocess.totals import SharedTotals, Snapshot
    from otel_metrics.multiprocess.values import Day

_SUMS: Final[Mapping[str, Callable[[Day], float]]] = {
    "count": attrgetter("n"),
    "total": attrgetter("total"),
    "squares": attrgetter("squares"),
    "low": attrgetter("low"),
    "high": attrgetter("high"),
}
"""The sums of a day, by the name that the catalogue has for them."""

Attributes = Mapping[str, str]


class SharedReader(PrometheusReader):
    """Exposes the metrics of the catalogue as all processes have added to them. Belongs to no provider.

    Args:
        totals: what the processes share.
        share: called before every scrape, with this reader's own figures: adds what this process knows to the totals.
        resource: what the series are from; the identity of a process, and its pid, give way to that of all.
        clock: unix time in seconds.
        options: those of :class:`~otel_metrics.exporter.PrometheusReader`.
    """

    def __init__(
        self,
        totals: SharedTotals,
        share: Callable[[Mapping[catalogue.Metric, float]], None],
        resource: Resource,
        clock: Callable[[], float],
        **options: Any,
    ) -> None:
        super().__init__(self_metrics=False, **options)
        self._totals = totals
        self._share = share
        self._resource = {name: value for name, value in resource.attributes.items() if not name.startswith("process.")}
        self._clock = clock
        self._attributes: dict[tuple[str, ...], Attributes] = {}

    def _asked_at(self, address: str) -> None:
        """Whichever process is asked, the answer is the same."""

    def _collected(self) -> MetricsData | None:
        if self._registered is None:  # shut down
            return None
        self._share(self._exposition.figures())
        snapshot = self._totals.read()
        metrics = [
            *self._recorded(snapshot),
            *self._daily(snapshot),
            metric_of(PROCESSES, [number({}, snapshot.processes)]),
        ]
        resource = Resource({**self._resource, SERVICE_INSTANCE_ID: snapshot.instance_id})
        scope = ScopeMetrics(InstrumentationScope(METER_NAME), metrics, "")
        return MetricsData([ResourceMetrics(resource, [scope], "")])

    def _recorded(self, snapshot: Snapshot) -> Iterator[Metric]:
        for metric in CATALOGUE:
            rows = [] if metric is DAILY_COUNT else snapshot.ids(metric.name)
            if rows:
                attributes = [self._attributes.get(key) or self._of(metric, key) for _, key in rows]
                made = HistogramPoint if metric.kind is Kind.HISTOGRAM else number_point
                yield metric_of(metric, Rows(snapshot, rows, attributes, made))

    def _daily(self, snapshot: Snapshot) -> Iterator[Metric]:
        """Yield the sums of the current day and of the one before, as of now."""
        today = int(self._clock() // SECONDS_PER_DAY)
        found: list[tuple[Attributes, Day]] = []
        for sample in snapshot.rows(DAILY_COUNT.name):
            for day in sample.value:
                if 0 <= today - day.day < len(DAY.values):
                    which = DAY.values[today - day.day]
                    key = (*sample.key, which)
                    found.append((self._attributes.get(key) or self._of(DAILY_COUNT, key), day))
        if found:
            for each in DAILY_ACCUMULATORS:
                read = _SUMS[each.field]
                yield metric_of(each.metric, [number(attributes, read(day)) for attributes, day in found])

    def _of(self, metric: catalogue.Metric, key: tuple[str, ...]) -> Attributes:
        """Return the attributes of a series: the same object at every scrape, by which rendered labels are found again."""
        made = {name: value for name, value in zip(metric.label_names, key[1:], strict=False) if value}
        return self._attributes.setdefault(key, made)
