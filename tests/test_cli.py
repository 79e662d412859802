"""The command ``otel-metrics``, as a user runs it: exit status, output, errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from otel_metrics.cli import main, server_option, terminal
from tests.command import COMMAND, Running, called, environment, otel_metrics
from tests.servers import ROOT, fetch

Capture = pytest.CaptureFixture[str]


COMMANDS = (
    "demo", "dashboard", "daily", "query", "import", "compare", "serve", "stack", "render", "config", "doctor",
)  # fmt: skip


def test_help_lists_every_subcommand(capsys: Capture) -> None:
    assert called("--help") == 0
    shown = capsys.readouterr().out
    assert re.findall(r"^    (\w+)  ", shown, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_subcommand_is_plain_text_and_names_what_arguments_are(command: str, capsys: Capture) -> None:
    assert called(command, "--help") == 0
    usage, described, *_ = capsys.readouterr().out.split("\n\n")
    assert usage.startswith(f"usage: otel-metrics {command} ")
    assert described[0].isupper()
    assert not set("`_") & set(described.replace("OTM_SERVERS", "")), "markup, or a name of the code"
    assert "_PORT" not in usage


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
        ("daily", "--date", "1969-12-31"),
        ("compare", "old.db", "--from", "2026-01-02", "--to", "2026-01-01"),
        ("dashboard", "--prometheus", "ftp://example.test"),
        *(
            (*command, url)
            for command in (
                ("dashboard", "--prometheus"),
                ("doctor", "--endpoint"),
                ("import", "x.db", "--victoria-metrics"),
            )
            for url in ("http://user:secret@example.test", "http://example.test?key=secret", "user:secret@example.test")
        ),
        ("render", "--check", "--grafana-url", "http://user:secret@grafana.example"),
        ("render", "--check", "--root", "/nonexistent"),
        ("render", "--check", "--grafana-url", "grafana.example"),
        ("render", "--check", "--by", "my-env"),
        ("render", "--check", "--by", "feature"),
        ("render", "--check", "--runbook-url", "https://wiki.example/runbook#top"),
        *(("dashboard", "--hours", hours) for hours in ("nan", "-1", "0", "inf", "1e9", "day")),
        *(("dashboard", "--watch", pause) for pause in ("-5", "nan", "inf", "1e300")),
        *(("demo", "--seconds", seconds) for seconds in ("nan", "0", "-1", "inf")),
        *(("dashboard", "--watch", "5", *more) for more in (("--json",), ("--svg", "dashboard.svg"))),
        ("demo", "--generations", "0"),
        ("demo", "--port", "65536"),
        *(("stack", "--application", target) for target in ("foo bar", "foo", "foo:0", "foo:99999", "http://foo:80")),
        ("stack", "--prometheus-port", "0"),
        *(("stack", "--retention", time) for time in ("", "0d", "forever", "5 y", "90")),
        ("doctor", "--root", "/nonexistent"),
        *((command, "--svg", "/nonexistent/dashboard.svg") for command in ("demo", "dashboard")),
        ("daily", "--format", "sqlite", "--output", "/nonexistent/old.db"),
        ("demo", "--svg", f"{'long' * 100}.svg"),
        ("serve", "json"),
        ("serve", "json:no_such_function"),
        ("serve", "no_such_module:main"),
        ("serve", "json:__name__"),
    ],
)
def test_wrong_use_is_status_2_and_one_message(arguments: tuple[str, ...], capsys: Capture) -> None:
    assert called(*arguments) == 2
    said = capsys.readouterr()
    assert said.err.count("otel-metrics") >= 1
    assert said.out == ""
    assert "secret" not in said.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        *(
            (("daily", day, "2025-02-30"), f"{day}: '2025-02-30' is not YYYY-MM-DD")
            for day in ("--date", "--from", "--to")
        ),
        (("serve", "--port", "http"), "--port: 'http' is not allowed; allowed: an integer from 0 to 65535"),
        (
            ("daily", "--prometheus", "localhost:9090"),
            "--prometheus: 'localhost:9090' is not allowed; allowed: an http://",
        ),
        *(
            ((*command, path), f"{command[-1]}: {path!r} is not allowed; allowed: a folder")
            for path in (f"{__file__}/new", "")
            for command in (
                ("import", "old.db", "--data"),
                ("import", "old.db", "--openmetrics"),
                ("render", "--root"),
                ("stack", "--state"),
                ("doctor", "--root"),
            )
        ),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(arguments: tuple[str, ...], told: str, capsys: Capture) -> None:
    assert called(*arguments) == 2
    assert f"error: argument {told}" in capsys.readouterr().err


def _into(output: int, *arguments: str) -> tuple[int, str]:
    """Run the command with its output going somewhere, buffered as it is in a shell; return its status and its errors."""
    variables = {name: value for name, value in environment().items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [COMMAND, *arguments], env=variables, stdout=output, stderr=subprocess.PIPE, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "arguments", [("serve", "--port", "0", "os:getpid"), ("serve", "--port", "0", "printing:main")]
)
def test_a_reader_that_has_seen_enough_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """As in a shell, the status is that of SIGPIPE, whether the output came from Rich or from print, and nobody complains."""
    (tmp_path / "printing.py").write_text("def main(): print('seen')")
    monkeypatch.chdir(tmp_path)
    read, write = os.pipe()
    os.close(read)
    try:
        assert _into(write, *arguments) == (141, "")
    finally:
        os.close(write)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_that_finds_no_room_is_status_1_and_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("/dev/full").open("wb") as full:
        status, said = _into(full.fileno(), "render", "--root", "here")
    assert status == 1
    assert said.split("otel-metrics: ")[1:] == ["[Errno 28] No space left on device\n"]


def test_without_a_home_directory_only_what_needs_one_says_so(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """As in a container whose user nobody has registered."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    assert main(["render", "--check"]) == 0
    assert main(["stack"]) == 2
    assert "--state" in capsys.readouterr().err


def test_missing_extra_is_named() -> None:
    code = "import sys; sys.modules['rich'] = None; from otel_metrics.cli import main; sys.exit(main(['dashboard']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "otel-metrics-bridge[cli]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["dashboard", "daily"])
def test_unreachable_server_is_status_1_and_one_message(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("OTM_PROMETHEUS_TIMEOUT", "1")
    assert called(command, "--prometheus", "http://127.0.0.1:9") == 1  # "discard": nothing listens there
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"otel-metrics: http://127\.0\.0\.1:9: .*refused\n", said.err)


def test_where_no_server_was_named_one_is_told_how_to(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.delenv("OTM_PROMETHEUS_URL", raising=False)
    monkeypatch.setattr(server_option, "DEFAULT_URL", "http://127.0.0.1:9")
    assert called("daily") == 1
    assert "refused; --prometheus or OTM_PROMETHEUS_URL names another server" in capsys.readouterr().err
    assert called("daily", "--prometheus", "http://127.0.0.1:9") == 1
    assert "another server" not in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_named_without_numbers(tmp_path: Path, capsys: Capture) -> None:
    taken = tmp_path / "prometheus"
    taken.touch()
    assert called("render", "--root", str(tmp_path)) == 1
    assert capsys.readouterr().err == f"otel-metrics: {taken}: File exists\n"


# --------------------------------------------------------------------------------------------------------------- render


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t'=1"),
        ("\u3000=1", "'\u3000=1"),  # spaces of any width
        ("\uff1d1", "'\uff1d1"),  # signs of full width
        ("\uff20SUM(1)", "'\uff20SUM(1)"),
        ('"=1"', '\'"=1"'),
        ("x;=cmd|' /C calc'!A0", "x;'=cmd|' /C calc'!A0"),  # European spreadsheets split at semicolons
        ("x; +1,-1", "x;' +1,'-1"),
        ("a\n=1", "a\n'=1"),
        ("R&D #1 = fun - mostly", "R&D #1 = fun - mostly"),
        ("a;b", "a;b"),
        (-1.5, -1.5),
        (None, None),
    ],
)
def test_no_cell_of_a_csv_file_is_a_formula(text: object, written: object) -> None:
    assert terminal.cell(text) == written


def test_render_check_accepts_the_committed_files(capsys: Capture) -> None:
    assert called("render", "--check") == 0
    assert capsys.readouterr().out == ""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of the folders that rules and dashboards are in."""
    for folder in ("prometheus", "grafana"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def test_render_check_names_what_drifted_and_render_repairs_it(own: Path, capsys: Capture) -> None:
    drifted = own / "prometheus" / "rules" / "daily.yml"
    drifted.write_text(drifted.read_text() + "# by hand\n")

    assert called("render", "--check", "--root", str(own)) == 1
    assert "prometheus/rules/daily.yml" in capsys.readouterr().out
    assert called("render", "--root", str(own)) == 0
    assert called("render", "--check", "--root", str(own)) == 0
    assert drifted.read_bytes() == (ROOT / "prometheus" / "rules" / "daily.yml").read_bytes()


def test_render_puts_the_given_addresses_into_alerts(own: Path) -> None:
    links = ("--grafana-url", "https://grafana.example/", "--runbook-url", "https://wiki.example/runbook")

    assert called("render", "--root", str(own), *links) == 0
    alerts = (own / "prometheus" / "rules" / "telemetry_alerts.yml").read_text()
    assert 'dashboard: "https://grafana.example/d/otel-metrics-telemetry"' in alerts
    assert 'runbook_url: "https://wiki.example/runbook#telemetrylost"' in alerts
    assert called("render", "--check", "--root", str(own), *links) == 0
    assert called("render", "--check", "--root", str(own)) == 1


# --------------------------------------------------------------------------------------------------------------- config


def test_config_shows_each_value_and_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.otel-metrics]\nport = 1\nstrict = true\n")
    given = {"OTM_STRICT": "false", "OTM_PROMETHEUS_MATCHERS": "env=prod,team=shop"}

    table = otel_metrics("config", cwd=tmp_path, **given).stdout
    assert re.search(r"port +1 +\S+/pyproject\.toml +\n", table)
    assert re.search(r"strict +False +OTM_STRICT +\n", table)
    assert re.search(r"prometheus_matchers +env=prod, team=shop +OTM_PROMETHEUS_MATCHERS +\n", table)
    assert re.search(r"host +localhost +default +\n", table)

    rows = json.loads(otel_metrics("config", "--format", "json", cwd=tmp_path, **given).stdout)
    assert rows["port"] == {"value": 1, "origin": f"{tmp_path}/pyproject.toml"}
    assert rows["prometheus_matchers"] == {
        "value": {"env": "prod", "team": "shop"},
        "origin": "OTM_PROMETHEUS_MATCHERS",
    }


def test_config_tells_what_cannot_work_without_its_secret() -> None:
    done = otel_metrics("config", OTM_PROMETHEUS_URL="http://me:geheim@prometheus")
    assert done.returncode == 2
    assert "prometheus_password_file" in done.stderr
    assert "geheim" not in done.stdout + done.stderr


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

def decorated():
    return coroutine()
"""


@pytest.mark.parametrize("function", ["main", "coroutine", "decorated"])
def test_serve_runs_a_function_and_returns_its_status(tmp_path: Path, function: str) -> None:
    (tmp_path / "kiosk_application.py").write_text(APPLICATION)
    with Running("serve", "--port", "0", f"kiosk_application:{function}", "open", cwd=tmp_path) as running:
        url = running.wait_for(r"Metrics: (http://\S+/metrics)")
        running.until(lambda: re.search(r'feature_usage_total\{[^}]*action="open"[^}]*\} 1', fetch(url).decode()))
        running.say("\n")
        assert running.wait() == 7


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("return True", 0),
        ("return False", 0),
        ("return 'done'", 0),
        ("return 3", 3),
        ("return 256", 1),
        ("return -1", 1),
    ],
)
def test_serve_returns_numbers_that_a_status_can_be(tmp_path: Path, body: str, status: int) -> None:
    (tmp_path / "kiosk_application.py").write_text(f"def main():\n    {body}\n")
    assert otel_metrics("serve", "--port", "0", "kiosk_application:main", cwd=tmp_path).returncode == status


@pytest.mark.parametrize("error", ["ConnectionRefusedError('shop')", "KeyError('shop')", "MetricsError('shop')"])
def test_an_error_of_the_application_is_shown_with_its_place(tmp_path: Path, error: str) -> None:
    """Also one that would be a message of one line if it were ours: nobody could tell where it came from."""
    (tmp_path / "kiosk_application.py").write_text(
        f"from otel_metrics import MetricsError\ndef open_shop():\n    raise {error}\ndef main():\n    open_shop()\n"
    )
    done = otel_metrics("serve", "--port", "0", "kiosk_application:main", cwd=tmp_path)
    assert done.returncode == 1
    assert "in open_shop" in done.stderr


@pytest.mark.parametrize(
    "module", ["otel_metrics.cli", "argparse", "rich", "otel_metrics.cli.stack", "yaml", "opentelemetry.sdk"]
)
def test_interrupted_while_it_is_being_loaded(module: str) -> None:
    """The signal comes when Python looks for ``module``."""
    code = f"""
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
from otel_metrics.__main__ import main
sys.meta_path.insert(0, Interrupting())
sys.argv = ["otel-metrics", "dashboard"]
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_alone_ends_cleanly(number: signal.Signals) -> None:
    with Running("serve", "--port", "0") as running:
        url = running.wait_for(r"Metrics: (http://\S+/metrics)")
        assert b"otel_metrics_scrapes_total" in fetch(url)
        running.signal(number)
        assert running.wait() == 0
        assert "Traceback" not in running.output
