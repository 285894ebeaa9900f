"""`POST /v1/counters/{name}/increment` without a body, answered ahead of FastAPI, which costs more than the increment.

Only plain requests are answered here, in which there is nothing to validate but the name. Everything else goes the
ordinary way: bodies, idempotency keys, preconditions, queries. Both ways send the same bytes; the tests run with and
without this layer, and compare.
"""

import re

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from counter_api.counters.representation import CONTENT_TYPE, COUNTER
from counter_api.counters.service import CounterService
from counter_api.parameters import NAME_PATTERN
from evenkeel.http.plain import Plain
from evenkeel.http.problems import Problem

_PATH = re.compile(rf"/v1/counters/({NAME_PATTERN.strip('^$')})/increment")

IS_PLAIN = Plain("POST", reads=frozenset({b"idempotency-key"}))


class HotIncrements:
    """Plain ASGI, around the application."""

    def __init__(self, app: ASGIApp, *, increment_counter: BaseRoute) -> None:
        """The route that the answers stand for: the metrics count the requests by it."""
        self._app = app
        self._route = increment_counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = _PATH.fullmatch(scope["path"]) if IS_PLAIN(scope) and not scope["query_string"] else None
        if match is None:
            await self._app(scope, receive, send)
            return
        name = match[1]
        scope["route"] = self._route
        counters: CounterService = scope["state"]["counters"]
        try:
            value = await counters.increment_by_one(name)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        body = COUNTER % (name.encode(), value)
        headers = [(b"content-length", b"%d" % len(body)), CONTENT_TYPE]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
