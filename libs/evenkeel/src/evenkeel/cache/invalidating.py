"""Invalidations in Redis, for which a writer waits a limited time."""

import asyncio
import logging

from evenkeel.cache.entry import TierUnavailable
from evenkeel.cache.redis_tier import RedisTier
from evenkeel.tasks.under_way import UnderWay

log = logging.getLogger(__name__)

INVALIDATION_LIMIT = 0.5
"""Seconds that a writer waits for Redis. A slower invalidation goes on, and the relay repeats it."""


class Invalidating:
    """Invalidations end even if their writers go away."""

    def __init__(self, redis: RedisTier) -> None:
        self._redis = redis
        self._under_way = UnderWay(failed=_left_to_the_relay)

    async def invalidate(self, keys: list[str]) -> bool:
        """Whether Redis confirms, within the time limit, that it has forgotten the keys."""
        invalidation = self._under_way.add(asyncio.ensure_future(self._redis.invalidate(keys)))
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
        await self._under_way.settled()


def _left_to_the_relay(error: BaseException) -> None:
    log.warning("an invalidation is left to the relay", extra={"reason": repr(error)})
