"""The helpers of tests/servers.py against the real programs: each starts, answers and ends."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests import servers as helpers
from tests.servers import ROOT, fetch, promtool, routing_to, scraping, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import Servers

RULES = """
groups:
- name: test
  rules:
  - record: answer:doubled
    expr: answer * 2
  - alert: AnswerTooHigh
    expr: answer > 10
    labels: {severity: page}
"""


class Target:
    """An endpoint whose exposition the test decides."""

    def __init__(self) -> None:
        self.value = 21.0
        target = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = f"# TYPE answer gauge\nanswer {target.value}\n".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/metrics"


@pytest.fixture
def target() -> Iterator[Target]:
    endpoint = Target()
    thread = threading.Thread(target=endpoint.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()
    thread.join()


def test_from_scrape_through_rule_and_alert_to_webhook(servers: Servers, target: Target, tmp_path: Path) -> None:
    rules = tmp_path / "test.rules.yml"
    rules.write_text(RULES, encoding="utf-8")
    webhook = servers.webhook()
    alertmanager = servers.alertmanager(routing_to(webhook.url))
    prometheus = servers.prometheus(targets=[target.url], rules=[rules], alertmanagers=[alertmanager.url])

    prometheus.wait_until_scraped()
    prometheus.wait_for("answer:doubled")
    assert prometheus.value("answer:doubled") == 42
    assert prometheus.value("no_such_series") is None

    fired = webhook.wait_for_alert("AnswerTooHigh")
    assert fired["labels"]["severity"] == "page"
    assert [alert["labels"]["alertname"] for alert in alertmanager.alerts()] == ["AnswerTooHigh"]

    target.value = 1.0
    webhook.wait_for_alert("AnswerTooHigh", "resolved")


def test_prometheus_reads_its_configuration_again(servers: Servers, target: Target) -> None:
    prometheus = servers.prometheus()
    assert prometheus.api("targets")["activeTargets"] == []
    prometheus.config.write_text(scraping([target.url]), encoding="utf-8")
    prometheus.reload()
    prometheus.wait_until_scraped("test")


def test_prometheus_starts_on_blocks_that_promtool_made(servers: Servers, tmp_path: Path) -> None:
    yesterday = time.time() - 86_400
    samples = tmp_path / "samples.om"
    samples.write_text(f"# TYPE old gauge\nold 7 {yesterday:.0f}\n# EOF\n", encoding="utf-8")
    done = promtool("tsdb", "create-blocks-from", "openmetrics", samples, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert servers.prometheus(data=tmp_path / "data").value("old", at=yesterday + 1) == 7


def test_a_stopped_server_is_gone_and_comes_back_with_its_data(servers: Servers, target: Target) -> None:
    prometheus = servers.prometheus(targets=[target.url])
    prometheus.wait_for("answer")
    before = prometheus.url
    prometheus.kill()
    with pytest.raises(OSError, match="refused"):
        prometheus.query("answer")
    prometheus.start()
    assert prometheus.url == before
    assert prometheus.value("count(answer)") == 1


def test_victoria_metrics_imports_and_answers(servers: Servers) -> None:
    victoria = servers.victoria_metrics()
    victoria.import_text('drinks{kind="tea"} 3\n')
    assert victoria.value('drinks{kind="tea"}') == 3
    # An empty OTLP request is a valid one.
    fetch(victoria.otlp_url, b"", {"Content-Type": "application/x-protobuf"})


def test_victoria_metrics_scrapes(servers: Servers, target: Target) -> None:
    victoria = servers.victoria_metrics(
        config=scraping([target.url], interval="1s").replace("alerting:", "x_alerting:")
    )
    victoria.wait_for("answer")


def test_promtool_reports_status_and_text() -> None:
    assert promtool("check", "metrics", stdin="# HELP a_total A.\n# TYPE a_total counter\na_total 1\n").returncode == 0
    wrong = promtool("check", "metrics", stdin="# HELP a A.\n# TYPE a counter\na 1\n")
    assert wrong.returncode != 0
    assert "_total" in wrong.stderr + wrong.stdout


def test_compose_runs() -> None:
    done = subprocess.run([helpers.program("docker-compose"), "version"], capture_output=True, text=True, check=True)
    assert "Compose" in done.stdout


def test_a_server_that_cannot_start_shows_its_log(servers: Servers) -> None:
    with pytest.raises(RuntimeError, match="no_such_field"):
        servers.prometheus("no_such_field: 1\n")


def test_a_missing_program_says_what_to_run() -> None:
    with pytest.raises(RuntimeError, match="make servers"):
        helpers.program("no-such-server")


def test_webhook_that_hears_nothing_says_so(servers: Servers) -> None:
    with pytest.raises(TimeoutError, match="no such post"):
        servers.webhook().wait_for(bool, timeout=0.01)


def test_servers_do_not_outlive_a_killed_test_run(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from tests.servers import Servers
        server = Servers(Path(sys.argv[1])).victoria_metrics()
        print(server.url, flush=True)
        time.sleep(600)
    """)
    run = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with run:
        assert run.stdout is not None
        url = run.stdout.readline().strip()
        assert fetch(url + "/health") == b"OK"
        run.kill()

    def refused() -> bool:
        try:
            fetch(url + "/health")
        except OSError:
            return True
        return False

    wait_until(refused, what="the server is gone")


def test_logs_appear_in_the_report_of_a_failed_test(tmp_path: Path) -> None:
    """Also proves that the servers of a failed test are stopped, or the run would not end."""
    report = tmp_path / "report.txt"
    case = ROOT / "tests" / f"_failing_{tmp_path.name}.py"
    case.write_text("def test_it(servers):\n    servers.victoria_metrics()\n    assert False\n", encoding="utf-8")
    try:
        with report.open("w", encoding="utf-8") as out:
            subprocess.run([sys.executable, "-m", "pytest", str(case)], cwd=ROOT, stdout=out, check=False)
    finally:
        case.unlink()
    text = report.read_text(encoding="utf-8")
    assert "log of victoria-metrics" in text, json.dumps(text)
