"""Telling Redis what a writer has changed."""

import asyncio
import logging

from evenkeel.cache.entry import TierUnavailable
from evenkeel.cache.redis_tier import RedisTier

log = logging.getLogger(__name__)

INVALIDATION_LIMIT = 0.5
"""Seconds that a writer waits for Redis. An invalidation that takes longer goes on, and is the relay's business too."""


class Telling:
    """A writer waits for a while; the invalidation goes on without it."""

    def __init__(self, redis: RedisTier) -> None:
        self._redis = redis
        self._under_way: set[asyncio.Task[None]] = set()

    async def tell(self, keys: list[str]) -> bool:
        """Whether Redis has forgotten the keys within the time that a writer can wait."""
        telling = asyncio.create_task(self._redis.invalidate(keys))
        self._under_way.add(telling)
        telling.add_done_callback(self._told)
        await asyncio.wait({telling}, timeout=INVALIDATION_LIMIT)
        if not telling.done():
            return False
        try:
            telling.result()
        except TierUnavailable:
            return False
        return True

    async def close(self) -> None:
        """Return when all of it has ended."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _told(self, telling: "asyncio.Task[None]") -> None:
        self._under_way.discard(telling)
        if not telling.cancelled() and (error := telling.exception()) is not None:
            log.warning("an invalidation is left to the relay", extra={"reason": repr(error)})
