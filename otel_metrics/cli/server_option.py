"""Options and set-up that the subcommands share which read from a Prometheus server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from otel_metrics.facade.advanced import AdvancedMetrics

DEFAULT_URL: Final = "http://localhost:9090"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which server to read from. Credentials come from ``OTM_PROMETHEUS_*``."""
    parser.add_argument(
        "--prometheus", metavar="URL", help=f"server to read from (default: OTM_PROMETHEUS_URL or {DEFAULT_URL})"
    )


@contextmanager
def connected(url: str | None) -> Iterator[Runtime]:
    """Return a runtime that answers from the server at ``url``."""
    url = url or Settings.from_env().prometheus_url or DEFAULT_URL
    settings = Settings.from_env(
        prometheus_url=url, prometheus_unavailable="raise"
    )  # this process has recorded nothing
    runtime = Runtime(settings)
    try:
        yield runtime
    finally:
        runtime.close()


@contextmanager
def reader(url: str | None) -> Iterator[tuple[AdvancedMetrics, str]]:
    """Return what reads from the server at ``url``, and its address."""
    with connected(url) as runtime:
        yield runtime.advanced, str(runtime.settings.prometheus_url)
