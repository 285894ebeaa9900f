"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) of one counter."""

import asyncio
import json
import random
import time

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from counter_api.events.feed import Feed
from evenkeel.http.problems import Problem

PAUSE = 0.1
"""Seconds at least between two messages to one client."""

HEARTBEAT = 15.0
"""Seconds without a message after which a comment shows that the connection works."""

LIFETIME = (240.0, 300.0)
"""Seconds after which a stream ends. Its client then connects again, to any replica, and needs a valid token to do so.
Less than the time after which the gateway closes connections of a replaced configuration."""

_RETRY_MILLISECONDS = (200, 2000)
"""After which clients connect again. It is random, so that they do not all come at once."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # for proxies such as nginx, which buffer answers by default
}

_DELETED = "deleted"


class EventStream(StreamingResponse):
    """Sends the state, then each change, until the client leaves, the time is over, or the replica ends."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, name: str, last_event_id: str | None) -> None:
        super().__init__(content=(), headers=_HEADERS)
        self._feed = feed
        self._name = name
        # Without a counter there is nothing to send to a new client.
        self._sent = last_event_id or _DELETED

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Problem as problem:  # raised before anything was sent
            await problem.response()(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        async with self._feed.listening(self._name) as listener:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            text = _retry()
            ends = time.monotonic() + random.uniform(*LIFETIME)  # noqa: S311 (spreads load, keeps no secret)
            while not self._feed.closing and (left := ends - time.monotonic()) > 0:
                value = listener.value
                if event_id(value) != self._sent:
                    self._sent = event_id(value)
                    text += message(self._name, value)
                if text:
                    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
                    await asyncio.sleep(PAUSE)
                text = "" if await listener.woken(min(HEARTBEAT, left)) else ": heartbeat\n\n"
            await send({"type": "http.response.body", "body": _retry().encode(), "more_body": False})


def event_id(value: int | None) -> str:
    """The state itself. A client that comes back with it, to any replica, gets a message only for another state."""
    return _DELETED if value is None else str(value)


def message(name: str, value: int | None) -> str:
    event, data = ("deleted", {"name": name}) if value is None else ("value", {"name": name, "value": value})
    return f"id: {event_id(value)}\nevent: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _retry() -> str:
    return f"retry: {random.randint(*_RETRY_MILLISECONDS)}\n\n"  # noqa: S311 (spreads load, keeps no secret)
