"""Whose numbers a server is asked for: one application's, of all that it scrapes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from otel_metrics import catalogue as c
from otel_metrics.promql import INSTANCE, JOB, aggregate, equal, like, series
from otel_metrics.querying.expressions import PART, batches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_metrics.promql import Expression
    from otel_metrics.querying.client import PrometheusClient

_OWN: Final = "own"
_ALL: Final = "all"


class Scope:
    """The labels that series must have to be asked for.

    Args:
        labels: chosen by the user: label name -> value. Without any, the job of ``instance``, once the server knows it.
        instance: tells this process's instance id; without it and without labels, everything is asked for.
    """

    def __init__(self, labels: Mapping[str, str] | None = None, instance: Callable[[], str] | None = None) -> None:
        self._chosen = bool(labels)
        self.labels: Mapping[str, str] = dict(labels or {})
        self._instance = instance

    @property
    def matchers(self) -> tuple[str, ...]:
        """Return what every series must match. Series without a job are everybody's: they were imported."""
        return tuple(
            equal(name, value) if self._chosen else like(name, f"{re.escape(value)}|")
            for name, value in self.labels.items()
        )

    def find(self, client: PrometheusClient, now: float) -> tuple[str, ...]:
        """Find this process's job, unless it is known; return a warning if numbers of several jobs are added up.

        Raises:
            QueryError: the server did not answer.
        """
        if self.labels or self._instance is None:
            return ()
        jobs: dict[str, set[str]] = {_OWN: set(), _ALL: set()}
        asked: dict[str, Expression] = {
            _OWN: aggregate("count", (JOB,), series(c.SERIES, equal(INSTANCE, self._instance()))),
            _ALL: aggregate("count", (JOB,), series(c.SERIES)),
        }
        for batch in batches(asked):
            for sample in client.query(batch, now)[0]:
                jobs[sample.labels[PART]].add(sample.labels.get(JOB, ""))
        if len(jobs[_OWN]) == 1 and (job := next(iter(jobs[_OWN]))):
            self.labels = {JOB: job}
            return ()
        if len(jobs[_ALL]) > 1:
            names = ", ".join(sorted(filter(None, jobs[_ALL])))
            return (f"numbers of several jobs are added up: {names}; choose with prometheus_matchers",)
        return ()
