"""For pytest: the fixture ``recorded_metrics``, and what was recorded in the report of a test that failed.

pytest loads this module in every project of an environment that has the package, so it imports nothing else of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

    from otel_metrics.testing import Recording


@pytest.fixture
def recorded_metrics() -> Iterator[Recording]:
    """What the test records, apart from everything else: an :class:`otel_metrics.testing.Recording`. Bad input raises."""
    from otel_metrics import testing

    with testing.recording() as recording:
        yield recording


@pytest.hookimpl(
    hookwrapper=True
)  # not ``wrapper``: an old pluggy, which does not know it, would break everybody's tests
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Show what was recorded in the report of a test that failed."""
    outcome = yield
    recording = getattr(item, "funcargs", {}).get("recorded_metrics")
    if recording is not None and (report := outcome.get_result()).failed:
        report.sections.append(("recorded metrics", str(recording)))
