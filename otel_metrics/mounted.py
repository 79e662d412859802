"""The endpoint inside the application's own web server, which may have mounted it before it forked, or was configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_metrics.exporter import PrometheusReader

App = TypeVar("App")


class Mounted(Generic[App]):
    """An application that is made anew whenever the process has another reader.

    Args:
        reader: the reader that the process has now.
        make: makes the application for a reader; it raises about options that cannot work.
    """

    def __init__(self, reader: PrometheusReader, make: Callable[[PrometheusReader], App]) -> None:
        self._make = make
        self._made = reader, make(reader)

    def app(self, reader: PrometheusReader | None) -> App:
        """Return the application for ``reader``; without one, that of the last."""
        known, app = self._made
        if reader is None or reader is known:
            return app
        app = self._make(reader)
        self._made = reader, app
        return app
