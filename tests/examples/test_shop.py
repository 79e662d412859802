"""The shop records the same by hand and tracked, and tracking takes at most half of the lines."""

from __future__ import annotations

import difflib
import importlib
import re
from concurrent.futures import ThreadPoolExecutor

import schedule

from otel_metrics import testing
from tests.integrations.test_web import ask, by_uvicorn
from tests.processes import ROOT

SHOP = ROOT / "examples" / "shop"
REQUESTS = (
    [("GET", f"/search?text={text}") for text in ("pp", "ea", "")] * 20
    + [("POST", f"/orders/{article}") for article in ("apple", "pear", "yacht", "yacht", "unicorn")] * 20
    + [("GET", "/quotes")] * 20
)


def recorded(name: str, scrape: str) -> dict[str, float]:
    """Return the series that a shop exposes after a day, and zeros; those of times only as far as they count."""
    with testing.recording():
        module = importlib.import_module(f"examples.shop.{name}")
        module.orders.clear()
        with by_uvicorn(module.app) as port:
            with ThreadPoolExecutor(8) as pool:
                statuses = list(pool.map(lambda each: ask(port, *each)[0], REQUESTS))
            assert {status: statuses.count(status) for status in set(statuses)} == {200: 100, 400: 20, 402: 40, 500: 20}
            assert len(module.orders) == 40
            assert ask(port, "GET", "/healthy") == (200, "true")
            schedule.run_all()
            schedule.clear()
            assert module.orders == []
            status, exposition = ask(port, "GET", scrape)
            assert status == 200
    found = re.findall(r"^(feature_[a-z_]+(?:_total|_count))\{(.*)\} (\S+)$", exposition, re.MULTILINE)
    return {
        f"{series}{{{re.sub(r'service_instance_id=.*', '', labels)}}}": float(value) for series, labels, value in found
    }


def test_it_records_the_same_by_hand_and_tracked() -> None:
    by_hand, tracked = recorded("by_hand", "/metrics/"), recorded("tracked", "/metrics")
    assert tracked == by_hand
    assert (
        sum(value for series, value in tracked.items() if series.startswith("feature_usage_total")) == 60 + 100 + 80 + 1
    )


def lines_for_metrics(name: str) -> int:
    """Return how many lines the shop has more than, or otherwise than, the plain one; blank ones and indentation do not count."""
    plain, measured = (
        [line.strip() for line in (SHOP / f"{each}.py").read_text("utf-8").splitlines()[1:] if line.strip()]
        for each in ("plain", name)
    )
    return sum(line.startswith("+ ") for line in difflib.ndiff(plain, measured))


def test_tracking_takes_at_most_half_of_the_lines() -> None:
    assert 0 < lines_for_metrics("tracked") <= lines_for_metrics("by_hand") / 2
