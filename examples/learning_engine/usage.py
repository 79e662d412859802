"""How this application records the use of a feature: one context manager, used everywhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_metrics import get_advanced_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Use:
    """One use of an action; set ``success`` to ``None`` when nobody can tell."""

    started: float
    success: bool | None = True
    error_type: str | None = None
    duration_ms: float = 0.0


@contextmanager
def used(feature: str, action: str, *, user_context: str | None = None) -> Iterator[Use]:
    """Time the body and record it as a use of ``action``; an exception makes it a failure and goes on to the caller."""
    use = Use(time.perf_counter())
    try:
        yield use
    except Exception as error:
        use.success, use.error_type = False, type(error).__name__
        raise
    finally:
        use.duration_ms = (time.perf_counter() - use.started) * 1000
        get_advanced_metrics().record_feature_usage(
            feature=feature,
            action=action,
            duration_ms=use.duration_ms,
            success=use.success,
            error_type=use.error_type,
            user_context=user_context,
        )
