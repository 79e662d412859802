"""One address, several processes: the first serves, the others record and wait, one of them takes over."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from otel_metrics.exporter import server
from tests.exporter.clients import get
from tests.processes import free_port, wait_until

if TYPE_CHECKING:
    import pytest

    from otel_metrics.exporter import PrometheusReader

WORKER = """
import sys, otel_metrics
otel_metrics.get_advanced_metrics().record_feature_usage(sys.argv[2], "order", 1.0, True)
print(otel_metrics.serve(port=int(sys.argv[1])).listening, flush=True)
sys.stdin.read()
"""


def worker(port: int, feature: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(port), feature], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_the_next_process_takes_over() -> None:
    port = free_port()
    with worker(port, "first") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "True\n"
        with worker(port, "second") as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "False\n"
            assert b'feature="first"' in get(f"http://localhost:{port}/metrics")
            first.kill()
            wait_until(lambda: b'feature="second"' in get(f"http://localhost:{port}/metrics"))
            second.kill()


def test_a_stranger_has_the_port(reader: PrometheusReader, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        handle = reader.serve(port=stranger.getsockname()[1])
        assert not handle.listening
        assert reader.serve(port=handle.port) is handle
        assert "is taken, by another process of this application or by a stranger" in caplog.text
    wait_until(lambda: handle.listening)
    assert b"calls_total 5\n" in get(handle.url)
    handle.close()
    assert len(caplog.records) == 2  # that it is taken, and that it is served


def test_who_waits_ends_at_once(reader: PrometheusReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_RETRY", 3600.0)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        with reader.serve(port=stranger.getsockname()[1]) as handle:
            assert not handle.closed
        assert handle.closed
