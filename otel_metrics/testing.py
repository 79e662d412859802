"""For the tests of applications: record into a place of one's own, read back what was recorded.

    with otel_metrics.testing.recording() as metrics:
        my_application.handle_order()
    metrics.assert_value("feature_usage_total", 1, action="order", outcome="success")

Bad input raises, as ``strict`` is on. With pytest the fixture ``recorded_metrics`` is such a recording.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from otel_metrics import catalogue as c
from otel_metrics import runtime
from otel_metrics.naming import label_name, series_name
from otel_metrics.sdk.provider import INSTANCE
from otel_metrics.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.samples import Sample
    from typing_extensions import Unpack

    from otel_metrics.facade.advanced import AdvancedMetrics
    from otel_metrics.facade.basic import MetricsCollector
    from otel_metrics.settings import SettingsFields

__all__ = ["Recording", "recording"]

_ASIDE: Final = {c.Family.DAILY, c.Family.BRIDGE}
"""What says the same once more, and about the telemetry itself."""

_SHOWN: Final = tuple(
    series_name(metric)
    for metric in c.CATALOGUE
    if metric.family not in _ASIDE or metric in {c.REJECTED, c.LABEL_OVERFLOW}
)


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

    def assert_value(self, name: str, expected: object, /, **labels: str) -> None:
        """Fail unless :meth:`value` is ``expected``: a number, ``pytest.approx(…)``, or ``None`` for nothing.

        Raises:
            AssertionError: it shows what was recorded.
        """
        __tracebackhide__ = True
        if (found := self.value(name, **labels)) != expected:
            near = [line for line in self._lines() if line.startswith(name)]
            raise AssertionError(
                f"{_series(name, labels)} is {_number(found)}, not {expected}; recorded:\n"
                + _listed(near or self._lines())
            )

    def __str__(self) -> str:
        """Return what record calls made so far, a series per line; buckets, zeros and the daily table are left out."""
        return _listed(self._lines())

    def _lines(self) -> list[str]:
        return sorted(
            f"{_series(s.name, s.labels)} {_number(s.value)}"
            for s in self.samples()
            if s.value and s.name.startswith(_SHOWN) and not s.name.endswith("_bucket")
        )

    def keep(self, made: runtime.Runtime) -> None:
        """Keep the samples of a runtime that ends, unless the application's own provider has them."""
        if made.settings.meter_provider is None:
            self._ended += _samples(made)


@contextmanager
def recording(**settings: Unpack[SettingsFields]) -> Iterator[Recording]:
    """Record apart from the process's own metrics inside the block: fresh, strict, read from this process.

    ``settings`` are fields of :class:`otel_metrics.Settings`; ``strict``, ``clock`` and ``timer`` hold as well for what the application
    configures inside the block, as it does at its start. By default the clock is that of ``freezegun`` or ``time-machine``, where
    the test uses one of them. Objects that ``get_advanced_metrics()`` or
    ``get_metrics_collector()`` returned before record here too until the block ends.

    Raises:
        ConfigurationError: a setting that cannot work.
    """
    result = Recording()
    inside: SettingsFields = {"strict": True, "clock": _clock, "timer": _timer, **settings}
    with runtime.replaced_by(Settings(**inside), result.keep):
        result._inside = True  # noqa: SLF001
        try:
            yield result
        finally:
            result._inside = False  # noqa: SLF001


def _samples(made: runtime.Runtime) -> list[Sample]:
    return [sample for family in made.reader.registry.collect() for sample in family.samples]


def _series(name: str, labels: Mapping[str, str]) -> str:
    shown = ",".join(f'{label}="{value}"' for label, value in labels.items() if label != label_name(INSTANCE))
    return f"{name}{{{shown}}}"


def _number(value: float | None) -> str:
    return "not there" if value is None else f"{value:g}"


def _listed(lines: list[str]) -> str:
    return "\n".join(f"  {line}" for line in lines) or "  nothing"


def _clock() -> float:
    return _now()


def _now() -> float:
    # Looked up at each call, as freezegun puts another function there; two calls deep, as for freezegun whatever is called within
    # five of ``threading`` has the real time, and our own thread is.
    return time.time()


def _timer() -> float:
    return time.perf_counter()
