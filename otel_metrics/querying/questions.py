"""Puts questions of the cookbook, and PromQL as it is, to a server."""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.catalogue import CATALOGUE, FEATURE, Family
from otel_metrics.errors import InvalidArgumentError
from otel_metrics.promql import INSTANCE, Histograms, equal, pretty
from otel_metrics.querying import cookbook
from otel_metrics.querying.client import Curve
from otel_metrics.querying.cookbook import COOKBOOK
from otel_metrics.querying.source import Inquiry, Period, QueryRow, QueryTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_metrics.promql import Dialect
    from otel_metrics.querying.client import PrometheusClient
    from otel_metrics.querying.scope import Scope

MOST_POINTS: Final = 11_000
"""What Prometheus gives of one series at most."""

_POINTS: Final = 24
"""Of a curve, unless there is a step."""

_NAME: Final = re.compile(r"[a-z]+(-[a-z]+)+")

_HIDDEN: Final = frozenset({"__name__", "le", "job", "instance", INSTANCE})
"""Labels of exemplars' series that say nothing of the single value."""

_PLACES: Final = {name: place for place, name in enumerate(dict.fromkeys(n for m in CATALOGUE for n in m.label_names))}
"""Where labels stand: as in the catalogue, what it does not have behind them."""


def inquiry_of(asked: Any, hours: Any, now: float, *, feature: Any = None, step: Any = None) -> Inquiry:
    """Return the inquiry that arguments of a call mean.

    Raises:
        InvalidArgumentError: one of them cannot be.
    """
    if not isinstance(asked, str) or not asked.strip():
        raise InvalidArgumentError("query", "question", asked, "type", "the name of a question, or PromQL")
    question = COOKBOOK.get(asked)
    if question is None and _NAME.fullmatch(asked):
        near = (
            ", ".join(get_close_matches(asked, COOKBOOK, cutoff=0.5))
            or "see docs/cookbook.md or otel-metrics query --list"
        )
        raise InvalidArgumentError("query", "question", asked, "unknown name", f"{near}; PromQL: put spaces around -")
    period = Period.last(hours, now, "query")
    if feature is not None and not isinstance(feature, str):
        raise InvalidArgumentError("query", "feature", feature, "type", "text")
    if feature is not None and (question is None or question.family is Family.RESOURCE):
        raise InvalidArgumentError("query", "feature", feature, "no place for it", "with questions about features")
    if step is not None and question is not None and not question.trend:
        raise InvalidArgumentError("query", "step", step, "no curve", "with questions about a trend, and PromQL")
    if step is None:
        step = period.seconds / _POINTS if question is not None and question.trend else 0.0
    elif type(step) not in {int, float} or not period.seconds / MOST_POINTS < step <= period.seconds:
        allowed = f"seconds, up to the whole time, at most {MOST_POINTS:,} of them"
        raise InvalidArgumentError("query", "step", step, "range", allowed)
    # Servers know milliseconds.
    return Inquiry(question or asked, period, max(round(step, 3), 0.001) if step else 0.0, feature)


class Questions:
    """Asks a server.

    Args:
        client: for the server.
        scope: whose series are asked for.
        dialect: tells what the server understands.
    """

    def __init__(self, client: PrometheusClient, scope: Scope, dialect: Callable[[], Dialect]) -> None:
        self._client = client
        self._scope = scope
        self._dialect = dialect

    def ask(self, inquiry: Inquiry) -> QueryTable:
        """Answer a question of the cookbook, about the series of the scope, or any query as it is."""
        if isinstance(inquiry.asked, str):
            return self._put(inquiry, inquiry.asked)
        remarks = self._scope.find(self._client, inquiry.period.end)
        terms = cookbook.Terms(self._dialect_of(inquiry), inquiry.seconds)
        expression = inquiry.asked.ask(terms).narrowed(*self._scope.matchers, *_matchers(inquiry))
        table = self._put(inquiry, pretty(expression))
        return replace(table, scope=self._scope.labels, warnings=(*remarks, *table.warnings))

    def _dialect_of(self, inquiry: Inquiry) -> Dialect:
        """Return what the server understands, and has stored in the time in question."""
        dialect = self._dialect()
        if Histograms.NATIVE not in dialect.stores:
            return dialect
        native = cookbook.native_histograms(inquiry.period.seconds).narrowed(*self._scope.matchers)
        found, _ = self._client.query(str(native), inquiry.period.end)
        return dialect.storing(Histograms.NATIVE if found else Histograms.CLASSIC)

    def _put(self, inquiry: Inquiry, promql: str) -> QueryTable:
        question = None if isinstance(inquiry.asked, str) else inquiry.asked
        if question is not None and question.exemplars:
            found, warnings = self._client.exemplars(promql, inquiry.period.start, inquiry.period.end)
            found = _single(found)
        else:
            start, end = _ends(inquiry)
            found, warnings = self._client.curves(promql, start, end, inquiry.step)
        rows = [QueryRow(when, curve.labels, value) for curve in found for when, value in curve.points]
        if question is not None:
            rows = [row for row in rows if isfinite(row.value)]
        names = sorted(
            {name for row in rows for name in row.labels}, key=lambda name: (_PLACES.get(name, len(_PLACES)), name)
        )
        if not inquiry.step:
            rows.sort(key=lambda row: _rank(row, question.order if question else "highest", names))
        words, value = (question.question, question.value) if question else ("", "value")
        return QueryTable(words, value, promql, inquiry.period, inquiry.step, tuple(names), rows, warnings)


def _matchers(inquiry: Inquiry) -> tuple[str, ...]:
    """Return what series must match for the feature's sake."""
    return () if inquiry.feature is None else (equal(FEATURE, inquiry.feature),)


def _ends(inquiry: Inquiry) -> tuple[float, float]:
    """Return the times of the first and the last point of a curve, to the millisecond; of a question, the first covers a step, too."""
    end = round(inquiry.period.end, 3)
    if not inquiry.step:
        return end, end
    steps = int(inquiry.period.seconds / inquiry.step + 1e-6)
    return end - inquiry.step * (steps if isinstance(inquiry.asked, str) else steps - 1), end


def _single(found: Sequence[Curve]) -> list[Curve]:
    """Return exemplars once each, without the labels of buckets and processes that they were kept in."""
    once: dict[object, Curve] = {}
    for curve in found:
        labels = {name: value for name, value in curve.labels.items() if name not in _HIDDEN}
        once[tuple(sorted(labels.items())), curve.points[0]] = Curve(labels, curve.points)
    return list(once.values())


def _rank(row: QueryRow, order: str, names: Sequence[str]) -> tuple[Any, ...]:
    """Return what rows are sorted by: what is no number comes last."""
    if order == "labels":
        return tuple(row.labels.get(name, "") for name in names)
    return isnan(row.value), row.value if order == "lowest" else -row.value
