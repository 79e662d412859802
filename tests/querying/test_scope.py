"""Whose numbers a getter returns where a Prometheus scrapes several applications that have a feature of one name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import otel_metrics
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Prometheus, Servers

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - {{job_name: shop, static_configs: [{{targets: ["{shop}"], labels: {{env: prod}}}}]}}
  - {{job_name: warehouse, static_configs: [{{targets: ["{warehouse}"], labels: {{env: staging}}}}]}}
"""


class Scraped:
    """Two applications that record errors of a feature called checkout, and the Prometheus that scrapes both."""

    def __init__(self, servers: Servers) -> None:
        self.shop, self.warehouse = Runtime(Settings(port=0)), Runtime(Settings(port=0))
        targets = {}
        for name, runtime, errors in (("shop", self.shop, 3), ("warehouse", self.warehouse, 40)):
            for _ in range(errors):
                runtime.advanced.record_error("checkout", "Timeout")
            targets[name] = f"127.0.0.1:{runtime.serve(host='127.0.0.1').port}"
        self.server: Prometheus = servers.prometheus(CONFIG.format(**targets))
        for job in targets:
            self.server.wait_until_scraped(job)

    def asking(self, *, as_: Runtime | None = None, **settings: object) -> otel_metrics.results.ErrorResult:
        """Return what an application, or a process that nobody scrapes, is told of checkout's errors."""
        runtime = as_ or Runtime(Settings(prometheus_url=self.server.url, prometheus_unavailable="raise", **settings))  # type: ignore[arg-type]
        try:
            return runtime.advanced.get_error_stats("checkout", hours=1)
        finally:
            if as_ is None:
                runtime.close()

    def close(self) -> None:
        self.shop.close()
        self.warehouse.close()


@pytest.fixture
def scraped(servers: Servers) -> Iterator[Scraped]:
    running = Scraped(servers)
    yield running
    running.close()


def test_matchers_choose_whose_numbers_are_counted(scraped: Scraped) -> None:
    found = scraped.asking(prometheus_matchers={"env": "prod"})

    assert found["total_errors"] == 3
    assert found["scope"] == {"env": "prod"}
    assert scraped.asking(prometheus_matchers={"job": "warehouse"})["total_errors"] == 40
    assert not scraped.asking(prometheus_matchers={"job": 'none"} or {job="warehouse'})["has_data"]


def test_a_process_asks_for_its_own_job(scraped: Scraped) -> None:
    """It learns its job from the series that carry its instance id."""
    own = Runtime(Settings(prometheus_url=scraped.server.url, prometheus_unavailable="raise", port=0))
    try:
        address = f"127.0.0.1:{own.serve(host='127.0.0.1').port}"
        config = CONFIG.format(shop=address, warehouse=f"127.0.0.1:{scraped.warehouse.serve(host='127.0.0.1').port}")
        own.advanced.record_error("checkout", "Timeout")
        scraped.server.config.write_text(config, encoding="utf-8")
        scraped.server.reload()
        wait_until(
            lambda: (
                scraped.asking(as_=own)["scope"] == {"job": "shop"} and scraped.asking(as_=own)["total_errors"] == 4
            ),  # of the earlier process of the same job, too
            what="its own job to be known",
        )
        dashboard = own.advanced.get_comprehensive_dashboard("checkout", hours=1)
        assert json.loads(json.dumps(dashboard))["scope"] == {"job": "shop"}
    finally:
        own.close()


def test_a_sum_over_several_jobs_says_so(scraped: Scraped) -> None:
    found = scraped.asking()

    assert found["total_errors"] == 43
    assert found["scope"] == {}
    assert found["warnings"] == [
        "numbers of several jobs are added up: shop, warehouse; choose with prometheus_matchers"
    ]


def test_matchers_come_from_the_environment() -> None:
    settings = Settings.from_env({"OTM_PROMETHEUS_MATCHERS": "env=prod, team=shop"})

    assert settings.prometheus_matchers == {"env": "prod", "team": "shop"}
    with pytest.raises(otel_metrics.ConfigurationError, match="OTM_PROMETHEUS_MATCHERS='prod'"):
        Settings.from_env({"OTM_PROMETHEUS_MATCHERS": "prod"})
    with pytest.raises(otel_metrics.ConfigurationError, match=r"prometheus_matchers='env\"' is not allowed"):
        Settings(prometheus_matchers={'env"': "prod"})
