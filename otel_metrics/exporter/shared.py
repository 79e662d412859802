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
from otel_metrics.exporter.shared_rows import HistogramPoint, HistogramPoints, metric_of, number, number_points
from otel_metrics.naming import METER_NAME
from otel_metrics.sdk.lazy_points import NumberPoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.metrics.export import Metric

    from otel_metrics import catalogue
    from otel_metrics.multiprocess.files import Key
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
        share: called before every scrape, of another process, too, with this reader's own figures: adds what this process knows
            to the totals.
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
        self._attributes: dict[Key, Attributes] = {}
        self._days: dict[Key, Sequence[Attributes]] = {}
        totals.answer(self._share_own)

    def _asked_at(self, address: str) -> None:
        """Whichever process is asked, the answer is the same."""

    def collected(self) -> MetricsData | None:
        """Return what all processes have added up to now; None after this reader has been shut down."""
        return self._collected()

    def _collected(self) -> MetricsData | None:
        if self._registered is None:  # shut down
            return None
        self._share_own()
        self._totals.ask()
        snapshot = self._totals.read()
        metrics = [
            *self._recorded(snapshot),
            *self._daily(snapshot),
            metric_of(PROCESSES, [number({}, snapshot.processes)]),
        ]
        resource = Resource({**self._resource, SERVICE_INSTANCE_ID: snapshot.instance_id})
        scope = ScopeMetrics(InstrumentationScope(METER_NAME), metrics, "")
        return MetricsData([ResourceMetrics(resource, [scope], "")])

    def _share_own(self) -> None:
        self._share(self._exposition.figures())

    def _recorded(self, snapshot: Snapshot) -> Iterator[Metric]:
        for metric in CATALOGUE:
            places = [] if metric is DAILY_COUNT else snapshot.places(metric.name)
            if places:
                attributes = [self._attributes.get(place.key) or self._of(metric, place.key) for place in places]
                if metric.kind is Kind.HISTOGRAM:
                    yield metric_of(metric, HistogramPoints(snapshot, places, attributes, HistogramPoint))
                else:
                    yield metric_of(metric, number_points(snapshot, places, attributes))

    def _daily(self, snapshot: Snapshot) -> Iterator[Metric]:
        """Yield the sums of the current day and of the one before, as of now."""
        today = int(self._clock() // SECONDS_PER_DAY)
        attributes: list[Attributes] = []
        days: list[Day] = []
        places = snapshot.places(DAILY_COUNT.name)
        for place, stored in zip(places, snapshot.values(places), strict=True):
            for day in stored[0] if stored else ():
                ago = today - day.day
                if 0 <= ago < len(DAY.values):
                    attributes.append((self._days.get(place.key) or self._days_of(place.key))[ago])
                    days.append(day)
        if days:
            for each in DAILY_ACCUMULATORS:
                yield metric_of(each.metric, NumberPoints(attributes, list(map(_SUMS[each.field], days))))

    def _of(self, metric: catalogue.Metric, key: Key) -> Attributes:
        """Return the attributes of a series: the same object at every scrape, by which rendered labels are found again."""
        return self._attributes.setdefault(key, _attributes(metric, key))

    def _days_of(self, key: Key) -> Sequence[Attributes]:
        """Return the same for each day that there may be."""
        return self._days.setdefault(key, [_attributes(DAILY_COUNT, (*key, which)) for which in DAY.values])


def _attributes(metric: catalogue.Metric, key: Key) -> Attributes:
    return {name: value for name, value in zip(metric.label_names, key[1:], strict=False) if value}
