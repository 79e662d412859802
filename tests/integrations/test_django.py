"""The middleware for Django, under a WSGI and an ASGI server, with views of both kinds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from otel_metrics import testing
from otel_metrics.integrations.web import expose
from tests.integrations.test_web import ask, by_uvicorn, by_wsgiref, load, told, uses

if TYPE_CHECKING:
    from collections.abc import Callable

REQUESTS = {
    ("GET", "/v1/orders/N"): "GET v1/orders/<int:number>",
    ("POST", "/v1/orders/N"): "POST v1/orders/<int:number>",
    ("DELETE", "/v1/orders/N"): "DELETE v1/orders/<int:number>",
    ("GET", "/tenants/a/users/xN"): "GET tenants/<tenant>/users/<user>",
    ("GET", "/v1/nowhere/N"): "GET",
    ("BREW", "/v1/coffee/N"): "_OTHER",
}


@pytest.fixture(scope="module", autouse=True)
def _django() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.integrations.django_shop"
    import django

    django.setup()


def wsgi() -> Any:
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def asgi() -> Any:
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


@pytest.mark.parametrize(("application", "served"), [(wsgi, by_wsgiref), (asgi, by_uvicorn)])
def test_the_endpoint_says_what_the_clients_counted(
    application: Callable[[], Any], served: Callable[[Any], Any]
) -> None:
    with testing.recording() as metrics, served(expose(application())) as port:
        answers = load(port, REQUESTS)
        status, exposition = ask(port, "GET", "/metrics")
        assert status == 200
        assert ask(port, "GET", "/metrics/")[0] == 404
        assert {status for _, status in answers} == {200, 404, 500, 503}
        assert uses(exposition) == told(answers, {"DELETE v1/orders/<int:number>": "LookupError"})
        metrics.assert_value("feature_errors_total", 15, feature="shop", error_type="LookupError")
        metrics.assert_value("feature_usage_duration_seconds_count", 15 * len(REQUESTS) + 1, feature="shop")
