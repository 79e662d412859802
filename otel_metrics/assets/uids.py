"""Identities that links, alerts and bookmarks rely on; changing one breaks them."""

from __future__ import annotations

from typing import Final

DATASOURCE: Final = "otel-metrics-prometheus"
"""The uid in grafana/provisioning/datasources."""

OVERVIEW: Final = "otel-metrics-overview"
FEATURE: Final = "otel-metrics-feature"
PRODUCT: Final = "otel-metrics-product"
PERFORMANCE: Final = "otel-metrics-performance"
SATISFACTION: Final = "otel-metrics-satisfaction"
USAGE: Final = "otel-metrics-usage"
LEARNING: Final = "otel-metrics-learning"
OPTIMIZATION: Final = "otel-metrics-optimization"
RESOURCES: Final = "otel-metrics-resources"
ERRORS: Final = "otel-metrics-errors"
DAILY: Final = "otel-metrics-daily"
SERVICE_LEVELS: Final = "otel-metrics-service-levels"
TELEMETRY: Final = "otel-metrics-telemetry"
RUNBOOK: Final = "otel-metrics-runbook"
