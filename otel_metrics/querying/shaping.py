"""Answers to the documented dictionaries, whose keys :mod:`otel_metrics.results` explains.

A section of the dashboard is also the body of a getter's result: each has a function of its own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, replace
from datetime import datetime, timezone
from functools import wraps
from math import isfinite, nan
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from otel_metrics import catalogue as c
from otel_metrics.label_text import text_of
from otel_metrics.querying.caller_units import BASE, CallersUnits, daily_row, minus_one
from otel_metrics.querying.plans import PERFORMANCE
from otel_metrics.querying.statistics import Statistics
from otel_metrics.units import MILLISECONDS

if TYPE_CHECKING:
    from _collections_abc import dict_items
    from collections.abc import Callable, Iterable, Mapping

    from otel_metrics import results as r
    from otel_metrics.querying.source import Answer, DayTable
    from otel_metrics.querying.statistics import ValueSummary

    Converter = Callable[[float], float]

_VALUES: Final = ("avg", "min", "max", "stddev", "p50", "p95", "p99")
_SATISFIED: Final = c.SATISFIED.values[0]
_METRIC: Final = (c.FEATURE.name, c.METRIC_CATEGORY.name, c.METRIC_NAME.name)
DASHBOARD_RESOURCES: Final = 100
"""Resources that a dashboard shows, the fullest ones."""

P = ParamSpec("P")
R = TypeVar("R")


class _ResultDict(dict[str, Any]):
    """A dictionary that ``json.dumps`` and web frameworks can write: they ask for ``items()``, where ``None`` stands for ``nan``.

    All other access finds ``nan``, which compares with numbers as the documented code does it.
    """

    __slots__ = ()

    def items(self) -> dict_items[str, Any]:
        """Return the entries as JSON has them."""
        return {key: None if _is_no_number(value) else value for key, value in super().items()}.items()

    def __reduce__(self) -> tuple[type[_ResultDict], tuple[dict[str, Any]]]:
        return _ResultDict, (dict(self),)  # else copies and pickles would ask for items(), too


def _fit_for_json(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function return dictionaries that can be written as JSON, at every level."""

    @wraps(function)
    def fitting(*args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", _fitting(function(*args, **kwargs)))

    return fitting


def _fitting(value: object) -> object:
    if isinstance(value, dict):
        return _ResultDict((key, _fitting(entry)) for key, entry in value.items())
    if isinstance(value, list):
        return [_fitting(entry) for entry in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    # What a caller asked for is repeated: hours as a number of numpy, a feature that is an UUID.
    if isinstance(value, Real):
        return int(value) if isinstance(value, Integral) else float(value)
    return text_of(value)


def _is_no_number(value: object) -> bool:
    return isinstance(value, float) and not isfinite(value)


# ------------------------------------------------------------------------------------------------------------- results


@_fit_for_json
def performance(answer: Answer, limit: int = 1000) -> list[r.PerformanceRow]:
    """Return one row per series, most recorded first, in the unit that it was recorded in; ``value`` is the average."""
    units = CallersUnits((labels for labels, _ in answer.numbers("unit")), _METRIC)
    rows: list[r.PerformanceRow] = []
    for name, metric in PERFORMANCE.items():
        for labels, summary in answer.distributions(name):
            unit = units.unit(metric, labels)
            known = summary.statistics().map(unit.from_base)
            rows.append(
                {
                    "feature": labels.get(c.FEATURE.name, ""),
                    "metric_category": labels.get(c.METRIC_CATEGORY.name, ""),
                    "metric_name": labels.get(c.METRIC_NAME.name, ""),
                    "value": _number(known.avg),
                    "unit": unit.name,
                    "context": labels.get(c.CONTEXT.name) or None,
                    **_statistics(known),
                    **_result(answer, known.count, known.estimated),
                }
            )
    rows.sort(key=lambda row: -row["count"])
    return rows[:limit]


@_fit_for_json
def metric_statistics(answer: Answer, feature: str, metric_name: str) -> r.MetricStatistics:
    """Return the statistics of one metric of the basic collector.

    Performance, learning and optimization metrics may share a name: the first of these that has data is reported, and a warning
    tells how many values there are of the others.
    """
    units = CallersUnits((labels for labels, _ in answer.numbers("unit")), _METRIC)
    found, unit, others = Statistics(), "", 0
    for name, metric in {**PERFORMANCE, "learning": c.LEARNING_VALUE, "optimization": c.OPTIMIZATION_VALUE}.items():
        for labels, summary in answer.distributions(name):
            if not found.count:
                caller = units.unit(metric, labels)
                found, unit = summary.statistics().map(caller.from_base), caller.name
            else:
                others += summary.statistics().count
    if others:
        other = f"not counted: {others} under this name, of another kind (performance, learning, optimization) or unit"
        answer = replace(answer, warnings=(*answer.warnings, other))
    return {
        "feature": feature,
        "metric_name": metric_name,
        **_statistics(found),
        "unit": unit,
        **_result(answer, found.count, found.estimated),
    }


@_fit_for_json
def satisfaction(
    answer: Answer, feature: str | None = None, satisfaction_type: str | None = None
) -> r.SatisfactionResult:
    """Return scores on a scale of 0 to 1, and the share of scores at or above the threshold."""
    body = satisfaction_section(answer)
    return {"feature": feature, "satisfaction_type": satisfaction_type, **body, **_about(answer, body)}


@_fit_for_json
def usage(answer: Answer, feature: str | None = None) -> r.UsageResult:
    """Return how often actions were used, how often that went well, how long it took in milliseconds."""
    body = usage_section(answer)
    return {"feature": feature, **body, **_about(answer, body)}


@_fit_for_json
def errors(answer: Answer, feature: str | None = None) -> r.ErrorResult:
    """Return the number of errors, and how often recovery worked where it was tried."""
    body = error_section(answer)
    return {"feature": feature, **body, **_about(answer, body)}


@_fit_for_json
def learning(answer: Answer, feature: str | None = None, learning_type: str | None = None) -> r.LearningResult:
    """Return how well things were learnt."""
    body = learning_section(answer)
    return {"feature": feature, "learning_type": learning_type, **body, **_about(answer, body)}


@_fit_for_json
def optimization(
    answer: Answer, feature: str | None = None, impact_category: str | None = None, limit: int = 1000
) -> r.OptimizationResult:
    """Return what optimizations changed: ``avg_change`` is the average of after / before."""
    body = optimization_section(answer)
    after = {tuple(labels.values()): value for labels, value in answer.numbers("after")}
    single: list[r.SingleOptimization] = [
        {
            "feature": labels[c.FEATURE.name],
            "optimization_id": labels[c.OPTIMIZATION_ID.name],
            "impact_category": labels[c.IMPACT_CATEGORY.name],
            "before_value": before,
            "after_value": after.get(tuple(labels.values()), nan),
        }
        for labels, before in answer.numbers("before")[:limit]
    ]
    body["has_data"] = body["has_data"] or bool(single)
    return {
        "feature": feature,
        "impact_category": impact_category,
        **body,
        "optimizations": single,
        **_about(answer, body),
    }


@_fit_for_json
def resources(answer: Answer) -> r.ResourceResult:
    """Return the last known state of every resource, the fullest first."""
    body = resource_section(answer)
    return {**body, **_about(answer, body)}


@_fit_for_json
def dashboard(answer: Answer, feature: str | None = None, hours: float = 24) -> r.Dashboard:
    """Return everything at once. ``exact`` is true if nothing in it is an estimate."""
    parts: r.DashboardSections = {
        "performance": performance_section(answer),
        "satisfaction": satisfaction_section(answer),
        "usage": usage_section(answer),
        "errors": error_section(answer),
        "learning": learning_section(answer),
        "optimization": optimization_section(answer),
        "resources": resource_section(answer, DASHBOARD_RESOURCES),
    }
    sections = cast("Mapping[str, r.Section]", parts)
    estimated = [f"{name}.{key}" for name, section in sections.items() for key in section["estimated"]]
    return {
        "feature": feature,
        "hours": hours,
        "generated_at": _iso(answer.period.end),
        "exact": not estimated,
        **parts,
        **_result(answer, any(section["has_data"] for section in sections.values()), estimated),
    }


@_fit_for_json
def daily(table: DayTable) -> list[r.DailyRow]:
    """Return the rows of the daily table in the documented columns, in the units that callers recorded with."""
    units = CallersUnits(table.units, _METRIC)
    rows: list[r.DailyRow] = []
    for key, known in sorted(table.rows.items()):
        restored, unit = daily_row(key, known, units)
        whole = table.known_of(key)
        row: r.DailyRow = {
            "date": table.day.isoformat(),
            "feature": key.feature,
            "metric_type": key.metric_type,
            "metric_name": key.metric_name,
            "avg_value": _number(restored.avg),
            "min_value": _number(restored.min),
            "max_value": _number(restored.max),
            "stddev": _number(restored.stddev),
            "count": restored.count,
            "percentile_50": _number(restored.p50),
            "percentile_95": _number(restored.p95),
            "percentile_99": _number(restored.p99),
            "unit": unit,
            "partial": table.partial,
            "instances": whole.instances,
            "complete": whole.complete,
            "reason": "; ".join(whole.reasons),
            "source": table.source,
            "estimated": [name for name, column in c.DAILY_TABLE.items() if column.field in restored.estimated],
        }
        if table.warnings:
            row["warnings"] = list(table.warnings)
        rows.append(row)
    return rows


def _result(answer: Answer, has_data: object, estimated: Iterable[str]) -> r.Result:
    """Return what every result says of itself."""
    result: r.Result = {
        "has_data": bool(has_data),
        "source": answer.source,
        "window": {"start": _iso(answer.period.start), "end": _iso(answer.period.end)},
        "scope": dict(answer.scope),
        "estimated": sorted(estimated),
    }
    if answer.warnings:
        result["warnings"] = list(answer.warnings)
    return result


def _about(answer: Answer, body: r.Section) -> r.Result:
    return _result(answer, body["has_data"], body["estimated"])


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when, timezone.utc).isoformat(timespec="milliseconds")


# ------------------------------------------------------------------------------------------------------------ sections


def performance_section(answer: Answer) -> r.PerformanceSection:
    """Return values by metric category."""
    units = CallersUnits((labels for labels, _ in answer.numbers("unit")), (c.METRIC_CATEGORY.name,))
    found: defaultdict[str, list[r.UnitStatistics]] = defaultdict(list)
    estimated: set[str] = set()
    for name, metric in PERFORMANCE.items():
        for labels, summary in answer.distributions(name):
            # Times are in milliseconds whatever they were recorded in: that is what thresholds are written for.
            unit = MILLISECONDS if metric is c.PERFORMANCE_DURATION else units.unit(metric, labels)
            known = summary.statistics().map(unit.from_base)
            found[labels.get(c.METRIC_CATEGORY.name, "")].append({**_statistics(known), "unit": unit.name})
            estimated |= known.estimated
    categories: dict[str, r.CategoryStatistics] = {}
    for category, entries in sorted(found.items()):
        first, *others = sorted(entries, key=lambda entry: -entry["count"])
        # One category can hold values of unlike units, which have no common average.
        categories[category] = {**first, "other_units": others} if others else cast("r.CategoryStatistics", first)
    return {"categories": categories, "has_data": bool(categories), "estimated": sorted(estimated)}


def satisfaction_section(answer: Answer) -> r.SatisfactionSection:
    """Return scores on a scale of 0 to 1, and the share of them at or above the threshold."""
    scores = _by(answer, "score", c.SATISFACTION_TYPE.name)
    responses: defaultdict[str, float] = defaultdict(float)
    satisfied: defaultdict[str, float] = defaultdict(float)
    for labels, number in answer.numbers("responses"):
        kind = labels.get(c.SATISFACTION_TYPE.name, "")
        responses[kind] += number
        satisfied[kind] += number if labels.get(c.SATISFIED.name) == _SATISFIED else 0
    doubtful = {labels.get(c.SATISFACTION_TYPE.name, ""): number for labels, number in answer.numbers("doubtful")}
    known = _together(scores.values())
    return {
        **_scores(known),
        "total_responses": round(sum(responses.values())),
        "satisfied_responses": round(sum(satisfied.values())),
        "satisfaction_rate": _rate(sum(satisfied.values()), sum(responses.values())),
        "doubtful_responses": round(sum(doubtful.values())),
        "by_type": {
            kind: {
                "total_responses": round(number),
                "satisfaction_rate": _rate(satisfied[kind], number),
                "doubtful_responses": round(doubtful.get(kind, 0)),
                **_scores(_known(scores.get(kind))),
            }
            for kind, number in sorted(responses.items())
            if number
        },
        "has_data": sum(responses.values()) > 0,
        "estimated": _estimated(known, "{}_score"),
    }


def usage_section(answer: Answer) -> r.UsageSection:
    """Return uses, outcomes, and durations in milliseconds."""
    durations = _by(answer, "usage_duration", c.ACTION.name)
    outcomes: defaultdict[str, float] = defaultdict(float)
    actions: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    failures: defaultdict[str, float] = defaultdict(float)
    for labels, number in answer.numbers("usage"):
        outcomes[labels.get(c.OUTCOME.name, "")] += number
        actions[labels.get(c.ACTION.name, "")][labels.get(c.OUTCOME.name, "")] += number
        failures[labels.get(c.ERROR_TYPE.name, "")] += number
    failures.pop("", None)
    known = _together(durations.values())
    return {
        **_outcomes(outcomes),
        **_durations(known),
        "by_action": {
            action: {**_outcomes(counted), **_durations(_known(durations.get(action)))}
            for action, counted in sorted(actions.items())
            if sum(counted.values())
        },
        "by_error_type": _counts(failures),
        "has_data": sum(outcomes.values()) > 0,
        "estimated": _estimated(known, "{}_duration_ms"),
    }


def error_section(answer: Answer) -> r.ErrorSection:
    """Return errors, and how often recovery worked."""
    rows = answer.numbers("errors")
    totals: dict[str, defaultdict[str, float]] = {}
    for label in (c.SEVERITY, c.ERROR_TYPE, c.IMPACT_LEVEL, c.RECOVERY):
        totals[label.name] = defaultdict(float)
        for labels, number in rows:
            totals[label.name][labels.get(label.name, "")] += number
    recovered, failed = totals[c.RECOVERY.name]["succeeded"], totals[c.RECOVERY.name]["failed"]
    return {
        "total_errors": round(sum(number for _, number in rows)),
        "recovery_attempts": round(recovered + failed),
        "recovered": round(recovered),
        "recovery_rate": _rate(recovered, recovered + failed),
        "by_severity": _counts(totals[c.SEVERITY.name]),
        "by_type": _counts(totals[c.ERROR_TYPE.name]),
        "by_impact": _counts(totals[c.IMPACT_LEVEL.name]),
        "has_data": bool(rows),
        "estimated": [],
    }


def learning_section(answer: Answer) -> r.LearningSection:
    """Return how well things were learnt."""
    summaries = {name: _by(answer, name, c.LEARNING_TYPE.name) for name in ("accuracy", "confidence", "improvement")}
    samples: defaultdict[str, float] = defaultdict(float)
    for labels, number in answer.numbers("samples"):
        samples[labels.get(c.LEARNING_TYPE.name, "")] += number
    types = sorted({*(kind for found in summaries.values() for kind in found), *(k for k, n in samples.items() if n)})
    accuracy, confidence, improvement = (_together(found.values()) for found in summaries.values())
    return {
        "total_samples": round(sum(samples.values())),
        **_learning(accuracy, confidence, improvement),
        "by_type": {
            kind: {
                "total_samples": round(samples[kind]),
                **_learning(*(_known(found.get(kind)) for found in summaries.values())),
            }
            for kind in types
        },
        "has_data": bool(types),
        "estimated": [
            *_estimated(accuracy, "{}_accuracy"),
            *_estimated(confidence, "{}_confidence"),
            *_estimated(improvement, "{}_improvement_rate"),
        ],
    }


def optimization_section(answer: Answer) -> r.OptimizationSection:
    """Return what optimizations changed."""
    changes, impacts = (_by(answer, name, c.IMPACT_CATEGORY.name) for name in ("change", "user_impact"))
    categories = sorted({*changes, *impacts})
    change, impact = _together(changes.values()), _together(impacts.values())
    return {
        "total_optimizations": change.count,
        **_changes(change, impact),
        "by_category": {
            category: {
                "total_optimizations": changes[category].count if category in changes else 0,
                **_changes(_known(changes.get(category)), _known(impacts.get(category))),
            }
            for category in categories
        },
        "has_data": bool(categories),
        "estimated": [*_estimated(change, "{}_change"), *_estimated(impact, "{}_user_impact")],
    }


def resource_section(answer: Answer, most: int | None = None) -> r.ResourceSection:
    """Return the last known state of every resource, or of so many, the fullest first.

    Only here they can be left out: the fullest are not those of which most is allocated, and each is to be shown whole.
    """
    states: dict[tuple[str, str], r.ResourceState] = {}

    def state(labels: Mapping[str, str]) -> r.ResourceState:
        kind, name = labels.get(c.RESOURCE_TYPE.name, ""), labels.get(c.RESOURCE_NAME.name, "")
        unknown: r.ResourceState = {
            "resource_type": kind,
            "resource_name": name,
            "utilization_percent": nan,
            "allocated": nan,
            "used": nan,
            "unit": "",
        }
        return states.setdefault((kind, name), unknown)

    size = BASE[c.PERFORMANCE_SIZE].name
    for suffix in ("", "_value"):
        for labels, value in answer.numbers(f"allocated{suffix}"):
            state(labels).update({"allocated": value, "unit": labels.get(c.UNIT.name, size)})
        for labels, value in answer.numbers(f"used{suffix}"):
            state(labels).update({"used": value, "unit": labels.get(c.UNIT.name, size)})
    for labels, value in answer.numbers("utilization"):
        state(labels)["utilization_percent"] = value * 100
    found = [row for _, row in sorted(states.items())]
    found.sort(key=lambda row: -row["utilization_percent"] if row["utilization_percent"] >= 0 else 1)
    return {"resources": found[:most], "has_data": bool(found), "estimated": []}


# --------------------------------------------------------------------------------------------------------- parts of these


def _by(answer: Answer, name: str, label: str) -> dict[str, ValueSummary]:
    return {labels.get(label, ""): summary for labels, summary in answer.distributions(name)}


def _together(summaries: Iterable[ValueSummary]) -> Statistics:
    """Return the statistics of all values of several summaries."""
    whole: ValueSummary | None = None
    for summary in summaries:
        whole = summary if whole is None else whole.plus(summary)
    return _known(whole)


def _known(summary: ValueSummary | None) -> Statistics:
    return summary.statistics() if summary is not None else Statistics()


def _statistics(known: Statistics) -> r.ValueStatistics:
    return cast("r.ValueStatistics", {"count": known.count, **_named(known, "{}")})


def _scores(known: Statistics) -> r.ScoreStatistics:
    return cast("r.ScoreStatistics", _named(known, "{}_score"))


def _durations(known: Statistics) -> r.DurationStatistics:
    return cast("r.DurationStatistics", _named(known, "{}_duration_ms", MILLISECONDS.from_base))


def _learning(accuracy: Statistics, confidence: Statistics, improvement: Statistics) -> r.LearningStatistics:
    named = {
        **_named(accuracy, "{}_accuracy"),
        **_named(confidence, "{}_confidence"),
        **_named(improvement, "{}_improvement_rate", minus_one),
    }
    return cast("r.LearningStatistics", named)


def _changes(change: Statistics, impact: Statistics) -> r.ChangeStatistics:
    return cast("r.ChangeStatistics", {**_named(change, "{}_change"), **_named(impact, "{}_user_impact")})


def _named(known: Statistics, pattern: str, restore: Converter | None = None) -> dict[str, float]:
    """Return statistics under names made from ``pattern``."""
    restored = asdict(known.map(restore) if restore else known)
    return {pattern.format(field): _number(restored[field]) for field in _VALUES}


def _estimated(known: Statistics, pattern: str) -> list[str]:
    """Return the names, made from ``pattern``, of what is an estimate."""
    return [pattern.format(field) for field in _VALUES if field in known.estimated]


def _outcomes(counted: Mapping[str, float]) -> r.Outcomes:
    success, failure = counted.get("success", 0), counted.get("failure", 0)
    return {
        "total_usage": round(sum(counted.values())),
        "successful": round(success),
        "failed": round(failure),
        # Uses whose success is unknown count as used, neither as success nor as failure.
        "success_rate": _rate(success, success + failure),
    }


def _number(value: float | None) -> float:
    return nan if value is None else value


def _rate(part: float, whole: float) -> float:
    return part / whole if whole else nan


def _counts(numbers: Mapping[str, float]) -> dict[str, int]:
    return {name: round(number) for name, number in sorted(numbers.items()) if number}
