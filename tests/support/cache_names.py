"""What a cache's keys are called now, for tests that look into Redis or meddle with it."""

from redis.asyncio import Redis

from evenkeel.cache.keys import Names


async def cache_names(redis: Redis, namespace: str = "user") -> Names:
    """Of the only database whose cache is in this Redis, at the epoch that the relay has begun."""
    [names] = await all_cache_names(redis, namespace)
    return names


async def all_cache_names(redis: Redis, namespace: str = "user") -> list[Names]:
    """Of every database whose cache is in this Redis."""
    found = []
    async for state in redis.scan_iter(match=f"evenkeel:{{{namespace}}}:*:state"):
        identity = state.split(b":")[-2].decode()
        epoch = await redis.hget(state, "epoch")
        assert isinstance(epoch, bytes)
        found.append(Names(namespace, identity, epoch.decode()))
    return found
