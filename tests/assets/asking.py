"""Panels' queries, asked of a server as Grafana asks them."""

from __future__ import annotations

import json
import math
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from tests.assets import faults
from tests.assets.history import DAY
from tests.servers import fetch

if TYPE_CHECKING:
    from tests.servers import Prometheus

PERIOD, RATE_INTERVAL = 600, 60


def substituted(text: str) -> str:
    """Put in what Grafana would: long names first."""
    for name, value in (("$__rate_interval", f"{RATE_INTERVAL}s"), ("$__range", f"{PERIOD}s")):
        text = text.replace(name, value)
    return re.sub(r"\$\{?\w+\}?", ".*", text)


def ask(prometheus: Prometheus, target: dict[str, Any], now: float) -> list[float]:
    """Return the values of a panel's query, asked as Grafana asks."""
    expr = substituted(target["expr"])
    if target["instant"]:
        return [float(result["value"][1]) for result in prometheus.query(expr, now)]
    if target.get("interval") == "1d":
        start, end, step = (now - 12 * DAY) // DAY * DAY, now // DAY * DAY, DAY
    else:
        start, end, step = now - PERIOD, now, 10
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
            values = ask(prometheus, target, now)
            if not values or not all(map(math.isfinite, values)):
                wrong[panel["title"], target["refId"]] = (values[:5], substituted(target["expr"]))
    return wrong
