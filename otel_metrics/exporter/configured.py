"""Readers that OpenTelemetry makes by name, from environment variables or a declarative configuration: they serve at once."""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase
from os import environ
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import Histogram
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation
from prometheus_client import REGISTRY

from otel_metrics.allowed import is_text, require
from otel_metrics.exporter.reader import MAX_PORT, PrometheusReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_metrics.exporter.names import Strategy
    from otel_metrics.exporter.negotiation import Format
    from otel_metrics.exporter.server import ServerHandle

_logger = logging.getLogger(__name__)

HOST: Final = "OTEL_EXPORTER_PROMETHEUS_HOST"
PORT: Final = "OTEL_EXPORTER_PROMETHEUS_PORT"
ALLOWED_HOSTS: Final = "OTM_ALLOWED_HOSTS"
_DEFAULT_PORT: Final = 9464

_STRATEGIES: Final[Mapping[str, Strategy]] = {
    "underscore_escaping_with_suffixes": "UnderscoreEscapingWithSuffixes",
    "underscore_escaping_without_suffixes": "UnderscoreEscapingWithoutSuffixes",
    "no_utf8_escaping_with_suffixes": "NoUTF8EscapingWithSuffixes",
    "no_translation": "NoTranslation",
}
_HISTOGRAMS: Final = {
    "explicit_bucket_histogram": ExplicitBucketHistogramAggregation,
    "base2_exponential_bucket_histogram": ExponentialBucketHistogramAggregation,
}


def _nothing() -> PrometheusReader | None:
    return None


_whole: Callable[[], PrometheusReader | None] = _nothing


def answer_with(whole: Callable[[], PrometheusReader | None]) -> None:
    """Have the endpoints of :class:`AutoPrometheusReader` answer with another reader, whose registry includes the default one.

    There is one endpoint then, with everything that the process has. ``whole`` says which reader, at every scrape; None for none.
    """
    global _whole
    _whole = whole


class AutoPrometheusReader(PrometheusReader):
    """The reader that ``OTEL_METRICS_EXPORTER=otel_metrics`` names: serves at once, where the standard variables say.

    What is wrong with the address is logged as a warning: telemetry must not be the end of the application.

    Args:
        host: address to listen on; by default ``OTEL_EXPORTER_PROMETHEUS_HOST``, or ``localhost``.
        port: by default ``OTEL_EXPORTER_PROMETHEUS_PORT``, or 9464.
        serve: further arguments of :meth:`PrometheusReader.serve`; ``allowed_hosts`` by default from ``OTM_ALLOWED_HOSTS``,
            separated by commas.
        options: those of :class:`PrometheusReader`.

    Raises:
        ValueError: an option that cannot work.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        serve: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        host = host or environ.get(HOST) or "localhost"
        port = _port_of_environment() if port is None else port
        self.handle: ServerHandle | None = None
        """The running server, if there is one."""
        try:
            self.handle = self.serve(host=host, port=port, **{"allowed_hosts": _allowed_hosts(), **(serve or {})})
        except (OSError, ValueError) as error:
            _logger.warning("the metrics are not served at %s, port %s: %s", host, port, error)

    def _scrape(self, form: Format) -> Iterator[bytes]:
        whole = _whole() if self.registry is REGISTRY else None
        return super()._scrape(form) if whole is None else whole._scrape(form)  # noqa: SLF001 (same class)


def _allowed_hosts() -> list[str]:
    return [name.strip() for name in environ.get(ALLOWED_HOSTS, "").split(",") if name.strip()]


def _port_of_environment() -> int:
    text = environ.get(PORT) or str(_DEFAULT_PORT)
    if text.isdecimal() and int(text) <= MAX_PORT:
        return int(text)
    _logger.warning("%s=%r is not allowed: 0 to %d; taking %d", PORT, text, MAX_PORT, _DEFAULT_PORT)
    return _DEFAULT_PORT


def declared_reader(
    *,
    scope_info_enabled: bool | None = None,
    target_info_enabled: bool | None = None,
    resource_constant_labels: Mapping[str, Sequence[str]] | None = None,
    translation_strategy: str | None = None,
    default_histogram_aggregation: str | None = None,
    **options: Any,
) -> AutoPrometheusReader:
    """Return the reader that a declarative configuration describes under ``pull: exporter: otel_metrics:``.

    Args:
        scope_info_enabled: whether series carry scope labels (true).
        target_info_enabled: whether there is ``target_info`` (true).
        resource_constant_labels: patterns ``included`` and ``excluded`` of the resource's attributes that become labels (none).
        translation_strategy: one of ``underscore_escaping_with_suffixes``, ``underscore_escaping_without_suffixes``,
            ``no_utf8_escaping_with_suffixes``, ``no_translation``.
        default_histogram_aggregation: ``explicit_bucket_histogram`` or ``base2_exponential_bucket_histogram``.
        options: ``host``, ``port``, ``serve`` (certificates, users, limits), and those of :class:`PrometheusReader`.

    Names that the configuration's schema still writes with ``/development`` are taken with it, and without.

    Raises:
        TypeError: an option that there is not.
        ValueError: one that cannot work.
    """
    target_info_enabled = options.pop("target_info_enabled/development", target_info_enabled)
    if scope_info_enabled is not None:
        options["scope_info_enabled"] = scope_info_enabled
    if target_info_enabled is not None:
        options["disable_target_info"] = not target_info_enabled
    if resource_constant_labels is not None:
        options["resource_attribute_filter"] = _selected(**resource_constant_labels)
    if translation_strategy is not None:
        name = translation_strategy.removesuffix("/development")
        options["translation_strategy"] = _one_of(_STRATEGIES, "translation_strategy", name)
    if default_histogram_aggregation is not None:
        made = _one_of(_HISTOGRAMS, "default_histogram_aggregation", default_histogram_aggregation)
        options["default_aggregation"] = {Histogram: made()}
    return AutoPrometheusReader(**options)


def _one_of(known: Mapping[str, Any], option: str, name: str) -> Any:
    require(is_text(name) and name in known, option, name, ", ".join(known))
    return known[name]


def _selected(included: Sequence[str] = ("*",), excluded: Sequence[str] = ()) -> Callable[[str], bool]:
    def selected(key: str) -> bool:
        return any(fnmatchcase(key, pattern) for pattern in included) and not any(
            fnmatchcase(key, pattern) for pattern in excluded
        )

    return selected
