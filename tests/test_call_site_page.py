"""The snippets of docs/call-site.md, run one after the other as a reader would type them."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
import schedule

import otel_metrics
from otel_metrics import testing
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "call-site.md").read_text(encoding="utf-8")


class Index:
    def find(self, text: str | None) -> list[str]:
        if text is None:
            raise TypeError("no text")
        return [text]


def run(heading: str, names: dict[str, Any]) -> None:
    """Run the snippets below a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    snippets = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert snippets, heading
    for snippet in snippets:
        exec(compile(snippet, "call-site.md", "exec", dont_inherit=True), names)


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

        run("Read numbers back in asyncio", names)
        metrics.advanced.record_satisfaction("search", "overall", 0.2)
        assert asyncio.run(names["unhappy"]()) is True

    run("Test what is recorded", names)
    with testing.recording() as metrics:
        names["test_an_order_is_recorded"](metrics)
