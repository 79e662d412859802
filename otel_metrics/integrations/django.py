"""Django: the middleware that records requests as uses of a feature.

    MIDDLEWARE = ["otel_metrics.integrations.django.TrackRequests", …]    # first: it times the others as well
    OTEL_METRICS_FEATURE = "shop"                                         # by default "django"
    OTEL_METRICS_RECORD_EXCEPTION = True                                  # what went wrong is an error, too; by default False

What an action, a success and a failure are is as in :func:`otel_metrics.integrations.web.track_requests`; the action has the route as
the URLconf writes it, ``GET orders/<int:number>``. The duration is that up to the response, without sending it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings

from otel_metrics.facade.advanced import AdvancedMetrics
from otel_metrics.integrations.web import Template, TrackedRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

__all__ = ["TrackRequests"]


class TrackRequests:
    """Middleware for both kinds of servers and of views."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._feature = getattr(settings, "OTEL_METRICS_FEATURE", "django")
        self._record_exception = bool(getattr(settings, "OTEL_METRICS_RECORD_EXCEPTION", False))
        self._metrics = AdvancedMetrics()
        self._awaits = iscoroutinefunction(get_response)
        if self._awaits:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Have the request answered, at once or awaited."""
        if self._awaits:
            return self._answered(request)
        with self._begun(request) as tracked:
            response = self._get_response(request)
            tracked.status = response.status_code
        return response

    async def _answered(self, request: HttpRequest) -> Any:
        with self._begun(request) as tracked:
            response = await self._get_response(request)
            tracked.status = response.status_code
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Keep what goes wrong in a view: what comes back from there is a response all the same."""
        request.otel_metrics.error = exception

    def _begun(self, request: HttpRequest) -> TrackedRequest:
        tracked = TrackedRequest(
            self._metrics, self._feature, request.method or "", lambda: _template(request), self._record_exception
        )
        request.otel_metrics = tracked
        return tracked


def _route(request: HttpRequest) -> str | None:
    match = request.resolver_match
    return None if match is None else match.route


_template: Final = Template(_route)
"""Safe from what a middleware made of the match."""
