"""Service levels: what users may expect of each feature, as rules and alerts on the error budget.

``levels`` says what a level is, ``reading`` reads files of ours, ``foreign`` those of Sloth and OpenSLO, ``rules`` writes
what is recorded and when somebody is told. The dashboard is among the others.
"""

from __future__ import annotations

from otel_metrics.assets.service_levels.levels import Kind, Level, ServiceLevels
from otel_metrics.assets.service_levels.reading import FILE, below, read, shipped
from otel_metrics.assets.service_levels.rules import groups

__all__ = ["FILE", "Kind", "Level", "ServiceLevels", "below", "groups", "read", "shipped"]
