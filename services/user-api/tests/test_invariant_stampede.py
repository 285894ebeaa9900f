"""Promise 3 of docs/coherence.md: any number of readers of a cold or expired key cause one query."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from tests.support.cache_names import cache_names
from tests.support.replica import Replica, counting
from tests.support.witness import witnessing

from evenkeel.cache.filling import PATIENCE
from user_api.settings import Settings
from verify.connection import Connection

pytestmark = pytest.mark.anyio

REPLICAS = 4
READERS = 2000
MEMORY_TTL = 1.0
ATTEMPTS = 4


@asynccontextmanager
async def crowd(replicas: list[str]) -> AsyncIterator[list[Connection]]:
    """The readers, spread over the replicas and connected."""
    async with AsyncExitStack() as stack:
        connections = [Connection(replicas[number % len(replicas)]) for number in range(READERS)]
        for connection in connections:
            stack.callback(connection.close)
        for begin in range(0, READERS, 100):
            await asyncio.gather(*(one.request("GET", "/livez") for one in connections[begin : begin + 100]))
        yield connections


async def read_at_once(connections: list[Connection], ids: list[int]) -> bool:
    """Every reader asks for one of the users, all at the same time; each user is asked for through every replica.

    False if the machine was too busy with other things to serve them in time, for which a cache must not wait.
    """
    asked = [ids[number * len(ids) // len(connections)] for number in range(len(connections))]
    began = time.monotonic()
    replies = await asyncio.gather(
        *(one.request("GET", f"/v1/users/{asked[number]}") for number, one in enumerate(connections))
    )
    in_time = time.monotonic() < began + PATIENCE
    for number, reply in enumerate(replies):
        assert reply.status == 200, reply
        assert reply.json()["data"]["id"] == asked[number]
    return in_time and not any("redis; fwd=bypass" in reply.headers["cache-status"] for reply in replies)


@pytest.mark.slow
async def test_one_query_for_each_key(
    make_settings: Callable[..., Settings], database_url: str, cache_url: str, tmp_path: Path
) -> None:
    """Of a cold key, of the same key when it has expired in all tiers, and of 200 cold keys."""
    queries = tmp_path / "queries"
    replicas = [
        Replica(make_settings(replica_name=f"replica-{number}", memory_ttl=MEMORY_TTL), tmp_path, counting(queries))
        for number in range(1 + REPLICAS)
    ]
    async with AsyncExitStack() as stack:
        for replica in replicas:
            stack.push_async_callback(replica.stop)
        # The first one has the relay, and few requests at once.
        await replicas[0].start()
        await asyncio.gather(*(replica.start() for replica in replicas[1:]))
        urls = [replica.url for replica in replicas[1:]]
        redis = await stack.enter_async_context(Redis.from_url(cache_url))
        witness = await stack.enter_async_context(witnessing(database_url, urls))
        connections = await stack.enter_async_context(crowd(urls))

        await witness.sql.execute(
            "INSERT INTO users (email, name) SELECT n || '@example.com', 'somebody' FROM generate_series(1, 1000) AS n"
        )
        unread = itertools.count(1)

        async def cold_key() -> list[int]:
            return [next(unread)]

        async def expired_key() -> list[int]:
            assert await redis.pexpire((await cache_names(redis)).entry("1"), 1) == 1
            return [1]

        async def cold_keys() -> list[int]:
            return list(itertools.islice(unread, 200))

        for prepare in (cold_key, expired_key, cold_keys):
            for attempt in range(ATTEMPTS):
                ids = await prepare()
                await asyncio.sleep(2 * MEMORY_TTL)  # memory has let go; and after the rush all is trusted again
                before = queries.stat().st_size if queries.exists() else 0
                # If the machine is too busy for all of them, there are fewer readers.
                if await read_at_once(connections[: READERS // 2**attempt], ids):
                    assert queries.stat().st_size - before == len(ids)
                    break
            else:
                pytest.fail("this machine is too busy to tell")
