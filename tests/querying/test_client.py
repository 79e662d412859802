"""The HTTP client, against a real server on loopback that answers in every odd way."""

from __future__ import annotations

import gzip
import json
import re
import socket
import ssl
import subprocess
import time
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from otel_metrics.errors import (
    BadAnswerError,
    BadQueryError,
    ConfigurationError,
    QueryError,
    QueryTimeoutError,
    RefusedError,
    UnreachableError,
)
from otel_metrics.querying import client as module
from otel_metrics.querying.client import Access, PrometheusClient
from tests.querying.fake import failure, replies, serving, success

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.querying.fake import Handler, Server


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[PrometheusClient]:
    made = PrometheusClient(server.url, timeout=600)
    yield made
    made.close()


@pytest.fixture
def hasty(server: Server) -> Iterator[PrometheusClient]:
    """A client that does not wait long."""
    made = PrometheusClient(server.url, timeout=0.2)
    yield made
    made.close()


def test_a_query_is_posted_as_a_form(server: Server, client: PrometheusClient) -> None:
    samples, warnings = client.query('up{a="ä"}', 1234.5678)
    assert (samples, warnings) == ([], ())
    path, headers, form = server.requests[0]
    assert path == "/api/v1/query"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert form["query"] == ['up{a="ä"}']
    assert form["time"] == ["1234.568"]
    assert 500_000 < int(form["timeout"][0].removesuffix("ms")) <= 600_000


@pytest.mark.parametrize("seconds", [0.2504, 3600])
def test_the_server_is_told_a_time_out_that_it_can_read(server: Server, seconds: float) -> None:
    """Prometheus takes no fractions and no exponents."""
    with closing(PrometheusClient(server.url, timeout=seconds)) as client:
        client.query("up", 1)
    told = re.fullmatch(r"(\d+)ms", server.requests[0][2]["timeout"][0])
    assert told is not None
    assert 0 < int(told[1]) <= seconds * 1000


def test_a_path_prefix_is_kept(server: Server) -> None:
    client = PrometheusClient(server.url + "/prefix/")
    client.query("up", 1)
    client.close()
    assert server.requests[0][0] == "/prefix/api/v1/query"


def test_samples_and_remarks_are_returned(server: Server, client: PrometheusClient) -> None:
    sample = {"metric": {"a": "b"}, "value": [1, "2"]}
    server.answers = [success(sample, warnings=["careful"], infos=["by the way"])]
    assert client.query("up", 1) == ([({"a": "b"}, 2.0, None)], ("careful", "by the way"))


def test_a_compressed_answer_is_understood(server: Server, client: PrometheusClient) -> None:
    body = gzip.compress(json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode())
    server.answers = [replies(200, body, Content_Encoding="gzip")]
    assert client.query("up", 1) == ([], ())


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", ["", "<html>log in</html>", '{"status":"error","errorType":"x","error":"y"}'])
def test_denied(server: Server, client: PrometheusClient, status: int, body: str) -> None:
    server.answers = [replies(status, body)]
    with pytest.raises(RefusedError, match=str(status)) as raised:
        client.query("up", 1)
    assert raised.value.status == status
    assert len(server.requests) == 1, "asking again would not help"


def test_a_rate_limit_is_waited_for(server: Server, client: PrometheusClient) -> None:
    server.answers = [replies(429, Retry_After="0.2"), success()]
    before = time.monotonic()
    client.query("up", 1)
    assert time.monotonic() - before >= 0.2
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_who_stays_unavailable_is_asked_three_times(
    server: Server, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(module.Cancellation, "check", lambda _, pause=0.0: pauses.append(pause))
    server.answers = [replies(status, "<html>", Retry_After="3600")]
    with closing(PrometheusClient(server.url, timeout=60)) as patient, pytest.raises(RefusedError) as raised:
        patient.query("up", 1)
    assert raised.value.status == status
    assert len(server.requests) == 3
    assert list(filter(None, pauses)) == [module.LONGEST_PAUSE] * 2, (
        "the server cannot make the caller wait for an hour"
    )


def test_who_asks_for_more_time_than_is_left_is_not_asked_again(server: Server, hasty: PrometheusClient) -> None:
    server.answers = [replies(503, "", Retry_After="3"), success()]
    with pytest.raises(RefusedError, match="503"):
        hasty.query("up", 1)
    assert len(server.requests) == 1


@pytest.mark.parametrize("wish", ["", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "-5", "nan"])
def test_odd_wishes_when_to_come_back(server: Server, client: PrometheusClient, wish: str) -> None:
    server.answers = [replies(503, "", Retry_After=wish), success()]
    assert client.query("up", 1) == ([], ())


def test_an_internal_error_is_not_repeated(server: Server, client: PrometheusClient) -> None:
    server.answers = [replies(500, "oops")]
    with pytest.raises(RefusedError, match="500"):
        client.query("up", 1)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "bad_data"),
        (422, "execution"),
        (422, "422"),
        (500, "internal"),
        (503, "canceled"),
        (503, "unavailable"),
        (200, "bad_data"),
    ],
)
def test_what_the_server_says_about_the_query(server: Server, client: PrometheusClient, status: int, kind: str) -> None:
    server.answers = [failure(status, kind)]
    with pytest.raises(BadQueryError, match="what happened") as raised:
        client.query("up", 1)
    assert raised.value.kind == kind
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        "<html><body>Welcome to nginx!</body></html>",
        '{"status": "success", "data": {"resultType": "vector", "result": [',
        "",
        "null",
        "[]",
        "{}",
        '"success"',
        '{"status": "success"}',
        '{"status": "success", "data": null}',
        '{"status": "success", "data": {"resultType": "matrix", "result": []}}',
        '{"status": "success", "data": {"resultType": "vector", "result": {}}}',
        '{"status": "success", "data": {"resultType": "vector", "result": []}, "warnings": 1}',
        '{"status": "success", "data": {"resultType": "vector", "result": []}, "infos": "text"}',
        "[" * 100_000,
        b"\xff\xfe\x00",
        b"\x1f\x8b not really compressed",
    ],
)
def test_answers_of_something_else(server: Server, client: PrometheusClient, body: bytes | str) -> None:
    server.answers = [replies(200, body)]
    with pytest.raises(BadAnswerError):
        client.query("up", 1)


def test_curves_of_every_kind_of_answer(server: Server, client: PrometheusClient) -> None:
    def data(kind: str, result: object) -> str:
        return json.dumps(
            {"status": "success", "data": {"resultType": kind, "result": result}, "infos": ["by the way"]}
        )

    server.answers = [
        replies(200, data("matrix", [{"metric": {"a": "b"}, "values": [[1, "2"], [2, "NaN"]]}])),
        replies(200, data("vector", [{"metric": {}, "value": [3, "4"]}])),
        replies(200, data("scalar", [5, "6"])),
    ]
    [curve], remarks = client.curves("up", 0, 60, 1.5)
    assert (curve.labels, curve.points[0], str(curve.points[1])) == ({"a": "b"}, (1, 2), "(2.0, nan)")
    assert remarks == ("by the way",)
    assert client.curves("up", 0, 60)[0] == [({}, [(3, 4)])]
    assert client.curves("1", 0, 60)[0] == [({}, [(5, 6)])]
    path, _, form = server.requests[0]
    assert path == "/api/v1/query_range"
    assert (form["start"], form["end"], form["step"]) == (["0.000"], ["60.000"], ["1.500"])
    assert [path for path, _, _ in server.requests[1:]] == ["/api/v1/query"] * 2


@pytest.mark.parametrize(
    ("kind", "result", "wrong"),
    [
        ("string", [1, "text"], "text"),
        ("vector", [{"metric": {}, "histogram": [1, {"count": "1"}]}], "histogram"),
        ("matrix", [{"metric": {}, "histograms": [[1, {"count": "1"}]]}], "histogram"),
    ],
)
def test_curves_are_of_numbers(server: Server, client: PrometheusClient, kind: str, result: object, wrong: str) -> None:
    server.answers = [replies(200, json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}))]
    with pytest.raises(BadQueryError) as raised:
        client.curves("up", 0, 60)
    assert raised.value.kind == wrong


@pytest.mark.parametrize(
    "data",
    [
        "null",
        "[]",
        "{}",
        '{"resultType": "matrix", "result": {}}',
        '{"resultType": "matrix", "result": null}',
        '{"resultType": "matrix", "result": [1]}',
        '{"resultType": "matrix", "result": [{"metric": {}, "values": [[1]]}]}',
        '{"resultType": "vector", "result": [{"metric": {"a": 1}, "value": [1, "2"]}]}',
        '{"resultType": "scalar", "result": "1"}',
    ],
)
def test_curves_that_cannot_be_read(server: Server, client: PrometheusClient, data: str) -> None:
    server.answers = [replies(200, f'{{"status": "success", "data": {data}}}')]
    with pytest.raises(BadAnswerError):
        client.curves("up", 0, 60, 1)


def test_exemplars_are_returned_with_all_labels(server: Server, client: PrometheusClient) -> None:
    one = {"labels": {"interaction_id": "i"}, "value": "0.5", "timestamp": 1.25}
    found = [{"seriesLabels": {"feature": "x"}, "exemplars": [one]}]
    server.answers = [replies(200, json.dumps({"status": "success", "data": found}))]
    assert client.exemplars("up", 0, 60) == ([({"feature": "x", "interaction_id": "i"}, [(1.25, 0.5)])], ())
    assert server.requests[0][0] == "/api/v1/query_exemplars"
    server.answers = [replies(200, '{"status": "success", "data": null}')]
    assert client.exemplars("up", 0, 60) == ([], ())
    server.answers = [replies(200, '{"status": "success", "data": [{"seriesLabels": {}}]}')]
    with pytest.raises(BadAnswerError):
        client.exemplars("up", 0, 60)


@pytest.mark.parametrize("status", [204, 301, 302, 307, 404, 418])
def test_other_statuses(server: Server, client: PrometheusClient, status: int) -> None:
    server.answers = [replies(status, b"", Location="http://127.0.0.1:1/elsewhere")]
    with pytest.raises(BadAnswerError, match=str(status)):
        client.query("up", 1)
    assert len(server.requests) == 1, "a redirect could carry the credentials elsewhere"


def test_broken_compression(server: Server, client: PrometheusClient) -> None:
    server.answers = [replies(200, b"no gzip", Content_Encoding="gzip")]
    with pytest.raises(QueryError):
        client.query("up", 1)


def test_a_huge_answer_is_not_read_to_its_end(server: Server, client: PrometheusClient) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        for _ in range(10_000):
            handler.wfile.write(b" " * 2**20)

    server.answers = [endless]
    with pytest.raises(BadAnswerError, match="larger than"):
        client.query("up", 1)


def test_a_small_answer_that_unpacks_to_a_huge_one(server: Server, client: PrometheusClient) -> None:
    server.answers = [replies(200, gzip.compress(bytes(2 * module.LARGEST)), Content_Encoding="gzip")]
    with pytest.raises(BadAnswerError, match="larger than"):
        client.query("up", 1)


def test_a_silent_server(server: Server, hasty: PrometheusClient) -> None:
    def silent(_handler: Handler) -> None:
        server.done.wait(10)

    server.answers = [silent]
    with pytest.raises(UnreachableError, match="no answer within"):
        hasty.query("up", 1)
    assert len(server.requests) == 1, "it may still be at work on the first"


@pytest.mark.parametrize(
    ("begun", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nServer: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" "),
    ],
)
def test_an_answer_that_trickles(server: Server, hasty: PrometheusClient, begun: bytes, drop: bytes) -> None:
    """Wherever in the answer: no time-out of a socket would ever pass."""

    def trickling(handler: Handler) -> None:
        handler.wfile.write(begun)
        while not server.done.wait(0.02):
            handler.wfile.write(drop)

    server.answers = [trickling]
    with pytest.raises(QueryTimeoutError, match=r"no answer within 0\.2 s"):  # it would trickle for ever
        hasty.query("up", 1)


def test_several_queries_within_one_timeout_have_the_time_of_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock on which every answer takes 500 of the 1200 seconds that there are."""
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 500.0 * len(server.requests)))
    with closing(PrometheusClient(server.url, timeout=1200)) as client:
        with pytest.raises(QueryTimeoutError), client.within_one_timeout():
            _ = [client.query("up", 1) for _ in range(10)]
        assert len(server.requests) == 3
        assert client.query("up", 1) == ([], ()), "the next one has all of it again"


def test_a_server_that_gives_up_on_a_query_is_a_time_out(server: Server, client: PrometheusClient) -> None:
    server.answers = [failure(503, "timeout")]
    with pytest.raises(QueryTimeoutError, match="what happened"):
        client.query("up", 1)
    assert len(server.requests) == 1


def test_an_answer_that_breaks_off(server: Server, client: PrometheusClient) -> None:
    def breaking_off(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"status":')
        handler.close_connection = True

    server.answers = [breaking_off, success()]
    assert client.query("up", 1) == ([], ()), "a query changes nothing, so it can be repeated"


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = PrometheusClient(f"http://127.0.0.1:{bound.getsockname()[1]}")
        with pytest.raises(UnreachableError, match="refused"):
            client.query("up", 1)
        client.close()


def test_no_such_name() -> None:
    client = PrometheusClient("http://no-such-host.invalid", timeout=2)
    with pytest.raises(UnreachableError):
        client.query("up", 1)
    client.close()


def test_a_server_without_tls_is_not_trusted(server: Server) -> None:
    client = PrometheusClient(server.url.replace("http:", "https:"), timeout=2)
    with pytest.raises(UnreachableError):
        client.query("up", 1)
    client.close()


def test_credentials_come_from_files_and_can_be_replaced(server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("first\n", encoding="utf-8")
    token = PrometheusClient(server.url, access=Access(token_file=str(secret)))
    basic = PrometheusClient(server.url, access=Access(username="me", password_file=str(secret)))
    token.query("up", 1)
    secret.write_text("second", encoding="utf-8")
    token.query("up", 1)
    basic.query("up", 1)
    token.close()
    basic.close()
    sent = [headers["Authorization"] for _, headers, _ in server.requests]
    assert sent == ["Bearer first", "Bearer second", "Basic bWU6c2Vjb25k"]


def test_a_missing_credentials_file_is_named(server: Server, tmp_path: Path) -> None:
    client = PrometheusClient(server.url, access=Access(token_file=str(tmp_path / "missing")))
    with pytest.raises(ConfigurationError, match=r"prometheus_token_file='.*missing' cannot be used: No such file"):
        client.query("up", 1)
    assert server.requests == []


def test_errors_do_not_show_secrets(server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush-hush", encoding="utf-8")
    client = PrometheusClient(server.url, access=Access(token_file=str(secret)))
    server.answers = [replies(401, "no")]
    with pytest.raises(RefusedError) as raised:
        client.query("up", 1)
    client.close()
    assert "hush" not in str(raised.value)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the loopback address, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("pki")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem")
    name = ("-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        ["openssl", "req", "-x509", *key, *name, "-days", "2", "-out", "cert.pem"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def secured(server: Server, pki: Path) -> Server:
    """A server that speaks TLS, with a certificate that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "cert.pem", pki / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def test_a_certificate_is_trusted_if_its_authority_is_given(secured: Server, pki: Path) -> None:
    url = secured.url.replace("http:", "https:")
    with closing(PrometheusClient(url, access=Access(ca_file=str(pki / "cert.pem")))) as client:
        assert client.query("up", 1) == ([], ())


def test_a_certificate_of_a_stranger_is_not_trusted(secured: Server) -> None:
    with (
        closing(PrometheusClient(secured.url.replace("http:", "https:"))) as client,
        pytest.raises(UnreachableError, match="certificate"),
    ):
        client.query("up", 1)
    assert secured.requests == []


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_certificates_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        PrometheusClient("https://127.0.0.1:1", access=Access(ca_file=str(file)))
