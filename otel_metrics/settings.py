"""One frozen object with every setting, checked when it is made."""

from __future__ import annotations

import importlib
import logging
import os
import re
import stat
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypedDict, get_args
from urllib.parse import urlsplit

from otel_metrics.allowed import is_path_or_none, is_text, require, within
from otel_metrics.catalogue import CATALOGUE
from otel_metrics.errors import ConfigurationError, _shown, did_you_mean
from otel_metrics.log import say

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from typing_extensions import Unpack

Scale = Literal["0-1", "1-5"]

Temporality = Literal["cumulative", "delta"]

OtlpPer = Literal["host", "process"]

WhenUnavailable = Literal["local", "raise"]

EventsTo = Literal["off", "log", "otel"]

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

SCALES: Final[tuple[Scale, ...]] = get_args(Scale)
TEMPORALITIES: Final[tuple[Temporality, ...]] = get_args(Temporality)
_OTLP_PER: Final[tuple[OtlpPer, ...]] = get_args(OtlpPer)
WHEN_UNAVAILABLE: Final[tuple[WhenUnavailable, ...]] = get_args(WhenUnavailable)
_EVENTS_TO: Final[tuple[EventsTo, ...]] = get_args(EventsTo)
_LOG_LEVELS: Final[tuple[LogLevel, ...]] = get_args(LogLevel)
_LABEL_NAMES: Final = frozenset(name for metric in CATALOGUE for name in metric.label_names)
_LONGEST_TIMEOUT: Final = 3600
_LABEL_NAME: Final = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")
_SERVER: Final = (
    "an http:// or https:// address, with a path at most; credentials come from prometheus_password_file or "
    "prometheus_token_file"
)
_OR_NONE: Final = ", or None"
"""Not where settings are text: what is not there is none."""

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What :func:`otel_metrics.configure` takes. Everything has a default that works.

    The resource (service name, instance, …) follows the specification's ``OTEL_SERVICE_NAME`` and
    ``OTEL_RESOURCE_ATTRIBUTES``.

    Raises:
        ConfigurationError: a value that cannot work; the message names it and what is allowed.
    """

    meter_provider: MeterProvider | None = None
    """Record into this provider instead of a private one. Give it ``views=otel_metrics.views()`` for speed and buckets;
    its readers are yours, so ``serve()`` is not available."""

    events: EventsTo | None = None
    """Where feedback, error messages, interaction ids and metadata go (``OTM_EVENTS``): ``off``, nowhere; ``log``, the
    standard library's logger ``otel_metrics.events``; ``otel``, OpenTelemetry log events. By default ``otel`` if there is a
    ``logger_provider``, otherwise ``off``."""

    events_level: LogLevel = "DEBUG"
    """Level of the log records with ``events="log"`` (``OTM_EVENTS_LEVEL``)."""

    logger_provider: LoggerProvider | None = None
    """Emit OpenTelemetry log events here; by default into OpenTelemetry's global logger provider."""

    prometheus_url: str | None = None
    """Answer ``get_*`` from this server (``OTM_PROMETHEUS_URL``); by default they answer from this process, or from all that share
    a ``multiprocess_directory``."""

    prometheus_matchers: Mapping[str, str] = field(default_factory=dict)
    """Labels that series must have for getters to count them, such as ``{"env": "prod"}`` (``OTM_PROMETHEUS_MATCHERS``, as
    ``env=prod,team=shop``). By default the ``job`` of this process, which is found by its instance id; with a ``meter_provider`` of
    the application's own, everything."""

    prometheus_timeout: float = 10.0
    """Seconds that a getter waits for the server, retries included, an hour at most (``OTM_PROMETHEUS_TIMEOUT``)."""

    prometheus_unavailable: WhenUnavailable = "local"
    """What a getter does when the server cannot answer (``OTM_PROMETHEUS_UNAVAILABLE``): ``local``, answer from this process,
    or all of its directory, and say so in ``source`` and ``warnings`` of the result; ``raise``, raise the :class:`~otel_metrics.errors.QueryError`. With
    ``raise`` this process keeps no values, which saves up to a third of a record call."""

    prometheus_username: str | None = None
    """User name for basic authentication (``OTM_PROMETHEUS_USERNAME``); the password is read from ``prometheus_password_file``."""

    prometheus_password_file: str | None = None
    """File holding the password for basic authentication (``OTM_PROMETHEUS_PASSWORD_FILE``)."""

    prometheus_token_file: str | None = None
    """File holding a bearer token (``OTM_PROMETHEUS_TOKEN_FILE``)."""

    prometheus_ca_file: str | None = None
    """Certificates to trust instead of the system's (``OTM_PROMETHEUS_CA_FILE``)."""

    otlp: Temporality | None = None
    """Push by OTLP as well, ``cumulative`` or ``delta`` (``OTM_OTLP``); the specification's ``OTEL_EXPORTER_OTLP_*`` variables
    say where to, how often and with what headers. Needs the extra ``otlp``."""

    otlp_per: OtlpPer | None = None
    """Who pushes by OTLP (``OTM_OTLP_PER``): ``host``, one of the processes that share a ``multiprocess_directory`` for all of them, as one
    instance; ``process``, each its own numbers, as an instance of its own. By default ``host`` if there is such a directory, but
    ``process`` with ``delta``, as no process knows what another one has pushed."""

    multiprocess_directory: str | os.PathLike[str] | None = None
    """Directory that all processes of this application share (``OTM_MULTIPROCESS_DIR``). The endpoint of any of them then answers for all,
    living and dead, as one instance; see docs/workers.md. One directory per application, on a file system of this machine."""

    host: str = "localhost"
    """Address that ``serve()`` listens on (``OTEL_EXPORTER_PROMETHEUS_HOST``)."""

    port: int = 9464
    """Port that ``serve()`` listens on, 0 for any free one (``OTEL_EXPORTER_PROMETHEUS_PORT``)."""

    native_only: bool = False
    """Leave classic buckets out of protobuf scrapes, which carry native ones (``OTM_NATIVE_ONLY``): a key of
    ``record_performance_metric`` then takes 1.1 kB instead of 1.6. Text keeps them.
    Only where every Prometheus that scrapes has ``scrape_native_histograms: true``; without it, counts and sums are all that it keeps."""

    strict: bool = False
    """Raise :class:`~otel_metrics.errors.InvalidArgumentError` on bad input instead of counting and logging it (``OTM_STRICT``)."""

    satisfaction_threshold: float = 0.7
    """Scores at or above this, on the 0 to 1 scale, count as satisfied (``OTM_SATISFACTION_THRESHOLD``)."""

    satisfaction_scales: Mapping[str, Scale] = field(default_factory=dict)
    """The scale that a satisfaction type is recorded on, as a score of 1 is ambiguous: ``{"overall": "1-5"}``
    (``OTM_SATISFACTION_SCALES=overall=1-5,answers=0-1``)."""

    label_caps: Mapping[str, int] = field(default_factory=dict)
    """Distinct values kept per label name, instead of the catalogue's caps: ``{"action": 50}`` (``OTM_LABEL_CAPS``, as
    ``action=50,feature=20``)."""

    series_limit: int = 10_000
    """Series kept per metric; beyond it new label combinations collapse to ``other`` (``OTM_SERIES_LIMIT``)."""

    clock: Callable[[], float] = time.time
    """Unix time in seconds; tests inject their own."""

    timer: Callable[[], float] = time.perf_counter
    """Seconds since any moment, for durations: it never goes back. Tests inject their own."""

    def __post_init__(self) -> None:
        """Check every value, and those that go together."""
        for name, (fits, allowed) in ALLOWED.items():
            require(fits(getattr(self, name)), name, getattr(self, name), allowed)
        if self.prometheus_url is not None and (wrong := wrong_address(self.prometheus_url)):
            raise ConfigurationError(f"prometheus_url={wrong}")
        require(
            (self.prometheus_username is None) == (self.prometheus_password_file is None),
            "prometheus_username",
            self.prometheus_username,
            "a user name together with prometheus_password_file",
        )
        require(
            self.prometheus_token_file is None or self.prometheus_username is None,
            "prometheus_token_file",
            self.prometheus_token_file,
            "a token or a user name, not both",
        )
        require(
            self.otlp is None or self.meter_provider is None,
            "otlp",
            self.otlp,
            "None with a meter_provider of your own: give that one an otel_metrics.exporter.otlp_reader()",
        )
        for label, value in self.prometheus_matchers.items():
            require(
                is_text(label) and _LABEL_NAME.fullmatch(label) is not None,
                "prometheus_matchers",
                label,
                "label names of letters, digits and underscores",
            )
            require(isinstance(value, str), f"prometheus_matchers[{label!r}]", value, "a string")
        require(
            self.otlp_per != "host" or (self.multiprocess_directory is not None and self.otlp != "delta"),
            "otlp_per",
            self.otlp_per,
            "process, or host with a multiprocess_directory and cumulative totals",
        )
        require(
            self.multiprocess_directory is None or self.meter_provider is None,
            "multiprocess_directory",
            self.multiprocess_directory,
            "None with a meter_provider of your own, whose readers know this process only",
        )
        for kind, scale in self.satisfaction_scales.items():
            require(is_text(kind), "satisfaction_scales", kind, "satisfaction types as keys, which are strings")
            require(scale in SCALES, f"satisfaction_scales[{kind!r}]", scale, " or ".join(SCALES))
        for name, cap in self.label_caps.items():
            require(name in _LABEL_NAMES, "label_caps", name, ", ".join(sorted(_LABEL_NAMES)))
            require(within(cap, Integral, 1), f"label_caps[{name!r}]", cap, "an integer of at least 1")

    @property
    def pushes_for_all(self) -> bool:
        """Whether one process pushes for all that share a directory."""
        shared = self.otlp == "cumulative" and self.multiprocess_directory is not None
        return shared and self.otlp_per != "process"

    @property
    def keeps_values(self) -> bool:
        """Whether this process keeps what it records for its own getters."""
        return self.prometheus_url is None or self.prometheus_unavailable == "local"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Unpack[SettingsFields]) -> Settings:
        """Return the settings that ``environ`` (default: the process's) and its file describe, with ``overrides`` on top.

        The file is the one that ``OTM_CONFIG`` names, else the nearest ``pyproject.toml``; a variable wins over it.
        """
        known = [setting.name for setting in fields(cls)]
        for name in overrides.keys() - known:
            raise ConfigurationError(_unknown(name, known))
        return cls(**{name: value for name, (value, _) in found(environ, overrides).items()}, **overrides)


class SettingsFields(TypedDict, total=False):
    """The fields of :class:`Settings` as keywords, for type checkers; a test compares both."""

    meter_provider: MeterProvider | None
    events: EventsTo | None
    events_level: LogLevel
    logger_provider: LoggerProvider | None
    prometheus_url: str | None
    prometheus_matchers: Mapping[str, str]
    prometheus_timeout: float
    prometheus_unavailable: WhenUnavailable
    prometheus_username: str | None
    prometheus_password_file: str | None
    prometheus_token_file: str | None
    prometheus_ca_file: str | None
    otlp: Temporality | None
    otlp_per: OtlpPer | None
    multiprocess_directory: str | os.PathLike[str] | None
    host: str
    port: int
    native_only: bool
    strict: bool
    satisfaction_threshold: float
    satisfaction_scales: Mapping[str, Scale]
    label_caps: Mapping[str, int]
    series_limit: int
    clock: Callable[[], float]
    timer: Callable[[], float]


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError(text)
    return lowered in _TRUE


def _pairs(text: str) -> dict[str, str]:
    """Return ``a=b,c=d`` as a mapping."""
    pairs = [pair.strip().rpartition("=") for pair in text.split(",") if pair.strip()]
    if not all(name for name, _, _ in pairs):
        raise ValueError(text)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _scales(text: str) -> dict[str, str]:
    scales = _pairs(text)
    if not set(scales.values()) <= set(SCALES):
        raise ValueError(text)
    return scales


def _caps(text: str) -> dict[str, int]:
    return {name: int(cap) for name, cap in _pairs(text).items()}


ENVIRONMENT: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "prometheus_url": ("OTM_PROMETHEUS_URL", str),
    "prometheus_matchers": ("OTM_PROMETHEUS_MATCHERS", _pairs),
    "prometheus_timeout": ("OTM_PROMETHEUS_TIMEOUT", float),
    "prometheus_unavailable": ("OTM_PROMETHEUS_UNAVAILABLE", str),
    "prometheus_username": ("OTM_PROMETHEUS_USERNAME", str),
    "prometheus_password_file": ("OTM_PROMETHEUS_PASSWORD_FILE", str),
    "prometheus_token_file": ("OTM_PROMETHEUS_TOKEN_FILE", str),
    "prometheus_ca_file": ("OTM_PROMETHEUS_CA_FILE", str),
    "otlp": ("OTM_OTLP", str),
    "otlp_per": ("OTM_OTLP_PER", str),
    "events": ("OTM_EVENTS", str),
    "events_level": ("OTM_EVENTS_LEVEL", str),
    "multiprocess_directory": ("OTM_MULTIPROCESS_DIR", str),
    "host": ("OTEL_EXPORTER_PROMETHEUS_HOST", str),
    "port": ("OTEL_EXPORTER_PROMETHEUS_PORT", int),
    "native_only": ("OTM_NATIVE_ONLY", _boolean),
    "strict": ("OTM_STRICT", _boolean),
    "satisfaction_threshold": ("OTM_SATISFACTION_THRESHOLD", float),
    "satisfaction_scales": ("OTM_SATISFACTION_SCALES", _scales),
    "label_caps": ("OTM_LABEL_CAPS", _caps),
    "series_limit": ("OTM_SERIES_LIMIT", int),
}
"""Field -> its variable, and what makes a value of the text. The others are objects, which only an argument can give."""


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _has(method: str) -> Callable[[object], bool]:
    return lambda value: value is None or callable(getattr(value, method, None))


ALLOWED: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "meter_provider": (_has("get_meter"), "an OpenTelemetry MeterProvider, or None"),
    "events": (lambda value: value is None or value in _EVENTS_TO, f"{', '.join(_EVENTS_TO)}, or None"),
    "events_level": (lambda value: value in _LOG_LEVELS, ", ".join(_LOG_LEVELS)),
    "logger_provider": (_has("get_logger"), "an OpenTelemetry LoggerProvider, or None"),
    "prometheus_url": (_is_text_or_none, "an http:// or https:// address, or None"),
    "prometheus_matchers": (_is_mapping, "a mapping of label names to values"),
    "prometheus_timeout": (
        lambda value: within(value, Real, 0.001, _LONGEST_TIMEOUT),
        f"seconds from 0.001 to {_LONGEST_TIMEOUT}",
    ),
    "prometheus_unavailable": (lambda value: value in WHEN_UNAVAILABLE, " or ".join(WHEN_UNAVAILABLE)),
    "prometheus_username": (_is_text_or_none, "a string, or None"),
    "prometheus_password_file": (is_path_or_none, "a path, or None"),
    "prometheus_token_file": (is_path_or_none, "a path, or None"),
    "prometheus_ca_file": (is_path_or_none, "a path, or None"),
    "otlp": (lambda value: value is None or value in TEMPORALITIES, f"{' or '.join(TEMPORALITIES)}, or None"),
    "otlp_per": (lambda value: value is None or value in _OTLP_PER, f"{' or '.join(_OTLP_PER)}, or None"),
    "multiprocess_directory": (is_path_or_none, "a path, or None"),
    "host": (is_text, "a string"),
    "port": (lambda value: within(value, Integral, 0, 65535), "an integer from 0 to 65535"),
    "native_only": (lambda value: isinstance(value, bool), "True or False"),
    "strict": (lambda value: isinstance(value, bool), "True or False"),
    "satisfaction_threshold": (lambda value: within(value, Real, 0, 1), "0.0 to 1.0"),
    "satisfaction_scales": (_is_mapping, f"a mapping of satisfaction types to {' or '.join(SCALES)}"),
    "label_caps": (_is_mapping, "a mapping of label names to integers"),
    "series_limit": (lambda value: within(value, Integral, 1), "an integer of at least 1"),
    "clock": (callable, "a function that returns unix time in seconds"),
    "timer": (callable, "a function that returns seconds since any moment"),
}
"""Field -> what a value of it has to be by itself, and how that is called."""


_SPELLED: Final[dict[Callable[[str], Any], str]] = {
    _boolean: "true or false",
    _pairs: "NAME=VALUE, several with commas between them",
    _scales: f"TYPE=SCALE, several with commas between them; scales: {', '.join(SCALES)}",
    _caps: "LABEL=NUMBER, several with commas between them",
}
"""What makes a value of a variable's text -> how that has to be spelled, where it is not as in the code."""

FILE: Final = "OTM_CONFIG"
"""Names the file with settings. Empty or absent: the nearest ``pyproject.toml``."""

_PROJECT: Final = "pyproject.toml"
_TABLE: Final = "otel-metrics"
_PATHS: Final = frozenset(name for name, (fits, _) in ALLOWED.items() if fits is is_path_or_none)
_OURS: Final = "OTM_"


class Found(NamedTuple):
    """A value that is given outside of the code, and where: a variable's name, or a file's path."""

    value: Any
    origin: str


def found(environ: Mapping[str, str] | None = None, without: Container[str] = ()) -> dict[str, Found]:
    """Return what ``environ`` (default: the process's) and its file say, but for the fields ``without``.

    Reads the file. A variable wins over it.

    Raises:
        ConfigurationError: a value that cannot be, an unknown setting in the file, or a named file that cannot be read.
    """
    environ = os.environ if environ is None else environ
    values = {name: given for name, given in _in_file(environ).items() if name not in without}
    for name, (variable, convert) in ENVIRONMENT.items():
        text = environ.get(variable, "")
        if text and name not in without:
            if name == "prometheus_url" and (wrong := wrong_address(text)):  # here, where its variable is known
                raise ConfigurationError(f"{variable}={wrong}")
            fits, allowed = ALLOWED[name]
            with suppress(ValueError):
                value = convert(text)
                if fits(value):
                    values[name] = Found(value, variable)
                    continue
            spelled = _SPELLED.get(convert, allowed.removesuffix(_OR_NONE))
            raise ConfigurationError(f"{variable}={_shown(text)} is not allowed; allowed: {spelled}")
    known = {FILE, *(variable for variable, _ in ENVIRONMENT.values())}
    for variable in environ.keys() - known:
        # A warning, and only if it is like one of ours: others use the prefix, too.
        if variable.startswith(_OURS) and (hint := did_you_mean(variable, known)):
            say(logging.WARNING, "the variable %s is no setting%s", variable, hint)
    return values


def _in_file(environ: Mapping[str, str]) -> dict[str, Found]:
    named = environ.get(FILE, "")
    file = Path(named) if named else _nearest_project()
    if file is None:
        return {}
    try:
        content = _toml(file)
    except (OSError, ValueError) as error:
        if named:
            raise ConfigurationError(f"{FILE}={named!r}: {error}") from error
        say(logging.WARNING, "%s cannot be read, so no settings are taken from it: %s", file, error)
        return {}
    table: Any = content
    for name in ("tool", _TABLE) if file.name == _PROJECT else ():
        for other in table.keys() - {name}:
            if hint := did_you_mean(other, [name]):
                say(logging.WARNING, "%s: the table %r is not read%s", file, other, hint)
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise ConfigurationError(f"{file}: {name}={_shown(table)} is not allowed; allowed: a table")
    values = {}
    for name, value in table.items():
        if name not in ENVIRONMENT:
            raise ConfigurationError(f"{file}: {_unknown(name, ENVIRONMENT)}")
        fits, allowed = ALLOWED[name]
        if not fits(value):
            spelled = allowed.removesuffix(_OR_NONE)
            raise ConfigurationError(f"{file}: {name}={_shown(value)} is not allowed; allowed: {spelled}")
        values[name] = Found(str(file.parent / value) if name in _PATHS else value, str(file))
    return values


def _nearest_project() -> Path | None:
    """Return the first ``pyproject.toml`` from the working directory upwards, unless anybody could have put it there."""
    with suppress(OSError):  # the working directory has been deleted, or this user may not look into it
        here = Path.cwd()
        for folder in (here, *here.parents):
            file = folder / _PROJECT
            if file.is_file():
                if not folder.stat().st_mode & stat.S_IWOTH:
                    return file
                say(logging.WARNING, "%s is not read, as anybody may write to its folder; %s can name it", file, FILE)
                break
    return None


def _toml(file: Path) -> dict[str, Any]:
    # Loaded when there is a file. Python has it since 3.11.
    parser: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    content: dict[str, Any] = parser.loads(file.read_text(encoding="utf-8"))
    return content


def _unknown(name: str, known: Iterable[str]) -> str:
    if name in ALLOWED:
        return f"{name} is an object, which only an argument of configure() can give"
    return f"unknown setting {name!r}{did_you_mean(name, known) or '; allowed: ' + ', '.join(sorted(known))}"


def wrong_address(url: str, allowed: str = _SERVER) -> str:
    """Return what is wrong with an address to which a path can be added; empty: nothing.

    Who asks, a password, or a token in a query, is not shown, also where the address is mistyped.
    """
    try:
        parts = urlsplit(url)
        fits = (
            parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        )
    except ValueError:  # brackets, or a port, that are none
        fits = False
    if fits and url.isprintable() and not set(url) & set(" ?#{}"):
        return ""
    shown = re.sub(r"(?s)^(https?://)?.*@", r"\1...@", url)
    shown = re.sub(r"(?s)[?#].*", "?...", shown)
    return f"{_shown(shown)} is not allowed; allowed: {allowed}"
