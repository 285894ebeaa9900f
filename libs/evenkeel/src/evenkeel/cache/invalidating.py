"""Invalidations in Redis, for which a writer waits a limited time."""

import asyncio
import logging

from evenkeel.cache.entry import TierUnavailable
from evenkeel.cache.redis_tier import RedisTier

log = logging.getLogger(__name__)

INVALIDATION_LIMIT = 0.5
"""Seconds that a writer waits for Redis. A slower invalidation goes on, and the relay repeats it."""


class Invalidating:
    """Invalidations end even if their writers go away."""

    def __init__(self, redis: RedisTier) -> None:
        self._redis = redis
        self._under_way: set[asyncio.Future[None]] = set()

    async def invalidate(self, keys: list[str]) -> bool:
        """Whether Redis confirms, within the time limit, that it has forgotten the keys."""
        invalidation = asyncio.ensure_future(self._redis.invalidate(keys))
        self._under_way.add(invalidation)
        invalidation.add_done_callback(self._ended)
        await asyncio.wait({invalidation}, timeout=INVALIDATION_LIMIT)
        if not invalidation.done():
            return False
        try:
            invalidation.result()
        except TierUnavailable:
            return False
        return True

    async def close(self) -> None:
        """Return when all invalidations have ended."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _ended(self, invalidation: "asyncio.Future[None]") -> None:
        self._under_way.discard(invalidation)
        if not invalidation.cancelled() and (error := invalidation.exception()) is not None:
            log.warning("an invalidation is left to the relay", extra={"reason": repr(error)})
