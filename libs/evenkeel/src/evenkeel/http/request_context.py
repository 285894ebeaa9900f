"""What every request gets: an id, the name of the replica, metrics, and an answer to unexpected errors.

Plain ASGI, because Starlette's BaseHTTPMiddleware breaks cancellation and costs a task per request. Every request goes
through this code, so objects are made once where possible. docs/performance.md says what it costs.
"""

import logging
import os
import re
import time
from collections.abc import Awaitable, Iterable, Iterator
from contextvars import ContextVar

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evenkeel import tracing
from evenkeel.http.problems import unexpected

# A `_created` series beside every counter doubles the metrics, and repeats the start time of the process.
disable_created_metrics()  # type: ignore[no-untyped-call]

log = logging.getLogger(__name__)

REQUEST_ID: ContextVar[bytes | None] = ContextVar("request_id", default=None)
"""The X-Request-Id of the current request, in its task and in all tasks that this one starts.

Bytes, as in the header. Only log lines need text.
"""

# A caller's id is used if it is a plain token, because it goes into logs and headers.
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}\Z")


class RequestContext:
    """Gives each response X-Request-Id and X-Served-By, and counts it by route template, never by raw path."""

    def __init__(self, app: ASGIApp, *, replica: str, registry: CollectorRegistry) -> None:
        self._app = app
        self._new_ids = _new_ids()
        self._served_by = (b"x-served-by", replica.encode())
        self._requests = Counter("http_requests", "Requests answered", ["method", "route", "status"], registry=registry)
        self._seconds = Histogram(
            "http_request_duration_seconds", "From the first byte to the last", ["method", "route"], registry=registry
        )
        # Finding a series by its labels costs more than counting. There are as many as in the registry.
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _callers_id(scope["headers"]) or next(self._new_ids)
        # Never reset: each request has its own task, and the context ends with the task.
        REQUEST_ID.set(request_id)
        began = time.perf_counter()
        status = 0

        # Not async, so that uvicorn's `send` is awaited without another coroutine.
        def send_with_identity(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # A copy, because all answers of a kind may share the message.
                message = {
                    **message,
                    "headers": [*message.get("headers", ()), (b"x-request-id", request_id), self._served_by],
                }
            return send(message)

        try:
            await self._app(scope, receive, send_with_identity)
        except Exception:
            log.exception("request failed", extra={"path": scope["path"]})
            # FastAPI answers before it raises. A layer ahead of it may not have answered. The cause stays in the log.
            if status == 0:
                await unexpected()(scope, receive, send_with_identity)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            requests, seconds = self._series_of(scope["method"], route, status)
            requests.inc()
            seconds.observe(time.perf_counter() - began, tracing.exemplar())

    def _series_of(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        labels = (method, route, status)
        series = self._series.get(labels)
        if series is None:
            series = self._requests.labels(method, route, status), self._seconds.labels(method, route)
            self._series[labels] = series
        return series


def _callers_id(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == b"x-request-id":
            return bytes(value) if _SANE_ID.match(value) else None
    return None


def _new_ids() -> Iterator[bytes]:
    """Ids of 128 random bits, as unique as UUIDs. Many are read at a time, because a system call is slow."""
    while True:
        digits = os.urandom(256 * 16).hex().encode()
        for at in range(0, len(digits), 32):
            yield digits[at : at + 32]
