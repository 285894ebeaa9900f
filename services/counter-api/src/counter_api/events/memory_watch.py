"""Changes of counters in the memory of this process: read ten times a second while there are listeners."""

import asyncio

from counter_api.counters.store import CounterStore
from counter_api.events.feed import Topic

LOOK_INTERVAL = 0.1
"""Seconds between two looks."""


class MemoryWatch:
    def __init__(self, store: CounterStore) -> None:
        self._store = store
        self._topics: set[Topic] = set()

    def add(self, topic: Topic) -> None:
        self._topics.add(topic)

    def remove(self, topic: Topic) -> None:
        self._topics.remove(topic)

    async def read(self, topic: Topic) -> None:
        topic.publish(await self._store.value(topic.name))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            for topic in list(self._topics):
                await self.read(topic)
