"""The bounded entrance to the database: so many loads at a time, so many waiting, and a clear refusal beyond that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from evenkeel.cache.errors import Busy


class Gate:
    """Protects the database when the tiers do not answer and all readers come to it at once."""

    def __init__(self, *, width: int, queue: int) -> None:
        """At most `width` loads inside, and `queue` rows waiting. The load that comes last may pass this bound."""
        self._inside = asyncio.Semaphore(width)
        self._queue = queue
        self.waiting = 0

    @asynccontextmanager
    async def passed(self, rows: int = 1) -> AsyncIterator[None]:
        """Wait for a place, for so many rows at once. Raises Busy at once if too many already wait."""
        if self.waiting >= self._queue:
            raise Busy("Too many reads wait for the database.")
        self.waiting += rows
        try:
            await self._inside.acquire()
        finally:
            self.waiting -= rows
        try:
            yield
        finally:
            self._inside.release()
