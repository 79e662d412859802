"""The parts of the documented dashboard, each of which is also the body of a getter's result."""

from __future__ import annotations

from collections import defaultdict
from math import nan
from typing import TYPE_CHECKING, Any, Final

from otel_metrics import catalogue as c
from otel_metrics.querying.plans import PERFORMANCE
from otel_metrics.querying.restore import BASE, CallersUnits, minus_one
from otel_metrics.querying.statistics import Statistics
from otel_metrics.units import MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from otel_metrics.querying.source import Answer
    from otel_metrics.querying.statistics import Digest

    Result = dict[str, Any]

_VALUES: Final = ("avg", "min", "max", "stddev", "p50", "p95", "p99")
_SATISFIED: Final = c.SATISFIED.values[0]
DASHBOARD_RESOURCES: Final = 100
"""Resources that a dashboard shows, the fullest ones."""


def performance(answer: Answer) -> Result:
    """Return values by metric category."""
    units = CallersUnits((labels for labels, _ in answer.numbers("unit")), (c.METRIC_CATEGORY.name,))
    found: defaultdict[str, list[Result]] = defaultdict(list)
    estimated: set[str] = set()
    for name, metric in PERFORMANCE.items():
        for labels, digest in answer.digests(name):
            # Times are in milliseconds whatever they were recorded in: that is what thresholds are written for.
            unit = MILLISECONDS if metric is c.PERFORMANCE_DURATION else units.unit(metric, labels)
            known = digest.statistics().map(unit.from_base)
            found[labels.get(c.METRIC_CATEGORY.name, "")].append(statistics(known) | {"unit": unit.name})
            estimated |= known.estimated
    categories: dict[str, Result] = {}
    for category, entries in sorted(found.items()):
        first, *others = sorted(entries, key=lambda entry: -entry["count"])
        # One category can hold values of unlike units, which have no common average.
        categories[category] = first | ({"other_units": others} if others else {})
    return {"categories": categories, "has_data": bool(categories), "estimated": sorted(estimated)}


def satisfaction(answer: Answer) -> Result:
    """Return scores on a scale of 0 to 1, and the share of them at or above the threshold."""
    scores = _by(answer, "score", c.SATISFACTION_TYPE.name)
    responses: defaultdict[str, float] = defaultdict(float)
    satisfied: defaultdict[str, float] = defaultdict(float)
    for labels, number in answer.numbers("responses"):
        kind = labels.get(c.SATISFACTION_TYPE.name, "")
        responses[kind] += number
        satisfied[kind] += number if labels.get(c.SATISFIED.name) == _SATISFIED else 0
    body, estimated = _named(_all(scores.values()), "{}_score")
    return {
        **body,
        "total_responses": _count(sum(responses.values())),
        "satisfied_responses": _count(sum(satisfied.values())),
        "satisfaction_rate": _rate(sum(satisfied.values()), sum(responses.values())),
        "by_type": {
            kind: {
                "total_responses": _count(number),
                "satisfaction_rate": _rate(satisfied[kind], number),
                **_named(scores.get(kind), "{}_score")[0],
            }
            for kind, number in sorted(responses.items())
            if number
        },
        "has_data": sum(responses.values()) > 0,
        "estimated": estimated,
    }


def usage(answer: Answer) -> Result:
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
    body, estimated = _named(_all(durations.values()), "{}_duration_ms", MILLISECONDS.from_base)
    return {
        **_outcomes(outcomes),
        **body,
        "by_action": {
            action: _outcomes(counted) | _named(durations.get(action), "{}_duration_ms", MILLISECONDS.from_base)[0]
            for action, counted in sorted(actions.items())
            if sum(counted.values())
        },
        "by_error_type": _counts(failures),
        "has_data": sum(outcomes.values()) > 0,
        "estimated": estimated,
    }


def _outcomes(counted: Mapping[str, float]) -> Result:
    success, failure = counted.get("success", 0), counted.get("failure", 0)
    return {
        "total_usage": _count(sum(counted.values())),
        "successful": _count(success),
        "failed": _count(failure),
        # Uses whose success is unknown count as used, neither as success nor as failure.
        "success_rate": _rate(success, success + failure),
    }


def errors(answer: Answer) -> Result:
    """Return errors, and how often recovery worked."""
    rows = answer.numbers("errors")
    totals: dict[str, defaultdict[str, float]] = {}
    for label in (c.SEVERITY, c.ERROR_TYPE, c.IMPACT_LEVEL, c.RECOVERY):
        totals[label.name] = defaultdict(float)
        for labels, number in rows:
            totals[label.name][labels.get(label.name, "")] += number
    recovered, failed = totals[c.RECOVERY.name]["succeeded"], totals[c.RECOVERY.name]["failed"]
    return {
        "total_errors": _count(sum(number for _, number in rows)),
        "recovery_attempts": _count(recovered + failed),
        "recovered": _count(recovered),
        "recovery_rate": _rate(recovered, recovered + failed),
        "by_severity": _counts(totals[c.SEVERITY.name]),
        "by_type": _counts(totals[c.ERROR_TYPE.name]),
        "by_impact": _counts(totals[c.IMPACT_LEVEL.name]),
        "has_data": bool(rows),
        "estimated": [],
    }


def learning(answer: Answer) -> Result:
    """Return how well things were learnt."""
    kinds: tuple[tuple[str, str, Callable[[float], float] | None], ...] = (
        ("accuracy", "{}_accuracy", None),
        ("confidence", "{}_confidence", None),
        ("improvement", "{}_improvement_rate", minus_one),
    )
    digests = {name: _by(answer, name, c.LEARNING_TYPE.name) for name, _, _ in kinds}
    samples: defaultdict[str, float] = defaultdict(float)
    for labels, number in answer.numbers("samples"):
        samples[labels.get(c.LEARNING_TYPE.name, "")] += number
    types = sorted({*(kind for found in digests.values() for kind in found), *(k for k, n in samples.items() if n)})
    body: Result = {"total_samples": _count(sum(samples.values()))}
    by_type: dict[str, Result] = {kind: {"total_samples": _count(samples[kind])} for kind in types}
    estimated: list[str] = []
    for name, pattern, restore in kinds:
        values, uncertain = _named(_all(digests[name].values()), pattern, restore)
        body |= values
        estimated += uncertain
        for kind in types:
            by_type[kind] |= _named(digests[name].get(kind), pattern, restore)[0]
    return body | {"by_type": by_type, "has_data": bool(types), "estimated": estimated}


def optimization(answer: Answer) -> Result:
    """Return what optimizations changed."""
    changes, impacts = _by(answer, "change", c.IMPACT_CATEGORY.name), _by(answer, "user_impact", c.IMPACT_CATEGORY.name)
    body: Result = {"total_optimizations": sum(digest.count for digest in changes.values())}
    estimated: list[str] = []
    by_category: dict[str, Result] = {
        category: {"total_optimizations": changes[category].count if category in changes else 0}
        for category in sorted({*changes, *impacts})
    }
    for digests, pattern in ((changes, "{}_change"), (impacts, "{}_user_impact")):
        values, uncertain = _named(_all(digests.values()), pattern)
        body |= values
        estimated += uncertain
        for category in by_category:
            by_category[category] |= _named(digests.get(category), pattern)[0]
    return body | {"by_category": by_category, "has_data": bool(by_category), "estimated": estimated}


def resources(answer: Answer, most: int | None = None) -> Result:
    """Return the last known state of every resource, or of so many, the fullest first.

    Only here they can be left out: the fullest are not those of which most is allocated, and each is to be shown whole.
    """
    states: defaultdict[tuple[str, str], Result] = defaultdict(dict)
    for name, key in (
        ("allocated", "allocated"),
        ("used", "used"),
        ("allocated_value", "allocated"),
        ("used_value", "used"),
    ):
        for labels, value in answer.numbers(name):
            unit = labels.get(c.UNIT.name, BASE[c.PERFORMANCE_SIZE].name)
            states[_resource(labels)] |= {key: value, "unit": unit}
    for labels, value in answer.numbers("utilization"):
        states[_resource(labels)]["utilization_percent"] = value * 100
    blank: Result = {"utilization_percent": nan, "allocated": nan, "used": nan, "unit": ""}
    found: list[Result] = [
        {c.RESOURCE_TYPE.name: kind, c.RESOURCE_NAME.name: name} | blank | state
        for (kind, name), state in sorted(states.items())
    ]
    found.sort(key=lambda row: -row["utilization_percent"] if row["utilization_percent"] >= 0 else 1)
    return {"resources": found[:most], "has_data": bool(found), "estimated": []}


def _resource(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get(c.RESOURCE_TYPE.name, ""), labels.get(c.RESOURCE_NAME.name, "")


def _by(answer: Answer, name: str, label: str) -> dict[str, Digest]:
    return {labels.get(label, ""): digest for labels, digest in answer.digests(name)}


def _all(digests: Iterable[Digest]) -> Digest | None:
    whole: Digest | None = None
    for digest in digests:
        whole = digest if whole is None else whole.plus(digest)
    return whole


def _named(
    digest: Digest | None, pattern: str, restore: Callable[[float], float] | None = None
) -> tuple[Result, list[str]]:
    """Return statistics under names made from ``pattern``, and which of these are estimates."""
    known = digest.statistics() if digest is not None else Statistics()
    if restore is not None:
        known = known.map(restore)
    values = {pattern.format(field): number(getattr(known, field)) for field in _VALUES}
    return values, [pattern.format(field) for field in _VALUES if field in known.estimated]


def statistics(known: Statistics) -> Result:
    """Return the fields of ``known`` under their names."""
    return {"count": known.count, **{field: number(getattr(known, field)) for field in _VALUES}}


def number(value: float | None) -> float:
    """Return ``value``, ``nan`` for none."""
    return nan if value is None else value


def _count(number: float) -> int | float:
    return round(number) if number == number else number  # noqa: PLR0124  # NaN stays what it is


def _rate(part: float, whole: float) -> float:
    return part / whole if whole else nan


def _counts(numbers: Mapping[str, float]) -> dict[str, int | float]:
    return {name: _count(number) for name, number in sorted(numbers.items()) if number}
