"""The shipped ``prometheus.yml`` for plain processes on loopback: the same jobs and rules, other addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from otel_metrics.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def derived(
    shipped: Path,
    *,
    addresses: Mapping[str, str],
    application: str,
    alertmanager: str | None = None,
    interval: str | None = None,
) -> str:
    """Return the text of the configuration at ``shipped`` with its addresses replaced.

    ``addresses`` are host:port per job; a job that it does not name scrapes the ``application``. Without an
    ``alertmanager`` alerts stay in Prometheus. ``interval`` replaces those for scrapes and rules.

    Raises:
        ConfigurationError: ``shipped`` is no configuration of Prometheus.
    """
    config: Any = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    if not isinstance(config, dict) or not isinstance(config.get("scrape_configs"), list):
        raise ConfigurationError(f"{shipped} has no scrape_configs")
    config["rule_files"] = [str(shipped.parent / pattern) for pattern in config.get("rule_files") or ()]
    if interval:
        config["global"] = {
            **(config.get("global") or {}),
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        }
    for job in config["scrape_configs"]:
        if interval:
            job.pop("scrape_interval", None)
            job.pop("scrape_timeout", None)
        if job["job_name"] == "alertmanager" and not alertmanager:
            job["static_configs"] = []
            continue
        address = alertmanager if job["job_name"] == "alertmanager" else addresses.get(job["job_name"], application)
        job["static_configs"] = [{**group, "targets": [address]} for group in job.get("static_configs") or [{}]]
    alerting = config.pop("alerting", None) or {}
    if alertmanager:
        config["alerting"] = {**alerting, "alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    return yaml.safe_dump(config, sort_keys=False)
