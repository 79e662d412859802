"""The snippets of docs/call-site.md, and those of docs/events.md about ids, run one after the other as a reader would type them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest
import schedule
import structlog
from opentelemetry.sdk.trace import TracerProvider

import otel_metrics
from otel_metrics import testing
from tests.processes import ROOT

DOCS = ROOT / "docs"


class Index:
    def find(self, text: str | None) -> list[str]:
        if text is None:
            raise TypeError("no text")
        return [text]


def run(heading: str, names: dict[str, Any], page: str = "call-site.md") -> None:
    """Run the snippets below a heading."""
    section = (DOCS / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    snippets = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert snippets, heading
    for snippet in snippets:
        exec(compile(snippet, page, "exec", dont_inherit=True), names)


def test_the_page_records_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    with testing.recording() as metrics:
        names: dict[str, Any] = {"otel_metrics": otel_metrics, "index": Index()}
        run("Time a block, and say how it went", names)
        assert metrics.value("feature_usage_total", feature="search", outcome="success") == 1
        assert metrics.value("feature_usage_total", context="guest", error_type="CardDeclined") == 1
        assert float(capsys.readouterr().out) > 0

        run("The same for a function", names)
        assert asyncio.run(names["query"]("otel")) == ["otel"]
        with pytest.raises(TypeError):
            asyncio.run(names["query"](None))
        assert metrics.value("feature_usage_total", feature="search", outcome="success") == 2
        assert metrics.value("feature_errors_total", error_type="TypeError", recovery="none") == 1

        run("A time alone", names)
        assert metrics.value("feature_performance_duration_seconds_count", metric_name="query_ms") == 1

        run("An exception that is handled", names)
        assert metrics.value("feature_errors_total", error_type="TypeError", recovery="succeeded") == 1

        run("Every request of a web application", names)
        assert names["app"].user_middleware[0].kwargs["feature"] == "shop"

        run("Jobs", names | {"schedule": schedule})
        schedule.run_all()
        schedule.clear()
        metrics.assert_value("feature_usage_total", 1, action="clean up", outcome="success")

    run("Test what is recorded", names)
    with testing.recording() as metrics:
        names["test_an_order_is_recorded"](metrics)


def test_log_lines_and_events_say_where_they_belong(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    shop = logging.getLogger("shop")
    with TracerProvider().get_tracer("shop").start_as_current_span("order") as span:
        trace = f"{span.get_span_context().trace_id:032x}"
        try:
            run("Log lines that say where they belong", {})
        finally:
            structlog.reset_defaults()
            for handler in shop.handlers[:]:
                shop.removeHandler(handler)
        with testing.recording(events="log", events_level="ERROR") as metrics:
            run("Trace and interaction", {"advanced": metrics.advanced}, "events.md")
    printed = capsys.readouterr()
    line = json.loads(printed.out)
    assert (line["event"], line["items"], line["trace_id"]) == ("ordered", 3, trace)
    assert f"sold out trace={trace} interaction=\n" in printed.err
    event = vars(caplog.records[-1])
    assert (event["trace_id"], event["interaction_id"]) == (trace, "chat-17")
