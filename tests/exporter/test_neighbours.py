"""Several processes behind one address, without shared totals: they say so, each once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from otel_metrics.exporter import PrometheusReader
from tests.processes import HOST, fetch, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there processes can be found by an address")

APPLICATION = """
import otel_metrics
metrics = otel_metrics.get_advanced_metrics()
exposed = otel_metrics.wsgi_app()

def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        return exposed(environ, start_response)
    metrics.record_feature_usage("shop", "order", 1.0, True)
    start_response("200 OK", [])
    return [repr(metrics.get_feature_usage_stats("shop", hours=1).get("warnings")).encode()]
"""
TOLD = b"\notel_metrics_unmerged 1\n"


def gunicorn(folder: Path, address: str, workers: int, **environment: str) -> subprocess.Popen[bytes]:
    (folder / "application.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "gunicorn", "-w", str(workers), "-b", address, "application:app"]
    path = os.pathsep.join(filter(None, sys.path))
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, stderr=log, env={**os.environ, "PYTHONPATH": path, **environment})


def test_workers_say_that_a_scrape_shows_one_of_them(tmp_path: Path) -> None:
    port = free_port()

    def told() -> int:
        return (tmp_path / "log").read_text().count(f"another process answers at {HOST}:{port} ")

    def at_once(url: str) -> list[bool]:
        with ThreadPoolExecutor(8) as pool:
            return [TOLD in body for body in pool.map(fetch, [url] * 8)]

    with gunicorn(tmp_path, f"{HOST}:{port}", 2) as server:
        try:
            wait_until(lambda: TOLD in fetch(f"http://{HOST}:{port}/metrics"))
            # Both, by the second time that each is asked. Where they have time, one of them may answer all that come in turn.
            wait_until(lambda: all(at_once(f"http://{HOST}:{port}/metrics")) and told() >= 2)
            assert all(at_once(f"http://{HOST}:{port}/metrics"))
            assert b"this process alone" in fetch(f"http://{HOST}:{port}/")
        finally:
            server.terminate()
    assert told() == 2
    assert "OTM_MULTIPROCESS_DIR" in (tmp_path / "log").read_text()


def test_workers_behind_a_unix_socket_find_each_other_whatever_clients_call_them(tmp_path: Path) -> None:
    where = tmp_path / "socket"
    names = (f"name{number}.example" for number in range(1000))

    def scrape() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(where))
            connection.sendall(f"GET /metrics HTTP/1.0\r\nHost: {next(names)}\r\n\r\n".encode())
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))

    with gunicorn(tmp_path, f"unix:{where}", 2) as server:
        try:
            wait_until(lambda: TOLD in scrape())
        finally:
            server.terminate()


@pytest.mark.parametrize("environment", [{}, {"OTM_MULTIPROCESS_DIR": "shared"}], ids=["one worker", "shared totals"])
def test_they_say_nothing_where_a_scrape_shows_everything(tmp_path: Path, environment: dict[str, str]) -> None:
    port = free_port()
    with gunicorn(tmp_path, f"{HOST}:{port}", 2 if environment else 1, **environment) as server:
        try:
            wait_until(lambda: b"otel_metrics_series" in fetch(f"http://{HOST}:{port}/metrics"))
            assert not any(b"otel_metrics_unmerged" in fetch(f"http://{HOST}:{port}/metrics") for _ in range(20))
        finally:
            server.terminate()
    assert "another process" not in (tmp_path / "log").read_text()


def test_a_process_that_waits_for_an_address_is_told_of(tmp_path: Path) -> None:
    port = free_port()
    program = "import sys, otel_metrics; otel_metrics.serve(port=int(sys.argv[1])); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(port)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as first:  # type: ignore[call-overload] # as the two pipes say
        wait_until(lambda: fetch(f"http://{HOST}:{port}/metrics"))
        assert TOLD not in fetch(f"http://{HOST}:{port}/metrics")
        with subprocess.Popen(command, cwd=tmp_path, **pipes) as second:  # type: ignore[call-overload]
            wait_until(lambda: TOLD in fetch(f"http://{HOST}:{port}/metrics"))
            second.kill()
        first.kill()


def test_who_has_left_an_address_is_no_neighbour_of_the_next_one_there() -> None:
    here, port = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}, free_port()
    with PrometheusReader(registry=CollectorRegistry()).serve(port=port) as handle:
        fetch(handle.url)
    code = f"import otel_metrics, urllib.request as u; h = otel_metrics.serve(port={port}); u.urlopen(h.url); print(u.urlopen(h.url).read())"
    done = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True, check=True)
    assert "otel_metrics_series " in done.stdout
    assert "otel_metrics_unmerged 1" not in done.stdout
    assert "another process answers" not in done.stderr


def test_a_process_that_ends_leaves_no_socket_to_the_interpreter_which_would_warn_of_it() -> None:
    code = """
import atexit, gc, socket

@atexit.register  # first, so it is called last
def count():
    print(sum(isinstance(each, socket.socket) and each.fileno() >= 0 for each in gc.get_objects()))

import otel_metrics
list(otel_metrics.wsgi_app()({"PATH_INFO": "/metrics", "HTTP_HOST": "shop"}, lambda *_: None))
count()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n0\n"
    assert done.stderr == ""
