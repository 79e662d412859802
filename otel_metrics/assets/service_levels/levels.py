"""What a service level is: of some events of a feature, the share that has to be good within a period; and what may be said."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import ERROR_TYPE, FEATURE, SATISFACTION_RESPONSES, SECONDS, USAGE, USAGE_DURATION
from otel_metrics.promql import JOB, seconds

if TYPE_CHECKING:
    from otel_metrics.assets.service_levels.entry import Entry
    from otel_metrics.catalogue import Metric

SERVICE_LEVEL: Final = "service_level"
"""The label with the name of a level."""

KIND: Final = "kind"
"""The label with the kind of a level."""


class Kind(Enum):
    """What a level promises: which events it is about, and which of them are good."""

    SUCCESS = "success"
    """Uses whose outcome is known; they succeed."""
    LATENCY = "latency"
    """Timed uses; they take no longer than the threshold."""
    SATISFACTION = "satisfaction"
    """Responses; they are satisfied. Nobody is woken up for them."""
    FRESHNESS = "freshness"
    """Minutes; the last use that succeeded is no older than the threshold."""

    @property
    def metric(self) -> Metric:
        """The metric whose series are counted."""
        return _METRICS.get(self, USAGE)

    @property
    def has_threshold(self) -> bool:
        """Whether a level of this kind has a threshold."""
        return self in {Kind.LATENCY, Kind.FRESHNESS}

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that its events can be narrowed down by."""
        own = (label for label in self.metric.labels if not label.values and label not in {FEATURE, ERROR_TYPE})
        return (JOB, *(label.name for label in own))


_METRICS: Final = {Kind.LATENCY: USAGE_DURATION, Kind.SATISFACTION: SATISFACTION_RESPONSES}


@dataclass(frozen=True, slots=True)
class Level:
    """One service level."""

    name: str
    feature: str
    kind: Kind
    objective: float
    """Percent of the events that have to be good."""
    threshold: str = ""
    """The longest duration, or the greatest age, that is good, as Prometheus spells it."""
    where: tuple[tuple[str, str], ...] = ()
    """Labels that narrow the events down, with their values."""
    description: str = ""

    @property
    def share(self) -> float:
        """The objective as a share: 0.999 is 99.9 %, to the last digit."""
        return float(Decimal(repr(self.objective)) / 100)

    def promise(self) -> str:
        """Return what is promised, as a sentence."""
        of = self.feature + "".join(f", {label} {value}" for label, value in self.where)
        return {
            Kind.SUCCESS: f"{self.objective:g} % of the uses of {of} succeed.",
            Kind.LATENCY: f"{self.objective:g} % of the uses of {of} take at most {self.threshold}.",
            Kind.SATISFACTION: f"{self.objective:g} % of the responses to {of} are satisfied.",
            Kind.FRESHNESS: f"{self.objective:g} % of the time {of} has succeeded within the last {self.threshold}.",
        }[self.kind]


@dataclass(frozen=True, slots=True)
class ServiceLevels:
    """The levels of one file, which share a period."""

    levels: tuple[Level, ...] = ()
    period: str = "30d"
    """The time that a budget is for, back from now."""

    @property
    def seconds(self) -> float:
        """The period in seconds."""
        return seconds(self.period)


# ---------------------------------------------------------------------------------------------------- what may be said

_LEAST, _MOST = 1, 99.999
_DAYS: Final = re.compile(r"[1-9]\d{0,3}[dw]", re.ASCII)
_PERIODS: Final = (28, 92)
_TIME: Final = re.compile(r"[1-9]\d{0,6}(ms|[smhd])", re.ASCII)
_DAY: Final = 86_400


def objective(entry: Entry) -> float:
    """Return the percentage that an entry says.

    Raises:
        ConfigurationError: it is none, or promises nothing, or everything.
    """
    value = entry.number()
    if value is None or not _LEAST <= value <= _MOST:
        raise entry.not_allowed(f"percent, a number from {_LEAST} to {_MOST}")
    return value


def period(entry: Entry) -> str:
    """Return the time that budgets are for.

    Raises:
        ConfigurationError: it is none, or does not fit the windows of the alerts.
    """
    value, (least, most) = entry.text(), _PERIODS
    if not _DAYS.fullmatch(value) or not least * _DAY <= seconds(value) <= most * _DAY:
        raise entry.not_allowed(f"from {least}d to {most}d, such as 30d or 4w")
    return value


def threshold(entry: Entry, kind: Kind) -> str:
    """Return the longest duration, or the greatest age, that is good.

    Raises:
        ConfigurationError: it is none, or nothing of that kind can be told.
    """
    value = entry.text()
    least, most = ("1ms", f"{SECONDS[-1]:g}s") if kind is Kind.LATENCY else ("2m", "7d")
    if not _TIME.fullmatch(value) or not seconds(least) <= seconds(value) <= seconds(most):
        raise entry.not_allowed(f"from {least} to {most}, such as {'470ms' if kind is Kind.LATENCY else '26h'}")
    return value


def narrowed(entry: Entry, kind: Kind) -> tuple[tuple[str, str], ...]:
    """Return the labels, with their values, that an entry narrows events down by.

    Raises:
        ConfigurationError: the events do not have these labels.
    """
    return tuple((label, value.label_value()) for label, value in entry.fields((), kind.labels).items())
