"""HEAD wherever GET is (RFC 9110, 9.3.2): the same status and header fields, and no body.

The application gets a GET. A route that counts or streams checks `is_head` first, because HEAD counts nothing.
"""

from collections.abc import Awaitable

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEAD = "evenkeel.head"


def is_head(request: Request) -> bool:
    """Whether the request is for the header fields only."""
    return _HEAD in request.scope


class HeadAsGet:
    """Plain ASGI: passes a HEAD on as a GET, and drops the body of the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    # Not async, so that other methods pass without another coroutine.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            return self._head(scope, receive, send)
        return self._app(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A copy, because the server also reads the method from its scope, to decide about the body.
        get = {**scope, "method": "GET", _HEAD: True}
        ended = False

        async def send_without_body(message: Message) -> None:
            nonlocal ended
            if message["type"] != "http.response.body":
                await send(message)
            elif not ended:
                # A stream ends here: it gets `http.disconnect` when it receives again.
                ended = True
                await send({"type": "http.response.body"})

        try:
            await self._app(get, receive, send_without_body)
        finally:
            if "route" in get:
                scope["route"] = get["route"]  # the label of the request's metrics
