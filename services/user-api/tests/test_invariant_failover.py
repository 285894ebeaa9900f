"""Promise 1 of docs/coherence.md when a Redis replica that lacks the last deletes becomes the primary."""

import asyncio

import pytest
from redis.asyncio import Redis
from tests.support.cache_names import cache_names
from tests.support.proxy import Proxy, proxied
from tests.support.redis_pair import RedisPair
from tests.support.serving import Serve
from tests.support.witness import BOUND, eventually, fleet, witnessing

from stack.layout import free_port

pytestmark = pytest.mark.anyio


async def test_promoted_replica_lacks_the_last_deletes(
    serve: Serve, database_url: str, pair: RedisPair, address: Proxy
) -> None:
    own = {"cache_url": address.url}
    async with (
        fleet(serve, own, own, own | {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        by_hand, through, later, filled = ids = await witness.create(4)
        await witness.warm([by_hand, through, later])
        await eventually(pair.in_step)
        pair.link.hold()
        async with witness.watching(ids):
            # The primary gets these, the replica does not.
            await witness.rename(by_hand)
            assert await witness.patch(replicas[0], through) == 200
            await asyncio.sleep(0.5)
            await pair.primary.kill()
            await witness.rename(later, filled)  # while there is no primary
            await pair.fail_over(address)
            async with pair.replica.client() as redis:  # else there would be nothing to prove
                names = await cache_names(redis)
                assert await redis.exists(*(names.entry(str(user_id)) for user_id in (by_hand, through, later))) > 0
            await witness.verdict()
        await witness.settled(ids)


@pytest.mark.slow
async def test_promoted_replica_is_far_behind(serve: Serve, database_url: str, pair: RedisPair, address: Proxy) -> None:
    """By so much that nothing of its `alive` is left, only old entries, and an old state that must be caught up."""
    own = {"cache_url": address.url}
    async with (
        fleet(serve, own, own | {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        ids = await witness.create(4)
        await witness.warm(ids)
        await eventually(pair.in_step)
        await pair.link.cut()
        async with witness.watching(ids):
            for _ in range(3):
                await witness.rename(*ids)
                await asyncio.sleep(0.6)
            await pair.primary.kill()
            await witness.rename(*ids)
            await asyncio.sleep(BOUND)
            await pair.fail_over(address)
            await witness.verdict()
        await witness.settled(ids)


async def test_relay_is_looking_at_the_log_meanwhile(serve: Serve, database_url: str, cache_url: str) -> None:
    """What it then has to say follows from what the old primary knew, which the new one does not know.

    The new one lies behind a proxy that keeps its clients' connections: here it is the old one with what it had before.
    """
    async with proxied(database_url, free_port()) as way, Redis.from_url(cache_url) as redis:
        await way.open()
        async with (
            fleet(serve, {"cache_tiers": "redis", "database_url": way.url}) as replicas,
            witnessing(database_url, replicas) as witness,
        ):
            ids = await witness.create(1)
            await witness.warm(ids)
            names = await cache_names(redis)
            name = names.entry(str(ids[0]))
            entry, state = await redis.dump(name), await redis.hget(names.state, "state")
            assert entry is not None
            assert state is not None
            await witness.rename(*ids)
            await eventually(lambda: missing(redis, name))
            await asyncio.sleep(0.3)
            way.hold()
            await asyncio.sleep(0.3)  # the next pass has read the state by now, and waits for PostgreSQL
            await redis.restore(name, 60_000, entry)
            await redis.hset(names.state, "state", state)
            way.release()
            async with witness.watching(ids):
                await witness.verdict()
            await witness.settled(ids)


async def missing(redis: "Redis", entry: bytes) -> bool:
    return not await redis.exists(entry)


async def test_old_primary_lives_on(serve: Serve, database_url: str, pair: RedisPair, address: Proxy) -> None:
    """Split brain: some replicas have found the new primary, others still talk to the old one."""
    async with (
        fleet(
            serve, {"cache_url": address.url}, {"cache_url": address.url}, {"cache_url": pair.primary.url}
        ) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        by_hand, old_side, new_side = ids = await witness.create(3)
        await witness.warm(ids)
        await eventually(pair.in_step)
        async with witness.watching(ids):
            await pair.fail_over(address)
            await witness.rename(by_hand)
            assert await witness.patch(replicas[2], old_side) == 200
            assert await witness.patch(replicas[0], new_side) == 200
            await witness.verdict()
        await witness.settled(ids)
