"""Log lines and events know their trace and interaction: real structlog, logging, and spans of the SDK."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry import baggage, context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider

from otel_metrics import testing
from otel_metrics.integrations.logs import IdsFilter, add_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

tracer = TracerProvider().get_tracer("shop")


@contextmanager
def logger(handler: logging.Handler, name: str = "shop") -> Iterator[logging.Logger]:
    """Yield a logger with one more handler."""
    log = logging.getLogger(name)
    log.addHandler(handler)
    try:
        yield log
    finally:
        log.removeHandler(handler)


@contextmanager
def interaction(name: str) -> Iterator[None]:
    token = context.attach(baggage.set_baggage("interaction_id", name))
    try:
        yield
    finally:
        context.detach(token)


@contextmanager
def span() -> Iterator[dict[str, str]]:
    """Begin a span, and yield its ids as W3C spells them."""
    with tracer.start_as_current_span("order") as current:
        about = current.get_span_context()
        yield {"trace_id": f"{about.trace_id:032x}", "span_id": f"{about.span_id:016x}"}


def told(record: logging.LogRecord) -> dict[str, Any]:
    return {name: vars(record)[name] for name in ("trace_id", "span_id", "interaction_id") if name in vars(record)}


def test_structlog_tells_the_ids_that_there_are() -> None:
    out = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[structlog.contextvars.merge_contextvars, add_ids, structlog.processors.JSONRenderer()],
    )
    log.info("outside")
    with interaction("chat-17"), span() as ids:
        log.info("inside")
        log.info("own", trace_id="mine")
        with structlog.contextvars.bound_contextvars(interaction_id="chat-18"):
            log.info("bound")

    outside, inside, own, bound = map(json.loads, out.getvalue().splitlines())
    assert outside == {"event": "outside"}
    assert inside == {"event": "inside", "interaction_id": "chat-17", **ids}
    assert own == {"event": "own", "interaction_id": "chat-17", **ids, "trace_id": "mine"}
    assert bound == {"event": "bound", "interaction_id": "chat-18", **ids}


def test_logging_tells_the_ids_and_a_format_may_name_those_that_there_are_not() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(message)s <%(trace_id)s %(span_id)s %(interaction_id)s>"))
    handler.addFilter(IdsFilter())

    with logger(handler) as log:
        log.warning("outside")
        with interaction("chat-17\n[ERROR] forged"), span() as ids:
            log.warning("inside")

    assert out.getvalue() == (
        f"outside <  >\ninside <{ids['trace_id']} {ids['span_id']} chat-17\N{REPLACEMENT CHARACTER}[ERROR] forged>\n"
    )


def test_ids_of_the_call_go_through_a_queue_to_another_thread() -> None:
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(waiting)
    handler.addFilter(IdsFilter())
    with logger(handler) as log, span() as ids:
        log.warning("inside")
    seen: list[logging.LogRecord] = []

    def listen() -> None:
        with span():
            record = waiting.get(timeout=120)
            IdsFilter().filter(record)
            seen.append(record)

    listener = threading.Thread(target=listen)
    listener.start()
    listener.join(120)
    assert told(seen[0]) == {**ids, "interaction_id": ""}


def test_events_in_the_log_tell_the_ids_of_their_call(caplog: pytest.LogCaptureFixture) -> None:
    with testing.recording(events="log") as metrics, caplog.at_level(logging.DEBUG, "otel_metrics.events"):
        metrics.advanced.record_error("shop", "Timeout", "error", "took too long")
        with span() as ids:
            metrics.advanced.record_error("shop", "Timeout", "error", "took too long")
            with interaction("chat-17"):
                metrics.advanced.record_satisfaction("shop", "overall", 0.9, feedback="good")
                metrics.advanced.record_satisfaction("shop", "overall", 0.9, feedback="good", interaction_id="chat-18")
        with span() as inner, metrics.advanced.track("shop", "order", metadata={"items": 3}):
            pass

    outside, inside, current, given, tracked = caplog.records
    assert told(outside) == {}
    assert told(inside) == ids
    assert told(current) == {**ids, "interaction_id": "chat-17"}
    assert told(given) == {**ids, "interaction_id": "chat-18"}
    assert told(tracked) == inner
    # A formatter that shows the message alone tells the interaction, too.
    assert '"interaction_id": "chat-17"' in current.getMessage()
    assert '"interaction_id": "chat-18"' in given.getMessage()


def test_a_record_factory_that_gives_ids_keeps_them(caplog: pytest.LogCaptureFixture) -> None:
    usual = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = usual(*args, **kwargs)
        record.trace_id = "mine"
        return record

    logging.setLogRecordFactory(factory)
    try:
        with (
            testing.recording(events="log") as metrics,
            caplog.at_level(logging.DEBUG, "otel_metrics.events"),
            span() as ids,
        ):
            metrics.advanced.record_error("shop", "Timeout", "error", "took too long")
    finally:
        logging.setLogRecordFactory(usual)
    (record,) = caplog.records
    assert told(record) == {"trace_id": "mine", "span_id": ids["span_id"]}


def test_events_of_opentelemetry_tell_the_ids_of_their_call() -> None:
    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider()  # type: ignore[no-untyped-call]
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    with testing.recording(logger_provider=provider) as metrics, interaction("chat-17"), span() as ids:
        metrics.advanced.record_satisfaction("shop", "overall", 0.9, feedback="good")
    (log,) = exporter.get_finished_logs()
    assert f"{log.log_record.trace_id:032x}" == ids["trace_id"]
    assert f"{log.log_record.span_id:016x}" == ids["span_id"]
    assert log.log_record.attributes is not None
    assert log.log_record.attributes["interaction_id"] == "chat-17"


def test_events_reach_structlog_with_the_ids_of_their_call() -> None:
    """As an application has it that formats records of the standard library by structlog."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), add_ids],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    with (
        logger(handler, "otel_metrics.events"),
        testing.recording(events="log", events_level="ERROR") as metrics,
        span() as ids,
    ):
        metrics.advanced.record_satisfaction("shop", "overall", 0.9, feedback="good", interaction_id="chat-18")
    event = json.loads(out.getvalue())
    assert event["event_name"] == "feature.satisfaction.recorded"
    assert {name: event[name] for name in ("trace_id", "span_id", "interaction_id")} == {
        **ids,
        "interaction_id": "chat-18",
    }
