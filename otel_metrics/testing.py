"""For the tests of applications: record into a place of one's own, read back what was recorded.

    with otel_metrics.testing.recording() as metrics:
        my_application.handle_order()
    assert metrics.value("feature_usage_total", action="order", outcome="success") == 1

Bad input raises, as ``strict`` is on.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from otel_metrics import runtime
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.samples import Sample

    from otel_metrics.facade.advanced import AdvancedMetrics
    from otel_metrics.facade.basic import MetricsCollector

__all__ = ["Recording", "recording"]


class Recording:
    """What was recorded inside :func:`recording`; readable during and after it."""

    def __init__(self) -> None:
        self._ended: list[Sample] = []
        self._inside = False

    @property
    def basic(self) -> MetricsCollector:
        """The basic collector."""
        return runtime.get_metrics_collector()

    @property
    def advanced(self) -> AdvancedMetrics:
        """The advanced metrics."""
        return runtime.get_advanced_metrics()

    def samples(self) -> list[Sample]:
        """Return every sample that a scrape would return now (after the block: at its end).

        Where the application configured its metrics inside the block, also those from before that.

        Raises:
            ConfigurationError: they are in a ``meter_provider`` of the application's own.
        """
        return self._ended + (_samples(runtime.current()) if self._inside else [])

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sum of the exposed series called ``name`` that have these labels, ``None`` if there is none."""
        found = [s.value for s in self.samples() if s.name == name and labels.items() <= s.labels.items()]
        return sum(found) if found else None

    def keep(self, made: runtime.Runtime) -> None:
        """Keep the samples of a runtime that ends, unless the application's own provider has them."""
        if made.settings.meter_provider is None:
            self._ended += _samples(made)


@contextmanager
def recording(**settings: Any) -> Iterator[Recording]:
    """Record apart from the process's own metrics inside the block: fresh, strict, read from this process.

    ``settings`` are fields of :class:`otel_metrics.Settings`; ``strict`` and ``clock`` hold as well for what the application
    configures inside the block, as it does at its start. Objects that ``get_advanced_metrics()`` or
    ``get_metrics_collector()`` returned before record here too until the block ends.

    Raises:
        ConfigurationError: a setting that cannot work.
    """
    result = Recording()
    with runtime.replaced_by(Settings(**{"strict": True, **settings}), result.keep):
        result._inside = True  # noqa: SLF001
        try:
            yield result
        finally:
            result._inside = False  # noqa: SLF001


def _samples(made: runtime.Runtime) -> list[Sample]:
    return [sample for family in made.reader.registry.collect() for sample in family.samples]
