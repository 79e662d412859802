"""The documented tracker API on OpenTelemetry, Prometheus and Grafana."""

from __future__ import annotations
