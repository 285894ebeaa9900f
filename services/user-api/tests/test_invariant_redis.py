"""Promise 1 of docs/coherence.md while Redis is frozen, dies, is emptied, or holds the state of another database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from tests.support.cache_names import cache_names
from tests.support.proxy import proxied
from tests.support.redis_pair import RedisServer, redis_server
from tests.support.serving import Serve
from tests.support.witness import BOUND, fleet, witnessing

from stack.layout import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """Of the test's own."""
    async with redis_server(tmp_path) as running:
        yield running


@pytest.mark.slow
async def test_frozen_and_thawed(serve: Serve, database_url: str, server: RedisServer) -> None:
    own = {"cache_url": server.url}
    async with (
        fleet(serve, own, own | {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        before, during, through, late = ids = await witness.create(4)
        await witness.warm(ids)
        async with witness.watching(ids, pause=0.001):
            await witness.rename(before)  # at most one look of the relay fits in between
            server.freeze()
            await witness.rename(during)
            assert await witness.patch(replicas[0], through) == 200
            await witness.verdict()
            await witness.rename(late)
            server.thaw()
            await witness.verdict()
        await witness.settled(ids)


async def test_frozen_while_the_relay_speaks(serve: Serve, database_url: str, server: RedisServer) -> None:
    """What it had to say when Redis froze is carried out when it thaws, and by then it is old."""
    async with proxied(database_url, free_port()) as way:
        await way.open()
        own = {"cache_url": server.url, "database_url": way.url}
        async with (
            fleet(serve, own, own | {"cache_tiers": "redis"}) as replicas,
            witnessing(database_url, replicas) as witness,
        ):
            ids = await witness.create(1)
            await witness.warm(ids)
            way.hold()
            await asyncio.sleep(0.3)  # the relay has begun a pass, and waits for PostgreSQL
            server.freeze()
            way.release()
            await asyncio.sleep(0.2)
            await witness.rename(*ids)
            await asyncio.sleep(BOUND)
            # A reader that has not read meanwhile has no reason to pass Redis by now.
            witness.replicas = replicas[1:]
            async with witness.watching(ids, pause=0):
                server.thaw()
                await witness.verdict()
                await asyncio.sleep(0.5)
            await witness.settled(ids)


@pytest.mark.slow
async def test_frozen_for_less_than_trust_lasts(serve: Serve, database_url: str, server: RedisServer) -> None:
    """What was under way then lands when it thaws, and `alive` still lives."""
    own = {"cache_url": server.url}
    async with (
        fleet(serve, own, own | {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        ids = await witness.create(3)
        await witness.warm(ids)
        async with witness.watching(ids, pause=0.001):
            for user_id in ids:
                server.freeze()
                await witness.rename(user_id)
                await asyncio.sleep(0.45)
                server.thaw()
                await asyncio.sleep(0.1)
            await witness.verdict()
        await witness.settled(ids)


async def test_killed_and_started_again_empty(serve: Serve, database_url: str, server: RedisServer) -> None:
    own = {"cache_url": server.url}
    async with fleet(serve, own, own) as replicas, witnessing(database_url, replicas) as witness:
        before, during, through = ids = await witness.create(3)
        await witness.warm(ids)
        async with witness.watching(ids):
            await witness.rename(before)
            await server.kill()
            await witness.rename(during)
            assert await witness.patch(replicas[0], through) == 200
            await server.start()
            await witness.verdict()
        await witness.settled(ids)


# Made from this database's identity and its snapshot now, in which the changes are.
USELESS_STATES: list[Callable[[bytes, bytes], bytes | None]] = [
    lambda _, __: None,
    lambda _, __: b"\xff not a state",
    lambda identity, snapshot: b"7" + identity + b" " + snapshot,  # of another cluster
    lambda identity, _: identity + b" 900000000:900000000:",  # from a time to come
]


@pytest.mark.slow
async def test_state_lost_together_with_the_word_of_changes(
    serve: Serve, database_url: str, server: RedisServer
) -> None:
    """One Redis database for each way to lose the state. The changes were made while no relay followed the log."""
    urls = [urlsplit(server.url)._replace(path=f"/{number}").geturl() for number in range(len(USELESS_STATES))]
    own: list[dict[str, Any]] = [{"cache_url": url, "cache_tiers": "redis"} for url in urls]
    async with witnessing(database_url, []) as witness:
        ids = await witness.create(3)
        async with fleet(serve, *own) as witness.replicas:
            await witness.warm(ids)
        await witness.rename(*ids)
        snapshot: str = await witness.sql.fetchval("SELECT pg_current_snapshot()::text")
        for url, useless in zip(urls, USELESS_STATES, strict=True):
            async with Redis.from_url(url) as redis:
                names = await cache_names(redis)
                state = await redis.hget(names.state, "state")
                assert isinstance(state, bytes)
                await redis.hdel(names.state, "state")
                if (harmed := useless(state.partition(b" ")[0], snapshot.encode())) is not None:
                    await redis.hset(names.state, "state", harmed)
                assert await redis.exists(*(names.entry(str(user_id)) for user_id in ids)) == len(ids)
        await asyncio.sleep(BOUND)
        async with fleet(serve, *own) as witness.replicas:
            async with witness.watching(ids):
                await witness.verdict()
            await witness.settled(ids)


@pytest.mark.slow
async def test_eviction_under_memory_pressure(serve: Serve, database_url: str, cache_url: str) -> None:
    """Entries, leases, `alive` and the relay's claim are all evicted while users are read and changed."""
    async with (
        fleet(serve, {}, {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
        Redis.from_url(cache_url) as redis,
    ):
        ids = await witness.create(12)
        await witness.warm(ids)
        before = await redis.info()
        settings = await redis.config_get("maxmemory*")
        await redis.config_set("maxmemory", before["used_memory"] + 300_000)
        # With volatile-lru it would take thousands of users until what is in use is evicted, too.
        await redis.config_set("maxmemory-policy", "volatile-random")
        names = await cache_names(redis)
        trusted = []
        try:
            async with witness.watching(ids, pause=0.001):
                for number in range(150):
                    await redis.mset({f"filler:{number}:{part}": b"x" * 10_000 for part in range(4)})
                    for part in range(4):
                        await redis.pexpire(f"filler:{number}:{part}", 60_000)
                    user_id = ids[number % len(ids)]
                    if number % 4 < 2:
                        await witness.rename(user_id)
                    else:
                        assert await witness.patch(replicas[0], user_id) == 200
                    trusted.append(await redis.exists(names.alive) == 1)
                evicted = (await redis.info())["evicted_keys"] - before["evicted_keys"]
                await witness.verdict()
        finally:
            for name in ("maxmemory", "maxmemory-policy"):
                await redis.config_set(name, str(settings[name]))
        assert evicted > 300
        assert {True, False} == set(trusted)
        await witness.settled(ids)
