"""For somebody who has just been woken up: who is in trouble, since when, what fires."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_metrics.assets import thresholds, uids
from otel_metrics.assets.dashboards.alerts import CLOCK, ON_FEATURES, SILENT, alert_table, firing_count, since, trouble
from otel_metrics.assets.dashboards.model import FEATURES, Dashboard, Section
from otel_metrics.assets.dashboards.panels import (
    AMBER,
    CLEAR,
    NOT_SCRAPED,
    OF_FEATURE,
    OF_RESOURCE,
    Column,
    counts,
    lines,
    over_time,
    stat,
    table,
)
from otel_metrics.assets.dashboards.queries import (
    FAILING,
    FAILURES,
    FULL,
    MANY,
    RESPONSE_TIMES,
    SHOWN,
    SLOW,
    UNLOVED,
    at_last,
    bars,
    failures,
    fullest,
    fullest_curves,
    hour_of_response_times,
    hour_of_satisfaction,
    hour_of_success,
    most,
    only,
    per_minute,
    recorded,
    worst,
)
from otel_metrics.assets.recording import (
    ACCURACY_1H,
    DURATION_1H,
    ERRORS_1H,
    OUTCOMES_1H,
    SATISFACTION_1H,
    SEVERE,
    USES_5M,
)
from otel_metrics.catalogue import (
    ERRORS,
    FEATURE,
    OUTCOME,
)
from otel_metrics.promql import aggregate, equal, sum_by

if TYPE_CHECKING:
    from otel_metrics.assets.dashboards.model import Json, Panel
    from otel_metrics.assets.dashboards.queries import Values

BY: Final = (FEATURE.name,)
_FEW: Final = 5
"""Curves of a narrow graph, whose legend has no room for more names."""

MENU: Final = (
    ("Everything about it", uids.FEATURE),
    ("Errors", uids.ERRORS),
    ("Usage", uids.USAGE),
    ("Performance", uids.PERFORMANCE),
    ("Only this one", uids.OVERVIEW),
)
"""Where the name of a feature leads."""


def dashboard(values: Values) -> Dashboard:
    """Return the dashboard."""
    count = firing_count().look(uids.TELEMETRY)
    # As high as the line beside it, where Grafana would make the names too small to be read.
    firing = replace(count, height=3, options={**count.options, "text": {"titleSize": 12, "valueSize": 24}})
    return Dashboard(
        uids.OVERVIEW,
        "otel_metrics / Overview",
        "Who is in trouble, since when, what fires? Tiles and coloured cells are judged by the alerts, over the last hour.",
        (FEATURES,),
        (
            Section("", (firing, trouble(values.scope))),
            Section("The worst of the last hour", (*_tiles(), _features(), alert_table(values.scope))),
            Section("Over time", (*_curves(), *_rest())),
        ),
        refresh="1m",
        alerts="(Feature|Resource).+",
    )


def _tiles() -> tuple[Panel, ...]:
    """Return the tiles: the worst feature of the last hour by each measure, as the alerts judge it."""
    errors, satisfaction, slow = thresholds.ERRORS, thresholds.SATISFACTION, thresholds.RESPONSE_TIME
    failing, full = thresholds.FAILURES, thresholds.EXHAUSTED
    return (
        stat(
            "Most errors",
            f"Of severity error or critical, of the worst feature, exact. Red above {errors.bound:g}, where FeatureErrorsHigh fires.",
            aggregate("topk", (), 1, recorded(ERRORS_1H)),
            bound=MANY,
            name=OF_FEATURE,
            none="no feature used",
            width=5,
        ).look(uids.ERRORS),
        stat(
            "Slowest",
            f"Average response time of the worst feature with {slow.events} of them. Amber above {slow.bound:g} s, where "
            "FeatureResponseTimeHigh fires.",
            aggregate("topk", (), 1, hour_of_response_times()),
            "s",
            bound=SLOW,
            name=OF_FEATURE,
            none="few or none",
            width=5,
        ).look(uids.PERFORMANCE),
        stat(
            "Lowest satisfaction",
            f"Average satisfaction of the worst feature with {satisfaction.events} responses. Amber below {satisfaction.bound:.0%}, where "
            "FeatureSatisfactionLow fires.",
            aggregate("bottomk", (), 1, hour_of_satisfaction()),
            "percentunit",
            bound=UNLOVED,
            name=OF_FEATURE,
            none="few or none",
            decimals=1,
            width=5,
        ).look(uids.SATISFACTION),
        stat(
            "Lowest success",
            f"Of the worst feature with {failing.events} uses of a known outcome. Red below {1 - failing.bound:.0%}, where "
            "FeatureFailuresHigh fires.",
            aggregate("bottomk", (), 1, hour_of_success()),
            "percentunit",
            bound=FAILING,
            name=OF_FEATURE,
            none="few or none",
            decimals=1,
            width=5,
        ).look(uids.USAGE),
        stat(
            "Fullest resource",
            f"Share in use of the fullest one. Red above {full.bound:.0%}, where the alert ResourceExhausted fires.",
            aggregate("topk", (), 1, fullest()),
            "percentunit",
            bound=FULL,
            name=OF_RESOURCE,
            none="none reported",
            decimals=1,
        ).look(uids.RESOURCES),
    )


def _features() -> Panel:
    silent: Json = {
        "mappings": [{"type": "value", "options": {"-1": {"text": "silent", "color": AMBER, "index": 0}}}],
        "thresholds": {"mode": "absolute", "steps": [{"value": None, "color": CLEAR}]},
        "custom.cellOptions": {"type": "color-background", "mode": "basic"},
    }
    uses = aggregate("group", BY, SILENT) * -1 | per_minute(sum_by(BY, recorded(USES_5M)))
    return table(
        "Features, the worst first",
        "Of the last hour. Red is what an alert that pages calls too much, amber what another one does, or silent, where FeatureSilent "
        "fires; too few values for a judgement are shown as –. Errors, of severity error or critical, and success are exact. Since when: the "
        "first alert that pages, else the first other one. The name leads to more.",
        {FEATURE.name: "Feature"},
        [
            Column("Alerts", aggregate("count", BY, ON_FEATURES), width=50),
            Column("Since", since(), CLOCK, width=100),
            Column("Errors", recorded(ERRORS_1H), bound=MANY, width=50),
            Column("Response", hour_of_response_times(), "s", SLOW, width=76),
            Column("Satisfaction", hour_of_satisfaction(), "percentunit", UNLOVED, 1, width=90),
            Column("Success", hour_of_success(), "percentunit", FAILING, decimals=1, width=66),
            Column("Uses per minute", uses, "none", decimals=1, width=78, more=tuple(silent.items())),
        ],
        menu=MENU,
        none="no feature is recorded now",
        sort=("Alerts", "Errors"),
        width=14,
    )


def _curves() -> tuple[Panel, ...]:
    uses = per_minute(sum_by(BY, recorded(USES_5M)))
    recently = sum_by(BY, at_last(recorded(USES_5M)))
    failed = sum_by(BY, at_last(recorded(OUTCOMES_1H, equal(OUTCOME, "failure"))))
    return (
        lines(
            "Uses per minute",
            f"The {_FEW} features that are used most.",
            [over_time(only(uses, recently, shown=_FEW), OF_FEATURE)],
            "none",
            low=0,
            none=NOT_SCRAPED,
            width=6,
        ).look(uids.USAGE),
        lines(
            "Uses that fail, 1 h",
            f"Share of the uses of the last hour whose outcome is known, exact; the {_FEW} features that fail most often. The red line is the bound of "
            "FeatureFailuresHigh.",
            [over_time(only(failures(), failed, shown=_FEW), OF_FEATURE)],
            "percentunit",
            bound=FAILURES,
            low=0,
            width=6,
        ).look(uids.USAGE),
        counts(
            "Errors, per quarter of an hour",
            f"Of severity error or critical, which FeatureErrorsHigh counts, exact; the {_FEW} features with most. Bars are longer where "
            "the period is long.",
            [over_time(most(bars(ERRORS, BY, SEVERE), ERRORS, BY, SEVERE, shown=_FEW), OF_FEATURE)],
            none="no errors counted in this period so far",
            width=6,
        ).look(uids.ERRORS),
        lines(
            "Response time, 1 h",
            f"Average of the last hour, the {_FEW} slowest features. The amber line is the bound of FeatureResponseTimeHigh.",
            [over_time(worst(recorded(DURATION_1H, RESPONSE_TIMES), shown=_FEW), OF_FEATURE)],
            "s",
            bound=SLOW,
            low=0,
            width=6,
        ).look(uids.PERFORMANCE),
    )


def _rest() -> tuple[Panel, ...]:
    accuracy = recorded(ACCURACY_1H)
    least = only(aggregate("min", BY, accuracy), aggregate("min", BY, at_last(accuracy)), best="bottomk")
    return (
        lines(
            "Average satisfaction of the last hour",
            f"The {SHOWN} least satisfying features. The amber line is the bound of FeatureSatisfactionLow.",
            [over_time(worst(recorded(SATISFACTION_1H), best="bottomk"), OF_FEATURE)],
            "percentunit",
            bound=UNLOVED,
            soft_low=0.5,
            high=1,
        ).look(uids.SATISFACTION),
        lines(
            "Accuracy of learning, 1 h",
            f"Average of the last hour, of a feature's least accurate type; the {SHOWN} least accurate features.",
            [over_time(least, OF_FEATURE)],
            "percentunit",
            soft_low=0.5,
            high=1,
        ).look(uids.LEARNING),
        lines(
            "Resources: share in use",
            f"The fullest {SHOWN}, each of its fullest process. The red line is the bound of ResourceExhausted.",
            [over_time(fullest_curves(), OF_RESOURCE)],
            "percentunit",
            bound=FULL,
            low=0,
            high=1,
            none="none reported now",
        ).look(uids.RESOURCES),
    )
