"""The shipped configuration for plain processes on loopback: the same jobs, rules and routes, other addresses, paths and times."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from otel_metrics.errors import ConfigurationError
from otel_metrics.promql import milliseconds, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The first versions of Prometheus with a setting for what was a flag; older ones reject the setting.
_NATIVE_SETTING: Final = (3, 8)
_RETENTION_SETTING: Final = (3, 11)

_DURATION: Final = re.compile(r"(?<![\w.:])\d+[smhdw]\b")


def prometheus(
    shipped: Path,
    *,
    version: tuple[int, ...],
    retention: str,
    addresses: Mapping[str, str],
    applications: Sequence[str],
    job: str | None = None,
    alertmanager: str | None = None,
    interval: str | None = None,
    rules: Path | None = None,
) -> str:
    """Return the text of the ``prometheus.yml`` at ``shipped`` with its addresses replaced.

    ``addresses`` are host:port per job. A job that it does not name scrapes the ``applications``; ``job`` is its new name. Without
    an ``alertmanager`` alerts stay in Prometheus. ``interval`` replaces those for scrapes and rules; ``rules`` is the folder of
    the rules, if it is not the one beside ``shipped``.

    What the server's ``version`` has no settings for is in :func:`prometheus_flags`.

    Raises:
        ConfigurationError: ``shipped`` is no configuration of Prometheus.
    """
    config = _loaded(shipped, "scrape_configs")
    config["rule_files"] = (
        [str(rules / "*.yml")]
        if rules
        else [str(shipped.parent / pattern) for pattern in config.get("rule_files") or ()]
    )
    common = config["global"] = config.get("global") or {}
    if version < _NATIVE_SETTING:
        common.pop("scrape_native_histograms", None)
    if version >= _RETENTION_SETTING:
        config["storage"] = {"tsdb": {"retention": {"time": retention}}}
    if interval:
        common.update(scrape_interval=interval, scrape_timeout=interval, evaluation_interval=interval)
    servers = {**addresses, **({"alertmanager": alertmanager} if alertmanager else {})}
    for scraped in config["scrape_configs"]:
        if interval:
            scraped.pop("scrape_interval", None)
            scraped.pop("scrape_timeout", None)
        if scraped["job_name"] == "alertmanager" and not alertmanager:
            scraped["static_configs"] = []
            continue
        of_application = scraped["job_name"] not in servers
        if of_application and job:
            scraped["job_name"] = job
        targets = list(applications) if of_application else [servers[scraped["job_name"]]]
        scraped["static_configs"] = [{**group, "targets": targets} for group in scraped.get("static_configs") or [{}]]
    alerting = config.pop("alerting", None) or {}
    if alertmanager:
        config["alerting"] = {**alerting, "alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    return yaml.safe_dump(config, sort_keys=False)


def prometheus_flags(version: tuple[int, ...], retention: str) -> list[str]:
    """Return the flags that Prometheus of this ``version`` needs beside the text of :func:`prometheus`."""
    features = ["exemplar-storage", "created-timestamp-zero-ingestion"]
    flags = []
    if version < _NATIVE_SETTING:
        features.append("native-histograms")
    if version < _RETENTION_SETTING:
        flags.append(f"--storage.tsdb.retention.time={retention}")
    return [f"--enable-feature={','.join(features)}", *flags]


def hastened(rules: str, factor: float) -> str:
    """Return the text of a file of ``rules`` for features to which time passes ``factor`` times as fast.

    What watches resources is left out: a processor does not get ready faster.
    """

    def shorter(text: str) -> str:
        return _DURATION.sub(lambda found: milliseconds(seconds(found[0]) / factor), text)

    loaded = yaml.safe_load(rules)
    for group in loaded["groups"]:
        group["interval"] = shorter(group["interval"])
        group["rules"] = [rule for rule in group["rules"] if not rule.get("alert", "").startswith("Resource")]
        for rule in group["rules"]:
            rule.update({key: shorter(rule[key]) for key in ("expr", "for", "keep_firing_for") if key in rule})
    return yaml.safe_dump(loaded, sort_keys=False)


def alertmanager(shipped: Path, secrets: Path) -> str:
    """Return the text of the ``alertmanager.yml`` at ``shipped``, its secrets being read from the folder ``secrets``.

    Raises:
        ConfigurationError: ``shipped`` is no configuration of Alertmanager.
    """
    config = _loaded(shipped, "receivers")
    for receiver in config["receivers"]:
        for webhook in receiver.get("webhook_configs") or ():
            if "url_file" in webhook:
                webhook["url_file"] = str(secrets / Path(webhook["url_file"]).name)
    return yaml.safe_dump(config, sort_keys=False)


def _loaded(shipped: Path, key: str) -> dict[str, Any]:
    config: Any = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    if not isinstance(config, dict) or not isinstance(config.get(key), list):
        raise ConfigurationError(f"{shipped} has no {key}")
    return config
