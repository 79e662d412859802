"""Answers to the documented dictionaries.

In all of them: ``has_data``; ``source`` (``local`` or ``prometheus``); ``window``, the time really covered; ``estimated``, the
keys whose values are estimates, all others being exact. Without data counts are 0, averages, rates and percentiles ``nan``.
"""

from __future__ import annotations

from datetime import datetime, timezone
from math import nan
from typing import TYPE_CHECKING, Any

from otel_metrics import catalogue as c
from otel_metrics.querying import sections
from otel_metrics.querying.plans import PERFORMANCE
from otel_metrics.querying.restore import CallersUnits, daily_row
from otel_metrics.querying.sections import number, statistics
from otel_metrics.querying.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_metrics.querying.source import Answer, DayTable, Period

    Result = dict[str, Any]


def performance(answer: Answer, limit: int = 1000) -> list[Result]:
    """Return one row per series, most recorded first, in the unit that it was recorded in; ``value`` is the average."""
    by = (c.FEATURE.name, c.METRIC_CATEGORY.name, c.METRIC_NAME.name)
    units = CallersUnits((labels for labels, _ in answer.numbers("unit")), by)
    rows: list[Result] = []
    for name, metric in PERFORMANCE.items():
        for labels, digest in answer.digests(name):
            unit = units.unit(metric, labels)
            known = digest.statistics().map(unit.from_base)
            row: Result = {
                label.name: labels.get(label.name, "") for label in (c.FEATURE, c.METRIC_CATEGORY, c.METRIC_NAME)
            }
            row |= {"value": number(known.avg), "unit": unit.name, "context": labels.get(c.CONTEXT.name) or None}
            rows.append(row | statistics(known) | _about(answer, known.count, known.estimated))
    rows.sort(key=lambda row: -row["count"])
    return rows[:limit]


def metric_statistics(answer: Answer, feature: str, metric_name: str) -> Result:
    """Return the statistics of one metric of the basic collector.

    Performance, learning and optimization metrics may share a name: the first of these that has data is reported.
    """
    by = (c.FEATURE.name, c.METRIC_CATEGORY.name, c.METRIC_NAME.name)
    units = CallersUnits((labels for labels, _ in answer.numbers("unit")), by)
    found, unit = Statistics(), ""
    for name, metric in {**PERFORMANCE, "learning": c.LEARNING_VALUE, "optimization": c.OPTIMIZATION_VALUE}.items():
        for labels, digest in answer.digests(name):
            if not found.count:
                caller = units.unit(metric, labels)
                found, unit = digest.statistics().map(caller.from_base), caller.name
    asked = {"feature": feature, "metric_name": metric_name}
    return asked | statistics(found) | {"unit": unit} | _about(answer, found.count, found.estimated)


def satisfaction(answer: Answer, feature: str | None = None, satisfaction_type: str | None = None) -> Result:
    """Return scores on a scale of 0 to 1, and the share of scores at or above the threshold."""
    body = sections.satisfaction(answer)
    return {"feature": feature, "satisfaction_type": satisfaction_type} | body | _about(answer, **_known(body))


def usage(answer: Answer, feature: str | None = None) -> Result:
    """Return how often actions were used, how often that went well, how long it took in milliseconds."""
    body = sections.usage(answer)
    return {"feature": feature} | body | _about(answer, **_known(body))


def errors(answer: Answer, feature: str | None = None) -> Result:
    """Return the number of errors, and how often recovery worked where it was tried. ``has_data`` is true for a known zero."""
    body = sections.errors(answer)
    return {"feature": feature} | body | _about(answer, **_known(body))


def learning(answer: Answer, feature: str | None = None, learning_type: str | None = None) -> Result:
    """Return how well things were learnt."""
    body = sections.learning(answer)
    return {"feature": feature, "learning_type": learning_type} | body | _about(answer, **_known(body))


def optimization(
    answer: Answer, feature: str | None = None, impact_category: str | None = None, limit: int = 1000
) -> Result:
    """Return what optimizations changed: ``avg_change`` is the average of after / before."""
    body = sections.optimization(answer)
    after = {tuple(labels.values()): value for labels, value in answer.numbers("after")}
    body["optimizations"] = [
        {**labels, "before_value": before, "after_value": after.get(tuple(labels.values()), nan)}
        for labels, before in answer.numbers("before")[:limit]
    ]
    body["has_data"] = body["has_data"] or bool(body["optimizations"])
    return {"feature": feature, "impact_category": impact_category} | body | _about(answer, **_known(body))


def resources(answer: Answer) -> Result:
    """Return the last known state of every resource, the fullest first."""
    body = sections.resources(answer)
    return body | _about(answer, **_known(body))


def dashboard(answer: Answer, feature: str | None = None, hours: float = 24) -> Result:
    """Return everything at once. ``exact`` is true if nothing in it is an estimate."""
    parts = {
        "performance": sections.performance(answer),
        "satisfaction": sections.satisfaction(answer),
        "usage": sections.usage(answer),
        "errors": sections.errors(answer),
        "learning": sections.learning(answer),
        "optimization": sections.optimization(answer),
        "resources": sections.resources(answer, sections.DASHBOARD_RESOURCES),
    }
    estimated = [f"{name}.{key}" for name, section in parts.items() for key in section["estimated"]]
    has_data = any(section["has_data"] for section in parts.values())
    head = {"feature": feature, "hours": hours, "generated_at": _iso(answer.period.end), "exact": not estimated}
    return head | parts | _about(answer, has_data, estimated)


def daily(table: DayTable) -> list[Result]:
    """Return the rows of the daily table in the documented columns, in the units that callers recorded with.

    ``unit`` tells the unit of the values, ``partial`` that the day is not over or not known in whole, ``estimated`` the
    columns that are estimates. ``instances``: the processes that recorded the row's values; ``complete``: whether all that
    these recorded on the day is in; ``reason``: what may be missing otherwise. The first two are None if not known.
    """
    by = (c.FEATURE.name, c.METRIC_CATEGORY.name, c.METRIC_NAME.name)
    units = CallersUnits(table.units, by)
    rows: list[Result] = []
    for key, known in sorted(table.rows.items()):
        restored, unit = daily_row(key, known, units)
        whole = table.known_of(key)
        rows.append(
            {
                "date": table.day.isoformat(),
                "feature": key.feature,
                "metric_type": key.metric_type,
                "metric_name": key.metric_name,
                **{name: number(getattr(restored, column.field)) for name, column in c.DAILY_TABLE.items()},
                "unit": unit,
                "partial": table.partial,
                "instances": whole.instances,
                "complete": whole.complete,
                "reason": "; ".join(whole.reasons),
                "source": table.source,
                "estimated": [name for name, column in c.DAILY_TABLE.items() if column.field in restored.estimated],
                **({"warnings": list(table.warnings)} if table.warnings else {}),
            }
        )
    return rows


def _about(answer: Answer, has_data: object, estimated: Iterable[str]) -> Result:
    about: Result = {
        "has_data": bool(has_data),
        "source": answer.source,
        "window": _window(answer.period),
        "estimated": sorted(estimated),
    }
    return about | ({"warnings": list(answer.warnings)} if answer.warnings else {})


def _known(body: Result) -> Result:
    return {"has_data": body["has_data"], "estimated": body["estimated"]}


def _window(period: Period) -> dict[str, str]:
    return {"start": _iso(period.start), "end": _iso(period.end)}


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when, timezone.utc).isoformat(timespec="milliseconds")
