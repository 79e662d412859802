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
    from tests.servers import QueryServer

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


def ask(server: QueryServer, target: dict[str, Any], now: float, least: str = "") -> list[float]:
    """Return the values of a panel's query, asked as Grafana asks; ``least`` is the panel's least step."""
    if target["instant"]:
        found = answer(server, "query", query=substituted(target["expr"]), time=now)
        return [float(result["value"][1]) for result in found]
    step = int(least[:-1]) * _SECONDS[least[-1]] if least else 10
    start, end = now - max(PERIOD, step), now
    if step == DAY:
        start, end = (now - 12 * DAY) // DAY * DAY, now // DAY * DAY
    found = answer(server, "query_range", query=substituted(target["expr"], step), start=start, end=end, step=step)
    # A native histogram counts as the number of its values.
    values = [float(value) for result in found for _, value in result.get("values", ())]
    return values + [float(value["count"]) for result in found for _, value in result.get("histograms", ())]


def answer(server: QueryServer, path: str, **fields: str | float) -> list[dict[str, Any]]:
    """Return the series of an answer in which the server has nothing to remark."""
    got = json.loads(fetch(f"{server.url}/api/v1/{path}", urllib.parse.urlencode(fields).encode()))
    assert not got.get("warnings"), (fields["query"], got["warnings"])
    assert not got.get("infos"), (fields["query"], got["infos"])
    found: list[dict[str, Any]] = got["data"]["result"]
    return found


def without_finite_numbers(
    server: QueryServer, dashboard: dict[str, Any], now: float, *, busy: bool = False
) -> dict[tuple[str, str], Any]:
    """Return the panels (title and query) that show nothing, or something that is no finite number.

    Some may be empty, unless the server is ``busy``: it has weeks behind it, and things go wrong.
    """
    wrong = {}
    for panel in faults.panels(dashboard):
        for target in panel["targets"]:
            values = ask(server, target, now, panel.get("interval", ""))
            empty = not busy and (dashboard["uid"] == PRODUCT or _may_be_empty(panel, target))
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


def misread_tables(server: QueryServer, dashboard: dict[str, Any], now: float) -> list[str]:
    """Return what is wrong with tables that are joined as Grafana joins the answers: keys with several rows, columns without heading."""
    complaints = []
    for panel in faults.panels(dashboard):
        if panel["type"] == "table":
            tables = [target for target in panel["targets"] if target["format"] == "table"]
            answers = {one["refId"]: server.query(substituted(one["expr"]), now) for one in tables}
            complaints += faults.split_rows(panel, answers) + faults.columns_without_heading(panel, answers)
    return complaints
