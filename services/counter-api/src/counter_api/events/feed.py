"""Which listeners of this replica listen to which counter.

All listeners of one counter share a topic. A topic holds the latest state only, so a slow listener of a counter that
changes often needs no more memory. A topic is watched once.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from evenkeel.http.problems import Unavailable
from evenkeel.tasks.ending import end

LARGEST = 6000
"""Listeners of one replica. A gateway lets as many through, so one replica can serve them all while the others are
away. Each takes 40 KiB."""


@dataclass(eq=False)
class Topic:
    """One counter that has listeners."""

    name: str
    value: int | None = None
    """None: there is no such counter. Before the first `publish` it has no meaning."""
    listeners: set["Listener"] = field(default_factory=set)

    def publish(self, value: int | None) -> None:
        if value != self.value:
            self.value = value
            for listener in self.listeners:
                listener.wake()


class Listener:
    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._woken = asyncio.Event()

    @property
    def value(self) -> int | None:
        """The latest value, None if there is no such counter."""
        return self._topic.value

    def wake(self) -> None:
        self._woken.set()

    async def woken(self, seconds: float) -> bool:
        """Wait until something has happened since this last returned. False if nothing happens for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True


class Watch(Protocol):
    """Publishes the changes of topics, made by any replica or program."""

    def add(self, topic: Topic) -> None: ...

    def remove(self, topic: Topic) -> None: ...

    async def read(self, topic: Topic) -> None:
        """Publish the counter's state, read after this was called.

        Raise NotACounter, or Unavailable if it cannot be read.
        """
        ...

    async def run(self) -> None:
        """Publish until cancelled."""
        ...


class Feed:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._topics: dict[str, Topic] = {}
        self._listeners = 0
        self.closing = False

    @contextlib.asynccontextmanager
    async def listening(self, name: str) -> AsyncIterator[Listener]:
        """A listener that has the present state.

        Raise what `Watch.read` raises, or Unavailable if there are too many listeners.
        """
        if self._listeners >= LARGEST:
            raise Unavailable(f"This replica serves {LARGEST} event streams already.")
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(name)
            self._watch.add(topic)
        listener = Listener(topic)
        topic.listeners.add(listener)
        self._listeners += 1
        try:
            # Also if there are other listeners: their last state may be older than this request.
            await self._watch.read(topic)
            yield listener
        finally:
            self._listeners -= 1
            topic.listeners.remove(listener)
            if not topic.listeners:
                del self._topics[name]
                self._watch.remove(topic)

    @contextlib.asynccontextmanager
    async def running(self, closing: asyncio.Event) -> AsyncIterator[None]:
        """Watch as long as the block lasts. Once `closing` is set, all streams end."""
        tasks = [asyncio.create_task(self._watch.run()), asyncio.create_task(self._close_after(closing))]
        try:
            yield
        finally:
            await end(*tasks)

    async def _close_after(self, closing: asyncio.Event) -> None:
        await closing.wait()
        self.closing = True
        for topic in self._topics.values():
            for listener in topic.listeners:
                listener.wake()
