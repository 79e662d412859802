"""What people would misread in a dashboard, found in its JSON and in the answers to its queries.

Every function returns complaints, one for each place; an empty list is what a dashboard should have.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Json = dict[str, Any]

STATES = {
    "severity": ("critical", "error", "warning", "info"),
    "outcome": ("success", "failure"),
    "recovery": ("succeeded", "failed"),
    "alertstate": ("firing", "pending"),
}
"""Labels whose values mean something good or bad, so that each has a colour of its own wherever it is drawn."""

BAD = {"critical", "error", "failure", "failed", "firing"}
NOTHING = ("–", "-", "")


def panels(dashboard: Json) -> Iterator[Json]:
    """Panels that ask something, those in folded rows too."""
    for panel in dashboard["panels"]:
        yield from panels(panel) if panel["type"] == "row" else [panel] if panel["type"] != "text" else []


def _overrides(panel: Json) -> Iterator[tuple[Json, Json]]:
    """(matcher, properties by their names) of every override."""
    for override in panel["fieldConfig"]["overrides"]:
        yield override["matcher"], {one["id"]: one["value"] for one in override["properties"]}


def _matches(matcher: Json, column: str) -> bool:
    if matcher["id"] == "byName":
        return bool(matcher["options"] == column)
    if matcher["id"] == "byNames":
        return column in matcher["options"]["names"]
    if matcher["id"] == "byRegexp":
        return re.fullmatch(matcher["options"].strip("/"), column) is not None
    return False


def _columns(panel: Json) -> list[str]:
    """The headings of a table."""
    organized = [one["options"] for one in panel.get("transformations", ()) if one["id"] == "organize"]
    return [heading for options in organized for heading in options["renameByName"].values()]


def properties(panel: Json, column: str = "") -> Json:
    """What is set for a panel's fields, or for a column of its table."""
    found = dict(panel["fieldConfig"]["defaults"])
    for matcher, own in _overrides(panel):
        if column and _matches(matcher, column):
            found.update(own)
    return found


def _fields(panel: Json) -> Iterator[tuple[str, Json]]:
    """(where, properties) of what a panel shows as numbers: the panel itself, or each column of a table."""
    if panel["type"] == "table":
        yield from ((f"{panel['title']} / {column}", properties(panel, column)) for column in _columns(panel))
    else:
        yield panel["title"], properties(panel)


# ----------------------------------------------------------------------------------------------------------- numbers
def judged_absence(panel: Json) -> list[str]:
    """Numbers that take a judging colour when there is none: Grafana gives no value the first threshold's colour."""
    if panel["type"] not in {"stat", "gauge", "bargauge", "table"}:
        return []
    return [
        where
        for where, field in _fields(panel)
        if len(field.get("thresholds", {}).get("steps", ())) > 1
        and not any(
            mapping["type"] == "special"
            and mapping["options"]["match"] == "null+nan"
            and mapping["options"]["result"].get("color")
            for mapping in field.get("mappings", ())
        )
    ]


def shortened_counts(panel: Json) -> list[str]:
    """Exact numbers that are cut to thousands: the unit "short" shows 1,499 as "1.5 K", or "1 K"."""
    if panel["type"] not in {"stat", "gauge", "bargauge", "table"}:
        return []
    return [where for where, field in _fields(panel) if field.get("unit") == "short"]


# ----------------------------------------------------------------------------------------------------------- colours
def states_without_colour(panel: Json) -> list[str]:
    """States that take the palette's colours in alphabetical order, in which "critical" is green; and bad ones not in red."""
    if panel["type"] in {"table", "stat"}:
        return []
    legends = " ".join(target.get("legendFormat", "") for target in panel["targets"])
    complaints = []
    for label in re.findall(r"\{\{\s*(\w+)\s*\}\}", legends):
        for state in STATES.get(label, ()):
            colour = properties(panel, state).get("color", {})
            if colour.get("mode") != "fixed":
                complaints.append(f"{panel['title']}: {state} has no colour of its own")
            elif (state in BAD) != _is_red(colour["fixedColor"]):
                complaints.append(f"{panel['title']}: {state} is {colour['fixedColor']}")
    return complaints


def _is_red(colour: str) -> bool:
    if not colour.startswith("#"):
        return "red" in colour.split("-")
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return red > 2 * green and red > 2 * blue


def features_that_change_colour(panel: Json) -> list[str]:
    """Curves of features that take the palette's colours by their place: in a graph of other features they have others."""
    if panel["type"] != "timeseries":
        return []
    of_features = all(
        target.get("legendFormat") in {"{{feature}}", "{{job}} {{feature}}"} for target in panel["targets"]
    )
    by_name = panel["fieldConfig"]["defaults"]["color"]["mode"] == "palette-classic-by-name"
    return [panel["title"]] if of_features and not by_name else []


def bounds_in_a_calm_colour(panel: Json) -> list[str]:
    """Lines of bounds that are green: a line takes the colour of the step that begins there."""
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    if panel["type"] != "timeseries" or custom.get("thresholdsStyle", {}).get("mode", "off") == "off":
        return []
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [f"{panel['title']}: {step['value']} is {step['color']}" for step in steps[1:] if "green" in step["color"]]


def bars_without_size(panel: Json) -> list[str]:
    """Bars with a height that has no effect, as it belongs to sizes set by hand."""
    options = panel["options"]
    ineffective = "maxVizHeight" in options and options.get("sizing") != "manual"
    return [panel["title"]] if panel["type"] == "bargauge" and ineffective else []


# ------------------------------------------------------------------------------------------------------------ tables
def filled_cells(panel: Json) -> list[str]:
    """Columns whose empty cells say what the whole table says when it is empty."""
    if panel["type"] != "table":
        return []
    fields = ((f"{panel['title']} / {column}", properties(panel, column)) for column in _columns(panel))
    return [f"{where}: {text}" for where, field in fields if (text := field.get("noValue", "")) not in NOTHING]


def merged(panel: Json, answers: Mapping[str, list[Json]]) -> list[Json]:
    """The rows of a table before columns are hidden and named, by the rules of Grafana's table format and transformations.

    The format makes every label a column, the metric's name too, and '' where a series lacks it. "filterFieldsByName" keeps
    some. "merge" joins rows that agree in the columns which all answers have, unless they differ in another one.

    Args:
        panel: the table.
        answers: by ``refId``, the result of each instant query: [{"metric": {…}, "value": [time, text]}, …].
    """
    shown = {ref: results for ref, results in answers.items() if results}
    several = len(panel["targets"]) > 1
    [kept] = [one["options"]["include"] for one in panel["transformations"] if one["id"] == "filterFieldsByName"]
    frames = []
    for ref, results in shown.items():
        labels = sorted({label for result in results for label in result["metric"]} & {*kept["names"]})
        value = f"Value #{ref}" if several else "Value"
        frames.append(
            [
                {**{name: one["metric"].get(name, "") for name in labels}, value: float(one["value"][1])}
                for one in results
            ]
        )
    if not frames:
        return []
    common = set.intersection(*(set(frame[0]) for frame in frames))
    rows: list[Json] = []
    for row in (row for frame in frames for row in frame):
        for other in rows:
            if all(other.get(name) == row[name] for name in row if name in common or name in other):
                other.update(row)
                break
        else:
            rows.append(dict(row))
    return rows


def split_rows(panel: Json, answers: Mapping[str, list[Json]]) -> list[str]:
    """Keys, as people see them, that have more than one row."""
    keys = [
        tuple(sorted((name, value) for name, value in row.items() if isinstance(value, str)))
        for row in merged(panel, answers)
    ]
    return [
        f"{panel['title']}: {keys.count(key)} rows of {dict(key)}" for key in dict.fromkeys(keys) if keys.count(key) > 1
    ]


def columns_without_heading(panel: Json, answers: Mapping[str, list[Json]]) -> list[str]:
    """Labels and values that are shown under the names that queries give them."""
    organized = [one["options"] for one in panel.get("transformations", ()) if one["id"] == "organize"]
    told = {name for options in organized for name in options["renameByName"]}
    columns = dict.fromkeys(name for row in merged(panel, answers) for name in row)
    return [f"{panel['title']}: {column}" for column in columns if column not in told]
