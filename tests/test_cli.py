"""The command ``otel-metrics``, as a user runs it: exit status, output, errors."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.command import Running, otel_metrics
from tests.servers import ROOT, fetch

if TYPE_CHECKING:
    from pathlib import Path


def test_help_lists_every_subcommand() -> None:
    done = otel_metrics("--help")
    assert done.returncode == 0
    for name in ("demo", "dashboard", "daily", "serve", "stack", "render"):
        assert f"  {name} " in done.stdout


def test_module_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "otel_metrics", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, otel_metrics("--help").stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("unheard-of",),
        ("daily", "--date", "yesterday"),
        ("daily", "--to", "2026-01-01"),
        ("daily", "--date", "2026-01-01", "--from", "2026-01-01"),
        ("daily", "--from", "2026-01-02", "--to", "2026-01-01"),
        ("dashboard", "--prometheus", "ftp://example.test"),
        ("dashboard", "--prometheus", "http://user:secret@example.test"),
        ("render", "--check", "--root", "/nonexistent"),
        ("render", "--check", "--grafana-url", "grafana.example"),
        ("render", "--check", "--runbook-url", "https://wiki.example/runbook#top"),
        *(("dashboard", "--hours", hours) for hours in ("nan", "-1", "0", "inf", "1e9", "day")),
        *(("dashboard", "--watch", pause) for pause in ("-5", "nan", "inf", "1e300")),
        *(("demo", "--seconds", seconds) for seconds in ("nan", "0", "-1", "inf")),
        ("demo", "--generations", "0"),
        ("demo", "--port", "65536"),
        *(("stack", "--application", target) for target in ("foo bar", "foo", "foo:0", "foo:99999", "http://foo:80")),
        ("stack", "--prometheus-port", "0"),
        ("serve", "json"),
        ("serve", "json:no_such_function"),
        ("serve", "no_such_module:main"),
        ("serve", "json:__name__"),
    ],
)
def test_wrong_use_is_status_2_and_one_message(arguments: tuple[str, ...]) -> None:
    done = otel_metrics(*arguments)
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_missing_extra_is_named() -> None:
    code = "import sys; sys.modules['rich'] = None; from otel_metrics.cli import main; sys.exit(main(['dashboard']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "otel-metrics[cli]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["dashboard", "daily"])
def test_unreachable_server_is_status_1_and_one_message(command: str) -> None:
    # Port 9 is "discard": nothing listens there.
    done = otel_metrics(command, "--prometheus", "http://127.0.0.1:9", OTM_PROMETHEUS_TIMEOUT="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


# --------------------------------------------------------------------------------------------------------------- render


def test_render_check_accepts_the_committed_files() -> None:
    done = otel_metrics("render", "--check")
    assert (done.returncode, done.stdout) == (0, "")


def test_render_check_names_what_drifted_and_render_repairs_it(tmp_path: Path) -> None:
    for folder in ("prometheus", "grafana"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    drifted = tmp_path / "prometheus" / "rules" / "daily.yml"
    drifted.write_text(drifted.read_text() + "# by hand\n")

    done = otel_metrics("render", "--check", "--root", str(tmp_path))
    assert done.returncode == 1
    assert "prometheus/rules/daily.yml" in done.stdout
    assert otel_metrics("render", "--root", str(tmp_path)).returncode == 0
    assert otel_metrics("render", "--check", "--root", str(tmp_path)).returncode == 0
    assert drifted.read_bytes() == (ROOT / "prometheus" / "rules" / "daily.yml").read_bytes()


def test_render_puts_the_given_addresses_into_alerts(tmp_path: Path) -> None:
    for folder in ("prometheus", "grafana"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    links = ("--grafana-url", "https://grafana.example/", "--runbook-url", "https://wiki.example/runbook")

    assert otel_metrics("render", "--root", str(tmp_path), *links).returncode == 0
    alerts = (tmp_path / "prometheus" / "rules" / "telemetry_alerts.yml").read_text()
    assert 'dashboard: "https://grafana.example/d/otel-metrics-telemetry"' in alerts
    assert 'runbook_url: "https://wiki.example/runbook#telemetrylost"' in alerts
    assert otel_metrics("render", "--check", "--root", str(tmp_path), *links).returncode == 0
    assert otel_metrics("render", "--check", "--root", str(tmp_path)).returncode == 1


# ---------------------------------------------------------------------------------------------------------------- serve

APPLICATION = """
import sys
from otel_metrics import get_advanced_metrics

def main():
    get_advanced_metrics().record_feature_usage("kiosk", sys.argv[1], duration_ms=5.0)
    sys.stdin.readline()
    return 7

async def coroutine():
    return main()
"""


@pytest.mark.parametrize("function", ["main", "coroutine"])
def test_serve_runs_a_function_and_returns_its_status(tmp_path: Path, function: str) -> None:
    (tmp_path / "kiosk_application.py").write_text(APPLICATION)
    with Running("serve", "--port", "0", f"kiosk_application:{function}", "open", cwd=tmp_path) as running:
        url = running.wait_for(r"Metrics: (http://\S+/metrics)")
        running.until(lambda: re.search(r'feature_usage_total\{[^}]*action="open"[^}]*\} 1', fetch(url).decode()))
        running.say("\n")
        assert running.wait() == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_alone_ends_cleanly(number: signal.Signals) -> None:
    with Running("serve", "--port", "0") as running:
        url = running.wait_for(r"Metrics: (http://\S+/metrics)")
        assert b"otel_metrics_scrapes_total" in fetch(url)
        running.signal(number)
        assert running.wait() == 0
        assert "Traceback" not in running.output
