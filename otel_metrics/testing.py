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

__all__ = ["Recording", "recording"]


class Recording:
    """What was recorded inside :func:`recording`; readable during and after it."""

    def __init__(self, made: runtime.Runtime) -> None:
        self._runtime = made
        self._samples: list[Sample] | None = None
        self.basic = made.basic
        self.advanced = made.advanced

    def samples(self) -> list[Sample]:
        """Return every sample that a scrape would return now (after the block: at its end)."""
        if self._samples is not None:
            return self._samples
        families = self._runtime.reader.registry.collect()
        return [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sum of the exposed series called ``name`` that have these labels, ``None`` if there is none."""
        found = [s.value for s in self.samples() if s.name == name and labels.items() <= s.labels.items()]
        return sum(found) if found else None

    def freeze(self) -> None:
        """Keep the samples as they are now, unless the application's own provider has them."""
        if self._runtime.settings.meter_provider is None:
            self._samples = self.samples()


@contextmanager
def recording(**settings: Any) -> Iterator[Recording]:
    """Record apart from the process's own metrics inside the block: fresh, strict, read from this process.

    ``settings`` are fields of :class:`otel_metrics.Settings`. Objects that ``get_advanced_metrics()`` or
    ``get_metrics_collector()`` returned before record here too until the block ends.

    Raises:
        ConfigurationError: a setting that cannot work.
    """
    with runtime.replaced_by(Settings(**{"strict": True, **settings})) as made:
        result = Recording(made)
        try:
            yield result
        finally:
            result.freeze()
