"""Every label, its closed domain or its cap."""

from __future__ import annotations

from otel_metrics.catalogue.schema import Label

FEATURE = Label("feature", cap=200)
CONTEXT = Label("context", cap=20)
UNIT = Label("unit", cap=20)
SIGN = Label("sign", ("positive", "negative"))
METRIC_CATEGORY = Label("metric_category", cap=50)
METRIC_NAME = Label("metric_name", cap=500)
SATISFACTION_TYPE = Label("satisfaction_type", cap=50)
SATISFIED = Label("satisfied", ("true", "false"))
ACTION = Label("action", cap=200)
OUTCOME = Label("outcome", ("success", "failure", "unknown"))
ERROR_TYPE = Label("error_type", cap=200)
SEVERITY = Label("severity", ("critical", "error", "warning", "info"))
IMPACT_LEVEL = Label("impact_level", ("high", "medium", "low", "unknown"))
RECOVERY = Label("recovery", ("none", "failed", "succeeded"))
LEARNING_TYPE = Label("learning_type", cap=50)
IMPACT_CATEGORY = Label("impact_category", cap=50)
OPTIMIZATION_ID = Label("optimization_id", cap=200)
RESOURCE_TYPE = Label("resource_type", cap=20)
RESOURCE_NAME = Label("resource_name", cap=200)
METRIC_TYPE = Label("metric_type", cap=500)
DAY = Label("day", ("current", "previous"))
CALL = Label("call", cap=50)
REASON = Label("reason", cap=50)
LABEL = Label("label", cap=50)
