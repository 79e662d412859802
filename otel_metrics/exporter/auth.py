"""Basic authentication from a file of ``user:hash`` lines.

Hashes are scrypt (RFC 7914) as ``$scrypt$ln=15,r=8,p=1$<salt>$<hash>``, salt and hash in base64 without padding, or, with the
extra ``web-config``, bcrypt as ``htpasswd -B`` makes them.
``python -m otel_metrics.exporter.auth USER >> users`` asks for a password and prints such a line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import importlib
import re
import secrets
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_metrics.exporter.watched_files import Contents, WatchedFiles

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping

_LOG_N: Final = 15
_R: Final = 8
_P: Final = 1
_MAX_COST: Final = 1 << 20
"""N times r times p: what one attempt may cost, in units of 128 bytes of memory (128 MiB)."""

_BCRYPT: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_BCRYPT_ROUNDS: Final = range(4, 16)
_BCRYPT_LENGTH: Final = 72
"""Bytes of a password that bcrypt looks at."""

_REMEMBERED: Final = 64
"""Correct credentials that need not be hashed again."""

_WAITING: Final = 16
_WAITING_EACH: Final = 2
"""Attempts that may wait for their hash, in all and of one client; the others are sent away at once."""

_TRIES: Final = 1024
"""Clients whose attempts are counted."""


@dataclass(frozen=True, slots=True)
class _Scrypt:
    log_n: int
    r: int
    p: int
    salt: bytes
    expected: bytes

    @property
    def cost(self) -> tuple[object, ...]:
        return "scrypt", self.log_n, self.r, self.p

    def check(self, password: str) -> bool:
        return hmac.compare_digest(_scrypt(password, self.salt, self.log_n, self.r, self.p), self.expected)


@dataclass(frozen=True, slots=True)
class _Bcrypt:
    rounds: int
    stored: bytes
    bcrypt: Any

    @property
    def cost(self) -> tuple[object, ...]:
        return "bcrypt", self.rounds

    def check(self, password: str) -> bool:
        try:
            right = self.bcrypt.checkpw(password.encode("utf-8", "surrogateescape")[:_BCRYPT_LENGTH], self.stored)
        except ValueError:  # a NUL character
            return False
        return bool(right)


def hash_password(password: str) -> str:
    """Return the hash of ``password``, with a new salt, as it stands in a file of users."""
    salt = secrets.token_bytes(16)
    return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_encode(salt)}${_encode(_scrypt(password, salt, _LOG_N, _R, _P))}"


def check_password(password: str, stored: str) -> bool:
    """Return whether ``password`` is the one that was hashed.

    Raises:
        ValueError: ``stored`` is no hash of a known form.
    """
    return parsed_hash(stored).check(password)


def parsed_hash(stored: str) -> _Scrypt | _Bcrypt:
    """Return a stored hash, ready to be checked.

    Raises:
        ValueError: it is of no known form, or costs more than an attempt may cost.
    """
    if not stored:
        raise ValueError("expected user:hash")
    if bcrypt := _BCRYPT.fullmatch(stored):
        return _bcrypt(int(bcrypt[1]), stored)
    try:
        empty, scheme, costs, salt, expected = stored.split("$")
        cost = dict(item.split("=") for item in costs.split(","))
        log_n, r, p = int(cost["ln"]), int(cost["r"]), int(cost["p"])
        if empty or scheme != "scrypt" or not (1 <= log_n < 32 and r >= 1 and p >= 1 and (r * p << log_n) <= _MAX_COST):
            raise ValueError
        return _Scrypt(log_n, r, p, _decode(salt), _decode(expected))
    except (ValueError, KeyError, binascii.Error):
        raise ValueError("not a password hash; make one with: python -m otel_metrics.exporter.auth USER") from None


def _bcrypt(rounds: int, stored: str) -> _Bcrypt:
    if rounds not in _BCRYPT_ROUNDS:
        raise ValueError(f"a bcrypt hash of cost {rounds}; allowed: {_BCRYPT_ROUNDS[0]} to {_BCRYPT_ROUNDS[-1]}")
    try:
        library = importlib.import_module("bcrypt")
    except ImportError:
        raise ValueError("bcrypt hashes need an extra: pip install 'otel-metrics-bridge[web-config]'") from None
    return _Bcrypt(rounds, stored.encode(), library)


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


Entry = tuple[str, str, str]
"""Where in a file it stands, a user, the hash of the password."""


class Users:
    """The users that a file lists. The file is read again when it changes: who is not in it any more is out."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        parse: Callable[[str], Iterable[Entry]] | None = None,
    ) -> None:
        """Read the file. With a ``parse`` of its own it may list nobody: then everybody is let in, until it lists somebody.

        Raises:
            OSError: it cannot be read.
            ValueError: a line is not ``user:hash``, or there is no user; the message says which line.
        """
        self._path = Path(path)
        self._parse = parse or _lines
        self._optional = parse is not None
        self._changed = threading.Condition()
        self._waiting: list[_Attempt] = []
        self._hashing = False
        self._tries: dict[str, int] = {}  # since the last right password
        self._key = secrets.token_bytes(32)
        self._known: set[bytes] = set()
        # A file that cannot be read lets nobody in: whoever was taken out of it must not stay.
        self.file: Final = WatchedFiles((self._path,), self._load, lambda _: {})
        self._optional = self._optional and not self.file.current()

    @property
    def required(self) -> bool:
        """Whether a password is asked for."""
        if self._optional and self.file.current():
            self._optional = False
        return not self._optional

    def admit(self, authorization: str, client: str = "") -> bool | None:
        """Return whether an ``Authorization`` header is that of one of the users; None while too many others are being tried.

        ``client`` is where it comes from: those who tried often, and were not right, wait until others have had their turn.
        """
        if not self.required:
            return True
        name, colon, password = _credentials(authorization).partition(":")
        if not colon:
            return False
        hashes = self.file.current()
        user = hashes.get(name)
        proof = hmac.digest(self._key, f"{name}:{user}:{password}".encode("utf-8", "surrogateescape"), "sha256")
        with self._changed:
            if user is not None and proof in self._known:
                return True
        with self._turn(client) as admitted:
            if not admitted:
                return None
            right = _check(hashes, user, password)
        if right:
            with self._changed:
                self._tries.pop(client, None)
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known.add(proof)
        return right

    @contextmanager
    def _turn(self, client: str) -> Iterator[bool]:
        """Wait until nobody else hashes; yields whether there was room to wait.

        One at a time: guessing costs memory and processor time only once, however many connections guess.
        """
        mine = _Attempt(client)
        with self._changed:
            tries = self._tries.pop(client, 0)
            if len(self._tries) >= _TRIES:
                del self._tries[next(iter(self._tries))]
            self._tries[client] = tries + 1
            if sum(other.client == client for other in self._waiting) < _WAITING_EACH:
                self._waiting.append(mine)
            if len(self._waiting) > _WAITING:
                # Of those who tried equally often, the one that waits longest: whoever comes for the first time gets in.
                self._waiting.remove(max(self._waiting, key=self._order))
                self._changed.notify_all()
            self._changed.wait_for(
                lambda: mine not in self._waiting or (not self._hashing and mine is min(self._waiting, key=self._order))
            )
            admitted = mine in self._waiting
            if admitted:
                self._waiting.remove(mine)
                self._hashing = True
        try:
            yield admitted
        finally:
            if admitted:
                with self._changed:
                    self._hashing = False
                    self._changed.notify_all()

    def _order(self, attempt: _Attempt) -> int:
        return self._tries.get(attempt.client, 0)

    def _load(self) -> Contents[Mapping[str, _Scrypt | _Bcrypt]]:
        hashes: dict[str, _Scrypt | _Bcrypt] = {}
        problems: list[str] = []
        for place, name, stored in self._parse(self._path.read_text("utf-8")):
            try:
                hashes[name] = parsed_hash(stored)
            except ValueError as error:
                problems.append(f"{self._path}, {place}: {error}")
        if not hashes and not problems and not self._optional:
            problems.append(f"{self._path} lists no user")
        return Contents(hashes, (self._path,), tuple(problems))


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    client: str


def _check(hashes: Mapping[str, _Scrypt | _Bcrypt], user: _Scrypt | _Bcrypt | None, password: str) -> bool:
    """Return whether the password is the user's.

    One hash of every cost that is there is computed, whoever asks: time tells neither whether a user exists nor how dear the hash is.
    """
    right = False
    for cost, other in {each.cost: each for each in hashes.values()}.items():
        own = user is not None and user.cost == cost
        right |= (user if user is not None and own else other).check(password) and own
    return right


def _lines(text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            name, _, stored = line.strip().partition(":")
            yield f"line {number}", name, stored


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
