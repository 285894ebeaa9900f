"""What surrounds every request: its id, the name of the replica that answers, counts and durations, the last resort.

Plain ASGI, because Starlette's BaseHTTPMiddleware breaks cancellation and costs a task per request.
"""

import logging
import re
import time
import uuid

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A `_created` series beside every counter doubles what is scraped and says nothing that the process start does not.
disable_created_metrics()  # type: ignore[no-untyped-call]

log = logging.getLogger(__name__)

# A caller's id is taken over when it is a plain token: it goes into logs and headers.
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}\Z")


class RequestContext:
    """Gives each response X-Request-Id and X-Served-By, and counts it by route template, never by raw path."""

    def __init__(self, app: ASGIApp, *, replica: str, registry: CollectorRegistry) -> None:
        self._app = app
        self._served_by = (b"x-served-by", replica.encode())
        self._requests = Counter("http_requests", "Requests answered", ["method", "route", "status"], registry=registry)
        self._seconds = Histogram(
            "http_request_duration_seconds", "From the first byte to the last", ["method", "route"], registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        began = time.perf_counter()
        status = 0

        async def send_with_identity(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id), self._served_by]
            await send(message)

        try:
            await self._app(scope, receive, send_with_identity)
        except Exception:
            # The answer (500, a problem document) has been sent below; the caller learns nothing of the cause.
            log.exception("request failed", extra={"request_id": request_id.decode(), "path": scope["path"]})
            if status == 0:
                raise
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._requests.labels(scope["method"], route, status).inc()
            self._seconds.labels(scope["method"], route).observe(time.perf_counter() - began)


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            if _SANE_ID.match(value):
                return bytes(value)
            break
    return uuid.uuid4().hex.encode()
