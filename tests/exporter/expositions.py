"""What the tests of the exporter share: a reader with its meter, scrapes of it, and parsed expositions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_metrics.exporter import PrometheusReader
from otel_metrics.exporter.endpoint import Endpoint
from otel_metrics.exporter.exponential import Ladders
from otel_metrics.exporter.exposition import Exposition
from otel_metrics.exporter.families import Collisions, ReaderOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.metrics import Meter
    from opentelemetry.sdk.metrics.export import Metric as SDKMetric
    from prometheus_client.core import Metric

TEXT = "text/plain;version=0.0.4"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
UTF8 = ";escaping=allow-utf-8"

RESOURCE = Resource({"service.name": "shop", "service.instance.id": "one"})


@dataclass
class Scraped:
    """A reader on a registry and a provider of its own."""

    arguments: dict[str, Any] = field(default_factory=dict)
    views: Sequence[Any] = ()
    provider_arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.registry = self.arguments.pop("registry", None) or CollectorRegistry()
        self.arguments.setdefault("self_metrics", False)
        self.arguments.setdefault("disable_target_info", True)
        self.arguments.setdefault("scope_info_enabled", False)  # shorter literals; the default has tests of its own
        self.reader = PrometheusReader(registry=self.registry, **self.arguments)
        self.provider = MeterProvider(
            metric_readers=[self.reader],
            resource=RESOURCE,
            views=self.views,
            shutdown_on_exit=False,
            **self.provider_arguments,
        )
        self.endpoint = Endpoint(self.reader._exposition.scrape)

    @property
    def meter(self) -> Meter:
        return self.provider.get_meter("tests", "1.0")

    def scrape(self, accept: str = TEXT) -> bytes:
        response = self.endpoint.respond("GET", "/metrics", {"accept": accept})
        assert response.status == 200
        return b"".join(response.body)

    def text(self, accept: str = TEXT) -> str:
        return self.scrape(accept).decode()

    def families(self, accept: str = TEXT) -> dict[str, Metric]:
        return {family.name: family for family in self._parsed(accept)}

    def _parsed(self, accept: str) -> list[Metric]:
        found = parsed(self.text(accept), accept)
        # By type as well: prometheus_client's parser takes the _total off the names of counters.
        assert len({(family.name, family.type) for family in found}) == len(found), "a family appears twice"
        return found

    def samples(self, accept: str = TEXT) -> dict[str, float]:
        """Samples as ``name{label=value,…}``, labels sorted."""
        return samples(self._parsed(accept))


def parsed(exposition: str, accept: str) -> list[Metric]:
    """Read an exposition as prometheus_client does."""
    parse: Any = openmetrics_parser.text_string_to_metric_families if "openmetrics" in accept else parse_text
    return list(parse(exposition))


def samples(families: Iterable[Metric]) -> dict[str, float]:
    """Samples as ``name{label=value,…}``, labels sorted; no series may appear twice."""
    found: dict[str, float] = {}
    for family in families:
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()) if value)
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found, f"{key} appears twice"
            found[key] = sample.value
    return found


class Given(Scraped):
    """An exposition of data points made by hand: what no SDK of today would make, but an older or later one might."""

    def __init__(self, *metrics: SDKMetric, created: bool = False, **options: Any) -> None:
        scope = ScopeMetrics(InstrumentationScope("tests"), metrics, "")
        data = MetricsData([ResourceMetrics(RESOURCE, [scope], "")])
        self.registry = CollectorRegistry()
        self.collisions = Collisions()
        options = {"disable_target_info": True, "scope_labels": False, **options}
        exposition = Exposition(
            self.registry,
            lambda: data,
            ReaderOptions(**options),
            Ladders(),
            self.collisions,
            created=created,
            self_metrics=False,
        )
        self.endpoint = Endpoint(exposition.scrape)
