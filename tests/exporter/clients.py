"""Clients for the tests of the server: friendly ones, and one that sends any bytes."""

from __future__ import annotations

import base64
import contextlib
import socket
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from tests.processes import DEADLINE

if TYPE_CHECKING:
    import ssl

    from otel_metrics.exporter import ServerHandle


def get(url: str, context: ssl.SSLContext | None = None, **headers: str) -> bytes:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=DEADLINE, context=context) as response:
        body: bytes = response.read()
        return body


def status(url: str, context: ssl.SSLContext | None = None, **headers: str) -> int:
    try:
        get(url, context, **headers)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    return 200


def exchange(handle: ServerHandle, request: bytes, timeout: float = DEADLINE) -> bytes:
    """Send bytes, return what comes back until the server closes the connection."""
    with socket.create_connection((handle.host, handle.port), timeout=timeout) as connection:
        connection.sendall(request)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(1 << 16):
                received += chunk
        return received


def closed(connection: socket.socket, wait: float = 0.02) -> bool:
    """Whether the server closed the connection."""
    connection.settimeout(wait)
    try:
        return connection.recv(1 << 16) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
