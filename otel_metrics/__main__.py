"""``python -m otel_metrics``: the command ``otel-metrics``."""

from __future__ import annotations

import sys

from otel_metrics.cli import main

sys.exit(main())
