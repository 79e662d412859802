"""Grafana dashboards: ``model`` is Grafana's JSON, ``panels`` its kinds of panels, ``queries`` what panels ask; the other
modules are a dashboard each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_metrics.assets.dashboards import (
    daily,
    errors,
    feature,
    learning,
    optimization,
    overview,
    performance,
    product,
    resources,
    runbook,
    satisfaction,
    service_levels,
    telemetry,
    usage,
)
from otel_metrics.assets.dashboards.model import GENERATED
from otel_metrics.assets.dashboards.queries import Values
from otel_metrics.assets.scope import SCOPE
from otel_metrics.assets.service_levels import shipped

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Dashboard
    from otel_metrics.assets.scope import Labels
    from otel_metrics.assets.service_levels import ServiceLevels
    from otel_metrics.promql import Dialect

__all__ = ["GENERATED", "all_dashboards", "texts"]


def all_dashboards(dialect: Dialect, scope: Labels, levels: ServiceLevels) -> dict[str, Dashboard]:
    """Return every dashboard by the name of its file; without service levels theirs is left out."""
    values = (performance, satisfaction, usage, learning, optimization, resources, errors, daily)
    modules = (overview, feature, product, *values, telemetry, runbook)
    found = {module.__name__.rpartition(".")[2]: module.dashboard(Values(dialect, scope)) for module in modules}
    return {**found, "service_levels": service_levels.dashboard(levels, scope)} if levels.levels else found


def texts(dialect: Dialect, scope: Labels = SCOPE, levels: ServiceLevels | None = None) -> dict[str, str]:
    """Return the text of every dashboard's file, by its name without suffix. Without ``levels`` those shipped are taken."""
    found = all_dashboards(dialect, scope, levels or shipped())
    return {name: dashboard.text(scope) for name, dashboard in found.items()}
