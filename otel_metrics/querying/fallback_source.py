"""The server's answer, or one without it where it has none: so that a monitor outlives the server that it asks."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from otel_metrics.errors import QueryError
from otel_metrics.log import say

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from otel_metrics.querying.source import Answer, DayTable, Inquiry, Period, Query, QueryTable, Source
    from otel_metrics.results import SourceName


class FallbackSource:
    """Asks ``server``; when that cannot answer, asks ``local``, and the answer says so in ``source`` and ``warnings``.

    The log says so as well, once until the server answers again.
    """

    name: SourceName = "prometheus"

    def __init__(self, server: Source, local: Source) -> None:
        self._server = server
        self._local = local
        self._answered = True

    def fetch(self, plan: Mapping[str, Query], period: Period) -> Answer:
        """Answer every query of ``plan`` for the same period."""
        try:
            answer = self._server.fetch(plan, period)
        except QueryError as error:
            found = self._local.fetch(plan, period)
            return replace(found, warnings=(*found.warnings, self._failed(error, found.scope)))
        self._answered = True
        return answer

    def day(self, day: date) -> DayTable:
        """Return the daily table's rows of a day; those of this process, or host, are partial."""
        try:
            table = self._server.day(day)
        except QueryError as error:
            found = self._local.day(day)
            return replace(found, partial=True, warnings=(*found.warnings, self._failed(error, found.scope)))
        self._answered = True
        return table

    def ask(self, inquiry: Inquiry) -> QueryTable:
        """Answer a question from the server: this process knows no PromQL."""
        return self._server.ask(inquiry)

    def _failed(self, error: QueryError, instance: Mapping[str, str]) -> str:
        """Note that the server did not answer, and return the warning that the result carries."""
        who = "the processes of this host" if instance else "this process alone"
        if self._answered:
            self._answered = False
            say(logging.WARNING, "%s; getters answer from %s until the server answers again", error, who)
        return f"{error}; answered from {who}"
