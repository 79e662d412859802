"""The server from outside: over real sockets, with friendly and with hostile clients."""

from __future__ import annotations

import base64
import contextlib
import http.client
import math
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry

from otel_metrics.exporter import PrometheusReader, ServerLimits, hash_password
from tests.exporter.clients import basic, closed, exchange, get, status
from tests.processes import DEADLINE
from tests.servers import scraping, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_metrics.exporter import ServerHandle
    from tests.servers import Servers

QUICK = ServerLimits(request_timeout=0.5)
"""For requests that never come. On a busy machine others are cut off, too, and ask again."""


def answering(reader: PrometheusReader, scrape: Any) -> None:
    """Have the reader answer with something else than metrics."""
    reader._exposition.scrape = scrape  # type: ignore[method-assign]


def test_it_serves_on_loopback_and_says_where(reader: PrometheusReader) -> None:
    with reader.serve(port=0) as handle:
        assert handle.url == f"http://localhost:{handle.port}/metrics"
        assert b"calls_total 5\n" in get(handle.url)
        assert get(handle.url.replace("/metrics", "/-/healthy")) == b"healthy\n"
        assert b'href="./metrics"' in get(handle.url.replace("/metrics", "/"))
        assert status(handle.url + "x") == 404
        assert reader.serve(port=handle.port) is handle
        with pytest.raises(OSError, match="other options"):
            reader.serve(port=handle.port, metrics_path="/other")
    with pytest.raises(OSError):  # noqa: PT011 (whatever the system says)
        get(handle.url)
    handle.close()


def test_ipv6_and_names(reader: PrometheusReader) -> None:
    with reader.serve(host="::1", port=0) as handle:
        assert handle.url == f"http://[::1]:{handle.port}/metrics"
        assert b"calls_total 5" in get(handle.url)
    with reader.serve(host="localhost", port=0) as handle:
        assert b"calls_total 5" in get(handle.url)
    with reader.serve(host="0.0.0.0", port=0) as handle:
        assert b"calls_total 5" in get(handle.url)


def test_shutdown_of_the_provider_closes_the_server() -> None:
    reader = PrometheusReader(registry=CollectorRegistry(), scope_info_enabled=False)
    provider = MeterProvider(metric_readers=[reader])
    handle = reader.serve(port=0)
    get(handle.url)
    provider.shutdown()
    with pytest.raises(OSError):  # noqa: PT011
        get(handle.url)


def test_a_large_exposition_is_streamed(reader: PrometheusReader) -> None:
    answering(reader, lambda _: iter([b"x" * 100_000 + b"\n"] * 100))
    with reader.serve(port=0) as handle:
        connection = http.client.HTTPConnection(handle.host, handle.port, timeout=DEADLINE)
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.getheader("Transfer-Encoding") == "chunked"
        assert len(response.read()) == 100 * 100_001
        # Old clients know no chunks.
        old = exchange(handle, b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b"chunked" not in old
        assert len(old.partition(b"\r\n\r\n")[2]) == 100 * 100_001


def test_an_exposition_that_breaks_off_is_not_taken_for_a_complete_one(reader: PrometheusReader) -> None:
    def broken() -> Iterator[bytes]:
        yield from [b"x" * 100_000 + b"\n"] * 50
        raise RuntimeError("boom")

    answering(reader, lambda _: broken())
    with reader.serve(port=0) as handle, pytest.raises((http.client.IncompleteRead, ConnectionError)):
        get(handle.url)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"405"),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"405"),
        (b"BREW /metrics HTTP/1.1\r\n\r\n", b"501"),
        (b"GET\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /a b HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /metrics HTTP/9.9\r\n\r\n", b"HTTP/1.1 505"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.1 505"),
        (b"GET /metrics\r\n\r\n", b"HTTP/1.1 200"),
        (b"GET /metrics HTTP/0.9\r\n\r\n", b"HTTP/1.1 200"),
        (b"BREW /metrics HTTP/0.9\r\n\r\n", b"HTTP/1.1 501"),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"421"),
        (b"GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", b"421"),
        (b"GET /metrics?name%5B%5D=x HTTP/1.1\r\n\r\n", b"200"),
        (b"GET http://other/metrics HTTP/1.1\r\n\r\n", b"200"),
        (b"GET HTTPS://other:80/metrics?x=/y HTTP/1.1\r\n\r\n", b"200"),
        (b"GET http://other/nothing/metrics HTTP/1.1\r\n\r\n", b"404"),
        (b"GET http://other HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /%2e%2e/metrics HTTP/1.1\r\n\r\n", b"404"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /metrics HTTP/1.1\r\nA: " + b"b" * 40_000 + b"\r\nB: c\r\n\r\n", b"431"),
        (b"GET /metrics HTTP/1.1\r\n" + (b"A: " + b"b" * 1_000 + b"\r\n") * 40 + b"\r\n", b"431"),
        (b"GET /metrics HTTP/1.1\r\nA: " + b"b" * 30_000 + b"\r\nB: c\r\n\r\n", b"200"),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"\0" * 1000 + b"\r\n\r\n", b"400"),
        (b"", b""),
    ],
)
def test_any_bytes_get_an_answer_or_are_dropped(reader: PrometheusReader, request_: bytes, answer: bytes) -> None:
    with reader.serve(port=0, limits=ServerLimits() if request_ else QUICK) as handle:
        first_line = exchange(handle, request_).partition(b"\r\n")[0]
        assert answer in first_line
        wait_until(lambda: b"calls_total 5\n" in get(handle.url))


def test_head_has_no_body(reader: PrometheusReader) -> None:
    with reader.serve(port=0) as handle:
        for path in (b"/metrics", b"/", b"/-/healthy", b"/nothing"):
            assert exchange(handle, b"HEAD " + path + b" HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "limit",
    [{"connections": 0}, {"request_timeout": 0}, {"request_timeout": math.nan}, {"response_timeout": math.inf}],
    ids=str,
)
def test_limits_that_nobody_would_be_answered_with_are_an_error(limit: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="|".join(limit)):
        ServerLimits(**limit)


def test_slow_clients_are_cut_off(reader: PrometheusReader) -> None:
    with reader.serve(port=0, limits=QUICK) as handle:
        with socket.create_connection((handle.host, handle.port), timeout=DEADLINE) as slow:
            # A byte now and then does not buy more time.
            with contextlib.suppress(OSError):
                for byte in b"GET /metrics HTTP/1.1\r\nHost: x\r\n" * 100:
                    slow.sendall(bytes((byte,)))
                    if closed(slow):
                        break
            assert closed(slow, wait=DEADLINE)
        # Others are served.
        wait_until(lambda: b"calls_total 5" in get(handle.url))


def too_much() -> Iterator[bytes]:
    """More than a connection takes if its client does not read."""
    return iter([b"x" * 100_000] * 1000)


def test_a_scrape_that_its_client_does_not_read_gives_way(
    reader: PrometheusReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_metrics.exporter.endpoint._PATIENCE", 3600.0)
    monkeypatch.setattr("otel_metrics.exporter.server.STALL_TIMEOUT", 3600.0)
    first = too_much()
    bodies = [first, iter([b"calls_total 5"])]
    answering(reader, lambda _: bodies.pop(0))
    with (
        reader.serve(port=0, limits=ServerLimits(response_timeout=3600.0), max_scrapes=1) as handle,
        socket.create_connection((handle.host, handle.port), timeout=DEADLINE) as stuck,
    ):
        stuck.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        wait_until(lambda: len(bodies) == 1, what="the scrape to begin")
        assert get(handle.url) == b"calls_total 5"
        assert next(first, None), "what was not sent was made"


@pytest.mark.parametrize(
    ("response", "stall"), [(1.0, 3600.0), (3600.0, 1.0)], ids=["the whole response", "none of it is taken"]
)
def test_clients_that_do_not_read_are_cut_off(
    reader: PrometheusReader, monkeypatch: pytest.MonkeyPatch, response: float, stall: float
) -> None:
    monkeypatch.setattr("otel_metrics.exporter.server.STALL_TIMEOUT", stall)
    sent = too_much()
    answering(reader, lambda _: sent)
    with (
        reader.serve(port=0, limits=ServerLimits(response_timeout=response)) as handle,
        socket.create_connection((handle.host, handle.port), timeout=DEADLINE) as stuck,
    ):
        stuck.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert stuck.recv(1) == b"H"
        wait_until(lambda: handle._threads == 0, what="the end of its thread")
        assert next(sent, None), "it got everything"


def test_more_connections_than_allowed_are_dropped_and_the_application_goes_on(reader: PrometheusReader) -> None:
    def is_open(connection: socket.socket) -> bool:
        try:
            connection.setblocking(False)
            return connection.recv(1) != b""
        except BlockingIOError:
            return True
        except ConnectionError:
            return False

    patient = ServerLimits(connections=8, request_timeout=3600)
    with reader.serve(port=0, limits=patient) as handle:
        before = threading.active_count()
        with contextlib.ExitStack() as stack:
            flood = []
            for _ in range(60):
                flood.append(socket.create_connection((handle.host, handle.port), timeout=DEADLINE))
                stack.callback(flood[-1].close)
            wait_until(lambda: sum(map(is_open, flood)) == patient.connections, what="52 that are dropped")
            assert threading.active_count() <= before + patient.connections
        wait_until(lambda: b"calls_total 5" in get(handle.url), what="an answer after the flood")


def test_connections_that_ask_for_nothing_give_way_to_a_scraper_at_once(reader: PrometheusReader) -> None:
    patient = ServerLimits(connections=4, request_timeout=3600)
    with reader.serve(port=0, limits=patient) as handle, contextlib.ExitStack() as stack:
        for _ in range(patient.connections):
            stack.callback(socket.create_connection((handle.host, handle.port), timeout=DEADLINE).close)
        assert b"calls_total 5" in get(handle.url)


def test_a_flood_of_clients_that_take_whole_scrapes_does_not_keep_the_first_one_out(reader: PrometheusReader) -> None:
    limits = ServerLimits(connections=2)
    with reader.serve(port=0, limits=limits) as handle, contextlib.ExitStack() as stack:
        stuck: list[socket.socket] = []

        def open_places() -> int:
            return sum(each.name == "otel-metrics-scrape" for each in threading.enumerate())

        for client in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            assert b"calls_total 5" in raw_from(client, handle)
            wait_until(lambda: open_places() == len(stuck), what="the scrape to be over")
            if client != "127.0.0.1":
                stuck.append(socket.create_connection((handle.host, handle.port), DEADLINE, source_address=(client, 0)))
                stack.callback(stuck[-1].close)
                wait_until(lambda: open_places() == len(stuck), what="the connection")
        # Of the two that ask for nothing, the one that came last gives way. The scraper's own place is not taken from it.
        with socket.create_connection((handle.host, handle.port), timeout=DEADLINE) as scraper:
            assert closed(stuck[1], wait=DEADLINE)
            assert b"calls_total 5" in raw_from("127.0.0.2", handle)
            scraper.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert b"calls_total 5" in b"".join(iter(lambda: scraper.recv(1 << 16), b""))


def test_a_scraper_waits_for_the_thread_of_a_connection_that_gave_way_and_keeps_nobody_from_connecting(
    reader: PrometheusReader,
) -> None:
    request = b"GET /metrics HTTP/1.0\r\n\r\n"
    scraping, goes_on = threading.Event(), threading.Event()
    with reader.serve(port=0, limits=ServerLimits(connections=1)) as handle, contextlib.ExitStack() as stack:

        def connected(client: str) -> socket.socket:
            connection = socket.create_connection((handle.host, handle.port), DEADLINE, source_address=(client, 0))
            stack.callback(connection.close)
            return connection

        assert b"calls_total 5" in raw_from("127.0.0.1", handle)
        wait_until(lambda: handle._threads == 0, what="the scrape to be over")
        inner = reader._exposition.scrape

        def stuck(form: Any) -> Iterator[bytes]:
            scraping.set()
            goes_on.wait(120)
            return inner(form)

        answering(reader, stuck)
        stranger = connected("127.0.0.2")
        stranger.sendall(request)
        assert scraping.wait(120)
        scraper = connected("127.0.0.1")
        scraper.sendall(request)
        assert closed(stranger, wait=DEADLINE)
        assert closed(connected("127.0.0.3"), wait=DEADLINE), "a place, and the one who was there first has none"
        goes_on.set()
        assert b"calls_total 5" in b"".join(iter(lambda: scraper.recv(1 << 16), b""))


def raw_from(client: str, handle: ServerHandle) -> bytes:
    """Scrape from an address of a client's own (Linux only)."""
    with socket.create_connection((handle.host, handle.port), DEADLINE, source_address=(client, 0)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_close_cuts_tls_connections(reader: PrometheusReader, pki: Path) -> None:
    handle = reader.serve(port=0, certfile=str(pki / "server.pem"), keyfile=str(pki / "server.key"))
    trusting = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    with (
        socket.create_connection((handle.host, handle.port), timeout=DEADLINE) as plain,
        trusting.wrap_socket(plain, server_hostname="localhost") as idle,
    ):
        idle.sendall(b"GET /metrics")
        handle.close()
        assert closed(idle, wait=DEADLINE)


def test_close_cuts_open_connections(reader: PrometheusReader) -> None:
    handle = reader.serve(port=0)
    with socket.create_connection((handle.host, handle.port), timeout=DEADLINE) as idle:
        idle.sendall(b"GET /metrics")
        wait_until(lambda: any("otel-metrics-scrape" in t.name for t in threading.enumerate()), what="the connection")
        handle.close()
        assert closed(idle, wait=DEADLINE)
    wait_until(lambda: not any("otel-metrics" in t.name for t in threading.enumerate()), what="threads to end")


# --- TLS and passwords --------------------------------------------------------------------------------------------


def test_tls(reader: PrometheusReader, pki: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    files: Any = {"certfile": str(pki / "server.pem"), "keyfile": str(pki / "server.key")}
    with reader.serve(port=0, **files) as handle:
        assert handle.url.startswith("https://")
        assert b"calls_total 5" in get(handle.url, trusting)
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            get(handle.url)
        # Plain text is no way in.
        assert b"calls_total" not in exchange(handle, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"calls_total 5" in get(handle.url, trusting)
    # A handshake that never comes holds nothing.
    with reader.serve(port=0, limits=QUICK, **files) as handle:
        assert exchange(handle, b"") == b""


def test_mutual_tls(reader: PrometheusReader, pki: Path) -> None:
    files: Any = {
        "certfile": str(pki / "server.pem"),
        "keyfile": str(pki / "server.key"),
        "client_cafile": str(pki / "ca.pem"),
    }
    with reader.serve(port=0, **files) as handle:
        for name, admitted in (("client", True), ("stranger", False), (None, False)):
            context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
            if name:
                context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
            if admitted:
                assert b"calls_total 5" in get(handle.url, context)
            else:
                with pytest.raises(OSError):  # noqa: PT011 (reset, or the alert, whatever arrives first)
                    get(handle.url, context)


def test_half_a_tls_setting_is_an_error(reader: PrometheusReader, pki: Path) -> None:
    with pytest.raises(ValueError, match="certfile"):
        reader.serve(port=0, client_cafile=str(pki / "ca.pem"))
    with pytest.raises(OSError):  # noqa: PT011
        reader.serve(port=0, certfile="/nothing")


def served_certificate(handle: ServerHandle) -> str:
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((handle.host, handle.port), timeout=DEADLINE) as plain,
        anyone.wrap_socket(plain) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
    assert certificate is not None
    return ssl.DER_cert_to_PEM_cert(certificate)


def test_a_renewed_certificate_is_served_and_a_broken_one_is_not(
    reader: PrometheusReader, pki: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("pem", "key"):
        shutil.copy(pki / f"server.{kind}", tmp_path / f"now.{kind}")
    with reader.serve(port=0, certfile=str(tmp_path / "now.pem"), keyfile=str(tmp_path / "now.key")) as handle:
        assert served_certificate(handle) == (pki / "server.pem").read_text()
        for kind in ("pem", "key"):
            shutil.copy(pki / f"client.{kind}", tmp_path / f"now.{kind}")
        assert served_certificate(handle) == (pki / "client.pem").read_text()
        trusting = ssl.create_default_context(cafile=str(pki / "ca.pem"))
        assert b"otel_metrics_invalid_files 0" in get(handle.url, trusting)
        (tmp_path / "now.pem").write_text("no certificate")
        caplog.clear()
        assert served_certificate(handle) == (pki / "client.pem").read_text()
        assert b"otel_metrics_invalid_files 1" in get(handle.url, trusting)
        assert [record.levelname for record in caplog.records] == ["ERROR"]  # once
        assert "now.pem" in caplog.text


def test_an_encrypted_key_is_an_error_and_no_question(reader: PrometheusReader, pki: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    cipher = ("-aes256", "-passout", "pass:geheim")
    subprocess.run(["openssl", "ec", "-in", str(pki / "server.key"), "-out", str(locked), *cipher], check=True)
    with pytest.raises(ValueError, match="the private key is encrypted"):
        reader.serve(port=0, certfile=str(pki / "server.pem"), keyfile=str(locked))


def test_basic_authentication(reader: PrometheusReader, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"# who may scrape\nprometheus:{hash_password('s3cret:ü')}\n", encoding="utf-8")
    with reader.serve(port=0, users_file=users) as handle:
        health = handle.url.replace("/metrics", "/-/healthy")
        assert b"calls_total 5" in get(handle.url, Authorization=basic("prometheus", "s3cret:ü"))
        for wrong in (
            "",
            "Basic",
            "Basic !!!",
            "Bearer abc",
            basic("prometheus", "wrong"),
            basic("prometheus", ""),
            basic("nobody", "s3cret:ü"),
            "Basic " + base64.b64encode(b"nocolon").decode(),
            "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
            "Basic " + "A" * 10_000,
            "Basic ü",
        ):
            assert status(handle.url, Authorization=wrong) == 401
            assert status(handle.url.replace("/metrics", "/"), Authorization=wrong) == 401
            assert status(health, Authorization=wrong) == 200
        # A changed file counts at once.
        users.write_text(f"other:{hash_password('new')}\n", encoding="utf-8")
        assert status(handle.url, Authorization=basic("prometheus", "s3cret:ü")) == 401
        assert status(handle.url, Authorization=basic("other", "new")) == 200


def test_prometheus_scrapes_with_client_certificate_and_password(
    servers: Servers, reader: PrometheusReader, pki: Path, tmp_path: Path
) -> None:
    users = tmp_path / "users"
    users.write_text(f"prometheus:{hash_password('s3cret')}\n", encoding="utf-8")
    files: Any = {
        "certfile": str(pki / "server.pem"),
        "keyfile": str(pki / "server.key"),
        "client_cafile": str(pki / "ca.pem"),
    }
    with reader.serve(port=0, users_file=users, **files) as handle:
        tls = {"ca_file": pki / "ca.pem", "cert_file": pki / "client.pem", "key_file": pki / "client.key"}
        job = {
            "scheme": "https",
            "tls_config": {name: str(path) for name, path in tls.items()},
            "basic_auth": {"username": "prometheus", "password": "s3cret"},
        }
        prometheus = servers.prometheus(scraping([handle.url], interval="1s", more=job))
        prometheus.wait_until_scraped()
        assert prometheus.wait_for("calls_total")[0]["value"][1] == "5"


def test_a_forked_child_does_not_hold_the_port(reader: PrometheusReader) -> None:
    handle = reader.serve(port=0)
    pid = os.fork()
    if pid == 0:
        time.sleep(30)
        os._exit(0)
    try:
        handle.close()
        # The child lets go of it in its first moments.
        wait_until(lambda: reader.serve(port=handle.port), what="the port").close()
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
