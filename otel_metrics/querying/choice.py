"""Which source the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.querying.client import Access, PrometheusClient
from otel_metrics.querying.local import LocalSource
from otel_metrics.querying.prometheus import PrometheusSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_metrics.querying.source import Source
    from otel_metrics.recording.window import Window
    from otel_metrics.settings import Settings


def source(settings: Settings, window: Window, drain: Callable[[], object]) -> Source:
    """Return the source that getters read from: the server that is set, otherwise this process.

    Raises:
        ConfigurationError: a file with certificates cannot be read.
    """
    if settings.prometheus_url is None:
        return LocalSource(window, drain)
    access = Access(
        token_file=settings.prometheus_token_file,
        username=settings.prometheus_username,
        password_file=settings.prometheus_password_file,
        ca_file=settings.prometheus_ca_file,
    )
    return PrometheusSource(
        PrometheusClient(settings.prometheus_url, settings.prometheus_timeout, access), settings.clock
    )
