"""Options and set-up that the subcommands share which read from a Prometheus server."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_metrics.cli import argument_types
from otel_metrics.errors import UnreachableError
from otel_metrics.promql import JOB
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

DEFAULT_URL: Final = "http://localhost:9090"


def add_options(
    parser: argparse.ArgumentParser,
    job: str = "whose series to read (default: OTM_PROMETHEUS_MATCHERS, else everybody's)",
) -> None:
    """Add the options that say which server to read from, and whose series. Credentials come from ``OTM_PROMETHEUS_*``."""
    parser.add_argument(
        "--prometheus",
        type=argument_types.server,
        metavar="URL",
        help=f"server to read from (default: OTM_PROMETHEUS_URL or {DEFAULT_URL})",
    )
    parser.add_argument("--job", metavar="NAME", help=job)


@contextmanager
def connected(url: str | None, job: str | None = None) -> Iterator[Runtime]:
    """Return a runtime that answers from the server at ``url``; for a ``job``, or where that is empty for what has none.

    Raises:
        UnreachableError: nothing answers, inside the block as well.
    """
    known = Settings.from_env()
    named = url or known.prometheus_url
    runtime = Runtime(
        replace(
            known,
            prometheus_url=named or DEFAULT_URL,
            prometheus_matchers=known.prometheus_matchers if job is None else {JOB: job},
            prometheus_unavailable="raise",  # this process has recorded nothing
        )
    )
    try:
        yield runtime
    except UnreachableError as error:
        if named:
            raise
        raise UnreachableError(f"{error}; --prometheus or OTM_PROMETHEUS_URL names another server") from error
    finally:
        runtime.close()
