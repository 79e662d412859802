"""Puts questions of the cookbook, and PromQL as it is, to a server."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.catalogue import CATALOGUE
from otel_metrics.promql import INSTANCE, Histograms, pretty
from otel_metrics.querying import cookbook
from otel_metrics.querying.client import Curve
from otel_metrics.querying.source import QueryRow, QueryTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_metrics.promql import Dialect
    from otel_metrics.querying.client import PrometheusClient
    from otel_metrics.querying.scope import Scope
    from otel_metrics.querying.source import Inquiry

_HIDDEN: Final = frozenset({"__name__", "le", "job", "instance", INSTANCE})
"""Labels of exemplars' series that say nothing of the single value."""


_PLACES: Final = {name: place for place, name in enumerate(dict.fromkeys(n for m in CATALOGUE for n in m.label_names))}
"""Where labels stand: as in the catalogue, what it does not have behind them."""


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
        expression = inquiry.asked.ask(terms).narrowed(*self._scope.matchers, *inquiry.matchers)
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
