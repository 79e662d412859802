"""The shipped dashboards: valid for Grafana, laid out without holes or overlaps, and asking for series that exist."""

from __future__ import annotations

import copy
import itertools
import json
import re
import statistics
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft7Validator

from examples.learning_engine import incident
from otel_metrics.assets.dashboards import texts
from otel_metrics.catalogue import CATALOGUE, DAILY_TABLE, Kind
from otel_metrics.naming import series_name
from otel_metrics.promql import PROMETHEUS, Histograms
from tests.assets import faults
from tests.assets.asking import one_line
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = dict[str, Any]

DASHBOARDS: dict[str, Json] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "grafana/dashboards").glob("*.json"))
}
OTHERS: dict[str, Json] = {
    f"{name}-classic": json.loads(text) for name, text in texts(PROMETHEUS.storing(Histograms.CLASSIC)).items()
}
SCHEMA = Draft7Validator(json.loads((ROOT / "tests/assets/grafana-dashboard.schema.json").read_text(encoding="utf-8")))
every_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)

# What every Prometheus, Alertmanager and scrape has.
SERVERS = re.compile(
    r"up|scrape_(duration_seconds|samples_scraped)|(prometheus|alertmanager)_(rule|notifications|config)\w+"
)


def panels(dashboard: Json) -> list[Json]:
    """Panels that ask something, those in folded rows too."""
    return list(faults.panels(dashboard))


def queries(dashboard: Json) -> Iterator[tuple[str, str]]:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def complaints(dashboard: Json) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in SCHEMA.iter_errors(dashboard)]


@pytest.mark.parametrize("dashboard", [*DASHBOARDS.values(), *OTHERS.values()], ids=[*DASHBOARDS, *OTHERS])
def test_grafana_knows_every_field(dashboard: Json) -> None:
    assert complaints(dashboard) == []


@pytest.mark.parametrize(
    ("part", "field"),
    [("options", "colourMode"), ("fieldConfig", "default"), ("gridPos", "width"), ("targets", "expression")],
)
def test_a_misspelt_field_is_noticed(part: str, field: str) -> None:
    """The schema is worth something."""
    broken = copy.deepcopy(DASHBOARDS["overview"])
    place = panels(broken)[0][part]
    (place[0] if isinstance(place, list) else place)[field] = "x"
    assert complaints(broken) != []


def test_there_is_one_for_everything_that_was_asked_for() -> None:
    assert set(DASHBOARDS) == {
        "overview",
        "performance",
        "satisfaction",
        "usage",
        "learning",
        "optimization",
        "resources",
        "errors",
        "daily",
        "telemetry",
        "runbook",
        "feature",
        "product",
        "service_levels",
    }
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)


@every_dashboard
def test_panels_neither_overlap_nor_stick_out(dashboard: Json) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for cell in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        ):
            assert cell not in taken, (panel["title"], taken[cell])
            taken[cell] = panel["title"]
    bottom = max(y for _, y in taken) + 1
    holes = {y for y in range(bottom) if not any((x, y) in taken for x in range(24))}
    assert holes == set()


@every_dashboard
def test_panels_are_numbered_titled_and_explained(dashboard: Json) -> None:
    everything = [panel for one in dashboard["panels"] for panel in (one, *one.get("panels", ()))]
    numbers = [panel["id"] for panel in everything]
    assert len(set(numbers)) == len(numbers)
    titles = [(panel["type"], panel["title"]) for panel in everything]
    assert len(set(titles)) == len(titles)
    for panel in panels(dashboard):
        defaults = panel["fieldConfig"]["defaults"]
        assert len(panel["description"]) > 5, panel["title"]
        assert defaults["noValue"], panel["title"]
        assert "unit" in defaults or panel["type"] in {"table", "heatmap"}, panel["title"]
        assert panel["targets"], panel["title"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_expressions_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    asked = (query for dashboard in DASHBOARDS.values() for query in queries(dashboard))
    found = sorted((len(one_line(expr)), title) for title, expr in asked)
    median, (longest, name) = statistics.median(length for length, _ in found), found[-1]
    with capsys.disabled():
        print(f"\n{len(found)} expressions of panels: median {median:.0f} characters, longest {longest} ({name})")
    # One sum over a period, of what is chosen in three variables, has 110 to 140; an average or a share has two of them.
    assert median <= 190
    assert longest < 400


@every_dashboard
def test_no_panel_reads_raw_samples_of_a_period(dashboard: Json) -> None:
    """Those of a week are millions: periods are made of what rules have recorded."""
    for title, expr in queries(dashboard):
        assert re.findall(r"(?<![\w:])(feature_\w+)(?:\{[^}]*\})?\[", expr) == [], title


@every_dashboard
def test_every_variable_that_is_used_is_defined(dashboard: Json) -> None:
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert {"datasource", "job", "feature"} <= defined
    used = {name for _, expr in queries(dashboard) for name in re.findall(r"\$\{?([a-z_]\w*)", expr)}
    assert used - {"__range", "__rate_interval", "__interval", "__interval_ms"} <= defined
    chained = {
        name
        for variable in dashboard["templating"]["list"]
        for name in re.findall(r"\$(\w+)", variable.get("definition", ""))
    }
    assert chained <= defined


def test_a_variable_means_the_same_on_every_dashboard() -> None:
    """The menu carries what is chosen from one to the next, where it would choose what is not there."""
    variables = [variable for dashboard in DASHBOARDS.values() for variable in dashboard["templating"]["list"]]
    meant: dict[str, set[str]] = {}
    for variable in variables:
        meant.setdefault(variable["name"], set()).update(re.findall(r", (\w+)\)$", variable.get("definition", "")))
    assert {name: labels for name, labels in meant.items() if len(labels) > 1} == {}


@every_dashboard
def test_a_variable_with_many_values_is_matched_as_a_pattern(dashboard: Json) -> None:
    """`All` becomes `.*`, which an equals sign would take literally."""
    for _, expr in queries(dashboard):
        assert re.findall(r'[^~]"\$[a-z_]+', expr) == []


@every_dashboard
def test_links_lead_to_dashboards_that_exist(dashboard: Json) -> None:
    uids = {other["uid"] for other in DASHBOARDS.values()}
    addresses = re.findall(r'"url": "(/d/[^"]+)"', json.dumps(dashboard))
    for address in addresses:
        uid, _, parameters = address.removeprefix("/d/").partition("?")
        assert uid in uids
        assert "${__url_time_range}" in parameters
        assert "${datasource:queryparam}" in parameters
    menu, runbook = dashboard["links"]
    assert menu["keepTime"]
    assert menu["includeVars"]
    assert runbook["url"].startswith("/d/otel-metrics-runbook?")


@every_dashboard
def test_a_name_with_any_characters_stays_whole_in_a_link(dashboard: Json) -> None:
    """``R&D #1`` would end the value, and then the address."""
    for address in re.findall(r'"url": "([^"]+)"', json.dumps(dashboard)):
        values = re.findall(r"var-\w+=(\$\{[^}]*\})", address)
        assert all(value.endswith(":percentencode}") for value in values), address


@every_dashboard
def test_a_page_is_no_higher_than_a_screen(dashboard: Json) -> None:
    """A unit of the grid has 38 pixels, Grafana's head about 100."""
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    assert 100 + bottom * 38 <= 1400


def test_the_overview_begins_with_the_trouble_in_one_line() -> None:
    """A page in red; without one, whatever else fires, in amber; green when rules are loaded and nothing does, else grey."""
    [line] = [panel for panel in panels(DASHBOARDS["overview"]) if panel["title"] == "Trouble"]
    assert line["gridPos"] == {"x": 4, "y": 0, "w": 20, "h": 3}
    assert [target["legendFormat"] for target in line["targets"]] == ["{{severity}}: {{alertname}}, {{where}}"]
    assert line["fieldConfig"]["defaults"]["unit"] == "time:[since] ddd D MMM HH:mm"
    assert line["fieldConfig"]["defaults"]["color"] == {"mode": "fixed", "fixedColor": "#A35200"}
    page, heartbeat = line["fieldConfig"]["overrides"]
    assert page["matcher"] == {"id": "byRegexp", "options": "/^critical:/"}
    assert page["properties"] == [{"id": "color", "value": {"mode": "fixed", "fixedColor": "#C4162A"}}]
    assert heartbeat["matcher"] == {"id": "byRegexp", "options": "/^heartbeat:/"}
    assert heartbeat["properties"] == [{"id": "displayName", "value": "rules are loaded:"}]
    absent, calm = line["fieldConfig"]["defaults"]["mappings"]
    unknown = {"text": "nothing is judged: no rules are loaded", "color": "#4A4E57", "index": 0}
    assert absent["options"] == {"match": "null+nan", "result": unknown}
    assert calm["options"] == {"0": {"text": "no alert fires", "color": "#2B5C34", "index": 1}}
    assert line["links"][0]["url"].startswith("/d/otel-metrics-runbook?")


def test_the_incident_of_the_example_is_looked_for_in_tiles_that_are_there() -> None:
    named = re.findall(r"tile '([^']+)'", " ".join(incident.WHERE))
    assert named == ["Most errors"]
    assert {panel["title"] for panel in panels(DASHBOARDS["overview"])} >= set(named)


@every_dashboard
def test_graphs_tell_when_trouble_began(dashboard: Json) -> None:
    """In the colours of the alerts, and by the name of the first; where nothing is judged, there is no such mark."""
    # Of a label that is not there Grafana would show the name.
    assert {one["titleFormat"] for one in dashboard["annotations"]["list"][1:]} <= {"{{alertname}}: {{where}}"}
    found = {one["name"]: (one["iconColor"], one["expr"]) for one in dashboard["annotations"]["list"][1:]}
    if dashboard["title"].rpartition(" / ")[2] in {"Product", "Daily table", "Runbook"}:
        assert found == {}
    else:
        assert {name: colour for name, (colour, _) in found.items()} == {
            "Alerts that page": "red",
            "Other alerts": "orange",
        }
        assert 'severity="critical"' in found["Alerts that page"][1]
        assert 'severity="warning"' in found["Other alerts"][1]


def test_states_of_alerts_have_the_colours_of_their_severity() -> None:
    [listed] = [panel for panel in panels(DASHBOARDS["overview"]) if panel["title"] == "Alerts, firing and pending"]
    firing, calm, waiting = faults.properties(listed, "State")["mappings"]
    colours = {value: (shown["text"], shown["color"]) for value, shown in firing["options"].items()}
    assert colours == {"firing critical": ("critical", "#C4162A"), "firing warning": ("warning", "#A35200")}
    assert calm["options"] == {"firing heartbeat": {"text": "fine", "color": "#2B5C34", "index": 2}}
    assert waiting["type"] == "regex"
    assert re.fullmatch(waiting["options"]["pattern"], "pending critical")
    assert '"state", " ", "alertstate", "severity"' in one_line(listed["targets"][0]["expr"])
    # What fires is above what waits, as rows are sorted by these words.
    assert listed["options"]["sortBy"] == [{"displayName": "State", "desc": False}]
    assert [*colours, "pending critical"] == sorted([*colours, "pending critical"])
    assert waiting["options"]["result"] == {"text": "pending", "color": "#4A4E57", "index": 3}


@every_dashboard
def test_a_list_of_alerts_says_that_there_is_none_only_where_rules_are_loaded(dashboard: Json) -> None:
    """It is a row, made of the heartbeat; a list without rows judges nothing."""
    for listed in (panel for panel in panels(dashboard) if panel["title"] == "Alerts, firing and pending"):
        assert 'or on () ALERTS:since{severity="heartbeat"} * 0' in one_line(listed["targets"][0]["expr"])
        assert listed["fieldConfig"]["defaults"]["noValue"] == "nothing is judged: no rules are loaded"
        [name] = faults.properties(listed, "Alert")["mappings"]
        assert name["options"]["TelemetryHeartbeat"]["text"] == "no alert is firing or pending"
        [moment] = faults.properties(listed, "Since")["mappings"]
        assert moment["options"]["0"]["text"] == "–"


JUDGED = {"#C4162A": "critical", "red": "critical", "#A35200": "warning", "orange": "warning"}


@every_dashboard
def test_a_colour_that_judges_is_that_of_the_severity_of_its_alert(dashboard: Json) -> None:
    """Red where somebody is called, amber where it can wait: a page and a ticket look alike nowhere."""
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in every_rule() if "alert" in rule}
    for panel in panels(dashboard):
        if panel["type"] == "table":
            continue
        steps = panel["fieldConfig"]["defaults"].get("thresholds", {"steps": []})["steps"]
        drawn = {JUDGED[step["color"]] for step in steps if step["color"] in JUDGED}
        told = {severities[word] for word in re.findall(r"\w+", panel["description"]) if word in severities}
        if panel["title"] != "Alerts firing now" and drawn:
            assert drawn == told, panel["title"]
            named = {"critical": "red", "warning": "amber"}
            assert all(named[each] in panel["description"].lower() for each in drawn), panel["title"]


def test_alerts_that_page_and_others_have_their_colours_wherever_they_are_counted() -> None:
    for one in DASHBOARDS.values():
        for panel in (panel for panel in panels(one) if panel["title"] == "Alerts firing now"):
            assert [target["legendFormat"] for target in panel["targets"]] == ["critical", "other"]
            both = panel["fieldConfig"]["defaults"], faults.properties(panel, "other")
            colours = [[step["color"] for step in fields["thresholds"]["steps"]] for fields in both]
            assert colours == [["#2B5C34", "#C4162A"], ["#2B5C34", "#A35200"]]
    [features] = [panel for panel in panels(DASHBOARDS["overview"]) if panel["title"] == "Features, the worst first"]
    bounds = {name: faults.properties(features, name) for name in ("Errors", "Success", "Response", "Satisfaction")}
    found = {name: {step["color"] for step in own["thresholds"]["steps"]} for name, own in bounds.items()}
    red, amber = {"transparent", "#C4162A"}, {"transparent", "#A35200"}
    assert found == {"Errors": red, "Success": red, "Response": amber, "Satisfaction": amber}
    [silent] = faults.properties(features, "Uses per minute")["mappings"]
    assert silent["options"]["-1"] == {"text": "silent", "color": "#A35200", "index": 0}
    [levels] = [panel for panel in panels(DASHBOARDS["service_levels"]) if panel["title"].startswith("Service levels")]
    _, burning = faults.properties(levels, "Alert")["mappings"]
    shown = {value: (told["text"], told["color"]) for value, told in burning["options"].items()}
    assert shown == {"2": ("critical", "#C4162A"), "1": ("warning", "#A35200")}


def every_rule() -> list[Json]:
    """Of all shipped files."""
    files = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "prometheus/rules").glob("*.yml"))
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def test_what_no_alert_judges_is_read_by_none() -> None:
    judged = "\n".join(rule["expr"] for rule in every_rule() if "alert" in rule)
    found = [one for each in DASHBOARDS.values() for one in panels(each) if "o alert judges" in one["description"]]
    assert found
    for panel in found:
        asked = {name for target in panel["targets"] for name in re.findall(r"\w+(?::\w+)+", target["expr"])}
        assert not [name for name in asked if re.search(rf"\b{name}\b", judged)], panel["title"]


@every_dashboard
def test_a_small_curve_shows_what_was_recorded_now_and_then(dashboard: Json) -> None:
    """Grafana's sparkline joins values over every gap or over none: a number of milliseconds is none, and single values are not drawn."""
    overrides = (o for panel in panels(dashboard) for o in panel["fieldConfig"]["overrides"])
    cells = [one["value"] for o in overrides for one in o["properties"] if one["id"] == "custom.cellOptions"]
    assert {cell["spanNulls"] for cell in cells if cell["type"] == "sparkline"} <= {True}
    assert all(type(cell.get("spanNulls", True)) is bool for cell in cells)


@every_dashboard
def test_a_label_that_looks_like_a_number_is_shown_as_it_is(dashboard: Json) -> None:
    """Grafana would group the digits of an error type "1000", and make 0 of blanks."""
    for panel in (panel for panel in panels(dashboard) if panel["type"] == "table"):
        renamed = panel["transformations"][-1]["options"]["renameByName"]
        labels = [heading for name, heading in renamed.items() if not re.match("(Value|Trend)( |$)", name)]
        assert labels
        for heading in labels:
            assert faults.properties(panel, heading)["unit"] == "string", (panel["title"], heading)


def test_every_alert_on_what_is_recorded_is_on_the_page_of_its_family() -> None:
    rules = yaml.safe_load((ROOT / "prometheus/rules/feature_alerts.yml").read_text(encoding="utf-8"))["groups"]
    names = {rule["alert"] for group in rules for rule in group["rules"]}
    told = set()
    for name in ("errors", "usage", "performance", "satisfaction", "learning", "optimization", "resources"):
        [listed] = [panel for panel in panels(DASHBOARDS[name]) if panel["title"] == "Alerts, firing and pending"]
        patterns = set(re.findall(r'alertname=~"([^"]+)"', listed["targets"][0]["expr"]))
        told |= {alert for alert in names for pattern in patterns if re.fullmatch(pattern, alert)}
    assert names - told == set()


def test_a_bound_of_an_alert_is_drawn_where_its_curves_are() -> None:
    drawn = {
        (name, panel["title"]): panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]
        for name, one in DASHBOARDS.items()
        for panel in panels(one)
        if panel["type"] == "timeseries"
        and panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "dashed"
    }
    assert drawn["overview", "Resources: share in use"] == {"value": 0.95, "color": "red"}
    assert drawn["resources", "Share in use over time"] == {"value": 0.95, "color": "red"}
    assert drawn["overview", "Uses that fail, 1 h"] == {"value": 0.1, "color": "red"}
    assert drawn["feature", "Uses that fail, 1 h"] == {"value": 0.1, "color": "red"}
    assert drawn["usage", "Uses that fail, 1 h, by feature"] == {"value": 0.1, "color": "red"}
    assert drawn["performance", "p95 of response times, five minutes, estimated"] == {"value": 3.0, "color": "orange"}


@every_dashboard
def test_graphs_tell_when_processes_started(dashboard: Json) -> None:
    [starts] = [one for one in dashboard["annotations"]["list"] if one["name"] == "Process starts"]
    assert starts["enable"]
    assert "process_start_time_seconds" in starts["expr"]


def test_a_graph_of_histograms_shows_exemplars() -> None:
    heatmaps = [panel for one in DASHBOARDS.values() for panel in panels(one) if panel["type"] == "heatmap"]
    assert len(heatmaps) == 4
    assert all(target["exemplar"] for panel in heatmaps for target in panel["targets"])


@every_dashboard
def test_a_table_shows_every_query_under_a_heading(dashboard: Json) -> None:
    for panel in panels(dashboard):
        if panel["type"] != "table":
            continue
        transformations = {one["id"]: one["options"] for one in panel["transformations"]}
        renamed = transformations["organize"]["renameByName"]
        trends = {target["refId"] for target in panel["targets"] if not target["instant"]}
        assert trends == set(transformations.get("timeSeriesTable", {})), panel["title"]
        values = {
            f"{'Trend' if target['refId'] in trends else 'Value'} #{target['refId']}" for target in panel["targets"]
        }
        assert ({"Value"} if len(values) == 1 else values) <= set(renamed), panel["title"]
        headings = {
            override["matcher"]["options"]
            for override in panel["fieldConfig"]["overrides"]
            if override["matcher"]["id"] == "byName"
        }
        assert headings <= set(renamed.values()), panel["title"]
        assert all(target["format"] == "table" for target in panel["targets"] if target["instant"])


@every_dashboard
def test_every_metric_in_a_query_is_emitted_or_recorded(dashboard: Json) -> None:
    rules = every_rule()
    known = {rule["record"] for rule in rules if "record" in rule} | {column.series for column in DAILY_TABLE.values()}
    for metric in CATALOGUE:
        suffixes = ("", "_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",)
        known |= {series_name(metric) + suffix for suffix in suffixes}
    for title, expr in queries(dashboard):
        # A name followed by a selector or a range, once strings and groupings are gone.
        bare = re.sub(r'"[^"]*"', '""', expr)
        bare = re.sub(r"\b(by|on|ignoring|group_left) ?\([^)]*\)", "", bare)
        names = re.findall(r"(?<![\w:$.])([a-zA-Z_][\w:]*)(?![\w:]*\s*\()(?=\s*[\[{)+*/=<>!-]|\s|$)", bare)
        words = {"by", "on", "or", "and", "unless", "offset", "ignoring", "le", "bool", "group_left", "anchored"}
        labels = {label for group in re.findall(r"\{([^}]*)\}", bare) for label in re.findall(r"(\w+)\s*[=!]", group)}
        for name in set(names) - words - labels:
            assert name in known or SERVERS.fullmatch(name), (title, name)


def test_a_number_in_colour_is_what_an_alert_judges() -> None:
    judged = {
        panel["title"]: (
            panel["targets"][0]["expr"],
            panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"],
        )
        for panel in panels(DASHBOARDS["overview"])
        if panel["type"] == "stat" and len(panel["fieldConfig"]["defaults"]["thresholds"]["steps"]) > 1
    }
    # More than 10 errors; above 1000 ms given 20 values; below 0.7 given 10 responses; below 90 % given 20 uses; above 95 %.
    assert {title: bound for title, (_, bound) in judged.items()} == {
        "Alerts firing now": 1,
        "Most errors": 11,
        "Slowest": 1.0,
        "Lowest satisfaction": 0.7,
        "Lowest success": 0.9,
        "Fullest resource": 0.95,
    }
    assert "count1h >= 10" in judged["Lowest satisfaction"][0]
    assert ">= 20" in judged["Slowest"][0]
    assert ">= 20" in judged["Lowest success"][0]


def test_curves_of_days_are_of_a_month_whatever_period_led_there() -> None:
    """The menu keeps the time: six hours of days would be no curve."""
    daily = [panel for panel in panels(DASHBOARDS["daily"]) if not all(one["instant"] for one in panel["targets"])]
    assert len(daily) == 5
    assert {(panel.get("timeFrom"), panel.get("interval")) for panel in daily} == {("30d", "1d")}


@every_dashboard
def test_a_colour_that_judges_stands_beside_the_name_of_its_alert(dashboard: Json) -> None:
    """Nothing is judged that no alert judges; the description says which."""
    for panel in panels(dashboard):
        fields = panel["fieldConfig"]
        steps = [fields["defaults"].get("thresholds", {"steps": []})["steps"]]
        steps += [
            one["value"]["steps"] for o in fields["overrides"] for one in o["properties"] if one["id"] == "thresholds"
        ]
        if any(len(each) > 1 for each in steps):
            assert re.search(r"(Feature|Resource|Telemetry|Prometheus|alert)[A-Za-z]*", panel["description"]), panel[
                "title"
            ]


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_every_colour_of_a_panel_can_be_seen(dashboard: Json) -> None:
    for panel in panels(dashboard):
        fields = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
        steps = [fields["defaults"].get("thresholds", {"steps": []})["steps"]]
        for override in fields["overrides"]:
            steps += [each["value"]["steps"] for each in override["properties"] if each["id"] == "thresholds"]
        for values in ([step["value"] for step in several] for several in steps):
            assert values[1:] == sorted(set(values[1:])), panel["title"]


def test_the_runbook_has_a_panel_for_every_alert_where_its_link_leads() -> None:
    found = {
        panel["title"]: panel
        for one in DASHBOARDS["runbook"]["panels"]
        for panel in (one, *one.get("panels", ()))
        if panel["type"] == "text"
    }
    rules = every_rule()
    links = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule}
    assert len(links) > 15
    for alert, link in links.items():
        address = f"http://localhost:3000/d/otel-metrics-runbook?viewPanel=panel-{found[alert]['id']}"
        assert link == address, alert
    assert found["TelemetryNameCollision"]["options"]["content"] == (
        "Two instruments have one name once exposed (`a.b` and `a_b`), and the later one is left out. "
        "The log names both. Rename one."
    )
    written = unlinked((ROOT / "docs/runbook.md").read_text(encoding="utf-8"))
    assert all(unlinked(panel["options"]["content"]) in written for panel in found.values())


def unlinked(text: str) -> str:
    """The words of a text of Markdown, without where they lead and how they look."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("*", "").replace(" (docs/workers.md)", "")


def test_the_runbook_says_what_fires_now_above_all_else() -> None:
    first, *others = DASHBOARDS["runbook"]["panels"]
    assert first["title"] == "Alerts, firing and pending"
    assert first["gridPos"] == {"x": 0, "y": 0, "w": 24, "h": 8}
    assert "alertname" not in first["targets"][0]["expr"].split("ALERTS", 1)[1].split("}")[0]
    assert {panel["type"] for panel in others} == {"row"}


def test_what_the_runbook_names_is_one_click_away() -> None:
    """Dashboards for the same time and choice, and other alerts' panels; what else is in italics is on a page."""
    titles = {one["title"].removeprefix("otel_metrics / "): one["uid"] for one in DASHBOARDS.values()}
    words = {"Status, Target health", "Status, Service discovery", "Rules"} | {
        text
        for one in DASHBOARDS.values()
        for panel in panels(one)
        for text in (panel["title"], *(o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]))
    }
    texts_ = [panel for row in DASHBOARDS["runbook"]["panels"] for panel in row.get("panels", ())]
    numbers = {panel["title"]: panel["id"] for panel in texts_}
    linked = set()
    for panel in texts_:
        content = panel["options"]["content"]
        assert content.count("](") == content.count("](/d/"), panel["title"]
        links = re.findall(r"\[([^]]*)\]\((/d/[^?)]*)\?([^)]*)\)", content)
        for name, path, fields in links:
            assert path == f"/d/{titles.get(name, 'otel-metrics-runbook')}"
            assert fields.startswith(
                "${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${feature:queryparam}"
            )
            assert name in titles or fields.endswith(f"&viewPanel=panel-{numbers[name]}")
        linked |= {name for name, *_ in links}
        unlinked_ = re.sub(r"\[[^]]*\]\([^)]*\)|`[^`]*`", "", content)
        assert not [name for name in re.findall(r"\w+", unlinked_) if name in numbers], panel["title"]
        for name in re.findall(r"\*([^*]+)\*", unlinked_):
            assert any(word.startswith(name) for word in words), (panel["title"], name)
    assert {"Errors", "Telemetry health", "FeatureResponseTimeHigh"} <= linked


def test_an_alert_in_a_list_leads_to_its_panel_of_the_runbook() -> None:
    """By a column that nobody sees: an alert's name is mapped to the panel's number."""
    numbers = {
        panel["title"]: str(panel["id"])
        for one in DASHBOARDS["runbook"]["panels"]
        for panel in (one, *one.get("panels", ()))
    }
    [listed] = [panel for panel in panels(DASHBOARDS["overview"]) if panel["title"] == "Alerts, firing and pending"]
    properties = {
        override["matcher"]["options"]: {one["id"]: one["value"] for one in override["properties"]}
        for override in listed["fieldConfig"]["overrides"]
    }
    assert "viewPanel=panel-${__data.fields.Runbook.text}" in properties["Alert"]["links"][0]["url"]
    [mapping] = properties["Runbook"]["mappings"]
    assert mapping["options"]["FeatureErrorsHigh"]["text"] == numbers["FeatureErrorsHigh"]
    assert properties["Runbook"]["custom.hideFrom"]["viz"]


def test_provisioning_finds_what_is_shipped() -> None:
    folder = ROOT / "grafana/provisioning"
    sources = yaml.safe_load((folder / "datasources/prometheus.yml").read_text(encoding="utf-8"))["datasources"]
    [default] = [source for source in sources if source.get("isDefault")]
    for dashboard in DASHBOARDS.values():
        [variable] = [v for v in dashboard["templating"]["list"] if v["name"] == "datasource"]
        assert variable["current"]["value"] == default["uid"] == "otel-metrics-prometheus"
    [provider] = yaml.safe_load((folder / "dashboards/otel_metrics.yml").read_text(encoding="utf-8"))["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True
    assert provider["folderUid"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    mounts = compose["services"]["grafana"]["volumes"]
    assert any(
        mount.get("source") == "./grafana/dashboards" and mount["target"] == provider["options"]["path"]
        for mount in mounts
    )
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    assert default["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


@every_dashboard
@pytest.mark.parametrize(
    "fault",
    [
        faults.judged_absence,
        faults.shortened_counts,
        faults.states_without_colour,
        faults.bounds_in_a_calm_colour,
        faults.bars_without_size,
        faults.filled_cells,
        faults.features_that_change_colour,
    ],
    ids=lambda fault: fault.__name__,
)
def test_nobody_misreads_a_panel(dashboard: Json, fault: Callable[[Json], list[str]]) -> None:
    assert [complaint for panel in faults.panels(dashboard) for complaint in fault(panel)] == []
