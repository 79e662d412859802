"""What one load of a dashboard costs a server: ten features of 200 series each, over a day. ``bench_load`` has a week."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.assets.dashboards import texts
from tests.assets.history import DAY
from tests.assets.load import Filled, load
from tests.dialects import AT_HAND
from tests.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Prometheus

DASHBOARDS: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in texts(AT_HAND).items()}
A_DAY = 1_000_000
"""Samples that a load may read: a fifth of those of a week, as some are read for any period."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, float]]:
    folder = tmp_path_factory.mktemp("load")
    with contextlib.closing(Servers(folder / "servers")) as servers:
        day = Filled(folder / "filled", days=1)
        yield day.serve(servers), day.end


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_load_reads_within_its_budget(filled: tuple[Prometheus, float], dashboard: dict[str, Any]) -> None:
    server, end = filled
    found = load(server, dashboard, DAY, end)
    dearest = sorted(((one.samples, one.panel) for one in found), reverse=True)[:5]
    assert sum(one.samples for one in found) <= A_DAY, dearest
