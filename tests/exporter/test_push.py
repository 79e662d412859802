"""Push by OTLP: to a real VictoriaMetrics, and to a receiver that decodes what it gets."""

from __future__ import annotations

import math
import os
import random
import socket
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Buckets, ExponentialHistogramDataPoint
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource

from otel_metrics import configure, exporter, get_advanced_metrics, shutdown, views
from otel_metrics.exporter.push import otlp_reader, rescaled
from otel_metrics.sdk.bulk import BulkHistogramAggregation, BulkMeasurement
from otel_metrics.sdk.provider import resource
from tests.processes import DEADLINE

if TYPE_CHECKING:
    from tests.receiver import Receiver
    from tests.servers import Servers

BOTH = View(instrument_name="both", aggregation=BulkHistogramAggregation([0.1, 1.0], exponential=True))


def provider(reader: Any, **arguments: Any) -> MeterProvider:
    return MeterProvider(metric_readers=[reader], views=[BOTH], shutdown_on_exit=False, **arguments)


@pytest.mark.parametrize(("temporality", "second"), [("cumulative", 5), ("delta", 2), (None, 5)])
def test_cumulative_or_delta(receiver: Receiver, temporality: Any, second: int) -> None:
    pushing = provider(otlp_reader(receiver.url, temporality=temporality, headers={"x-team": "learning"}))
    meter = pushing.get_meter("tests")
    calls, queue = meter.create_counter("calls"), meter.create_up_down_counter("queue")
    both = meter.create_histogram("both", "s")
    for expected, amount in ((3, 3), (second, 2)):
        calls.add(amount)
        queue.add(amount)
        both.record(amount)
        pushing.force_flush()
        assert receiver.metrics()["calls"].sum.data_points[0].as_int == expected
    assert receiver.metrics()["queue"].sum.data_points[0].as_int == 5
    classic = receiver.metrics()["both"].histogram
    assert classic.data_points[0].count == (1 if temporality == "delta" else 2)
    assert list(classic.data_points[0].explicit_bounds) == [0.1, 1.0]
    assert classic.aggregation_temporality == (1 if temporality == "delta" else 2)
    assert receiver.headers[-1]["x-team"] == "learning"
    pushing.shutdown()


def test_deltas_that_are_not_taken_are_explained_once(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.status = 400
    for temporality, times in (("cumulative", 0), ("delta", 1)):
        pushing = provider(otlp_reader(receiver.url, temporality=temporality))  # type: ignore[arg-type]
        pushing.get_meter("tests").create_counter("calls").add(1)
        for _ in range(2):
            pushing.force_flush()
        pushing.shutdown()
        assert caplog.text.count("--enable-feature=otlp-deltatocumulative") == times


def test_exponential_histograms_at_a_fixed_scale(receiver: Receiver) -> None:
    pushing = provider(otlp_reader(receiver.url, histograms="exponential"))
    meter = pushing.get_meter("tests")
    plain, both = meter.create_histogram("plain", "s"), meter.create_histogram("both", "s")
    for values in ([1.0, 1.05], [1e-12, 1e12]):
        for value in values:
            plain.record(value)
            both.record(value)
        pushing.force_flush()
        for name in ("plain", "both"):
            point = receiver.metrics()[name].exponential_histogram.data_points[0]
            assert point.scale == 3
            assert point.count == sum(point.positive.bucket_counts)
    pushing.shutdown()


def test_settings_that_cannot_work() -> None:
    for wrong in (
        {"temporality": "sometimes"},
        {"histograms": "pretty"},
        {"max_scale": 21},
        {"max_scale": 3.5},
        {"timeout": -1},
        {"timeout": math.nan},
        {"interval": 0},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* is not allowed"):
            otlp_reader("http://127.0.0.1:1", **wrong)


def test_at_hand_where_the_reader_is_and_clear_about_what_it_needs() -> None:
    assert exporter.otlp_reader is otlp_reader
    code = "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http.metric_exporter'] = None\n"
    code += "from otel_metrics.exporter import PrometheusReader, otlp_reader"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: otlp_reader() needs its extra: pip install 'otel-metrics-bridge[otlp]'" in ended.stderr
    with pytest.raises(AttributeError, match="nothing"):
        exporter.nothing  # type: ignore[attr-defined]  # noqa: B018


@given(
    offset=st.integers(-500, 500),
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    scale=st.integers(0, 20),
    max_scale=st.integers(-2, 20),
)
def test_rescaling_moves_no_value_to_another_bucket(offset: int, counts: list[int], scale: int, max_scale: int) -> None:
    empty = Buckets(0, [0])
    point = ExponentialHistogramDataPoint(
        {}, 1, 2, sum(counts), 1.0, scale, 0, Buckets(offset, counts), empty, 0, 0.0, 1.0
    )
    made = rescaled(point, max_scale)
    assert made.scale == min(scale, max_scale)
    factor = 2 ** (scale - made.scale)
    expected: dict[int, int] = {}
    for index, count in enumerate(counts, offset):
        if count:
            expected[index // factor] = expected.get(index // factor, 0) + count
    found = {index: count for index, count in enumerate(made.positive.bucket_counts, made.positive.offset) if count}
    assert found == expected


FORKING = """
import os
from otel_metrics import configure, get_advanced_metrics, runtime, shutdown

configure(otlp="delta")
get_advanced_metrics().record_feature_usage("of the parent", "search", 1.0, True)
parents = runtime.current()
if child := os.fork():
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))  # before it has pushed anything itself
get_advanced_metrics().record_feature_usage("of the child", "search", 1.0, True)
parents._private.force_flush()  # what the SDK's thread does there, sooner or later
shutdown()
os._exit(0)
"""


def test_a_forked_child_pushes_its_own_numbers_once_and_never_its_parents(receiver: Receiver) -> None:
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": receiver.url}
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING], env=environment, check=True)
    found = Counter[str]()
    for request in receiver.requests:
        for scope in request.resource_metrics[0].scope_metrics:
            for metric in scope.metrics:
                if metric.name == "feature.usage":
                    for point in metric.sum.data_points:
                        (feature,) = (each.value.string_value for each in point.attributes if each.key == "feature")
                        found[feature] += point.as_int
    assert found == {"of the child": 1}


def test_victoria_metrics_answers_what_was_pushed(servers: Servers) -> None:
    victoria = servers.victoria_metrics(flags=["-opentelemetry.usePrometheusNaming"])
    rng = random.Random(5)
    values = sorted(rng.lognormvariate(-2, 1) for _ in range(20_000))
    for instance in ("one", "two"):
        resource = Resource({"service.name": "shop", "service.instance.id": instance})
        pushing = provider(otlp_reader(victoria.otlp_url, histograms="exponential"), resource=resource)
        meter = pushing.get_meter("tests")
        meter.create_counter("calls").add(5, {"feature": "search"})
        both = meter.create_histogram("both", "s")
        both.record(BulkMeasurement.of(values[0], values), {"feature": "search"})
        pushing.force_flush()
        pushing.shutdown()
    assert victoria.value("sum(calls_total)") == 10
    assert victoria.value('calls_total{service_instance_id="two",feature="search"}') == 5
    assert victoria.value("sum(both_seconds_count)") == 2 * len(values)
    for q in (0.5, 0.95, 0.99):
        read = victoria.value(f"histogram_quantile({q}, sum by (vmrange) (both_seconds_bucket))")
        exact = values[math.ceil(q * len(values)) - 1]
        assert read == pytest.approx(exact, rel=0.05)  # eight buckets per doubling are 9 % wide


def test_victoria_metrics_adds_up_deltas(servers: Servers) -> None:
    victoria = servers.victoria_metrics(flags=["-opentelemetry.usePrometheusNaming"])
    pushing = provider(otlp_reader(victoria.otlp_url, temporality="delta"))
    counter = pushing.get_meter("tests").create_counter("calls")
    for amount in (3, 4, 5):
        counter.add(amount)
        pushing.force_flush()
    assert victoria.value("sum(sum_over_time(calls_total[5m]))") == 12
    pushing.shutdown()


def test_the_read_api_answers_from_what_was_pushed(servers: Servers) -> None:
    victoria = servers.victoria_metrics(flags=["-opentelemetry.usePrometheusNaming"])
    pushing = MeterProvider(
        [otlp_reader(victoria.otlp_url)], resource=resource(), views=views(), shutdown_on_exit=False
    )
    configure(meter_provider=pushing, prometheus_url=f"{victoria.url}{victoria.api_prefix}".removesuffix("/api/v1"))
    try:
        metrics = get_advanced_metrics()
        for value in range(100, 120):
            metrics.record_performance_metric(
                feature="search", metric_category="latency", metric_name="response_time", value=float(value), unit="ms"
            )
        metrics.record_error(feature="search", error_type="ValueError", error_severity="error")
        pushing.force_flush()
        victoria.flush()
        (row,) = metrics.get_performance_metrics(feature="search", hours=1)
        assert (row["count"], row["metric_name"]) == (20, "response_time")
        assert row["avg"] == pytest.approx(109.5)
        assert metrics.get_error_stats(hours=1)["total_errors"] == 1
    finally:
        shutdown()
        pushing.shutdown()


SHUTDOWN = """
import otel_metrics
from opentelemetry.sdk.metrics import MeterProvider
MeterProvider.shutdown.__defaults__ = (3_600_000,)  # if the SDK waits for a push, that is seen
otel_metrics.configure(otlp="cumulative")
otel_metrics.get_advanced_metrics().record_error("engine", "Broken", "error")
otel_metrics.shutdown()
print("ended")
"""


@pytest.mark.parametrize("answers", [True, False], ids=["rejects connections", "never answers"])
def test_shutdown_does_not_wait_for_a_dead_receiver(answers: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        port = dead.getsockname()[1]
        if answers:
            dead.close()
        environment = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://127.0.0.1:{port}/v1/metrics",
            # Whoever waits for an answer waits for an hour; how long shutdown() waits itself is shown in tests/test_ends.py.
            "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "3600",
            "OTEL_METRIC_EXPORT_TIMEOUT": "3600000",
        }
        command = [sys.executable, "-c", SHUTDOWN]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=DEADLINE)
    assert done.stdout == "ended\n"
