"""A bounded way to the database: so many at a time, so many waiting, and a clear refusal beyond."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from evenkeel.cache.errors import Busy


class Gate:
    """Without its tiers a cache would let every reader through at once, and the database would fall over."""

    def __init__(self, *, width: int, queue: int) -> None:
        """At most `width` inside, and `queue` waiting."""
        self._inside = asyncio.Semaphore(width)
        self._queue = queue
        self.waiting = 0

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Wait for a place; Busy at once when too many do so already."""
        if self.waiting >= self._queue:
            raise Busy("Too many reads wait for the database.")
        self.waiting += 1
        try:
            await self._inside.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._inside.release()
