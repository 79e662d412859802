"""What the server of :mod:`tests.multiprocess.test_reader` runs: a provider of the application's own, without our facade."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider

from otel_metrics.exporter import PrometheusReader

if TYPE_CHECKING:
    from collections.abc import Iterable

reader = PrometheusReader(multiprocess_directory=os.environ["OTM_MULTIPROCESS_DIR"])
requests = MeterProvider(metric_readers=[reader]).get_meter("shop").create_counter("requests")
metrics = reader.wsgi_app()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/metrics":
        return metrics(environ, start_response)
    if environ["PATH_INFO"] == "/work":
        requests.add(1)
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
