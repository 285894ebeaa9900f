"""The present names of a cache's keys, for tests that read or change Redis directly."""

from redis.asyncio import Redis

from evenkeel.cache.keys import Names


async def cache_names(redis: Redis, namespace: str = "user") -> Names:
    """The names of the only database with a cache in this Redis, at the epoch that the relay has begun."""
    [names] = await all_cache_names(redis, namespace)
    return names


async def all_cache_names(redis: Redis, namespace: str = "user") -> list[Names]:
    """The names of every database with a cache in this Redis."""
    found = []
    async for state in redis.scan_iter(match=f"evenkeel:{{{namespace}}}:*:state"):
        identity = state.split(b":")[-2].decode()
        epoch = await redis.hget(state, "epoch")
        assert isinstance(epoch, bytes)
        found.append(Names(namespace, identity, epoch.decode()))
    return found
