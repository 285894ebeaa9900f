"""Removes from Redis, in the background, the names of epochs that are over."""

import asyncio
import contextlib
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from evenkeel.cache.keys import Names
from evenkeel.cache.redis_tier import script
from evenkeel.tasks.ending import end

STEP = 500
"""Names that one SCAN looks at. Redis answers no other client meanwhile."""

PAUSE = 0.005
"""Seconds between two steps."""


class Sweep:
    """At most one runs at a time. A sweep that was given up begins again from the start."""

    def __init__(self, primary: Redis) -> None:
        self._primary = primary
        self._task: asyncio.Task[None] | None = None
        self._names: Names | None = None

    def begin(self, names: Names) -> None:
        """Remove entries and leases of other epochs than that of `names`, unless that is under way."""
        if self._task is not None and not self._task.done():
            if self._names is not None and (names.identity, names.epoch) == (self._names.identity, self._names.epoch):
                return
            self._task.cancel()
        self._names = names
        self._task = asyncio.create_task(self._run(names))

    async def end(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def _run(self, names: Names) -> None:
        with contextlib.suppress(RedisError, OSError):  # the next pass of the relay begins it again
            cursor = 0
            while True:
                cursor, found = await self._primary.scan(cursor, match=names.pattern, count=STEP)
                if old := [name for name in cast("list[bytes]", found) if names.is_over(name)]:
                    await self._primary.unlink(*old)
                if cursor == 0:
                    break
                await asyncio.sleep(PAUSE)
            await script(self._primary, "swept")([names.state], [names.epoch])
