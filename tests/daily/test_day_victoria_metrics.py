"""The simulated day through a real VictoriaMetrics, by its dialect of the rules: three processes, a crash, a late birth, midnight."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.promql import VICTORIAMETRICS
from tests import dialects
from tests.daily.simulation import DAY, DISTRIBUTIONS, HOUR, MINUTE, Simulation, exactly
from tests.daily.test_day import END, EXACT, FEW, PERCENTILES, RECORDED, START, _bucket, in_seconds, rows_at
from tests.exporter import prometheus_proto

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Servers, VictoriaMetrics

# Of 17 digits it keeps about 12.
DIGITS = 1e-11
_ASKED = re.compile(r"feature_performance_(duration_seconds|unit_info)$|feature_daily_|otel_metrics_series$")


@pytest.fixture(scope="module")
def day() -> Iterator[Simulation]:
    simulated = Simulation(START, FEW)
    simulated.run()
    yield simulated
    simulated.close()


@pytest.fixture(scope="module")
def server(session_servers: Servers, day: Simulation) -> VictoriaMetrics:
    made = session_servers.victoria_metrics()
    for process in day.processes:
        made.import_text("\n".join(line for when, exposition in process.scrapes for line in _text(when, exposition)))
    made.import_text(
        "\n".join(f'up{{job="shop"}} 1 {round((START - 2 * HOUR + n * MINUTE) * 1000)}' for n in range(29 * 60))
    )
    return made


def _text(when: float, exposition: bytes) -> Iterator[str]:
    """The samples of a scrape, as text with the time of the scrape."""
    time = round(when * 1000)
    for name, family in prometheus_proto.read(exposition).items():
        for metric in family.metric if _ASKED.match(name) else ():
            labels = prometheus_proto.labels_of(metric)
            if not metric.HasField("histogram"):
                yield f"{_series(name, labels)} {metric.gauge.value!r} {time}"
                continue
            histogram = metric.histogram
            for bucket in histogram.bucket:
                bound = {"le": "+Inf" if bucket.upper_bound == float("inf") else repr(bucket.upper_bound)}
                yield f"{_series(name + '_bucket', labels | bound)} {bucket.cumulative_count} {time}"
            yield f"{_series(name + '_bucket', labels | {'le': '+Inf'})} {histogram.sample_count} {time}"
            yield f"{_series(name + '_count', labels)} {histogram.sample_count} {time}"
            yield f"{_series(name + '_sum', labels)} {histogram.sample_sum!r} {time}"


def _series(name: str, labels: dict[str, str]) -> str:
    return f"{name}{{{','.join(f'{label}={value!r}' for label, value in labels.items())}}}".replace("'", '"')


def evaluate(server: VictoriaMetrics, group: dict[str, Any], when: float) -> None:
    """As vmalert does: no rule sees what another one records at the same time."""
    found = [(rule, server.query(rule["expr"], when)) for rule in group["rules"]]
    lines = [
        f"{_series(rule['record'], {**row['metric'], **rule.get('labels', {})})} {row['value'][1]} {round(when * 1000)}"
        for rule, rows in found
        for row in rows
    ]
    server.import_text("\n".join(re.sub(r'__name__="[^"]*",?', "", line) for line in lines))


def test_the_day_through_getters(server: VictoriaMetrics, day: Simulation) -> None:
    rows = rows_at(END + HOUR, server.url)
    assert set(rows) == {f"{name}_ms" for name in DISTRIBUTIONS}
    for name, row in rows.items():
        expected, found = exactly(day.exposed(name)), in_seconds(row)
        for column in EXACT:
            assert found[column] == pytest.approx(expected[column], rel=1e-9), (name, column)


def test_the_day_through_the_rules(server: VictoriaMetrics, day: Simulation) -> None:
    groups = {group["name"]: group for group in dialects.groups(VICTORIAMETRICS)}
    for hour in range(1, 25):
        for after in (10 * MINUTE, 20 * MINUTE):
            evaluate(server, groups["otel_metrics_hours"], START + hour * HOUR + after)
    for turn in (40 * MINUTE, 70 * MINUTE, 100 * MINUTE):
        evaluate(server, groups["otel_metrics_daily"], END + turn)
    for name in DISTRIBUTIONS:
        labels = f'{{feature="shop",metric_type="response_time",metric_name="{name}_ms",unit="seconds"}}'
        expected = exactly(day.exposed(f"{name}_ms"))
        for column, recorded in RECORDED.items():
            value = server.value(f"last_over_time({recorded}{labels}[23h])", START + DAY + 23.5 * HOUR)
            assert value is not None, (name, column)
            if column in PERCENTILES:
                low, high = _bucket(expected[column])
                assert low * (1 - DIGITS) <= value <= high * (1 + DIGITS), (name, column)
            else:
                assert value == pytest.approx(expected[column], rel=1e-9), (name, column)
