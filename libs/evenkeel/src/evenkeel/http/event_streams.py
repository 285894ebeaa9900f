"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) as answers."""

import random
import time

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from evenkeel.http.problems import Problem

LIFETIME = (240.0, 300.0)
"""Seconds after which a stream ends. Its client then connects again, to any replica, and needs a valid token to do so.
Less than the time after which the gateway closes connections of a replaced configuration."""

_RETRY_MILLISECONDS = (200, 2000)
"""After which clients connect again. It is random, so that they do not all come at once."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # for proxies such as nginx, which buffer answers by default
}


class EventStream(StreamingResponse):
    """An answer that a subclass sends in `stream_response`: `begin`, then `write` while time is `left`, then `finish`.

    Problems that are raised before `begin` are answered as such.
    """

    media_type = "text/event-stream"

    def __init__(self) -> None:
        super().__init__(content=(), headers=_HEADERS)
        self._ends = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Problem as problem:  # raised before anything was sent
            await problem.response()(scope, receive, send)

    async def begin(self, send: Send) -> None:
        self._ends = time.monotonic() + random.uniform(*LIFETIME)  # noqa: S311 (spreads load, keeps no secret)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    @property
    def left(self) -> float:
        """Seconds until the stream ends."""
        return self._ends - time.monotonic()

    @staticmethod
    async def write(send: Send, text: str | bytes) -> None:
        body = text.encode() if isinstance(text, str) else text
        await send({"type": "http.response.body", "body": body, "more_body": True})

    @staticmethod
    async def finish(send: Send) -> None:
        await send({"type": "http.response.body", "body": retry().encode(), "more_body": False})


def retry() -> str:
    """The message that says when to connect again after the end of the stream."""
    return f"retry: {random.randint(*_RETRY_MILLISECONDS)}\n\n"  # noqa: S311 (spreads load, keeps no secret)
