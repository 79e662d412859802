"""What OpenTelemetry does not promise: aggregations that take many values at once, points read where they are, their views."""

from __future__ import annotations
