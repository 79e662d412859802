"""Tasks as uses: a real worker with threads, and a broker in memory."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Ignore

from otel_metrics import testing
from otel_metrics.integrations.celery import track_tasks

app: Any = Celery("shop", broker="memory://")
app.conf.update(
    broker_transport_options={"polling_interval": 0.01},
    worker_prefetch_multiplier=0,
    worker_timer_precision=0.01,
)
done = threading.Semaphore(0)


@app.task(name="shop.deliver")  # type: ignore[untyped-decorator]
def deliver(order: int) -> int:
    if order % 5 == 0:
        raise LookupError(order)
    return order


@app.task(name="shop.ask_again", bind=True, max_retries=1)  # type: ignore[untyped-decorator]
def ask_again(self: Any) -> str:
    if self.request.retries < 1:
        raise self.retry(countdown=0)
    return "answered"


@app.task(name="shop.forget")  # type: ignore[untyped-decorator]
def forget() -> None:
    raise Ignore


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_a_worker_records_every_run_of_a_task() -> None:
    def ended(**_: Any) -> None:
        done.release()

    def own_logging(**_: Any) -> None:
        """Leave logging as other tests want it: who listens has set it up."""

    with testing.recording() as metrics:
        signals.setup_logging.connect(own_logging)
        track_tasks("jobs", record_exception=True)
        signals.task_postrun.connect(ended)
        with start_worker(app, pool="threads", concurrency=4, perform_ping_check=False):
            for order in range(100):
                deliver.delay(order)
            ask_again.delay()
            forget.delay()
            for _ in range(100 + 2 + 1):
                assert done.acquire(timeout=300)
        metrics.assert_value("feature_usage_total", 80, feature="jobs", action="shop.deliver", outcome="success")
        metrics.assert_value("feature_usage_total", 20, action="shop.deliver", error_type="LookupError")
        metrics.assert_value("feature_usage_total", 1, action="shop.ask_again", outcome="unknown", error_type="RETRY")
        metrics.assert_value("feature_usage_total", 1, action="shop.ask_again", outcome="success")
        metrics.assert_value("feature_usage_total", 1, action="shop.forget", outcome="unknown", error_type="IGNORED")
        metrics.assert_value("feature_usage_total", 103)
        metrics.assert_value("feature_usage_duration_seconds_count", 103)
        metrics.assert_value("feature_errors_total", 20)
