"""Forgetting a whole cache by hand."""

from redis.asyncio import Redis

from evenkeel.cache.change_log import ChangeLog
from evenkeel.cache.keys import Names, new_epoch
from evenkeel.cache.redis_tier import script


async def forget_cache(namespace: str, *, changes: ChangeLog, primary: Redis) -> bool:
    """Begin a new epoch, in Redis and in the memory of all replicas; False where there was nothing to forget.

    The cache stays on meanwhile. Errors of the database and of Redis are passed on.
    """
    names = Names(namespace, await changes.identity())
    before = await script(primary, "forget")([names.alive, names.state, names.everything], [new_epoch()])
    return bool(before)
