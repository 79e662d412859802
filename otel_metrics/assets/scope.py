"""The labels that tell applications apart, and whatever else shall not be added up: environments, clusters.

Rules and alerts keep them, dashboards have a variable for each, links carry them along.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from otel_metrics.catalogue import (
    CATALOGUE,
    IMPACT_CATEGORY,
    LEARNING_TYPE,
    METRIC_CATEGORY,
    METRIC_NAME,
    METRIC_TYPE,
    RESOURCE_TYPE,
    SATISFACTION_TYPE,
)
from otel_metrics.errors import ConfigurationError
from otel_metrics.promql import INSTANCE, JOB

if TYPE_CHECKING:
    from collections.abc import Iterable

Labels = tuple[str, ...]

SCOPE: Final[Labels] = (JOB,)
"""What is shipped."""

_VARIABLES: Final = {
    IMPACT_CATEGORY.name: "impact",
    LEARNING_TYPE.name: "learning",
    METRIC_CATEGORY.name: "category",
    METRIC_NAME.name: "name",
    METRIC_TYPE.name: "type",
    RESOURCE_TYPE.name: "resource",
    SATISFACTION_TYPE.name: "score",
    "service_level": "level",
}
"""Short, as queries repeat them; no two are the same, as the menu carries what is chosen from one dashboard to the next."""


def variable(label: str) -> str:
    """Return the name of the variable of a label beside the scope: the label's own, or a shorter one."""
    return _VARIABLES.get(label, label)


_NAME: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_TAKEN: Final = {
    *(label.name for metric in CATALOGUE for label in metric.labels),
    *_VARIABLES,
    *_VARIABLES.values(),
    *("alertname", "alertstate", "datasource", "histogram", "instance", "kind", "le", INSTANCE),
}
"""Labels that mean something else in rules, alerts or dashboards."""


def with_labels(more: Iterable[str]) -> Labels:
    """Return the labels that are shipped and ``more``.

    Raises:
        ConfigurationError: one of them cannot be such a label; the message says why.
    """
    names = dict.fromkeys((*SCOPE, *more))
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} is no label's name: letters, digits and _ make one, no digit first, no __ first"
            )
        if name in _TAKEN:
            raise ConfigurationError(f"{name!r} cannot be kept apart: it has a meaning of its own in the rules")
    return tuple(names)


def in_annotations(scope: Iterable[str], *others: str) -> str:
    """Return the variables of a link to a dashboard, as the annotation of an alert that has the labels of the scope, and others."""
    names = {**{label: label for label in scope}, **{label: variable(label) for label in others}}
    return "?" + "&".join(f"var-{name}={{{{ $labels.{label} | urlquery }}}}" for label, name in names.items())
