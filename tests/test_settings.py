"""Settings are checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

import otel_metrics
from otel_metrics import ConfigurationError, Settings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"prometheus_url": "prometheus:9090"}, "prometheus_url='prometheus:9090'"),
        ({"prometheus_url": "http://me:secret@host"}, "without a password"),
        ({"prometheus_timeout": 0}, "prometheus_timeout=0"),
        ({"prometheus_username": "me"}, "prometheus_password_file"),
        ({"otlp": "both"}, "cumulative or delta"),
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
    ("variable", "text"),
    [
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "http"),
        ("OTM_STRICT", "maybe"),
        ("OTM_PROMETHEUS_TIMEOUT", "1s"),
        ("OTM_SATISFACTION_SCALES", "stars=1-10"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{variable}='{text}'"):
        Settings.from_env({variable: text})


def test_a_misspelt_setting_is_named() -> None:
    with pytest.raises(ConfigurationError, match="promethous_url"):
        Settings.from_env({}, promethous_url="http://x")


@pytest.mark.parametrize("settings", ["prometheus", {"port": 1}, 5])
def test_configure_takes_nothing_but_settings(settings: Any) -> None:
    with pytest.raises(ConfigurationError, match="Settings"):
        otel_metrics.configure(settings)


@pytest.mark.parametrize("url", ["http://h", "https://h:9090/prefix/", "http://[::1]:9090", "http://me@h"])
def test_addresses_that_work(url: str) -> None:
    assert Settings(prometheus_url=url).prometheus_url == url


@pytest.mark.parametrize(
    "url",
    [
        "me:geheim@h:9090",
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
def test_a_password_in_an_address_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="prometheus_url") as caught:
        Settings(prometheus_url=url)
    assert "geheim" not in str(caught.value)


def test_by_default_nothing_leaves_this_machine() -> None:
    settings = Settings()

    assert settings.host == "localhost"
    assert settings.prometheus_url is None
