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
"""Seconds without a message after which a comment shows that the connection lives."""

LIFETIME = (240.0, 300.0)
"""Seconds after which a stream ends and its client comes back, to whichever replica: less than the gateway gives to
connections of a configuration that was replaced, and a token that has expired meanwhile opens no new one."""

_RETRY_MILLISECONDS = (200, 2000)
"""When clients come back after the end of a stream: not all of them at once."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # for proxies like nginx, which collect answers by default
}

_DELETED = "deleted"


class EventStream(StreamingResponse):
    """Tells the state, then each change of it, until the client leaves, its time is over, or the replica ends."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, name: str, last_event_id: str | None) -> None:
        super().__init__(content=(), headers=_HEADERS)
        self._feed = feed
        self._name = name
        # A client that has heard nothing knows of no counter, so there is nothing to tell while there is none.
        self._told = last_event_id or _DELETED

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
                if event_id(value) != self._told:
                    self._told = event_id(value)
                    text += message(self._name, value)
                if text:
                    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
                    await asyncio.sleep(PAUSE)
                text = "" if await listener.woken(min(HEARTBEAT, left)) else ": heartbeat\n\n"
            await send({"type": "http.response.body", "body": _retry().encode(), "more_body": False})


def event_id(value: int | None) -> str:
    """The state itself: a client that comes back with it, to whichever replica, is told only what it does not know."""
    return _DELETED if value is None else str(value)


def message(name: str, value: int | None) -> str:
    event, data = ("deleted", {"name": name}) if value is None else ("value", {"name": name, "value": value})
    return f"id: {event_id(value)}\nevent: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _retry() -> str:
    return f"retry: {random.randint(*_RETRY_MILLISECONDS)}\n\n"  # noqa: S311 (spreads load, keeps no secret)
