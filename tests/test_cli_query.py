"""``otel-metrics query`` and ``advanced.query()``: tables and plots that fit, CSV, JSON and pandas frames."""

from __future__ import annotations

import builtins
import csv
import io
import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pytest
from rich.cells import cell_len

from otel_metrics.cli import main, terminal
from otel_metrics.errors import ConfigurationError, InvalidArgumentError, UnreachableError
from otel_metrics.querying.cookbook import COOKBOOK
from otel_metrics.runtime import Runtime
from otel_metrics.settings import Settings
from tests.dialects import START_TIMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_metrics.facade.advanced import AdvancedMetrics
    from tests.servers import Servers

LONG = "a feature with a name that no terminal has room for, but for " + "wide " * 20
FORMULA = '=1+1","x'
SAW = "floor(vector(time() / 60)) % 4 or label_replace(vector(5), 'tooth', 'none', '', '')"


class Ask(Protocol):
    def __call__(self, *arguments: str, width: int = 80) -> tuple[int, str, str]: ...


@pytest.fixture(scope="module")
def server(session_servers: Servers) -> Iterator[str]:
    """Errors of four features, one of them a formula, one with a long name, as a Prometheus has scraped them."""
    with closing(Runtime(Settings(strict=True))) as runtime:
        url = runtime.serve(port=0).url
        for feature, count in {"search": 3, "chat": 1, FORMULA: 2, LONG: 4}.items():
            for _ in range(count):
                runtime.advanced.record_error(feature, "Timeout", "error" if feature == "chat" else "warning")
        prometheus = session_servers.prometheus(targets=[url], features=[START_TIMES])
        prometheus.wait_for("sum(feature_errors_total) == 10")
        yield prometheus.url


@pytest.fixture
def query(server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run the command in a terminal of a width, and return its status and what it printed."""

    def run(*arguments: str, width: int = 80) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(terminal.console, "width", width)
        status = main(["query", "--prometheus", server, *arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def advanced(server: str) -> Iterator[AdvancedMetrics]:
    with closing(Runtime(Settings(prometheus_url=server, prometheus_unavailable="raise"))) as runtime:
        yield runtime.advanced


@pytest.mark.parametrize("width", [80, 50])
@pytest.mark.parametrize("form", ["table", "plot"])
def test_an_answer_fits_the_terminal(query: Ask, form: str, width: int) -> None:
    status, shown, complaints = query("frequent-errors", "--format", form, width=width)
    assert (status, complaints) == (0, "")
    assert all(cell_len(line) <= width for line in shown.splitlines())
    assert shown.startswith("Which errors are most frequent? (errors)\n")
    rows = [line.split() for line in shown.splitlines() if re.search(r" \d *$", line)]
    assert [row[-1] for row in rows] == ["4", "3", "2", "1"]
    assert rows[1][:2] == ["search,", "Timeout"]
    if form == "plot":
        bars = [line.count("█") for line in shown.splitlines() if "█" in line]
        assert bars[0] == max(bars)
        assert [round(bar / bars[0], 1) for bar in bars] == [1, 0.8, 0.5, 0.2]


@pytest.mark.parametrize("width", [80, 50])
def test_a_curve_is_drawn_in_one_line_with_its_extremes(query: Ask, width: int) -> None:
    status, shown, _ = query(SAW, "--hours", "0.1", "--step", "60", width=width)
    assert status == 0
    assert all(cell_len(line) <= width for line in shown.splitlines())
    [saw] = [line.split() for line in shown.splitlines() if line.startswith("–")]
    assert len(saw[1]) == 7
    assert set(saw[1]) == set("▁▃▆█")
    assert saw[2:4] == ["0", "3"]
    [flat] = [line.split() for line in shown.splitlines() if line.startswith("none")]
    assert flat[1:] == ["▁▁▁▁▁▁▁", "5", "5", "5"]


def test_a_trend_is_a_plot_unless_asked_otherwise(query: Ask) -> None:
    _, plot, _ = query("error-trend", "--hours", "1")
    _, table, _ = query("error-trend", "--hours", "1", "--format", "table")
    assert "most" in plot
    assert "time (UTC)" in table
    assert [line.split()[-2:] for line in table.splitlines() if "warning" in line or "error " in line][-2:] == [
        ["error", "1"],
        ["warning", "9"],
    ]


def test_csv_has_no_formula(query: Ask) -> None:
    _, text, _ = query("frequent-errors", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["time", "feature", "error_type", "value"]
    assert {row["feature"]: float(row["value"]) for row in rows} == {"search": 3, "chat": 1, "'" + FORMULA: 2, LONG: 4}


def test_json_says_what_was_asked_of_what(query: Ask) -> None:
    _, text, _ = query("frequent-errors", "--feature", FORMULA, "--format", "json")
    told: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    assert [(row["labels"], row["value"]) for row in told["rows"]] == [
        ({"feature": FORMULA, "error_type": "Timeout"}, 2)
    ]
    assert r'feature="=1+1\",\"x"' in told["promql"]
    assert told["warnings"] == []
    assert told["window"]["end"] > told["window"]["start"] > "2026"


def test_the_questions_are_listed(query: Ask) -> None:
    status, shown, _ = query("--list", width=50)
    assert status == 0
    assert all(cell_len(line) <= 50 for line in shown.splitlines())
    assert [name for name in COOKBOOK if f"{name} " not in shown] == []


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["sum(up"], 1, "unclosed left parenthesis"),
        (["'text'"], 1, "gives text, not numbers"),
        ([], 2, "a question is needed"),
        (["frequent-error"], 2, "allowed: frequent-errors"),
        (["frequent-errors", "--step", "60"], 2, "step=60.0 is not allowed"),
        (["fullest-resources", "--feature", "x"], 2, "feature='x' is not allowed"),
        (["up", "--feature", "x"], 2, "feature='x' is not allowed"),
        (["time()", "--hours", "1", "--step", "0.1"], 2, "at most 11,000"),
    ],
)
def test_what_cannot_be_asked_is_said(query: Ask, arguments: list[str], status: int, message: str) -> None:
    found, shown, complaints = query(*arguments)
    assert (found, shown) == (status, "")
    assert message in complaints


def test_nothing_is_said_to_be_nothing(query: Ask) -> None:
    assert query("no_such_metric") == (
        0,
        "No data: nothing like this was recorded, or the server has not seen it.\n",
        "",
    )


def test_a_frame_has_times_labels_and_values(advanced: AdvancedMetrics) -> None:
    frame = advanced.query("frequent-errors", hours=1)
    assert list(frame.columns) == ["time", "feature", "error_type", "value"]
    assert frame.set_index("feature")["value"].to_dict() == {LONG: 4, "search": 3, FORMULA: 2, "chat": 1}
    assert str(frame["time"].dtype) == "datetime64[ns, UTC]"
    assert frame.attrs["value"] == "errors"
    assert advanced.query("frequent-errors", feature=FORMULA)["value"].tolist() == [2]
    assert advanced.query("frequent-errors", feature="nobody").empty


def test_a_frame_of_promql_is_a_curve_where_there_is_a_step(advanced: AdvancedMetrics) -> None:
    curve = advanced.query("label_replace(vector(1), 'value', 'x', '', '')", hours=1, step=600)
    assert list(curve.columns) == ["time", "label_value", "value"]
    assert curve["time"].diff().dt.total_seconds().tolist()[1:] == [600] * 6
    assert advanced.query("1 + 1")["value"].tolist() == [2]


@pytest.mark.parametrize(
    "options",
    [
        {"question": ""},
        {"question": 3},
        {"question": "slowest-metric"},
        {"question": "up", "hours": 0},
        {"question": "up", "step": 0},
        {"question": "up", "step": True},
        {"question": "up", "step": "60"},
        {"question": "up", "hours": 1, "step": 3601},
        {"question": "error-trend", "feature": 7},
    ],
)
def test_arguments_that_cannot_be_are_rejected(advanced: AdvancedMetrics, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"query: .* is not allowed"):
        advanced.query(**options)


def test_without_pandas_one_is_told_how_to_get_it(advanced: AdvancedMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"pip install 'otel-metrics-bridge\[pandas\]'"):
        advanced.query("frequent-errors")


def test_without_a_server_one_is_told_to_set_one() -> None:
    with (
        closing(Runtime(Settings())) as runtime,
        pytest.raises(ConfigurationError, match="set prometheus_url"),
    ):
        runtime.advanced.query("frequent-errors")


@pytest.mark.parametrize("unavailable", ["raise", "local"])
def test_a_query_has_no_answer_of_this_process(unavailable: Literal["raise", "local"]) -> None:
    settings = Settings(prometheus_url="http://127.0.0.1:9", prometheus_timeout=1, prometheus_unavailable=unavailable)
    with closing(Runtime(settings)) as runtime, pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        runtime.advanced.query("frequent-errors")
