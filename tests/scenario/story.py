"""The story: three days of a shop, told with the package's public names only.

Numbers are such that sums are exact (halves, quarters, eighths), so that nothing depends on the order of additions, or on how
a version of Python adds up. What cannot be exact, standard deviations, is written with twelve digits.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import prometheus_client
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, REGISTRY, CollectorRegistry

import otel_metrics
from otel_metrics import testing
from otel_metrics.exporter import PrometheusReader
from tests.exporter import prometheus_proto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.metrics import CallbackOptions, Meter

    from tests.scenario.play import Clock

    Write = Callable[[str, str], None]

FORMATS = {
    "text": "text/plain;version=0.0.4",
    "openmetrics": "application/openmetrics-text;version=1.0.0",
    "protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
}
HOUR = 3600.0
DAY_ONE, DAY_TWO, DAY_THREE = (1_772_323_200.0 + 24 * HOUR * day for day in range(3))
"""Midnights before 2026-03-01, -02 and -03, UTC."""
EVENTS: Any = {"events": "log", "events_level": "INFO"}
SETTINGS: dict[str, Any] = {
    "label_caps": {"action": 3, "optimization_id": 3, "context": 2, "resource_name": 4},
    "series_limit": 12,
    "satisfaction_scales": {"nps": "1-5"},
    "satisfaction_threshold": 0.75,
}


class Unusable:
    """No number, no string, no key, and it says so loudly."""

    __hash__ = None  # type: ignore[assignment]

    def __float__(self) -> float:
        raise ZeroDivisionError

    def __gt__(self, _: object) -> bool:
        raise ZeroDivisionError

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


# ------------------------------------------------------------------------------------------------------- what is recorded


def basic_calls() -> None:
    """Every call of the basic collector, values of both signs."""
    basic = otel_metrics.get_metrics_collector()
    for value in (125.0, 250.0, 500.0, 0.0, 2000.0):
        basic.record_performance_metric("search", "answer_ms", value)
    basic.record_performance_metric("search", "index_mib", 1.5)
    basic.record_performance_metric("search", "depth", -2.5, metadata={"tree": [1, 2], "deep": None})
    basic.record_performance_metric("search", "depth", 0.0)
    for value in (0.75, 0.5, -0.25):
        basic.record_learning_metric("search", "loss", value, {"epoch": 3})
        basic.record_optimization_metric("search", "saving", value * 8, {"why": "naïve ☃"})


def performance_calls() -> None:
    """Every kind of unit, contexts past their cap, metadata."""
    metrics = otel_metrics.get_advanced_metrics()
    for step in range(1, 9):
        metrics.record_performance_metric("search", "response_time", "lookup", 125 * step, "ms", "production")
    metrics.record_performance_metric("search", "response_time", "lookup", 125.5, "milliseconds", "staging")
    for unit in ("KiB", "percent", "rpm", "furlongs"):
        metrics.record_performance_metric("checkout", "throughput", f"in {unit}", 12.5, unit)
    for context in ("a", "b", "c", "d", ""):
        metrics.record_performance_metric("checkout", "size", "basket", 3, "items", context, {"context": context})
    metrics.record_performance_metric("checkout", "size", "basket", -3, "items")


def unit_calls() -> None:
    """Every spelling of a unit, and every suffix that names one."""
    basic, metrics = otel_metrics.get_metrics_collector(), otel_metrics.get_advanced_metrics()
    for unit in (
        *("ns", "us", "µs", "msec", "s", "seconds", "Minutes", "h", "days"),
        *("B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "Mb", "megabytes"),
        *("percent", "%", "ratio", "1", "/s", "rps", "Hz", "rpm", "per_minute", "furlongs", "", None),
    ):
        metrics.record_performance_metric("units", "spelling", f"in {unit}", 1.5, unit)
    for name in (
        *(
            "wait_ns",
            "wait_us",
            "wait_milliseconds",
            "wait_s",
            "wait_sec",
            "wait_seconds",
            "wait_minutes",
            "wait_hours",
        ),
        *("size_bytes", "size_kb", "size_mb", "size_gb", "size_kib", "size_mib", "size_gib"),
        *("full_percent", "full_pct", "full_ratio"),
        *("calls_per_second", "calls_per_sec", "calls_rps", "calls_qps", "calls_per_minute", "depth"),
    ):
        basic.record_performance_metric("units", name, 1.5)


def satisfaction_calls() -> None:
    """Both scales, the ambiguous 1, feedback that leaves as an event."""
    metrics = otel_metrics.get_advanced_metrics()
    for score in (0, 0.25, 0.5, 0.75, 1):
        metrics.record_satisfaction("search", "overall", score)
    for score in (1, 2, 3, 4, 5):
        metrics.record_satisfaction("search", "nps", score)
        metrics.record_satisfaction("checkout", "stars", score, scale="1-5")
    metrics.record_satisfaction("checkout", "speed", 1)
    metrics.record_satisfaction("checkout", "speed", 4.5)
    metrics.record_satisfaction("checkout", "speed", 1)
    metrics.record_satisfaction("checkout", "care", 0.5, "fine, thanks", None, {"page": 7})


def usage_calls() -> None:
    """Known and unknown outcomes and durations, contexts of users, actions past their cap."""
    metrics = otel_metrics.get_advanced_metrics()
    for duration in (125, 250, 375, None):
        metrics.record_feature_usage("search", "open", duration)
    metrics.record_feature_usage("search", "open", 1000, False, "Timeout", "beginner")
    metrics.record_feature_usage("search", "open", 500, None, metadata={"query": "x"})
    metrics.record_feature_usage("search", "close", success=False)
    for action in ("a", "b", "c"):
        metrics.record_feature_usage("checkout", action, 62.5, True, None, "expert")


def learning_calls() -> None:
    metrics = otel_metrics.get_advanced_metrics()
    metrics.record_learning_effectiveness("search", "ranking", 0.5, 0.25, 100, 0.5)
    metrics.record_learning_effectiveness("search", "ranking", 0.75, 0.5, 50, -0.25, {"model": "m1"})
    metrics.record_learning_effectiveness("search", "ranking", 1, None, 2)
    metrics.record_learning_effectiveness("search", "spelling", improvement_rate=-1)
    metrics.record_learning_effectiveness("checkout", "fraud", sample_size=7)


def optimization_calls() -> None:
    """Changes both ways, a before of zero, ids past their cap."""
    metrics = otel_metrics.get_advanced_metrics()
    metrics.record_optimization_impact("search", "opt_1", "speed", 400, 100, 0.75)
    metrics.record_optimization_impact("search", "opt_1", "speed", 400, 300, 0.5, {"who": "ann"})
    metrics.record_optimization_impact("search", "opt_2", "memory", 2, 5)
    metrics.record_optimization_impact("checkout", "opt_3", "speed", 0, 1, 0.25)
    metrics.record_optimization_impact("checkout", "opt_3", "speed", -8, -2)
    metrics.record_optimization_impact("checkout", "opt_4", "speed", 8, 8, 0)


def resource_calls() -> None:
    metrics = otel_metrics.get_advanced_metrics()
    metrics.record_resource_utilization("memory", "heap", 50, 1024, 512, "MB")
    metrics.record_resource_utilization("memory", "heap", 75, 1, 0.75, "GiB", {"host": "a"})
    metrics.record_resource_utilization("cpu", "pool", 112.5, 8, 9, "cores")
    metrics.record_resource_utilization("disk", "root", 0)
    metrics.record_resource_utilization("disk", "data", 25, used=3)
    metrics.record_resource_utilization("disk", "past the cap", 25, 4, 1, "TB")


def error_calls() -> None:
    metrics = otel_metrics.get_advanced_metrics()
    metrics.record_error("search", "Timeout")
    metrics.record_error("search", "Timeout", "critical", "took 3 s\x00", True, True, "high", {"try": 2})
    metrics.record_error("search", "Timeout", "warning", None, True, False, "medium")
    metrics.record_error("checkout", "Declined", "info", "no funds", True, None, "low")
    for number in range(11):
        metrics.record_error("checkout", f"E{number}", "error")


def bad_calls() -> None:
    """Whatever an application may pass by mistake: nothing raises in production mode, everything is counted."""
    basic: Any = otel_metrics.get_metrics_collector()
    metrics: Any = otel_metrics.get_advanced_metrics()
    values = (math.nan, math.inf, -math.inf, 10**400, 1.7e308, -1, "12", True, None, [1], 1j, Unusable())
    for value in values:
        basic.record_performance_metric("bad", "wait_ms", value)
        basic.record_learning_metric("bad", "loss", value)
        basic.record_optimization_metric("bad", "saving", value)
        metrics.record_performance_metric("bad", "response_time", "lookup", value, "ms")
        metrics.record_satisfaction("bad", "overall", value)
        metrics.record_feature_usage("bad", "open", value)
        metrics.record_learning_effectiveness("bad", "ranking", value, value, value, value)
        metrics.record_optimization_impact("bad", "opt_1", "speed", value, value, value)
        metrics.record_resource_utilization("bad", "heap", value, value, value, "MB")
    for text in (None, "", "  ", 7, b"bytes", ["list"], Unusable(), "x" * 201, "line\nbreak \x07", "☃ ünï"):
        basic.record_performance_metric(text, text, 1)
        basic.record_learning_metric("bad", text, 1)
        basic.record_optimization_metric("bad", text, 1)
        metrics.record_performance_metric("bad", text, text, 1, text, text, text)
        metrics.record_satisfaction("bad", text, 0.5, text, text, text, scale=text)
        metrics.record_feature_usage("bad", text, 1, text, text, text, text)
        metrics.record_learning_effectiveness("bad", text, 0.5)
        metrics.record_optimization_impact("bad", text, text, 1, 2)
        metrics.record_resource_utilization(text, "heap", 1, 1, 1, text)
        metrics.record_error("bad", text, text, text, text, text, text, text)
    for score in (5.5, 7, -0.5):
        metrics.record_satisfaction("bad", "range", score)
    metrics.record_learning_effectiveness("bad", "range", 1.5, -0.5, -3, -2)
    metrics.record_learning_effectiveness("bad", "range", 0.5, 0.5, 2.5, 0.5)


def many_calls() -> None:
    """More values of one series than a record call leaves to others to fold."""
    metrics = otel_metrics.get_advanced_metrics()
    for number in range(10_000):
        metrics.record_feature_usage("bulk", "open", 125 * (number % 16))


@contextmanager
def sampled_span(number: int) -> Iterator[None]:
    """Be in a sampled span whose ids say ``number``."""
    context = SpanContext(0xA000 + number, 0xB000 + number, is_remote=False, trace_flags=TraceFlags(1))
    with use_span(NonRecordingSpan(context)):
        yield


def exemplary_calls(number: int) -> None:
    """One call per family in a span, an interaction outside, one in both."""
    basic, metrics = otel_metrics.get_metrics_collector(), otel_metrics.get_advanced_metrics()
    metrics.record_satisfaction("traced", "outside", 0.5, None, f"interaction-{number}")
    with sampled_span(number):
        basic.record_performance_metric("traced", "answer_ms", 250)
        basic.record_learning_metric("traced", "loss", 0.5)
        basic.record_optimization_metric("traced", "saving", -4)
        metrics.record_performance_metric("traced", "response_time", "lookup", 500, "ms")
        metrics.record_satisfaction("traced", "inside", 5, None, f"both-{number} " + "long " * 12)
        metrics.record_feature_usage("traced", "open", 125)
        metrics.record_learning_effectiveness("traced", "ranking", 0.5, 0.5, 10, 0.25)
        metrics.record_optimization_impact("traced", "opt_1", "speed", 4, 2, 0.5)
        metrics.record_resource_utilization("memory", "heap", 25, 2, 1, "GB")
        metrics.record_error("traced", "Timeout")


EVERY_FAMILY = (
    *(basic_calls, performance_calls, satisfaction_calls, usage_calls),
    *(learning_calls, optimization_calls, resource_calls, error_calls),
)


def every_call() -> None:
    for calls in EVERY_FAMILY:
        calls()


# ----------------------------------------------------------------------------------------------------------- what is shown


def exposition(app: Callable[..., Iterable[bytes]], accept: str) -> bytes:
    """Return what a scrape gets from a WSGI application."""
    started: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "HTTP_ACCEPT": accept}
    body = b"".join(app(environ, lambda status, _: started.append(status)))
    assert started == ["200 OK"], started
    return body


def readable(message: bytes) -> str:
    """Return a delimited protobuf exposition with one line per family and one per series."""
    from google.protobuf.text_format import MessageToString  # type: ignore[import-untyped]

    lines = []
    for family in prometheus_proto.read(message).values():
        series = [MessageToString(metric, as_one_line=True, as_utf8=True) for metric in family.metric]
        family.ClearField("metric")
        lines += [MessageToString(family, as_one_line=True, as_utf8=True), *(f"  {one}" for one in series)]
    return "".join(f"{line}\n" for line in lines)


def scrape(
    app: Callable[..., Iterable[bytes]],
    write: Write,
    name: str,
    forms: Iterable[str] = FORMATS,
    prepare: Callable[[int], None] = exemplary_calls,
) -> None:
    """Write what some formats show; before each, ``prepare`` makes exemplars, which a scrape takes with it."""
    for number, form in enumerate(forms, 1):
        prepare(number)
        body = exposition(app, FORMATS[form])
        write(f"{name}.{form}.txt", readable(body) if form == "protobuf" else body.decode())


def scrape_days(app: Callable[..., Iterable[bytes]], write: Write, name: str) -> None:
    """Write what a scrape shows of the daily table."""
    lines = exposition(app, FORMATS["text"]).decode().splitlines(keepends=True)
    write(f"{name}.text.txt", "".join(line for line in lines if "feature_daily" in line))


def answer(write: Write, file: str, call: str, ask: Callable[[], Any]) -> None:
    """Write what a getter returns, one line per row or key, or which error it raises."""
    try:
        result = ask()
    except otel_metrics.MetricsError as error:
        result = [f"raises {type(error).__name__}"]
    result = with_even_deviations(result)
    rows = result.items() if isinstance(result, dict) else enumerate(result)
    write(file, f"{call}\n" + "".join(f"  {key}: {json.dumps(row, ensure_ascii=False)}\n" for key, row in rows))


def with_even_deviations(value: Any, key: str = "") -> Any:
    """Return ``value`` with standard deviations as every version of Python has them: since 3.12 sums lose less."""
    if isinstance(value, dict):
        return {name: with_even_deviations(value[name], name) for name in value}
    if isinstance(value, list):
        return [with_even_deviations(inner) for inner in value]
    return float(f"{value:.12g}") if key.startswith("stddev") else value


def ask_everything(write: Write, file: str) -> None:
    """Ask every getter: about everything, about one feature, about one part, about the last hour, about nothing known."""
    basic: Any = otel_metrics.get_metrics_collector()
    metrics: Any = otel_metrics.get_advanced_metrics()
    for feature, name in (("search", "answer_ms"), ("search", "loss"), ("search", "saving"), ("search", "index_mib")):
        answer(write, file, f"statistics {feature} {name}", lambda: basic.get_metric_statistics(feature, name))  # noqa: B023
    answer(write, file, "statistics, unknown", lambda: basic.get_metric_statistics("nothing", "nothing", hours=1))
    asked: dict[str, tuple[tuple[Any, ...], ...]] = {
        "get_performance_metrics": ((), ("search",), (None, "spelling"), ("search", None, 24, 3), ("nothing",)),
        "get_satisfaction_metrics": ((), ("search",), ("checkout", "stars"), (None, None, 1), ("nothing",)),
        "get_feature_usage_stats": ((), ("search",), ("bulk",), (None, 1), ("nothing",)),
        "get_error_stats": ((), ("search",), (None, 1), ("nothing",)),
        "get_learning_metrics": ((), ("search",), ("search", "ranking"), (None, None, 1), ("nothing",)),
        "get_optimization_metrics": ((), ("search",), (None, "speed"), (None, None, 24, 1), ("nothing",)),
        "get_resource_metrics": ((), ("memory",), (None, "pool"), ("nothing",)),
        "get_comprehensive_dashboard": ((), ("search",), (None, 1), ("nothing",)),
        "aggregate_daily_metrics": ((), ("2026-02-28",), ("2026-03-01",), ("2026-03-02",), ("2026-03-03",)),
    }
    for call, arguments in asked.items():
        for some in arguments:
            answer(write, file, f"{call}{some}", lambda: getattr(metrics, call)(*some))  # noqa: B023
    for hours in (0, -1, math.nan, "24", True):
        answer(write, file, f"hours={hours!r}", lambda: metrics.get_error_stats(hours=hours))  # noqa: B023
    for day in ("yesterday", "1969-12-31", 7):
        answer(write, file, f"date={day!r}", lambda: metrics.aggregate_daily_metrics(day))  # noqa: B023


class Listening(logging.Handler):
    """Writes events as they come."""

    def __init__(self, write: Write) -> None:
        super().__init__(logging.INFO)
        self._write = write
        self.file = "events.txt"

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.file, f"{record.levelname} {record.getMessage()}\n")


def listen(write: Write) -> Listening:
    events = logging.getLogger("otel_metrics.events")
    events.setLevel(logging.INFO)
    events.propagate = False
    listening = Listening(write)
    events.addHandler(listening)
    return listening


# -------------------------------------------------------------------------------------------------------------- the story


def tell(clock: Clock, write: Write, *, one_more: bool) -> None:
    """Play all of it. ``one_more``: with one record call more at the end of the second day."""
    os.environ.update(
        OTM_EVENTS="log",
        OTM_EVENTS_LEVEL="INFO",
        OTEL_SERVICE_NAME="shop",
        OTEL_RESOURCE_ATTRIBUTES="service.instance.id=shop-1,zone=ä",
    )
    for own in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        REGISTRY.unregister(own)
    clock.now = DAY_ONE - 30 * 60
    prometheus_client.Counter("left_over", "Of an application that has metrics already", ["kind"]).labels("a").inc(3)
    prometheus_client.Histogram("left_over_seconds", "Likewise", buckets=(0.5, 2)).observe(1.5)
    the_process(clock, write, listen(write), one_more=one_more)
    an_own_provider(clock, write, one_more=one_more)
    apart(clock, write)


def the_process(clock: Clock, write: Write, listening: Listening, *, one_more: bool) -> None:
    """The default configuration over three midnights, with a fork in between."""
    otel_metrics.configure(clock=clock, **EVENTS, **SETTINGS)
    app = otel_metrics.wsgi_app()
    every_call()
    drained()
    clock.now = DAY_ONE - 0.25
    usage_calls()
    drained()
    clock.now = DAY_ONE  # the first midnight: nothing has been recorded yet
    scrape_days(app, write, "day1_midnight")
    for hour in (1, 9, 17):
        clock.now = DAY_ONE + hour * HOUR
        every_call()
        drained()
    many_calls()
    ask_everything(write, "day1.getters.txt")
    scrape(app, write, "day1_evening", ["openmetrics", "protobuf"])

    in_a_child(lambda: the_child(clock, write, listening, app))

    drained()
    clock.now = DAY_TWO - 0.001
    every_call()
    drained()
    clock.now = DAY_TWO + 0.001  # the second midnight
    every_call()
    drained()
    clock.now = DAY_TWO + 15 * HOUR
    satisfaction_calls()
    if one_more:
        otel_metrics.get_advanced_metrics().record_feature_usage("search", "open", 125)
    ask_everything(write, "day2.getters.txt")
    scrape(app, write, "day2", ["text"])
    drained()
    clock.now = DAY_THREE + 60
    ask_everything(write, "day3.getters.txt")
    scrape_days(app, write, "day3")


def the_child(clock: Clock, write: Write, listening: Listening, app: Callable[..., Iterable[bytes]]) -> None:
    """A forked process starts from nothing, whether it uses what it inherited or fetches it anew."""
    listening.file = "child.events.txt"
    clock.now += 60
    scrape(app, write, "child_empty", ["text"], lambda _: None)
    for calls in (basic_calls, usage_calls, error_calls):
        calls()
    ask_everything(write, "child.getters.txt")
    scrape(otel_metrics.wsgi_app(), write, "child", ["openmetrics"])


def drained() -> None:
    """Have everything recorded so far belong to the time it is now."""
    otel_metrics.get_advanced_metrics().get_error_stats()


def in_a_child(work: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"


class Instruments:
    """One plain instrument of every kind."""

    def __init__(self, meter: Meter) -> None:
        self.counter = meter.create_counter("plain.counter", "1", "Counts")
        self.up_down = meter.create_up_down_counter("plain.up_down", "{item}", "Goes up and down")
        self.histogram = meter.create_histogram("plain.histogram", "ms", 'Distributes "values"\nin lines')
        self.exponential = meter.create_histogram("plain.exponential", "By")
        self.gauge = meter.create_gauge("plain.gauge", "Cel", "Varies")
        self.seen = 0.0
        meter.create_observable_counter("plain.observed.counter", [self._observe], "s")
        meter.create_observable_up_down_counter("plain.observed.up_down", [self._observe])
        meter.create_observable_gauge("plain.observed.gauge", [self._observe], "%")

    def _observe(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self.seen, {"observed": True})

    def use(self, number: int) -> None:
        """Give every instrument values, those of a span among them."""
        labels: dict[str, Any] = {"text": 'a"b\\c\n', "number": 7, "http.method": "GET", "ünï": ["x", "y"]}
        self.seen += 2.5
        self.counter.add(3, labels)
        self.counter.add(0.5)
        self.up_down.add(-number, {"queue": "in"})
        self.gauge.set(-1.5 * number, {"room": "1"})
        for value in (0, 0.5, 3, 700, 123456):
            self.histogram.record(value, {"sort": "all"})
            self.exponential.record(value, {"sort": "all"})
        with sampled_span(0x100 + number):
            self.counter.add(1, {"traced": True})
            self.histogram.record(75, {"sort": "all"})
            self.exponential.record(75, {"sort": "traced"})


def an_own_provider(clock: Clock, write: Write, *, one_more: bool) -> None:
    """Plain instruments beside the documented calls, in a provider with our views and in one that knows nothing of us."""
    resource = Resource.create({"service.name": "own", "service.instance.id": "own-1", "rack": 7})
    prepared = PrometheusReader(registry=CollectorRegistry(), resource_constant_labels=["service.instance.id"])
    unprepared = PrometheusReader(
        registry=CollectorRegistry(),
        prefix="app",
        scope_info_enabled=True,
        created_samples=True,
        translation_strategy="NoUTF8EscapingWithSuffixes",
        resource_attribute_filter=lambda key: key == "rack",
    )
    exponential = View(instrument_name="plain.exponential", aggregation=ExponentialBucketHistogramAggregation())
    views = [*otel_metrics.views(), exponential]
    providers = {
        "own": (prepared, MeterProvider([prepared], resource, otel_metrics.ExemplarFilter(), views=views)),
        "unprepared": (unprepared, MeterProvider([unprepared], resource, TraceBasedExemplarFilter())),
    }
    for name, (reader, provider) in providers.items():
        app = reader.wsgi_app()
        instruments = Instruments(provider.get_meter("plain", "1.2", "https://example.org/schema", {"team": "ä"}))
        provider.get_meter("another").create_counter("plain.counter").add(1)
        with testing.recording(**EVENTS, meter_provider=provider, clock=clock, strict=False, **SETTINGS):

            def use(number: int, instruments: Instruments = instruments) -> None:
                exemplary_calls(number)
                instruments.use(number)

            if one_more:
                use(1)
            scrape(app, write, name, FORMATS if reader is prepared else ["text", "protobuf"], use)
            clock.now += HOUR
            ask_everything(write, f"{name}.getters.txt")
    body = exposition(unprepared.wsgi_app(), FORMATS["openmetrics"] + ";escaping=allow-utf-8")
    write("unprepared.utf8.openmetrics.txt", body.decode())
    write("own.registry.txt", prometheus_client.generate_latest(prepared.registry).decode())


def apart(clock: Clock, write: Write) -> None:
    """What tests record stays apart: units, bad input in production mode, and in strict mode."""
    with testing.recording(**EVENTS, clock=clock) as units:
        unit_calls()
        ask_everything(write, "units.getters.txt")
    with testing.recording(**EVENTS, clock=clock, strict=False) as bad:
        bad_calls()
    for name, recording in (("units", units), ("bad", bad)):
        kept = [sample for sample in recording.samples() if not sample.name.endswith("_bucket")]
        write(f"{name}.samples.txt", "".join(f"{s.name} {s.labels} {s.value}\n" for s in kept))
    with testing.recording(**EVENTS, clock=clock) as strict:
        call: Any = strict.advanced.record_feature_usage
        for value in (math.nan, -1, "12"):
            answer(write, "strict.txt", f"duration_ms={value!r}", lambda: call("search", "open", value))  # noqa: B023
        call("search", "open", 125)
        assert strict.value("feature_usage_total", feature="search", outcome="success") == 1
