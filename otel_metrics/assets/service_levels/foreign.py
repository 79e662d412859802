"""Files of Sloth (``prometheus/v1``) and OpenSLO (``openslo/v1``), where they say what one of ours can say.

Their queries are free PromQL. Understood is what counts the events of a level: selectors of our metrics, in ``sum(rate(…))``
or bare, and the difference of two. Everything that would have an effect and cannot be kept is rejected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_metrics.assets.service_levels.levels import Kind, Level, ServiceLevels, objective, period
from otel_metrics.catalogue import FEATURE, OUTCOME, SATISFACTION_RESPONSES, SATISFIED, USAGE, USAGE_DURATION
from otel_metrics.label_text import LONGEST, printable
from otel_metrics.naming import series_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_metrics.assets.service_levels.entry import Entry

# --------------------------------------------------------------------------------------------------------------- Sloth

_OUR_SEVERITIES: Final = {"page_alert": "critical", "ticket_alert": "warning"}


def sloth(documents: Sequence[Entry]) -> ServiceLevels:
    """Return the levels of a file of Sloth, whose period is 30 days.

    Raises:
        ConfigurationError: it says something that cannot be kept.
    """
    for document in documents:
        if "apiVersion" in document.fields(optional=None):
            raise document.complaint(
                "the Kubernetes resource of Sloth is not read; allowed: its file format, with version: prometheus/v1"
            )
    levels: list[Level] = []
    for document in documents:
        fields = document.fields(("version", "service", "slos"), ("labels",))
        _nothing(fields.get("labels"), "labels of levels")
        levels += map(_sloth_level, fields["slos"].entries())
    return ServiceLevels(tuple(levels))


def _sloth_level(entry: Entry) -> Level:
    fields = entry.fields(("name", "objective", "sli"), ("description", "labels", "alerting"))
    _nothing(fields.get("labels"), "labels of levels")
    if "alerting" in fields:
        _sloth_alerts(fields["alerting"])
    events = fields["sli"].fields(("events",))["events"].fields(("error_query", "total_query"))
    counted = _events(events["total_query"], bad=events["error_query"], term=_SLOTH_TERM)
    return _level(fields["name"], objective(fields["objective"]), counted, fields.get("description"))


def _sloth_alerts(entry: Entry) -> None:
    """Alerts are ours, and so are their names; severities may say what ours say."""
    fields = entry.fields((), ("name", "labels", "annotations", *_OUR_SEVERITIES))
    for name in ("labels", "annotations"):
        _nothing(fields.get(name), f"{name} of alerts")
    for name, severity in _OUR_SEVERITIES.items():
        alert = fields[name].fields((), ("disable", "labels", "annotations")) if name in fields else {}
        _nothing(alert.get("annotations"), "annotations of alerts")
        if "disable" in alert and alert["disable"].yes():
            raise alert["disable"].complaint("an alert cannot be disabled here; Alertmanager can route it to nobody")
        for label, value in alert["labels"].fields(optional=None).items() if "labels" in alert else ():
            if (label, value.text()) != ("severity", severity):
                raise value.not_allowed(f"severity: {severity}, which the alert has")


# ------------------------------------------------------------------------------------------------------------- OpenSLO


def openslo(documents: Sequence[Entry]) -> ServiceLevels:
    """Return the levels of the objects of kind SLO in a file of OpenSLO; SLI objects are looked up, services need not be.

    Raises:
        ConfigurationError: it says something that cannot be kept.
    """
    objects = [document.fields(("apiVersion", "kind", "metadata", "spec")) for document in documents]
    indicators: dict[str, Entry] = {}
    for each in objects:
        if each["apiVersion"].text() != "openslo/v1":
            raise each["apiVersion"].not_allowed("openslo/v1")
        if each["kind"].text() not in {"SLO", "SLI", "Service"}:
            raise each["kind"].not_allowed("SLO, SLI, Service; alerts and data sources are made here")
        if each["kind"].text() == "SLI":
            indicators[_metadata(each["metadata"]).text()] = each["spec"]
    levels = [_openslo_level(each, indicators) for each in objects if each["kind"].text() == "SLO"]
    periods = {length for _, length in levels}
    if len(periods) > 1:
        raise documents[0].complaint(f"levels of one file share a period; these have {', '.join(sorted(periods))}")
    found = tuple(level for level, _ in levels)
    return ServiceLevels(found, periods.pop()) if periods else ServiceLevels()


def _metadata(entry: Entry) -> Entry:
    fields = entry.fields(("name",), ("displayName", "labels", "annotations"))
    _nothing(fields.get("labels"), "labels of levels")
    return fields["name"]


def _openslo_level(each: Mapping[str, Entry], indicators: Mapping[str, Entry]) -> tuple[Level, str]:
    """Return a level and its period."""
    spec = each["spec"].fields(
        ("service", "timeWindow", "objectives"),
        ("description", "indicator", "indicatorRef", "budgetingMethod", "alertPolicies"),
    )
    if "budgetingMethod" in spec and spec["budgetingMethod"].text() != "Occurrences":
        raise spec["budgetingMethod"].not_allowed("Occurrences, as a budget is a number of events")
    if "alertPolicies" in spec and spec["alertPolicies"].entries():
        raise spec["alertPolicies"].complaint("alerts follow from the objective here; leave alertPolicies out")
    if "indicatorRef" in spec:
        name = spec["indicatorRef"].text()
        if name not in indicators:
            raise spec["indicatorRef"].not_allowed(
                f"an SLI of the same file ({', '.join(indicators) or 'it has none'})"
            )
        indicator = indicators[name]
    elif "indicator" in spec:
        inline = spec["indicator"].fields(("spec",), ("metadata",))
        indicator = inline["spec"]
    else:
        raise each["spec"].complaint("spec needs the field indicator or indicatorRef")
    counted = _openslo_events(indicator)
    share = _openslo_objective(_only(spec["objectives"], "objective"))
    return _level(_metadata(each["metadata"]), share, counted, spec.get("description")), _openslo_period(
        _only(spec["timeWindow"], "time window")
    )


def _openslo_period(entry: Entry) -> str:
    fields = entry.fields(("duration",), ("isRolling", "calendar"))
    if "calendar" in fields:
        raise fields["calendar"].complaint("a period goes back from now here; calendars are not known")
    if "isRolling" in fields and not fields["isRolling"].yes():
        raise fields["isRolling"].not_allowed("true, as a period goes back from now here")
    return period(fields["duration"])


def _openslo_objective(entry: Entry) -> float:
    fields = entry.fields((), ("displayName", "target", "targetPercent"))
    if ("target" in fields) == ("targetPercent" in fields):
        raise entry.complaint("an objective needs either target or targetPercent")
    if "targetPercent" in fields:
        return objective(fields["targetPercent"])
    share = fields["target"].number()
    if share is None or not 0.01 <= share <= 0.99999:
        raise fields["target"].not_allowed("a share, a number from 0.01 to 0.99999")
    return round(share * 100, 7)


def _openslo_events(indicator: Entry) -> _Events:
    fields = indicator.fields((), ("ratioMetric", "thresholdMetric", "description"))
    if "ratioMetric" not in fields:
        raise indicator.complaint("only a ratioMetric is read, as a budget is a number of events")
    ratio = fields["ratioMetric"].fields(("total",), ("counter", "good", "bad"))
    if "counter" in ratio and not ratio["counter"].yes():
        raise ratio["counter"].not_allowed("true, as our metrics are counters")
    if ("good" in ratio) == ("bad" in ratio):
        raise fields["ratioMetric"].complaint("a ratioMetric needs either good or bad")
    queries = {name: _openslo_query(ratio[name]) for name in ("good", "bad", "total") if name in ratio}
    return _events(queries["total"], good=queries.get("good"), bad=queries.get("bad"), term=_OPENSLO_TERM)


def _openslo_query(entry: Entry) -> Entry:
    source = entry.fields(("metricSource",))["metricSource"].fields(("spec",), ("type", "metricSourceRef"))
    if "metricSourceRef" in source:
        raise source["metricSourceRef"].complaint("the server is the one whose rules these become; leave it out")
    if "type" in source and source["type"].text().lower() != "prometheus":
        raise source["type"].not_allowed("Prometheus")
    return source["spec"].fields(("query",))["query"]


def _only(entry: Entry, what: str) -> Entry:
    entries = entry.entries()
    if len(entries) != 1:
        raise entry.complaint(f"a level has one {what} here; these are {len(entries)}")
    return entries[0]


# ---------------------------------------------------------------------------------------------------------- of both


def _nothing(entry: Entry | None, what: str) -> None:
    if entry is not None and entry.fields(optional=None):
        raise entry.complaint(f"{what} cannot be kept; leave them out")


def _level(name: Entry, percent: float, events: _Events, description: Entry | None) -> Level:
    return Level(
        name.name(),
        events.feature,
        events.kind,
        percent,
        events.threshold,
        events.where,
        description.line() if description else "",
    )


# ------------------------------------------------------------------------------------------------------------- queries

_Matchers = dict[str, tuple[str, str]]

_STRING: Final = r'"(?:[^"\\]|\\["\\])*"'
_SELECTOR: Final = rf"([a-zA-Z_:][\w:]*)\s*\{{((?:[^\"{{}}]|{_STRING})*)\}}"
_RATE: Final = rf"sum\s*\(\s*(?:rate|increase)\s*\(\s*{_SELECTOR}\s*\[\s*%s\s*\]\s*\)\s*\)"
_SLOTH_TERM: Final = _RATE % r"\{\{\s*\.window\s*\}\}"
_OPENSLO_TERM: Final = rf"(?:{_RATE % '[0-9]+[smhdw]'}|sum\s*\(\s*{_SELECTOR}\s*\)|{_SELECTOR})"
_MATCHER: Final = re.compile(rf"\s*(\w+)\s*(=~|!=|!~|=)\s*({_STRING})\s*(?:,|$)")
_UNDERSTOOD: Final = "sum(rate(METRIC{…}[WINDOW])), or the difference of two such sums"
_KNOWN: Final = {series_name(USAGE), f"{series_name(USAGE_DURATION)}_count", series_name(SATISFACTION_RESPONSES)}


@dataclass(frozen=True, slots=True)
class _Counter:
    """What a sum counts: a metric, and the matchers of its labels."""

    metric: str
    matchers: _Matchers

    def split(self, label: str) -> tuple[tuple[str, str] | None, _Matchers]:
        """Return the matcher of a label, and all others."""
        return self.matchers.get(label), {name: how for name, how in self.matchers.items() if name != label}


@dataclass(frozen=True, slots=True)
class _Events:
    """Which events a level is about."""

    kind: Kind
    feature: str
    threshold: str
    where: tuple[tuple[str, str], ...]


def _events(total: Entry, *, good: Entry | None = None, bad: Entry | None = None, term: str) -> _Events:
    """Return what is counted by the query of all events, and that of the good or the bad ones."""
    [everything] = _counters(total, term, 1)
    part = good or bad
    if part is None:
        raise total.complaint("the good or the bad events are not counted")
    *minuend, counted = _counters(part, term, 2)
    if minuend and minuend[0] != everything:
        raise part.complaint("a difference has to be taken from all events, as the query of the total counts them")
    counts_good = (part is good) != bool(minuend)
    kind, threshold = _told(part, everything, counted, counts_good=counts_good)
    _, rest = everything.split(OUTCOME.name)
    return _Events(kind, _feature(total, rest), threshold, _where(total, rest, kind))


def _told(part: Entry, everything: _Counter, counted: _Counter, *, counts_good: bool) -> tuple[Kind, str]:
    """Return the kind of a level, and its threshold if it has one."""
    if everything.metric == series_name(USAGE):
        known, rest = everything.split(OUTCOME.name)
        if known not in {("!=", "unknown"), ("=~", "success|failure"), ("=~", "failure|success")}:
            raise part.complaint(
                'uses whose outcome is unknown are not counted here; the total needs outcome!="unknown"'
            )
        label, wanted, kind = OUTCOME.name, "success" if counts_good else "failure", Kind.SUCCESS
    elif everything.metric == series_name(SATISFACTION_RESPONSES):
        rest, label, kind = everything.matchers, SATISFIED.name, Kind.SATISFACTION
        wanted = "true" if counts_good else "false"
    elif everything.metric == f"{series_name(USAGE_DURATION)}_count":
        rest = everything.matchers
        bound, others = counted.split("le")
        fits = counted.metric == f"{series_name(USAGE_DURATION)}_bucket" and others == rest and counts_good
        if not fits or bound is None or bound[0] != "=":
            raise part.complaint(
                f'the good uses are {series_name(USAGE_DURATION)}_bucket{{le="…"}} with the labels of the total'
            )
        return Kind.LATENCY, _duration(part, bound[1])
    else:
        raise part.complaint(f"{everything.metric} is not read; the total may count {', '.join(sorted(_KNOWN))}")
    found, others = counted.split(label)
    if counted.metric != everything.metric or others != rest or found != ("=", wanted):
        what = "good" if counts_good else "bad"
        raise part.complaint(f'the {what} events are those of the total with {label}="{wanted}"')
    return kind, ""


def _duration(part: Entry, bound: str) -> str:
    try:
        value = round(float(bound) * 1000, 6)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 100_000 or value != int(value):
        raise part.complaint(f'le="{bound}" is not allowed; allowed: seconds from 0.001 to 100')
    return f"{int(value) // 1000}s" if value % 1000 == 0 else f"{int(value)}ms"


def _feature(total: Entry, matchers: _Matchers) -> str:
    operator, value = matchers.get(FEATURE.name, ("", ""))
    if operator != "=" or not 0 < len(value) <= LONGEST or printable(value) != value:
        raise total.complaint(f'a level is about one feature: the query needs {FEATURE.name}="…"')
    return value


def _where(total: Entry, matchers: _Matchers, kind: Kind) -> tuple[tuple[str, str], ...]:
    for name, (operator, value) in matchers.items():
        if name != FEATURE.name and (operator != "=" or name not in kind.labels or printable(value) != value):
            raise total.complaint(
                f'{name}{operator}"{printable(value)}" cannot be kept; allowed: {", ".join(kind.labels)}, with ='
            )
    return tuple((name, value) for name, (_, value) in matchers.items() if name != FEATURE.name)


def _counters(query: Entry, term: str, most: int) -> list[_Counter]:
    """Return the counters that a query sums up; of two the second is taken from the first."""
    text = query.text().strip()
    found = re.fullmatch(rf"\(?\s*{term}\s*(?:-\s*{term}\s*)?\)?", text, re.ASCII)
    groups = [group for group in found.groups() if group is not None] if found else []
    counters = [_Counter(name, _matchers(query, inner)) for name, inner in zip(groups[::2], groups[1::2], strict=True)]
    if not 0 < len(counters) <= most:
        raise query.not_allowed(_UNDERSTOOD if most > 1 else _UNDERSTOOD.partition(",")[0])
    return counters


def _matchers(query: Entry, text: str) -> _Matchers:
    found: _Matchers = {}
    place = 0
    while place < len(text.rstrip()):
        match = _MATCHER.match(text, place)
        if not match or match[1] in found:
            raise query.complaint(
                f'{text[:80]!a} are no matchers that can be read: one for each label, as in job="shop"'
            )
        found[match[1]] = (match[2], re.sub(r"\\(.)", r"\1", match[3][1:-1]))
        place = match.end()
    return found
