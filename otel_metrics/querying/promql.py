"""Queries to PromQL. Pure functions.

**Exact windows.** What was counted between two instants is the value at the end minus the value at the start, per series:
``x @ end - (x @ start or x @ end * 0)``. Nothing is extrapolated, and what a process counted before its first scrape is
in, as ``increase()`` has neither. It asks that no two processes share a series; every process has its own
``service_instance_id``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import SERIES, SIGN, Kind
from otel_metrics.naming import series_name
from otel_metrics.querying.source import Distribution, Latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otel_metrics.querying.source import Period, Query

PART: Final = "part"
"""Label that tells the expressions apart which one request joins: query name, colon, form."""

INSTANCE: Final = "service_instance_id"

NATIVE: Final = "native"
BUCKETS: Final = "buckets"
SUM: Final = "sum"
NUMBER: Final = "number"

_SHORTEST: Final = 300.0
"""Seconds that are looked back for a series' last sample at least: Prometheus' own patience with a series."""

_START: Final = 3600.0
"""Seconds that are looked back from the start of a period for what was counted before, if scrapes were missed."""

_SPECIAL: Final = re.compile(r'[\\"\x00-\x1f\x7f\ud800-\udfff\ufffd]')


@dataclass(frozen=True, slots=True)
class Ended:
    """Processes that are gone at the end of a period. Only their last values have to be searched for, which is costly."""

    instances: tuple[str, ...] = ()


def quoted(text: str) -> str:
    """Return ``text`` as a PromQL string literal that stands for exactly that text.

    Lone surrogates, which no label can hold, become U+FFFD, which Prometheus accepts as an escape only.
    """
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character in '\\"':
        return "\\" + character
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0x7F else "\\uFFFD"


def selector(name: str, where: Iterable[tuple[str, str]] = (), matchers: Iterable[str] = ()) -> str:
    """Return the selector of the series of ``name`` whose labels have the values ``where``."""
    inside = [*(f"{label}={quoted(value)}" for label, value in where), *matchers]
    return f"{name}{{{','.join(inside)}}}"


def milliseconds(seconds: float) -> str:
    """Return a duration, of a millisecond at least."""
    return f"{max(round(seconds * 1000), 1)}ms"


def at(when: float) -> str:
    """Return the modifier that evaluates at an instant, exact to the millisecond."""
    return f"@ {when:.3f}"


def joined(parts: Mapping[str, str]) -> str:
    """Return one expression for several, whose results carry the name of their part."""
    return " or ".join(
        f'label_replace({expression}, "{PART}", {quoted(name)}, "", "")' for name, expression in parts.items()
    )


def parts(queries: Mapping[str, Query], moment: Moment, *, native: bool = True) -> dict[str, str]:
    """Return the expressions that answer every query, by query name and form; ``native``: also from native histograms."""
    return {
        f"{name}:{form}": expression
        for name, query in queries.items()
        for form, expression in _forms(query, moment)
        if native or form != NATIVE
    }


def ended(period: Period) -> str:
    """Return the expression for the processes that a period saw and that are gone at its end."""
    name = series_name(SERIES)
    seen = f"last_over_time({name}[{milliseconds(_reach(period))}] {at(period.end)})"
    return f"count by ({INSTANCE}) ({seen}) unless count by ({INSTANCE}) ({name} {at(period.end)})"


def _forms(query: Query, moment: Moment) -> list[tuple[str, str]]:
    """Return (form, expression) of what answers one query, however the server stores the metric."""
    name = series_name(query.metric)
    if isinstance(query, Latest):
        latest = f"max by ({', '.join(query.by)}) ({moment.last(name, query.where)})"
        return [(NUMBER, f"topk({query.limit}, {latest})" if query.limit else latest)]
    if query.metric.kind is Kind.COUNTER or not isinstance(query, Distribution):
        return [(NUMBER, moment.increase(name, query.by, query.where))]
    by = (*query.by, SIGN.name) if SIGN in query.metric.labels else query.by
    native = moment.increase(name, by, query.where)
    buckets = moment.increase(f"{name}_bucket", (*by, "le"), query.where)
    total = moment.increase(f"{name}_sum", by, query.where)
    if query.limit:
        groups = ", ".join(query.by)
        count = moment.increase(f"{name}_count", query.by, query.where)
        most = f"and on ({groups}) topk({query.limit}, {count} > 0)"
        count = f"histogram_count({moment.increase(name, query.by, query.where)})"
        native += f" and on ({groups}) topk({query.limit}, {count} > 0)"
        buckets, total = f"{buckets} {most}", f"{total} {most}"
    return [(NATIVE, native), (BUCKETS, buckets), (SUM, total)]


def _reach(period: Period) -> float:
    return max(period.seconds, _SHORTEST)


class Moment:
    """Expressions over one period.

    Args:
        period: from when to when.
        ended: processes that are gone at the end; None if not known, then all are searched.
        exactly: look at samples of the period only: those of its very end and of before its start not.
    """

    def __init__(self, period: Period, ended: Ended | None = None, *, exactly: bool = False) -> None:
        self._ended = ended
        self._start = at(period.start)
        self._end = at(period.end - 0.001 if exactly else period.end)
        self._reach = milliseconds(period.seconds - 0.001 if exactly else _reach(period))
        self._before = milliseconds(max(_START, _reach(period)) if ended is None else _START)

    def last(self, name: str, where: Sequence[tuple[str, str]]) -> str:
        """Return the value of every series at the end, also of those that are not scraped any more."""
        if self._ended is None:
            return f"last_over_time({selector(name, where)}[{self._reach}] {self._end})"
        alive = f"{selector(name, where)} {self._end}"
        if not self._ended.instances:
            return alive
        gone = f"{INSTANCE}=~{quoted('|'.join(map(re.escape, self._ended.instances)))}"
        return f"({alive} or last_over_time({selector(name, where, (gone,))}[{self._reach}] {self._end}))"

    def increase(self, name: str, by: Sequence[str], where: Sequence[tuple[str, str]]) -> str:
        """Return what was added in the period, grouped."""
        last = self.last(name, where)
        first = f"last_over_time({selector(name, where)}[{self._before}] {self._start})"
        return f"sum by ({', '.join(by)}) ({last} - ({first} or {last} * 0))"
