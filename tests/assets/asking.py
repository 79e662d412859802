"""Panels' queries, asked of a server as Grafana asks them."""

from __future__ import annotations

import json
import math
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from tests.assets import faults
from tests.assets.history import DAY, HOUR
from tests.servers import fetch

if TYPE_CHECKING:
    from tests.servers import Prometheus

PERIOD, RATE_INTERVAL = 600, 60
PRODUCT = "otel-metrics-product"
"""Shows days of full hours, which a server that has just been started has not."""

_SECONDS = {"m": 60, "h": HOUR, "d": DAY}


def substituted(text: str, step: float = 10) -> str:
    """Put in what Grafana would: long names first."""
    interval = max(RATE_INTERVAL, round(step + RATE_INTERVAL / 4))
    for name, value in (
        ("$__rate_interval", f"{interval}s"),
        ("$__range", f"{PERIOD}s"),
        ("$__interval_ms", f"{step * 1000:g}"),
        ("$__interval", f"{step:g}s"),
    ):
        text = text.replace(name, value)
    # `All` features are those that have a name; PromQL replaces $1.
    return re.sub(r"\$\{?[a-z_]\w*\}?", ".*", re.sub(r"\$feature\b", ".+", text))


def one_line(expression: str) -> str:
    """An expression without the lines that it is broken into."""
    return " ".join(expression.split()).replace("( ", "(").replace(" )", ")")


def ask(prometheus: Prometheus, target: dict[str, Any], now: float, least: str = "") -> list[float]:
    """Return the values of a panel's query, asked as Grafana asks; ``least`` is the panel's least step."""
    if target["instant"]:
        return [float(result["value"][1]) for result in prometheus.query(substituted(target["expr"]), now)]
    step = int(least[:-1]) * _SECONDS[least[-1]] if least else 10
    expr = substituted(target["expr"], step)
    start, end = now - max(PERIOD, step), now
    if step == DAY:
        start, end = (now - 12 * DAY) // DAY * DAY, now // DAY * DAY
    fields = urllib.parse.urlencode({"query": expr, "start": start, "end": end, "step": step}).encode()
    answer = json.loads(fetch(f"{prometheus.url}/api/v1/query_range", fields))["data"]["result"]
    # A native histogram counts as the number of its values.
    values = [float(value) for result in answer for _, value in result.get("values", ())]
    return values + [float(value["count"]) for result in answer for _, value in result.get("histograms", ())]


def without_finite_numbers(prometheus: Prometheus, dashboard: dict[str, Any], now: float) -> dict[tuple[str, str], Any]:
    """Return the panels (title and query) that show nothing, or something that is no finite number."""
    wrong = {}
    for panel in faults.panels(dashboard):
        for target in panel["targets"]:
            values = ask(prometheus, target, now, panel.get("interval", ""))
            empty = dashboard["uid"] == PRODUCT or _may_be_empty(panel, target)
            if not all(map(math.isfinite, values)) or not (values or empty):
                wrong[panel["title"], target["refId"]] = (values[:5], substituted(target["expr"]))
    return wrong


def _may_be_empty(panel: dict[str, Any], target: dict[str, Any]) -> bool:
    """Whether there is nothing to show when nothing is wrong: no alert, no failure, nothing a week ago."""
    quiet = ("Alerts, firing and pending", "Rejected", "Evaluations of rules that failed", "Notifications")
    return (
        panel["title"].startswith(quiet)
        or "a week before" in target["legendFormat"]
        or "failed" in target["legendFormat"]
    )
