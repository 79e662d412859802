"""Files of service levels: what they may say, what is made of it, and what is rejected, by file, line, value and what is allowed."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from otel_metrics.assets import data_files, render, service_levels, thresholds
from otel_metrics.assets.service_levels import Kind, Level, ServiceLevels
from otel_metrics.errors import ConfigurationError
from otel_metrics.promql import DIALECTS, PROMETHEUS, VICTORIAMETRICS, Histograms
from tests.assets.history import DAY, HOUR, MINUTE, History
from tests.command import otel_metrics
from tests.dialects import AT_HAND, groups, rules
from tests.servers import ROOT, program, promtool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Servers

ONE = """\
service_levels:
  - name: pay-succeeds
    feature: checkout
    kind: success
    objective: 99.9
"""


def read(folder: Path, text: str) -> ServiceLevels:
    path = folder / "levels.yml"
    path.write_text(text, encoding="utf-8")
    return service_levels.read(path)


# --------------------------------------------------------------------------------------------------------- our files


def test_every_kind_is_read(tmp_path: Path) -> None:
    text = """\
# What we promise.
period: 4w
service_levels:
  - {name: pay-succeeds, feature: checkout, kind: success, objective: 99.9, where: {action: pay, job: shop}}
  - {name: fast, feature: "R&D #1", kind: latency, objective: 95, threshold: 470ms}
  - {name: liked, feature: chat, kind: satisfaction, objective: 80, description: "Not\\n at night."}
  - {name: fresh, feature: index, kind: freshness, objective: 99, threshold: 26h}
"""
    assert read(tmp_path, text) == ServiceLevels(
        (
            Level("pay-succeeds", "checkout", Kind.SUCCESS, 99.9, where=(("action", "pay"), ("job", "shop"))),
            Level("fast", "R&D #1", Kind.LATENCY, 95, "470ms"),
            Level("liked", "chat", Kind.SATISFACTION, 80, description="Not at night."),
            Level("fresh", "index", Kind.FRESHNESS, 99, "26h"),
        ),
        "4w",
    )


def test_an_objective_is_a_share_to_the_last_digit() -> None:
    shares = [Level("n", "f", Kind.SUCCESS, percent).share for percent in (99.9, 99.95, 99.999, 80, 99)]
    assert shares == [0.999, 0.9995, 0.99999, 0.8, 0.99]


def test_the_shipped_file_is_about_the_example() -> None:
    features = {level.feature for level in service_levels.shipped().levels}
    assert features == {"source-reader", "learning-engine"}
    assert service_levels.shipped().period == "30d"


@pytest.mark.parametrize(
    ("old", "new", "line", "complaint"),
    [
        ("99.9", "100", 5, "objective='100' is not allowed; allowed: percent, a number from 1 to 99.999"),
        ("99.9", "0.999", 5, "objective='0.999' is not allowed; allowed: percent, a number from 1 to 99.999"),
        ("99.9", ".nan", 5, "objective='.nan' is not allowed; allowed: percent, a number from 1 to 99.999"),
        ("99.9", '"99.9"', 5, "objective='99.9' is not allowed; allowed: percent, a number from 1 to 99.999"),
        ("99.9", "[1]", 5, "objective=[…] is not allowed; allowed: percent, a number from 1 to 99.999"),
        ("kind: success", "kind: speed", 4, "kind='speed' is not allowed; allowed: success, latency, satisfaction, freshness"),
        ("kind: success", "kind: latency", 2, "a service level of kind latency needs the field threshold"),
        ("kind: success", "kind: success\n    threshold: 1s", 5, "a service level of kind success has no threshold"),
        (
            "kind: success",
            "kind: latency\n    threshold: 0.5s",
            5,
            "threshold='0.5s' is not allowed; allowed: from 1ms to 100s, such as 470ms",
        ),
        (
            "kind: success",
            "kind: freshness\n    threshold: 8d",
            5,
            "threshold='8d' is not allowed; allowed: from 2m to 7d, such as 26h",
        ),
        (
            "kind: success",
            "kind: success\n    where: {outcome: failure}",
            5,
            "the field 'outcome' is unknown in where; known: job, action, context",
        ),
        ("feature: checkout", "feature: 12", 3, "feature='12' is not allowed; allowed: text (in quotes, where it looks like something else)"),
        ("feature: checkout", 'feature: ""', 3, "feature='' is not allowed; allowed: 1 to 200 characters, no control characters"),
        ("feature: checkout", 'feature: "a\\nb"', 3, "feature='a\\nb' is not allowed; allowed: 1 to 200 characters, no control characters"),
        ("feature: checkout", 'feature: "a\\ufffe"', 3, "feature='a\\ufffe' is not allowed; allowed: 1 to 200 characters, no control characters"),
        ("feature: checkout", "feature: checkout\n    feature: b", 4, "the field feature is there twice"),
        ("    feature: checkout\n", "", 2, "a service level needs the field feature"),
        (
            "name: pay-succeeds",
            "name: pay {{ $x }}",
            2,
            "name='pay {{ $x }}' is not allowed; allowed: 1 to 63 letters, digits, '-', '_', '.', the first and the last no punctuation",
        ),
        ("kind:", "knid:", 4, "the field 'knid' is unknown in a service level; known: name, feature, kind, objective, threshold, where, description"),
        ("service_levels:\n", "period: 7d\nservice_levels:\n", 1, "period='7d' is not allowed; allowed: from 28d to 92d, such as 30d or 4w"),
        ("service_levels:\n  - name: pay-succeeds\n    feature: checkout\n    kind: success\n    objective: 99.9\n", "service_levels: 1\n", 1, "service_levels='1' is not allowed; allowed: a list"),
        ("99.9\n", "99.9\n---\na: 1\n", 7, "a second document is not allowed; allowed: one with period and service_levels"),
        ("service_levels:", "levels:", 1, "no service levels; allowed: a file with the field service_levels, one of Sloth (version: prometheus/v1), or one of OpenSLO (apiVersion: openslo/v1)"),
    ],
)  # fmt: skip
def test_what_a_file_may_not_say(tmp_path: Path, old: str, new: str, line: int, complaint: str) -> None:
    assert old in ONE
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, ONE.replace(old, new, 1))
    assert str(raised.value) == f"{tmp_path}/levels.yml, line {line}: {complaint}"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty; a file without levels says `service_levels: []`"),
        (b"a: [", ", line 1 is no YAML: "),
        (b"\xff\xfe\xff", "is not UTF-8: "),
        (b"a: \x00", "is no YAML: "),
        (b"[" * 5000, "is no YAML: "),
        (b"a: &a [*a]\nb: *c\n", ", line 2 is no YAML: "),
        (b"service_levels: &a [*a]\n", "an entry of service_levels=[…] is not allowed"),
        ((ONE + ONE.partition("\n")[2]).encode(), "2 service levels are called pay-succeeds; each needs a name of its own"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "levels.yml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=re.escape(str(path))) as raised:
        service_levels.read(path)
    assert complaint.replace("an entry of service_levels", "a service level") in str(raised.value)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        service_levels.read(tmp_path / "none.yml")


# ------------------------------------------------------------------------------------------------------------ factors


def test_factors_are_those_of_the_site_reliability_workbook() -> None:
    pairs = (*thresholds.BURNS_FAST, *thresholds.BURNS_SLOW)
    assert [(one.long, one.short, one.share, one.factor("30d")) for one in pairs] == [
        ("1h", "5m", 0.02, 14.4),
        ("6h", "30m", 0.05, 6),
        ("3d", "6h", 0.1, 1),
    ]


@given(
    period=st.integers(28, 92),
    hours=st.integers(1, 72),
    share=st.floats(0.01, 0.5),
)
def test_burning_at_the_factor_spends_just_that_share(period: int, hours: int, share: float) -> None:
    factor = thresholds.Burn(f"{hours}h", "5m", share).factor(f"{period}d")
    assert math.isclose(factor * hours / (period * 24), share, rel_tol=1e-3)


def test_the_rules_compare_with_the_factors_of_their_period() -> None:
    level = Level("a", "a", Kind.SUCCESS, 99)
    text = rules(PROMETHEUS, ServiceLevels((level,), "28d"))["service_levels.yml"]
    assert "ratio1h > 13.44\n" in text
    assert "ratio6h > 5.6\n" in text
    assert "ratio3d > 0.9333\n" in text
    assert "ratio28d" in text
    assert "30d" not in text


# -------------------------------------------------------------------------------------------------- Sloth and OpenSLO

OURS = """\
service_levels:
  - {name: pay-succeeds, feature: checkout, kind: success, objective: 99.9, where: {action: pay}, description: Money.}
  - {name: pay-is-fast, feature: checkout, kind: latency, objective: 95, threshold: 470ms}
  - {name: liked, feature: chat, kind: satisfaction, objective: 80}
"""
SLOTH = """\
version: "prometheus/v1"
service: shop
slos:
  - name: pay-succeeds
    objective: 99.9
    description: "Money."
    sli:
      events:
        error_query: sum(rate(feature_usage_total{feature="checkout",action="pay",outcome="failure"}[{{.window}}]))
        total_query: sum(rate(feature_usage_total{feature="checkout",action="pay",outcome!="unknown"}[{{.window}}]))
    alerting:
      name: PayFails
      page_alert: {labels: {severity: critical}}
      ticket_alert: {labels: {severity: warning}}
  - name: pay-is-fast
    objective: 95
    sli:
      events:
        error_query: |
          (
            sum(rate(feature_usage_duration_seconds_count{feature="checkout"}[{{ .window }}]))
            - sum(rate(feature_usage_duration_seconds_bucket{feature="checkout", le="0.47"}[{{ .window }}]))
          )
        total_query: sum(rate(feature_usage_duration_seconds_count{feature="checkout"}[{{.window}}]))
  - name: liked
    objective: 80
    sli:
      events:
        error_query: sum(increase(feature_satisfaction_responses_total{feature="chat",satisfied="false"}[{{.window}}]))
        total_query: sum(increase(feature_satisfaction_responses_total{feature="chat"}[{{.window}}]))
"""


def openslo(name: str, part: str, query: str, total: str, objective: str, more: str = "") -> str:
    return f"""\
apiVersion: openslo/v1
kind: SLO
metadata: {{name: {name}, displayName: Shown}}
spec:
  service: shop
{more}  indicator:
    metadata: {{name: i}}
    spec:
      ratioMetric:
        counter: true
        {part}: {{metricSource: {{type: Prometheus, spec: {{query: '{query}'}}}}}}
        total: {{metricSource: {{type: Prometheus, spec: {{query: '{total}'}}}}}}
  timeWindow: [{{duration: 30d, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{{objective}}}]
"""


OPENSLO = "---\n".join(
    [
        "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: shop}\nspec: {}\n",
        openslo(
            "pay-succeeds",
            "good",
            'sum(feature_usage_total{feature="checkout",action="pay",outcome="success"})',
            'sum(feature_usage_total{feature="checkout",action="pay",outcome=~"success|failure"})',
            "target: 0.999",
            "  description: Money.\n",
        ),
        openslo(
            "pay-is-fast",
            "good",
            'feature_usage_duration_seconds_bucket{le="0.47",feature="checkout"}',
            'feature_usage_duration_seconds_count{feature="checkout"}',
            "targetPercent: 95",
        ),
        openslo(
            "liked",
            "bad",
            'feature_satisfaction_responses_total{feature="chat",satisfied="false"}',
            'feature_satisfaction_responses_total{feature="chat"}',
            "displayName: liked, target: 0.8",
        ),
        "",
    ]
)


@pytest.mark.parametrize("theirs", [SLOTH, OPENSLO], ids=["sloth", "openslo"])
def test_their_files_are_read_to_the_same_levels(tmp_path: Path, theirs: str) -> None:
    assert read(tmp_path, theirs) == read(tmp_path, OURS)


def test_an_indicator_of_openslo_may_stand_by_itself(tmp_path: Path) -> None:
    inline = openslo("a", "good", 'feature_usage_total{feature="f",outcome="success"}', 'feature_usage_total{feature="f",outcome!="unknown"}', "target: 0.9")  # fmt: skip
    indicator = re.search(r"    spec:\n(      ratioMetric:\n(?:        .*\n)+)", inline)
    assert indicator
    apart = re.sub(r"  indicator:\n(    .*\n)+", "  indicatorRef: i\n", inline)
    sli = "apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: i}\nspec:\n" + indicator[1]
    assert read(tmp_path, f"{apart}---\n{sli}") == read(tmp_path, inline)


@pytest.mark.parametrize(
    ("old", "new", "line", "complaint"),
    [
        (',outcome!="unknown"', "", 9, 'uses whose outcome is unknown are not counted here; the total needs outcome!="unknown"'),
        ('feature="checkout",action="pay",outcome!', 'action="pay",outcome!', 9, 'the bad events are those of the total with outcome="failure"'),
        ('sum(rate(feature_usage_total{feature="checkout",action="pay",outcome="failure"}[{{.window}}]))', "1 - vector(1)", 9, "error_query='1 - vector(1)' is not allowed; allowed: sum(rate(METRIC{…}[WINDOW])), or the difference of two such sums"),
        ('sum(rate(feature_usage_total{feature="checkout",action="pay",outcome!="unknown"}[{{.window}}]))', 'sum(rate(http_requests_total{feature="checkout"}[{{.window}}]))', 9, "http_requests_total is not read; the total may count feature_satisfaction_responses_total, feature_usage_duration_seconds_count, feature_usage_total"),
        ('le="0.47"', 'le="+Inf"', 19, 'le="+Inf" is not allowed; allowed: seconds from 0.001 to 100'),
        ('action="pay",', 'error_type="x",', 10, 'error_type="x" cannot be kept; allowed: job, action, context, with ='),
        ("service: shop\n", "service: shop\nlabels: {team: a}\n", 3, "labels of levels cannot be kept; leave them out"),
        ("severity: critical", "severity: pageteam", 13, "severity='pageteam' is not allowed; allowed: severity: critical, which the alert has"),
        ("page_alert: {", "page_alert: {disable: true, ", 13, "an alert cannot be disabled here; Alertmanager can route it to nobody"),
        ("alerting:\n", "alerting:\n      annotations: {runbook: x}\n", 12, "annotations of alerts cannot be kept; leave them out"),
        ("    sli:\n      events:", "    sli:\n      raw: {error_ratio_query: x}\n      events:", 8, "the field 'raw' is unknown in sli; known: events"),
    ],
)  # fmt: skip
def test_what_sloth_says_and_we_cannot_is_rejected(
    tmp_path: Path, old: str, new: str, line: int, complaint: str
) -> None:
    assert old in SLOTH
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, SLOTH.replace(old, new, 2 if old.startswith("action") else 1))
    assert complaint in str(raised.value)
    assert f"levels.yml, line {line}: " in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("Occurrences", "Timeslices", "budgetingMethod='Timeslices' is not allowed; allowed: Occurrences, as a budget is a number of events"),
        ("isRolling: true", "isRolling: false", "isRolling='false' is not allowed; allowed: true, as a period goes back from now here"),
        ("isRolling: true", "calendar: {startTime: x}", "a period goes back from now here; calendars are not known"),
        ("duration: 30d", "duration: 28d", "levels of one file share a period; these have 28d, 30d"),
        ("target: 0.999", "target: 99.9", "target='99.9' is not allowed; allowed: a share, a number from 0.01 to 0.99999"),
        ("[{target: 0.999}]", "[{target: 0.999}, {target: 0.9}]", "a level has one objective here; these are 2"),
        ("ratioMetric:", "thresholdMetric:", "only a ratioMetric is read, as a budget is a number of events"),
        ("counter: true", "counter: false", "counter='false' is not allowed; allowed: true, as our metrics are counters"),
        ("type: Prometheus", "type: Datadog", "type='Datadog' is not allowed; allowed: Prometheus"),
        ("  service: shop\n", "  service: shop\n  alertPolicies: [{kind: AlertPolicy}]\n", "alerts follow from the objective here; leave alertPolicies out"),
        ("kind: Service", "kind: DataSource", "kind='DataSource' is not allowed; allowed: SLO, SLI, Service; alerts and data sources are made here"),
        ("openslo/v1", "openslo/v1alpha", "apiVersion='openslo/v1alpha' is not allowed; allowed: openslo/v1"),
    ],
)  # fmt: skip
def test_what_openslo_says_and_we_cannot_is_rejected(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in OPENSLO
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, OPENSLO.replace(old, new, 1))
    assert str(raised.value).startswith(f"{tmp_path}/levels.yml, line ")
    assert str(raised.value).endswith(complaint)


# -------------------------------------------------------------------------------------------------- what is rendered

HOSTILE = "a\"b\\c{{ $labels.x }} ${job} $job %s ' `ü` # : &*!|> - [x] | \U0001f600"


def test_any_text_of_the_file_stays_text(tmp_path: Path) -> None:
    """In PromQL, in YAML and in the dashboard, for every dialect."""
    level = {"feature": HOSTILE, "objective": 99, "description": HOSTILE + "\n# - alert: x"}
    text = json.dumps(
        {
            "service_levels": [
                {**level, "name": "a", "kind": "success", "where": {"action": HOSTILE}},
                {**level, "name": "b", "kind": "latency", "threshold": "1s"},
                {**level, "name": "c", "kind": "satisfaction", "where": {"satisfaction_type": HOSTILE}},
                {**level, "name": "d", "kind": "freshness", "threshold": "1h"},
            ]
        },
        ensure_ascii=False,
    )
    levels = read(tmp_path, text)
    for dialect in DIALECTS.values():
        found = yaml.safe_load(rules(dialect, levels)["service_levels.yml"])["groups"]
        assert [group["name"][-1] for group in found[:4]] == ["a", "b", "c", "d"]
        objectives = [rule["labels"]["feature"] for group in found[:4] for rule in group["rules"][:1]]
        assert objectives == [HOSTILE] * 4
    folder = tmp_path / "root"
    render.write(folder, render.files(AT_HAND, levels=levels))
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", folder / "prometheus/rules/service_levels.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    json.loads((folder / "grafana/dashboards/service_levels.json").read_text(encoding="utf-8"))
    series = 'feature_usage_total{job="j",feature=%s,action=%s,outcome="%s",service_instance_id="a"}'
    quoted = json.dumps(HOSTILE, ensure_ascii=False)
    test: dict[str, Any] = {
        "rule_files": [str(folder / "prometheus/rules/service_levels.yml")],
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": series % (quoted, quoted, "success"), "values": "0+3x9"},
                    {"series": series % (quoted, quoted, "failure"), "values": "0+1x9"},
                ],
                "promql_expr_test": [
                    {
                        "expr": 'service_level:events:increase1m{service_level="a"}',
                        "eval_time": "5m",
                        "exp_samples": [
                            {
                                "labels": f'service_level:events:increase1m{{job="j",feature={quoted},service_level="a"}}',
                                "value": 4,
                            }
                        ],
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test), encoding="utf-8")
    done = promtool("test", "rules", tmp_path / "test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_latency_between_two_classic_buckets_is_rejected() -> None:
    levels = ServiceLevels((Level("fast", "f", Kind.LATENCY, 99, "500ms"),))
    service_levels.groups(levels, PROMETHEUS)
    for dialect in (VICTORIAMETRICS, PROMETHEUS.storing(Histograms.CLASSIC)):
        with pytest.raises(ConfigurationError) as raised:
            service_levels.groups(levels, dialect)
        assert str(raised.value) == (
            "fast: threshold=500ms is not allowed with classic histograms, as no bucket ends there; allowed near it: 470ms or 680ms"
        )


def test_without_levels_there_are_no_rules_and_no_dashboard(tmp_path: Path) -> None:
    render.write(tmp_path, render.files())
    rule_file, dashboard = (
        tmp_path / "prometheus/rules/service_levels.yml",
        tmp_path / "grafana/dashboards/service_levels.json",
    )
    assert rule_file.exists()
    assert render.write(tmp_path, render.files(levels=read(tmp_path, "service_levels: []\n"))) == [dashboard, rule_file]
    assert not rule_file.exists()
    assert not dashboard.exists()


def test_the_command_takes_the_file_below_the_root_or_another(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "sloth.yml"
    assert otel_metrics("render", "--root", str(root)).returncode == 0
    rule_file, own = root / "prometheus/rules/service_levels.yml", root / "prometheus/service_levels.yml"
    assert own.read_text(encoding="utf-8") == (data_files.root() / "prometheus/service_levels.yml").read_text("utf-8")
    assert rule_file.read_text("utf-8").startswith(
        "# Generated by `otel-metrics render`, do not edit: change prometheus/service_levels.yml instead.\n"
    )
    own.write_text(ONE, encoding="utf-8")
    assert otel_metrics("render", "--check", "--root", str(root)).returncode == 1
    assert otel_metrics("render", "--root", str(root)).returncode == 0
    assert 'feature="checkout"' in rule_file.read_text(encoding="utf-8")
    other.write_text(SLOTH, encoding="utf-8")
    assert otel_metrics("render", "--root", str(root), "--service-levels", str(other)).returncode == 0
    assert "pay-is-fast" in rule_file.read_text(encoding="utf-8")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    own.write_text(ONE.replace("99.9", "999"), encoding="utf-8")
    done = otel_metrics("render", "--root", str(root))
    assert done.returncode == 2
    assert f"{own}, line 5: objective='999' is not allowed" in " ".join(done.stderr.split())
    assert {path: path.read_bytes() for path in before if path != own} == {p: b for p, b in before.items() if p != own}


# -------------------------------------------------------------------------------------------------- on real servers


def test_a_week_is_counted_to_the_last_event(servers: Servers, tmp_path: Path) -> None:
    """902 failures among two million uses, over a restart: minute by minute, as the rules do, on a real server."""
    end = int(time.time()) // MINUTE * MINUTE - HOUR
    begin, restart = end - 7 * DAY, end - 3 * DAY
    history = History()
    uses = 'feature_usage_total{feature="source-reader",action="read",outcome="%s",job="j",instance="i",service_instance_id="%s"}'
    # Scrapes are five seconds after the minute.
    history.grow(uses % ("success", "a"), 199, begin + 5, restart - MINUTE)
    history.hold(uses % ("failure", "a"), 0, begin + 5, begin + DAY)
    history.add(uses % ("failure", "a"), ((begin + DAY + 65 + n * MINUTE, min(3 * n, 900)) for n in range(4000)))
    history.grow(uses % ("success", "b"), 199, restart + 5, end - MINUTE)
    history.hold(uses % ("failure", "b"), 0, restart + 5, end - HOUR)
    history.hold(uses % ("failure", "b"), 2, end - HOUR + MINUTE + 5, end - MINUTE)
    history.hold('up{job="j",instance="i"}', 1, begin - HOUR, end)
    history.write(tmp_path / "data")
    server = servers.prometheus(data=tmp_path / "data", flags=["--storage.tsdb.retention.time=30d"])

    counting = {
        rule["record"]: rule["expr"]
        for group in groups(AT_HAND)
        if group["name"] == "otel_metrics_service_level_reading-succeeds"
        for rule in group["rules"]
    }

    def in_a_week(record: str) -> float | None:
        return server.value(f"sum_over_time(({counting[record]})[8d:1m])", end)

    minutes = 4 * DAY // MINUTE - 2 + 3 * DAY // MINUTE - 2
    assert in_a_week("service_level:bad_events:increase1m") == 902
    assert in_a_week("service_level:events:increase1m") == 199 * minutes + 902


def test_vmalert_fires_and_is_silent_at_the_same_times(tmp_path: Path) -> None:
    """The cases of promtool, by VictoriaMetrics' own tool for them."""
    render.write(tmp_path, render.files(VICTORIAMETRICS))
    typed = yaml.safe_load((ROOT / "prometheus/tests/service_levels.test.yml").read_text(encoding="utf-8"))
    wanted = ("one use in five", "one use in fifty", "three uses an hour at night", "one use in a hundred")
    cases = [
        {name: value for name, value in test.items() if name != "promql_expr_test"}
        for test in typed["tests"]
        if any(words in test["name"] for words in wanted)
    ]
    assert len(cases) == len(wanted)
    folder = tmp_path / "prometheus/tests"
    folder.mkdir()
    (folder / "cases.yml").write_text(yaml.safe_dump({**typed, "tests": cases}), encoding="utf-8")
    done = subprocess.run(
        [program("vmalert-tool"), "unittest", "--disableAlertgroupLabel", "--files", folder / "cases.yml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
