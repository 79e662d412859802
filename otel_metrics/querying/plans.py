"""What each getter asks, as data. Pure functions; :mod:`~otel_metrics.querying.results` reads the answers by the same names."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Final

from otel_metrics import catalogue as c
from otel_metrics.errors import InvalidArgumentError
from otel_metrics.label_text import LONGEST, printable, text_of
from otel_metrics.querying.source import DistributionQuery, LatestQuery, TotalQuery

if TYPE_CHECKING:
    from otel_metrics.catalogue import Label, Metric
    from otel_metrics.querying.source import Query

    Plan = dict[str, Query]
    Where = tuple[tuple[str, str], ...]

GENERAL: Final = "general"
"""The metric category of the basic collector."""

PERFORMANCE: Final[dict[str, Metric]] = {
    "duration": c.PERFORMANCE_DURATION,
    "size": c.PERFORMANCE_SIZE,
    "ratio": c.PERFORMANCE_RATIO,
    "rate": c.PERFORMANCE_RATE,
    "value": c.PERFORMANCE_VALUE,
}
"""Query name -> metric, of everything that performance values are recorded in."""

_ALL: Final = 10**9
"""More groups than there can be, and few enough for every server to count."""


def performance(feature: str | None = None, metric_category: str | None = None, limit: int = 1000) -> Plan:
    """Ask for one row per performance series."""
    where = _where("get_performance_metrics", (c.FEATURE, feature), (c.METRIC_CATEGORY, metric_category))
    return _performance(
        where, (c.FEATURE, c.METRIC_CATEGORY, c.METRIC_NAME, c.CONTEXT), _at_most("get_performance_metrics", limit)
    )


def metric_statistics(feature: str, metric_name: str) -> Plan:
    """Ask for everything that the basic collector records under a name."""
    where = _where("get_metric_statistics", (c.FEATURE, feature), (c.METRIC_NAME, metric_name))
    general = (*where, *_where("get_metric_statistics", (c.METRIC_CATEGORY, GENERAL)))
    return {
        **_performance(general, (c.FEATURE, c.METRIC_CATEGORY, c.METRIC_NAME)),
        "learning": DistributionQuery(c.LEARNING_VALUE, (), where),
        "optimization": DistributionQuery(c.OPTIMIZATION_VALUE, (), where),
    }


def satisfaction(feature: str | None = None, satisfaction_type: str | None = None) -> Plan:
    """Ask for scores and for who was satisfied, by satisfaction type."""
    where = _where("get_satisfaction_metrics", (c.FEATURE, feature), (c.SATISFACTION_TYPE, satisfaction_type))
    return {
        "score": DistributionQuery(c.SATISFACTION_SCORE, _names(c.SATISFACTION_TYPE), where),
        "responses": TotalQuery(c.SATISFACTION_RESPONSES, _names(c.SATISFACTION_TYPE, c.SATISFIED), where),
        "doubtful": TotalQuery(c.SATISFACTION_DOUBTFUL, _names(c.SATISFACTION_TYPE), where),
    }


def usage(feature: str | None = None) -> Plan:
    """Ask for uses and how long they took, by action."""
    where = _where("get_feature_usage_stats", (c.FEATURE, feature))
    return {
        "usage": TotalQuery(c.USAGE, _names(c.ACTION, c.OUTCOME, c.ERROR_TYPE), where),
        "usage_duration": DistributionQuery(c.USAGE_DURATION, _names(c.ACTION), where),
    }


def errors(feature: str | None = None) -> Plan:
    """Ask for errors by everything but the feature."""
    by = _names(c.ERROR_TYPE, c.SEVERITY, c.IMPACT_LEVEL, c.RECOVERY)
    return {"errors": TotalQuery(c.ERRORS, by, _where("get_error_stats", (c.FEATURE, feature)))}


def learning(feature: str | None = None, learning_type: str | None = None) -> Plan:
    """Ask how well things were learnt, by learning type."""
    where, by = (
        _where("get_learning_metrics", (c.FEATURE, feature), (c.LEARNING_TYPE, learning_type)),
        _names(c.LEARNING_TYPE),
    )
    return {
        "accuracy": DistributionQuery(c.LEARNING_ACCURACY, by, where),
        "confidence": DistributionQuery(c.LEARNING_CONFIDENCE, by, where),
        "improvement": DistributionQuery(c.LEARNING_IMPROVEMENT, by, where),
        "samples": TotalQuery(c.LEARNING_SAMPLES, by, where),
    }


def optimization(feature: str | None = None, impact_category: str | None = None, limit: int = 1000) -> Plan:
    """Ask what optimizations changed, by category, and for the values before and after of ``limit`` of them."""
    _at_most("get_optimization_metrics", limit)
    single = _names(c.FEATURE, c.OPTIMIZATION_ID, c.IMPACT_CATEGORY)
    where = _where("get_optimization_metrics", (c.FEATURE, feature), (c.IMPACT_CATEGORY, impact_category))
    return {
        **_changes(where),
        "before": LatestQuery(c.OPTIMIZATION_BEFORE, single, where),
        "after": LatestQuery(c.OPTIMIZATION_AFTER, single, where),
    }


def resources(resource_type: str | None = None, resource_name: str | None = None) -> Plan:
    """Ask for the state of resources."""
    where = _where("get_resource_metrics", (c.RESOURCE_TYPE, resource_type), (c.RESOURCE_NAME, resource_name))
    by = _names(c.RESOURCE_TYPE, c.RESOURCE_NAME)
    with_unit = (*by, c.UNIT.name)
    return {
        "utilization": LatestQuery(c.RESOURCE_UTILIZATION, by, where),
        "allocated": LatestQuery(c.RESOURCE_ALLOCATED, by, where),
        "used": LatestQuery(c.RESOURCE_USED, by, where),
        "allocated_value": LatestQuery(c.RESOURCE_ALLOCATED_VALUE, with_unit, where),
        "used_value": LatestQuery(c.RESOURCE_USED_VALUE, with_unit, where),
    }


def dashboard(feature: str | None = None) -> Plan:
    """Ask everything at once, in groups whose number, but for resources, does not grow with the number of series."""
    where = _where("get_comprehensive_dashboard", (c.FEATURE, feature))
    return {
        **_performance(where, (c.METRIC_CATEGORY,)),
        **satisfaction(feature),
        **usage(feature),
        **errors(feature),
        **learning(feature),
        **_changes(where),
        **resources(),
    }


def _performance(where: Where, by: tuple[Label, ...], limit: int = 0) -> Plan:
    plan: Plan = {}
    for name, metric in PERFORMANCE.items():
        labels = (*by, c.UNIT) if c.UNIT in metric.labels else by
        plan[name] = DistributionQuery(metric, _names(*labels), where, limit)
    known = tuple(label for label in by if label in c.PERFORMANCE_UNIT.labels)
    plan["unit"] = LatestQuery(c.PERFORMANCE_UNIT, _names(*known, c.UNIT), where)
    return plan


def _changes(where: Where) -> Plan:
    by = _names(c.IMPACT_CATEGORY)
    return {
        "change": DistributionQuery(c.OPTIMIZATION_CHANGE, by, where),
        "user_impact": DistributionQuery(c.OPTIMIZATION_USER_IMPACT, by, where),
    }


def _where(call: str, *filters: tuple[Label, object]) -> Where:
    where = []
    for label, value in filters:
        if value is None:
            continue
        text = text_of(value)
        if text is None:
            raise InvalidArgumentError(call, label.name, value, "type", "a string, or None for all")
        recorded = printable(text) if len(text) <= LONGEST else c.OTHER
        where.append((label.name, c.category_label(recorded) if label is c.METRIC_CATEGORY else recorded))
    return tuple(where)


def _at_most(call: str, limit: object) -> int:
    if isinstance(limit, bool) or not isinstance(limit, Integral) or int(limit) < 1:
        raise InvalidArgumentError(call, "limit", limit, "range", "an integer of at least 1")
    return min(int(limit), _ALL)


def _names(*labels: Label) -> tuple[str, ...]:
    return tuple(label.name for label in labels)
