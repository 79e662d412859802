"""Whatever a setting or an argument is given: it fits, or the message names it, the value and what is allowed."""

from __future__ import annotations

import dataclasses
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from otel_metrics import ConfigurationError, Settings, testing
from otel_metrics.allowed import naming
from otel_metrics.exporter import PrometheusReader, ServerLimits
from otel_metrics.settings import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FIELDS = [field.name for field in dataclasses.fields(Settings)]

NOTHING = type(None)
KINDS: dict[str, tuple[type, ...]] = {
    "meter_provider": (NOTHING,),
    "events": (str, NOTHING),
    "events_level": (str,),
    "logger_provider": (NOTHING,),
    "prometheus_url": (str, NOTHING),
    "prometheus_matchers": (dict,),
    "prometheus_timeout": (int, float),
    "prometheus_unavailable": (str,),
    "prometheus_username": (str, NOTHING),
    "prometheus_password_file": (str, NOTHING),
    "prometheus_token_file": (str, NOTHING),
    "prometheus_ca_file": (str, NOTHING),
    "otlp": (str, NOTHING),
    "otlp_per": (str, NOTHING),
    "multiprocess_directory": (str, NOTHING),
    "host": (str,),
    "port": (int,),
    "native_only": (bool,),
    "strict": (bool,),
    "satisfaction_threshold": (int, float),
    "satisfaction_scales": (dict,),
    "label_caps": (dict,),
    "series_limit": (int,),
    "clock": (type(len),),
    "timer": (type(len),),
}
"""What a value may be of, among those below."""

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary(max_size=20)
)
HUGE = 10**5000
ANYTHING = (
    SCALARS
    | st.sampled_from([object(), len, HUGE, "\udcff", "a\0b"])
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(st.text() | st.integers() | st.none(), SCALARS | st.lists(st.integers()), max_size=2)
)


PARTNERS: dict[str, dict[str, Any]] = {"prometheus_password_file": {"prometheus_username": "me"}}
"""What a setting does not go without."""


def complaint(make: Callable[[], Settings]) -> str:
    """What is said of settings; empty if they can be. Any other error fails."""
    try:
        make()
    except ConfigurationError as error:
        return str(error)
    return ""


def test_every_field_is_looked_at() -> None:
    assert list(KINDS) == FIELDS


@pytest.mark.parametrize("name", FIELDS)
@settings(max_examples=30)
@given(value=ANYTHING)
def test_a_value_fits_or_the_message_says_what_does(name: str, value: Any) -> None:
    partners = {} if value is None else PARTNERS.get(name, {})
    said = complaint(lambda: Settings(**partners, **{name: value}))
    if not said:
        assert type(value) in KINDS[name]
        return
    told = re.fullmatch(r"(\w+)(\[.+\])?=(.+) is not allowed; allowed: .+", said, re.DOTALL)
    assert told is not None, said
    assert told[1] == name
    if not isinstance(value, dict) and name != "prometheus_url":
        shown = "<int>" if value == HUGE else ascii(value)
        assert told[3] in {shown, shown[:80] + "…"}


@pytest.mark.parametrize(("name", "variable"), [(name, variable) for name, (variable, _) in ENVIRONMENT.items()])
@settings(max_examples=30)
@given(text=st.text(min_size=1))
def test_the_text_of_a_variable_fits_or_the_message_names_it(name: str, variable: str, text: str) -> None:
    environ = {"OTM_CONFIG": "/dev/null", variable: text}
    said = complaint(lambda: Settings.from_env(environ, **PARTNERS.get(name, {})))
    assert re.match(rf"$|({variable}|{name})\b.*=.* is not allowed; allowed: ", said, re.DOTALL), said


@pytest.mark.parametrize("name", sorted(ENVIRONMENT))
@pytest.mark.parametrize("value", ["1979-05-27", "[[1]]", "{ x = [1] }", "-1", "inf", '"\\u0000"'])
def test_a_value_of_the_file_fits_or_the_message_names_it(tmp_path: Path, name: str, value: str) -> None:
    file = tmp_path / "metrics.toml"
    file.write_text(f"{name} = {value}\n", encoding="utf-8")
    said = complaint(lambda: Settings.from_env({"OTM_CONFIG": str(file)}, **PARTNERS.get(name, {})))
    assert re.match(rf"$|({file}: )?{name}\b.*=.* is not allowed; allowed: ", said, re.DOTALL), said


@pytest.fixture(params=["absent", "directory", "damaged"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A path at which no file of text, and no certificate, can be read."""
    path = tmp_path / str(request.param)
    if request.param == "directory":
        path.mkdir()
    elif request.param == "damaged":
        path.write_bytes(b"\xff\xfe")
    return path


@pytest.mark.parametrize("name", ["prometheus_ca_file", "prometheus_password_file", "prometheus_token_file"])
def test_a_file_that_cannot_be_read_is_told_with_its_setting(name: str, unusable: Path) -> None:
    given: dict[str, Any] = {"prometheus_url": "https://127.0.0.1:1", **PARTNERS.get(name, {}), name: str(unusable)}
    with (
        pytest.raises(ConfigurationError, match=f"^{name}='{unusable}' cannot be used: (?!\\[Errno)"),
        testing.recording(**given) as metrics,
    ):
        metrics.advanced.get_error_stats("kiosk")


def test_a_multiprocess_directory_that_is_a_file_is_told_with_its_setting(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with (
        pytest.raises(
            ConfigurationError, match=f"^multiprocess_directory='{file}' cannot be used: {file} is not a directory"
        ),
        testing.recording(multiprocess_directory=file),
    ):
        pass


# ------------------------------------------------------------------------------------------------ arguments of serve()


@pytest.fixture
def reader() -> Iterator[PrometheusReader]:
    made = PrometheusReader(registry=CollectorRegistry())
    yield made
    made.shutdown()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"port": "x"}, "port='x' is not allowed; allowed: an integer from 0 to 65535"),
        ({"port": None}, "port=None is not allowed; allowed: an integer from 0 to 65535"),
        ({"port": 1.5}, "port=1.5 is not allowed; allowed: an integer from 0 to 65535"),
        ({"host": 5}, "host=5 is not allowed; allowed: a string"),
        ({"certfile": 5}, "certfile=5 is not allowed; allowed: a path, or None"),
        ({"users_file": 5}, "users_file=5 is not allowed; allowed: a path, or None"),
        ({"web_config_file": 5}, "web_config_file=5 is not allowed; allowed: a path, or None"),
        (
            {"allowed_hosts": "metrics.example"},
            "allowed_hosts='metrics.example' is not allowed; allowed: several names",
        ),
        ({"allowed_hosts": [5]}, "allowed_hosts=[5] is not allowed; allowed: several names"),
        ({"metrics_path": 5}, "metrics_path=5 is not allowed; allowed: a path as it stands in an address"),
        ({"max_scrapes": "4"}, "max_scrapes='4' is not allowed; allowed: an integer of at least 1"),
        ({"limits": 5}, "limits=5 is not allowed; allowed: a ServerLimits, or None"),
    ],
    ids=str,
)
def test_an_argument_of_serve_that_cannot_be_is_told(
    reader: PrometheusReader, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        reader.serve(**{"port": 0, **arguments})
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("name", ["connections", "request_timeout", "response_timeout"])
@pytest.mark.parametrize("value", ["1", None, True, -1])
def test_a_limit_that_cannot_be_is_told(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name}={value!r} is not allowed; allowed: "):
        ServerLimits(**{name: value})


@pytest.mark.parametrize("mounted", ["asgi_app", "wsgi_app"])
@pytest.mark.parametrize(
    ("name", "value"), [("metrics_path", 5), ("max_scrapes", None), ("users_file", 5), ("response_timeout", "1")]
)
def test_an_argument_of_an_application_that_cannot_be_is_told(
    reader: PrometheusReader, mounted: str, name: str, value: Any
) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name}={value!r} is not allowed; allowed: "):
        getattr(reader, mounted)(**{name: value})


@pytest.mark.parametrize("name", ["certfile", "users_file", "web_config_file"])
def test_a_file_that_cannot_be_read_is_told_with_its_argument(
    reader: PrometheusReader, name: str, unusable: Path
) -> None:
    arguments: dict[str, Any] = {"port": 0, name: str(unusable)}
    with pytest.raises((OSError, ConfigurationError), match=f"{name}='{unusable}'.* cannot be used: "):
        reader.serve(**arguments)


def test_an_address_that_cannot_be_listened_on_is_told(reader: PrometheusReader) -> None:
    with pytest.raises(OSError, match=r"host='203\.0\.113\.9', port=0 cannot be used: "):
        reader.serve(host="203.0.113.9", port=0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"resource_constant_labels": "service.name"}, "resource_constant_labels='service.name' is not allowed"),
        ({"multiprocess_directory": 5}, "multiprocess_directory=5 is not allowed; allowed: a path, or None"),
        ({"classic_bounds": "0.5"}, "classic_bounds='0.5' is not allowed; allowed: numbers"),
        ({"classic_bounds": [10**400]}, "classic_bounds=["),
        (
            {"multiprocess_directory": "/nowhere", "multiprocess_gauges": {"heat": []}},
            "multiprocess_gauges['heat']=[] is not allowed; allowed: sum, max, min, mean, latest",
        ),
        ({"translation_strategy": []}, "translation_strategy=[] is not allowed; allowed: Underscore"),
    ],
    ids=str,
)
def test_an_argument_of_the_reader_that_cannot_be_is_told(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PrometheusReader(registry=CollectorRegistry(), **arguments)
    assert str(caught.value).startswith(told)


def test_a_time_limit_is_told_as_it_was_raised() -> None:
    class TimeLimitError(TimeoutError):  # of the system, going by its class
        def __init__(self) -> None:
            super().__init__("too long")

    with pytest.raises(TimeLimitError, match=r"^too long$"), naming("users_file='users.yml'"):
        raise TimeLimitError


def test_a_handle_shows_where_it_serves_and_whether_it_does(reader: PrometheusReader) -> None:
    handle = reader.serve(port=0)
    with closing(handle):
        assert repr(handle) == f"<ServerHandle http://localhost:{handle.port}/metrics, listening>"
        waiting = PrometheusReader(registry=CollectorRegistry())
        assert repr(waiting.serve(port=handle.port)) == f"<ServerHandle {handle.url}, waiting for the address>"
        waiting.shutdown()
    assert repr(handle) == f"<ServerHandle {handle.url}, closed>"
