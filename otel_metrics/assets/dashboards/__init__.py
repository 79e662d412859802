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
    telemetry,
    usage,
)
from otel_metrics.assets.dashboards.model import GENERATED
from otel_metrics.assets.dashboards.queries import Values
from otel_metrics.assets.scope import SCOPE

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Dashboard
    from otel_metrics.assets.scope import Labels
    from otel_metrics.promql import Dialect

__all__ = ["GENERATED", "all_dashboards", "texts"]


def all_dashboards(dialect: Dialect, scope: Labels = SCOPE) -> dict[str, Dashboard]:
    """Return every dashboard by the name of its file."""
    values = (performance, satisfaction, usage, learning, optimization, resources, errors, daily)
    modules = (overview, feature, product, *values, telemetry, runbook)
    return {module.__name__.rpartition(".")[2]: module.dashboard(Values(dialect, scope)) for module in modules}


def texts(dialect: Dialect, scope: Labels = SCOPE) -> dict[str, str]:
    """Return the text of every dashboard's file, by its name without suffix."""
    return {name: dashboard.text(scope) for name, dashboard in all_dashboards(dialect, scope).items()}
