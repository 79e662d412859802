"""``web.config.yml`` of the Prometheus exporters (github.com/prometheus/exporter-toolkit), for operators who have one already.

Understood are ``tls_server_config`` (files, client authentication, versions of TLS) and ``basic_auth_users``. What is not
understood is an error, not ignored. Needs the extra ``web-config``.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

import yaml

from otel_metrics.exporter.auth import Users
from otel_metrics.exporter.tls import TlsConfig, watched_tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_metrics.exporter.auth import Entry
    from otel_metrics.exporter.watched_files import WatchedFiles

_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_TLS_FIELDS: Final = ("cert_file", "key_file", "client_ca_file", "client_auth_type", "min_version", "max_version")


def read(path: Path) -> tuple[Users, WatchedFiles[ssl.SSLContext] | None]:
    """Return the users and the TLS settings of a file; both follow it, but whether TLS is spoken is settled here.

    Raises:
        OSError: a file cannot be read.
        ValueError: a field that is not understood, or a value that is not allowed.
    """

    def config() -> TlsConfig:
        found = tls_config(path)
        if found is None:
            raise ValueError("tls_server_config is missing now; only a restart turns TLS off")
        return found

    return Users(path, users), None if tls_config(path) is None else watched_tls(config, path)


def tls_config(path: Path) -> TlsConfig | None:
    """Return what the file says of TLS; None: nothing. Paths in it are relative to it.

    Raises:
        OSError: the file cannot be read.
        ValueError: a field that is not understood, or a value that is not allowed.
    """
    given = _section(_sections(path.read_text("utf-8")), "tls_server_config")
    if not given:
        return None
    _only(given, _TLS_FIELDS, "tls_server_config")
    files = {
        name: str(path.parent / _text(given, name))
        for name in ("cert_file", "key_file", "client_ca_file")
        if given.get(name)
    }
    for name in ("cert_file", "key_file"):
        if name not in files:
            raise ValueError(f"tls_server_config: {name} is missing")
    client_ca = files.get("client_ca_file")
    client_auth = _one_of(given, "client_auth_type", "NoClientCert", _CLIENT_AUTH)
    if (client_auth is ssl.CERT_NONE) != (client_ca is None):
        raise ValueError("tls_server_config: client_ca_file and a client_auth_type that verifies belong together")
    return TlsConfig(
        files["cert_file"],
        files["key_file"],
        client_ca,
        client_auth,
        _one_of(given, "min_version", "TLS12", _VERSIONS),
        _one_of(given, "max_version", "TLS13", _VERSIONS),
    )


def users(text: str) -> Iterator[Entry]:
    """Yield the users of a configuration, for `otel_metrics.exporter.auth.Users`.

    Raises:
        ValueError: a section that is not understood.
    """
    given = _section(_sections(text), "basic_auth_users")
    for name in given:
        yield f"basic_auth_users, user {name!r}", str(name), _text(given, name)


def _sections(text: str) -> dict[str, Any]:
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"not YAML: {str(error).splitlines()[0] if str(error) else 'too deep'}") from None
    config = {} if config is None else config
    if not isinstance(config, dict):
        raise ValueError("no web configuration: sections are expected")  # noqa: TRY004 (of a file, not of an argument)
    _only(config, ("tls_server_config", "http_server_config", "basic_auth_users"), "the web configuration")
    # HTTP/2 is not spoken here, which any client takes.
    _only(_section(config, "http_server_config"), ("http2",), "http_server_config")
    return config


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name)
    section = {} if section is None else section
    if not isinstance(section, dict):
        raise ValueError(f"{name} is not allowed to be of type {type(section).__name__}: fields are expected")  # noqa: TRY004
    return section


def _only(given: dict[str, Any], allowed: tuple[str, ...], where: str) -> None:
    for name in given:
        if name not in allowed:
            raise ValueError(f"{where}: {name!r} is not supported; allowed: {', '.join(allowed)}")


def _text(given: dict[str, Any], name: str) -> str:
    if not isinstance(given[name], str):
        raise ValueError(f"{name!r} is not allowed to be of type {type(given[name]).__name__}: text is expected")  # noqa: TRY004
    return str(given[name])


def _one_of(given: dict[str, Any], name: str, default: str, allowed: dict[str, Any]) -> Any:
    value = given.get(name) or default
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name}={value!r} is not supported; allowed: {', '.join(allowed)}")
    return allowed[value]
