"""The subcommands that need real servers: what an application recorded, as ``otel-metrics`` shows it."""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
import json
import os
import re
import shutil
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics.cli import demo_incident
from tests.command import Running, otel_metrics
from tests.servers import ROOT, fetch, free_port, scraping, version, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import Servers

APPLICATION = """
from otel_metrics import get_advanced_metrics
import sys

def main():
    metrics = get_advanced_metrics()
    for value in (10.0, 20.0, 30.0, 40.0):
        metrics.record_performance_metric("kiosk", "response_time", "open_ms", value, unit="ms")
    for score in (1.0, 0.9, 0.2):
        metrics.record_satisfaction("kiosk", "speed", score, scale="0-1")
    metrics.record_feature_usage("kiosk", "open", duration_ms=50.0, success=True)
    metrics.record_feature_usage("kiosk", "open", duration_ms=150.0, success=False, error_type="Jammed")
    metrics.record_error("kiosk", "Jammed", "critical", recovery_attempted=True, recovery_successful=True)
    sys.stdin.readline()
"""

RULES = """
groups:
  - name: kiosk
    rules:
      - alert: KioskJams
        expr: sum by (feature) (feature_errors_total) > 0
        labels: {severity: critical}
"""


@pytest.fixture(scope="module")
def server(session_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that has scraped all that the application above recorded."""
    folder = tmp_path_factory.mktemp("application")
    (folder / "kiosk_application.py").write_text(APPLICATION)
    with Running("serve", "--port", "0", "kiosk_application:main", cwd=folder) as application:
        target = application.wait_for(r"Metrics: http://(\S+)/metrics").replace("localhost", "127.0.0.1")
        rules = folder / "rules.yml"
        rules.write_text(RULES)
        prometheus = session_servers.prometheus(scraping([target], rules=[rules]))
        prometheus.wait_for('feature_errors_total{severity="critical"} == 1')
        prometheus.wait_for('ALERTS{alertstate="firing"} == 1')
        yield prometheus.url


def test_dashboard_as_json(server: str) -> None:
    done = otel_metrics("dashboard", "--prometheus", server, "--feature", "kiosk", "--hours", "1", "--json")
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout, parse_constant=pytest.fail)
    response_time = data["performance"]["categories"]["response_time"]
    assert (response_time["count"], response_time["unit"]) == (4, "ms")
    assert response_time["avg"] == pytest.approx(25.0)
    assert data["satisfaction"]["satisfaction_rate"] == pytest.approx(2 / 3)
    assert data["usage"]["success_rate"] == 0.5
    assert data["usage"]["avg_duration_ms"] == pytest.approx(100.0)
    assert data["errors"]["total_errors"] == 1
    assert data["errors"]["by_severity"] == {"critical": 1}
    # Nothing was learnt: no data is null, neither NaN nor zero.
    assert data["learning"]["has_data"] is False
    assert data["learning"]["avg_accuracy"] is None
    assert data["source"] == "prometheus"


def test_dashboard_for_people(server: str) -> None:
    done = otel_metrics("dashboard", "--prometheus", server, "--feature", "kiosk", COLUMNS="120")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.strip().startswith("response_time"))
    cells = line.split()
    assert cells[:3] == ["response_time", "4", "25"]
    assert cells[-1] == "ms"
    assert "≈" in line
    assert "critical 1" in done.stdout
    assert "recovered 1 of 1 attempts (100 %)" in done.stdout
    assert re.search(r"Learning\s+no data", done.stdout)
    assert f"Source: prometheus {server}" in done.stdout
    assert "≈ estimated" in done.stdout


@pytest.mark.parametrize("columns", [50, 80])
def test_dashboard_shows_features_their_trend_and_what_fires(server: str, columns: int) -> None:
    done = otel_metrics("dashboard", "--prometheus", server, COLUMNS=str(columns))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "Firing: critical KioskJams kiosk" in lines
    (line,) = (line for line in lines if line.strip().startswith("kiosk"))
    # Two uses just now, one of which failed.
    assert re.match(r" kiosk +2 +▁ +50 % +1( |$)", line)
    assert max(map(len, lines)) <= columns
    assert [line.split()[1] for line in lines if line.startswith(" response_time ")] == ["4"]  # a name in one piece
    other = otel_metrics("dashboard", "--prometheus", server, "--feature", "nobody's")
    assert "KioskJams" not in other.stdout


def test_dashboard_without_data_says_so(server: str) -> None:
    done = otel_metrics("dashboard", "--prometheus", server, "--feature", "nobody's")
    assert done.returncode == 0, done.stderr
    assert "No data" in done.stdout
    assert "nan" not in done.stdout.lower()


def test_dashboard_reads_the_environment_and_draws_a_picture(server: str, tmp_path: Path) -> None:
    picture = tmp_path / "dashboard.svg"
    done = otel_metrics("dashboard", "--svg", str(picture), OTM_PROMETHEUS_URL=server)
    assert done.returncode == 0, done.stderr
    assert "response_time" in done.stdout
    assert picture.read_text().startswith("<svg")


def test_watch_shows_it_again_until_interrupted(server: str) -> None:
    with Running("dashboard", "--prometheus", server, "--watch", "0.2") as running:
        running.wait_for("critical 1")
        running.signal(signal.SIGINT)
        assert running.wait() == 130
        assert "Traceback" not in running.output


def test_daily_in_every_format(server: str) -> None:
    today = dt.datetime.now(dt.timezone.utc).date().isoformat()
    as_json = otel_metrics("daily", "--prometheus", server, "--format", "json", "--from", today)
    assert as_json.returncode == 0, as_json.stderr
    rows: list[dict[str, Any]] = json.loads(as_json.stdout, parse_constant=pytest.fail)
    assert {row["metric_type"] for row in rows} == {"response_time", "satisfaction", "usage"}
    (row,) = (row for row in rows if row["metric_type"] == "response_time")
    assert (row["date"], row["feature"], row["metric_name"], row["count"]) == (today, "kiosk", "open_ms", 4)
    assert row["avg_value"] == pytest.approx(25.0)
    assert (row["min_value"], row["max_value"]) == pytest.approx((10.0, 40.0))
    assert row["partial"] is True

    as_csv = otel_metrics("daily", "--prometheus", server, "--format", "csv", "--date", today)
    lines = list(csv.DictReader(io.StringIO(as_csv.stdout)))
    assert [line["metric_name"] for line in lines] == [row["metric_name"] for row in rows]
    assert [float(line["count"]) for line in lines] == [row["count"] for row in rows]

    as_table = otel_metrics("daily", "--prometheus", server)
    assert "kiosk response_time open_ms" in as_table.stdout
    assert f"partial, more may come: {today}" in as_table.stdout


def test_daily_without_data_says_so(server: str) -> None:
    done = otel_metrics("daily", "--prometheus", server, "--date", "2020-02-29")
    assert done.returncode == 0, done.stderr
    assert "No data" in done.stdout
    assert (
        json.loads(otel_metrics("daily", "--prometheus", server, "--date", "2020-02-29", "--format", "json").stdout)
        == []
    )


class Hostile(BaseHTTPRequestHandler):
    """Serves one series whose labels try to steer a terminal."""

    def do_GET(self) -> None:
        labels = 'feature="kiosk",action="[red]\x1b[2J\u202e[/nonsense]",outcome="success",service_instance_id="a"'
        body = f"# TYPE feature_usage_total counter\nfeature_usage_total{{{labels}}} 3\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def test_labels_cannot_steer_the_terminal(servers: Servers) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as hostile:
        threading.Thread(target=hostile.serve_forever, daemon=True).start()
        try:
            prometheus = servers.prometheus(scraping([f"127.0.0.1:{hostile.server_port}"]))
            prometheus.wait_for("feature_usage_total")
            done = otel_metrics("dashboard", "--prometheus", prometheus.url, "--hours", "0.5")
        finally:
            hostile.shutdown()
    assert done.returncode == 0, done.stderr
    assert "[red]\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}[/nonsense]" in done.stdout
    assert not set("\x1b\u202e") & set(done.stdout + done.stderr)


# ---------------------------------------------------------------------------------------------------------------- stack


def test_stack_runs_the_shipped_configuration_and_ends_both(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    arguments = ("--prometheus-port", str(ports[0]), "--alertmanager-port", str(ports[1]), "--state", str(tmp_path))
    with Running("stack", *arguments, "--retention", "5y") as stack:
        stack.wait_for("Ctrl-C")
        assert f"http://127.0.0.1:{ports[0]}" in stack.output
        rules = json.loads(fetch(f"http://127.0.0.1:{ports[0]}/api/v1/rules"))["data"]["groups"]
        # The shipped rules are for 3.16 and later; an older server gets its own, in the folder of its state.
        folder = ROOT / "prometheus" if version("prometheus") >= (3, 16) else tmp_path / "prometheus"
        assert {group["file"] for group in rules} == {
            str(folder / "rules" / path.name) for path in (ROOT / "prometheus" / "rules").glob("*.yml")
        }
        connected = f"http://127.0.0.1:{ports[0]}/api/v1/alertmanagers"
        wait_until(lambda: f"127.0.0.1:{ports[1]}" in fetch(connected).decode(), what="Alertmanager connected")
        flags = json.loads(fetch(f"http://127.0.0.1:{ports[0]}/api/v1/status/flags"))["data"]
        assert flags["storage.tsdb.retention.time"] == "5y"
        assert b"team" in fetch(f"http://127.0.0.1:{ports[1]}/api/v2/status")
        stack.signal(signal.SIGINT)
        assert stack.wait() == 0
    for port in ports:
        with pytest.raises(OSError, match="refused"):
            fetch(f"http://127.0.0.1:{port}/-/ready")


def test_stack_stores_the_histograms_that_its_rules_read(tmp_path: Path) -> None:
    (tmp_path / "kiosk_application.py").write_text(APPLICATION)
    ports = "--prometheus-port", str(free_port()), "--alertmanager-port", str(free_port())
    with Running("serve", "--port", "0", "kiosk_application:main", cwd=tmp_path) as application:
        target = application.wait_for(r"Metrics: http://(\S+)/metrics")
        with Running("stack", *ports, "--state", str(tmp_path / "state"), "--application", target) as stack:
            server = stack.wait_for(r"Prometheus: +(http://\S+)")

            def found(query: str) -> list[Any]:
                rows: list[Any] = json.loads(fetch(f"{server}/api/v1/query?query={query}"))["data"]["result"]
                return rows

            native = wait_until(lambda: found("feature_usage_duration_seconds"), what="native histograms")
            assert all("histogram" in row for row in native)
            assert not found("feature_usage_duration_seconds_bucket")
            rules = json.loads(fetch(f"{server}/api/v1/rules"))["data"]["groups"]
            assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}


def test_stack_says_that_a_foreign_server_has_its_port(servers: Servers, tmp_path: Path) -> None:
    """One that answers as ours would: it is not taken for ours."""
    foreign = servers.prometheus(scraping([]))
    port, other = foreign.url.rpartition(":")[2], str(free_port())
    done = otel_metrics("stack", "--prometheus-port", port, "--alertmanager-port", other, "--state", str(tmp_path))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}: address already in use" in done.stderr
    assert "Ctrl-C" not in done.stdout
    with pytest.raises(OSError, match="refused"):
        fetch(f"http://127.0.0.1:{other}/-/ready")


def test_a_second_stack_leaves_the_state_of_the_first_alone(tmp_path: Path) -> None:
    def arguments(*more: str) -> tuple[str, ...]:
        ports = ("--prometheus-port", str(free_port()), "--alertmanager-port", str(free_port()))
        return ("stack", *ports, "--state", str(tmp_path), *more)

    with Running(*arguments()) as first:
        first.wait_for("Ctrl-C")
        config, log = tmp_path / "prometheus" / "prometheus.yml", tmp_path / "prometheus" / "prometheus.log"
        before = config.read_text(encoding="utf-8"), log.stat().st_ino
        second = otel_metrics(*arguments("--application", "elsewhere:1"))
        assert second.returncode == 1
        assert str(tmp_path) in second.stderr
        assert "another" in second.stderr
        assert before == (config.read_text(encoding="utf-8"), log.stat().st_ino)
        assert log.stat().st_size > 0
        first.signal(signal.SIGINT)
        assert first.wait() == 0
    with Running(*arguments()) as third:
        url = third.wait_for(r"Prometheus: +(http://\S+)")
        third.wait_for("Ctrl-C")
        flags = json.loads(fetch(f"{url}/api/v1/status/flags"))["data"]
        assert flags["storage.tsdb.retention.time"] in {"400d", "57w1d", "1y35d", "1y5w"}  # as in containers


def test_stack_makes_the_file_for_the_webhook_and_keeps_what_is_written_there(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager" / "alert_webhook_url"
    for expected in ("http://alert-receiver.invalid/\n", "http://127.0.0.1:9/mine\n"):
        ports = ("--prometheus-port", str(free_port()), "--alertmanager-port", str(free_port()))
        with Running("stack", *ports, "--state", str(tmp_path)) as stack:
            stack.wait_for("Ctrl-C")
            assert ("nowhere yet" in stack.output) == ("invalid" in expected)
            assert file.read_text(encoding="utf-8") == expected
            stack.signal(signal.SIGINT)
            assert stack.wait() == 0
        file.write_text("http://127.0.0.1:9/mine\n", encoding="utf-8")


def test_stack_names_what_is_missing(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "prometheus", tmp_path / "prometheus")
    done = otel_metrics("stack", "--root", str(tmp_path), "--state", str(tmp_path), PATH="", OTM_SERVERS=str(tmp_path))
    assert done.returncode == 2
    assert "alertmanager" in done.stderr
    assert "make servers" in done.stderr


@pytest.mark.parametrize(
    ("name", "told", "needed"),
    [
        ("prometheus", "prometheus, version 2.42.0+ds (branch: debian/sid)", "version 2.42.0; 3.5 or later is needed"),
        (
            "alertmanager",
            "alertmanager, version 0.25.0 (branch: debian/sid)",
            "version 0.25.0; 0.27 or later is needed",
        ),
    ],
)
def test_stack_names_what_is_too_old(tmp_path: Path, name: str, told: str, needed: str) -> None:
    """As the packages of a stable distribution are: before anything is started."""
    program = tmp_path / name
    program.write_text(f"#!/bin/sh\necho '{told}'\n")
    program.chmod(0o700)
    done = otel_metrics("stack", "--state", str(tmp_path / "state"), PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"otel-metrics: {program} is {needed}")


def test_stack_that_cannot_start_shows_the_log(tmp_path: Path) -> None:
    """The port is taken: one message, and nothing is left running."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as taken:
        port, other = str(taken.server_port), str(free_port())
        done = otel_metrics("stack", "--prometheus-port", other, "--alertmanager-port", port, "--state", str(tmp_path))
    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr


# ----------------------------------------------------------------------------------------------------------------- demo


def test_demo_from_end_to_end() -> None:
    """All is well, one incident is announced, exactly its alert fires and resolves, and all numbers agree."""
    with Running("demo", "--generations", "1", "--port", "0", COLUMNS="140") as demo:
        url = demo.wait_for(r"Metrics: +(http://\S+/metrics)")
        prometheus = demo.wait_for(r"Prometheus: +(http://\S+)")
        demo.until(lambda: b'feature="learning-engine"' in fetch(url))
        assert demo.wait() == 0, demo.output
    story = [
        "All is well: no alert has fired",
        "Incident: The folder of the package email is gone",
        "Alert FeatureErrorsHigh:",
    ]
    story += [f"FeatureErrorsHigh of source-reader {change}" for change in ("fires", "is resolved")]
    told = [demo.output.find(words) for words in story]
    assert -1 not in told, demo.output
    assert told == sorted(told), demo.output
    assert "should not have" not in demo.output
    assert re.search(r"All \d{3,} numbers agree", demo.output), demo.output
    assert "daily table" in demo.output
    assert re.search(r"usage\.total_usage +[\d,]+ +[\d,]+ +same", demo.output)
    with pytest.raises(OSError, match="refused"):
        fetch(f"{prometheus}/-/ready")


class Engine:
    """Works on, and has its incident when it is told to, of which no server hears."""

    def __init__(self) -> None:
        self.stopped, self.incident = threading.Event(), threading.Event()
        self.stop = self.stopped.set
        self.progress = self
        self._generations = itertools.count(2)

    @property
    def generation(self) -> int:
        return next(self._generations)


def test_demo_says_what_it_waited_for_in_vain(session_servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine()
    server = session_servers.prometheus(scraping([]))
    assert not demo_incident.tell(engine, server.url, 0.1, generations=1, seconds=None)
    assert engine.stopped.is_set()
    said = capsys.readouterr().out
    assert "All is well: no alert has fired." in said
    assert "Waited 0.6 seconds in vain for FeatureErrorsHigh of source-reader to fire." in said


def test_demo_goes_on_without_prometheus(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "prometheus", tmp_path / "prometheus")
    arguments = ("demo", "--generations", "1", "--port", "0", "--root", str(tmp_path))
    done = otel_metrics(*arguments, PATH="", OTM_SERVERS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "make servers" in done.stdout
    assert "daily table" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_nothing_behind(number: signal.Signals) -> None:
    with Running("demo", "--port", "0") as demo:
        prometheus = demo.wait_for(r"Prometheus: +(http://\S+)")
        demo.wait_for("reading and learning")
        demo.signal(number)
        assert demo.wait() == 130
        assert "Traceback" not in demo.output
    with pytest.raises(OSError, match="refused"):
        fetch(f"{prometheus}/-/ready")
