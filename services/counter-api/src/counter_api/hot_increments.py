"""`POST /v1/counters/{name}/increment` without a body, answered ahead of FastAPI, which costs more than the increment.

Only the plain case, in which there is nothing to validate but the name: a body, an Idempotency-Key, a precondition or a
query goes the ordinary way, and so does everything but POST. What is answered here is answered with the very bytes of
the ordinary way; the tests run with and without this layer and compare.
"""

import re

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from counter_api.counters.routes import router
from counter_api.counters.schemas import NAME_PATTERN
from counter_api.counters.service import Counters
from evenkeel.http.problems import Problem

_PATH = re.compile(rf"/v1/counters/({NAME_PATTERN.strip('^$')})/increment")
_ROUTE = next(route for route in router.routes if isinstance(route, Route) and route.name == "increment_counter")

NOT_PLAIN = frozenset(
    {
        # what the route reads
        b"idempotency-key",
        b"if-match",
        b"if-none-match",
        # what announces a body, or asks whether to send it
        b"content-length",
        b"transfer-encoding",
        b"expect",
        # what is refused when it is sent twice
        b"content-type",
        b"min-version",
    }
)
"""Header fields that can change the answer; a request that has one of them goes the ordinary way."""

_WITHOUT_BODY = (b"content-length", b"0")
_CONTENT_TYPE = (b"content-type", b"application/json")


class HotIncrements:
    """Plain ASGI, around the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = _plain(scope)
        if name is None:
            await self._app(scope, receive, send)
            return
        # The label of the request's metrics, as FastAPI sets it.
        scope["route"] = _ROUTE
        counters: Counters = scope["state"]["counters"]
        try:
            value = await counters.increment_by_one(name)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        body = b'{"name":"%b","value":%d}' % (name.encode(), value)
        headers = [(b"content-length", b"%d" % len(body)), _CONTENT_TYPE]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _plain(scope: Scope) -> str | None:
    """The counter's name, if nothing but the name tells the request apart from others."""
    if (
        scope["type"] == "http"
        and scope["method"] == "POST"
        and not scope["query_string"]
        and NOT_PLAIN.isdisjoint([field[0] for field in scope["headers"] if field != _WITHOUT_BODY])
        and "fastapi.telemetry" not in scope  # where OpenTelemetry observes what FastAPI does with the request
        and (match := _PATH.fullmatch(scope["path"]))
    ):
        return match[1]
    return None
