"""Celery: every run of a task as one use of a feature.

    from otel_metrics.integrations.celery import track_tasks

    track_tasks("jobs")        # in the module that workers load

The worker's main process serves for all its children: docs/guides/celery.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import signals

from otel_metrics.facade.advanced import AdvancedMetrics

if TYPE_CHECKING:
    from otel_metrics.facade.tracking import Use

__all__ = ["track_tasks"]


def track_tasks(feature: str, *, record_exception: bool = False) -> None:
    """Record each run of a task as one use of ``feature``, with the name of the task as action; call it once.

    A run that Celery repeats later (``retry``), or that ends by ``Ignore`` or ``Reject``, has an unknown outcome, with that state as
    ``error_type``. Every attempt is a use.

    Args:
        feature: what the tasks are uses of.
        record_exception: record what a task fails with as an error, too.
    """
    metrics = AdvancedMetrics()

    def starts(task: Any, **_: Any) -> None:
        # With the request: the id is that of all attempts, and the next one may begin before this one has ended.
        task.request.otel_metrics_use = metrics.track(feature, task.name, record_exception=record_exception).__enter__()

    def ends(task: Any, state: str | None, retval: object, **_: Any) -> None:
        use: Use | None = getattr(task.request, "otel_metrics_use", None)
        if use is None:  # it was running already when this was called
            return
        error = retval if state == "FAILURE" and isinstance(retval, BaseException) else None
        if error is None and state != "SUCCESS":
            use.success, use.error_type = None, state
        use.__exit__(None if error is None else type(error), error, None)

    signals.task_prerun.connect(starts, weak=False)
    signals.task_postrun.connect(ends, weak=False)
