"""A dashboard on the terminal: aligned numbers with their units, estimates marked, no data told as no data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from otel_metrics.assets import thresholds
from otel_metrics.assets.feature_alerts import RESPONSE_TIME_CATEGORY
from otel_metrics.catalogue import FEATURE, OUTCOME, PERFORMANCE_DURATION
from otel_metrics.cli.terminal import ABSENT, clean, number, percent, plain
from otel_metrics.units import UNITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Column

    from otel_metrics.assets.thresholds import Limit
    from otel_metrics.querying.source import Answer, QueryTable

    Section = Mapping[str, Any]

ESTIMATE: Final = "≈"
_NARROW: Final = 100
_SMALL: Final = 60
_LEAST_WORDS: Final = 14
_BESIDE: Final = 3
"""Characters between two columns."""
_STATISTICS: Final = ("avg", "p50", "p95", "p99", "min", "max")
_BYTES: Final = frozenset({"bytes", "byte", "B", "By"})
_SEVERE: Final = {"critical": "bold red", "error": "red", "warning": "yellow"}
_BLOCKS: Final = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Overview:
    """What a server knows beside the dashboard: its features side by side, and the alerts that fire."""

    features: Answer
    """``uses`` by feature and outcome; ``errors``, ``scores`` and ``durations`` by feature."""
    uses: QueryTable
    """Uses of each feature over time."""
    firing: Sequence[Mapping[str, str]]
    """Labels of the alerts."""


def dashboard(
    data: Section, *, overview: Overview | None = None, origin: str = "", only: Sequence[str] = (), width: int = 120
) -> Group:
    """Return the dashboard of ``get_comprehensive_dashboard``; ``origin`` says where it was read, ``only`` names sections."""
    feature = f"feature {clean(data['feature'])}" if data.get("feature") else "all features"
    parts: list[RenderableType] = [Text(f"Dashboard of {feature}, last {number(data['hours'])} h", "bold")]
    if overview is not None:
        parts += _overview(overview, width)
    if data.get("has_data"):
        for name, render in _SECTIONS.items():
            if not only or name in only:
                section = data[name]
                parts.append(render(section, width) if section["has_data"] else _without_data(name.capitalize()))
    else:
        parts.append(Text("No data: nothing was recorded in this time, or the source has not seen it.", "yellow"))
    return Group(*parts, footer(data, origin))


def footer(data: Section, origin: str = "") -> Text:
    """Return where the numbers come from, which time they cover and how to read them."""
    window = data.get("window") or {}
    covered = " → ".join(clean(window.get(edge, "?")).replace("T", " ")[:19] for edge in ("start", "end"))
    text = Text(
        f"Source: {clean(data.get('source', '?'))}{' ' + clean(origin) if origin else ''}, {covered} UTC", "dim"
    )
    if data.get("estimated"):
        text.append(f"; {ESTIMATE} estimated")
    if data.get("has_data"):
        text.append(f"; {ABSENT} no data")
    for warning in data.get("warnings") or ():
        text.append("\nWarning: ", "yellow").append(clean(warning), "yellow")
    return text


class _Table(Table):
    """A table that has no more columns of numbers than fit beside those of text: numbers without a name would be of no use."""

    words = 1
    """Columns of text, the first ones."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        every = self.columns
        while len(self.columns) > self.words and self._least_width() > options.max_width:
            self.columns = self.columns[:-1]
        try:
            yield from super().__rich_console__(console, options)
        finally:
            self.columns = every

    def _least_width(self) -> int:
        """Return the width at which every number is whole."""
        words = [column.min_width or 0 for column in self.columns[: self.words]]
        return sum(words) + sum(map(_natural, self.columns[self.words :])) + _BESIDE * len(self.columns)


def _natural(column: Column) -> int:
    """Return the width of the widest cell."""
    return max(cell_len(str(cell)) for cell in (column.header, *column.cells))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, words: int = 1) -> Table:
    """Return a table whose first ``words`` columns are text and whose others are numbers."""
    drawn = _Table(
        title=title, title_justify="left", title_style="bold cyan", box=box.SIMPLE_HEAD, pad_edge=False, expand=False
    )
    drawn.words = words
    for column in columns[:words]:
        drawn.add_column(column, overflow="fold")
    for column in columns[words:]:
        # A number that lost digits would be another number: where there is no room, an ellipsis says so.
        drawn.add_column(column, justify="right", no_wrap=True, overflow="ellipsis")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    for named in drawn.columns[:words]:
        named.min_width = min(_LEAST_WORDS, _natural(named))
    return drawn


def _cell(values: Section, key: str, estimated: Iterable[str], show: Callable[[object], str] = number) -> str:
    shown = show(values.get(key))
    return f"{ESTIMATE} {shown}" if key in estimated and shown != ABSENT else shown


def _without_data(name: str) -> Text:
    return Text.assemble((name, "bold cyan"), ("  no data", "yellow"))


def _judged(shown: str, value: float, limit: Limit, severity: str, events: float, *, below: bool = False) -> str | Text:
    """Return a number in the colour of the alert that would fire, above its limit or ``below``, if the last hour were like this."""
    passed = value < limit.bound if below else value > limit.bound
    return Text(shown, _SEVERE[severity]) if passed and events >= limit.events else shown


def _overview(overview: Overview, width: int) -> Iterable[RenderableType]:
    """Return the alerts that fire, and a line for each feature, in the order of their names: the same at every look."""
    severities: dict[str, set[str]] = {}
    for alert in sorted(overview.firing, key=lambda labels: sorted(labels.items())):
        severity, feature = alert.get("severity", ""), alert.get(FEATURE.name, "")
        severities.setdefault(feature, set()).add(severity)
        name = " ".join(filter(None, (severity, alert.get("alertname"), feature)))
        yield plain(f"Firing: {name}", _SEVERE.get(severity, "yellow"))
    used: dict[str, dict[str, float]] = {}
    for labels, uses in overview.features.numbers("uses"):
        used.setdefault(labels[FEATURE.name], {})[labels[OUTCOME.name]] = uses
    errors = {labels[FEATURE.name]: found for labels, found in overview.features.numbers("errors")}
    scores, durations = (
        {labels[FEATURE.name]: found.statistics() for labels, found in overview.features.distributions(name)}
        for name in ("scores", "durations")
    )
    names = sorted({*used, *errors, *scores, *durations})
    if not names:
        return
    # By the number of the step, counted back from now: a time without any use is a gap for all.
    trend, curves = overview.uses, dict[str, dict[float, float]]()
    for row in trend.rows:
        step = round((row.time - trend.period.end) / trend.step)
        curves.setdefault(row.labels.get(FEATURE.name, ""), {})[step] = row.value
    steps = range(1 - round(trend.period.seconds / trend.step), 1)
    room = 24 if width >= _NARROW else 12 if width >= _SMALL else 8
    rows = []
    for feature in names:
        firing, outcomes = severities.get(feature, set()), used.get(feature, {})
        known = outcomes.get("success", 0) + outcomes.get("failure", 0)
        failed = outcomes.get("failure", 0) / known if known else math.nan
        score, duration = scores.get(feature), durations.get(feature)
        average, responses = (score.total / score.count, score.count) if score else (math.nan, 0)
        rows.append(
            (
                plain(feature, next((style for severity, style in _SEVERE.items() if severity in firing), "")),
                number(sum(outcomes.values())),
                Text(curve(curves.get(feature, {}), steps, room), "cyan"),
                _judged(percent(failed), failed, thresholds.FAILURES, "critical", known),
                number(errors.get(feature, 0)),
                _judged(number(average, 3), average, thresholds.SATISFACTION, "warning", responses, below=True),
                number(duration.total / duration.count * 1000 if duration else None),
            )
        )
    yield table("Features", ("feature", "uses", "trend", "failed", "errors", "score", "avg ms"), rows)


def curve(values: dict[float, float], times: Sequence[float], width: int) -> str:
    """Return values over time in blocks, the least as the lowest; a gap where there is none."""
    cells = [_mean(values[when] for when in part if when in values) for part in _parts(times, width)]
    known = [value for value in cells if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return "".join(_block(value, low, high) for value in cells)


def _parts(times: Sequence[float], width: int) -> Iterable[Sequence[float]]:
    count = min(width, len(times))
    for n in range(count):
        yield times[n * len(times) // count : (n + 1) * len(times) // count]


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _block(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return " "
    share = (value - low) / (high - low) if high > low else 0.0
    return _BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)]


def _performance(section: Section, width: int) -> RenderableType:
    statistics = _STATISTICS if width >= _NARROW else _STATISTICS[:4]
    rows = []
    for category, values in section["categories"].items():
        for entry in (values, *values.get("other_units", ())):
            cells: list[str | Text] = [_cell(entry, key, section["estimated"]) for key in statistics]
            if category == RESPONSE_TIME_CATEGORY and (unit := UNITS.get(entry["unit"])):
                average = entry["avg"] * unit.factor / unit.divisor if unit.metric is PERFORMANCE_DURATION else math.nan
                cells[0] = _judged(str(cells[0]), average, thresholds.RESPONSE_TIME, "warning", entry["count"])
            rows.append((category, number(entry["count"]), *cells, plain(entry["unit"], "dim")))
    return table("Performance", ("category", "count", *statistics, "unit"), rows)


def _satisfaction(section: Section, width: int) -> RenderableType:
    keys = ("avg_score", "p50_score", "min_score") if width >= _NARROW else ("avg_score",)
    rows = []
    for kind, values in (*section["by_type"].items(), ("all", section)):
        responses, average = values["total_responses"], values["avg_score"]
        shown, *more = (_cell(values, key, section["estimated"]) for key in keys)
        judged = _judged(shown, average, thresholds.SATISFACTION, "warning", responses, below=True)
        rows.append((kind, number(responses), percent(values["satisfaction_rate"]), judged, *more))
    return table(
        "Satisfaction (scores 0 to 1)", ("type", "responses", "satisfied", *(k.replace("_", " ") for k in keys)), rows
    )


def _usage(section: Section, width: int) -> RenderableType:
    keys = ("avg_duration_ms", "p95_duration_ms", "max_duration_ms")[: 3 if width >= _NARROW else 2]
    rows = []
    for action, values in (*section["by_action"].items(), ("all", section)):
        uses, rate = values["total_usage"], values["success_rate"]
        judged = _judged(percent(rate), 1 - rate, thresholds.FAILURES, "critical", uses)
        durations = (_cell(values, key, section["estimated"]) for key in keys)
        rows.append((action, number(uses), number(values["failed"]), judged, *durations))
    return table("Usage", ("action", "uses", "failed", "success", *(f"{key[:3]} ms" for key in keys)), rows)


def _errors(section: Section, _width: int) -> RenderableType:
    text = Text.assemble(("Errors  ", "bold cyan"), (number(section["total_errors"]), "bold"))
    for severity, count in section["by_severity"].items():
        text.append(f"  {clean(severity)} {number(count)}", _SEVERE.get(severity, ""))
    if section["recovery_attempts"]:
        text.append(f"  recovered {number(section['recovered'])} of {number(section['recovery_attempts'])} attempts")
        text.append(f" ({percent(section['recovery_rate'])})")
    types = ", ".join(f"{clean(kind, 60)} {number(count)}" for kind, count in section["by_type"].items())
    return text.append(f"\n        {types}", "dim") if types else text


def _learning(section: Section, _width: int) -> RenderableType:
    keys = ("avg_accuracy", "p50_accuracy", "avg_confidence", "avg_improvement_rate")
    rows = [
        (kind, number(values["total_samples"]), *(_cell(values, key, section["estimated"], percent) for key in keys))
        for kind, values in section["by_type"].items()
    ]
    return table("Learning", ("type", "samples", "accuracy", "p50", "confidence", "improvement"), rows)


def _optimization(section: Section, _width: int) -> RenderableType:
    rows = [
        (
            category,
            number(values["total_optimizations"]),
            *(_cell(values, key, section["estimated"], _factor) for key in ("avg_change", "min_change", "max_change")),
            _cell(values, "avg_user_impact", section["estimated"]),
        )
        for category, values in section["by_category"].items()
    ]
    return table("Optimization (after ÷ before)", ("category", "count", "avg", "min", "max", "user impact"), rows)


def _resources(section: Section, _width: int) -> RenderableType:
    rows = [
        (
            row["resource_type"],
            row["resource_name"],
            _amount(row["used"], row["unit"]),
            _amount(row["allocated"], row["unit"]),
            _judged(percent(share), share, thresholds.EXHAUSTED, "critical", math.inf),
        )
        for row in section["resources"]
        for share in [row["utilization_percent"] / 100]
    ]
    return table("Resources (last known)", ("type", "name", "used", "allocated", "in use"), rows, words=2)


def _amount(value: float, unit: str) -> str:
    if math.isnan(value):
        return ABSENT
    if unit in _BYTES:
        power = min(4, int(math.log(max(1.0, abs(value)), 1000)))
        value, unit = value / 1000**power, ("B", "kB", "MB", "GB", "TB")[power]
    return f"{number(value)} {clean(unit, 20)}".rstrip()


def _factor(change: object) -> str:
    shown = number(change, 3)
    return shown if shown == ABSENT else f"× {shown}"


_SECTIONS: Final[dict[str, Callable[[Section, int], RenderableType]]] = {
    "performance": _performance,
    "satisfaction": _satisfaction,
    "usage": _usage,
    "errors": _errors,
    "learning": _learning,
    "optimization": _optimization,
    "resources": _resources,
}
