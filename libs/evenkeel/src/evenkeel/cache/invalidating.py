"""Invalidations in Redis, for which a writer waits a limited time."""

import asyncio
import logging

from evenkeel.cache.entry import TierUnavailable
from evenkeel.cache.redis_tier import RedisTier

log = logging.getLogger(__name__)

INVALIDATION_LIMIT = 0.5
"""Seconds that a writer waits for Redis. A slower invalidation goes on, and the relay repeats it."""


class Invalidating:
    """Runs invalidations in tasks of their own, so that they end even if their writers go away."""

    def __init__(self, redis: RedisTier) -> None:
        self._redis = redis
        self._under_way: set[asyncio.Task[None]] = set()

    async def invalidate(self, keys: list[str]) -> bool:
        """Whether Redis confirms, within the time limit, that it has forgotten the keys."""
        task = asyncio.create_task(self._redis.invalidate(keys))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=INVALIDATION_LIMIT)
        if not task.done():
            return False
        try:
            task.result()
        except TierUnavailable:
            return False
        return True

    async def close(self) -> None:
        """Return when all invalidations have ended."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("an invalidation is left to the relay", extra={"reason": repr(error)})
