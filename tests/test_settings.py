"""Settings are checked when they are made."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import otel_metrics.testing
from otel_metrics import ConfigurationError, Settings
from otel_metrics.settings import ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"prometheus_url": "prometheus:9090"}, "prometheus_url='prometheus:9090'"),
        ({"prometheus_url": "http://me:secret@host"}, "credentials come from prometheus_password_file"),
        ({"prometheus_timeout": 0}, "prometheus_timeout=0"),
        ({"prometheus_username": "me"}, "prometheus_password_file"),
        ({"otlp": "both"}, "cumulative or delta"),
        ({"otlp_per": "thread"}, "host or process"),
        ({"otlp_per": "host"}, "host with a multiprocess_directory"),
        ({"otlp_per": "host", "otlp": "delta", "multiprocess_directory": "shared"}, "cumulative totals"),
        ({"port": 70000}, "port=70000"),
        ({"satisfaction_threshold": 70}, "satisfaction_threshold=70"),
        ({"satisfaction_scales": {"stars": "1-10"}}, "'stars'"),
        ({"label_caps": {"colour": 3}}, "colour"),
        ({"label_caps": {"action": 0}}, "at least 1"),
        ({"series_limit": 0}, "series_limit=0"),
        ({"port": "9464"}, "port='9464'"),
        ({"port": 1.5}, "port=1.5"),
        ({"port": True}, "port=True"),
        ({"port": 10**5000}, "port=<int>"),
        ({"host": None}, "host=None"),
        ({"strict": "false"}, "strict='false'"),
        ({"satisfaction_threshold": "0.7"}, "satisfaction_threshold='0.7'"),
        ({"satisfaction_threshold": float("nan")}, "satisfaction_threshold=nan"),
        ({"satisfaction_scales": None}, "satisfaction_scales=None"),
        ({"series_limit": "3"}, "series_limit='3'"),
        ({"label_caps": None}, "label_caps=None"),
        ({"label_caps": {"action": "3"}}, "label_caps['action']='3'"),
        ({"clock": 5}, "clock=5"),
        ({"meter_provider": "sdk"}, "meter_provider='sdk'"),
        ({"logger_provider": object}, "logger_provider=<class 'object'>"),
        ({"prometheus_token_file": 5}, "prometheus_token_file=5"),
        ({"otlp": ["delta"]}, "otlp=['delta']"),
        ({"prometheus_timeout": "5"}, "prometheus_timeout='5'"),
        ({"prometheus_timeout": float("inf")}, "prometheus_timeout=inf"),
        ({"prometheus_timeout": 1e6}, "prometheus_timeout=1000000.0"),
        ({"prometheus_url": 5}, "prometheus_url=5"),
        ({"prometheus_url": "http://[::1"}, "prometheus_url='http://[::1'"),
        ({"prometheus_url": "http://h:99999"}, "prometheus_url='http://h:99999'"),
        ({"prometheus_url": "http://me:secret@h:99999"}, "prometheus_url='http://"),
        ({"prometheus_url": "http://h/?x"}, "prometheus_url='http://h/?...'"),
        ({"prometheus_url": "http://h/#a"}, "prometheus_url='http://h/?...'"),
        ({"prometheus_url": "http://h /a"}, "prometheus_url='http://h /a'"),
    ],
)
def test_what_cannot_work_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match="allowed") as error:
        Settings(**settings)

    assert named in str(error.value)
    assert "secret" not in str(error.value)


def test_the_environment_speaks_the_specifications_names_and_ours() -> None:
    settings = Settings.from_env(
        {
            "OTEL_EXPORTER_PROMETHEUS_HOST": "0.0.0.0",
            "OTEL_EXPORTER_PROMETHEUS_PORT": "9999",
            "OTM_PROMETHEUS_URL": "https://prometheus.example",
            "OTM_STRICT": "true",
            "OTM_SATISFACTION_THRESHOLD": "0.8",
            "OTM_SATISFACTION_SCALES": "stars=1-5, was it=useful=0-1,",
            "OTM_PROMETHEUS_UNAVAILABLE": "raise",
        }
    )

    assert (settings.host, settings.port, settings.strict) == ("0.0.0.0", 9999, True)
    assert (settings.prometheus_url, settings.satisfaction_threshold) == ("https://prometheus.example", 0.8)
    assert settings.satisfaction_scales == {"stars": "1-5", "was it=useful": "0-1"}
    assert settings.prometheus_unavailable == "raise"


def test_keywords_win_over_the_environment() -> None:
    assert Settings.from_env({"OTEL_EXPORTER_PROMETHEUS_PORT": "9999"}, port=1).port == 1


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "http", "an integer from 0 to 65535"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "99999", "an integer from 0 to 65535"),
        ("OTM_STRICT", "maybe", "true or false"),
        ("OTM_PROMETHEUS_TIMEOUT", "1s", "seconds from 0.001 to 3600"),
        ("OTM_EVENTS", "stdout", "off, log, otel"),
        ("OTM_PROMETHEUS_MATCHERS", "shop", "NAME=VALUE, several with commas between them"),
        ("OTM_LABEL_CAPS", "action=many", "LABEL=NUMBER, several with commas between them"),
        ("OTM_SATISFACTION_SCALES", "stars=1-10", "TYPE=SCALE, several with commas between them; scales: 0-1, 1-5"),
    ],
)
def test_a_variable_that_cannot_be_is_named_with_what_can(variable: str, text: str, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Settings.from_env({variable: text})
    assert str(error.value) == f"{variable}={text!r} is not allowed; allowed: {allowed}"


def test_the_variable_of_an_address_is_named_and_its_password_is_not() -> None:
    with pytest.raises(
        ConfigurationError, match="OTM_PROMETHEUS_URL='prometheus:9090' is not allowed; allowed: an http://"
    ):
        Settings.from_env({"OTM_PROMETHEUS_URL": "prometheus:9090"})
    with pytest.raises(ConfigurationError, match="OTM_PROMETHEUS_URL=") as error:
        Settings.from_env({"OTM_PROMETHEUS_URL": "http://me:secret@host"})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("settings", ["prometheus", {"port": 1}, 5])
def test_configure_takes_nothing_but_settings(settings: Any) -> None:
    with pytest.raises(ConfigurationError, match="Settings"):
        otel_metrics.configure(settings)


@pytest.mark.parametrize("url", ["http://h", "https://h:9090/prefix/", "http://[::1]:9090"])
def test_addresses_that_work(url: str) -> None:
    assert Settings(prometheus_url=url).prometheus_url == url


@pytest.mark.parametrize(
    "url",
    [
        "me:geheim@h:9090",
        "http://me:geheim@h",
        "http://geheim@h",
        "htp://me:geheim@h",
        "http:me:geheim@h",
        "http:/me:geheim@h",
        "http:\\\\me:geheim@h",
        "http//me:geheim@h",
        "http://me:geh@geheim@h",
        "http://me:geheim?x@h",
        "https://me:geheim@h:99999",
        "http://h?token=geheim",
        "http://h/#geheim",
        "http://me:geheim@h\n",
    ],
)
def test_who_asks_does_not_stand_in_the_address_and_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="prometheus_url") as caught:
        Settings(prometheus_url=url)
    assert "geheim" not in str(caught.value)


AN_APPLICATION = """
import logging, sys
reached = []
def look(event, arguments):
    if event in ("socket.bind", "socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        reached.append(f"{event} {arguments[1][0]}")
sys.addaudithook(look)
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(message)s")
import otel_metrics
from otel_metrics.exporter import PrometheusReader
from prometheus_client import CollectorRegistry
advanced = otel_metrics.get_advanced_metrics()
advanced.record_error("kiosk", "Timeout", "error", error_message="of a user")
advanced.get_error_stats("kiosk")
otel_metrics.serve(port=0)
PrometheusReader(registry=CollectorRegistry()).serve(port=0)
otel_metrics.shutdown()
print(sorted(reached))
"""


def test_by_default_nothing_leaves_this_machine(tmp_path: Path) -> None:
    """Two servers listen on loopback; nobody is asked or told, and text of users is not in the log either."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OTM_"))}
    done = subprocess.run(
        [sys.executable, "-c", AN_APPLICATION], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "['socket.bind 127.0.0.1', 'socket.bind 127.0.0.1']"
    assert "of a user" not in done.stdout + done.stderr


# ------------------------------------------------------------------------------------------------------------ the file


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `pyproject.toml`, not yet written, of an application that runs in a folder below it."""
    (tmp_path / "shop" / "src").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "shop" / "src")
    return tmp_path / "shop" / "pyproject.toml"


def test_the_file_gives_what_neither_arguments_nor_the_environment_give(project: Path) -> None:
    project.write_text('[tool.otel-metrics]\nport = 1\nhost = "file"\nevents = "log"\nlabel_caps = { action = 50 }\n')

    settings = Settings.from_env({"OTEL_EXPORTER_PROMETHEUS_HOST": "variable", "OTM_EVENTS": "off"}, events="otel")

    assert (settings.port, settings.host, settings.events) == (1, "variable", "otel")
    assert settings.label_caps == {"action": 50}
    assert settings.series_limit == 10000


def test_the_nearest_project_is_the_applications(project: Path) -> None:
    project.parent.parent.joinpath("pyproject.toml").write_text("[tool.otel-metrics]\nport = 1\n")
    assert Settings.from_env({}).port == 1

    project.write_text("[tool.other]\nport = 2\n")
    assert Settings.from_env({}).port == 9464


def test_a_variable_names_another_file(project: Path) -> None:
    project.write_text("[tool.otel-metrics]\nport = 1\n")
    other = project.with_name("metrics.toml")
    other.write_text('port = 2\nprometheus_token_file = "secrets/token"\n')

    settings = Settings.from_env({"OTM_CONFIG": str(other)})

    assert (settings.port, settings.prometheus_token_file) == (2, str(other.parent / "secrets" / "token"))
    with pytest.raises(ConfigurationError, match="OTM_CONFIG='/nowhere/x'"):
        Settings.from_env({"OTM_CONFIG": "/nowhere/x"})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("promethous_url = 'http://h'", "unknown setting 'promethous_url'; did you mean 'prometheus_url'?"),
        ("colour = 'red'", "unknown setting 'colour'; allowed: events, events_level, host"),
        ("port = '9464'", "port='9464' is not allowed; allowed: an integer from 0 to 65535"),
        ("clock = 5", "clock is an object, which only an argument"),
    ],
)
def test_what_cannot_be_in_the_file_is_told_with_the_file(project: Path, line: str, told: str) -> None:
    project.write_text(f"[tool.otel-metrics]\n{line}\n")

    with pytest.raises(ConfigurationError) as error:
        Settings.from_env({})

    assert str(error.value).startswith(f"{project}: {told}")


def test_a_project_that_is_broken_or_that_anybody_may_replace_gives_nothing(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It was only found, so it does not take the application down; and it could send credentials elsewhere."""
    project.write_text("[tool.otel-metrics\nport = 1\n")
    assert Settings.from_env({}).port == 9464
    assert f"{project} cannot be read" in caplog.text

    project.write_text("[tool.otel-metrics]\nport = 1\n")
    project.parent.chmod(0o777)
    assert Settings.from_env({}).port == 9464
    assert f"{project} is not read, as anybody may write to its folder" in caplog.text


def test_a_working_directory_that_the_user_may_not_look_into_gives_nothing(project: Path) -> None:
    """As that of a service which was started by root and goes on as another user."""
    code = (
        "import os; from otel_metrics import Settings; Settings.from_env({});"
        "os.chmod('.', 0); os.getuid() or os.setuid(65534); print(Settings.from_env({}).port)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project.parent, capture_output=True, text=True, check=False)
    project.parent.chmod(0o755)
    assert (done.stdout, done.stderr) == ("9464\n", "")


def test_the_file_is_read_when_the_process_is_configured_and_not_before(project: Path) -> None:
    code = (
        "import otel_metrics, pathlib; otel_metrics.AdvancedMetrics;"
        f"pathlib.Path({str(project)!r}).write_text('[tool.otel-metrics]\\nport = 4321\\n');"
        "print(otel_metrics.configure().port)"
    )
    project.write_text("not toml")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("4321\n", "")


def test_every_field_but_objects_has_a_variable() -> None:
    settings = Settings.from_env({"OTM_LABEL_CAPS": "action=50, feature=20", "OTM_SERIES_LIMIT": "7"})
    assert settings.label_caps == {"action": 50, "feature": 20}
    assert settings.series_limit == 7
    assert {field.name for field in dataclasses.fields(Settings)} - ENVIRONMENT.keys() == {
        "clock",
        "logger_provider",
        "meter_provider",
        "timer",
    }


def test_misspelt_names_are_told_with_the_nearest(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigurationError, match="'promethous_url'; did you mean 'prometheus_url'"):
        Settings.from_env({}, promethous_url="http://x")  # type: ignore[call-arg]
    Settings.from_env({"OTM_PROMETEUS_URL": "http://secret", "OTM_SERVERS": "x", "OTM_API_KEY": "x"})
    assert [record.getMessage() for record in caplog.records] == [
        "the variable OTM_PROMETEUS_URL is no setting; did you mean 'OTM_PROMETHEUS_URL'?"
    ]


def test_a_misspelt_table_is_told_with_the_nearest(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    project.write_text("[tool.otel_metrics]\nport = 1\n[tool.mypy]\nstrict = true\n")
    assert Settings.from_env({}).port == 9464
    assert [record.getMessage() for record in caplog.records] == [
        f"{project}: the table 'otel_metrics' is not read; did you mean 'otel-metrics'?"
    ]


@pytest.mark.parametrize(
    ("variable", "value", "exemplars", "told"),
    [
        ("OTEL_METRICS_EXEMPLAR_FILTER", "", 1, ""),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "Always_Off", 0, ""),
        (
            "OTEL_METRICS_EXEMPLAR_FILTER",
            "trace-based",
            1,
            "OTEL_METRICS_EXEMPLAR_FILTER='trace-based' is not allowed; allowed: always_on, always_off, trace_based. It is ignored",
        ),
        ("OTEL_SDK_DISABLED", "true", 0, "OTEL_SDK_DISABLED is true: OpenTelemetry's instruments take no values"),
    ],
)
def test_variables_of_the_specification_stop_no_application(
    variable: str, value: str, exemplars: int, told: str
) -> None:
    code = (
        "import otel_metrics, urllib.request as http\n"
        "advanced = otel_metrics.get_advanced_metrics()\n"
        "advanced.record_satisfaction('kiosk', 'overall', 0.9, interaction_id='i-1')\n"
        "asks = http.Request(otel_metrics.serve(port=0).url, headers={'Accept': 'application/openmetrics-text'})\n"
        "print(http.urlopen(asks).read().count(b'interaction_id'))\n"
        "print(advanced.get_satisfaction_metrics()['total_responses'])\n"
    )
    environment = {**os.environ, variable: value}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr.strip()) == (f"{exemplars}\n1\n", told)


def test_a_misspelt_unit_is_told_once_with_the_nearest(caplog: pytest.LogCaptureFixture) -> None:
    with otel_metrics.testing.recording() as recorded:
        for name in ("load", "save"):
            recorded.advanced.record_performance_metric("kiosk", "speed", name, 5.0, unit="msecs")
            recorded.advanced.record_performance_metric("kiosk", "size", name, 5.0, unit="tokens")
    assert [record.getMessage() for record in caplog.records] == [
        "record_performance_metric: unit='msecs' is not known; its values are kept as they are; did you mean 'msec'?"
    ]
