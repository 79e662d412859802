"""Who gets in: files of users that change, hashes of several kinds, and those who guess."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest

from otel_metrics.exporter import auth, hash_password
from otel_metrics.exporter.auth import Users, check_password
from tests.exporter.clients import basic, get, status
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_metrics.exporter import PrometheusReader

CHEAP = "$scrypt$ln=4,r=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$HoSHFUhAtqZ/IeQeAW49nmcVtkcn/fJi9BmYSVsNI5o"
"""The hash of ``s3cret``."""


def bcrypt_hash(password: str, rounds: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds)).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(f"prometheus:{CHEAP}\nbackup:{CHEAP}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "lists no user"),
        (b"# nobody\n", "lists no user"),
        (b"prometheus", "line 1: expected user:hash"),
        (b"\nprometheus:plaintext", "line 2: not a password hash"),
        (b"u:$scrypt$ln=40,r=8,p=1$AAAA$AAAA", "not a password hash"),
        (b"u:$scrypt$ln=15,r=99999,p=1$AAAA$AAAA", "not a password hash"),
        (b"u:$2y$31$" + b"a" * 53, "line 1: a bcrypt hash of cost 31"),
        (b"u:\xff", "utf-8"),
        (None, "No such file"),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_used_lets_nobody_in_and_is_said_and_shown(
    file: Path, content: bytes | None, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    users = Users(file)
    assert users.admit(basic("prometheus", "s3cret"))
    file.unlink() if content is None else file.write_bytes(content)
    for _ in range(3):
        assert users.admit(basic("prometheus", "s3cret")) is False
    assert [record.levelname for record in caplog.records] == ["ERROR"]  # once
    assert problem in caplog.text
    assert not users.file.valid
    with pytest.raises((OSError, ValueError), match=problem):
        Users(file)
    file.write_text(f"prometheus:{CHEAP}\n", encoding="utf-8")
    assert users.admit(basic("prometheus", "s3cret"))
    assert users.file.valid


def test_a_bad_line_takes_only_its_own_user_away(reader: PrometheusReader, file: Path) -> None:
    with reader.serve(port=0, users_file=file) as handle:
        assert b"\notel_metrics_invalid_files 0\n" in get(handle.url, Authorization=basic("prometheus", "s3cret"))
        file.write_text(f"prometheus {CHEAP}\nbackup:{CHEAP}\n", encoding="utf-8")
        assert status(handle.url, Authorization=basic("prometheus", "s3cret")) == 401
        assert b"\notel_metrics_invalid_files 1\n" in get(handle.url, Authorization=basic("backup", "s3cret"))


def test_without_files_nothing_is_said_of_them(reader: PrometheusReader) -> None:
    with reader.serve(port=0) as handle:
        assert b"invalid_files" not in get(handle.url)


def test_a_changed_password_replaces_the_one_that_was_known(file: Path) -> None:
    users = Users(file)
    assert users.admit(basic("prometheus", "s3cret"))
    file.write_text(f"prometheus:{hash_password('new')}\n", encoding="utf-8")
    assert users.admit(basic("prometheus", "s3cret")) is False
    assert users.admit(basic("prometheus", "new"))


def test_bcrypt_as_other_exporters_have_it(file: Path) -> None:
    long = "ü" * 40  # 80 bytes, of which bcrypt takes 72
    lines = {"a": bcrypt_hash("pa"), "y": bcrypt_hash("py").replace("$2b$", "$2y$"), "long": bcrypt_hash(long[:36])}
    file.write_text("".join(f"{name}:{stored}\n" for name, stored in lines.items()), encoding="utf-8")
    users = Users(file)
    for name, password, right in (
        ("a", "pa", True), ("a", "pb", False), ("a", "p\0", False), ("y", "py", True), ("long", long, True), ("b", "pa", False)
    ):  # fmt: skip
        assert users.admit(basic(name, password)) is right


def test_without_the_extra_bcrypt_is_an_error_that_names_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(f"a:{bcrypt_hash('pa')}\n", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(ValueError, match=r"line 1: .*otel-metrics-bridge\[web-config\]"):
        Users(file)


def test_whoever_is_asked_for_costs_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash of every cost in the file, for known and unknown users: what takes time is the same work."""
    dear = hash_password("s3cret").replace("ln=15", "ln=5")
    file.write_text(f"cheap:{CHEAP}\ndear:{dear}\nmore:{dear}\nother:{bcrypt_hash('pa')}\n", encoding="utf-8")
    users = Users(file)
    work: list[object] = []

    def counted(kind: Any) -> None:
        original = kind.check

        def check(self: Any, password: str) -> bool:
            work.append(self.cost)
            return bool(original(self, password))

        monkeypatch.setattr(kind, "check", check)

    counted(auth._Scrypt)
    counted(auth._Bcrypt)
    done = []
    for name in ("cheap", "dear", "more", "other", "nobody", ""):
        work.clear()
        assert users.admit(basic(name, "wrong"), "192.0.2.1") is False
        done.append(sorted(map(str, work)))
    assert done[0] == ["('bcrypt', 4)", "('scrypt', 4, 1, 1)", "('scrypt', 5, 8, 1)"]
    assert done == [done[0]] * 6


@pytest.fixture
def guessed(file: Path) -> Iterator[Users]:
    """Users, while each of 14 addresses tries passwords without a break."""
    users = Users(file)
    done = threading.Event()
    failures: list[str] = []

    def guess(address: str) -> None:
        while not done.is_set():
            if users.admit(basic("prometheus", "guess"), address) is False:
                failures.append(address)

    threads = [threading.Thread(target=guess, args=(f"192.0.2.{n}",)) for n in range(14)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(set(failures)) == 14, what="guesses from every address")
        yield users
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_guesses_from_many_addresses_do_not_keep_a_new_scraper_out(guessed: Users) -> None:
    assert guessed.admit(basic("prometheus", "s3cret"), "127.0.0.1") is True
    assert guessed.admit(basic("backup", "s3cret"), "127.0.0.2") is True


def test_addresses_that_have_not_had_a_turn_yet_do_not_keep_a_newcomer_out(file: Path) -> None:
    """Many at once, who ask again when they are sent away: the queue is full before a first guess was wrong."""
    users = Users(file)
    done = threading.Event()

    def guess(address: str) -> None:
        while not done.is_set():
            users.admit(basic("prometheus", "guess"), address)

    threads = [threading.Thread(target=guess, args=(f"192.0.2.{n}",)) for n in range(40)]
    with users._turn("somebody"):
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(users._tries.values()) > 400, what="guesses that are sent away")
        newcomer = threading.Thread(target=users.admit, args=(basic("prometheus", "s3cret"), "127.0.0.1"))
        newcomer.start()
        wait_until(lambda: "127.0.0.1" in [each.client for each in users._waiting], what="the newcomer")
        done.set()
    for thread in (*threads, newcomer):
        thread.join()
    assert users._known


def test_who_guessed_wrong_waits_for_those_who_did_not(file: Path) -> None:
    users = Users(file)
    for _ in range(3):
        users.admit(basic("prometheus", "guess"), "guesser")
    order: list[str] = []

    def attempt(client: str) -> None:
        users.admit(basic("prometheus", client), client)
        order.append(client)

    with users._turn("somebody"):
        threads = [threading.Thread(target=attempt, args=(client,)) for client in ("guesser", "newcomer")]
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_until(lambda number=number: len(users._waiting) == number, what="an attempt that waits")  # type: ignore[misc]
    for thread in threads:
        thread.join()
    assert order[0] == "newcomer"


def test_passwords_are_hashed_by_the_command() -> None:
    command = [sys.executable, "-m", "otel_metrics.exporter.auth"]
    made = subprocess.run([*command, "me"], input="geheim\n", capture_output=True, text=True, check=True)
    name, _, stored = made.stdout.strip().partition(":")
    assert name == "me"
    assert check_password("geheim", stored)
    assert not check_password("Geheim", stored)
    assert "geheim" not in made.stdout + made.stderr
    assert subprocess.run([*command], capture_output=True, check=False).returncode == 2
    assert subprocess.run([*command, "me"], input="\n", capture_output=True, text=True, check=False).returncode == 1


# ---------------------------------------------------------------- web.config.yml


@pytest.fixture
def web_config(tmp_path: Path, pki: Path) -> Path:
    for name in ("server.pem", "server.key", "ca.pem"):
        shutil.copy(pki / name, tmp_path)
    return tmp_path / "web.config.yml"


def test_the_web_configuration_of_other_exporters(reader: PrometheusReader, web_config: Path, pki: Path) -> None:
    tls = """
tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  min_version: TLS13
http_server_config: {http2: true}
"""
    web_config.write_text(f"{tls}basic_auth_users:\n  prometheus: {bcrypt_hash('s3cret')}\n", encoding="utf-8")
    anonymous = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    client = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    client.load_cert_chain(pki / "client.pem", pki / "client.key")
    with reader.serve(port=0, web_config_file=web_config) as handle:
        right = basic("prometheus", "s3cret")
        assert b"calls_total 5" in get(handle.url, client, Authorization=right)
        assert status(handle.url, client, Authorization=basic("prometheus", "wrong")) == 401
        assert status(handle.url, client) == 401
        with pytest.raises(OSError):  # noqa: PT011 (reset, or the alert, whatever arrives first)
            get(handle.url, anonymous, Authorization=right)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(OSError):  # noqa: PT011
            get(handle.url, client, Authorization=right)
        client.maximum_version = ssl.TLSVersion.TLSv1_3
        # It is read again: who is out is out, also of a file that says nothing any more.
        web_config.write_text(f"{tls}basic_auth_users:\n  other: {bcrypt_hash('new')}\n", encoding="utf-8")
        assert status(handle.url, client, Authorization=right) == 401
        assert status(handle.url, client, Authorization=basic("other", "new")) == 200
        web_config.write_text("", encoding="utf-8")
        assert status(handle.url, client, Authorization=basic("other", "new")) == 401


def test_users_that_are_added_to_a_web_configuration_without_any_count(
    reader: PrometheusReader, web_config: Path
) -> None:
    web_config.write_text("", encoding="utf-8")
    with reader.serve(port=0, web_config_file=web_config) as handle:
        assert status(handle.url) == 200
        assert status(handle.url, Host="evil.example") == 421
        web_config.write_text(f"basic_auth_users: {{a: {bcrypt_hash('pa')}}}\n", encoding="utf-8")
        assert status(handle.url) == 401
        assert status(handle.url, Authorization=basic("a", "pa")) == 200
        web_config.write_text("basic_auth_users: {}\n", encoding="utf-8")
        assert status(handle.url) == 401


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a", "sections are expected"),
        ("a: [", "not YAML"),
        ("tls_server_config: 5", "tls_server_config is not allowed to be of type int"),
        ("basic_auth_user: {}", "'basic_auth_user' is not supported"),
        ("basic_auth_users: {a: 5}", "'a' is not allowed to be of type int"),
        ("basic_auth_users: {a: plaintext}", "user 'a': not a password hash"),
        ("http_server_config: {headers: {}}", "'headers' is not supported"),
        ("tls_server_config: {cert_file: server.pem}", "key_file is missing"),
        (
            "tls_server_config: {cert_file: server.pem, key_file: server.key, cipher_suites: []}",
            "'cipher_suites' is not",
        ),
        ("tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem}", "belong together"),
        (
            "tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS10}",
            "'TLS10' is not supported",
        ),
        ("tls_server_config: {cert_file: none.pem, key_file: server.key}", "No such file"),
    ],
)
def test_what_is_not_understood_of_a_web_configuration_is_an_error(
    reader: PrometheusReader, web_config: Path, text: str, problem: str
) -> None:
    web_config.write_text(text, encoding="utf-8")
    with pytest.raises((ValueError, OSError), match=problem):
        reader.serve(port=0, web_config_file=web_config)


def test_a_web_configuration_stands_alone(reader: PrometheusReader, web_config: Path, file: Path) -> None:
    web_config.write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="web_config_file"):
        reader.serve(port=0, web_config_file=web_config, users_file=file)
