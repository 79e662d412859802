"""How many requests one dashboard takes, as a real Prometheus counts them."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.querying.behaviour import record
from tests.servers import fetch, scraping

if TYPE_CHECKING:
    from tests.servers import Servers


def queries(url: str) -> int:
    """Return how many queries the server has been asked so far."""
    page = fetch(f"{url}/metrics").decode()
    return sum(
        map(int, re.findall(r'^prometheus_http_requests_total\{.*handler="/api/v1/query"\} (\d+)$', page, re.MULTILINE))
    )


@pytest.mark.parametrize("native", [False, True], ids=["classic", "native"])
def test_a_dashboard_takes_few_requests_however_much_there_is(servers: Servers, native: bool) -> None:
    with closing(Runtime(Settings())) as application:
        endpoint = application.serve(port=0)
        # A scrape that comes too late looks like a process that ended, and so does what the next one brings like one that started.
        server = servers.prometheus(scraping([endpoint.url], interval="2s"), native=native)
        with closing(Runtime(Settings(prometheus_url=server.url, prometheus_matchers={"job": "test"}))) as reading:

            def taken(feature: str | None) -> int:
                before = queries(server.url)
                assert reading.advanced.get_comprehensive_dashboard(feature)["has_data"]
                return queries(server.url) - before

            record(application.advanced, application.basic)
            server.wait_for("feature_errors_total")
            assert server.holds_native("feature_usage_duration_seconds") is native
            assert max(taken(None), taken("chat")) <= 3

            for number in range(40):
                application.advanced.record_feature_usage(f"feature-{number}", f"action-{number}", 1.0)
            server.wait_for('feature_usage_total{feature="feature-39"}')
            assert max(taken(None), taken("feature-39")) <= 3

            # A process that started or ended in the period is named in the queries, which are longer then.
            application.close()
            server.wait_for("up == 0")
            assert max(taken(None), taken("chat")) <= 8
