"""Rules, alerts and dashboards, generated from the catalogue. Pure functions; only :mod:`~otel_metrics.assets.render` writes.

``recording`` and ``daily`` yield recording rules, ``feature_alerts`` and ``telemetry_alerts`` alerts, ``service_levels``
both, ``dashboards`` the pictures. What they share: ``promql`` builds expressions, ``thresholds`` holds every number that
somebody may want to change, ``rulefile`` writes YAML.
"""

from __future__ import annotations
