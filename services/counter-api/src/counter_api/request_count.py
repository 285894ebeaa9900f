"""Counts every request to the public API, for GET /stats, before it is answered.

Plain ASGI. The count is under way while the request is being handled, and usually in the same round trip to Redis.
"""

import asyncio
import logging
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from counter_api.storage.protocol import Store
from evenkeel.problems import Problem

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

        async def send_when_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                await _settled(count)
            await send(message)

        try:
            await self._app(scope, receive, send_when_counted)
        except Exception:
            # The answer to an unexpected error is sent further out.
            await _settled(count)
            raise


async def _settled(count: Awaitable[None]) -> None:
    try:
        await count
    except Problem as problem:
        # The request has its own answer, which says so if it needed Redis too.
        log.warning("request not counted", extra={"reason": problem.detail})
