"""The server's side of TLS: from files, which are read again when they change."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from otel_metrics.allowed import is_path_or_none, naming, require
from otel_metrics.exporter.watched_files import Contents, WatchedFiles

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Files, PEM, and who is let in.

    ``certfile`` holds the certificate chain, ``keyfile`` its private key, unless it is in ``certfile`` too. ``client_cafile``
    holds certificates of the authorities that clients are vouched for by (mutual TLS); ``client_auth`` tells whether one has to be.
    """

    certfile: str
    keyfile: str | None = None
    client_cafile: str | None = None
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3

    def __post_init__(self) -> None:
        """Reject what can be no file.

        Raises:
            ValueError: what is given is no path.
        """
        for name in ("certfile", "keyfile", "client_cafile"):
            require(is_path_or_none(getattr(self, name)), name, getattr(self, name), "a path, or None")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are there."""
        return tuple(Path(name) for name in (self.certfile, self.keyfile, self.client_cafile) if name is not None)

    def context(self) -> ssl.SSLContext:
        """Return the settings, with Python's secure defaults for the rest.

        Raises:
            OSError: a file cannot be read, or is not what it should be (`ssl.SSLError`).
            ValueError: the key is encrypted.
        """
        for name in ("certfile", "keyfile", "client_cafile"):
            file = getattr(self, name)
            if file is not None:
                with naming(f"{name}={str(file)!r}"):  # OpenSSL does not say which of them it could not open
                    Path(file).open("rb").close()
        with naming(f"client_cafile={str(self.client_cafile)!r}"):
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.client_cafile)
        context.verify_mode = self.client_auth
        context.minimum_version, context.maximum_version = self.min_version, self.max_version
        keyfile = self.keyfile or self.certfile
        with naming(f"certfile={str(self.certfile)!r} with the private key in {str(keyfile)!r}"):
            context.load_cert_chain(self.certfile, self.keyfile, password=_encrypted)
        return context


def _encrypted() -> str:
    """Take the place of OpenSSL's question on the terminal, which would hold the application."""
    raise ValueError("the private key is encrypted, which is not supported; decrypt it")


def watched_tls(config: Callable[[], TlsConfig], *more: Path) -> WatchedFiles[ssl.SSLContext]:
    """Return the settings that ``config`` describes; while they cannot be read, the last ones stay in force.

    ``more``: files that ``config`` reads.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not what it should be.
    """

    def load() -> Contents[ssl.SSLContext]:
        now = config()
        return Contents(now.context(), (*more, *now.files))

    return WatchedFiles((*more, *config().files), load)
