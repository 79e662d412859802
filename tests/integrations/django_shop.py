"""A small Django project: settings, routes and views in one module."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse
from django.urls import include, path

ALLOWED_HOSTS = ["127.0.0.1"]
LOGGING_CONFIG = None
MIDDLEWARE = ["otel_metrics.integrations.django.TrackRequests", "django.middleware.common.CommonMiddleware"]
OTEL_METRICS_FEATURE = "shop"
OTEL_METRICS_RECORD_EXCEPTION = True
ROOT_URLCONF = __name__
SECRET_KEY = "of the tests"
USE_TZ = True


def order(request: Any, number: int) -> HttpResponse:
    if request.method == "DELETE":
        raise LookupError
    if request.method == "POST" and number % 3 == 0:
        raise Http404
    return HttpResponse("yes")


async def user(_request: Any, tenant: str, user: str) -> HttpResponse:
    return HttpResponse(f"{tenant} {user}", status=503 if user.endswith("7") else 200)


urlpatterns = [
    path("v1/orders/<int:number>", order),
    path("tenants/<tenant>/", include([path("users/<user>", user)])),
]
