"""Basic authentication from a file of ``user:hash`` lines.

Hashes are scrypt (RFC 7914) as ``$scrypt$ln=15,r=8,p=1$<salt>$<hash>``, salt and hash in base64 without padding.
``python -m otel_metrics.exporter.auth USER >> users`` asks for a password and prints such a line.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import secrets
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

_LOG_N: Final = 15
_R: Final = 8
_P: Final = 1
_MAX_COST: Final = 1 << 20
"""N times r times p: what one attempt may cost, in units of 128 bytes of memory (128 MiB)."""

_REMEMBERED: Final = 64
"""Correct credentials that need not be hashed again."""

_PENDING: Final = 4
_PENDING_EACH: Final = 2
"""Attempts that may wait for their hash, in all and of one client; the others are sent away at once."""


def hash_password(password: str) -> str:
    """Return the hash of ``password``, with a new salt, as it stands in a file of users."""
    salt = secrets.token_bytes(16)
    return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_encode(salt)}${_encode(_scrypt(password, salt, _LOG_N, _R, _P))}"


def check_password(password: str, stored: str) -> bool:
    """Return whether ``password`` is the one that was hashed.

    Raises:
        ValueError: ``stored`` is no hash of :func:`hash_password`'s form.
    """
    log_n, r, p, salt, expected = _parsed(stored)
    return hmac.compare_digest(_scrypt(password, salt, log_n, r, p), expected)


def _parsed(stored: str) -> tuple[int, int, int, bytes, bytes]:
    try:
        empty, scheme, costs, salt, expected = stored.split("$")
        cost = dict(item.split("=") for item in costs.split(","))
        log_n, r, p = int(cost["ln"]), int(cost["r"]), int(cost["p"])
        if empty or scheme != "scrypt" or not (1 <= log_n < 32 and r >= 1 and p >= 1 and (r * p << log_n) <= _MAX_COST):
            raise ValueError
        return log_n, r, p, _decode(salt), _decode(expected)
    except (ValueError, KeyError, binascii.Error):
        raise ValueError("not a password hash; make one with: python -m otel_metrics.exporter.auth USER") from None


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    memory = 128 * r * ((1 << log_n) + p + 2)
    return hashlib.scrypt(
        password.encode("utf-8", "surrogateescape"),
        salt=salt,
        n=1 << log_n,
        r=r,
        p=p,
        maxmem=memory + 1_000_000,
        dklen=32,
    )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _credentials(authorization: str) -> str:
    """Return ``user:password`` of a header; nothing if it is not of that kind."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(encoded) > 4096:
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:  # not base64, not UTF-8, not even ASCII
        return ""


class Users:
    """The users that a file lists. The file is read again when it changes."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the file.

        Raises:
            OSError: it cannot be read.
            ValueError: a line is not ``user:hash``, or there is no user; the message says which line.
        """
        self._path = Path(path)
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._pending: list[str] = []
        self._key = secrets.token_bytes(32)
        self._known: set[bytes] = set()
        self._stamp: tuple[int, int, int] | None = None
        self._hashes: dict[str, str] = {}
        # Unknown users cost as much time as known ones.
        self._nobody = hash_password(secrets.token_hex())
        self._refresh()

    def admit(self, authorization: str, client: str = "") -> bool | None:
        """Return whether an ``Authorization`` header is that of one of the users; None while too many others are being tried.

        ``client`` is where it comes from: guesses from one address leave room for attempts from another.
        """
        name, colon, password = _credentials(authorization).partition(":")
        if not colon:
            return False
        with self._lock:
            # Half-written or gone: what was known before stays in force.
            with contextlib.suppress(OSError, ValueError):
                self._refresh()
            stored = self._hashes.get(name)
            proof = hmac.digest(self._key, f"{name}:{stored}:{password}".encode(), "sha256")
            if stored is not None and proof in self._known:
                return True
        with self._place(client) as free:
            if not free:
                return None
            # One at a time: guessing costs memory and processor time only once, however many connections guess.
            with self._turn:
                right = check_password(password, self._nobody if stored is None else stored)
        if not right or stored is None:
            return False
        with self._lock:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known.add(proof)
        return True

    @contextmanager
    def _place(self, client: str) -> Iterator[bool]:
        """Hold a place among those that wait for their hash; yields whether there was one."""
        with self._lock:
            free = len(self._pending) < _PENDING and self._pending.count(client) < _PENDING_EACH
            if free:
                self._pending.append(client)
        try:
            yield free
        finally:
            if free:
                with self._lock:
                    self._pending.remove(client)

    def _refresh(self) -> None:
        status = self._path.stat()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return
        hashes = {}
        for number, line in enumerate(self._path.read_text("utf-8").splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                name, colon, stored = line.strip().partition(":")
                if not colon or not name:
                    raise ValueError(f"{self._path}, line {number}: expected user:hash")
                try:
                    _parsed(stored)
                except ValueError as error:
                    raise ValueError(f"{self._path}, line {number}: {error}") from None
                hashes[name] = stored
        if not hashes:
            raise ValueError(f"{self._path} lists no user")
        self._hashes, self._stamp = hashes, stamp
        self._known.clear()


def main() -> int:
    """Ask for a password, print a line for the file of users."""
    if len(sys.argv) != 2 or ":" in sys.argv[1]:
        print("usage: python -m otel_metrics.exporter.auth USER", file=sys.stderr)
        return 2
    import getpass

    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not password:
        print("an empty password is not allowed", file=sys.stderr)
        return 1
    print(f"{sys.argv[1]}:{hash_password(password)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
