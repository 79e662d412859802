"""Every number that an alert compares with, and every time that it waits: what a team changes to make the alerts its own.

Dashboards colour their panels by the same numbers. After a change run ``otel-metrics render``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_metrics.promql import seconds


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound, the least number of events that makes a judgement about it fair, and the patience of its alert."""

    bound: float
    events: int = 0
    """Events in the window below which nothing is said."""
    hold: str = "5m"
    """For how long the bound must have been passed."""
    keep: str = "15m"
    """For how long the alert stays after the bound was last passed."""


# ------------------------------------------- the documented monitor: one hour back, per feature

ERRORS: Final = Limit(10)
"""Errors an hour of severity critical or error; fires above. The number of events is the bound itself: ten errors or fewer never
fire. It pages, so it waits for two more scrapes and rules at least, but no longer; it stays through a quarter of an hour of quiet,
so that one incident is one page."""

SATISFACTION: Final = Limit(0.7, events=10, hold="10m")
"""Average score; fires below, given so many responses."""

RESPONSE_TIME: Final = Limit(1.0, events=20, hold="10m")
"""Average in seconds of the values of category ``response_time``; fires above, given so many values."""

SILENCE: Final = Limit(0, events=20, hold="15m")
"""Uses an hour; fires when none is left of so many at the same hour of the day before."""

# ------------------------------------------- what the documented monitor did not look at: one hour back, too

FAILURES: Final = Limit(0.1, events=20)
"""Share of uses that fail, given so many of a known outcome. It pages: waits and stays as ERRORS."""

WARNINGS: Final = Limit(100, hold="15m", keep="1h")
"""Errors an hour of severity warning. Nobody is called, so it waits until a burst is over, and stays for the whole of a shift's hour."""

RECOVERY: Final = Limit(0.5, events=10, hold="10m", keep="30m")
"""Share of recoveries that failed, given so many. Waits for a second failed round of retries."""

RESPONSE_TIME_P95: Final = Limit(3.0, events=100, hold="15m", keep="30m")
"""95th percentile in seconds of five minutes of response times, given so many in the hour: of fewer, a few slow ones are the
percentile. It waits for three such windows, none of which has a value of another."""

AGAINST_LAST_WEEK: Final = Limit(1.5, events=20, hold="30m", keep="1h")
"""Average response time divided by that of the same hour a week before, given so many in both. Waits for half an hour, as that
hour may have begun a little earlier last week."""

SATISFACTION_DROP: Final = Limit(-0.1, events=10, hold="30m", keep="1h")
"""Average score less that of the same hour a week before, given so many in both; fires below."""

COMPLETION: Final = Limit(0.5, events=50, hold="30m", keep="1h")
"""Successful uses as a share of those in the same hour a week before, given so many then; fires below."""

ACCURACY_DROP: Final = Limit(-0.05, events=10, hold="30m", keep="2h")
"""Average accuracy less that of the same hour a week before, given so many in both; fires below. Learning runs seldom: stays until
the next run has had its chance."""

SAMPLES: Final = Limit(30, events=10, hold="30m", keep="2h")
"""Samples that one learning is about, on average over so many; fires below."""

OPTIMIZATION: Final = Limit(0.1, hold="5m", keep="2h")
"""By how much of itself a value got worse. One optimization is enough, and is seen for an hour: stays until somebody has seen it."""

EXHAUSTED: Final = Limit(0.95, hold="5m", keep="10m")
"""Share of a resource in use. It pages: a peak shorter than its wait is nobody's business."""

FILLING_UP: Final = Limit(0.5, hold="30m", keep="1h")
"""Share in use from which on it matters that a resource would be full in four hours. Waits for a slope that lasts."""

FULL_IN: Final = 4 * 3600
"""Seconds."""

# ------------------------------------------- service levels


@dataclass(frozen=True, slots=True)
class Burn:
    """Too much of an error budget spent: ``share`` of what a period has, within ``long``, and still so within ``short``.

    The pairs are those of "Alerting on SLOs" in Google's Site Reliability Workbook.
    """

    long: str
    short: str
    """A twelfth of ``long``: shortly after the trouble has ended, the alert ends."""
    share: float

    def factor(self, period: str) -> float:
        """Return how much faster than evenly over the period that is: 14.4 for 2 % of thirty days within an hour."""
        return round(self.share * seconds(period) / seconds(self.long), 4)


BURNS_FAST: Final = (Burn("1h", "5m", 0.02), Burn("6h", "30m", 0.05))
BURNS_SLOW: Final = (Burn("3d", "6h", 0.1),)

BURN_FAST: Final = Limit(0, events=10, hold="2m")
"""Bad events in the long window below which nothing is said. Both windows have lasted already, so it waits only until a second
evaluation agrees."""

BURN_SLOW: Final = Limit(0, events=10, hold="15m", keep="1h")

# ------------------------------------------- telemetry itself

TARGET_DOWN: Final = Limit(0, hold="5m", keep="5m")
TARGETS_GONE: Final = Limit(0, hold="5m", keep="1h")
TELEMETRY_GONE: Final = Limit(0, hold="10m", keep="5m")

FROZEN: Final = Limit(0, events=10, hold="5m", keep="5m")
"""Changes of the scrape counter in ten minutes, given so many samples of it."""

SCRAPE_SECONDS: Final = Limit(5.0, hold="10m")
"""Average duration of a scrape; prometheus.yml gives up after 10 s."""

REJECTED: Final = Limit(10, hold="5m")
"""Rejected arguments an hour per call and reason."""

SHARED_ERRORS: Final = Limit(1, hold="5m")
"""Times an hour, per reason, that the multiprocess directory could not be read or written."""

OVERFLOW: Final = Limit(10, hold="5m")
"""Series of one label that were bound to ``other`` since a process started."""

COLLISIONS: Final = Limit(0, hold="10m")
DAILY_TABLE: Final = Limit(0, hold="2h")
SAMPLES_DROPPED: Final = Limit(10, hold="5m")
"""Samples in 15 minutes."""

RULE_FAILURES: Final = Limit(2, hold="5m")
"""Failed evaluations of a rule group in 15 minutes."""

RULES_SLOW: Final = Limit(1.0, hold="15m")
"""Duration of a rule group's evaluation as a share of its interval."""

CONFIG_RELOAD: Final = Limit(0, hold="10m", keep="5m")
UNREACHABLE: Final = Limit(0.5, hold="5m")
"""Share of notifications to one Alertmanager that fail."""

NOTIFICATIONS_FAILING: Final = Limit(0.1, hold="5m")
"""Share of Alertmanager's notifications by one integration that fail."""
