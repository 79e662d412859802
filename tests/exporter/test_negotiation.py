"""What scrapers ask for is what they get; headers are theirs, so anything may stand in them."""

from __future__ import annotations

import gzip
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_metrics.exporter.negotiation import choose_compression, choose_format
from tests.exporter import prometheus_proto as proto
from tests.exporter.expositions import Scraped

PROTO = "application/vnd.google.protobuf"
FAMILY = "io.prometheus.client.MetricFamily"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/json", "text/plain; version=0.0.4; charset=utf-8"),
        # Prometheus 3.5
        (
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
                "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
            ),
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
        # with native histograms
        (
            (
                f"{PROTO};proto={FAMILY};encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;"
                "escaping=allow-utf-8;q=0.5,*/*;q=0.2"
            ),
            f"{PROTO}; proto={FAMILY}; encoding=delimited; escaping=underscores",
        ),
        # Prometheus 2.42
        (
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
        # VictoriaMetrics
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=0.0.1", "application/openmetrics-text; version=0.0.1; charset=utf-8"),
        ("application/openmetrics-text;version=2.0.0,*/*;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
        (f"{PROTO};proto={FAMILY};encoding=text", "text/plain; version=0.0.4; charset=utf-8"),
        (f"{PROTO};proto=other.Message;encoding=delimited", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;q=0,text/plain;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "APPLICATION/OpenMetrics-Text; Version=1.0.0",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
        (
            "text/plain;version=1.0.0;escaping=dots",
            "text/plain; version=1.0.0; charset=utf-8; escaping=dots",
        ),
        (
            "text/plain;version=1.0.0;escaping=nonsense",
            "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
    ],
)
def test_format(accept: str, content_type: str) -> None:
    assert choose_format(accept).content_type == content_type


@pytest.mark.parametrize(
    ("accept_encoding", "name"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate, gzip;q=1.0, *;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("br", None),
        ("identity, gzip;q=0.5", None),
        ("GZIP", "gzip"),
        ("zstd, gzip;q=0.9", "zstd" if sys.version_info >= (3, 14) else "gzip"),
    ],
)
def test_compression(accept_encoding: str, name: str | None) -> None:
    chosen = choose_compression(accept_encoding)
    assert (chosen[0] if chosen else None) == name


tokens = st.sampled_from(
    [
        PROTO,
        FAMILY,
        "application/openmetrics-text",
        "text/plain",
        "gzip",
        "q",
        "version",
        "escaping",
        "proto",
        "encoding",
        "delimited",
        "1.0.0",
        "0.0.4",
        "allow-utf-8",
        "dots",
        "values",
        "=",
        ";",
        ",",
        '"',
        " ",
        "nan",
        "inf",
        "-1",
        "0.5",
        "\0",
    ]
)
headers = st.one_of(st.text(max_size=60), st.lists(tokens, max_size=20).map("".join))


@settings(max_examples=300, deadline=None)
@given(accept=headers, accept_encoding=headers, method=st.sampled_from(["GET", "HEAD"]))
def test_any_header_gets_a_valid_exposition(accept: str, accept_encoding: str, method: str) -> None:
    scraped = _SCRAPED
    response = scraped.endpoint.respond(method, "/metrics", {"accept": accept, "accept-encoding": accept_encoding})
    assert response.status == 200
    sent = dict(response.headers)
    assert all("\n" not in value and "\r" not in value for value in sent.values())
    body = b"".join(response.body)
    if method == "HEAD":
        assert body == b""
        return
    assert int(sent["Content-Length"]) == len(body)
    if sent.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    if PROTO in sent["Content-Type"]:
        assert "calls_total" in proto.read(body)
    else:
        assert b"calls_total 1\n" in body
        assert body.endswith(b"# EOF\n") == ("openmetrics" in sent["Content-Type"])


_SCRAPED = Scraped()
_SCRAPED.meter.create_counter("calls").add(1)
