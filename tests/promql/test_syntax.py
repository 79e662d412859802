"""Expressions as text: parentheses where they are needed, lines where a person would break them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_metrics.promql import Series, aggregate, call, equal, last_over, like, pretty, relabel, sum_by

if TYPE_CHECKING:
    from otel_metrics.promql import Expression

A, B, C = Series("a"), Series("b"), Series("c")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (A + B - C, "a + b - c"),
        (A - (B + C), "a - (b + c)"),
        ((A + B) * C, "(a + b) * c"),
        (A + B * C, "a + b * c"),
        (A / (B > 0), "a / (b > 0)"),
        (A - 1 > 0.5, "a - 1 > 0.5"),
        ((A > 1) & (B < 2), "a > 1 and b < 2"),
        ((A > 0) < B, "(a > 0) < b"),
        (A | B | C, "a or b or c"),
        (A | (B | C), "a or (b or c)"),
        (A | B.unless(C), "a or (b unless c)"),
        ((A | B) & C, "(a or b) and c"),
        (A**2 / B, "a ^ 2 / b"),
        (A.also(B, on=("x", "y")), "a and on (x, y) b"),
        (A.unless(B, on=()), "a unless on () b"),
        (A.or_ignoring(B, "day"), "a or ignoring (day) b"),
        (A.equals(0), "a == 0"),
        (Series("a", (equal("x", 'say "hi"'), like("y", "$y"))), r'a{x="say \"hi\"",y=~"$y"}'),
        (A.when(offset="1d"), "a offset 1d"),
        (call("increase", A.over("1h", modifier="anchored")), "increase(a[1h] anchored)"),
        (last_over(A.over("5m", at="17.000")), "last_over_time(a[5m] @ 17.000)"),
        (last_over(A.every("1d", "1d", offset="30m")), "last_over_time(a[1d:1d] offset 30m)"),
        (last_over((A + B).every("1d", "1d")), "last_over_time((a + b)[1d:1d])"),
        (sum_by(("x",), A), "sum by (x) (a)"),
        (aggregate("topk", (), 10, A), "topk(10, a)"),
        (relabel(A, "x", "y"), 'label_replace(a, "x", "y", "", "")'),
    ],
)
def test_one_line(expression: Expression, text: str) -> None:
    assert str(expression) == text


def test_what_the_other_side_of_an_operator_narrows_is_not_narrowed_twice() -> None:
    assert str((A & Series("b", matched=True)).narrowed(equal("x", "1"))) == 'a{x="1"} and b'


def test_a_short_expression_stays_on_a_line() -> None:
    assert pretty(sum_by(("x",), A)) == "sum by (x) (a)"


def test_operators_begin_lines() -> None:
    name = Series("a_name_of_some_length")
    assert pretty(name + name - (name | name.unless(name)), 50) == (
        "a_name_of_some_length\n"
        "+ a_name_of_some_length\n"
        "- (\n"
        "  a_name_of_some_length\n"
        "  or (\n"
        "    a_name_of_some_length\n"
        "    unless a_name_of_some_length\n"
        "  )\n"
        ")"
    )


def test_what_parentheses_hold_is_indented() -> None:
    rate = sum_by(("feature", "le"), call("rate", Series("feature_usage_duration_seconds_bucket").over("5m")))
    assert pretty(call("histogram_quantile", 0.95, rate) >= 0, 80) == (
        "histogram_quantile(0.95,\n  sum by (feature, le) (rate(feature_usage_duration_seconds_bucket[5m]))\n) >= 0"
    )


def test_a_subquery_is_closed_where_its_window_stands() -> None:
    name = Series("a_name_of_some_length")
    assert pretty(last_over((name + name).every("1d", "1d", offset="30m")), 40) == (
        "last_over_time((\n  a_name_of_some_length\n  + a_name_of_some_length\n)[1d:1d] offset 30m)"
    )
    assert pretty(last_over(sum_by(("feature",), name).every("1d", "1d", offset="30m")), 70) == (
        "last_over_time(\n  sum by (feature) (a_name_of_some_length)[1d:1d] offset 30m\n)"
    )


def test_short_arguments_follow_a_long_one() -> None:
    inner = sum_by(("feature",), Series("a_name_of_some_length"))
    assert pretty(relabel(inner, "unit", "ratio"), 50) == (
        'label_replace(\n  sum by (feature) (a_name_of_some_length),\n  "unit", "ratio", "", ""\n)'
    )
