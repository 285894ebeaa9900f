"""Promise 1 of docs/coherence.md for process memory when the connection of the invalidations is half-open, slow or cut.

Each replica has a way to Redis of its own that a test can damage; changes are made where nothing is.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis
from tests.support.proxy import Proxy, proxied
from tests.support.serving import Serve
from tests.support.witness import fleet, witnessing

from stack.layout import free_port

pytestmark = pytest.mark.anyio

TRACKING = b"\r\nTRACKING\r\n"
"""Only the connection that invalidations come by has sent this."""


@pytest.fixture
async def ways(cache_url: str) -> AsyncIterator[list[Proxy]]:
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(proxied(cache_url, free_port())) for _ in range(4)]
        for proxy in proxies:
            await proxy.open()
        yield proxies


@pytest.mark.slow
async def test_half_open(serve: Serve, database_url: str, ways: list[Proxy]) -> None:
    """Pushes are lost, or questions, or both, or everything. The connection is never reported as closed."""
    pushes_lost, questions_lost, both_lost, all_silent = ways
    async with (
        fleet(serve, {}, *({"cache_url": way.url} for way in ways)) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        by_hand, through = ids = await witness.create(2)
        await witness.warm(ids)
        async with witness.watching(ids):
            pushes_lost.swallow("to client", mark=TRACKING)
            questions_lost.swallow("to server", mark=TRACKING)
            for direction in ("to server", "to client"):
                both_lost.swallow(direction, mark=TRACKING)
                all_silent.swallow(direction)
            await witness.rename(by_hand)
            assert await witness.patch(replicas[0], through) == 200
            await witness.verdict()
            for way in ways:
                way.reset()
            await witness.settled(ids)


@pytest.mark.slow
async def test_slow(serve: Serve, database_url: str, ways: list[Proxy]) -> None:
    """What was held back arrives later, in order: answers to old questions, then pushes."""
    async with (
        fleet(serve, *({"cache_url": way.url} for way in ways[:2])) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        ids = await witness.create(3)
        await witness.warm(ids)
        async with witness.watching(ids):
            for user_id, seconds in zip(ids, (0.3, 0.7, 1.2), strict=True):
                ways[0].hold()
                await witness.rename(user_id)
                await asyncio.sleep(seconds)
                ways[0].release()
                await asyncio.sleep(0.1)
            await witness.verdict()
        await witness.settled(ids)


@pytest.mark.slow
async def test_cut_and_made_again(serve: Serve, database_url: str, ways: list[Proxy]) -> None:
    """The push falls into the gap."""
    cut, refused, *_ = ways
    async with (
        fleet(serve, {"cache_url": cut.url}, {"cache_url": refused.url}, {}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        ids = await witness.create(6)
        await witness.warm(ids)
        async with witness.watching(ids):
            await refused.cut()
            for user_id in ids:
                cut.reset()
                await witness.patch(replicas[2], user_id)
                await asyncio.sleep(0.25)
            await witness.verdict()
            await refused.open()
            await witness.settled(ids)


async def test_shaken_while_redis_is_read(serve: Serve, database_url: str, ways: list[Proxy]) -> None:
    """Connected anew, it closes all the other connections, whatever is under way on them; no reader may notice."""
    shaken = ways[0]
    async with (
        fleet(serve, {"cache_url": shaken.url, "memory_ttl": 0.001}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        ids = await witness.create(10)
        async with AsyncExitStack() as stack:
            for _ in range(10):
                await stack.enter_async_context(witness.watching(ids, pause=0))
            for _ in range(10):
                shaken.reset(mark=TRACKING)
                await asyncio.sleep(0.3)
            await witness.verdict()
        assert witness.seen["redis"] > 10


@pytest.mark.slow
async def test_flush_empties_memory_everywhere(serve: Serve, database_url: str, cache_url: str) -> None:
    """FLUSHALL pushes no names. Changes that the relay had yet to apply are not pushed any more."""
    async with (
        fleet(serve, {}, {}) as replicas,
        witnessing(database_url, replicas) as witness,
        Redis.from_url(cache_url) as redis,
    ):
        ids = await witness.create(3)
        await witness.warm(ids)
        async with witness.watching(ids):
            for user_id in ids:
                await witness.rename(user_id)
                await redis.flushall()
                await asyncio.sleep(0.3)
            await witness.verdict()
        await witness.settled(ids)
