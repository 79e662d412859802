"""PromQL as values: series, calls, aggregations and operators, put together with Python's operators and printed as text.

``str()`` of an expression is one line; :func:`pretty` breaks it where a person would. Parentheses follow from precedence,
strings are escaped here and nowhere else.

    sum_by(("feature",), call("rate", Series("feature_errors_total").over("5m"))) > 10
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from otel_metrics.naming import series_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from otel_metrics.catalogue import Label, Metric

WIDTH: Final = 100
"""Characters of a line of a rule file."""

_PRECEDENCE: Final = {
    "or": 1,
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(("==", "!=", "<=", "<", ">=", ">"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
    "^": 6,
}
_ATOM: Final = 9
_SPECIAL: Final = re.compile(r'[\\"\x00-\x1f\x7f\ud800-\udfff\ufffd]')


def quoted(text: str) -> str:
    """Return ``text`` as a PromQL string literal that stands for exactly that text.

    Lone surrogates, which no label can hold, become U+FFFD, which Prometheus accepts as an escape only.
    """
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character in '\\"':
        return "\\" + character
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0x7F else "\\uFFFD"


def milliseconds(seconds: float) -> str:
    """Return a duration, of a millisecond at least."""
    return f"{max(round(seconds * 1000), 1)}ms"


_UNITS: Final = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
"""Milliseconds of each."""

_DURATION_PART: Final = re.compile("([0-9]+)(ms|[smhdwy])")


def seconds(duration: str) -> float:
    """Return the seconds of a duration as PromQL has it, such as ``30d`` or ``1h30m``."""
    return sum(int(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(duration)) / 1000


def duration(seconds: float) -> str:
    """Return a duration as a person writes it, such as ``1d`` or ``1h30m``, of a millisecond at least."""
    left, parts = max(round(seconds * 1000), 1), []
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


# ------------------------------------------------------------------------------------------------------------ matchers


def _matcher(label: Label | str, operator: str, value: str) -> str:
    return f"{label if isinstance(label, str) else label.name}{operator}{quoted(value)}"


def equal(label: Label | str, value: str) -> str:
    """Return the matcher for one value of a label."""
    return _matcher(label, "=", value)


def unequal(label: Label | str, value: str) -> str:
    """Return the matcher for all values of a label but one."""
    return _matcher(label, "!=", value)


def like(label: Label | str, pattern: str) -> str:
    """Return the matcher for the values that a regular expression matches as a whole."""
    return _matcher(label, "=~", pattern)


def unlike(label: Label | str, pattern: str) -> str:
    """Return the matcher for the values that a regular expression does not match."""
    return _matcher(label, "!~", pattern)


# --------------------------------------------------------------------------------------------------------- expressions


class Expression:
    """Something that a server can evaluate."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return the expression in one line."""
        raise NotImplementedError

    @property
    def precedence(self) -> int:
        """Return how strongly the outermost operator binds."""
        return _ATOM

    def narrowed(self, *matchers: str) -> Expression:
        """Return the expression with more matchers on every series in it."""
        del matchers
        return self

    def grouped(self, labels: Sequence[str], beside: Collection[str]) -> Expression:
        """Return the expression with ``labels`` in every grouping, and in every ``on``, that has one of ``beside``."""
        del labels, beside
        return self

    def broken(self, width: int) -> list[str]:
        """Return the expression in several lines, where it has places to break."""
        del width
        return [str(self)]

    def __add__(self, other: Expression | float) -> Expression:
        return binary(self, "+", other)

    def __sub__(self, other: Expression | float) -> Expression:
        return binary(self, "-", other)

    def __mul__(self, other: Expression | float) -> Expression:
        return binary(self, "*", other)

    def __truediv__(self, other: Expression | float) -> Expression:
        return binary(self, "/", other)

    def __pow__(self, other: Expression | float) -> Expression:
        return binary(self, "^", other)

    def __gt__(self, other: Expression | float) -> Expression:
        return binary(self, ">", other)

    def __ge__(self, other: Expression | float) -> Expression:
        return binary(self, ">=", other)

    def __lt__(self, other: Expression | float) -> Expression:
        return binary(self, "<", other)

    def __le__(self, other: Expression | float) -> Expression:
        return binary(self, "<=", other)

    def __or__(self, other: Expression | float) -> Expression:
        """``or``: what is here, and what only ``other`` has."""
        return binary(self, "or", other)

    def __and__(self, other: Expression) -> Expression:
        """``and``: what is here, where ``other`` has the same labels."""
        return binary(self, "and", other)

    def equals(self, other: Expression | float) -> Expression:
        """``==``, which Python keeps for itself."""
        return binary(self, "==", other)

    def differs(self, other: Expression | float) -> Expression:
        """``!=``."""
        return binary(self, "!=", other)

    def also(self, other: Expression, on: Sequence[str]) -> Expression:
        """``and on``: what is here, where ``other`` has the same values of these labels."""
        return Binary(self, "and", other, on=tuple(on))

    def unless(self, other: Expression, on: Sequence[str] | None = None) -> Expression:
        """``unless``: what is here and not there."""
        return Binary(self, "unless", other, on=None if on is None else tuple(on))

    def unless_ignoring(self, other: Expression, label: str) -> Expression:
        """``unless ignoring``: what is here and not there, whatever the label's value is."""
        return binary(self, "unless", other, f"ignoring ({label})")

    def or_ignoring(self, other: Expression, label: str) -> Expression:
        """``or ignoring``: what is here, and what only ``other`` has, whatever the label's value is."""
        return binary(self, "or", other, f"ignoring ({label})")

    def every(self, window: str, step: str = "", *, offset: str = "", at: str = "") -> Range:
        """Return the values at each step of a window, as a subquery: steps are multiples of ``step`` since 1970."""
        return Range(self, f"{window}:{step}", offset, at)


@dataclass(frozen=True, slots=True, eq=False)
class Series(Expression):
    """The series of a name whose labels match."""

    name: str
    matchers: tuple[str, ...] = ()
    offset: str = ""
    at: str = ""
    matched: bool = False
    """Whether it is narrowed by the other side of an operator, which all its labels match."""

    def __str__(self) -> str:
        return f"{self.name}{{{','.join(self.matchers)}}}{self._when}" if self.matchers else self.name + self._when

    @property
    def _when(self) -> str:
        return _when(self.offset, self.at)

    def narrowed(self, *matchers: str) -> Series:
        """Return those of the series that match, too."""
        return self if self.matched else self.where(*matchers)

    def where(self, *matchers: str) -> Series:
        """Return those of the series that match, too."""
        return replace(self, matchers=(*self.matchers, *filter(None, matchers)))

    def when(self, *, offset: str = "", at: str = "") -> Series:
        """Return the same at another moment."""
        return replace(self, offset=offset, at=at)

    def over(self, window: str, *, offset: str = "", at: str = "", modifier: str = "") -> Range:
        """Return the samples of a window."""
        return Range(replace(self, offset="", at=""), window, offset, at, modifier)


@dataclass(frozen=True, slots=True, eq=False)
class Range(Expression):
    """Samples of a window, the argument of functions ``..._over_time``; of a subquery ``window`` has a colon."""

    of: Expression
    window: str
    offset: str = ""
    at: str = ""
    modifier: str = ""

    @property
    def _tail(self) -> str:
        return f"[{self.window}]{_when(self.offset, self.at)}" + (f" {self.modifier}" if self.modifier else "")

    def narrowed(self, *matchers: str) -> Range:
        """Return the samples of those of the series that match, too."""
        return replace(self, of=self.of.narrowed(*matchers))

    def grouped(self, labels: Sequence[str], beside: Collection[str]) -> Range:
        """Return the same of what is grouped."""
        return replace(self, of=self.of.grouped(labels, beside))

    def __str__(self) -> str:
        return (f"({self.of})" if isinstance(self.of, Binary) else str(self.of)) + self._tail

    def broken(self, width: int) -> list[str]:
        """Return a subquery with what is evaluated on lines of its own."""
        if isinstance(self.of, Binary):
            return ["(", *_indented(self.of, width), ")" + self._tail]
        *above, last = lines(self.of, width - len(self._tail))
        return [*above, last + self._tail]


@dataclass(frozen=True, slots=True, eq=False)
class Number(Expression):
    """A number, or other text that stands for itself."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, eq=False)
class Call(Expression):
    """A function of arguments, or an aggregation over them with ``by``."""

    function: str
    arguments: tuple[Expression, ...]
    by: tuple[str, ...] = field(default=())

    @property
    def _head(self) -> str:
        return f"{self.function} by ({', '.join(self.by)}) (" if self.by else f"{self.function}("

    def narrowed(self, *matchers: str) -> Call:
        """Return the same function of narrowed arguments."""
        return replace(self, arguments=tuple(each.narrowed(*matchers) for each in self.arguments))

    def grouped(self, labels: Sequence[str], beside: Collection[str]) -> Call:
        """Return the same of what is grouped, itself grouped."""
        arguments = tuple(each.grouped(labels, beside) for each in self.arguments)
        return replace(self, arguments=arguments, by=_beside(labels, self.by, beside))

    def __str__(self) -> str:
        return f"{self._head}{', '.join(map(str, self.arguments))})"

    def broken(self, width: int) -> list[str]:
        """Return what the parentheses hold on lines of their own."""
        *first, last = self.arguments
        if isinstance(last, Range) and isinstance(last.of, Binary):
            head, *inside, tail = last.broken(width)
            return [self._head + head, *inside, tail + ")"]
        lead = "".join(f"{argument}, " for argument in first)
        if not any(isinstance(argument, (Binary, Call)) for argument in first):
            return [(self._head + lead).rstrip(), *_indented(last, width), ")"]
        long, *rest = self.arguments
        return [self._head, *_indented(long, width, ","), "  " + ", ".join(map(str, rest)), ")"]


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Expression):
    """Two expressions and what stands between them."""

    left: Expression
    operator: str
    right: Expression
    matching: str = ""
    on: tuple[str, ...] | None = None
    """Labels that match, if not all; in place of ``matching``."""

    @property
    def precedence(self) -> int:
        """Return how strongly the operator binds."""
        return _PRECEDENCE[self.operator]

    @property
    def _middle(self) -> str:
        matching = self.matching if self.on is None else f"on ({', '.join(self.on)})"
        return f"{self.operator} {matching}" if matching else self.operator

    def _needs(self, side: Expression) -> bool:
        """Return whether a side needs parentheses: so that it is read right, or, of unlike set operators, easily."""
        if not isinstance(side, Binary):
            return False
        # Where the rules of precedence suffice for the server, but not for everybody who reads.
        if self.precedence == side.precedence == _COMPARISON:
            return True
        if max(self.precedence, side.precedence) < _COMPARISON and side.operator != self.operator:
            return True
        associates = side is self.left and self.operator != "^"
        return side.precedence < self.precedence or (side.precedence == self.precedence and not associates)

    def narrowed(self, *matchers: str) -> Binary:
        """Return the same of both sides narrowed."""
        return replace(self, left=self.left.narrowed(*matchers), right=self.right.narrowed(*matchers))

    def grouped(self, labels: Sequence[str], beside: Collection[str]) -> Binary:
        """Return the same of both sides grouped."""
        left, right = (side.grouped(labels, beside) for side in (self.left, self.right))
        on = None if self.on is None else _beside(labels, self.on, beside)
        return replace(self, left=left, right=right, on=on)

    def __str__(self) -> str:
        left, right = (f"({side})" if self._needs(side) else str(side) for side in (self.left, self.right))
        return f"{left} {self._middle} {right}"

    def broken(self, width: int) -> list[str]:
        """Return the operator and what follows it on a new line."""
        right = self._side(self.right, width - len(self._middle) - 1)
        chain = self.left.precedence == self.precedence and not self._needs(self.left)
        left = self.left.broken(width) if chain else self._side(self.left, width)
        if left[-1] == ")" and isinstance(self.right, Number):
            return [*left[:-1], f") {self._middle} {right[0]}"]
        return [*left, f"{self._middle} {right[0]}", *right[1:]]

    def _side(self, side: Expression, width: int) -> list[str]:
        if not self._needs(side):
            return lines(side, width)
        return [f"({side})"] if len(str(side)) + 2 <= width else ["(", *_indented(side, width), ")"]


def _beside(labels: Sequence[str], by: tuple[str, ...], beside: Collection[str]) -> tuple[str, ...]:
    if not any(label in beside for label in by):
        return by
    return (*(label for label in labels if label not in by), *by)


_COMPARISON: Final = 3


def lines(expression: Expression, width: int = WIDTH) -> list[str]:
    """Return an expression in lines of about ``width`` characters; names are not broken."""
    text = str(expression)
    return [text] if len(text) <= width else expression.broken(width)


def pretty(expression: Expression, width: int = WIDTH) -> str:
    """Return an expression as text for people."""
    return "\n".join(lines(expression, width))


def _indented(expression: Expression, width: int, end: str = "") -> list[str]:
    *above, last = (f"  {line}" for line in lines(expression, width - 2))
    return [*above, last + end]


def _when(offset: str, at: str) -> str:
    return (f" offset {offset}" if offset else "") + (f" @ {at}" if at else "")


# ------------------------------------------------------------------------------------------------------------ builders


def number(value: float) -> Expression:
    """Return a number."""
    return Number(repr(int(value) if value == int(value) else value))


def _expression(value: Expression | float | str) -> Expression:
    if isinstance(value, Expression):
        return value
    return Number(quoted(value)) if isinstance(value, str) else number(value)


def binary(left: Expression, operator: str, right: Expression | float, matching: str = "") -> Expression:
    """Return two expressions with an operator, and how their labels match, between them."""
    return Binary(left, operator, _expression(right), matching)


def call(function: str, *arguments: Expression | float | str) -> Expression:
    """Return a function of arguments; text becomes a string literal."""
    return Call(function, tuple(map(_expression, arguments)))


def aggregate(operator: str, by: Sequence[str], *arguments: Expression | float | str) -> Expression:
    """Return an aggregation to the labels ``by``, of everything to one if there are none."""
    return Call(operator, tuple(map(_expression, arguments)), tuple(by))


def sum_by(by: Sequence[str], expression: Expression) -> Expression:
    """Return the sum to the labels ``by``."""
    return aggregate("sum", by, expression)


def last_over(of: Range) -> Expression:
    """Return the last sample of a window."""
    return call("last_over_time", of)


def relabel(expression: Expression, target: str, replacement: str, source: str = "", pattern: str = "") -> Expression:
    """Return ``expression`` with a label set from another one, or to a literal."""
    return call("label_replace", expression, target, replacement, source, pattern)


def series(metric: Metric, *matchers: str, suffix: str = "") -> Series:
    """Return the series of a row of the catalogue."""
    return Series(series_name(metric) + suffix, tuple(filter(None, matchers)))
