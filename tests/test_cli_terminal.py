"""How numbers and foreign text look on a terminal, and when two dashboards agree."""

from __future__ import annotations

import io
import logging
import math
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console, Group
from rich.live import Live
from rich.screen import Screen
from rich.table import Table
from rich.text import Text

from otel_metrics.cli import dashboard, demo_view, terminal, view
from otel_metrics.results import json_safe

if TYPE_CHECKING:
    from rich.console import RenderableType


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (25.0, "25"),
        (0.1 + 0.2, "0.3000"),
        (125.5, "125.5"),
        (12345.678, "12,346"),
        (0.0001234567, "0.0001235"),
        (-4.17e-5, "-4.17e-05"),
        (1.5e13, "15,000,000,000,000"),
        (1.55e300, "1.55e+300"),
        (math.nan, "–"),
        (None, "–"),
        ("12", "–"),
        (True, "–"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
    ],
)
def test_numbers_have_four_digits_and_no_data_is_a_dash(value: object, shown: str) -> None:
    assert terminal.number(value) == shown


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_drawn_live_makes_room_for_a_warning(monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    """Printed by another console it would be painted over; where standard error goes elsewhere, it goes there."""
    screen, other = io.StringIO(), io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=screen, force_terminal=True, width=80))
    monkeypatch.setattr(terminal, "errors", Console(file=other, force_terminal=shared, width=80))
    record = logging.LogRecord("otel_metrics", logging.WARNING, "", 0, "a value was rejected", None, None)
    with Live("round 1", console=terminal.console, auto_refresh=False) as live:
        live.update("round 2", refresh=True)
        terminal.log_handler().emit(record)
        live.update("round 3", refresh=True)
    assert ("a value was rejected" in screen.getvalue()) == shared
    assert ("a value was rejected" in other.getvalue()) != shared
    # The frame that was there is drawn anew, on a line below the warning.
    below = screen.getvalue().partition("a value was rejected")[2]
    assert not shared or below.startswith("\x1b[0m\nround ")


@pytest.mark.parametrize("rows", [5, 8, 9, 30])
def test_no_row_moves_while_a_dashboard_is_watched(rows: int) -> None:
    """Not for an error either, which has the last line; and the terminal never scrolls."""
    lines = [f"line {n}" for n in range(rows)]
    shown = [_frame(Group(*map(Text, lines)), note) for note in (None, Text("the server is away", "red"))]
    assert [len(frame) for frame in shown] == [9, 9]
    room = min(rows, 8)
    assert shown[0][:8] == shown[1][:8] == [*lines[:room], *[""] * (8 - room)]
    assert shown[0][8] == (f"{rows - 8} more lines, on a higher terminal" if rows > 8 else "")
    assert shown[1][8] == "the server is away"


def _frame(shown: Group, note: Text | None) -> list[str]:
    """Return the lines of a terminal of nine lines, drawn as ``--watch`` does."""
    console = Console(width=40, height=9, file=io.StringIO())
    console.print(Screen(dashboard._Screen(shown, note)))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().split("\n")]


@pytest.mark.parametrize(
    ("name", "values", "style"),
    [
        ("satisfaction", {"avg_score": 0.69, "total_responses": 10}, "yellow"),
        ("satisfaction", {"avg_score": 0.69, "total_responses": 9}, ""),
        ("satisfaction", {"avg_score": 0.71, "total_responses": 10}, ""),
        ("satisfaction", {"avg_score": math.nan, "total_responses": 0}, ""),
        ("usage", {"success_rate": 0.89, "total_usage": 20}, "bold red"),
        ("usage", {"success_rate": 0.89, "total_usage": 19}, ""),
        ("usage", {"success_rate": 0.91, "total_usage": 20}, ""),
    ],
)
def test_what_an_alert_would_fire_for_has_its_colour(name: str, values: dict[str, float], style: str) -> None:
    """The numbers are those of the alerts: so few events are none's fault."""
    section = {
        "has_data": True,
        "estimated": [],
        "by_type": {},
        "by_action": {},
        "satisfaction_rate": 0.5,
        "failed": 3,
        "avg_duration_ms": 1.0,
        "p95_duration_ms": 1.0,
        **values,
    }
    assert _styles(view._SECTIONS[name](section, 80), {"satisfaction": 3, "usage": 3}[name]) == [style]


@pytest.mark.parametrize(
    ("average", "unit", "count", "style"),
    [(1100.0, "ms", 20, "yellow"), (1.1, "s", 20, "yellow"), (900.0, "ms", 20, ""), (1100.0, "ms", 19, "")],
)
def test_slow_responses_have_the_colour_of_their_alert(average: float, unit: str, count: int, style: str) -> None:
    entry = {"avg": average, "unit": unit, "count": count}
    section = {"has_data": True, "estimated": [], "categories": {"response_time": entry, "latency": entry}}
    assert _styles(view._performance(section, 80), 2) == [style, ""]


def _styles(drawn: RenderableType, column: int) -> list[str]:
    """Return the styles of a column's cells."""
    assert isinstance(drawn, Table)
    return [str(cell.style) for cell in drawn.columns[column].cells if isinstance(cell, Text)]


@pytest.mark.parametrize(
    ("share", "shown"), [(0.9, "90 %"), (2 / 3, "66.7 %"), (-0.05, "-5 %"), (math.nan, "–"), (None, "–")]
)
def test_shares_are_percentages(share: object, shown: str) -> None:
    assert terminal.percent(share) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 日本", "plain ünïcode 日本"),
        ("\x1b]0;title\x07", "�]0;title�"),
        ("a\nb\tc\rd", "a�b�c�d"),
        ("\u202egnp.exe", "�gnp.exe"),
        ("\ud800", "�"),
        ("x" * 1000, "x" * 200 + "…"),
        ("[bold]", "[bold]"),
    ],
)
def test_foreign_text_cannot_steer_a_terminal(text: str, shown: str) -> None:
    assert terminal.clean(text) == shown
    assert terminal.plain(text).plain == shown


@pytest.mark.parametrize("width", range(24, 130, 7))
def test_a_narrow_table_keeps_its_names_and_whole_numbers(width: int) -> None:
    rows = [
        (name, "checkout", "1,234.5", "99.1 %", "≈ 250.25", "milliseconds", "yes") for name in ("payments", "refunds")
    ]
    columns = ("feature", "action", "avg", "success", "p95", "unit", "complete")
    out = io.StringIO()
    Console(width=width, file=out).print(view.table("T", columns, rows, words=2))
    shown = out.getvalue()
    for name in ("payments", "refunds", "checkout"):
        assert name in shown
    if width > 36:
        assert "1,234.5" in shown
        assert "…" not in shown
    assert ("milliseconds" in shown) is (width > 67)


@pytest.mark.parametrize("width", range(10, 60))
def test_no_number_is_cut_off_beside_short_names(width: int) -> None:
    out = io.StringIO()
    rows = [("memory", "cache", "82 MB", "100 MB", "82 %")]
    Console(width=width, file=out).print(
        view.table("Resources", ("type", "name", "used", "allocated", "in use"), rows, words=2)
    )
    shown = out.getvalue()
    columns = [column for column in ("82 MB", "100 MB", "82 %") if column in shown]
    # The first ones, each with its heading, and no piece of another.
    assert columns == ["82 MB", "100 MB", "82 %"][: len(columns)]
    assert [word for word in ("used", "allocated", "in use") if word in shown] == ["used", "allocated", "in use"][
        : len(columns)
    ]
    assert sum(character.isdigit() for character in shown) == sum(each.isdigit() for each in "".join(columns))
    assert len(columns) == 3 or width < 46


def test_json_has_null_for_what_is_not_a_number() -> None:
    assert json_safe({"a": math.nan, "b": [math.inf, 1.5], "c": (0, "x", None, True)}) == {
        "a": None,
        "b": [None, 1.5],
        "c": [0, "x", None, True],
    }


def _dashboard(**usage: float) -> dict[str, Any]:
    return {"hours": 1, "source": "x", "estimated": ["usage.p95_duration_ms"], "usage": usage}


@pytest.mark.parametrize(
    ("ours", "theirs", "agree"),
    [
        ({"total_usage": 3}, {"total_usage": 3}, True),
        ({"total_usage": 3}, {"total_usage": 4}, False),
        ({"total_usage": 3}, {}, False),
        ({"total_usage": 3}, {"total_usage": math.nan}, False),
        ({"success_rate": math.nan}, {"success_rate": math.nan}, True),
        ({"avg_duration_ms": 1.0}, {"avg_duration_ms": 1.0 + 1e-9}, True),
        ({"avg_duration_ms": 1.0}, {"avg_duration_ms": 1.001}, False),
        ({"avg_duration_ms": 0.0}, {"avg_duration_ms": 1e-30}, True),
        ({"p95_duration_ms": 1.0}, {"p95_duration_ms": 1.1}, True),
        ({"p95_duration_ms": 1.0}, {"p95_duration_ms": math.nan}, False),
    ],
)
def test_dashboards_agree_where_every_exact_number_does(
    ours: dict[str, float], theirs: dict[str, float], agree: bool
) -> None:
    rows = demo_view.compared(_dashboard(**ours), _dashboard(**theirs))
    assert all(row.agrees for row in rows) is agree
    assert demo_view.verdict(rows).plain.startswith("All" if agree else "1 of 1 numbers differ: usage.")


def test_estimates_are_known_in_every_part_of_their_section() -> None:
    part = {"by_action": {"open.it": {"p95_duration_ms": 2.0, "total_usage": 1}}}
    rows = demo_view.compared(_dashboard() | {"usage": part}, _dashboard() | {"usage": part})
    assert {row.name: row.estimated for row in rows} == {
        "usage.by_action.open.it.p95_duration_ms": True,
        "usage.by_action.open.it.total_usage": False,
    }
