"""Clients that mean harm, or behave as if they did: whoever scrapes is still served."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from typing import TYPE_CHECKING

from otel_metrics.exporter import ServerLimits
from tests.exporter.clients import closed, get
from tests.servers import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from otel_metrics.exporter import PrometheusReader, ServerHandle

QUICK = ServerLimits(connections=8, request_timeout=0.5, response_timeout=1.0)


def reset(handle: ServerHandle) -> None:
    """Send a few bytes and break the connection off, without a farewell."""
    with contextlib.suppress(OSError), socket.create_connection((handle.host, handle.port), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_clients_that_break_tls_off_take_nothing_with_them(reader: PrometheusReader, pki: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    files = {"certfile": str(pki / "server.pem"), "keyfile": str(pki / "server.key")}
    with reader.serve(port=0, limits=QUICK, **files) as handle:  # type: ignore[arg-type]
        for _ in range(300):
            reset(handle)
        assert b"calls_total 5" in get(handle.url, trusting)
        wait_until(lambda: not handle._open, what="the connections to be forgotten")
        assert all(handle._slots.acquire(blocking=False) for _ in range(QUICK.connections))


def test_a_connection_that_no_thread_can_be_had_for_is_closed_and_the_next_one_served(
    reader: PrometheusReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reader.serve(port=0, limits=QUICK) as handle:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            for _ in range(2 * QUICK.connections):
                with socket.create_connection((handle.host, handle.port), timeout=10) as connection:
                    assert closed(connection, wait=10)
        assert b"calls_total 5" in get(handle.url)


def refuse(_: threading.Thread) -> None:
    raise MemoryError("no more threads")
