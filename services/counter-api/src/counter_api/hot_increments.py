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
from evenkeel.http.plain import Plain
from evenkeel.http.problems import Problem

_PATH = re.compile(rf"/v1/counters/({NAME_PATTERN.strip('^$')})/increment")
_ROUTE = next(route for route in router.routes if isinstance(route, Route) and route.name == "increment_counter")

IS_PLAIN = Plain("POST", reads=frozenset({b"idempotency-key"}))

_CONTENT_TYPE = (b"content-type", b"application/json")


class HotIncrements:
    """Plain ASGI, around the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = _PATH.fullmatch(scope["path"]) if IS_PLAIN(scope) and not scope["query_string"] else None
        if match is None:
            await self._app(scope, receive, send)
            return
        name = match[1]
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
