"""What a forked child renews, part by part: each is held by another thread, or full of the parent's, when the fork comes."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent, indent

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

PROGRAM = """
import faulthandler, os, sys, threading
import otel_metrics

def in_child(work):
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(20, exit=True)
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(pid, 0)[1]

def held(lock):
    "Have another thread hold a lock for good."
    taken = threading.Event()
    def hold():
        lock.acquire()
        taken.set()
        threading.Event().wait()
    threading.Thread(target=hold, daemon=True).start()
    taken.wait()

{prepare}

def child():
{child}

sys.exit(in_child(child) != 0)
"""


def run(prepare: str, child: str) -> None:
    program = PROGRAM.format(prepare=dedent(prepare), child=indent(dedent(child), "    "))
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_aggregations_that_another_thread_was_adding_to() -> None:
    run(
        """
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from otel_metrics.sdk.bulk import _Guard
        provider = MeterProvider([InMemoryMetricReader()], views=otel_metrics.views(), shutdown_on_exit=False)
        histogram = provider.get_meter("otel_metrics").create_histogram("feature_usage_duration")
        histogram.record(1.0)
        for guard in list(_Guard._all):
            held(guard.lock)
        """,
        "histogram.record(2.0)",
    )


def test_a_flusher_whose_lock_another_thread_held() -> None:
    run(
        """
        from opentelemetry.sdk.metrics import MeterProvider
        from otel_metrics.recording.flusher import Flusher
        meter = MeterProvider(shutdown_on_exit=False).get_meter("test")
        flusher = Flusher(meter, tick=None)
        held(flusher._lock)
        """,
        "flusher.flush()",
    )


def test_totals_of_the_day_are_the_childs_own() -> None:
    run(
        """
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        reader = InMemoryMetricReader()
        otel_metrics.configure(meter_provider=MeterProvider([reader], shutdown_on_exit=False))
        metrics = otel_metrics.get_advanced_metrics()
        metrics.record_feature_usage("forks", "parent", 10.0)
        metrics.aggregate_daily_metrics()
        """,
        """
        metrics.record_feature_usage("forks", "child", 10.0)
        found = [
            point.attributes["metric_name"]
            for resource in reader.get_metrics_data().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if metric.name == "feature.daily.values"
        ]
        assert found == ["child"], found
        """,
    )


def test_servers_are_the_parents() -> None:
    run(
        "handle = otel_metrics.serve(port=0)",
        """
        assert otel_metrics.serve(port=0).port != handle.port
        handle.close()  # does not wait for threads that are the parent's
        """,
    )


def test_the_runtime_records_and_reads_anew() -> None:
    run(
        """
        from otel_metrics import runtime
        metrics = otel_metrics.get_advanced_metrics()
        metrics.record_error("forks", "Timeout")
        held(runtime._lock)
        """,
        """
        metrics.record_error("forks", "Timeout")
        assert metrics.get_error_stats("forks")["total_errors"] == 1
        otel_metrics.shutdown()
        """,
    )


def test_parts_are_renewed_in_the_written_order_and_one_that_fails_does_not_keep_the_others() -> None:
    run(
        """
        import logging
        from otel_metrics import forks
        said, order = [], []
        class Keep(logging.Handler):
            def emit(self, record):
                said.append(record.getMessage())
        logging.getLogger("otel_metrics").addHandler(Keep())
        def fail():
            raise ValueError
        for part in reversed(forks.Part):
            forks.renew_after_fork(part, fail if part is forks.Part.TOTALS else lambda part=part: order.append(part.name))
        """,
        """
        assert order == ["AGGREGATIONS", "FLUSHERS", "SHARED_TOTALS", "SERVERS", "NEIGHBOURS", "ENDS", "RUNTIME"], order
        assert said == ["after a fork, TOTALS could not be renewed"], said
        """,
    )
