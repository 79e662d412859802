"""What a scraper gets: format, escaping of names, compression, from its ``Accept`` and ``Accept-Encoding`` headers."""

from __future__ import annotations

import importlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, cast

from otel_metrics.exporter.names import ESCAPINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otel_metrics.exporter.names import Escaping

_MAX_HEADER: Final = 4096
"""Characters of a header that are looked at; scrapers send about 500."""

_PROTO: Final = "io.prometheus.client.MetricFamily"


@dataclass(frozen=True, slots=True)
class Format:
    """One exposition format, and its content type."""

    name: Literal["text", "openmetrics", "protobuf"]
    version: str
    escaping: Escaping = "underscores"

    @property
    def content_type(self) -> str:
        """Return the ``Content-Type`` header."""
        if self.name == "protobuf":
            kind = f"application/vnd.google.protobuf; proto={_PROTO}; encoding=delimited"
        elif self.name == "openmetrics":
            kind = f"application/openmetrics-text; version={self.version}; charset=utf-8"
        else:
            kind = f"text/plain; version={self.version}; charset=utf-8"
        # The formats before 1.0.0 know no escaping.
        return kind if self.version.startswith("0.") else f"{kind}; escaping={self.escaping}"


TEXT: Final = Format("text", "0.0.4")


def accepted(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the members of an ``Accept…`` header, best first: name and parameters; those with ``q=0`` are left out."""
    members = []
    for order, member in enumerate(header[:_MAX_HEADER].split(",")):
        name, *rest = member.split(";")
        parameters = {}
        for parameter in rest:
            key, _, value = parameter.partition("=")
            parameters[key.strip().lower()] = value.strip().strip('"')
        quality = _quality(parameters.pop("q", "1"))
        if name.strip() and quality > 0:
            members.append((-quality, order, name.strip().lower(), parameters))
    for _, _, name, parameters in sorted(members, key=lambda member: member[:2]):
        yield name, parameters


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


def choose_format(accept: str) -> Format:
    """Return the best format that both sides know; text 0.0.4 when nothing matches, as every Prometheus client does."""
    for name, parameters in accepted(accept):
        found = _match(name, parameters)
        if found is not None:
            return found
    return TEXT


def _match(name: str, parameters: Mapping[str, str]) -> Format | None:
    asked = parameters.get("escaping", "")
    escaping = asked if asked in ESCAPINGS else "underscores"
    version = parameters.get("version", "")
    if name == "application/vnd.google.protobuf":
        if parameters.get("proto") == _PROTO and parameters.get("encoding") == "delimited":
            return Format("protobuf", "", escaping)
    elif name == "application/openmetrics-text":
        if version in {"", "1.0.0"}:
            return Format("openmetrics", "1.0.0", escaping)
        if version == "0.0.1":
            return Format("openmetrics", version)
    elif name == "text/plain":
        if version == "1.0.0":
            return Format("text", version, escaping)
        if version in {"", "0.0.4"}:
            return TEXT
    elif name in {"*/*", "text/*"}:
        return TEXT
    return None


class Compressor(Protocol):
    """What zlib's and zstd's compression objects have in common."""

    def compress(self, data: bytes, /) -> bytes:
        """Take ``data``, return what has become of it so far."""

    def flush(self) -> bytes:
        """Return the rest."""


def choose_compression(accept_encoding: str) -> tuple[str, Callable[[], Compressor]] | None:
    """Return the name and a factory of the best compression that both sides know; None for none."""
    for name, _ in accepted(accept_encoding):
        if name in COMPRESSIONS:
            return name, COMPRESSIONS[name]
        if name == "identity":
            return None
    return None


def _compressions() -> dict[str, Callable[[], Compressor]]:
    # Level 1: text shrinks to a tenth already, and a scrape costs the application its processor.
    found: dict[str, Callable[[], Compressor]] = {"gzip": lambda: zlib.compressobj(1, zlib.DEFLATED, 31)}
    try:
        zstd: Any = importlib.import_module("compression.zstd")
    except ImportError:
        pass
    else:
        found["zstd"] = lambda: cast("Compressor", zstd.ZstdCompressor(level=1))
    return found


COMPRESSIONS: Final = _compressions()
"""What this Python can compress with: gzip, and zstd from 3.14 on.

Found out when this module is loaded: a child forked while another thread imports would wait for that import for ever.
"""
