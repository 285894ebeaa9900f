"""HEAD wherever GET is (RFC 9110, 9.3.2): the same status and header fields, and no body.

The application sees a GET. A route that counts, or streams, asks `is_head` first: HEAD counts nothing.
"""

from collections.abc import Awaitable

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEAD = "evenkeel.head"


def is_head(request: Request) -> bool:
    """Whether only the header fields are asked for."""
    return _HEAD in request.scope


class HeadAsGet:
    """Plain ASGI: asks the application for a GET, and keeps the body back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    # Not async itself: whatever is no HEAD passes without a coroutine in between.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            return self._head(scope, receive, send)
        return self._app(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Of its own: the server, too, looks into the scope whether a body is to come.
        get = {**scope, "method": "GET", _HEAD: True}
        ended = False

        async def send_without_body(message: Message) -> None:
            nonlocal ended
            if message["type"] != "http.response.body":
                await send(message)
            elif not ended:
                # A stream ends here: the server says `http.disconnect` to whoever goes on.
                ended = True
                await send({"type": "http.response.body"})

        try:
            await self._app(get, receive, send_without_body)
        finally:
            if "route" in get:
                scope["route"] = get["route"]  # the label of the request's metrics
