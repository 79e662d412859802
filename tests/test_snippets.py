"""Every snippet of the documentation is run by a test: here, or where ``RUN_BY`` says. What cannot be run is marked on its page."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.configuration._meter_provider import create_meter_provider
from opentelemetry.configuration.file import load_config_file

from otel_metrics import testing
from otel_metrics.assets import service_levels
from otel_metrics.cli import parser
from otel_metrics.settings import Settings
from tests.pages import PAGES, snippets
from tests.processes import ROOT
from tests.servers import promtool, version

if TYPE_CHECKING:
    from pathlib import Path

RUN_BY = {
    ("README.md", "console"): "tests/test_steps.py",
    ("docs/call-site.md", "python"): "tests/test_call_site_page.py",
    ("docs/cookbook.md", "promql"): "tests/querying/test_cookbook.py",
    ("docs/deploying.md", "console"): "tests/querying/test_pushed.py",
    ("docs/guides/celery.md", "console"): "tests/multiprocess/test_guides.py",
    ("docs/guides/celery.md", "python"): "tests/multiprocess/test_guides.py",
    ("docs/guides/django.md", "console"): "tests/multiprocess/test_guides.py",
    ("docs/guides/django.md", "python"): "tests/multiprocess/test_guides.py",
    ("docs/guides/fastapi.md", "console"): "tests/multiprocess/test_guides.py",
    ("docs/guides/fastapi.md", "python"): "tests/multiprocess/test_guides.py",
    ("docs/guides/kubernetes.md", "yaml"): "tests/multiprocess/test_guides.py",
    ("docs/guides/migrate.md", "console"): "tests/test_steps.py",
    ("docs/guides/migrate.md", "python"): "tests/test_steps.py",
    ("docs/tutorial.md", "console"): "tests/test_steps.py",
    ("docs/tutorial.md", "python"): "tests/test_steps.py",
    ("docs/workers.md", "console"): "tests/multiprocess/test_guides.py",
}

# What a page takes for granted, in the order in which it does.
BEFORE = {
    "README.md": """
from types import SimpleNamespace
from fastapi import FastAPI
from opentelemetry.sdk.metrics import MeterProvider
import otel_metrics
from otel_metrics.exporter import PrometheusReader
from otel_metrics.integrations.web import expose, track_requests
advanced = otel_metrics.get_advanced_metrics()
bank, order = SimpleNamespace(accepts=bool), object()
def handle_order(): otel_metrics.get_advanced_metrics().record_feature_usage("shop", "order", success=True)
""",
    "docs/events.md": """
import otel_metrics
from opentelemetry.sdk._logs import LoggerProvider
my_logger_provider = LoggerProvider()
advanced = otel_metrics.get_advanced_metrics()
""",
    "docs/guides/asyncio.md": "",
    "docs/reader.md": """
import shutil, subprocess
from starlette.applications import Starlette
app = Starlette()
subprocess.run([*"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=shop".split(),
                "-keyout", "server.key", "-out", "server.pem"], check=True, capture_output=True)
shutil.copy("server.pem", "clients.pem")
from otel_metrics.exporter import hash_password
with open("users", "w") as users: print("me", hash_password("secret"), sep=":", file=users)
""",
    "docs/workers.md": """
from opentelemetry.sdk.metrics import MeterProvider
from otel_metrics.exporter import PrometheusReader
""",
}


ALL = [snippet for page in PAGES for snippet in snippets(page)]
NOT_RUN = [snippet for snippet in ALL if snippet.not_run]
COMMANDS = {
    (page.relative_to(ROOT).as_posix(), line.replace("\\\n", " "))
    for page in PAGES
    for line in re.findall(r"(?m)^(?:\$ |    )(otel-metrics (?:.*\\\n)*.*)$", page.read_text(encoding="utf-8"))
}


def test_each_is_run_or_marked_and_these_are_marked() -> None:
    here = {"python": BEFORE, "yaml": {page for page, _ in YAML}, "toml": {"docs/settings.md"}}
    orphans = [
        snippet
        for snippet in ALL
        if snippet.language != "text"  # what a program prints, a picture
        and not snippet.not_run
        and (snippet.page, snippet.language) not in RUN_BY
        and snippet.page not in here.get(snippet.language, ())
        and not all(line.startswith("$ otel-metrics ") for line in snippet.text.splitlines())
    ]
    assert orphans == []
    assert sorted({(each.page, each.language) for each in ALL} & RUN_BY.keys()) == sorted(RUN_BY)
    assert all((ROOT / test).is_file() for test in RUN_BY.values())
    assert [each.page for each in NOT_RUN] == [
        "README.md",
        "docs/deploying.md",
        "docs/endings.md",
        "docs/guides/alerts.md",
        "docs/guides/kubernetes.md",
        "docs/reader.md",
        "docs/tutorial.md",
        "docs/when-one-prometheus-is-not-enough.md",
        "docs/when-one-prometheus-is-not-enough.md",
    ]


@pytest.mark.parametrize("page", [page for page in BEFORE if page != "docs/guides/asyncio.md"])
def test_python(page: str, tmp_path: Path) -> None:
    """Typed one after the other; whole programs (# shop.py), which guides start, are left out."""
    parts = [
        each.text for each in snippets(page) if each.language == "python" and not each.text.startswith("# shop.py")
    ]
    program = BEFORE[page] + "\n".join(parts).replace("=9464", "=0").replace("/run/shop", str(tmp_path))
    environment = {
        **os.environ,
        "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


if sys.version_info >= (3, 11):  # asyncio has no task groups before

    def test_a_task_group() -> None:
        """The table of the page, row by row."""
        names: dict[str, Any] = {}
        program = "\n".join(each.text for each in snippets("docs/guides/asyncio.md"))
        with testing.recording() as metrics:
            exec(compile(program, "asyncio.md", "exec", dont_inherit=True), names)
            assert asyncio.run(names["best_offer"](["fast", "fast"])) == 7
            with pytest.raises(Exception, match="unhandled errors in a TaskGroup"):
                asyncio.run(names["best_offer"](["fast", "broken", "slow"]))
            for outcome, error, times in (
                ("success", {}, 3),
                ("failure", {"error_type": "ConnectionError"}, 1),
                ("unknown", {"error_type": "CancelledError"}, 1),
            ):
                metrics.assert_value("feature_usage_total", times, action="ask supplier", outcome=outcome, **error)
            metrics.assert_value("feature_usage_total", 1, action="best offer", error_type="ExceptionGroup")
            metrics.assert_value("feature_errors_total", 1, error_type="ConnectionError")
            metrics.advanced.record_satisfaction("search", "overall", 0.2)
            assert asyncio.run(names["unhappy"]()) is True


@pytest.mark.parametrize(("page", "command"), sorted(COMMANDS))
def test_commands_and_options_exist(page: str, command: str) -> None:
    words = shlex.split(command.partition(" | ")[0], comments=True)
    assert isinstance(parser().parse_args(words[1:]), argparse.Namespace), page


YAML = [
    (each.page, each.text)
    for each in ALL
    if each.language == "yaml" and not each.not_run and (each.page, "yaml") not in RUN_BY
]


@pytest.mark.parametrize(("page", "text"), YAML, ids=[page for page, _ in YAML])
def test_yaml(page: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "file.yml"
    if "service_levels:" in text:
        file.write_text(text)
        assert service_levels.read(file).levels, page
    elif "meter_provider:" in text:
        file.write_text("file_format: '1.0'\n" + text.replace("9464", "0").split("            serve:")[0])
        create_meter_provider(load_config_file(str(file)).meter_provider).shutdown()
    else:
        if version("prometheus") < (3, 9):
            text = re.sub(r".*native_histograms: true\n", "", text)
        file.write_text(text)
        agent = ["--agent"] if "--agent" in text else []
        done = promtool("check", "config", *agent, file)
        assert done.returncode == 0, done.stderr


def test_settings_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (each,) = (each for each in snippets("docs/settings.md") if each.language == "toml")
    (tmp_path / "pyproject.toml").write_text(each.text)
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({})
    assert settings.prometheus_url == "https://prometheus.example"
    assert settings.prometheus_token_file == str(tmp_path / "secrets" / "token")
    assert settings.satisfaction_scales == {"stars": "1-5"}
