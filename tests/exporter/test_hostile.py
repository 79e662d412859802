"""Clients that mean harm, or behave as if they did: whoever scrapes is still served."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_metrics.exporter import ServerLimits, hash_password, server
from otel_metrics.exporter.auth import Users
from otel_metrics.exporter.endpoint import Endpoint
from tests.exporter.clients import basic, closed, get, status
from tests.processes import DEADLINE
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_metrics.exporter import PrometheusReader, ServerHandle

FEW = ServerLimits(connections=8)


def reset(handle: ServerHandle) -> None:
    """Send a few bytes and break the connection off, without a farewell."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection((handle.host, handle.port), timeout=DEADLINE) as connection,
    ):
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_clients_that_break_tls_off_take_nothing_with_them(reader: PrometheusReader, pki: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    files = {"certfile": str(pki / "server.pem"), "keyfile": str(pki / "server.key")}
    with reader.serve(port=0, limits=FEW, **files) as handle:  # type: ignore[arg-type]
        for _ in range(300):
            reset(handle)
        assert b"calls_total 5" in get(handle.url, trusting)
        wait_until(lambda: handle._threads == 0, what="the connections to be given back")


class Trickle:
    """A TLS connection whose client takes a record at a time, each just before the time-out, by a clock of its own."""

    now = 0.0
    timeout = 0.0

    def settimeout(self, timeout: float) -> None:
        self.timeout = timeout

    def send(self, data: memoryview) -> int:
        self.now += 0.9 * self.timeout
        return min(len(data), 1 << 14)

    def sendall(self, data: memoryview) -> None:
        while data := data[self.send(data) :]:  # as ssl.SSLSocket does it
            pass


def test_a_client_that_trickles_over_tls_has_one_deadline_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    trickle = Trickle()
    monkeypatch.setattr(server, "time", SimpleNamespace(monotonic=lambda: trickle.now))
    writer = server._ResponseStream(trickle, 60.0)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        writer.write(b"x" * 500_000)
    assert trickle.now <= 60.0


def test_a_connection_that_no_thread_can_be_had_for_is_closed_and_the_next_one_served(
    reader: PrometheusReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reader.serve(port=0, limits=FEW) as handle:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", reject)
            for _ in range(2 * FEW.connections):
                with socket.create_connection((handle.host, handle.port), timeout=DEADLINE) as connection:
                    assert closed(connection, wait=DEADLINE)
        assert b"calls_total 5" in get(handle.url)


def reject(_: threading.Thread) -> None:
    raise MemoryError("no more threads")


GUESS = """
import base64, http.client, itertools, sys, threading

def guess(thread):
    for attempt in itertools.count():
        password = base64.b64encode(f"prometheus:{thread}-{attempt}".encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), source_address=(sys.argv[2], 0))
        try:
            connection.request("GET", "/metrics", headers={"Authorization": f"Basic {password}"})
            connection.getresponse().read()
        except OSError:
            pass
        finally:
            connection.close()

for thread in range(40):
    threading.Thread(target=guess, args=(thread,)).start()
"""


@contextlib.contextmanager
def guessing(handle: ServerHandle, users: Users, address: str) -> Iterator[None]:
    """Try passwords over 40 connections, from a process of its own."""
    with subprocess.Popen([sys.executable, "-c", GUESS, str(handle.port), address]) as process:
        try:
            wait_until(lambda: len(users._waiting) == 2, what="guesses that wait")
            yield
        finally:
            process.kill()


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(f"prometheus:{hash_password('s3cret')}\nnew:{hash_password('s3cret')}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("address", "connections"),
    [
        pytest.param(
            "127.0.0.2", 32, id="own", marks=pytest.mark.skipif(sys.platform != "linux", reason="no such address")
        ),
        # There a guess may take the place of a request that is not read yet, so there is a place for everybody.
        pytest.param("127.0.0.1", 1000, id="same"),
    ],
)
def test_guesses_do_not_keep_a_known_scraper_out(
    reader: PrometheusReader, users_file: Path, monkeypatch: pytest.MonkeyPatch, address: str, connections: int
) -> None:
    monkeypatch.setattr(server, "_SILENCE", 3600.0)  # however long it takes on this machine to send a request
    right = basic("prometheus", "s3cret")
    with reader.serve(port=0, users_file=users_file, limits=ServerLimits(connections=connections)) as handle:
        assert status(handle.url, Authorization=right) == 200
        users: Any = handle._endpoint._users
        with guessing(handle, users, address):
            assert [status(handle.url, Authorization=right) for _ in range(20)] == [200] * 20


def test_guesses_from_one_address_do_not_keep_a_new_scraper_of_another_out(users_file: Path) -> None:
    users = Users(users_file)
    done = threading.Event()
    answers: list[bool | None] = []

    def guess() -> None:
        while not done.is_set():
            answers.append(users.admit(basic("prometheus", "guess"), "192.0.2.1"))

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: None in answers, what="guesses that are sent away")
        assert users.admit(basic("prometheus", "s3cret"), "192.0.2.2")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert True not in answers


def test_a_guess_that_waits_gives_its_connection_to_a_scraper(reader: PrometheusReader, users_file: Path) -> None:
    limits = ServerLimits(connections=2)
    with (
        reader.serve(port=0, users_file=users_file, limits=limits) as handle,
        socket.create_connection((handle.host, handle.port), timeout=DEADLINE) as first,
        socket.create_connection((handle.host, handle.port), timeout=DEADLINE) as second,
    ):
        users: Any = handle._endpoint._users
        with users._turn("192.0.2.1"):  # as if another guess were being tried
            for guess in (first, second):
                header = f"Authorization: {basic('prometheus', 'guess')}"
                guess.sendall(f"GET /metrics HTTP/1.1\r\n{header}\r\n\r\n".encode())
            wait_until(lambda: len(users._waiting) == 2, what="guesses that wait")
            with socket.create_connection((handle.host, handle.port), timeout=DEADLINE):
                assert closed(first, wait=DEADLINE)
        right = basic("prometheus", "s3cret")
        wait_until(lambda: status(handle.url, Authorization=right) == 200, what="a place for the scraper")


@pytest.fixture(scope="module")
def anyones(tmp_path_factory: pytest.TempPathFactory) -> Endpoint:
    path = tmp_path_factory.mktemp("users") / "users"
    path.write_text("prometheus:$scrypt$ln=1,r=1,p=1$AAAA$AAAA\n", encoding="utf-8")
    return Endpoint(lambda _: iter([b"a 1\n"]), users=Users(path))


@given(
    scheme=st.sampled_from(["Basic ", "basic ", "Bearer ", ""]),
    rest=st.text()
    | st.binary().map(lambda raw: raw.decode("latin-1"))
    | st.text(max_size=20).map(lambda text: base64.b64encode(text.encode("utf-8", "surrogatepass")).decode())
    | st.binary(max_size=20).map(lambda raw: base64.b64encode(raw).decode()),
)
def test_whatever_stands_for_a_password_is_rejected(anyones: Endpoint, scheme: str, rest: str) -> None:
    assert anyones.respond("GET", "/metrics", {"authorization": scheme + rest}).status == 401
