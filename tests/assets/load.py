"""What one load of a dashboard reads of a server that ten features of 200 series each have filled for a week.

Ten features, 200 series of each, as a server with native histograms stores them; and what the shipped rules make of these, at the
rules' own intervals. Values mean nothing: what a query reads depends on the number of series and of their samples.
"""

from __future__ import annotations

import itertools
import json
import re
import time
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.assets import recording
from otel_metrics.assets.dashboards import texts
from otel_metrics.catalogue import CATALOGUE, DayKey, Kind
from otel_metrics.naming import series_name
from tests.assets.history import DAY, HOUR, MINUTE
from tests.daily.simulation import delimited, serving
from tests.dialects import AT_HAND, groups
from tests.exporter.prometheus_proto import MetricFamily
from tests.servers import fetch, promtool, wait_until
from tests.visual.past import written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.servers import Prometheus, Servers

FEATURES = 10
SCRAPES = 15
"""Seconds, as shipped."""
_TYPES = [f"type-{n}" for n in range(5)]
_ACTIONS = [f"action-{n}" for n in range(20)]
_BUCKETS = 16
"""Of a native histogram that has seen an hour of one kind of duration."""

_Labels = dict[str, str]


def _each(**values: Iterable[str]) -> list[_Labels]:
    """Every combination of labels."""
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def _measured(*categories: str, names: int) -> list[_Labels]:
    return _each(metric_category=categories, metric_name=[f"name-{n}" for n in range(names)])


_USES: Final = [
    *_each(action=_ACTIONS, outcome=["success"]),
    *_each(action=_ACTIONS, outcome=["failure"], error_type=["Timeout"]),
]
_SERIES: Final[dict[str, list[_Labels]]] = {
    "feature.performance.duration": _measured("response_time", "latency", names=20),
    "feature.performance.size": _measured("memory_usage", names=5),
    "feature.performance.ratio": _measured("cpu_usage", names=5),
    "feature.performance.rate": _measured("throughput", names=5),
    "feature.performance.value": [{**one, "sign": "positive"} for one in _measured("tokens", names=5)],
    "feature.usage": _USES,
    "feature.usage.duration": _each(action=_ACTIONS, outcome=["success", "failure"]),
    "feature.errors": _each(
        error_type=_TYPES, severity=["critical", "error"], impact_level=["high"], recovery=["none", "failed"]
    ),
    "feature.satisfaction.score": _each(satisfaction_type=_TYPES[:3]),
    "feature.satisfaction.responses": _each(satisfaction_type=_TYPES[:3], satisfied=["true", "false"]),
    **{
        f"feature.learning.{name}": _each(learning_type=_TYPES)
        for name in ("accuracy", "confidence", "improvement", "samples")
    },
    "feature.learning.value": _each(metric_name=["loss", "gain"], sign=["positive"]),
    **{f"feature.optimization.{name}": _each(impact_category=_TYPES[:3]) for name in ("change", "user_impact")},
    **{
        f"feature.optimization.{name}": _each(impact_category=["latency"], optimization_id=["warmup"])
        for name in ("before", "after")
    },
    "feature.optimization.value": _each(metric_name=["gain"], sign=["positive"]),
}
"""By a metric's name, the labels of each series of a feature."""
assert sum(map(len, _SERIES.values())) == 200


DAILY_ROWS = "feature_type_name:"
_RULE_LABELS = re.compile(r"by \(([^)]*)\)")
_RAW = re.compile(r"feature_[a-z_]+")
_DURATIONS = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}


class Filled:
    """A server's folder, filled with what rules record in so many days, which end now.

    Of what is scraped there are gauges only: no panel reads raw samples of the rest over a period (``test_dashboards.py``).
    """

    def __init__(self, folder: Path, days: int) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.end = time.time() // MINUTE * MINUTE - MINUTE
        self.start = self.end - days * DAY
        self._native: list[tuple[str, list[_Labels], int]] = []
        gauges = [metric for metric in CATALOGUE if metric.name in _SERIES and metric.kind is Kind.GAUGE]
        scraped = [(series_name(one), _of_features(_SERIES[one.name], one.label_names), SCRAPES) for one in gauges]
        self._write([*scraped, *self._recorded()])

    def _recorded(self) -> Iterator[tuple[str, list[_Labels], int]]:
        """(name, label sets, seconds between two samples) of what the rules record as numbers; keeps the others."""
        made: dict[str, list[_Labels]] = {}
        panels = "".join(texts(AT_HAND).values())
        for group in groups(AT_HAND):
            for rule in group["rules"]:
                # No panel reads the hours of the daily table. Every service level has rules of the same names.
                if "record" not in rule or rule["record"] in made or group["name"] == "otel_metrics_hours":
                    continue
                made[rule["record"]] = labels = _made_by(rule, made)
                if rule["record"] not in panels:
                    continue
                if rule["record"] in _NATIVE:
                    self._native.append((rule["record"], labels, seconds(group["interval"])))
                else:
                    yield rule["record"], labels, seconds(group["interval"])

    def _write(self, floats: list[tuple[str, list[_Labels], int]]) -> None:
        day = self.start
        while day < self.end:
            midnight = min((day // DAY + 1) * DAY, self.end)
            file = self.folder / "day.om"
            with file.open("w", encoding="utf-8") as out:
                for name, label_sets, step in floats:
                    times = [f" {when:.0f}\n" for when in range(-int(-day // step) * step, int(midnight), step)]
                    for labels in label_sets:
                        head = written({**labels, "__name__": name}) + " 1"
                        out.writelines(head + when for when in times)
                out.write("# EOF\n")
            arguments = ("tsdb", "create-blocks-from", "openmetrics", "-q", "--max-block-duration=24h", file, self.data)
            done = promtool(*arguments)
            assert done.returncode == 0, done.stdout + done.stderr
            file.unlink()
            day = midnight

    def serve(self, servers: Servers) -> Prometheus:
        """Start a server that shows all of it."""
        bodies = {str(n): b"".join(self._histograms(*each)) for n, each in enumerate(self._native)}
        jobs = "".join(
            f"- {{job_name: {name}, metrics_path: /{name}, scrape_interval: 10s, scrape_timeout: 10s, honor_labels: true,"
            " static_configs: [{targets: ['ADDRESS']}]}\n"
            for name in bodies
        )
        storage = "storage: {tsdb: {out_of_order_time_window: 100d}}\n"
        flags = ["--storage.tsdb.retention.time=100d"]
        with serving(bodies) as address:
            config = storage + "scrape_configs:\n" + jobs.replace("ADDRESS", address)
            server = servers.prometheus(config, native=True, flags=flags, data=self.data)

            def read() -> bool:
                return [target["health"] for target in server.api("targets")["activeTargets"]] == ["up"] * len(bodies)

            wait_until(read, what="all histograms read")
        server.stop()
        server.config.write_text(storage, encoding="utf-8")
        server.start()
        return server

    def _histograms(self, name: str, label_sets: list[_Labels], step: int) -> Iterator[bytes]:
        family = MetricFamily(name=name, type=4)
        for labels in label_sets:
            metric = family.metric.add()
            for label, value in labels.items():
                metric.label.add(name=label, value=value)
            histogram = metric.histogram
            histogram.sample_count, histogram.sample_sum = 2 * _BUCKETS, 4.0
            histogram.schema, histogram.zero_threshold = 3, 2.0**-128
            histogram.positive_span.add(offset=-20, length=_BUCKETS)
            histogram.positive_delta.extend([2, *[0] * (_BUCKETS - 1)])
        for when in range(int(self.start // step + 1) * step, int(self.end), step):
            for metric in family.metric:
                metric.timestamp_ms = when * 1000
            yield delimited(family)


_NATIVE = {sums.name() for known in (recording.DISTRIBUTIONS, recording.SPREADS) for sums in known.values()}


def _of_features(label_sets: Iterable[_Labels], keep: Iterable[str]) -> list[_Labels]:
    """The label sets of all features, with those labels only that a rule keeps."""
    kept = {tuple((name, value) for name, value in labels.items() if name in keep) for labels in label_sets}
    return [
        {"job": "shop", "feature": f"feature-{n}", **dict(labels)} for n in range(FEATURES) for labels in sorted(kept)
    ]


def _made_by(rule: dict[str, Any], made: dict[str, list[_Labels]]) -> list[_Labels]:
    """The label sets of what a rule records; of rules that read what others record, those of these."""
    record, own = rule["record"], rule.get("labels", {})
    if record.startswith(DAILY_ROWS):
        keys = {
            DayKey.of(metric.daily, labels)
            for metric in CATALOGUE
            if metric.daily
            for labels in _of_features(_SERIES[metric.name], metric.label_names)
        }
        return [{"job": "shop", **key._asdict()} for key in sorted(keys)]
    if "service_level" in own or record.startswith("service_level"):
        levels = [("search", name) for name in ("answers", "content", "recent")]
        return [{"job": "shop", "feature": feature, "service_level": level} for feature, level in levels]
    if record == recording.UNUSED_SINCE:
        return []  # all are used
    if record == recording.SINCE:
        page = {"alertname": "FeatureErrorsHigh", "alertstate": "firing", "severity": "critical"}
        return [{**one, **page} for one in _of_features([{}], ())]
    if not _RULE_LABELS.search(rule["expr"]):
        return next(made[name] for name in re.findall(r"[\w:]+", rule["expr"]) if name in made)
    raw = _RAW.findall(rule["expr"])[0]
    [metric] = [one for one in CATALOGUE if raw.startswith(series_name(one))]
    return _of_features(_SERIES[metric.name], _RULE_LABELS.findall(rule["expr"])[0].split(", "))


# ------------------------------------------------------------------------------------------------------------- loading


@dataclass(frozen=True)
class Read:
    """What one query read."""

    panel: str
    samples: int
    peak: int
    seconds: float


def load(server: Prometheus, dashboard: dict[str, Any], length: float, end: float) -> list[Read]:
    """Ask everything that Grafana asks when a dashboard is opened on a wide screen; folded rows ask nothing."""
    return [
        _asked(server, panel, target, length, end)
        for panel in dashboard["panels"]
        if panel["type"] not in {"row", "text"}
        for target in panel["targets"]
    ]


def _asked(server: Prometheus, panel: dict[str, Any], target: dict[str, Any], length: float, end: float) -> Read:
    length = seconds(panel["timeFrom"]) if "timeFrom" in panel else length
    # Grafana asks for about as many points as there are pixels, 66 for each of 24 columns.
    step = max(_rounded(length / (66 * panel["gridPos"]["w"])), seconds(panel.get("interval", f"{SCRAPES}s")))
    values = {
        "$__rate_interval": f"{max(step + SCRAPES, 4 * SCRAPES)}s",
        "$__interval_ms": f"{step * 1000}",
        "$__interval": f"{step}s",
        "$__range": f"{length:.0f}s",
    }
    expr = target["expr"]
    for name, value in values.items():
        expr = expr.replace(name, value)
    fields = {"query": re.sub(r"\$\{?\w+\}?", ".*", expr), "stats": "all"}
    if target["instant"]:
        path, fields["time"] = "query", f"{end}"
    else:
        path, fields["step"] = "query_range", f"{step}"
        fields |= {"start": f"{(end - length) // step * step}", "end": f"{end // step * step}"}
    stats = _stats(server, path, fields)
    samples = stats["samples"]
    read = samples.get("samplesRead")
    if read is None:  # older servers count what is the same at all points at each of them, though they read it once
        read = samples["totalQueryableSamples"]
        if path == "query_range":
            again = (float(fields["end"]) - float(fields["start"])) // step
            for part in _SAME_AT_ALL_POINTS.findall(fields["query"]):
                once = _stats(server, "query", {"query": part, "time": fields["end"], "stats": "all"})
                read -= int(again * once["samples"]["totalQueryableSamples"])
    return Read(panel["title"], read, samples["peakSamples"], stats["timings"]["evalTotalTime"])


_SAME_AT_ALL_POINTS = re.compile(r"\w+_over_time\([^()]*@ end\(\)[^()]*\)")


def _stats(server: Prometheus, path: str, fields: dict[str, str]) -> dict[str, Any]:
    answer = json.loads(fetch(f"{server.url}/api/v1/{path}", urllib.parse.urlencode(fields).encode()))
    assert "warnings" not in answer, (fields["query"], answer)
    stats: dict[str, Any] = answer["data"]["stats"]
    return stats


def seconds(text: str) -> int:
    """Seconds of a duration as rules and panels write it."""
    return int(text[:-1]) * _DURATIONS[text[-1]]


def _rounded(step: float) -> int:
    """A step as Grafana rounds it."""
    steps = (10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
    return min(steps, key=lambda each: abs(each - step))
