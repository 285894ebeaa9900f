"""Server-sent events of one counter."""

import asyncio
import json

from starlette.types import Send

from counter_api.events.feed import Feed
from evenkeel.http.event_streams import EventStream, retry

PAUSE = 0.1
"""Seconds at least between two messages to one client."""

HEARTBEAT = 15.0
"""Seconds without a message after which a comment shows that the connection works."""

_DELETED = "deleted"


class CounterEvents(EventStream):
    """Sends the state, then each change, until the client leaves, the time is over, or the replica ends."""

    def __init__(self, feed: Feed, name: str, last_event_id: str | None) -> None:
        super().__init__()
        self._feed = feed
        self._name = name
        # Without a counter there is nothing to send to a new client.
        self._sent = last_event_id or _DELETED

    async def stream_response(self, send: Send) -> None:
        async with self._feed.listening(self._name) as listener:
            await self.begin(send)
            text = retry()
            while not self._feed.closing and (left := self.left) > 0:
                value = listener.value
                if event_id(value) != self._sent:
                    self._sent = event_id(value)
                    text += message(self._name, value)
                if text:
                    await self.write(send, text)
                    await asyncio.sleep(PAUSE)
                text = "" if await listener.woken(min(HEARTBEAT, left)) else ": heartbeat\n\n"
            await self.finish(send)


def event_id(value: int | None) -> str:
    """The state itself. A client that comes back with it, to any replica, gets a message only for another state."""
    return _DELETED if value is None else str(value)


def message(name: str, value: int | None) -> str:
    event, data = ("deleted", {"name": name}) if value is None else ("value", {"name": name, "value": value})
    return f"id: {event_id(value)}\nevent: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
