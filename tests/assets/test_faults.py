"""Every kind of misreading is found in a subject that has it, and not in one that has not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.assets import faults

Json = dict[str, Any]
JUDGED = {"mode": "absolute", "steps": [{"value": None, "color": "green"}, {"value": 11, "color": "red"}]}
GREY = [{"type": "special", "options": {"match": "null+nan", "result": {"text": "no errors", "color": "#4A4E57"}}}]


def panel(kind: str, defaults: Json, overrides: tuple[tuple[str, Json], ...] = (), **more: Any) -> Json:
    written = [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": i, "value": v} for i, v in set_.items()]}
        for name, set_ in overrides
    ]
    config = {"defaults": defaults, "overrides": written}
    return {"type": kind, "title": "P", "fieldConfig": config, "options": {}, "targets": [], **more}


def table(
    overrides: tuple[tuple[str, Json], ...] = (),
    *,
    none: str = "nothing in this period",
    kept: tuple[str, ...] = ("feature",),
) -> Json:
    included = {"include": {"names": [*kept, "Value #A", "Value #B"]}}
    transformations = [
        {"id": "filterFieldsByName", "options": included},
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {"renameByName": {"feature": "Feature", "Value #A": "Uses", "Value #B": "Errors"}},
        },
    ]
    targets = [{"refId": "A"}, {"refId": "B"}]
    return panel("table", {"noValue": none}, overrides, transformations=transformations, targets=targets)


def answer(value: float, **labels: str) -> Json:
    return {"metric": labels, "value": [1000, str(value)]}


@pytest.mark.parametrize("kind", ["stat", "bargauge"])
def test_a_judged_number_without_a_value_has_a_colour_of_its_own(kind: str) -> None:
    assert faults.judged_absence(panel(kind, {"thresholds": JUDGED})) == ["P"]
    assert faults.judged_absence(panel(kind, {"thresholds": JUDGED, "mappings": GREY})) == []
    assert faults.judged_absence(panel(kind, {"thresholds": {"steps": JUDGED["steps"][:1]}})) == []


def test_so_has_a_judged_column() -> None:
    assert faults.judged_absence(table((("Errors", {"thresholds": JUDGED}),))) == ["P / Errors"]
    assert faults.judged_absence(table((("Errors", {"thresholds": JUDGED, "mappings": GREY}),))) == []


def test_counts_are_not_shortened() -> None:
    assert faults.shortened_counts(panel("stat", {"unit": "short", "decimals": 0})) == ["P"]
    assert faults.shortened_counts(panel("stat", {"unit": "locale"})) == []
    assert faults.shortened_counts(table((("Uses", {"unit": "short"}),))) == ["P / Uses"]
    assert faults.shortened_counts(panel("timeseries", {"unit": "short"})) == []  # an axis may be short


def severities(**colours: str) -> Json:
    overrides = tuple((name, {"color": {"mode": "fixed", "fixedColor": colour}}) for name, colour in colours.items())
    return panel("timeseries", {}, overrides, targets=[{"legendFormat": "{{severity}}"}])


def test_severities_have_fixed_colours() -> None:
    assert faults.states_without_colour(severities()) == [
        "P: critical has no colour of its own",
        "P: error has no colour of its own",
        "P: warning has no colour of its own",
        "P: info has no colour of its own",
    ]
    assert faults.states_without_colour(severities(critical="green", error="#E02F44", warning="red", info="blue")) == [
        "P: critical is green",
        "P: warning is red",
    ]
    fine = severities(critical="dark-red", error="#E02F44", warning="#FF9830", info="#5794F2")
    assert faults.states_without_colour(fine) == []


def test_alerts_do_not_take_the_palette_by_alphabet() -> None:
    drawn = panel("timeseries", {"color": {"mode": "palette-classic"}}, targets=[{"legendFormat": "{{ alertstate }}"}])
    assert faults.states_without_colour(drawn) == [
        "P: firing has no colour of its own",
        "P: pending has no colour of its own",
    ]
    features = panel("timeseries", {"color": {"mode": "palette-classic"}}, targets=[{"legendFormat": "{{feature}}"}])
    assert faults.states_without_colour(features) == []


def test_a_feature_keeps_its_colour() -> None:
    def lines(colours: str, *legends: str) -> Json:
        targets = [{"legendFormat": legend} for legend in legends]
        return panel("timeseries", {"color": {"mode": colours}}, targets=targets)

    assert faults.features_that_change_colour(lines("palette-classic", "{{job}} {{feature}}")) == ["P"]
    assert faults.features_that_change_colour(lines("palette-classic-by-name", "{{feature}}")) == []
    assert faults.features_that_change_colour(lines("palette-classic", "p50", "p95")) == []


def test_a_bound_is_no_green_line() -> None:
    def lines(colour: str, mode: str = "dashed") -> Json:
        steps = [{"value": None, "color": "red"}, {"value": 0.7, "color": colour}]
        return panel("timeseries", {"custom": {"thresholdsStyle": {"mode": mode}}, "thresholds": {"steps": steps}})

    assert faults.bounds_in_a_calm_colour(lines("green")) == ["P: 0.7 is green"]
    assert faults.bounds_in_a_calm_colour(lines("red")) == []
    assert faults.bounds_in_a_calm_colour(lines("green", "off")) == []


def test_the_height_of_bars_has_an_effect() -> None:
    assert faults.bars_without_size(panel("bargauge", {}, options={"maxVizHeight": 32, "sizing": "auto"})) == ["P"]
    assert faults.bars_without_size(panel("bargauge", {}, options={"maxVizHeight": 32, "sizing": "manual"})) == []


def test_an_empty_cell_does_not_say_what_an_empty_table_says() -> None:
    dash = {"noValue": "–"}
    assert faults.filled_cells(table()) == [
        "P / Feature: nothing in this period",
        "P / Uses: nothing in this period",
        "P / Errors: nothing in this period",
    ]
    assert faults.filled_cells(table((("Feature", dash), ("Uses", dash)))) == ["P / Errors: nothing in this period"]
    assert faults.filled_cells(table((("Feature", dash), ("Uses", dash), ("Errors", dash)))) == []


def test_an_override_for_every_column_counts_for_each() -> None:
    every = table()
    every["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byRegexp", "options": "/.*/"}, "properties": [{"id": "noValue", "value": "–"}]}
    ]
    assert faults.filled_cells(every) == []


def test_rows_of_one_feature_merge() -> None:
    answers = {
        "A": [answer(5, feature="chat"), answer(7, feature="search")],
        "B": [answer(1, feature="chat")],
    }
    assert faults.merged(table(), answers) == [
        {"feature": "chat", "Value #A": 5, "Value #B": 1},
        {"feature": "search", "Value #A": 7},
    ]
    assert faults.split_rows(table(), answers) == []
    assert faults.columns_without_heading(table(), answers) == []


def test_names_of_metrics_keep_rows_apart_unless_they_are_dropped() -> None:
    answers = {
        "A": [answer(5, __name__="count1d", feature="chat")],
        "B": [answer(1, __name__="avg1d", feature="chat")],
    }
    kept = table(kept=("feature", "__name__"))
    assert len(faults.merged(kept, answers)) == 2
    assert faults.columns_without_heading(kept, answers) == ["P: __name__"]
    assert faults.merged(table(), answers) == [{"feature": "chat", "Value #A": 5, "Value #B": 1}]
    assert faults.columns_without_heading(table(), answers) == []


def test_a_dropped_label_keeps_rows_apart() -> None:
    answers = {
        "A": [answer(5, feature="chat", job="shop"), answer(6, feature="chat", job="trainer")],
        "B": [answer(1, feature="chat", job="shop")],
    }
    assert faults.split_rows(table(), answers) == ["P: 2 rows of {'feature': 'chat'}"]


def test_panels_of_folded_rows_are_looked_at_too() -> None:
    folded = {"type": "row", "title": "R", "panels": [panel("stat", {"unit": "short"})]}
    assert [one["type"] for one in faults.panels({"panels": [folded, {"type": "text"}]})] == ["stat"]
