"""Processes that push to one server and are scraped by another one: both have to know the same."""

from __future__ import annotations

import time
from contextlib import closing
from math import isclose, isnan
from typing import TYPE_CHECKING, Any

import yaml

from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests import dialects
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from otel_metrics.promql import Dialect
    from otel_metrics.settings import Temporality
    from tests.engines import QueryServer
    from tests.servers import Prometheus, Servers, VictoriaMetrics

OTLP = ROOT / "prometheus/otlp"
_OWN = {"window", "scope", "generated_at"}
USES = "sum(last_over_time(feature_usage_total[10m]))"


def prometheus(servers: Servers, *features: str) -> Prometheus:
    """Start a Prometheus that takes pushes, as it is shipped but for rules and alerts."""
    config = yaml.safe_load((OTLP / "prometheus.yml").read_text("utf-8"))
    del config["rule_files"], config["alerting"]
    return servers.prometheus(
        yaml.safe_dump(config), features=[dialects.START_TIMES, *features], flags=["--web.enable-otlp-receiver"]
    )


def victoria_metrics(servers: Servers) -> VictoriaMetrics:
    """Start a VictoriaMetrics that takes pushes, as it is shipped."""
    relabel = f"-relabelConfig={OTLP}/victoriametrics-relabel.yml"
    return servers.victoria_metrics(flags=["-opentelemetry.usePrometheusNaming", relabel])


def stored_for_an_hour(server: VictoriaMetrics) -> None:
    """Have a server know something of an hour ago: who has no value then was born later."""
    server.import_text(f'otel_metrics_series{{job="other"}} 1 {round((time.time() - 3600) * 1000)}\n')


def wave(process: Runtime, number: int) -> None:
    """Record 20 uses, 20 durations and an error."""
    advanced = process.advanced
    for n in range(20):
        advanced.record_feature_usage(
            "search", "ask", 100.0 + n, success=n > 1, error_type=None if n > 1 else "Timeout"
        )
        advanced.record_performance_metric("search", "response_time", "reply_ms", 10.0 * (n + number), "ms")
    advanced.record_error("search", "Timeout", "error")


def compare(
    servers: Servers,
    server: QueryServer,
    endpoint: str,
    temporality: Temporality,
    dialect: Dialect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Have three processes push and be scraped, one of which ends; both servers have to give the same numbers."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "300")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    processes = [Runtime(Settings(otlp=temporality)) for _ in range(3)]
    try:
        # Before anything is pushed.
        for number, process in enumerate(processes):
            wave(process, number)
        scraping = servers.prometheus(targets=[process.serve(port=0).url for process in processes])
        for each in (server, scraping):
            each.wait_for(f"{USES} == 60")
        for process in processes:
            wave(process, 5)
        for each in (server, scraping):
            each.wait_for(f"{USES} == 120")
        processes.pop().close()
        scraping.wait_for("up == 0")
        pushed, scraped = (asked(each.url) for each in (server, scraping))
        assert pushed["dashboard"]["usage"]["total_usage"] == 120
        assert pushed["daily"][0]["count"] == 120
        differing = list(_differing(pushed, scraped))
        assert not differing, differing
        # What the rules record about the last hour: also what was counted before the first push.
        rules = {rule.get("record"): rule["expr"] for group in dialects.groups(dialect) for rule in group["rules"]}
        for name, count in (("feature:feature_usage:increase1h", 120), ("feature:feature_errors:increase1h", 6)):
            assert server.value(rules[name]) == count, name
    finally:
        for process in processes:
            process.close()


def asked(url: str) -> dict[str, Any]:
    """The answers of getters, but for what must differ."""
    with closing(Runtime(Settings(prometheus_url=url))) as reading:
        dashboard: dict[str, Any] = dict(reading.advanced.get_comprehensive_dashboard(hours=1))
        daily = [dict(row) for row in reading.advanced.aggregate_daily_metrics()]
    assert not dashboard.get("warnings"), dashboard["warnings"]
    return {"dashboard": _without_window(dashboard), "daily": daily}


def _without_window(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _without_window(value) for key, value in found.items() if key not in _OWN}
    return found


def _differing(left: Any, right: Any, where: str = "") -> Iterator[str]:
    """Name what differs; numbers may do so from the twelfth digit on, which is as many as VictoriaMetrics keeps."""
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key in left:
            yield from _differing(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, each in enumerate(left):
            yield from _differing(each, right[number], f"{where}[{number}]")
    elif isinstance(left, float) and isinstance(right, (int, float)):
        if not (isclose(left, right, rel_tol=1e-11) or (isnan(left) and isnan(right))):
            yield f"{where}: {left} and {right}"
    elif left != right:
        yield f"{where}: {left} and {right}"
