"""Counts every request to the public API, for GET /stats, before it is answered.

Plain ASGI. The count is under way while the request is being handled, and usually in the same round trip to Redis.
"""

import asyncio
import logging
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from counter_api.counters.store import Store
from evenkeel.http.problems import Problem

log = logging.getLogger(__name__)

# A replica's own addresses, which no load balancer passes on to the public.
_PRIVATE = ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json")


class RequestCount:
    """Asks the lifespan's state for its `store`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_PRIVATE):
            await self._app(scope, receive, send)
            return
        store: Store = scope["state"]["store"]
        count = asyncio.ensure_future(store.count_request())

        async def send_once_counted(message: Message) -> None:
            await _settled(count)
            await send(message)

        # Not async itself: mostly the count has come back with the answer, and nothing but `send` is left to await.
        def send_when_counted(message: Message) -> Awaitable[None]:
            # That no more can wait for Redis is said at once; this count waits for its turn with the others.
            waits = message["type"] == "http.response.start" and message["status"] != 503 and not _counted(count)
            return send_once_counted(message) if waits else send(message)

        try:
            await self._app(scope, receive, send_when_counted)
        except Exception:
            # The answer to an unexpected error is sent further out.
            await _settled(count)
            raise


def _counted(count: "asyncio.Future[None]") -> bool:
    return count.done() and not count.cancelled() and count.exception() is None


async def _settled(count: Awaitable[None]) -> None:
    try:
        await count
    except Problem as problem:
        # The request has its own answer, which says so if it needed Redis too.
        log.warning("request not counted", extra={"reason": problem.detail})
